//! States that differ only in how much has happened before are one state to the checker.
//!
//! The machine compares offsets and broker epochs, and counts on from the highest; it adds nothing
//! to any other. So whatever keeps their order, and the distances above the committed end, keeps
//! all that it will ever do. The same goes for a partition's epochs under a common shift.

use std::sync::Arc;

use crate::metadata::{Image, Partition};
use crate::{BrokerEpoch, LeaderEpoch, Offset, PartitionEpoch, Rules, TopicPartition};

use super::Controller;
use super::active::Active;

impl<R: Rules> Controller<R> {
    /// Shows every offset that decisions compare.
    pub(crate) fn offsets(&self, see: &mut impl FnMut(Offset)) {
        self.committed.offsets(see);
        if let Some(active) = &self.active {
            active.latest.offsets(see);
            active.offsets(see);
        }
    }

    /// Renames offsets, and lowers a partition's leader epoch and partition epoch.
    pub(crate) fn renumber(
        &mut self,
        offset: &impl Fn(Offset) -> Offset,
        lowered: &impl Fn(TopicPartition) -> (i32, i32),
    ) {
        self.committed.renumber(offset, lowered);
        if let Some(active) = &mut self.active {
            active.latest.renumber(offset, lowered);
            active.renumber(offset);
        }
    }

    /// The same machine under other rules: a story begins where all guards have held.
    pub(crate) fn follow(&mut self, rules: R) {
        self.rules = rules;
    }

    /// Drops what decides nothing.
    ///
    /// * How far brokers have replayed matters only while one of them waits to stop, and then only
    ///   what they report from then on: it waits for an end that nobody can have replayed yet.
    /// * A fenced broker's session keeps other disks from taking its id, where there are any.
    /// * The order of ISR and ELR: elections go by the order of the replicas.
    pub(crate) fn forget_what_is_idle(&mut self, keeps_sessions: bool) {
        self.committed.sort_members();
        let Some(active) = &mut self.active else { return };
        active.latest.sort_members();
        let latest = &active.latest;
        let is_unfenced = |id| latest.broker(id).is_some_and(|broker| !broker.fenced);
        active.sessions.retain(|&id, _| keeps_sessions || is_unfenced(id));
        if active.sessions.values().all(|session| session.shutdown_offset.is_none()) {
            active.sessions.values_mut().for_each(|it| it.metadata_offset = Offset::ZERO);
        }
    }
}

impl Active {
    fn offsets(&self, see: &mut impl FnMut(Offset)) {
        self.waiting.iter().for_each(|waiting| see(waiting.until));
        for session in self.sessions.values() {
            see(session.metadata_offset);
            session.shutdown_offset.iter().for_each(|&offset| see(offset));
        }
    }

    fn renumber(&mut self, offset: &impl Fn(Offset) -> Offset) {
        self.waiting.iter_mut().for_each(|waiting| waiting.until = offset(waiting.until));
        for session in self.sessions.values_mut() {
            session.metadata_offset = offset(session.metadata_offset);
            session.shutdown_offset = session.shutdown_offset.map(offset);
        }
    }
}

impl Image {
    fn sort_members(&mut self) {
        let is_sorted =
            |partition: &Partition| partition.isr.is_sorted() && partition.elr.is_sorted();
        for topic in self.topics.values_mut() {
            if !topic.partitions.iter().all(is_sorted) {
                Arc::make_mut(topic).partitions.iter_mut().for_each(|partition| {
                    partition.isr.sort_unstable();
                    partition.elr.sort_unstable();
                });
            }
        }
    }

    fn offsets(&self, see: &mut impl FnMut(Offset)) {
        see(self.end);
        self.brokers.values().for_each(|broker| see(Offset(broker.epoch.0)));
    }

    fn renumber(
        &mut self,
        offset: &impl Fn(Offset) -> Offset,
        lowered: &impl Fn(TopicPartition) -> (i32, i32),
    ) {
        self.end = offset(self.end);
        for broker in self.brokers.values_mut() {
            let epoch = BrokerEpoch(offset(Offset(broker.epoch.0)).0);
            if epoch != broker.epoch {
                Arc::make_mut(broker).epoch = epoch;
            }
        }
        for topic in self.topics.values_mut() {
            let id = |number| TopicPartition { topic: topic.id, partition: number };
            let lower: Vec<_> =
                (0..topic.partitions.len()).map(|at| lowered(id(at as i32))).collect();
            if lower.iter().all(|&by| by == (0, 0)) {
                continue;
            }
            for (partition, (leader, own)) in Arc::make_mut(topic).partitions.iter_mut().zip(lower)
            {
                partition.leader_epoch = LeaderEpoch(partition.leader_epoch.0 - leader);
                partition.partition_epoch = PartitionEpoch(partition.partition_epoch.0 - own);
            }
        }
    }
}
