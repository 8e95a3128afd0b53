//! The cluster as a broker last described it.

use std::collections::BTreeMap;

use proto_kafka::messages::MetadataResponse;
use proto_kafka::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};

/// A broker's id and where it listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broker {
    pub id: i32,
    pub host: String,
    pub port: u16,
    pub rack: Option<String>,
}

impl Broker {
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// A partition; `leader` is `None` while it has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionMetadata {
    pub index: i32,
    pub leader: Option<i32>,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub offline: Vec<i32>,
}

/// A topic, its partitions in order. `error` is the protocol's code, 0 if there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicMetadata {
    pub name: String,
    pub id: uuid::Uuid,
    pub internal: bool,
    pub error: i16,
    pub partitions: Vec<PartitionMetadata>,
}

/// What one Metadata answer says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterMetadata {
    pub cluster_id: Option<String>,
    pub controller: Option<i32>,
    pub brokers: BTreeMap<i32, Broker>,
    pub topics: BTreeMap<String, TopicMetadata>,
}

impl From<MetadataResponse> for ClusterMetadata {
    fn from(response: MetadataResponse) -> ClusterMetadata {
        let broker = |broker: proto_kafka::messages::metadata_response::MetadataResponseBroker| {
            Some(Broker {
                id: broker.node_id.0,
                host: broker.host.to_string(),
                port: u16::try_from(broker.port).ok()?,
                rack: broker.rack.map(|rack| rack.to_string()),
            })
        };
        let brokers = response.brokers.into_iter().filter_map(broker);
        let topics = response.topics.into_iter().filter_map(topic);
        ClusterMetadata {
            cluster_id: response.cluster_id.map(|id| id.to_string()),
            controller: known_node(response.controller_id.0),
            brokers: brokers.map(|broker| (broker.id, broker)).collect(),
            topics: topics.map(|topic| (topic.name.clone(), topic)).collect(),
        }
    }
}

fn topic(topic: MetadataResponseTopic) -> Option<TopicMetadata> {
    let mut partitions: Vec<_> = topic.partitions.into_iter().map(partition).collect();
    partitions.sort_by_key(|partition| partition.index);
    Some(TopicMetadata {
        name: topic.name?.to_string(),
        id: topic.topic_id,
        internal: topic.is_internal,
        error: topic.error_code,
        partitions,
    })
}

fn partition(partition: MetadataResponsePartition) -> PartitionMetadata {
    let ids = |nodes: Vec<proto_kafka::messages::BrokerId>| nodes.iter().map(|id| id.0).collect();
    PartitionMetadata {
        index: partition.partition_index,
        leader: known_node(partition.leader_id.0),
        leader_epoch: partition.leader_epoch,
        replicas: ids(partition.replica_nodes),
        isr: ids(partition.isr_nodes),
        offline: ids(partition.offline_replicas),
    }
}

/// -1 stands for "none" wherever a node is named.
fn known_node(id: i32) -> Option<i32> {
    (id >= 0).then_some(id)
}
