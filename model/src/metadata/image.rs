//! The metadata image: what a prefix of the metadata log means (K4).
//!
//! `Image` is a pure fold of records. Topics are shared behind `Arc`, so that keeping the committed
//! image beside the controller's latest one, or handing a snapshot to every connection, copies
//! pointers and not partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::inline::Nodes;
use crate::{
    BrokerEpoch, DirectoryId, Incarnation, LeaderEpoch, NodeId, Offset, PartitionEpoch, TopicId,
};

use super::record::{Endpoint, RegisterController};

/// The state of the cluster after the records below `end`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Image {
    /// The offset after the last record that was replayed.
    pub end: Offset,
    pub brokers: BTreeMap<NodeId, Arc<Broker>>,
    pub controllers: BTreeMap<NodeId, Arc<RegisterController>>,
    pub topics: BTreeMap<TopicId, Arc<Topic>>,
    /// Names of topics, for look-ups by name and lists in order.
    pub topic_ids: BTreeMap<Arc<str>, TopicId>,
    /// Dynamic configuration; a topic's goes with the topic.
    pub configs: BTreeMap<(ResourceKind, String), Arc<Configs>>,
    /// Finalized feature levels, `metadata.version` among them (K5).
    pub features: BTreeMap<String, i16>,
    /// The first producer id of the next block (K6).
    pub next_producer_id: i64,
}

/// Configuration values by key.
pub type Configs = BTreeMap<String, String>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ResourceKind {
    Topic,
    Broker,
}

/// A registered broker (B1 to B5).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Broker {
    pub id: NodeId,
    pub epoch: BrokerEpoch,
    pub incarnation: Incarnation,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<(String, i16, i16)>,
    pub rack: Option<String>,
    pub directories: Vec<DirectoryId>,
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
}

impl Broker {
    /// B5: may lead, and may be in an ISR.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Topic {
    pub id: TopicId,
    pub name: Arc<str>,
    /// By partition number; numbers are dense from 0.
    pub partitions: Vec<Partition>,
}

/// A partition's registration. Flat and `Copy`: the checker's states hold it as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Partition {
    /// In order of preference; while a reassignment runs: target, then those to be removed (P7).
    pub replicas: Nodes,
    pub isr: Nodes,
    /// Eligible leader replicas (P6): not in sync, but holding all that was committed.
    pub elr: Nodes,
    /// Who led last when the ISR and ELR emptied; at most one (P6).
    pub last_known_elr: Nodes,
    pub removing: Nodes,
    pub adding: Nodes,
    pub leader: Option<NodeId>,
    /// The leader was elected uncleanly and has not yet said that it has recovered (P5).
    pub recovering: bool,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
}

/// The min.insync.replicas that is in force for a partition (P7, L2): the one definition that
/// controller and broker share. During a reassignment the current replicas count.
pub fn effective_min_isr(configured: i32, partition: &Partition) -> usize {
    (configured.max(1) as usize).min(partition.replicas.len().max(1))
}
