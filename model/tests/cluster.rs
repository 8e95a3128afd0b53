//! The `cluster` model holds within its bounds, and notices every guard that is taken out.

#![cfg(feature = "check")]

mod documented;

use kraft_model::check::cluster::{
    CANCEL, CLUSTER, CRASHES, ClusterModel, FAILOVERS, KILLS, MIN_ISR, PRODUCER, REASSIGN, REPEATS,
    RESTART, mutations,
};
use kraft_model::check::{Budget, Fate, Mutation, explore};

fn holds(model: &ClusterModel) {
    documented::holds(&explore(model));
}

fn mutation(guard: &str) -> Mutation {
    let all = mutations();
    *all.iter().find(|mutation| mutation.guard.name() == guard).expect("it is wired")
}

#[test]
fn nothing_is_lost_when_a_controller_fails_between_decision_and_commit() {
    holds(&CLUSTER);
}

#[test]
fn nothing_is_lost_when_a_controller_fails_during_a_reassignment() {
    holds(&REASSIGN);
}

#[test]
fn nothing_is_lost_when_brokers_stop_and_lose_power() {
    holds(&RESTART);
}

#[test]
fn nothing_is_lost_when_a_process_is_killed_and_a_machine_loses_power() {
    holds(&KILLS);
}

#[test]
fn nothing_is_lost_when_a_machine_loses_power_during_a_failover_or_controllers_fail_twice() {
    holds(&CRASHES);
    holds(&FAILOVERS);
}

#[test]
fn nothing_is_lost_when_a_reassignment_is_called_off() {
    holds(&CANCEL);
}

#[test]
fn nothing_is_lost_when_min_insync_replicas_changes_while_the_isr_does() {
    holds(&MIN_ISR);
}

#[test]
fn a_request_that_arrives_twice_does_no_harm() {
    holds(&REPEATS);
}

#[test]
fn a_record_that_its_producer_sends_again_is_there_once() {
    holds(&PRODUCER);
}

#[test]
fn every_guard_is_missed_when_it_is_gone() {
    for mutation in mutations() {
        let outcome = (mutation.hunt)(&Budget::default());
        let is_killed = outcome.violation.is_some();
        assert_eq!(is_killed, mutation.fate == Fate::Killed, "{}", mutation.guard.name());
        assert!(is_killed || outcome.complete, "{}", mutation.guard.name());
    }
}

#[test]
fn a_removed_replica_in_the_elr_ends_in_the_loss_of_an_acknowledged_record() {
    let story = (mutation("elr-outside-replicas").hunt)(&Budget::default()).violation;
    let story = story.expect("the loss is found");
    assert_eq!(story.property, "an acknowledged record is on every electable replica");
    let moves = story.steps.iter().filter(|step| step.action == "Reassign");
    assert_eq!(moves.count(), 2, "{story}");
}
