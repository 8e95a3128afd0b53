//! The quorum's models: their configurations hold, and they notice when a guard is taken out.
#![cfg(feature = "check")]

mod documented;

use kraft_model::check::{Budget, Fate, Mutation, Tier, models, mutations};

fn of_quorum(name: &str) -> bool {
    name.starts_with("quorum")
}

fn holds(name: &str) {
    let all = models();
    let mut quick = all.iter().filter(|it| it.tier == Tier::Quick);
    let configuration = quick.find(|it| it.name == name).expect("a quick configuration");
    documented::holds(&(configuration.explore)(&Budget::default()));
}

#[test]
fn two_reigns_and_a_lossy_crash_hold() {
    holds("quorum");
}

#[test]
fn requests_that_are_under_way_in_order_hold() {
    holds("quorum-in-order");
}

#[test]
fn requests_that_are_under_way_in_any_order_hold() {
    holds("quorum-any-order");
}

#[test]
fn a_lost_message_and_one_that_comes_twice_do_no_harm() {
    holds("quorum-lossy");
}

#[test]
fn three_reigns_hold_and_some_majority_can_always_go_on() {
    holds("quorum-failover");
}

#[test]
fn a_wiped_disk_does_not_vote_twice() {
    holds("quorum-wiped");
}

#[test]
fn no_partition_deposes_a_leader_whom_a_majority_follows() {
    holds("quorum-prevote");
}

#[test]
fn a_crash_while_a_snapshot_is_installed_loses_nothing() {
    holds("quorum-snapshot");
}

#[test]
fn voters_are_added_and_removed_one_at_a_time() {
    holds("quorum-reconfig");
}

fn quorum_mutations(fate: Fate) -> impl Iterator<Item = Mutation> {
    mutations().into_iter().filter(move |m| of_quorum(m.model) && m.fate == fate)
}

#[test]
fn every_guard_that_is_needed_is_missed_when_it_is_gone() {
    for mutation in quorum_mutations(Fate::Killed) {
        let outcome = (mutation.hunt)(&Budget::default());
        let name = mutation.guard.name();
        let Some(story) = outcome.violation else {
            panic!("{name} survives {} states of {}", outcome.unique_states, outcome.bounds)
        };
        println!(
            "{name} | {} | {} | {:.1} | {} | {}",
            mutation.model,
            outcome.unique_states,
            outcome.seconds,
            story.steps.len(),
            story.property,
        );
        assert!(story.steps.len() < 25, "{story}");
        assert!(!story.rule.is_empty());
    }
}

#[test]
fn a_guard_of_availability_alone_is_not_missed() {
    for mutation in quorum_mutations(Fate::Survives) {
        let outcome = (mutation.hunt)(&Budget::default());
        let name = mutation.guard.name();
        if let Some(story) = &outcome.violation {
            panic!("{name} is wrongly condemned:\n{story}");
        }
        println!("{name} | {} | {} | survives", mutation.model, outcome.unique_states);
        assert!(outcome.complete, "{outcome:?}");
    }
}

#[test]
fn a_counterexample_tells_who_did_what_and_which_rule_it_breaks() {
    let restart = quorum_mutations(Fate::Killed).find(|m| m.guard.name() == "restart-as-leader");
    let story = restart.and_then(|m| (m.hunt)(&Budget::default()).violation).map(|s| s.to_string());
    let story = story.unwrap_or_default();
    assert!(story.contains("crashes and restarts with the log"), "{story}");
    assert!(story.contains("broken: logs match"), "{story}");
    assert!(story.contains("an offset and an epoch name one record"), "{story}");
}
