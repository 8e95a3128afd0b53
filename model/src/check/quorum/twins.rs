//! Every promise of the quorum beside its twin: see [`crate::check::twin`].

use stateright::Model;

use super::record::{Record, Run};
use super::state::State;
use super::suite::{CALM, PREVOTE, RECONFIG, SNAPSHOT};
use super::{Bounds, Delivery, QuorumModel, story};
use crate::check::Mutated;
use crate::check::twin::{Judge, assert_sees, assert_sees_in, condemns, unseen};
use crate::log::Log;
use crate::{Epoch, Guard};

/// The bounds of the mutations that are used here are cut to what the one promise needs.
const SMALL: Bounds = Bounds { records: 0, ..CALM };

fn without<const N: usize>(guard: Guard, bounds: Bounds) -> QuorumModel<N> {
    QuorumModel::new(Bounds { rules: Mutated(Some(guard)), ..bounds })
}

const RIVALS: Bounds = Bounds { epochs: 1, delivery: Delivery::InOrder, ..SMALL };

#[test]
fn two_leaders_of_one_epoch_are_seen() {
    assert_sees(without::<3>(Guard::VoteTwice, RIVALS), story::ONE_LEADER);
}

#[test]
fn a_changed_vote_is_seen() {
    assert_sees(without::<3>(Guard::VoteTwice, RIVALS), story::VOTES_STAND);
}

#[test]
fn a_falling_high_watermark_is_seen() {
    assert_sees(without::<3>(Guard::HwFalls, SMALL), story::HIGH_WATERMARK);
}

#[test]
fn what_a_machine_notices_itself_is_seen() {
    let bounds = Bounds { epochs: 3, timeouts: 3, ..SMALL };
    assert_sees(without::<3>(Guard::HwFromDivergence, bounds), story::UNBROKEN);
}

#[test]
fn logs_that_differ_within_an_epoch_are_seen() {
    assert_sees(without::<3>(Guard::MajorityIsHalf, RIVALS), story::LOGS_MATCH);
}

#[test]
fn epochs_that_fall_along_a_log_are_seen() {
    let model = QuorumModel::<3>::new(SMALL);
    let mut state = model.init_states()[0];
    let falling = [Record::data(Epoch(2), 1), Record::data(Epoch(1), 2)];
    state.nodes[1].log.append(falling.into_iter().fold(Run::default(), |mut run, record| {
        run.push(record);
        run
    }));
    assert_sees_in(&model, &state, story::EPOCHS_ASCEND);
}

#[test]
fn a_leader_that_misses_what_was_committed_is_seen() {
    assert_sees(without::<3>(Guard::SkipLogUpToDate, SMALL), story::COMPLETE);
}

#[test]
fn a_changed_committed_record_is_seen() {
    let bounds = Bounds { epochs: 1, ..CALM };
    assert_sees(without::<3>(Guard::HwBeyondOwnEnd, bounds), story::IMMUTABLE);
}

#[test]
fn a_commit_on_too_few_disks_is_seen() {
    assert_sees(without::<3>(Guard::CommitOnNack, CALM), story::DURABLE);
}

#[test]
fn an_election_against_a_followed_leader_is_seen() {
    let bounds = Bounds { records: 0, partitions: 0, ..PREVOTE };
    assert_sees(without::<3>(Guard::PrevoteUnderLiveLeader, bounds), story::STABLE);
}

#[test]
fn a_majority_that_is_stuck_is_seen() {
    let bounds = Bounds { records: 2, judges_electability: true, ..CALM };
    assert_sees(without::<3>(Guard::CompareLogMemberwise, bounds), story::ELECTABLE);
}

#[test]
fn a_snapshot_of_something_else_is_seen() {
    let bounds = Bounds { crashes: 0, epochs: 2, ..SNAPSHOT };
    assert_sees(without::<3>(Guard::SkipLogUpToDate, bounds), story::FOLD);
}

#[test]
fn a_log_that_begins_after_its_snapshot_is_seen() {
    let bounds = Bounds { crashes: 0, ..SNAPSHOT };
    assert_sees(without::<3>(Guard::SnapshotOffByOne, bounds), story::COVERED);
}

#[test]
fn a_leader_that_loads_a_snapshot_is_seen() {
    let lagging = Bounds { timeouts: 3, peers_gone: 1, candidates: 0b101, ..SNAPSHOT };
    let bounds = Bounds { crashes: 0, epochs: 2, records: 0, ..lagging };
    assert_sees(without::<3>(Guard::SkipLogUpToDate, bounds), story::LEADER_LOADS);
}

#[test]
fn a_node_that_goes_by_other_voters_than_its_log_is_seen() {
    let bounds = Bounds { adds: 0, ..RECONFIG };
    assert_sees(without::<4>(Guard::VotersOnCommit, bounds), story::VOTERS_FOLLOW);
}

#[test]
fn two_uncommitted_voter_sets_are_seen() {
    let bounds = Bounds { adds: 0, removes: 2, ..RECONFIG };
    assert_sees(without::<4>(Guard::TwoUncommittedVoterSets, bounds), story::ONE_UNCOMMITTED);
}

/// Whether a leader has all that was committed, asked of the leaders of older epochs.
fn complete_the_wrong_way_round(_: &QuorumModel<3>, state: &State<3>) -> bool {
    let committed = state.history.committed();
    state.nodes.iter().all(|node| {
        let older = node.standing.epoch() < committed.epoch;
        let log = node.log.whole();
        !node.standing.is_leader() || !older || log.as_slice().starts_with(committed.log)
    })
}

#[test]
fn a_comparison_of_epochs_the_wrong_way_round_condemns_nobody() {
    let model = || without::<3>(Guard::SkipLogUpToDate, SMALL);
    assert!(condemns(model(), Judge::Promise(story::COMPLETE)));
    assert!(!condemns(model(), Judge::Twin(complete_the_wrong_way_round)));
}

/// Whether what is committed is on a majority, written or not.
fn durable_without_flushing(_: &QuorumModel<3>, state: &State<3>) -> bool {
    let committed = state.history.committed.as_slice();
    let holds = |log: &super::DiskLog| log.whole().as_slice().starts_with(committed);
    state.nodes.iter().filter(|node| holds(&node.log)).count() * 2 > 3
}

#[test]
fn a_count_of_what_is_not_flushed_misses_what_a_crash_would_lose() {
    let bounds = Bounds { crashes: 1, epochs: 1, timeouts: 1, ..SMALL };
    let model = || without::<3>(Guard::CountUnflushed, bounds);
    assert!(condemns(model(), Judge::Promise(story::DURABLE)));
    let before_the_crash = |model: &QuorumModel<3>, state: &State<3>| {
        state.spent.crashes > 0 || durable_without_flushing(model, state)
    };
    assert!(!condemns(model(), Judge::Twin(before_the_crash)));
    assert!(!condemns(QuorumModel::<3>::new(bounds), Judge::Promise(story::DURABLE)));
}

#[test]
fn every_promise_has_a_twin_here() {
    let everything = Bounds {
        snapshots: 1,
        observers: Some(1),
        judges_stability: true,
        judges_electability: true,
        ..CALM
    };
    let kept = super::promises::kept::<3>(&everything).into_iter().map(|promise| promise.name);
    let unseen = unseen(kept, include_str!("story.rs"), include_str!("twins.rs"));
    assert!(unseen.is_empty(), "{unseen:?} have no twin");
}
