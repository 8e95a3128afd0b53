//! K4: the fold. An image is a function of the records that were replayed, in their order, and of
//! nothing else.

use std::sync::Arc;

use crate::{BrokerEpoch, NodeId, Offset, TopicId, TopicPartition};

use super::record::{
    BrokerRegistrationChange, ConfigRecord, PartitionChange, PartitionRecord, Record,
    RegisterBroker,
};
use super::{Broker, Image, ResourceKind, Topic};

/// A record that does not fit the image before it: the log is damaged, or was written by rules
/// that this version does not know. The image is as it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("offset {offset} was expected at {expected} or later")]
    OffsetWentBack { offset: Offset, expected: Offset },
    #[error("broker {0} is not registered")]
    UnknownBroker(NodeId),
    #[error("broker {broker} is registered under epoch {registered}, the record names {named}")]
    OtherBrokerEpoch { broker: NodeId, registered: BrokerEpoch, named: BrokerEpoch },
    #[error("topic {0} does not exist")]
    UnknownTopic(TopicId),
    #[error("topic '{0}' exists already")]
    TopicExists(String),
    #[error("partition {} of topic {} does not exist", .0.partition, .0.topic)]
    UnknownPartition(TopicPartition),
    #[error("partition {} of topic {} is not the topic's next one", .0.partition, .0.topic)]
    NotTheNextPartition(TopicPartition),
    #[error("producer ids would go back from {from} to {to}")]
    ProducerIdsWentBack { from: i64, to: i64 },
}

/// Whose state a record changes: what must be looked at anew.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Touched<'a> {
    Nothing,
    /// One partition's registration.
    Partition(TopicPartition),
    /// A topic as a whole: it came, went, or all of its partitions changed.
    Topic(TopicId),
    /// A topic's configuration; a name, because it may be gone by now.
    TopicConfig(&'a str),
    /// A broker's registration: endpoints, and every partition of which it is a replica.
    Broker(NodeId),
    /// A broker's dynamic configuration.
    BrokerConfig(&'a str),
    /// Anything that depends on a default of the cluster.
    Everything,
}

/// Whose state `record` changes.
pub fn touched(record: &Record) -> Touched<'_> {
    match record {
        Record::RegisterBroker(RegisterBroker { broker, .. })
        | Record::UnregisterBroker { broker, .. }
        | Record::BrokerRegistrationChange(BrokerRegistrationChange { broker, .. }) => {
            Touched::Broker(*broker)
        }
        Record::Topic { id, .. } | Record::RemoveTopic { id } => Touched::Topic(*id),
        Record::Partition(PartitionRecord { id, .. })
        | Record::PartitionChange(PartitionChange { id, .. }) => Touched::Partition(*id),
        Record::Config(ConfigRecord { kind: ResourceKind::Topic, resource, .. }) => {
            Touched::TopicConfig(resource)
        }
        Record::Config(ConfigRecord { resource, .. }) if resource.is_empty() => Touched::Everything,
        Record::Config(ConfigRecord { resource, .. }) => Touched::BrokerConfig(resource),
        Record::ClearElr { topic: Some(id) } => Touched::Topic(*id),
        Record::ClearElr { topic: None } => Touched::Everything,
        Record::RegisterController(_)
        | Record::FeatureLevel { .. }
        | Record::ProducerIds { .. }
        | Record::NoOp => Touched::Nothing,
    }
}

impl Image {
    /// Replays the record at `offset`; afterwards [`Image::end`] is the offset behind it.
    pub fn replay(&mut self, offset: Offset, record: &Record) -> Result<(), ReplayError> {
        if offset < self.end {
            return Err(ReplayError::OffsetWentBack { offset, expected: self.end });
        }
        match record {
            Record::RegisterBroker(registration) => self.register(offset, registration),
            Record::UnregisterBroker { broker, epoch } => {
                self.broker_at(*broker, *epoch)?;
                self.brokers.remove(broker);
            }
            Record::BrokerRegistrationChange(change) => self.change_broker(change)?,
            Record::RegisterController(controller) => {
                self.controllers.insert(controller.controller, Arc::new(controller.clone()));
            }
            Record::Topic { id, name } => self.create_topic(*id, name)?,
            Record::RemoveTopic { id } => self.remove_topic(*id)?,
            Record::Partition(record) => self.create_partition(record)?,
            Record::PartitionChange(change) => self.change_partition(change)?,
            Record::Config(config) => self.configure(config),
            Record::FeatureLevel { name, level } => {
                self.features.insert(name.clone(), *level);
            }
            Record::ProducerIds { next, .. } => self.move_producer_ids(*next)?,
            Record::ClearElr { topic } => self.clear_elr(*topic)?,
            Record::NoOp => {}
        }
        self.end = offset.plus(1);
        Ok(())
    }

    /// The epoch of a registration is where its record lands, unless the record keeps an older one.
    fn register(&mut self, offset: Offset, record: &RegisterBroker) {
        let broker = Broker {
            id: record.broker,
            epoch: record.epoch.unwrap_or(BrokerEpoch(offset.0)),
            incarnation: record.incarnation,
            endpoints: record.endpoints.clone(),
            features: record.features.clone(),
            rack: record.rack.clone(),
            directories: record.directories.clone(),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
        };
        self.brokers.insert(record.broker, Arc::new(broker));
    }

    fn broker_at(
        &mut self,
        id: NodeId,
        named: BrokerEpoch,
    ) -> Result<&mut Arc<Broker>, ReplayError> {
        let broker = self.brokers.get_mut(&id).ok_or(ReplayError::UnknownBroker(id))?;
        if broker.epoch != named {
            let registered = broker.epoch;
            return Err(ReplayError::OtherBrokerEpoch { broker: id, registered, named });
        }
        Ok(broker)
    }

    fn change_broker(&mut self, change: &BrokerRegistrationChange) -> Result<(), ReplayError> {
        let broker = Arc::make_mut(self.broker_at(change.broker, change.epoch)?);
        broker.fenced = change.fenced.unwrap_or(broker.fenced);
        broker.in_controlled_shutdown =
            change.in_controlled_shutdown.unwrap_or(broker.in_controlled_shutdown);
        Ok(())
    }

    fn create_topic(&mut self, id: TopicId, name: &str) -> Result<(), ReplayError> {
        if self.topics.contains_key(&id) || self.topic_ids.contains_key(name) {
            return Err(ReplayError::TopicExists(name.to_owned()));
        }
        let name: Arc<str> = Arc::from(name);
        self.topic_ids.insert(name.clone(), id);
        self.topics.insert(id, Arc::new(Topic { id, name, partitions: Vec::new() }));
        Ok(())
    }

    fn remove_topic(&mut self, id: TopicId) -> Result<(), ReplayError> {
        let topic = self.topics.remove(&id).ok_or(ReplayError::UnknownTopic(id))?;
        self.topic_ids.remove(&topic.name);
        self.configs.remove(&(ResourceKind::Topic, topic.name.to_string()));
        Ok(())
    }

    fn create_partition(&mut self, record: &PartitionRecord) -> Result<(), ReplayError> {
        let id = record.id;
        let topic = self.topics.get_mut(&id.topic).ok_or(ReplayError::UnknownTopic(id.topic))?;
        if usize::try_from(id.partition) != Ok(topic.partitions.len()) {
            return Err(ReplayError::NotTheNextPartition(id));
        }
        Arc::make_mut(topic).partitions.push(record.partition);
        Ok(())
    }

    fn change_partition(&mut self, change: &PartitionChange) -> Result<(), ReplayError> {
        let id = change.id;
        if self.partition(id).is_none() {
            return Err(ReplayError::UnknownPartition(id));
        }
        if let Some(topic) = self.topics.get_mut(&id.topic) {
            Arc::make_mut(topic).partitions[id.partition as usize].apply(change);
        }
        Ok(())
    }

    /// A resource without configuration has no entry, so that equal images are equal values.
    fn configure(&mut self, record: &ConfigRecord) {
        let key = (record.kind, record.resource.clone());
        let mut configs = self.configs.remove(&key).unwrap_or_default();
        match &record.value {
            Some(value) => {
                Arc::make_mut(&mut configs).insert(record.name.clone(), value.clone());
            }
            None => {
                Arc::make_mut(&mut configs).remove(&record.name);
            }
        }
        if !configs.is_empty() {
            self.configs.insert(key, configs);
        }
    }

    /// K6: blocks are disjoint because their start only grows.
    fn move_producer_ids(&mut self, next: i64) -> Result<(), ReplayError> {
        if next <= self.next_producer_id {
            let from = self.next_producer_id;
            return Err(ReplayError::ProducerIdsWentBack { from, to: next });
        }
        self.next_producer_id = next;
        Ok(())
    }

    /// P6: with another min.insync.replicas a leader may commit what its ELR does not hold. Where
    /// nobody is in the ISR nobody commits, and the ELR is all that could bring the partition back:
    /// there it stays.
    fn clear_elr(&mut self, topic: Option<TopicId>) -> Result<(), ReplayError> {
        match topic {
            None => self.topics.values_mut().for_each(clear_topic_elr),
            Some(id) => {
                let topic = self.topics.get_mut(&id).ok_or(ReplayError::UnknownTopic(id))?;
                clear_topic_elr(topic);
            }
        }
        Ok(())
    }
}

fn clear_topic_elr(topic: &mut Arc<Topic>) {
    let is_due =
        |partition: &super::Partition| !partition.isr.is_empty() && !partition.elr.is_empty();
    if topic.partitions.iter().any(is_due) {
        let partitions = &mut Arc::make_mut(topic).partitions;
        partitions.iter_mut().filter(|partition| is_due(partition)).for_each(|partition| {
            partition.elr.clear();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The configuration of brokers without a name is what all topics fall back on.
    #[test]
    fn a_default_of_the_cluster_touches_everything_and_one_brokers_setting_that_broker() {
        let of = |kind, resource: &str| {
            let (resource, name) = (resource.to_owned(), "min.insync.replicas".to_owned());
            Record::Config(ConfigRecord { kind, resource, name, value: Some("2".to_owned()) })
        };
        assert_eq!(touched(&of(ResourceKind::Broker, "")), Touched::Everything);
        assert_eq!(touched(&of(ResourceKind::Broker, "1")), Touched::BrokerConfig("1"));
        assert_eq!(touched(&of(ResourceKind::Topic, "orders")), Touched::TopicConfig("orders"));
    }
}
