//! The judge: what must hold after every step, whoever took it.
//!
//! It sees every node's state and disk, which nobody in the cluster does, and remembers what was
//! ever said: who led, who voted for whom, what was committed, acknowledged and read. The
//! properties are those of [`crate::invariant`]. After a step only what the step can have changed
//! is looked at again; now and then, and at the end, everything is.

mod data;
mod elections;
mod ledger;
mod machines;
mod metadata;
mod quorum;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::metadata::Image;
use crate::raft::Voters;
use crate::{BrokerEpoch, Epoch, NodeId, Offset, ReplicaKey, Rules, TopicPartition};

use super::disk::MetaBatch;
use super::env::{Env, Fact};
use super::world::Node;
use elections::Elections;
use ledger::Ledger;
use machines::is_dirty;
use metadata::Ever;

/// A promise that is broken: the property, and what shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    pub property: &'static str,
    pub how: String,
}

/// A value that a client wrote, whatever became of it.
#[derive(Clone, Copy, Debug)]
struct Value {
    id: TopicPartition,
    produced: Option<(i64, i32)>,
    /// It was refused before it was written, for good.
    is_refused: bool,
}

/// What a node's quorum machine was seen at last.
#[derive(Clone, Copy, Debug, Default)]
struct SeenQuorum {
    run: u32,
    high_watermark: i64,
    led_in: Option<Epoch>,
    voters_at: Option<Offset>,
}

/// What a replica was seen at last.
#[derive(Clone, Copy, Debug, Default)]
struct SeenReplica {
    run: u32,
    high_watermark: i64,
    led_in: Option<i32>,
}

#[derive(Default)]
pub(super) struct Judge {
    pub broken: Option<Broken>,
    led: BTreeMap<Epoch, NodeId>,
    /// The last vote that each voter is known to have given.
    granted: BTreeMap<ReplicaKey, (Epoch, Option<NodeId>)>,
    /// Every batch that was ever in a metadata log, by epoch and base: itself and the one before it.
    batches: BTreeMap<(i32, i64), (u64, Option<u64>)>,
    /// The longest prefix that any node ever took for committed.
    committed: BTreeMap<i64, Arc<MetaBatch>>,
    pub committed_end: i64,
    committed_in: Epoch,
    /// The voters of the log that committed it, and what voters had on disks that were replaced.
    committed_by: Voters,
    seats_lost: BTreeMap<ReplicaKey, i64>,
    elections: Elections,
    /// The fold of what is committed, and of every shorter prefix.
    pub reference: Image,
    images: BTreeMap<i64, Image>,
    ever: Ever,
    producer_ids: BTreeSet<i64>,
    seen: BTreeMap<usize, SeenQuorum>,
    replicas: BTreeMap<(usize, TopicPartition), SeenReplica>,
    ledgers: BTreeMap<TopicPartition, Ledger>,
    values: Vec<Value>,
    promises: u64,
    /// Brokers that registered anew in the latest commits, by their epochs.
    registered: BTreeMap<NodeId, BrokerEpoch>,
    /// Writes acknowledged with acks=all, and records read.
    pub acknowledged: u64,
    pub shown: u64,
    flush_before_ack: bool,
    /// Clean elections of a last known leader, and unclean ones.
    pub unclean: u64,
}

impl Judge {
    /// `flush_before_ack`: the cluster acknowledges only what is on disk.
    pub fn new(flush_before_ack: bool) -> Judge {
        Judge { flush_before_ack, ..Judge::default() }
    }

    pub(super) fn fail(&mut self, property: &'static str, how: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(Broken { property, how: how() });
        }
    }

    /// Looks at what node `at` did in the step that has just ended.
    pub fn after_step<R: Rules>(&mut self, nodes: &mut [Node<R>], at: usize, env: &mut Env) {
        for fact in std::mem::take(&mut env.facts) {
            self.take_in(nodes, at, fact);
        }
        self.look_at_quorum(nodes, at, env);
        self.look_at_election(nodes, at);
        let mut touched = std::mem::take(&mut env.touched);
        touched.sort_unstable();
        touched.dedup();
        for &id in &touched {
            let is_dirty = is_dirty(&nodes[at], id);
            self.look_at_beginning(&nodes[at], at, id);
            self.look_at_replica(nodes, at, id);
            self.look_at_machine(nodes, at, id, is_dirty);
        }
        touched.clear();
        env.touched = touched;
    }

    fn take_in<R: Rules>(&mut self, nodes: &mut [Node<R>], at: usize, fact: Fact) {
        match fact {
            Fact::Violation(promise) => {
                let id = nodes[at].who.id;
                self.fail("no machine finds a promise broken", || format!("node {id}: {promise}"));
            }
            Fact::Broken(property) => self.fail(property, || format!("node {}", at + 1)),
            Fact::Granted { voter, epoch, candidate } => self.granted(voter, epoch, candidate),
            Fact::WouldVote { epoch, candidate } => {
                self.elections.would_vote(nodes[at].who.id, epoch, candidate);
            }
            Fact::Stops(epoch) => self.stops(nodes[at].who.id, epoch),
            Fact::Replayed => self.replayed(nodes, at),
            Fact::Decided => self.decided(nodes, at),
            Fact::Altered(asked) => self.altered(&asked),
            Fact::Acknowledged { id, offset, value, by } => {
                self.acknowledged += 1;
                self.promise(nodes, id, offset, value, Some(by));
            }
            // Who is out of sync may show what the others have lost, until it hears of that.
            Fact::Shown { id, .. } if self.may_show_lost(nodes[at].who.id, id) => {}
            Fact::Shown { id, from, records } => {
                for (offset, record) in (from.0..).zip(records) {
                    self.shown += 1;
                    self.promise(nodes, id, Offset(offset), record.value, None);
                }
            }
        }
    }

    /// Everything, from nothing.
    pub fn look_at_everything<R: Rules>(&mut self, nodes: &mut [Node<R>]) {
        self.look_at_all_logs(nodes);
        self.look_at_image();
        self.look_at_all_replicas(nodes);
    }
}

/// What clients tell and ask.
impl Judge {
    pub fn new_value(&mut self, id: TopicPartition, produced: Option<(i64, i32)>) -> u64 {
        self.values.push(Value { id, produced, is_refused: false });
        self.values.len() as u64 - 1
    }

    /// The write of this value was refused before anything was written, and not tried again.
    pub fn refused(&mut self, value: u64) {
        self.values[value as usize].is_refused = true;
    }

    pub fn producer_ids_allocated(&mut self, first: i64) {
        if !self.producer_ids.insert(first) || first >= self.reference.next_producer_id {
            self.fail("producer ids are handed out once", || format!("the block from {first}"));
        }
    }

    /// The end of what was promised of a partition.
    pub fn promised_end(&self, id: TopicPartition) -> i64 {
        self.ledgers.get(&id).map_or(0, |ledger| ledger.end())
    }

    /// The lowest offset that a replica keeps.
    pub fn lowest_offset(&self, id: TopicPartition) -> i64 {
        self.ledgers.get(&id).map_or(0, |ledger| ledger.start)
    }
}
