//! Followers' sessions with this leader.

use super::*;
use crate::actor::shard::testing::batch;
use kraft_model::LeaderEpoch;

const FOLLOWER: NodeId = NodeId(2);
const KEY: SessionKey = SessionKey { peer: FOLLOWER, fetcher: 0 };

fn id(partition: i32) -> TopicPartition {
    TopicPartition { partition, ..Default::default() }
}

fn at(offset: i64) -> FetchPosition {
    FetchPosition {
        leader_epoch: LeaderEpoch(1),
        offset: Offset(offset),
        last_epoch: LeaderEpoch(1),
        log_start: Offset::ZERO,
    }
}

/// A request of a session that takes 100 bytes at a time.
fn request(sequence: u64, forgotten: Vec<TopicPartition>) -> SessionPart {
    SessionPart {
        key: KEY,
        sequence,
        begins: sequence == 0,
        broker_epoch: BrokerEpoch(1),
        max_bytes: 100,
        partitions: Vec::new(),
        forgotten,
    }
}

/// A session with partitions 0 and 1 at offset 0.
fn session() -> Sessions {
    let mut sessions = Sessions::default();
    sessions.open(&request(0, Vec::new()));
    for partition in [0, 1] {
        let fetch = PartitionFetch { id: id(partition), position: at(0) };
        assert!(sessions.place(KEY, fetch).is_some());
    }
    sessions
}

fn records(records: Option<Records>) -> FetchOutcome<Option<Records>> {
    FetchOutcome::Records { records, high_watermark: Offset(1), log_start: Offset::ZERO }
}

fn said(sessions: &mut Sessions) -> usize {
    sessions.take_answers().iter().map(|(_, answer)| answer.partitions.len()).sum()
}

#[test]
fn a_position_is_answered_with_records_once() {
    let mut sessions = session();
    sessions.news(id(0));
    sessions.news(id(0));
    assert!(sessions.next_ready().is_some());
    assert!(sessions.next_ready().is_none(), "two pieces of news are one look");
    sessions.say(FOLLOWER, id(0), at(0), records(Some(batch(0, 1, &[b"a"]))));
    assert_eq!(said(&mut sessions), 1);
    sessions.news(id(0));
    assert!(sessions.next_ready().is_none(), "the follower has not moved");
    sessions.place(KEY, PartitionFetch { id: id(0), position: at(1) });
    sessions.news(id(0));
    assert!(sessions.next_ready().is_some());
}

#[test]
fn watermarks_alone_spend_nothing_and_are_told_once() {
    let mut sessions = session();
    assert!(sessions.say_later(FOLLOWER, id(0), Offset(1), Offset::ZERO));
    sessions.say_watermarks();
    assert_eq!(said(&mut sessions), 1);
    assert!(!sessions.say_later(FOLLOWER, id(0), Offset(1), Offset::ZERO));
    sessions.news(id(0));
    assert!(sessions.next_ready().is_some(), "the position still stands");
}

#[test]
fn a_session_holds_no_more_bytes_than_it_may() {
    let mut sessions = session();
    let large = batch(0, 1, &[&[0; 200]]);
    sessions.say(FOLLOWER, id(0), at(0), records(Some(large)));
    sessions.news(id(1));
    assert!(sessions.next_ready().is_none(), "the follower has not taken the first ones yet");
    assert_eq!(sessions.room(FOLLOWER, id(1)), 0);
    said(&mut sessions);
    sessions.place(KEY, PartitionFetch { id: id(0), position: at(1) });
    assert_eq!(sessions.next_ready().map(|(id, _)| id), Some(id(1)));
}

#[test]
fn an_answer_to_an_older_position_is_not_said() {
    let mut sessions = session();
    sessions.reading(FOLLOWER, id(0), 50);
    sessions.place(KEY, PartitionFetch { id: id(0), position: at(9) });
    sessions.say(FOLLOWER, id(0), at(0), records(Some(batch(0, 1, &[b"a"]))));
    assert_eq!(said(&mut sessions), 0);
    assert_eq!(sessions.room(FOLLOWER, id(0)), 100);
}

#[test]
fn room_that_a_forgotten_partition_had_is_the_next_ones() {
    let mut sessions = session();
    sessions.say(FOLLOWER, id(0), at(0), records(Some(batch(0, 1, &[&[0; 200]]))));
    sessions.news(id(1));
    assert!(sessions.next_ready().is_none());
    said(&mut sessions);
    sessions.open(&request(1, vec![id(0)]));
    assert_eq!(sessions.next_ready().map(|(id, _)| id), Some(id(1)));
}
