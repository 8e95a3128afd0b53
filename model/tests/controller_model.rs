//! The `controller` model holds within its bounds, and notices every guard that is taken out.

#![cfg(feature = "check")]

mod documented;

use kraft_model::check::controller::{
    ControllerModel, ELR, FAILOVER, LIFE, LIVENESS, Left, REASSIGN, TOPICS, mutations,
};
use kraft_model::check::{Budget, Fate, Mutation, Outcome, explore};

fn holds(model: &ControllerModel) {
    documented::holds(&explore(model));
}

#[test]
fn brokers_may_stop_be_fenced_and_shut_down_in_any_order() {
    holds(&LIFE);
}

#[test]
fn no_acknowledged_record_is_lost_with_one_machine_whoever_stands_in_for_it() {
    holds(&ELR);
}

#[test]
fn a_partition_may_be_moved_and_moved_back_while_brokers_are_fenced() {
    holds(&REASSIGN);
}

#[test]
fn a_failover_leaves_nothing_but_what_is_committed() {
    holds(&FAILOVER);
}

#[test]
fn topics_and_brokers_may_go_and_come_back() {
    holds(&TOPICS);
}

#[test]
fn a_verdict_about_a_process_may_be_wrong() {
    holds(&LIVENESS);
}

/// Renumbering is a reduction: it must not change what is found and reached, only how often.
#[test]
fn states_with_offsets_as_they_are_and_renumbered_tell_the_same() {
    let elr = ControllerModel { left: Left { proposals: 0, ..ELR.left }, ..ELR };
    let reassign = Left { proposals: 1, reassignments: 1, ..REASSIGN.left };
    let failover = Left { clean_stops: 0, ..FAILOVER.left };
    for model in [
        elr,
        ControllerModel { left: reassign, ..REASSIGN },
        ControllerModel { left: failover, ..FAILOVER },
    ] {
        let exact = ControllerModel { exact: true, ..model.clone() };
        let (renumbered, exact) = (explore(&model), explore(&exact));
        assert!(renumbered.complete && exact.complete, "{}", exact.bounds);
        assert_eq!(renumbered.reached, exact.reached, "{}", exact.bounds);
        assert!(renumbered.unique_states < exact.unique_states, "{}", exact.bounds);
    }
}

fn hunted(fate: Fate) -> impl Iterator<Item = (Mutation, Outcome)> {
    let wanted = mutations().into_iter().filter(move |mutation| mutation.fate == fate);
    wanted.map(|mutation| (mutation, (mutation.hunt)(&Budget::default())))
}

#[test]
fn every_guard_that_safety_needs_is_missed_when_it_is_gone() {
    for (mutation, outcome) in hunted(Fate::Killed) {
        let Some(story) = outcome.violation else {
            panic!("{} survives {}", mutation.guard.name(), outcome.bounds)
        };
        assert!(story.steps.len() <= 10, "{story}");
    }
}

#[test]
fn guards_of_availability_alone_are_not_missed() {
    for (mutation, outcome) in hunted(Fate::Survives) {
        if let Some(story) = &outcome.violation {
            panic!("{} is wrongly condemned:\n{story}", mutation.guard.name());
        }
        assert!(outcome.complete, "{outcome:?}");
    }
}

/// `docs/elr.md` tells this story.
#[test]
fn a_removed_replica_that_stays_in_the_elr_costs_acknowledged_records() {
    let kafka = mutations().into_iter().find(|it| it.guard.name() == "elr-outside-replicas");
    let story = kafka.and_then(|it| (it.hunt)(&Budget::default()).violation);
    let story = story.expect("the rule is missed");
    assert_eq!(story.property, "no leader misses an acknowledged record");
    let told = story.to_string();
    let page = include_str!("../../docs/elr.md");
    for step in &story.steps {
        let first = step.text.lines().next().unwrap_or_default();
        assert!(page.contains(first), "the page does not tell '{first}' of\n{told}");
    }
}
