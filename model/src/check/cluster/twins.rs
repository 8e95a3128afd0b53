//! Every promise of the cluster beside its twin: see [`crate::check::twin`].

use super::config::{NO_RECORD, NOTHING, ONE_SILENT, aim};
use super::state::{Left, State};
use super::{
    ACKNOWLEDGED, AGREE, COMPLETE, COUNTED, ClusterModel, DECIDED, KEPT, METADATA, ONCE, PRODUCER,
    SAME, STANDS, electable,
};
use crate::Guard;
use crate::check::Mutated;
use crate::check::twin::{Judge, assert_sees, assert_sees_in, condemns, promises_of, unseen};
use crate::invariant::replica as promise;

fn without(guard: Guard, model: ClusterModel) -> ClusterModel {
    ClusterModel { rules: Mutated(Some(guard)), ..model }
}

/// A leader commits what a member that the controller has still to drop does not have.
fn commits_early() -> ClusterModel {
    without(Guard::HwOverCommittedIsr, aim(ONE_SILENT))
}

/// A deposed leader goes on from where it was, behind a log that it does not have.
fn parts() -> ClusterModel {
    without(Guard::IgnoreDivergence, aim(Left { fences: 1, appends: 2, ..NOTHING }))
}

/// A leader hears of an ISR that a failover takes back.
fn hears_early() -> ClusterModel {
    without(Guard::ReplyBeforeCommit, aim(Left { failovers: 1, ..ONE_SILENT }))
}

#[test]
fn an_acknowledged_record_that_may_be_lost_is_seen() {
    assert_sees(commits_early(), ACKNOWLEDGED);
}

#[test]
fn a_record_that_was_read_and_may_be_lost_is_seen() {
    assert_sees(commits_early(), COMPLETE);
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
fn unsound_metadata_are_seen() {
    assert_sees(without(Guard::RestartKeepsIsr, aim(Left { kills: 1, ..NO_RECORD })), METADATA);
}

#[test]
fn a_member_that_its_leader_does_not_count_is_seen() {
    let left = Left { fences: 1, silences: 1, ..NO_RECORD };
    assert_sees(without(Guard::SkipPartitionEpoch, aim(left)), COUNTED);
}

#[test]
fn a_leader_that_waits_for_what_is_not_committed_is_seen() {
    assert_sees(hears_early(), DECIDED);
}

/// No guard stands between a leader and a lower high watermark, so that no mutation leads there.
/// That a step to one would be noted is a matter of `leader_stands`.
#[test]
fn a_leaders_falling_high_watermark_is_seen() {
    let model = aim(NOTHING);
    let mut state = model.initial();
    state.history.high_watermark_fell = true;
    assert_sees_in(&model, &state, STANDS);
}

#[test]
fn a_record_that_is_there_twice_is_seen() {
    let left = Left { resends: 1, ..NOTHING };
    assert_sees(without(Guard::SkipSequenceCheck, ClusterModel { left, ..PRODUCER }), ONCE);
}

#[test]
fn what_a_controller_notices_itself_is_seen() {
    let left = Left { failovers: 2, fences: 1, ..NO_RECORD };
    assert_sees(without(Guard::KeepOverlay, aim(left)), KEPT);
}

/// A follower in the ISR has to truncate what it took for committed.
#[test]
fn what_a_replica_notices_itself_is_seen() {
    let left = Left { fences: 1, ..ONE_SILENT };
    let model = without(Guard::HwOverCommittedIsr, aim(left));
    assert!(condemns(model, Judge::Promise(KEPT)));
}

/// Whether the partition has come as far as the epoch under which a leader asked.
fn decisions_are_of_an_epoch_that_was(_: &ClusterModel, state: &State) -> bool {
    let replicas = state.brokers.iter().filter_map(|broker| broker.replica.as_ref());
    replicas
        .filter_map(|replica| replica.decided_alteration())
        .all(|asked| state.partition().partition_epoch >= asked.partition_epoch)
}

#[test]
fn an_epoch_that_need_not_be_passed_misses_a_decision_that_is_taken_back() {
    assert!(condemns(hears_early(), Judge::Promise(DECIDED)));
    assert!(!condemns(hears_early(), Judge::Twin(decisions_are_of_an_epoch_that_was)));
}

/// Whether some replica that may be elected has what consumers have read.
fn shown_is_somewhere(_: &ClusterModel, state: &State) -> bool {
    let mut electable = electable(state).peekable();
    electable.peek().is_none()
        || electable.any(|broker| promise::holds_promised(broker, state.history.shown()))
}

#[test]
fn a_look_at_one_electable_replica_misses_what_another_lacks() {
    assert!(condemns(commits_early(), Judge::Promise(COMPLETE)));
    assert!(!condemns(commits_early(), Judge::Twin(shown_is_somewhere)));
}

#[test]
fn a_fingerprint_without_what_leaders_ask_for_hides_a_loss() {
    let nobody_asks = |state: &State| State { alters: Default::default(), ..state.clone() };
    assert!(condemns(commits_early(), Judge::Promise(ACKNOWLEDGED)));
    assert!(!condemns(commits_early(), Judge::Forgetful(ACKNOWLEDGED, nobody_asks)));
}

#[test]
fn every_promise_has_a_twin_here() {
    let promises = promises_of(&PRODUCER);
    let unseen = unseen(promises, include_str!("mod.rs"), include_str!("twins.rs"));
    assert!(unseen.is_empty(), "{unseen:?} have no twin");
}
