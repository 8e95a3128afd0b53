//! The quorum machine, told in stories.

mod cluster;
mod nonsense;
mod snapshots;
mod voters;
mod waiting;

use cluster::{Cluster, MemoryLog, key};
use kraft_model::raft::{Effect, Event, Message, Patience, StoredState, Timer};
use kraft_model::{Epoch, NodeId, Offset};

const ELECTION: Timer = Timer::Election(Patience::Full);

#[test]
fn a_fresh_cluster_elects_commits_and_tells_everybody() {
    let mut cluster = Cluster::new(3, 0);
    cluster.elect(1);
    assert_eq!(cluster.is(1), "Leader in 1 of 1");
    assert_eq!(cluster.is(2), "Follower in 1 of 1");
    // The epoch's own record is committed first; only then may the controller act.
    let lead = Effect::Lead { epoch: Epoch(1), start: Offset(1) };
    let said = &cluster.node(1).said;
    let committed = said.iter().position(|e| *e == Effect::Committed(Offset(1)));
    let leads = said.iter().position(|e| *e == lead);
    assert!(committed.is_some() && committed < leads, "{said:?}");

    cluster.propose(1, 2);
    cluster.carry();
    for id in 1..=3 {
        assert_eq!(cluster.node(id).log.epochs, [1, 1, 1]);
        assert_eq!(cluster.node(id).machine.high_watermark(), Offset(3));
    }
    let ends = cluster.node(1).machine.voter_ends(&cluster.node(1).log);
    assert_eq!(ends[..], [1, 2, 3].map(|id| (NodeId(id), Offset(3))));
}

#[test]
fn every_change_of_who_leads_is_told_once() {
    let told = |cluster: &Cluster| -> Vec<_> {
        let said = cluster.node(2).said.iter().filter_map(|effect| match effect {
            Effect::LeaderKnown { leader, epoch } => Some((leader.map(|node| node.0), epoch.0)),
            _ => None,
        });
        said.collect()
    };
    let mut cluster = Cluster::new(3, 0);
    cluster.elect(1);
    let so_far = [(None, 0), (None, 1), (Some(1), 1)];
    assert_eq!(told(&cluster), so_far, "it started, gave its vote, and knows the winner");
    cluster.time_out(2, Timer::Fetch);
    cluster.carry();
    assert_eq!(told(&cluster), so_far, "it asked whether to stand, and follows the same one");
}

#[test]
fn a_voter_with_links_to_a_majority_does_not_wait_long() {
    let mut cluster = Cluster::new(3, 0);
    assert_eq!(cluster.election_timer(1), Some(Patience::Full));
    cluster.step(1, Event::Connected(NodeId(2)));
    assert_eq!(cluster.election_timer(1), Some(Patience::Fresh));
}

#[test]
fn a_single_voter_elects_itself_and_commits_on_flush() {
    let mut cluster = Cluster::new(1, 0);
    assert_eq!(cluster.election_timer(1), Some(Patience::Fresh));
    cluster.elect(1);
    cluster.propose(1, 1);
    assert_eq!(cluster.node(1).machine.high_watermark(), Offset(2));
    assert!(!cluster.node(1).timers.contains(&Timer::CheckQuorum));
}

#[test]
fn a_proposal_before_the_epoch_is_committed_is_not_appended() {
    let mut cluster = Cluster::new(3, 0);
    cluster.stand_until(1, "Leader");
    cluster.propose(1, 1);
    assert_eq!(cluster.node(1).log.epochs, [1]);
}

#[test]
fn a_follower_drops_what_the_new_leader_does_not_have() {
    // Node 3 led epoch 2 by the vote of node 2, and nobody saw its records.
    let logs = [&[1, 1][..], &[1, 1], &[1, 2, 2]].map(MemoryLog::of);
    let mut cluster = Cluster::with_logs(3, logs.to_vec());
    cluster.nodes[1].stored = StoredState { epoch: Epoch(2), leader: None, vote: Some(key(3)) };
    cluster.restart(2);
    cluster.time_out(1, ELECTION);
    cluster.carry_among(&[1, 2]);
    assert_eq!(cluster.is(1), "Unattached in 2", "it has learnt of the epoch");
    cluster.time_out(1, ELECTION);
    cluster.carry_among(&[1, 2]);
    assert_eq!(cluster.is(1), "Leader in 3 of 1");
    cluster.carry();
    cluster.time_out(1, Timer::Announce);
    cluster.carry();
    assert_eq!(cluster.node(3).log.epochs, [1, 1, 3]);
    assert_eq!(cluster.node(3).machine.high_watermark(), Offset(3));
}

#[test]
fn a_truncation_below_the_high_watermark_stops_the_process() {
    let mut cluster = Cluster::new(3, 0);
    cluster.elect(1);
    let stray = kraft_model::EpochEnd { epoch: 0, end: Offset(0) };
    let fetch = cluster_fetch(&mut cluster, 2);
    let answer = kraft_model::raft::FetchResponse {
        epoch: Epoch(1),
        leader: Some(NodeId(1)),
        offset: fetch.offset,
        last_epoch: fetch.last_epoch,
        outcome: kraft_model::raft::FetchOutcome::Diverging(stray),
    };
    let message = Message::FetchResponse(answer);
    cluster.step(2, Event::Received { from: NodeId(1), message });
    assert!(matches!(cluster.node(2).said.last(), Some(Effect::Violation(_))));
    assert_eq!(cluster.node(2).log.epochs, [1]);
}

/// The fetch that node `id` has waiting at the leader.
fn cluster_fetch(cluster: &mut Cluster, id: i32) -> kraft_model::raft::Fetch {
    let node = cluster.node(id);
    let (epoch, high_watermark) = (node.machine.epoch(), node.machine.high_watermark());
    let (offset, last_epoch) = (Offset(node.log.epochs.len() as i64), Epoch(1));
    kraft_model::raft::Fetch { epoch, replica: key(id), offset, last_epoch, high_watermark }
}

#[test]
fn a_late_answer_to_an_older_fetch_changes_nothing() {
    let mut cluster = Cluster::new(3, 0);
    cluster.elect(1);
    let fetch = cluster_fetch(&mut cluster, 2);
    let late = kraft_model::raft::FetchResponse {
        epoch: Epoch(1),
        leader: Some(NodeId(1)),
        offset: Offset(0),
        last_epoch: Epoch(0),
        outcome: kraft_model::raft::FetchOutcome::Records {
            batch: Some(cluster::Batch::of(fetch.offset.0, &[1])),
            high_watermark: Offset(2),
        },
    };
    let message = Message::FetchResponse(late);
    cluster.step(2, Event::Received { from: NodeId(1), message });
    assert_eq!(cluster.node(2).log.epochs, [1]);
}

#[test]
fn a_pre_vote_is_refused_under_a_live_leader_and_deposes_nobody() {
    let mut cluster = Cluster::new(3, 0);
    cluster.elect(1);
    cluster.time_out(2, Timer::Fetch);
    assert_eq!(cluster.is(2), "Prospective in 1 of 1");
    let stored = cluster.node(2).stored;
    cluster.carry();
    assert_eq!(cluster.is(2), "Follower in 1 of 1");
    assert_eq!(cluster.is(1), "Leader in 1 of 1");
    assert_eq!(cluster.node(2).stored, stored, "a pre-vote is never stored");
}

#[test]
fn followers_of_a_dead_leader_elect_another_by_rank() {
    let mut cluster = Cluster::new(3, 0);
    cluster.elect(1);
    for id in [2, 3] {
        cluster.step(id, Event::PeerGone(NodeId(1)));
    }
    assert_eq!(cluster.election_timer(2), Some(Patience::Ranked(0)));
    assert_eq!(cluster.election_timer(3), Some(Patience::Ranked(1)));
    assert_eq!(cluster.is(2), "Follower in 1 of 1", "nothing is decided yet");
    cluster.time_out(2, ELECTION);
    cluster.carry_among(&[2, 3]);
    assert_eq!(cluster.is(2), "Leader in 2 of 2");
    assert_eq!(cluster.is(3), "Follower in 2 of 2");
    assert_eq!(cluster.node(3).machine.high_watermark(), Offset(2));
}

#[test]
fn two_that_stand_at_once_do_not_wait_for_the_vote_of_the_dead() {
    let mut cluster = Cluster::new(3, 0);
    cluster.elect(1);
    for id in [2, 3] {
        cluster.step(id, Event::Disconnected(NodeId(1)));
        cluster.step(id, Event::PeerGone(NodeId(1)));
    }
    cluster.time_out(2, ELECTION);
    cluster.time_out(3, ELECTION);
    cluster.carry_among(&[2, 3]);
    for id in [2, 3] {
        assert_eq!(cluster.is(id), "Candidate in 2");
        assert_eq!(cluster.election_timer(id), Some(Patience::Backoff(0)));
    }
    cluster.time_out(3, ELECTION);
    cluster.carry_among(&[2, 3]);
    assert_eq!(cluster.is(3), "Leader in 3 of 3");
}

#[test]
fn one_who_wrongly_takes_the_leader_for_dead_follows_it_again() {
    let mut cluster = Cluster::new(3, 0);
    cluster.elect(1);
    cluster.step(2, Event::PeerGone(NodeId(1)));
    cluster.time_out(2, ELECTION);
    cluster.carry_among(&[2, 3]);
    assert_eq!(cluster.is(2), "Follower in 1 of 1", "node 3 names the leader that it fetches from");
    assert_eq!(cluster.election_timer(2), Some(Patience::Backoff(0)));
    cluster.propose(1, 1);
    cluster.carry();
    assert_eq!(cluster.election_timer(2), None, "the leader has answered");
    assert_eq!(cluster.node(2).log.epochs, [1, 1]);
}

#[test]
fn a_leader_that_resigns_names_its_successors() {
    let mut cluster = Cluster::new(3, 0);
    cluster.elect(1);
    // Node 3 has more than node 2.
    cluster.propose(1, 1);
    cluster.carry_among(&[1, 3]);
    cluster.step(1, Event::Resign);
    assert_eq!(cluster.is(1), "Resigned in 1");
    assert!(cluster.node(1).said.contains(&Effect::LostLeadership { epoch: Epoch(1) }));
    cluster.carry();
    assert_eq!(cluster.election_timer(3), Some(Patience::Ranked(0)));
    assert_eq!(cluster.election_timer(2), Some(Patience::Ranked(1)));
    cluster.elect(3);
    assert_eq!(cluster.is(1), "Follower in 2 of 3");
}

#[test]
fn a_leader_without_a_majority_resigns() {
    let mut cluster = Cluster::new(3, 0);
    cluster.elect(1);
    cluster.time_out(1, Timer::CheckQuorum);
    assert_eq!(cluster.is(1), "Resigned in 1");
}

#[test]
fn a_restarted_leader_does_not_lead_on() {
    let mut cluster = Cluster::new(3, 0);
    cluster.elect(1);
    cluster.restart(1);
    assert_eq!(cluster.is(1), "Resigned in 1");
    // A follower that asks it hears so, and needs no timeout to act.
    cluster.step(2, Event::Disconnected(NodeId(1)));
    cluster.time_out(2, Timer::Retry);
    cluster.carry();
    assert_eq!(cluster.election_timer(2), Some(Patience::Ranked(0)));
}

#[test]
fn a_restarted_candidate_keeps_its_vote_and_waits_for_the_next_epoch() {
    let mut cluster = Cluster::new(3, 0);
    cluster.stand_until(1, "Candidate");
    cluster.restart(1);
    assert_eq!(cluster.is(1), "Unattached in 1");
    assert_eq!(cluster.node(1).machine.vote(), Some(key(1)));
}

#[test]
fn a_restarted_voter_takes_its_epoch_from_its_log_where_that_is_higher() {
    let mut cluster = Cluster::with_logs(3, vec![MemoryLog::of(&[1, 2]); 3]);
    cluster.nodes[0].stored = StoredState { epoch: Epoch(1), leader: None, vote: Some(key(2)) };
    cluster.restart(1);
    assert_eq!(cluster.is(1), "Unattached in 2");
    assert_eq!(cluster.node(1).machine.vote(), None);
}

#[test]
fn an_observer_asks_the_voters_in_turn_and_follows() {
    let mut cluster = Cluster::new(3, 1);
    cluster.wires.clear();
    cluster.elect(1);
    cluster.time_out(4, Timer::Retry);
    assert!(matches!(cluster.wires.back(), Some((4, 2, Message::Fetch(_)))), "the second voter");
    cluster.wires.clear();
    cluster.step(4, Event::Connected(NodeId(3)));
    assert!(matches!(cluster.wires.back(), Some((4, 3, Message::Fetch(_)))), "who is there to ask");
    cluster.carry();
    // Node 3 may not have noticed that node 1 is dead: hearsay counts once there is a link to it.
    assert_eq!(cluster.is(4), "Unattached in 1");
    cluster.step(4, Event::Connected(NodeId(1)));
    cluster.carry();
    assert_eq!(cluster.is(4), "Follower in 1 of 1");
    assert_eq!(cluster.node(4).machine.high_watermark(), Offset(1));
    // It never stands, and it is not counted.
    cluster.time_out(4, Timer::Fetch);
    assert_eq!(cluster.is(4), "Unattached in 1");
    assert_eq!(cluster.node(1).machine.voter_ends(&cluster.node(1).log).len(), 3);
}

/// Node 3 had been in the majority that holds the second record, and its disk has lost it: together
/// with node 1, which never had it, it could elect a leader that knows nothing of it.
#[test]
fn a_voter_with_a_damaged_log_neither_votes_nor_stands_until_it_is_whole_again() {
    let damaged = MemoryLog { damaged: true, ..MemoryLog::of(&[1]) };
    let logs = vec![MemoryLog::of(&[1]), MemoryLog::of(&[1, 1]), damaged];
    let mut cluster = Cluster::with_logs(3, logs);
    cluster.time_out(1, ELECTION);
    cluster.carry_among(&[1, 3]);
    assert!(!cluster.node(1).machine.is_leader(), "{}", cluster.is(1));
    cluster.time_out(3, ELECTION);
    cluster.carry_among(&[1, 3]);
    assert_eq!(cluster.node(3).machine.role(), "Unattached");
    assert!(cluster.election_timer(3).is_some(), "it waits to be told of a leader");

    // Whoever has everything leads, and once the log is whole its voter votes again.
    cluster.wires.clear();
    cluster.elect(2);
    assert_eq!(cluster.node(3).log.epochs, cluster.node(2).log.epochs);
    cluster.nodes[2].log.damaged = false;
    cluster.step(2, Event::Resign);
    cluster.carry();
    cluster.time_out(1, ELECTION);
    cluster.carry_among(&[1, 3]);
    assert!(cluster.node(1).machine.is_leader(), "{}", cluster.is(1));
}
