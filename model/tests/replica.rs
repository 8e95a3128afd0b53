//! The `replica` model holds within its bounds, and notices every guard that is taken out.

#![cfg(feature = "check")]

mod documented;

use kraft_model::check::replica::{
    FLUSHED, IN_FLIGHT, Left, PAGE_CACHE, PRODUCER, RESTARTS, ReplicaModel, SHRINKS, mutations,
};
use kraft_model::check::{Budget, Fate, explore};

fn holds(model: &ReplicaModel) {
    documented::holds(&explore(model));
}

#[test]
fn nothing_acknowledged_from_the_page_cache_is_lost_with_one_machine() {
    holds(&PAGE_CACHE);
}

#[test]
fn nothing_acknowledged_from_the_disk_is_lost_with_one_machine() {
    let left = Left { appends: 1, ..FLUSHED.left };
    documented::merely_holds(&explore(&ReplicaModel { left, ..FLUSHED }));
}

#[test]
fn nothing_is_lost_by_a_clean_stop_and_a_power_failure() {
    holds(&RESTARTS);
}

#[test]
fn nothing_is_lost_while_leader_and_controller_shrink_the_isr() {
    holds(&SHRINKS);
}

#[test]
fn late_fetches_and_answers_do_no_harm() {
    holds(&IN_FLIGHT);
}

#[test]
fn an_idempotent_producer_writes_once_however_often_it_sends() {
    holds(&PRODUCER);
}

#[test]
fn every_guard_is_missed_when_it_is_gone() {
    for mutation in mutations() {
        let outcome = (mutation.hunt)(&Budget::default());
        let is_killed = outcome.violation.is_some();
        assert_eq!(is_killed, mutation.fate == Fate::Killed, "{}", mutation.guard.name());
    }
}
