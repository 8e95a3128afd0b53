//! Every promise of the replicas beside its twin: see [`crate::check::twin`].

use super::config::aim;
use super::state::{Left, State};
use super::{
    ACKNOWLEDGED, ACTIVE, AGREE, COMPLETE, FOLLOW, ONCE, PRODUCER, ReplicaModel, SAME, STANDS,
    electable,
};
use crate::Guard;
use crate::check::Mutated;
use crate::check::twin::{Judge, assert_sees, assert_sees_in, condemns, promises_of, unseen};
use crate::invariant::replica as promise;

fn without(guard: Guard, model: ReplicaModel) -> ReplicaModel {
    ReplicaModel { rules: Mutated(Some(guard)), ..model }
}

/// A follower joins that lacks what is committed, and may be elected.
fn joins_early() -> ReplicaModel {
    without(Guard::JoinBelowHighWatermark, aim(3, 1, 1))
}

/// A deposed leader goes on from where it was, behind a log that it does not have.
fn parts() -> ReplicaModel {
    without(Guard::IgnoreDivergence, aim(2, 2, 1))
}

/// One record, which its producer sends twice.
fn sends_twice() -> ReplicaModel {
    let calm = aim(1, 1, 0);
    without(
        Guard::SkipSequenceCheck,
        ReplicaModel { left: Left { resends: 1, ..calm.left }, ..calm },
    )
}

#[test]
fn an_acknowledged_record_that_may_be_lost_is_seen() {
    assert_sees(joins_early(), ACKNOWLEDGED);
}

#[test]
fn a_record_that_was_read_and_may_be_lost_is_seen() {
    assert_sees(joins_early(), COMPLETE);
}

#[test]
fn another_record_where_one_was_read_is_seen() {
    assert_sees(parts(), SAME);
}

#[test]
fn logs_that_differ_where_they_are_committed_are_seen() {
    assert_sees(parts(), AGREE);
}

#[test]
fn a_fenced_member_of_the_isr_is_seen() {
    assert_sees(without(Guard::FencedJoinsIsr, aim(2, 1, 1)), ACTIVE);
}

/// No guard stands between a leader and a lower high watermark, so that no mutation leads there.
/// That a step to one would be noted is a matter of `leader_stands`.
#[test]
fn a_leaders_falling_high_watermark_is_seen() {
    let model = aim(1, 1, 0);
    let mut state = model.initial();
    state.history.high_watermark_fell = true;
    assert_sees_in(&model, &state, STANDS);
}

#[test]
fn a_record_that_is_there_twice_is_seen() {
    assert_sees(sends_twice(), ONCE);
}

#[test]
fn a_producers_state_that_outlives_its_records_is_seen() {
    assert_sees(without(Guard::KeepProducerState, PRODUCER), FOLLOW);
}

/// Whether sequences ascend, where one may be as high as the last.
fn once_or_twice_and_in_order(_: &ReplicaModel, state: &State) -> bool {
    state.brokers.iter().all(|broker| {
        let produced = broker.log.records().iter().filter_map(|record| record.produced);
        produced.is_sorted_by_key(|(_, sequence)| sequence)
    })
}

#[test]
fn an_order_that_is_not_strict_misses_a_repeated_record() {
    assert!(condemns(sends_twice(), Judge::Promise(ONCE)));
    assert!(!condemns(sends_twice(), Judge::Twin(once_or_twice_and_in_order)));
}

/// Whether some replica that may be elected has what consumers have read.
fn shown_is_somewhere(_: &ReplicaModel, state: &State) -> bool {
    let mut electable = electable(state).peekable();
    electable.peek().is_none()
        || electable.any(|broker| promise::holds_promised(broker, state.history.shown()))
}

#[test]
fn a_look_at_one_electable_replica_misses_what_another_lacks() {
    assert!(condemns(joins_early(), Judge::Promise(COMPLETE)));
    assert!(!condemns(joins_early(), Judge::Twin(shown_is_somewhere)));
}

/// Whether something stands where an acknowledged record should.
fn acknowledged_offsets_exist(_: &ReplicaModel, state: &State) -> bool {
    electable(state).all(|broker| {
        let mut offsets = state.history.acknowledged.iter().flatten();
        offsets.all(|&at| broker.log.at(crate::Offset(i64::from(at))).is_some())
    })
}

#[test]
fn a_look_at_offsets_alone_misses_that_another_record_stands_there() {
    assert!(condemns(parts(), Judge::Promise(ACKNOWLEDGED)));
    assert!(!condemns(parts(), Judge::Twin(acknowledged_offsets_exist)));
}

#[test]
fn a_fingerprint_without_the_fenced_brokers_hides_a_loss() {
    let nobody_is_fenced = |state: &State| {
        let mut state = state.clone();
        let unfence = |it: &mut super::state::Registration| it.fenced = false;
        state.controller.change(|it| it.registrations.iter_mut().for_each(unfence));
        state
    };
    assert!(condemns(joins_early(), Judge::Promise(ACKNOWLEDGED)));
    assert!(!condemns(joins_early(), Judge::Forgetful(ACKNOWLEDGED, nobody_is_fenced)));
}

#[test]
fn every_promise_has_a_twin_here() {
    let promises = promises_of(&PRODUCER);
    let unseen = unseen(promises, include_str!("mod.rs"), include_str!("twins.rs"));
    assert!(unseen.is_empty(), "{unseen:?} have no twin");
}
