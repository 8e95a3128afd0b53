//! Who votes, and how that changes (Q12), told in stories.

use kraft_model::log::Log;
use kraft_model::raft::VoterChange::{Add, Remove, Update};
use kraft_model::raft::VoterChangeError as Refused;
use kraft_model::raft::{Effect, Event, Patience, SnapshotId, Timer, Vote, VotersRecord};
use kraft_model::{DirectoryId, Epoch, ErrorCode, NodeId, Offset, ReplicaKey};

use crate::cluster::{Cluster, MemoryLog, key, set};

const ELECTION: Timer = Timer::Election(Patience::Full);

/// Node 1 leads the voters 1 to `voters`; the others follow as observers.
fn led_by_one(voters: i32, observers: i32) -> Cluster {
    let mut cluster = Cluster::dynamic(voters, observers);
    cluster.elect(1);
    for observer in voters + 1..=voters + observers {
        cluster.step(observer, Event::Connected(NodeId(1)));
    }
    cluster.carry();
    cluster
}

#[test]
fn the_first_leader_writes_into_the_log_whom_the_quorum_was_formatted_with() {
    let cluster = led_by_one(3, 1);
    for id in 1..=4 {
        assert_eq!(cluster.voters(id), [1, 2, 3], "node {id}");
        assert_eq!(cluster.node(id).machine.voters_at(), Some(Offset(1)));
    }
    assert_eq!(cluster.is(4), "Follower in 1 of 1", "it was told by node 1, which it asked");
}

#[test]
fn an_observer_that_has_caught_up_becomes_a_voter_as_soon_as_it_reads_so() {
    let mut cluster = led_by_one(3, 1);
    cluster.change(1, Add(key(4)));
    assert_eq!(cluster.voters(1), [1, 2, 3, 4], "in force when appended");
    assert_eq!(cluster.answer(1), None, "a majority of the four has yet to have it");
    cluster.carry_among(&[1, 2]);
    assert_eq!(cluster.answer(1), None, "two of four are no majority");
    cluster.carry();
    assert_eq!(cluster.answer(1), Some(Ok(())));
    assert_eq!(cluster.voters(4), [1, 2, 3, 4]);
    cluster.time_out(4, Timer::Fetch);
    assert_eq!(cluster.is(4), "Prospective in 1 of 1", "it may stand now");
}

#[test]
fn an_observer_that_is_behind_is_not_counted_before_it_has_caught_up() {
    let mut cluster = Cluster::dynamic(1, 1);
    cluster.elect(1);
    cluster.propose(1, 3);
    cluster.change(1, Add(key(2)));
    assert_eq!(cluster.voters(1), [1], "nobody is waited for who has nothing");
    cluster.step(2, Event::Connected(NodeId(1)));
    cluster.carry();
    assert_eq!(cluster.answer(1), Some(Ok(())));
    assert_eq!(cluster.voters(2), [1, 2]);
    assert_eq!(cluster.node(1).machine.high_watermark(), Offset(6));
}

#[test]
fn an_observer_that_never_catches_up_is_given_up() {
    let mut cluster = led_by_one(1, 0);
    cluster.change(1, Add(key(2)));
    cluster.time_out(1, Timer::VoterChange);
    assert_eq!(cluster.answer(1), Some(Err(Refused::Lagging)));
    assert_eq!(Refused::Lagging.code(), ErrorCode::RequestTimedOut);
    assert_eq!(cluster.voters(1), [1]);
}

#[test]
fn the_directory_that_catches_up_must_be_the_one_that_was_named() {
    let mut cluster = led_by_one(1, 1);
    let other = ReplicaKey { id: NodeId(2), directory: DirectoryId(99) };
    cluster.change(1, Add(other));
    cluster.carry();
    assert_eq!(cluster.answer(1), None);
    assert_eq!(cluster.voters(1), [1]);
}

#[test]
fn a_removed_voter_is_an_observer_as_soon_as_it_reads_so() {
    let mut cluster = led_by_one(3, 0);
    cluster.change(1, Remove(key(3)));
    cluster.carry();
    assert_eq!(cluster.answer(1), Some(Ok(())));
    assert_eq!(cluster.voters(3), [1, 2]);
    cluster.time_out(3, Timer::Fetch);
    assert_eq!(cluster.is(3), "Unattached in 1", "it asks, and does not stand");
    assert_eq!(cluster.election_timer(3), None);
}

#[test]
fn a_removed_leader_does_not_count_itself_and_leaves_when_its_removal_is_committed() {
    let mut cluster = led_by_one(3, 0);
    cluster.change(1, Remove(key(1)));
    assert_eq!(cluster.is(1), "Leader in 1 of 1", "it leads on until then");
    cluster.carry_among(&[1, 2]);
    // KAFKA-16530: it and node 2 have the record, which is one voter of two.
    assert_eq!(cluster.answer(1), None);
    cluster.carry();
    assert_eq!(cluster.answer(1), Some(Ok(())));
    assert!(cluster.node(1).said.contains(&Effect::LostLeadership { epoch: Epoch(1) }));
    assert_eq!(cluster.election_timer(1), None, "it will not stand again");
    assert_eq!(cluster.election_timer(2), Some(Patience::Ranked(0)), "it was told to");
    cluster.elect(2);
    assert_eq!(cluster.is(3), "Follower in 2 of 2");
    cluster.step(1, Event::Connected(NodeId(2)));
    cluster.carry();
    assert_eq!(cluster.is(1), "Follower in 2 of 2", "as an observer");
}

#[test]
fn the_last_voter_but_one_can_be_the_leader_that_leaves() {
    let mut cluster = led_by_one(2, 0);
    cluster.change(1, Remove(key(1)));
    cluster.carry();
    assert_eq!(cluster.answer(1), Some(Ok(())));
    assert_eq!(cluster.voters(2), [2]);
    cluster.elect(2);
    cluster.propose(2, 1);
    assert_eq!(cluster.node(2).machine.high_watermark(), Offset(5));
}

#[test]
fn what_cannot_be_changed_is_refused_with_the_reason() {
    let mut cluster = led_by_one(2, 1);
    let unnamed = ReplicaKey { id: NodeId(3), directory: DirectoryId::ZERO };
    let elsewhere = ReplicaKey { id: NodeId(2), directory: DirectoryId(99) };
    let refusals = [
        (2, Add(key(3)), Refused::NotLeader, ErrorCode::NotLeaderOrFollower),
        (1, Add(key(2)), Refused::Duplicate, ErrorCode::DuplicateVoter),
        (1, Add(elsewhere), Refused::Duplicate, ErrorCode::DuplicateVoter),
        (1, Add(unnamed), Refused::NoDirectory, ErrorCode::InvalidRequest),
        (1, Remove(key(3)), Refused::NotFound, ErrorCode::VoterNotFound),
        (1, Remove(elsewhere), Refused::NotFound, ErrorCode::VoterNotFound),
        (1, Update(elsewhere), Refused::NotFound, ErrorCode::VoterNotFound),
    ];
    for (id, change, why, code) in refusals {
        cluster.change(id, change);
        assert_eq!(cluster.answer(id), Some(Err(why)), "{change:?}");
        assert_eq!(why.code(), code);
    }
    let mut alone = led_by_one(1, 0);
    alone.change(1, Remove(key(1)));
    assert_eq!(alone.answer(1), Some(Err(Refused::Last)));
    let mut full = led_by_one(8, 1);
    full.change(1, Add(key(9)));
    assert_eq!(full.answer(1), Some(Err(Refused::Full)));
}

#[test]
fn a_static_quorum_is_not_changed() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect(1);
    cluster.change(1, Add(key(4)));
    assert_eq!(cluster.answer(1), Some(Err(Refused::Static)));
    assert_eq!(Refused::Static.code(), ErrorCode::UnsupportedVersion);
}

#[test]
fn one_change_waits_for_the_other() {
    let mut cluster = led_by_one(3, 0);
    cluster.change(1, Remove(key(3)));
    cluster.change(1, Remove(key(2)));
    assert_eq!(cluster.answer(1), Some(Err(Refused::ChangePending)));
    cluster.time_out(1, Timer::VoterChange);
    assert_eq!(cluster.answer(1), Some(Err(Refused::NotCommitted)));
    cluster.change(1, Remove(key(2)));
    assert_eq!(cluster.answer(1), Some(Err(Refused::SetNotCommitted)), "its record stays");
    cluster.carry();
    cluster.change(1, Remove(key(2)));
    cluster.carry();
    assert_eq!(cluster.voters(1), [1]);
}

/// Its record is the next: what a majority has ends right before it.
#[test]
fn a_change_is_answered_when_its_own_record_is_committed() {
    let mut cluster = led_by_one(3, 0);
    cluster.propose(1, 1);
    let at = cluster.node(1).log.end();
    cluster.change(1, Update(key(2)));
    while cluster.node(1).machine.high_watermark() < at {
        let Some((from, to, message)) = cluster.wires.pop_front() else { break };
        cluster.step(to, Event::Received { from: NodeId(from), message });
    }
    assert_eq!(cluster.node(1).machine.high_watermark(), at);
    assert_eq!(cluster.answer(1), None);
    cluster.carry();
    assert_eq!(cluster.answer(1), Some(Ok(())));
}

#[test]
fn a_new_leader_changes_nothing_before_its_epoch_is_committed() {
    let mut cluster = led_by_one(3, 0);
    cluster.step(1, Event::Resign);
    cluster.carry();
    cluster.stand_until(2, "Leader");
    cluster.change(2, Remove(key(3)));
    assert_eq!(cluster.answer(2), Some(Err(Refused::EpochNotCommitted)));
    assert_eq!(cluster.voters(2), [1, 2, 3]);
}

#[test]
fn an_answer_is_owed_when_leadership_is_lost() {
    let mut cluster = led_by_one(3, 0);
    cluster.change(1, Remove(key(3)));
    cluster.wires.clear();
    cluster.time_out(1, Timer::CheckQuorum);
    assert_eq!(cluster.answer(1), Some(Err(Refused::LostLeadership)));
}

#[test]
fn a_truncation_restores_the_voters_of_before() {
    let mut cluster = led_by_one(3, 1);
    // Nobody but node 1 has the record that adds node 4, and the others elect another leader.
    cluster.change(1, Add(key(4)));
    cluster.wires.clear();
    assert_eq!(cluster.voters(1), [1, 2, 3, 4]);
    for id in [2, 3] {
        cluster.step(id, Event::PeerGone(NodeId(1)));
    }
    cluster.time_out(2, ELECTION);
    cluster.carry_among(&[2, 3]);
    assert_eq!(cluster.is(2), "Leader in 2 of 2");
    cluster.time_out(2, Timer::Announce);
    cluster.carry();
    assert_eq!(cluster.is(1), "Follower in 2 of 2");
    assert_eq!(cluster.voters(1), [1, 2, 3], "it fell back with the log");
    assert_eq!(cluster.node(1).log.epochs, [1, 1, 2]);
}

#[test]
fn a_snapshot_brings_the_voters_of_its_end() {
    let id = SnapshotId { end: Offset(4), epoch: Epoch(1) };
    let mut leader = MemoryLog::of(&[1, 1, 1, 1]);
    leader.voters = vec![VotersRecord { offset: Offset(1), voters: set(&[1]) }];
    kraft_model::raft::RaftLog::cut_to_snapshot(&mut leader, id);
    let mut cluster = Cluster::with_logs(0, vec![leader, MemoryLog::default()]);
    cluster.elect(1);
    cluster.step(2, Event::Connected(NodeId(1)));
    cluster.carry();
    assert_eq!(cluster.voters(2), [0; 0], "the snapshot is on its way to the disk");
    cluster.nodes[1].log.voters = cluster.nodes[0].log.voters.clone();
    cluster.step(2, Event::SnapshotInstalled(id));
    assert_eq!(cluster.voters(2), [1]);
}

#[test]
fn a_restart_keeps_the_voters_of_the_log() {
    let mut cluster = led_by_one(3, 1);
    cluster.change(1, Add(key(4)));
    cluster.carry();
    for id in 1..=4 {
        cluster.restart(id);
        assert_eq!(cluster.voters(id), [1, 2, 3, 4], "node {id}");
    }
    assert!(cluster.election_timer(4).is_some() || cluster.is(4).starts_with("Follower"));
}

#[test]
fn an_update_changes_where_a_voter_is_reached_and_not_who_votes() {
    let mut cluster = led_by_one(3, 0);
    cluster.change(1, Update(key(2)));
    cluster.carry();
    assert_eq!(cluster.answer(1), Some(Ok(())));
    assert_eq!(cluster.voters(2), [1, 2, 3]);
    assert_eq!(cluster.node(2).machine.voters_at(), Some(Offset(2)));
    assert!(cluster.node(2).said.contains(&Effect::VotersKnown));
}

fn vote_for(candidate: ReplicaKey, voter: ReplicaKey) -> Vote {
    let (epoch, last_epoch, end) = (Epoch(5), Epoch(1), Offset(9));
    Vote { epoch, candidate, voter, last_epoch, end, pre_vote: false }
}

#[test]
fn the_same_id_on_another_disk_is_another_voter() {
    let mut cluster = Cluster::new(3, 0);
    let wiped = |id| ReplicaKey { id: NodeId(id), directory: DirectoryId(99) };
    // Whom the candidate means was there before the disk was replaced: it may have voted.
    let answer = cluster.ask(2, vote_for(key(1), wiped(2)));
    assert_eq!(answer.error, Some(ErrorCode::InvalidVoterKey));
    assert!(!answer.granted);
    // And a vote for a candidate is none for the one that took its id.
    assert!(cluster.ask(2, vote_for(key(1), key(2))).granted);
    assert!(!cluster.ask(2, vote_for(wiped(1), key(2))).granted);
}

#[test]
fn a_node_on_a_new_disk_is_an_observer_and_acknowledges_nothing() {
    let mut cluster = Cluster::dynamic(3, 0);
    let voters = cluster.nodes[2].log.voters.clone();
    let wiped = ReplicaKey { id: NodeId(3), directory: DirectoryId(99) };
    cluster.replace_disk(3, wiped, MemoryLog { voters, ..MemoryLog::default() });
    assert!(!cluster.node(3).machine.is_voter());
    assert_eq!(cluster.election_timer(3), None);
    cluster.time_out(1, ELECTION);
    cluster.carry_among(&[1, 3]);
    assert_eq!(cluster.is(1), "Prospective in 0", "its vote does not count");
    cluster.carry();
    assert_eq!(cluster.is(1), "Leader in 1 of 1");
    cluster.propose(1, 1);
    cluster.carry_among(&[1, 3]);
    assert_eq!(cluster.node(1).machine.high_watermark(), Offset(2));
    cluster.carry();
    assert_eq!(cluster.node(1).machine.high_watermark(), Offset(3));
}

#[test]
fn a_voter_answers_a_candidate_that_it_does_not_know() {
    // Node 4 was added by a record that nodes 2 and 3 do not have.
    let mut cluster = led_by_one(3, 1);
    let stranger = key(4);
    assert!(cluster.ask(2, vote_for(stranger, key(2))).granted);
    let behind = Vote { end: Offset(0), last_epoch: Epoch(0), ..vote_for(stranger, key(3)) };
    assert!(!cluster.ask(3, behind).granted, "its log must have everything all the same");
}

#[test]
fn an_observer_votes_when_a_candidate_takes_it_for_a_voter() {
    let mut cluster = led_by_one(3, 1);
    assert!(cluster.ask(4, vote_for(key(2), key(4))).granted);
    assert_eq!(cluster.election_timer(4), None, "it does not stand itself");
    assert!(cluster.node(4).timers.contains(&Timer::Retry));
}
