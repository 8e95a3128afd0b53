//! How long nodes wait, and for what, told in stories.

use kraft_model::raft::{BeginQuorumEpoch, Event, Fetch, Message, Patience, Timer, VoterChange};
use kraft_model::{Epoch, NodeId, Offset};

use crate::cluster::{Cluster, key};

const ELECTION: Timer = Timer::Election(Patience::Full);

#[test]
fn who_loses_again_waits_longer_each_time_up_to_a_bound() {
    let mut cluster = Cluster::new(3, 0);
    let mut lose = |_| {
        cluster.time_out(1, ELECTION);
        cluster.time_out(1, ELECTION);
        cluster.election_timer(1)
    };
    let waits: Vec<_> = (0..7).map(&mut lose).collect();
    assert_eq!(waits, [0, 1, 2, 3, 4, 5, 5].map(|lost| Some(Patience::Backoff(lost))));
    // Who has a leader starts afresh when that one is lost.
    cluster.wires.clear();
    cluster.elect(2);
    cluster.time_out(1, Timer::Fetch);
    cluster.time_out(1, ELECTION);
    assert_eq!(cluster.election_timer(1), Some(Patience::Backoff(0)));
}

#[test]
fn one_that_would_have_stood_does_not_when_another_leads() {
    let mut cluster = Cluster::new(3, 0);
    cluster.elect(1);
    cluster.step(2, Event::PeerGone(NodeId(1)));
    assert_eq!(cluster.election_timer(2), Some(Patience::Ranked(0)));
    let begin = BeginQuorumEpoch { epoch: Epoch(2), leader: NodeId(3), voter: key(2) };
    let message = Message::BeginQuorumEpoch(begin);
    cluster.step(2, Event::Received { from: NodeId(3), message });
    assert_eq!(cluster.is(2), "Follower in 2 of 3");
    assert_eq!(cluster.election_timer(2), None);
}

/// Whether node 1's time to hear from a majority begins anew when node `id` fetches from `offset`.
fn begins_anew(cluster: &mut Cluster, id: i32, offset: i64) -> bool {
    let fetch = Fetch {
        epoch: Epoch(1),
        replica: key(id),
        offset: Offset(offset),
        last_epoch: Epoch(1),
        high_watermark: Offset(0),
    };
    cluster.nodes[0].set.clear();
    cluster.step(1, Event::Received { from: NodeId(id), message: Message::Fetch(fetch) });
    cluster.node(1).set.contains(&Timer::CheckQuorum)
}

/// Node 1 leads five voters and has heard from nobody since its time began. Its epoch is committed, and
/// no fetch waits for more.
fn led_in_silence() -> Cluster {
    let mut cluster = Cluster::dynamic(5, 0);
    cluster.stand_until(1, "Leader");
    for id in [2, 3] {
        begins_anew(&mut cluster, id, 2);
    }
    assert_eq!(cluster.node(1).machine.high_watermark(), Offset(2));
    // The fetch of node 2 had waited for that, and was looked at again.
    assert!(begins_anew(&mut cluster, 3, 1));
    cluster
}

#[test]
fn a_leaders_time_begins_anew_when_a_majority_has_fetched() {
    let mut cluster = led_in_silence();
    for (id, majority) in [(2, false), (2, false), (3, true), (3, false), (4, true)] {
        assert_eq!(begins_anew(&mut cluster, id, 1), majority, "node {id}");
    }
}

#[test]
fn whom_a_leader_has_heard_it_has_heard_whoever_leaves() {
    let mut cluster = led_in_silence();
    assert!(!begins_anew(&mut cluster, 3, 1));
    cluster.change(1, VoterChange::Remove(key(2)));
    assert_eq!(cluster.voters(1), [1, 3, 4, 5]);
    assert!(!begins_anew(&mut cluster, 3, 1), "it has heard from node 3 alone");
    assert!(begins_anew(&mut cluster, 4, 1), "three of four");
}

/// Whom node 3 has asked who leads, since this was last looked at.
fn asked(cluster: &mut Cluster) -> Vec<i32> {
    let fetches = cluster.wires.drain(..).filter_map(|wire| match wire {
        (3, to, Message::Fetch(_)) => Some(to),
        _ => None,
    });
    fetches.collect()
}

#[test]
fn an_observer_that_knows_nobody_waits_for_a_link_and_for_no_time() {
    let mut cluster = Cluster::dynamic(2, 1);
    assert!(cluster.node(3).timers.is_empty(), "{:?}", cluster.node(3).timers);
    cluster.step(3, Event::Connected(NodeId(1)));
    assert_eq!(asked(&mut cluster), [1]);
    cluster.step(3, Event::Disconnected(NodeId(2)));
    cluster.time_out(3, Timer::Retry);
    assert_eq!(asked(&mut cluster), [1], "the only one that it has a link to");
    cluster.step(3, Event::Disconnected(NodeId(1)));
    cluster.time_out(3, Timer::Retry);
    assert_eq!(asked(&mut cluster), [0; 0]);
    assert!(cluster.node(3).timers.is_empty(), "{:?}", cluster.node(3).timers);
}

/// Who has no leader and nobody to ask has waited in vain: its time begins when a majority is there.
#[test]
fn an_election_is_waited_for_anew_when_a_majority_is_linked_and_not_at_every_link() {
    let mut cluster = Cluster::new(5, 0);
    let mut begins_anew = |id| {
        cluster.nodes[0].set.clear();
        cluster.step(1, Event::Connected(NodeId(id)));
        cluster.node(1).set.iter().any(|timer| matches!(timer, Timer::Election(_)))
    };
    assert_eq!([2, 3, 4, 5].map(&mut begins_anew), [false, true, false, false]);
}
