//! K4: an image as records, which replay to an equal image.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{BrokerEpoch, NodeId, Offset, TopicPartition};

use super::record::{ConfigRecord, PartitionRecord, Record, RegisterBroker};
use super::replay::ReplayError;
use super::{Broker, Image, ResourceKind};

impl Image {
    /// The records of a snapshot. Each is complete in itself, so that their offsets do not matter:
    /// registrations carry their epochs, partitions theirs. A topic's records follow one another.
    pub fn records(&self) -> Vec<Record> {
        let features = self
            .features
            .iter()
            .map(|(name, &level)| Record::FeatureLevel { name: name.clone(), level });
        let controllers =
            self.controllers.values().map(|it| Record::RegisterController((**it).clone()));
        let brokers = self.brokers.values().map(|broker| registration(broker));
        let mut records: Vec<Record> = features.chain(controllers).chain(brokers).collect();
        for ((kind, resource), configs) in &self.configs {
            records
                .extend(configs.iter().map(|(name, value)| config(*kind, resource, name, value)));
        }
        for topic in self.topics.values() {
            records.push(Record::Topic { id: topic.id, name: topic.name.to_string() });
            records.extend((0..).zip(&topic.partitions).map(|(number, &partition)| {
                let id = TopicPartition { topic: topic.id, partition: number };
                Record::Partition(PartitionRecord { id, partition })
            }));
        }
        if self.next_producer_id > 0 {
            let next = self.next_producer_id;
            records.push(Record::ProducerIds {
                broker: NODE_OF_NONE,
                epoch: BrokerEpoch::NONE,
                next,
            });
        }
        records
    }

    /// The image that a snapshot's `records` stand for; `end` is the offset that names it.
    pub fn load<'a>(
        end: Offset,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<Image, ReplayError> {
        let mut image = Image::default();
        for record in records {
            image.replay(image.end, record)?;
        }
        image.end = end;
        Ok(image)
    }
}

/// A snapshot's block of producer ids belongs to no broker.
const NODE_OF_NONE: NodeId = NodeId(-1);

fn registration(broker: &Broker) -> Record {
    Record::RegisterBroker(RegisterBroker {
        broker: broker.id,
        epoch: Some(broker.epoch),
        incarnation: broker.incarnation,
        endpoints: broker.endpoints.clone(),
        features: broker.features.clone(),
        rack: broker.rack.clone(),
        directories: broker.directories.clone(),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
    })
}

fn config(kind: ResourceKind, resource: &str, name: &str, value: &str) -> Record {
    Record::Config(ConfigRecord {
        kind,
        resource: resource.to_owned(),
        name: name.to_owned(),
        value: Some(value.to_owned()),
    })
}

/// An image travels as its snapshot does: its end and its records.
impl Serialize for Image {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.end, self.records()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (end, records) = <(Offset, Vec<Record>)>::deserialize(deserializer)?;
        Image::load(end, &records).map_err(D::Error::custom)
    }
}
