//! What the active controller can be asked, and what it answers. These travel between brokers and
//! controllers as CBOR.

use serde::{Deserialize, Serialize};

use crate::inline::Nodes;
use crate::{
    BrokerEpoch, ClusterId, DirectoryId, ErrorCode, Incarnation, LeaderEpoch, NodeId, Offset,
    PartitionEpoch, TopicId, TopicPartition,
};

use super::image::ResourceKind;
use super::record::Endpoint;

/// A request to the active controller.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Request {
    RegisterBroker(BrokerRegistration),
    Heartbeat(BrokerHeartbeat),
    UnregisterBroker { broker: NodeId },
    CreateTopics { topics: Vec<NewTopic>, validate_only: bool },
    DeleteTopics { topics: Vec<TopicRef> },
    CreatePartitions { topics: Vec<CreatePartitions>, validate_only: bool },
    AlterConfigs { changes: Vec<ConfigChange>, validate_only: bool },
    AlterPartition(AlterPartition),
    ElectLeaders(ElectLeaders),
    ReassignPartitions { partitions: Vec<ReassignPartition> },
    AllocateProducerIds { broker: NodeId, epoch: BrokerEpoch },
}

/// The answer to the request of the same name. `Err` inside a list is that element's own error,
/// with a message for the operator.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Response {
    /// The broker's epoch (B1).
    RegisterBroker(Result<BrokerEpoch, Refusal>),
    Heartbeat(Result<HeartbeatReply, Refusal>),
    UnregisterBroker(Result<(), Refusal>),
    CreateTopics(Vec<(String, Result<TopicCreated, Refusal>)>),
    DeleteTopics(Vec<TopicDeleted>),
    CreatePartitions(Vec<(String, Result<(), Refusal>)>),
    AlterConfigs(Vec<(ResourceKind, String, Result<(), Refusal>)>),
    AlterPartition(Result<Vec<AlterAnswer>, ErrorCode>),
    ElectLeaders(Vec<(TopicPartition, Result<(), ErrorCode>)>),
    ReassignPartitions(Vec<(TopicPartition, Result<(), Refusal>)>),
    /// The first id of a block of [`crate::limits::PRODUCER_ID_BLOCK`].
    AllocateProducerIds(Result<i64, ErrorCode>),
    /// Not the active controller, or no longer (K2). Ask the one named, if one is.
    NotController {
        leader: Option<NodeId>,
    },
}

/// A topic that was to be deleted: its id and name once found, or why it stays.
pub type TopicDeleted = (TopicRef, Result<(TopicId, String), Refusal>);

/// An error code with a sentence that says what was wrong and what would be right.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: String,
}

impl Refusal {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into() }
    }
}

/// B1.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct BrokerRegistration {
    pub cluster: ClusterId,
    pub broker: NodeId,
    pub incarnation: Incarnation,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<(String, i16, i16)>,
    pub rack: Option<String>,
    pub directories: Vec<DirectoryId>,
    /// The broker epoch of the last process on these directories, if they hold all that it wrote:
    /// after an orderly stop, or a kill on a machine that stayed up. [`BrokerEpoch::NONE`] after
    /// anything else: then what was in the page cache may be gone (L6).
    pub previous_epoch: BrokerEpoch,
    /// Directories in which damage was found below what had been flushed or committed; their
    /// replicas leave the ISR and the ELR even where B1 would keep them.
    pub damaged: bool,
}

/// B2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct BrokerHeartbeat {
    pub broker: NodeId,
    pub epoch: BrokerEpoch,
    /// The metadata that the broker has replayed.
    pub metadata_offset: Offset,
    pub want_fence: bool,
    pub want_shutdown: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct HeartbeatReply {
    pub is_caught_up: bool,
    pub fenced: bool,
    pub should_shut_down: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct NewTopic {
    pub name: String,
    /// `None`: `num.partitions` of the controller.
    pub partitions: Option<i32>,
    /// `None`: `default.replication.factor` of the controller.
    pub replication_factor: Option<i16>,
    /// Partition by partition from 0; empty: the controller places them.
    pub assignments: Vec<Vec<NodeId>>,
    pub configs: Vec<(String, String)>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TopicCreated {
    pub id: TopicId,
    pub partitions: i32,
    pub replication_factor: i16,
    /// The topic's own configuration.
    pub configs: Vec<(String, String)>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum TopicRef {
    Name(String),
    Id(TopicId),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct CreatePartitions {
    pub topic: String,
    /// How many there shall be in all.
    pub total: i32,
    /// For the new partitions in order; empty: the controller places them.
    pub assignments: Vec<Vec<NodeId>>,
}

/// Changes to one resource's configuration (IncrementalAlterConfigs).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ConfigChange {
    pub kind: ResourceKind,
    pub resource: String,
    pub ops: Vec<(String, ConfigOp)>,
    /// Replace all of the resource's configuration (AlterConfigs, the older API).
    pub replace: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ConfigOp {
    Set(String),
    Delete,
    Append(String),
    Subtract(String),
}

/// P3: a leader proposes ISRs for partitions that it leads.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct AlterPartition {
    pub broker: NodeId,
    pub epoch: BrokerEpoch,
    pub partitions: Vec<AlteredPartition>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct AlteredPartition {
    pub id: TopicPartition,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub isr: Nodes,
    /// The broker epochs of `isr`, in its order, as the leader saw them when it added them
    /// (KIP-903).
    pub isr_epochs: crate::inline::InlineVec<BrokerEpoch, { crate::limits::MAX_REPLICAS }>,
    pub recovering: bool,
}

/// The answer for one partition: granted, or why not. What is in force since then the metadata log
/// says, and it alone.
pub type AlterAnswer = (TopicPartition, Result<(), ErrorCode>);

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ElectLeaders {
    pub kind: ElectionType,
    /// `None`: every partition that needs it.
    pub partitions: Option<Vec<TopicPartition>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ElectionType {
    Preferred,
    Unclean,
}

/// P7: `replicas: None` cancels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ReassignPartition {
    pub id: TopicPartition,
    pub replicas: Option<Nodes>,
}

/// Why the controller took brokers out of ISRs; for logs and metrics.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ShrinkReason {
    SessionTimeout,
    PeerGone,
    ControlledShutdown,
    UncleanRestart,
    Unregistered,
}
