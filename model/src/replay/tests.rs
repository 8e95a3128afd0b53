//! A digest sees what a machine is: two states that differ are told apart by it.

use std::collections::BTreeSet;
use std::hash::Hasher;

use super::Digest;
use super::log::ExtentLog;
use crate::inline::{InlineVec, Nodes};
use crate::metadata::{self, Controller, Event, Partition, Record, Request};
use crate::raft::{self, Quorum, StoredState};
use crate::replica::small_log::{SmallBatch, SmallLog};
use crate::replica::{self, Acks, Producers, Replica, RequestId, View};
use crate::{
    ClusterId, DirectoryId, Epoch, LeaderEpoch, NodeId, Offset, ReplicaKey, Shipped, TopicId,
    TopicPartition,
};

fn digest(hash: impl FnOnce(&mut Digest)) -> u64 {
    let mut digest = Digest::default();
    hash(&mut digest);
    digest.finish()
}

#[track_caller]
fn all_differ(digests: &[u64]) {
    let different: BTreeSet<_> = digests.iter().collect();
    assert_eq!(different.len(), digests.len(), "{digests:?}");
}

fn key(id: i32) -> ReplicaKey {
    ReplicaKey { id: NodeId(id), directory: DirectoryId(id as u128) }
}

#[test]
fn quorum_machines_that_differ_have_different_digests() {
    let of = |me: i32, stored: StoredState, link: Option<i32>| {
        let mut log = ExtentLog::default();
        let mut machine = Quorum::new(Shipped, key(me), &[1, 2, 3].map(key), stored, &log);
        if let Some(node) = link {
            machine.step(&mut log, raft::Event::Connected(NodeId(node)), &mut Vec::new());
        }
        digest(|digest| machine.hash_state(digest))
    };
    let fresh = StoredState::default();
    let later = StoredState { epoch: Epoch(2), ..fresh };
    let voted = StoredState { vote: Some(key(2)), ..later };
    let follows = StoredState { leader: Some(NodeId(3)), ..later };
    let states = [fresh, later, voted, follows].map(|stored| of(1, stored, None));
    let others = [of(2, fresh, None), of(1, fresh, Some(2)), of(1, fresh, Some(3))];
    all_differ(&[&states[..], &others].concat());
}

#[test]
fn replicas_that_differ_have_different_digests() {
    let of = |partition: i32, me: i32, high_watermark: i64, thorough: bool| {
        let id = TopicPartition { topic: TopicId(1), partition };
        let (me, high_watermark) = (NodeId(me), Offset(high_watermark));
        let machine: Replica<Shipped> =
            replica::Replica::new(Shipped, id, me, high_watermark, Producers::default());
        digest(|digest| machine.hash_state(thorough, digest))
    };
    all_differ(&[of(0, 1, 0, false), of(1, 1, 0, false), of(0, 2, 0, false), of(0, 1, 5, false)]);
    all_differ(&[of(0, 1, 0, true), of(1, 1, 0, true), of(0, 2, 0, true), of(0, 1, 5, true)]);
}

#[test]
fn leaders_with_whom_others_wait_have_different_digests() {
    let replicas: Nodes = [1, 2].into_iter().map(NodeId).collect();
    let (leader, leader_epoch) = (Some(NodeId(1)), LeaderEpoch(1));
    let partition =
        Partition { replicas, isr: replicas, leader, leader_epoch, ..Partition::default() };
    let view = View { partition, min_isr: 1, brokers: InlineVec::new(), flush_before_ack: false };
    let of = |requests: &[RequestId], thorough: bool| {
        let (id, log) = (TopicPartition::default(), &mut SmallLog::default());
        let mut machine: Replica<Shipped> =
            Replica::new(Shipped, id, NodeId(1), Offset(0), Producers::default());
        machine.step(log, replica::Event::View(view.into()), &mut Vec::new());
        for &request in requests {
            let (batch, acks) = (SmallBatch::new(0, None), Acks::All);
            machine.step(log, replica::Event::Append { request, batch, acks }, &mut Vec::new());
        }
        digest(|digest| machine.hash_state(thorough, digest))
    };
    all_differ(&[of(&[], false), of(&[1], false), of(&[1, 2], false)]);
    // Who they are is looked at from time to time, since there may be many.
    all_differ(&[of(&[], true), of(&[1], true), of(&[2], true), of(&[1, 2], true)]);
}

#[test]
fn controllers_that_differ_have_different_digests() {
    let of = |events: Vec<Event>, thorough: bool| {
        let mut machine = Controller::new(NodeId(1), ClusterId(7), Default::default());
        for event in events {
            machine.step(event, &mut metadata::Effects::new());
        }
        digest(|digest| machine.hash_state(thorough, digest))
    };
    let committed = |name: &str| {
        let records = vec![Record::Topic { id: TopicId(1), name: name.to_owned() }];
        vec![Event::Committed { base: Offset(0), records, end: Offset(1) }]
    };
    let leads = |next: i64| vec![Event::Lead { epoch: Epoch(1), next: Offset(next) }];
    all_differ(&[
        of(vec![], false),
        of(committed("a"), false),
        of(leads(0), false),
        of([committed("a"), leads(1)].concat(), false),
    ]);
    // Two that lead are told apart by who waits for them.
    let asked = |id| {
        let request = Request::DeleteTopics { topics: Vec::new() };
        [leads(0), vec![Event::Request { id, request, entropy: 0 }]].concat()
    };
    all_differ(&[of(leads(0), false), of(asked(1), false), of(asked(2), false)]);
    // What the image holds is looked at from time to time, since it may be large.
    all_differ(&[of(committed("a"), true), of(committed("b"), true)]);
}
