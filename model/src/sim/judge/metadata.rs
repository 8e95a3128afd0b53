//! The metadata's promises: images are the fold of what is committed, sound, and all alike; what an
//! administrator was told is there.

use std::collections::{BTreeMap, BTreeSet};

use crate::inline::Nodes;
use crate::invariant::{metadata as invariant, replica as data};
use crate::metadata::partition::Policy;
use crate::metadata::{
    AlteredPartition, ConfigOp, ConfigRecord, Image, Partition, PartitionRecord, Record,
    RegisterBroker, Request, ResourceKind, Response, effective_min_isr,
};
use crate::sim::disk::MetaBatch;
use crate::sim::world::Node;
use crate::{BrokerEpoch, NodeId, Offset, Rules, TopicId, TopicPartition};

use super::Judge;

const FOLD: &str = "an image is the fold of what is committed";
const ENOUGH: &str = "replicas are dropped only where enough others hold everything";
const STAY: &str = "who was electable stays so while too few are in sync";
const SEEN: &str = "who joins an ISR is registered as its leader saw it";
const THERE: &str = "what an administrator was told is committed";

/// What was ever committed, for those who are told of it late.
#[derive(Default)]
pub(super) struct Ever {
    created: BTreeSet<TopicId>,
    removed: BTreeSet<TopicId>,
    partitions: BTreeMap<TopicId, usize>,
    names: BTreeMap<String, TopicId>,
    configured: BTreeSet<(String, String)>,
    targets: BTreeSet<(TopicPartition, Vec<NodeId>)>,
    /// Registrations that were fenced after they had been active.
    fenced: BTreeSet<(NodeId, BrokerEpoch)>,
}

impl Judge {
    /// Replays a committed batch into the reference.
    pub(super) fn fold(&mut self, batch: &MetaBatch) {
        let before = self.reference.clone();
        let lost = lost(batch);
        for (index, record) in (0..).zip(&batch.records) {
            let unfinished = reassigned(&self.reference, record);
            let changed = changed(&self.reference, record);
            let replayed = self.reference.replay(Offset(batch.base + index), record);
            if let Err(error) = replayed {
                self.fail(FOLD, || format!("{record:?}: {error}"));
            }
            self.ever.note(record);
            if let Record::RegisterBroker(RegisterBroker { broker, epoch: None, .. }) = record {
                self.registered.insert(*broker, BrokerEpoch(batch.base + index));
            }
            // What an unregistered broker holds is void.
            if let Record::UnregisterBroker { broker, epoch } = record {
                self.registered.insert(*broker, BrokerEpoch(epoch.0 + 1));
            }
            if let Some((id, before)) = unfinished {
                self.look_at_reassignment(id, &before);
            }
            if let Some((id, before)) = changed {
                self.look_at_leavers(id, &before, &lost);
            }
        }
        self.reference.end = Offset(batch.end());
        for (id, partition) in self.reference.partitions() {
            if before.partition(id) != Some(partition) {
                let target = partition.replicas.without(&partition.removing);
                self.ever.targets.insert((id, sorted(&target)));
            }
        }
        if !batch.records.is_empty() {
            self.look_at_image();
            if let Some(property) = invariant::broken_between(&before, &self.reference) {
                self.fail(property, || format!("{:?}", batch.records));
            }
        }
        self.images.insert(batch.end(), self.reference.clone());
    }

    /// P7: a reassignment that is done has left enough in sync.
    fn look_at_reassignment(&mut self, id: TopicPartition, before: &Partition) {
        let found = self.reference.topic(id.topic).zip(self.reference.partition(id));
        let Some((topic, after)) = found else { return };
        let target = before.replicas.without(&before.removing);
        let cancelled = before.replicas.without(&before.adding);
        let is_done = after.adding.is_empty() && after.removing.is_empty();
        if !is_done || after.replicas != target || target == cancelled {
            return;
        }
        let default = Policy { min_isr: 1, unclean: false };
        let min_isr = self.reference.policy(&topic.name, default).min_isr;
        if after.isr.len() < effective_min_isr(min_isr, after) {
            let what = format!("{before:?} became {after:?}");
            self.fail("a reassignment completes with min.insync.replicas in the ISR", || what);
        }
    }

    /// P6: while too few are in sync, those who leave the ISR with all that they held stay electable.
    fn look_at_leavers(&mut self, id: TopicPartition, before: &Partition, lost: &[NodeId]) {
        let found = self.reference.topic(id.topic).zip(self.reference.partition(id));
        let Some((topic, after)) = found else { return };
        let default = Policy { min_isr: 1, unclean: false };
        let min_isr = self.reference.policy(&topic.name, default).min_isr;
        let what = || format!("{before:?} became {after:?}, min.insync.replicas {min_isr}");
        let broken = if !invariant::enough_are_left(before, after, min_isr) {
            Some((ENOUGH, what()))
        } else if !invariant::electable_stay(before, after, min_isr, lost) {
            Some((STAY, what()))
        } else {
            None
        };
        if let Some((property, what)) = broken {
            self.fail(property, || what);
        }
    }

    pub(super) fn look_at_image(&mut self) {
        if let Some(property) = invariant::broken(&self.reference) {
            let image = format!("{:?}", self.reference.topics);
            self.fail(property, || image);
        }
    }

    /// A node's image, however it came about, is the reference's at the same end.
    pub(super) fn replayed<R: Rules>(&mut self, nodes: &[Node<R>], at: usize) {
        let Some(process) = &nodes[at].process else { return };
        let image = process.committed();
        if self.images.get(&image.end.0).is_some_and(|reference| reference != image) {
            let end = image.end;
            self.fail(FOLD, || format!("node {} at {end}", at + 1));
        }
    }

    /// What a controller holds for the latest metadata is sound before it is committed.
    pub(super) fn decided<R: Rules>(&mut self, nodes: &[Node<R>], at: usize) {
        let controller = nodes[at].process.as_ref().and_then(|it| it.controller.as_ref());
        let Some(controller) = controller else { return };
        if let Some(property) = invariant::broken(controller.latest()) {
            self.fail(property, || format!("in what node {} has decided", at + 1));
        }
    }

    /// A leader was granted an ISR: its record is committed.
    pub(super) fn altered(&mut self, asked: &AlteredPartition) {
        let (id, partition_epoch) = (asked.id, asked.partition_epoch.0);
        let known = self.reference.partition(id).map(|it| it.partition_epoch.0);
        if known.is_some_and(|known| known <= partition_epoch) {
            self.fail("an answer rests on what is committed", || {
                format!("granted on partition epoch {partition_epoch} of {id:?}, known {known:?}")
            });
        }
        // Nothing has happened to the partition since.
        let isr = self.reference.partition(id).map(|it| it.isr).unwrap_or_default();
        let members = asked.isr.iter().zip(asked.isr_epochs.iter());
        // Who is removed by the reassignment that this has finished may come and go.
        let members = members.filter(|(member, _)| isr.contains(member));
        let is_known = |(&member, &seen): (&NodeId, &BrokerEpoch)| {
            let registered = self.reference.broker(member).map(|broker| broker.epoch);
            data::joined_as_seen(seen, registered)
        };
        if known == Some(partition_epoch + 1) && !members.clone().all(is_known) {
            self.fail(SEEN, || format!("{asked:?}"));
        }
    }

    pub fn administered(&mut self, request: &Request, response: &Response) {
        if let Some(missing) = self.ever.missing(request, response) {
            self.fail(THERE, || missing);
        }
    }
}

impl Ever {
    pub fn was_fenced(&self, broker: NodeId, epoch: BrokerEpoch) -> bool {
        self.fenced.contains(&(broker, epoch))
    }

    fn note(&mut self, record: &Record) {
        match record {
            Record::Topic { id, name } => {
                self.created.insert(*id);
                self.names.insert(name.clone(), *id);
            }
            Record::RemoveTopic { id } => {
                self.removed.insert(*id);
            }
            Record::BrokerRegistrationChange(change) if change.fenced == Some(true) => {
                self.fenced.insert((change.broker, change.epoch));
            }
            Record::Partition(PartitionRecord { id, .. }) => {
                let count = self.partitions.entry(id.topic).or_default();
                *count = (*count).max(id.partition as usize + 1);
            }
            Record::Config(ConfigRecord { kind: ResourceKind::Topic, resource, value, .. }) => {
                let value = value.clone().unwrap_or_default();
                self.configured.insert((resource.clone(), value));
            }
            _ => {}
        }
    }

    /// What was answered and never committed.
    fn missing(&self, request: &Request, response: &Response) -> Option<String> {
        match (request, response) {
            (_, Response::CreateTopics(topics)) => {
                let created = topics.iter().filter_map(|(_, result)| result.as_ref().ok());
                let lost = |id: &TopicId| !self.created.contains(id);
                created.map(|it| it.id).find(lost).map(|id| format!("topic {id:?}"))
            }
            (_, Response::DeleteTopics(topics)) => {
                let deleted = topics.iter().filter_map(|(_, result)| result.as_ref().ok());
                let kept = |id: &TopicId| !self.removed.contains(id);
                deleted.map(|it| it.0).find(kept).map(|id| format!("removal of topic {id:?}"))
            }
            (Request::CreatePartitions { topics, .. }, Response::CreatePartitions(results)) => {
                let grown = topics.iter().zip(results).filter(|(_, (_, result))| result.is_ok());
                let lacks = |name: &String, total: i32| {
                    let id = self.names.get(name);
                    let count = id.and_then(|id| self.partitions.get(id)).copied();
                    count.unwrap_or(0) < total as usize
                };
                let mut grown = grown.map(|(asked, _)| asked);
                grown.find(|it| lacks(&it.topic, it.total)).map(|it| format!("{it:?}"))
            }
            (Request::AlterConfigs { changes, .. }, Response::AlterConfigs(results)) => {
                let done = changes.iter().zip(results).filter(|(_, it)| it.2.is_ok());
                let values = done.flat_map(|(change, _)| {
                    change.ops.iter().filter_map(|(_, op)| match op {
                        ConfigOp::Set(value) => Some((change.resource.clone(), value.clone())),
                        _ => None,
                    })
                });
                let mut lost = values.filter(|pair| !self.configured.contains(pair));
                lost.next().map(|pair| format!("configuration {pair:?}"))
            }
            (Request::ReassignPartitions { partitions }, Response::ReassignPartitions(results)) => {
                let done = partitions.iter().zip(results).filter(|(_, it)| it.1.is_ok());
                let targets = done.filter_map(|(it, _)| Some((it.id, sorted(&it.replicas?))));
                let mut lost = targets.filter(|target| !self.targets.contains(target));
                lost.next().map(|target| format!("reassignment {target:?}"))
            }
            _ => None,
        }
    }
}

/// The partition that a record changes, if it is being reassigned.
fn reassigned(image: &Image, record: &Record) -> Option<(TopicPartition, Partition)> {
    let Record::PartitionChange(change) = record else { return None };
    let before = image.partition(change.id)?;
    let is_moving = !before.adding.is_empty() || !before.removing.is_empty();
    is_moving.then_some((change.id, *before))
}

/// The partition that a record changes, as it was.
fn changed(image: &Image, record: &Record) -> Option<(TopicPartition, Partition)> {
    let Record::PartitionChange(change) = record else { return None };
    Some((change.id, *image.partition(change.id)?))
}

/// Brokers that a batch registers anew or no longer: what they held may be lost.
fn lost(batch: &MetaBatch) -> Vec<NodeId> {
    let of = |record: &Record| match record {
        Record::RegisterBroker(RegisterBroker { broker, .. })
        | Record::UnregisterBroker { broker, .. } => Some(*broker),
        _ => None,
    };
    batch.records.iter().filter_map(of).collect()
}

fn sorted(nodes: &Nodes) -> Vec<NodeId> {
    let mut nodes = nodes.to_vec();
    nodes.sort_unstable();
    nodes
}
