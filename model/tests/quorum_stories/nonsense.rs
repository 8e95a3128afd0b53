//! What is late, wrong or said by the wrong one changes nothing; what ends is waited for no more.

use kraft_model::invariant::quorum::waits_for_a_time;
use kraft_model::raft::{
    EndQuorumEpoch, Event, Fetch, FetchOutcome, FetchResponse, Message, Patience, StoredState,
    Timer, Vote, VoteResponse,
};
use kraft_model::{Epoch, ErrorCode, NodeId, Offset};

use crate::cluster::{Batch, Cluster, MemoryLog, key};

const ELECTION: Timer = Timer::Election(Patience::Full);

fn receives(cluster: &mut Cluster, id: i32, from: i32, message: Message<Batch>) {
    cluster.step(id, Event::Received { from: NodeId(from), message });
}

/// Whether node `id` has said to `to` that it leads, since the wires were cleared.
fn announces(cluster: &Cluster, id: i32, to: i32) -> bool {
    let mut wires = cluster.wires.iter();
    wires.any(
        |wire| matches!(wire, (from, at, Message::BeginQuorumEpoch(_)) if (*from, *at) == (id, to)),
    )
}

#[test]
fn records_that_do_not_continue_the_log_are_not_taken() {
    let unfit = [Batch::of(5, &[1]), Batch::of(0, &[1]), Batch::of(1, &[]), Batch::of(1, &[2])];
    for batch in unfit {
        let mut cluster = Cluster::new(3, 0);
        cluster.elect(1);
        let (offset, last_epoch, high_watermark) = (Offset(1), Epoch(1), Offset(1));
        let outcome = FetchOutcome::Records { batch: Some(batch.clone()), high_watermark };
        let (epoch, leader) = (Epoch(1), Some(NodeId(1)));
        let answer = FetchResponse { epoch, leader, offset, last_epoch, outcome };
        receives(&mut cluster, 2, 1, Message::FetchResponse(answer));
        assert_eq!(cluster.node(2).log.epochs, [1], "{batch:?}");
        assert!(cluster.node(2).timers.contains(&Timer::Retry), "it asks again: {batch:?}");
    }
}

#[test]
fn only_the_leader_of_this_epoch_can_end_it() {
    let end = |leader: i32, epoch: i32| EndQuorumEpoch {
        epoch: Epoch(epoch),
        leader: NodeId(leader),
        successors: [key(2), key(3)].into_iter().collect(),
    };
    let mut cluster = Cluster::new(3, 0);
    cluster.elect(1);
    for (from, said) in [(3, end(1, 1)), (3, end(3, 1)), (1, end(1, 0)), (3, end(1, 2))] {
        receives(&mut cluster, 2, from, Message::EndQuorumEpoch(said));
        assert_eq!(cluster.is(2), "Follower in 1 of 1");
        assert_eq!(cluster.election_timer(2), None);
    }
    receives(&mut cluster, 2, 1, Message::EndQuorumEpoch(end(1, 1)));
    assert_eq!(cluster.election_timer(2), Some(Patience::Ranked(0)));
    // Of a later epoch, of which this one hears only now that it is over.
    receives(&mut cluster, 2, 3, Message::EndQuorumEpoch(end(3, 4)));
    assert_eq!(cluster.is(2), "Unattached in 4");
    assert_eq!(cluster.election_timer(2), Some(Patience::Ranked(0)));
}

#[test]
fn one_refusal_of_three_does_not_end_a_candidacy() {
    let mut cluster = Cluster::new(3, 0);
    for id in [2, 3] {
        cluster.step(1, Event::Connected(NodeId(id)));
    }
    cluster.stand_until(1, "Candidate");
    let refusal = |epoch| VoteResponse {
        epoch: Epoch(epoch),
        leader: None,
        granted: false,
        pre_vote: false,
        error: None,
    };
    receives(&mut cluster, 1, 2, Message::VoteResponse(refusal(1)));
    assert_eq!(cluster.election_timer(1), Some(Patience::Full), "node 3 may vote yet");
    receives(&mut cluster, 1, 3, Message::VoteResponse(refusal(0)));
    assert_eq!(cluster.election_timer(1), Some(Patience::Full), "an answer of another epoch");
    receives(&mut cluster, 1, 3, Message::VoteResponse(refusal(1)));
    assert_eq!(cluster.election_timer(1), Some(Patience::Backoff(0)), "nobody is left");
}

/// Both answers are of the candidate's epoch: a voter may say that it would vote, and vote for another.
#[test]
fn a_promise_to_vote_is_no_vote() {
    let answer = |pre_vote| VoteResponse {
        epoch: Epoch(1),
        leader: None,
        granted: true,
        pre_vote,
        error: None,
    };
    let mut cluster = Cluster::new(3, 0);
    cluster.stand_until(1, "Candidate");
    receives(&mut cluster, 1, 2, Message::VoteResponse(answer(true)));
    assert_eq!(cluster.is(1), "Candidate in 1");
    receives(&mut cluster, 1, 2, Message::VoteResponse(answer(false)));
    assert_eq!(cluster.is(1), "Leader in 1 of 1");
}

#[test]
fn nobody_has_records_of_the_epoch_in_which_it_stands() {
    let mut cluster = Cluster::with_logs(3, vec![MemoryLog::of(&[1]); 3]);
    let (epoch, last_epoch, end) = (Epoch(2), Epoch(2), Offset(2));
    let (candidate, voter, pre_vote) = (key(1), key(2), false);
    let vote = Vote { epoch, candidate, voter, last_epoch, end, pre_vote };
    assert_eq!(cluster.ask(2, vote).error, Some(ErrorCode::InvalidRequest));
    assert_eq!(cluster.is(2), "Unattached in 1", "it was not looked at");
    // Who only asks whether to stand names the epoch that it is in, and may have records of it.
    let answer = cluster.ask(2, Vote { pre_vote: true, ..vote });
    assert_eq!((answer.granted, answer.error), (true, None));
    assert_eq!(cluster.is(2), "Unattached in 2");
}

/// What a fetch acknowledges is held against the log of the epoch that it names.
#[test]
fn a_fetch_of_an_epoch_that_is_yet_to_come_acknowledges_nothing() {
    let mut cluster = Cluster::new(3, 0);
    cluster.elect(1);
    cluster.propose(1, 1);
    cluster.wires.clear();
    let (epoch, replica, offset) = (Epoch(2), key(2), Offset(2));
    let fetch = Fetch { epoch, replica, offset, last_epoch: Epoch(1), high_watermark: Offset(1) };
    receives(&mut cluster, 1, 2, Message::Fetch(fetch));
    let Some((1, 2, Message::FetchResponse(answer))) = cluster.wires.back() else {
        panic!("it answers")
    };
    assert_eq!(answer.outcome, FetchOutcome::Refused(ErrorCode::UnknownLeaderEpoch));
    assert_eq!(cluster.node(1).machine.high_watermark(), Offset(1));
}

/// It was an observer when the timer was set: a voter's fetch acknowledges, so it asks nobody before
/// it knows a leader and has brought its log to disk.
#[test]
fn a_voter_without_a_leader_fetches_from_nobody() {
    let mut cluster = Cluster::new(3, 0);
    cluster.step(1, Event::Timeout(Timer::Retry));
    assert!(cluster.wires.is_empty(), "{:?}", cluster.wires);
}

#[test]
fn a_damaged_log_votes_for_nobody_even_if_nobody_asked_first() {
    let logs = [false, true].map(|damaged| MemoryLog { damaged, ..MemoryLog::of(&[1]) });
    for (log, granted) in logs.into_iter().zip([true, false]) {
        let mut cluster =
            Cluster::with_logs(3, vec![MemoryLog::of(&[1]), log, MemoryLog::of(&[1])]);
        let vote = Vote {
            epoch: Epoch(2),
            candidate: key(1),
            voter: key(2),
            last_epoch: Epoch(1),
            end: Offset(1),
            pre_vote: false,
        };
        let answer = cluster.ask(2, vote);
        assert_eq!((answer.granted, cluster.node(2).machine.vote().is_some()), (granted, granted));
    }
}

#[test]
fn a_leader_tells_who_comes_back_without_having_heard_of_it_and_nobody_else() {
    let mut cluster = Cluster::new(3, 0);
    cluster.time_out(1, ELECTION);
    cluster.carry_among(&[1, 2]);
    cluster.wires.clear();
    cluster.step(1, Event::Connected(NodeId(2)));
    assert!(!announces(&cluster, 1, 2) && !announces(&cluster, 1, 3), "node 2 follows");
    cluster.step(1, Event::Connected(NodeId(3)));
    assert!(announces(&cluster, 1, 3) && !announces(&cluster, 1, 2));
}

#[test]
fn a_link_that_was_lost_counts_no_more() {
    let mut cluster = Cluster::new(3, 0);
    cluster.step(1, Event::Connected(NodeId(2)));
    assert_eq!(cluster.election_timer(1), Some(Patience::Fresh));
    cluster.step(1, Event::Disconnected(NodeId(2)));
    cluster.nodes[0].timers.clear();
    cluster.nodes[0].timers.insert(ELECTION);
    cluster.step(1, Event::Connected(NodeId(3)));
    assert_eq!(cluster.election_timer(1), Some(Patience::Fresh), "a majority anew");
}

#[test]
fn one_that_led_and_votes_no_more_asks_who_leads() {
    let mut cluster = Cluster::dynamic(2, 1);
    let (epoch, leader, vote) = (Epoch(3), Some(NodeId(3)), Some(key(3)));
    cluster.nodes[2].log =
        MemoryLog { epochs: vec![1, 3], flushed: 2, ..cluster.node(1).log.clone() };
    cluster.nodes[2].stored = StoredState { epoch, leader, vote };
    cluster.restart(3);
    assert_eq!(cluster.is(3), "Unattached in 3", "it follows nobody, least of all itself");
}

/// The judge is judged: in every role it misses the timer that is not there, and sees one too many.
#[test]
fn whoever_waits_without_a_time_or_for_what_is_over_is_seen() {
    let mut cluster = Cluster::new(3, 1);
    let judged = |cluster: &Cluster, id| {
        let node = &cluster.node(id).machine;
        [waits_for_a_time(node, |_| false), waits_for_a_time(node, |_| true)]
    };
    assert_eq!([judged(&cluster, 1), judged(&cluster, 4)], [[false; 2]; 2], "nobody leads");
    cluster.elect(1);
    assert_eq!([judged(&cluster, 1), judged(&cluster, 2)], [[false; 2]; 2], "1 leads, 2 follows");
}
