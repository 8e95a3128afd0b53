//! Snapshots (Q11): written, fetched and installed, told in stories.

use kraft_model::raft::{
    BeginQuorumEpoch, Effect, Event, Fetch, FetchOutcome, FetchResponse, FetchSnapshotResponse,
    Message, Patience, RaftLog, SnapshotId, Timer, VotersRecord,
};
use kraft_model::{Epoch, NodeId, Offset};

use crate::cluster::{Batch, Cluster, MemoryLog, key, set};

const ELECTION: Timer = Timer::Election(Patience::Full);

#[test]
fn a_follower_whose_log_ends_before_the_leaders_begins_installs_a_snapshot() {
    let mut leader = MemoryLog::of(&[1, 1, 1]);
    let snapshot = SnapshotId { end: Offset(2), epoch: Epoch(1) };
    leader.cut_to_snapshot(snapshot);
    let logs = vec![leader.clone(), leader, MemoryLog::default()];
    let mut cluster = Cluster::with_logs(3, logs);
    cluster.time_out(1, ELECTION);
    cluster.carry_among(&[1, 2]);
    cluster.carry();
    let chunks: Vec<_> = (cluster.node(3).said.iter())
        .filter_map(|effect| match effect {
            Effect::StoreSnapshotChunk { position, last, .. } => Some((*position, *last)),
            _ => None,
        })
        .collect();
    assert_eq!(chunks, [(0, false), (1, true)]);
    cluster.step(3, Event::SnapshotInstalled(snapshot));
    cluster.carry();
    let node = cluster.node(3);
    assert_eq!((node.log.start, &node.log.epochs[..]), (2, &[1, 2][..]));
    assert_eq!(node.machine.high_watermark(), Offset(4));
}

#[test]
fn a_snapshot_of_what_is_committed_lets_the_log_begin_later() {
    let mut cluster = Cluster::new(1, 0);
    cluster.elect(1);
    cluster.propose(1, 2);
    let snapshot = |end| SnapshotId { end: Offset(end), epoch: Epoch(1) };
    cluster.step(1, Event::SnapshotWritten(snapshot(2)));
    assert_eq!(cluster.node(1).log.start, 2);
    cluster.step(1, Event::SnapshotWritten(snapshot(4)));
    assert!(matches!(cluster.node(1).said.last(), Some(Effect::Violation(_))));
}

#[test]
fn a_log_whose_beginning_is_in_no_snapshot_is_refused() {
    let log = MemoryLog { start: 5, flushed: 5, ..MemoryLog::default() };
    let cluster = Cluster::with_logs(1, vec![log]);
    assert!(matches!(cluster.node(1).said.last(), Some(Effect::Violation(_))));
}

#[test]
fn what_a_snapshot_covers_is_known_to_be_committed_from_the_start() {
    let committed = |cluster: &Cluster| {
        let said = cluster.node(1).said.iter();
        said.filter(|effect| matches!(effect, Effect::Committed(_))).count()
    };
    assert_eq!(committed(&Cluster::new(3, 0)), 0, "nothing is");
    let mut log = MemoryLog::of(&[1, 1, 1]);
    let snapshot = SnapshotId { end: Offset(2), epoch: Epoch(1) };
    log.cut_to_snapshot(snapshot);
    let cluster = Cluster::with_logs(3, vec![log.clone(), log.clone(), log]);
    assert!(cluster.node(1).said.contains(&Effect::Committed(Offset(2))));
}

/// A follower whose leader has a snapshot of nothing would be sent to fetch it for ever.
#[test]
fn a_snapshot_of_nothing_is_not_offered() {
    let mut cluster = Cluster::new(3, 0);
    cluster.time_out(1, ELECTION);
    cluster.carry_among(&[1, 2]);
    cluster.step(1, Event::SnapshotWritten(SnapshotId::default()));
    cluster.carry();
    assert_eq!(cluster.node(3).log.epochs, [1]);
}

#[test]
fn who_has_something_else_below_the_leaders_log_is_sent_to_its_snapshot() {
    let mut leader = MemoryLog::of(&[1, 2, 2]);
    leader.cut_to_snapshot(SnapshotId { end: Offset(2), epoch: Epoch(2) });
    let mut cluster = Cluster::with_logs(3, vec![leader.clone(), leader, MemoryLog::default()]);
    cluster.stand_until(1, "Leader");
    let (epoch, replica, high_watermark) = (Epoch(3), key(3), Offset(0));
    for (offset, last_epoch, goes_on) in [(0, 0, false), (1, 1, false), (2, 1, false), (2, 2, true)]
    {
        let (offset, last_epoch) = (Offset(offset), Epoch(last_epoch));
        let fetch = Fetch { epoch, replica, offset, last_epoch, high_watermark };
        cluster.step(1, Event::Received { from: NodeId(3), message: Message::Fetch(fetch) });
        let Some((1, 3, Message::FetchResponse(answer))) = cluster.wires.back() else {
            panic!("it answers")
        };
        let records = matches!(answer.outcome, FetchOutcome::Records { .. });
        let snapshot = matches!(answer.outcome, FetchOutcome::Snapshot(_));
        assert_eq!((records, snapshot), (goes_on, !goes_on), "{offset:?} {last_epoch:?}");
    }
}

const SNAPSHOT: SnapshotId = SnapshotId { end: Offset(2), epoch: Epoch(1) };

/// Node 3 has nothing and has just asked node 1, which leads epoch 2, for the beginning of its snapshot.
fn asking_for_a_snapshot() -> Cluster {
    let mut leader = MemoryLog::of(&[1, 1, 1]);
    leader.cut_to_snapshot(SNAPSHOT);
    let mut cluster = Cluster::with_logs(3, vec![leader.clone(), leader, MemoryLog::default()]);
    cluster.stand_until(1, "Leader");
    while !matches!(cluster.wires.back(), Some((3, 1, Message::FetchSnapshot(_)))) {
        let Some((from, to, message)) = cluster.wires.pop_front() else { break };
        cluster.step(to, Event::Received { from: NodeId(from), message });
    }
    cluster.wires.clear();
    cluster
}

/// Node 1 answers node 3 with this as the snapshot's beginning; returns whether node 3 takes it.
fn takes(cluster: &mut Cluster, bytes: Batch, last: bool) -> bool {
    let (epoch, leader, position) = (Epoch(2), Some(NodeId(1)), 0);
    let (snapshot, chunk) = (SNAPSHOT, Ok((bytes, last)));
    let answer = FetchSnapshotResponse { epoch, leader, snapshot, position, chunk };
    let message = Message::FetchSnapshotResponse(answer);
    cluster.step(3, Event::Received { from: NodeId(1), message });
    let mut said = cluster.node(3).said.iter();
    said.any(|effect| matches!(effect, Effect::StoreSnapshotChunk { .. }))
}

#[test]
fn a_chunk_that_does_not_continue_the_snapshot_is_asked_for_again() {
    let elsewhere = [false, true].map(|last| (Batch::of(5, &[0]), last));
    let gets_nowhere = (Batch::of(0, &[]), false);
    for (bytes, last) in elsewhere.into_iter().chain([gets_nowhere]) {
        let mut cluster = asking_for_a_snapshot();
        assert!(!takes(&mut cluster, bytes.clone(), last), "{bytes:?}, last: {last}");
        assert!(cluster.node(3).timers.contains(&Timer::Retry));
    }
    let mut cluster = asking_for_a_snapshot();
    assert!(takes(&mut cluster, Batch::of(0, &[]), true), "the end, where nothing has to follow");
}

#[test]
fn records_that_came_while_their_snapshot_was_installed_stay() {
    let mut cluster = asking_for_a_snapshot();
    takes(&mut cluster, Batch::of(0, &[0]), true);
    // Node 2 leads now, and its log goes back to the beginning.
    let (epoch, leader) = (Epoch(3), NodeId(2));
    let begin = BeginQuorumEpoch { epoch, leader, voter: key(3) };
    let message = Message::BeginQuorumEpoch(begin);
    cluster.step(3, Event::Received { from: leader, message });
    let (batch, high_watermark) = (Some(Batch::of(0, &[1, 1])), SNAPSHOT.end);
    let outcome = FetchOutcome::Records { batch, high_watermark };
    let (leader, offset, last_epoch) = (Some(leader), Offset(0), Epoch(0));
    let answer = FetchResponse { epoch, leader, offset, last_epoch, outcome };
    let message = Message::FetchResponse(answer);
    cluster.step(3, Event::Received { from: NodeId(2), message });
    assert_eq!(cluster.node(3).machine.high_watermark(), SNAPSHOT.end);

    cluster.step(3, Event::SnapshotInstalled(SNAPSHOT));
    let log = &cluster.node(3).log;
    assert_eq!((log.start, &log.epochs[..]), (0, &[1, 1][..]), "it needs no other beginning");
}

/// Node 4 is installing a snapshot from node 1 by which `now` vote; so far it knew `before`.
fn installing(before: &[i32], now: &[i32]) -> Cluster {
    let record = |offset, ids| VotersRecord { offset, voters: set(ids) };
    let mut whole = MemoryLog::of(&[1, 1, 1]);
    whole.voters = vec![record(Offset(1), now)];
    whole.cut_to_snapshot(SNAPSHOT);
    let voters = vec![record(VotersRecord::BOOTSTRAP, before)];
    let mut logs = vec![whole; 3];
    logs.push(MemoryLog { voters, ..MemoryLog::default() });
    let mut cluster = Cluster::with_logs(0, logs);
    cluster.elect(1);
    cluster.step(4, Event::Connected(NodeId(1)));
    let begin = BeginQuorumEpoch { epoch: Epoch(2), leader: NodeId(1), voter: key(4) };
    let message = Message::BeginQuorumEpoch(begin);
    cluster.step(4, Event::Received { from: NodeId(1), message });
    cluster.carry();
    assert_eq!(cluster.is(4), "Follower in 2 of 1");
    cluster
}

/// The snapshot is loaded, and what it says of voters is in force.
fn install(cluster: &mut Cluster) {
    cluster.nodes[3].log.voters = cluster.nodes[0].log.voters.clone();
    cluster.step(4, Event::SnapshotInstalled(SNAPSHOT));
}

#[test]
fn one_without_a_leader_stands_or_asks_as_its_snapshot_says_that_it_votes_or_not() {
    let sets: [(&[i32], &[i32], bool); 3] = [
        (&[1, 2, 3], &[1, 2, 3, 4], true),
        (&[1, 2, 3, 4], &[1, 2, 3], false),
        (&[1, 2], &[1, 2, 3], false),
    ];
    for (before, now, votes) in sets {
        let mut cluster = installing(before, now);
        // It hears of another epoch, and not of who leads that.
        let message = Message::BeginQuorumEpochResponse { epoch: Epoch(3), leader: None };
        cluster.step(4, Event::Received { from: NodeId(2), message });
        install(&mut cluster);
        assert_eq!(cluster.is(4), "Unattached in 3", "{before:?} {now:?}");
        let asks = cluster.node(4).timers.contains(&Timer::Retry);
        assert_eq!((cluster.election_timer(4).is_some(), asks), (votes, !votes), "{before:?}");
    }
}

#[test]
fn one_that_stands_goes_on_if_its_snapshot_says_that_it_still_votes() {
    for (now, role) in [(&[1, 2, 3, 4][..], "Prospective in 2 of 1"), (&[1, 2], "Unattached in 2")]
    {
        let mut cluster = installing(&[1, 2, 4], now);
        cluster.time_out(4, Timer::Fetch);
        assert_eq!(cluster.is(4), "Prospective in 2 of 1");
        install(&mut cluster);
        assert_eq!(cluster.is(4), role);
    }
}
