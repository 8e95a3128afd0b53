//! Metadata on its way to the shards: what of a new image concerns which partition here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kraft_model::metadata::{Image, ResourceKind, Topic};
use kraft_model::replay::{RecordedLog, Start};
use kraft_model::replica::{Event, Replica, View};
use kraft_model::{ErrorCode, NodeId, Shipped, TopicPartition};

use super::actor::Shard;
use super::metrics::shift;
use super::slot::{Settings, Slot};
use crate::config::{FlushPolicy, NodeConfig};

/// What a shard has to do about a new image.
pub(crate) struct Publication {
    pub image: Arc<Image>,
    pub present: Vec<Present>,
    /// This broker has no replica of these any more.
    pub gone: Vec<TopicPartition>,
}

/// A partition of which this broker is a replica, as it is now.
pub(crate) struct Present {
    pub id: TopicPartition,
    pub topic: Arc<str>,
    pub settings: Arc<Settings>,
    pub view: Box<View>,
}

/// Compares each image with the last one that was published: topics, brokers and configurations
/// that did not change are the same pointers.
pub(super) struct Publisher {
    me: NodeId,
    config: Arc<NodeConfig>,
    last: Arc<Image>,
}

impl Publisher {
    pub fn new(me: NodeId, config: Arc<NodeConfig>) -> Publisher {
        Publisher { me, config, last: Arc::default() }
    }

    /// What changed for each of `shards` shards; nothing for those that nothing changed for.
    pub fn publish(
        &mut self,
        image: Arc<Image>,
        shards: usize,
        shard_of: impl Fn(TopicPartition) -> usize,
    ) -> Vec<(usize, Publication)> {
        let last = std::mem::replace(&mut self.last, Arc::clone(&image));
        let mut parts: BTreeMap<usize, Publication> = BTreeMap::new();
        let new_part =
            || Publication { image: Arc::clone(&image), present: Vec::new(), gone: Vec::new() };
        let brokers = changed_keys(&last.brokers, &image.brokers, Arc::ptr_eq);
        if !brokers.is_empty() {
            // Endpoints may be others: every shard needs the image.
            (0..shards).for_each(|shard| drop(parts.insert(shard, new_part())));
        }
        let configs = changed_keys(&last.configs, &image.configs, Arc::ptr_eq);
        let defaults = configs.iter().any(|(kind, _)| *kind == ResourceKind::Broker);
        for topic in image.topics.values() {
            let before = last.topics.get(&topic.id);
            let is_same = before.is_some_and(|before| Arc::ptr_eq(before, topic));
            let is_configured =
                defaults || configs.contains(&(ResourceKind::Topic, topic.name.to_string()));
            if is_same && !is_configured && brokers.is_empty() {
                continue;
            }
            let mut settings = None;
            for id in self.touched(&image, topic, before, is_configured, &brokers) {
                let part = parts.entry(shard_of(id)).or_insert_with(new_part);
                match self.view(&image, id) {
                    Some(view) => {
                        let settings = settings.get_or_insert_with(|| {
                            Arc::new(Settings::of(&topic.name, &image, &self.config))
                        });
                        let (topic, settings) = (Arc::clone(&topic.name), Arc::clone(settings));
                        part.present.push(Present { id, topic, settings, view });
                    }
                    None => part.gone.push(id),
                }
            }
        }
        for (id, _) in
            removed_partitions(&last, &image).filter(|(_, hosts)| hosts.contains(&self.me))
        {
            parts.entry(shard_of(id)).or_insert_with(new_part).gone.push(id);
        }
        parts.into_iter().collect()
    }

    /// Partitions of `topic` that this broker holds or held, and for which something changed.
    fn touched(
        &self,
        image: &Image,
        topic: &Topic,
        before: Option<&Arc<Topic>>,
        is_configured: bool,
        brokers: &BTreeSet<NodeId>,
    ) -> Vec<TopicPartition> {
        let mut touched = Vec::new();
        for (id, partition) in topic.numbered() {
            let old = before.and_then(|topic| topic.partitions.get(id.partition as usize));
            let held = old.is_some_and(|old| old.replicas.contains(&self.me));
            let holds = partition.replicas.contains(&self.me);
            let has_changed = old != Some(partition)
                || is_configured
                || partition.replicas.iter().any(|replica| brokers.contains(replica));
            if (holds && has_changed) || (held && !holds) {
                touched.push(id);
            }
        }
        debug_assert!(image.topics.contains_key(&topic.id));
        touched
    }

    fn view(&self, image: &Image, id: TopicPartition) -> Option<Box<View>> {
        let min_isr = self.config.topic_defaults.get("min.insync.replicas");
        let min_isr = min_isr.and_then(|value| value.trim().parse().ok()).unwrap_or(1);
        let flush_before_ack = self.config.flush == FlushPolicy::BeforeAck;
        let view = image.replica_view(id, min_isr, flush_before_ack)?;
        view.partition.replicas.contains(&self.me).then(|| Box::new(view))
    }
}

/// Keys that came, went or have another value.
fn changed_keys<K: Ord + Clone, V>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    same: impl Fn(&V, &V) -> bool,
) -> BTreeSet<K> {
    let is_new = |(key, value): &(&K, &V)| before.get(key).is_none_or(|old| !same(old, value));
    let came = after.iter().filter(is_new).map(|(key, _)| key.clone());
    let went = before.keys().filter(|key| !after.contains_key(key)).cloned();
    came.chain(went).collect()
}

/// Partitions whose topic is deleted, with their replicas.
fn removed_partitions<'a>(
    before: &'a Image,
    after: &'a Image,
) -> impl Iterator<Item = (TopicPartition, &'a [NodeId])> {
    let removed = before.topics.values().filter(|topic| !after.topics.contains_key(&topic.id));
    removed.flat_map(|topic| topic.numbered()).map(|(id, partition)| (id, &*partition.replicas))
}

impl Shard {
    pub(super) fn apply(&mut self, publication: Publication) {
        self.image = publication.image;
        for id in publication.gone {
            self.remove(id);
        }
        for present in publication.present {
            self.place(present);
        }
        self.ensure_links();
    }

    /// Tells a replica its new view; a partition that is not here yet is created.
    fn place(&mut self, present: Present) {
        let Present { id, topic, settings, view } = present;
        if !self.slots.contains_key(&id)
            && let Err(error) = self.create(id, topic, &settings)
        {
            tracing::error!(?id, %error, "cannot create a partition's log");
            self.outside.broker.storage_failed(error.directory(), &error.to_string());
            return;
        }
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if slot.settings != settings {
            slot.log.set_config(settings.log);
            slot.settings = settings;
        }
        let before = Gauges::of(slot);
        slot.partition = view.partition;
        self.step(id, Event::View(view));
        self.count(id, before);
        // Followers may have asked before this broker knew of the partition.
        self.sessions.news(id);
    }

    pub(super) fn create(
        &mut self,
        id: TopicPartition,
        topic: Arc<str>,
        settings: &Arc<Settings>,
    ) -> Result<(), super::disks::OpenError> {
        let found = match self.found.remove(&id) {
            Some(mut found) => {
                found.log.set_config(settings.log);
                found
            }
            None => {
                let found = self.disks.create(&topic, id, settings.log)?;
                self.flushes.created(found.log.dir());
                found
            }
        };
        let (high_watermark, producers, me) = (found.high_watermark, found.producers, self.me);
        let track = self.recorder.begin(|| Start::Replica {
            id,
            topic: topic.to_string(),
            me,
            high_watermark,
            producers: producers.clone(),
            log: found.log.state(),
        });
        let replica = Replica::new(Shipped, id, me, high_watermark, producers);
        let slot = Slot {
            replica,
            track,
            log: found.log,
            topic,
            settings: Arc::clone(settings),
            directory: found.directory,
            partition: Default::default(),
            is_offline: false,
        };
        self.slots.insert(id, slot);
        shift(&self.metrics.replicas, false, true);
        Ok(())
    }

    /// This broker has no replica of the partition any more: its log goes.
    fn remove(&mut self, id: TopicPartition) {
        self.found
            .remove(&id)
            .into_iter()
            .for_each(|found| self.disks.delete(found.log, &found.topic, id));
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let before = Gauges::of(slot);
        self.step(id, Event::Retired);
        self.count(id, before);
        self.refuse_produces(id, ErrorCode::NotLeaderOrFollower);
        self.fetchers.stop(id);
        self.alterations.forget(id);
        self.timers.forget(id);
        self.flushes.forget(id);
        self.watermarks_moved.remove(&id);
        if let Some(slot) = self.slots.remove(&id) {
            shift(&self.metrics.replicas, true, false);
            shift(&self.metrics.offline, slot.is_offline, false);
            self.disks.delete(slot.log, &slot.topic, id);
        }
    }

    /// Logs that were found at the start and that no metadata wants: their topics were deleted, or
    /// their replicas moved, while this broker was away.
    pub(super) fn drop_strays(&mut self) {
        let strays: HashMap<_, _> = std::mem::take(&mut self.found);
        for (id, found) in strays {
            tracing::info!(?id, topic = %found.topic, "deleting a replica that is not ours any more");
            self.disks.delete(found.log, &found.topic, id);
        }
    }

    /// Keeps the gauges in step with one partition.
    pub(super) fn count(&self, id: TopicPartition, before: Gauges) {
        let after = self.slots.get(&id).map_or(Gauges::default(), Gauges::of);
        shift(&self.metrics.leaders, before.leads, after.leads);
        shift(&self.metrics.under_replicated, before.under_replicated, after.under_replicated);
        shift(&self.metrics.under_min_isr, before.under_min_isr, after.under_min_isr);
    }
}

/// What one partition adds to the gauges.
#[derive(Clone, Copy, Default)]
pub(super) struct Gauges {
    leads: bool,
    under_replicated: bool,
    under_min_isr: bool,
}

impl Gauges {
    pub fn of(slot: &Slot) -> Gauges {
        Gauges {
            leads: slot.replica.is_leader(),
            under_replicated: slot.replica.is_under_replicated(),
            under_min_isr: slot.replica.is_under_min_isr(),
        }
    }
}
