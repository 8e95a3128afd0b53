//! The shards: each partition's replica machine on its log, its effects, and new metadata.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::log::Log;
use crate::metadata::{
    AlterPartition, AlteredPartition, Image, Partition, Request, Response, effective_min_isr,
};
use crate::replica::{DataLog, Effect, Event, Replica, View};
use crate::sim::disk::{DataFile, Run};
use crate::sim::env::{Fact, Input, Timer};
use crate::sim::profile::Micros;
use crate::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, Offset, Rules, TopicPartition, broker};

use super::produce::Produces;
use super::replication::{Asked, Watch};
use super::router::Asker;
use super::{At, Moment};

/// One partition here.
pub(in crate::sim) struct Slot<R: Rules> {
    pub replica: Replica<R>,
    pub partition: Partition,
    /// The min.insync.replicas that its last view puts in force.
    pub min_isr: usize,
    pub is_offline: bool,
}

pub(in crate::sim) struct Partitions<R: Rules> {
    rules: R,
    /// The broker epoch in force.
    pub registration: BrokerEpoch,
    /// The newest image that came here, used or not.
    pub image: Arc<Image>,
    /// The image that the replicas know.
    pub last: Arc<Image>,
    pub slots: BTreeMap<TopicPartition, Slot<R>>,
    /// Proposals of ISRs: the newest of each partition, and whether a request is in flight.
    proposals: BTreeMap<TopicPartition, AlteredPartition>,
    is_asking: bool,
    flush_wanted: BTreeSet<TopicPartition>,
    /// Where the log ended when its flush began, lowered by truncations; and whether there were any.
    flushing: BTreeMap<TopicPartition, (i64, bool)>,
    pub(super) watches: BTreeMap<TopicPartition, Vec<Watch>>,
    pub(super) ready: VecDeque<(TopicPartition, NodeId)>,
    pub(super) asked: BTreeMap<TopicPartition, Asked>,
    pub(super) heard: BTreeMap<NodeId, Micros>,
    pub(super) told_silent: BTreeMap<NodeId, Micros>,
    pub(super) produces: Produces,
    has_failed: bool,
}

impl<R: Rules> Partitions<R> {
    pub fn new(rules: R) -> Partitions<R> {
        Partitions {
            rules,
            registration: BrokerEpoch::NONE,
            image: Arc::default(),
            last: Arc::default(),
            slots: BTreeMap::new(),
            proposals: BTreeMap::new(),
            is_asking: false,
            flush_wanted: BTreeSet::new(),
            flushing: BTreeMap::new(),
            watches: BTreeMap::new(),
            ready: VecDeque::new(),
            asked: BTreeMap::new(),
            heard: BTreeMap::new(),
            told_silent: BTreeMap::new(),
            produces: Produces::default(),
            has_failed: false,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.produces.is_empty()
    }

    /// The leader epoch in which a follower has asked for a partition last, if it has here.
    pub fn asked_in(&self, id: TopicPartition, follower: NodeId) -> Option<LeaderEpoch> {
        let watches = self.watches.get(&id)?;
        watches.iter().find(|watch| watch.is_of(follower)).map(|watch| watch.epoch())
    }

    /// A disk has failed in this process, which asks to be fenced from then on.
    pub fn is_offline(&self) -> bool {
        self.has_failed
    }
}

/// Stepping.
impl<R: Rules> At<'_, R> {
    pub(super) fn step_replica(&mut self, id: TopicPartition, event: Event<Run>) {
        let Some(partitions) = &mut self.process.partitions else { return };
        let Some(slot) = partitions.slots.get_mut(&id).filter(|slot| !slot.is_offline) else {
            return;
        };
        let Some(file) = self.disk.data.get_mut(&id) else { return };
        let mut effects = Vec::new();
        let before = file.log.end();
        slot.replica.step(&mut file.log, event, &mut effects);
        self.env.touched.push(id);
        if file.log.end() < before
            && let Some((to, truncated)) = partitions.flushing.get_mut(&id)
        {
            (*to, *truncated) = ((*to).min(file.log.end().0), true);
        }
        if file.log.failed {
            // What the machine concluded from an append that is not there must not leave.
            return self.fail(id);
        }
        effects.into_iter().for_each(|effect| self.run_replica_effect(id, effect));
    }

    fn run_replica_effect(&mut self, id: TopicPartition, effect: Effect) {
        match effect {
            Effect::Reply { request, result } => self.produced(request, result),
            Effect::Answer { follower, position, outcome } => {
                self.answer_follower(id, follower, position, outcome);
            }
            Effect::Fetch { leader, position } => self.fetch(id, leader, position),
            Effect::StopFetching => self.stop_fetching(id),
            Effect::AlterPartition(proposal) => {
                let Some(partitions) = &mut self.process.partitions else { return };
                partitions.proposals.insert(id, proposal);
            }
            Effect::News => self.news(id),
            Effect::Flush => {
                let Some(partitions) = &mut self.process.partitions else { return };
                partitions.flush_wanted.insert(id);
            }
            Effect::Truncated(to) => {
                self.tell(|| format!("{} is cut to {to}", name(id)));
            }
            Effect::SetTimer(timer) => self.set(Timer::Replica(id, timer)),
            Effect::CancelTimer(timer) => self.cancel(Timer::Replica(id, timer)),
            Effect::Became { leader, epoch } => {
                let what = if leader { "leads" } else { "follows" };
                self.tell(|| format!("{what} {} in epoch {epoch}", name(id)));
                if leader {
                    self.process.moment = Some(Moment::BecameLeader);
                    self.expect_followers(id);
                }
            }
            Effect::IsrChanged { .. } => {}
            Effect::Violation(promise) => self.violation(promise),
        }
    }

    /// The partition's disk failed: nothing that rests on it is said any more, and the broker asks
    /// to be fenced.
    fn fail(&mut self, id: TopicPartition) {
        self.tell(|| format!("{} goes offline: its log cannot be written", name(id)));
        let Some(partitions) = &mut self.process.partitions else { return };
        let Some(slot) = partitions.slots.get_mut(&id) else { return };
        if std::mem::replace(&mut slot.is_offline, true) {
            return;
        }
        partitions.has_failed = true;
        self.forget(id);
        self.refuse_produces(id, crate::ErrorCode::KafkaStorageError);
        self.step_broker(broker::Event::StorageFailed);
    }

    fn forget(&mut self, id: TopicPartition) {
        let Some(partitions) = &mut self.process.partitions else { return };
        partitions.proposals.remove(&id);
        partitions.flush_wanted.remove(&id);
        partitions.asked.remove(&id);
        self.process.timers.forget(id);
    }

    /// Everything that a turn has gathered goes out together.
    pub(super) fn finish_turn(&mut self) {
        while let Some((id, fetch)) = self.next_ready() {
            self.step_replica(id, Event::Fetch(fetch));
        }
        self.send_proposals();
        self.flush_data();
    }

    fn send_proposals(&mut self) {
        let Some(partitions) = &mut self.process.partitions else { return };
        if partitions.is_asking || partitions.proposals.is_empty() {
            return;
        }
        partitions.is_asking = true;
        let asked: Vec<_> = std::mem::take(&mut partitions.proposals).into_values().collect();
        let (broker, epoch) = (self.me, partitions.registration);
        let request = AlterPartition { broker, epoch, partitions: asked.clone() };
        self.ask(Request::AlterPartition(request), Asker::Alteration(asked));
    }

    /// Hands each partition its answer; a request that failed as a whole has none (L3).
    pub(super) fn altered(&mut self, asked: Vec<AlteredPartition>, response: Response) {
        let Some(partitions) = &mut self.process.partitions else { return };
        partitions.is_asking = false;
        let answers: BTreeMap<TopicPartition, Result<(), ErrorCode>> = match response {
            Response::AlterPartition(Ok(answers)) => answers.into_iter().collect(),
            _ => BTreeMap::new(),
        };
        for one in asked {
            let AlteredPartition { id, leader_epoch, partition_epoch, .. } = one;
            let answer = answers.get(&id).copied();
            if answer == Some(Ok(())) {
                self.env.facts.push(Fact::Altered(Box::new(one)));
            }
            self.step_replica(id, Event::Altered { leader_epoch, partition_epoch, answer });
        }
    }
}

/// Bringing logs to disk.
impl<R: Rules> At<'_, R> {
    fn flush_data(&mut self) {
        let Some(partitions) = &mut self.process.partitions else { return };
        if partitions.flush_wanted.is_empty() {
            return;
        }
        let flushing = &partitions.flushing;
        let due: Vec<_> = partitions
            .flush_wanted
            .iter()
            .filter(|id| !flushing.contains_key(id))
            .copied()
            .collect();
        for id in due {
            let Some(file) = self.disk.data.get(&id) else { continue };
            let end = file.log.end().0;
            if let Some(partitions) = &mut self.process.partitions {
                partitions.flush_wanted.remove(&id);
                partitions.flushing.insert(id, (end, false));
            }
            let failed = std::mem::take(&mut self.disk.fail_data);
            let time = self.env.disk_time();
            self.later(time, Input::DataFlushed { id, failed });
        }
    }

    pub(super) fn data_flushed(&mut self, id: TopicPartition, failed: bool) {
        let Some(partitions) = &mut self.process.partitions else { return };
        let Some((to, truncated)) = partitions.flushing.remove(&id) else { return };
        let Some(file) = self.disk.data.get_mut(&id) else { return };
        if failed {
            file.is_suspect = true;
            self.disk.session = None;
            return self.fail(id);
        }
        file.log.flushed_up_to(to, !truncated);
        let flushed = file.log.flushed();
        self.step_replica(id, Event::Flushed(flushed));
    }

    pub(super) fn flush_all_data(&mut self) {
        let Some(partitions) = &self.process.partitions else { return };
        for (id, slot) in &partitions.slots {
            if let Some(file) = self.disk.data.get_mut(id).filter(|_| !slot.is_offline) {
                let end = file.log.end().0;
                file.log.flushed_up_to(end, true);
                file.high_watermark = slot.replica.high_watermark().0;
                file.recovery_point = end;
            }
        }
    }

    /// The kernel writes back when it likes; the checkpoints say what is known.
    pub(super) fn checkpoint(&mut self) {
        let Some(partitions) = &self.process.partitions else { return };
        for (id, slot) in partitions.slots.iter().filter(|(_, slot)| !slot.is_offline) {
            let Some(file) = self.disk.data.get_mut(id) else { continue };
            if self.env.chance.per_mille(300) {
                let end = file.log.end().0;
                file.log.flushed_up_to(end, true);
            }
            file.high_watermark = slot.replica.high_watermark().0;
            file.recovery_point = file.log.flushed().0;
        }
        self.set(Timer::Checkpoint);
    }
}

/// New metadata.
impl<R: Rules> At<'_, R> {
    /// Hands on a new image. One that does not hold this broker's present registration is passed
    /// over: it may name this broker leader of an epoch from before it lost data.
    pub(super) fn publish_to_shards(&mut self, image: Arc<Image>) {
        let Some(partitions) = &mut self.process.partitions else { return };
        if !image.speaks_to(partitions.rules, self.me, partitions.registration) {
            return;
        }
        let last = std::mem::replace(&mut partitions.last, Arc::clone(&image));
        let (gone, present) = changes(&last, &image, self.me);
        gone.into_iter().for_each(|id| self.remove(id));
        let flush = self.env.profile.flush_before_ack;
        for id in present {
            // The node's default; the cluster's is in the metadata.
            if let Some(view) = image.replica_view(id, 1, flush) {
                self.place(id, view);
            }
        }
    }

    fn place(&mut self, id: TopicPartition, view: View) {
        let Some(partitions) = &mut self.process.partitions else { return };
        let file = self.disk.data.entry(id).or_insert_with(DataFile::new);
        let (rules, me) = (partitions.rules, self.me);
        let slot = partitions.slots.entry(id).or_insert_with(|| {
            let producers = file.log.producers_at(file.log.end());
            let high_watermark = Offset(file.high_watermark);
            let replica = Replica::new(rules, id, me, high_watermark, producers);
            Slot { replica, partition: Partition::default(), min_isr: 1, is_offline: false }
        });
        slot.partition = view.partition;
        slot.min_isr = effective_min_isr(view.min_isr, &view.partition);
        self.step_replica(id, Event::View(Box::new(view)));
        // Followers may have asked before this broker knew of the partition.
        self.news(id);
    }

    /// This broker has no replica of the partition any more: its log goes.
    fn remove(&mut self, id: TopicPartition) {
        self.step_replica(id, Event::Retired);
        let Some(partitions) = &mut self.process.partitions else { return };
        if partitions.slots.remove(&id).is_some() {
            self.refuse_produces(id, crate::ErrorCode::NotLeaderOrFollower);
            self.forget(id);
        }
        self.disk.data.remove(&id);
        self.tell(|| format!("has no replica of {} any more", name(id)));
    }

    /// The metadata is complete: logs that it has not asked for are deleted.
    pub(super) fn drop_strays(&mut self) {
        let Some(partitions) = &self.process.partitions else { return };
        let slots = &partitions.slots;
        self.disk.data.retain(|id, _| slots.contains_key(id));
    }
}

/// Partitions that this broker holds no longer, and those it holds for which something changed.
fn changes(last: &Image, image: &Image, me: NodeId) -> (Vec<TopicPartition>, Vec<TopicPartition>) {
    let (mut gone, mut present) = (Vec::new(), Vec::new());
    let same_brokers = last.brokers.len() == image.brokers.len()
        && last
            .brokers
            .iter()
            .zip(&image.brokers)
            .all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1));
    let same_configs = last.configs == image.configs;
    for topic in image.topics.values() {
        let before = last.topics.get(&topic.id);
        let is_same = before.is_some_and(|before| Arc::ptr_eq(before, topic));
        if is_same && same_brokers && same_configs {
            continue;
        }
        for (id, partition) in topic.numbered() {
            let old = before.and_then(|topic| topic.partitions.get(id.partition as usize));
            let held = old.is_some_and(|old| old.replicas.contains(&me));
            if partition.replicas.contains(&me) {
                if old != Some(partition) || !same_brokers || !same_configs {
                    present.push(id);
                }
            } else if held {
                gone.push(id);
            }
        }
    }
    let removed = last.topics.values().filter(|topic| !image.topics.contains_key(&topic.id));
    let held = removed
        .flat_map(|topic| topic.numbered())
        .filter(|(_, partition)| partition.replicas.contains(&me));
    gone.extend(held.map(|(id, _)| id));
    (gone, present)
}

/// A partition's name in stories: as much of the topic's id as tells it from others.
pub(in crate::sim) fn name(id: TopicPartition) -> String {
    format!("{:.6}-{}", id.topic.to_string(), id.partition)
}
