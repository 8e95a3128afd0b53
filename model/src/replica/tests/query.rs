//! What may be asked of a replica, and the small parts that it is made of.

use super::*;
use crate::EpochEnd;
use crate::replica::progress::{Lag, Progress};
use crate::replica::waiting::Waiting;

/// Replica 0, leading epoch 1 with three records of which two are committed.
fn leading() -> Bench {
    let mut leader = Bench::leader();
    (1..=3).for_each(|request| drop(leader.append(request, Acks::All)));
    leader.fetched_by(1, 2);
    leader.fetched_by(2, 2);
    assert_eq!((leader.high_watermark(), leader.log.end()), (2, Offset(3)));
    leader
}

#[test]
fn a_consumer_reads_from_the_logs_start_to_its_end_and_nowhere_else() {
    let mut leader = leading();
    leader.log.advance_start(Offset(1));
    let consumed = |offset, last_epoch: Option<i32>| {
        let last_epoch = last_epoch.map(LeaderEpoch);
        leader.replica.consumed(&leader.log, None, Offset(offset), last_epoch)
    };
    for offset in 1..=3 {
        assert!(consumed(offset, None).is_ok_and(|(_, parting)| parting.is_none()), "{offset}");
        assert!(consumed(offset, Some(1)).is_ok_and(|(_, parting)| parting.is_none()), "{offset}");
    }
    for offset in [0, 4] {
        assert_eq!(consumed(offset, None).err(), Some(ErrorCode::OffsetOutOfRange), "{offset}");
    }
    // Of an epoch that this log has not got that far, or not at all: where the logs part.
    let parts_at = |offset, epoch| consumed(offset, Some(epoch)).ok().and_then(|(_, at)| at);
    assert_eq!(parts_at(4, 1), Some(EpochEnd { epoch: 1, end: Offset(3) }));
    assert_eq!(parts_at(3, 2), Some(EpochEnd { epoch: 1, end: Offset(3) }));
}

#[test]
fn records_may_be_deleted_up_to_the_high_watermark() {
    let leader = leading();
    let deletable = |before: i64| leader.replica.deletable(Some(Offset(before)));
    assert_eq!(leader.replica.deletable(None), Ok(Offset(2)));
    assert_eq!((deletable(0), deletable(2)), (Ok(Offset(0)), Ok(Offset(2))));
    for before in [-1, 3] {
        assert_eq!(deletable(before), Err(ErrorCode::OffsetOutOfRange));
    }
    let follower = Bench::follower();
    assert_eq!(follower.replica.deletable(None), Err(ErrorCode::NotLeaderOrFollower));
}

#[test]
fn it_says_whom_it_follows_what_it_asks_and_which_isr_it_waits_for() {
    let mut follower = Bench::new(1).holding(&[1]);
    assert!(!follower.replica.is_follower());
    assert_eq!(follower.replica.leader(), None, "nobody has told it");
    follower.sees(view(0, 1, 1, &[0, 1, 2]));
    assert!(follower.replica.is_follower() && !follower.replica.is_leader());
    assert_eq!(follower.replica.leader(), Some(NodeId(0)));
    let asked = follower.replica.asks().expect("it fetches");
    assert_eq!((asked.0, asked.1.offset), (NodeId(0), Offset(1)));
    assert_eq!(follower.replica.partition().isr, nodes(&[0, 1, 2]));

    let mut leader = Bench::new(0);
    leader.sees(view(0, 1, 1, &[0, 1]));
    assert_eq!((leader.replica.asked_isr(), leader.replica.asks()), (None, None));
    leader.fetched_by(2, 0);
    assert_eq!(leader.replica.asked_isr(), Some(&nodes(&[0, 1, 2])[..]), "node 2 has caught up");
}

#[test]
fn a_follower_is_behind_until_it_has_what_the_leader_had_when_it_asked_last() {
    let mut follower = Progress::new(NodeId(1));
    let mut fetches = |end: i64, leader_end: i64, lag| {
        follower.lag = lag;
        follower.observe(Offset(end), broker_epoch(1), Offset(leader_end));
        follower.lag
    };
    assert_eq!(fetches(2, 5, Lag::Behind), Lag::Behind, "its first fetch");
    assert_eq!(fetches(4, 9, Lag::Behind), Lag::Behind, "the leader had 5 then");
    assert_eq!(fetches(9, 12, Lag::Behind), Lag::CaughtUp, "it has what the leader had");
    assert_eq!(fetches(11, 14, Lag::Over), Lag::Over);
    assert_eq!(fetches(14, 14, Lag::Over), Lag::None);
    let has_timer = |lag| Progress { lag, ..follower }.has_timer();
    let timers = [Lag::None, Lag::Behind, Lag::CaughtUp, Lag::Over].map(has_timer);
    assert_eq!(timers, [false, true, true, false]);
}

#[test]
fn requests_are_answered_in_the_order_of_what_they_wait_for() {
    let appended = Appended { base: Offset(0), log_start: Offset(0), duplicate: false };
    let mut waiting = Waiting::default();
    for (request, end) in [(1, 2), (2, 5), (3, 5), (4, 2), (5, 3)] {
        waiting.push(request, Offset(end), appended);
    }
    assert_eq!(waiting.len(), 5);
    assert!(waiting.remove(3) && !waiting.remove(3) && !waiting.remove(9));
    let mut fx = Effects::new();
    waiting.release(Offset(4), None, &mut fx);
    let answered: Vec<_> = replies(&fx).into_iter().map(|(request, _)| request).collect();
    assert_eq!((answered, waiting.len()), (vec![1, 4, 5], 1));
}
