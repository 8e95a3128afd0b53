//! Metadata records: what the quorum's log holds (KIP-631's family, by Kafka's names).
//!
//! State changes only by replaying these ([`super::Image::replay`]). Encoding is the node's; each
//! kind is written with a number and a version, and golden bytes are kept in the repository.

use serde::{Deserialize, Serialize};

use crate::inline::Nodes;
use crate::{BrokerEpoch, DirectoryId, Incarnation, NodeId, TopicId, TopicPartition};

use super::image::ResourceKind;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Record {
    RegisterBroker(RegisterBroker),
    UnregisterBroker {
        broker: NodeId,
        epoch: BrokerEpoch,
    },
    BrokerRegistrationChange(BrokerRegistrationChange),
    RegisterController(RegisterController),
    Topic {
        id: TopicId,
        name: String,
    },
    RemoveTopic {
        id: TopicId,
    },
    Partition(PartitionRecord),
    PartitionChange(PartitionChange),
    Config(ConfigRecord),
    FeatureLevel {
        name: String,
        level: i16,
    },
    /// The next producer id that no block covers yet (K6).
    ProducerIds {
        broker: NodeId,
        epoch: BrokerEpoch,
        next: i64,
    },
    /// min.insync.replicas fell, for more partitions than a batch takes: ELRs are void (P6). `None`:
    /// of every topic.
    ClearElr {
        topic: Option<TopicId>,
    },
    NoOp,
}

/// B1. A new registration's epoch is the offset at which this record lands.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct RegisterBroker {
    pub broker: NodeId,
    /// The epoch that is kept: in a snapshot, and where the same incarnation registers again.
    /// `None`: the record's own offset.
    #[serde(default)]
    pub epoch: Option<BrokerEpoch>,
    pub incarnation: Incarnation,
    pub endpoints: Vec<Endpoint>,
    /// Feature name, lowest and highest level that the broker supports.
    pub features: Vec<(String, i16, i16)>,
    pub rack: Option<String>,
    pub directories: Vec<DirectoryId>,
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
}

/// Where a listener can be reached.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// The listener's name, e.g. `PLAINTEXT`.
    pub listener: String,
    pub host: String,
    pub port: u16,
    pub protocol: SecurityProtocol,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct BrokerRegistrationChange {
    pub broker: NodeId,
    pub epoch: BrokerEpoch,
    /// `None` leaves it as it is.
    pub fenced: Option<bool>,
    pub in_controlled_shutdown: Option<bool>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct RegisterController {
    pub controller: NodeId,
    pub incarnation: Incarnation,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<(String, i16, i16)>,
}

/// P1: a new partition, whole.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct PartitionRecord {
    pub id: TopicPartition,
    pub partition: super::Partition,
}

/// P2: what changes in a partition; `None` leaves a field as it is. Replaying it adds one to the
/// partition epoch, and one to the leader epoch whenever `leader` is present.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct PartitionChange {
    pub id: TopicPartition,
    pub replicas: Option<Nodes>,
    pub isr: Option<Nodes>,
    pub removing: Option<Nodes>,
    pub adding: Option<Nodes>,
    /// `Some(None)`: no leader from now on.
    pub leader: Option<Option<NodeId>>,
    pub recovering: Option<bool>,
    pub elr: Option<Nodes>,
    pub last_known_elr: Option<Nodes>,
}

impl PartitionChange {
    /// Whether replaying it would change nothing, so that no record is due (P4).
    pub fn is_empty(&self) -> bool {
        *self == PartitionChange { id: self.id, ..Default::default() }
    }
}

/// One configuration value; `value: None` removes it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ConfigRecord {
    pub kind: ResourceKind,
    /// The topic's name or the broker's id; empty for the default of all brokers.
    pub resource: String,
    pub name: String,
    pub value: Option<String>,
}
