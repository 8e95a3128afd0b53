//! What the client listener needs of the broker behind it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kraft_model::metadata::{Broker, Image, Request, Response};
use kraft_model::raft::{VoterChange, VoterChangeError};
use kraft_model::replica::Acks;
use kraft_model::{ClusterId, EpochEnd, ErrorCode, LeaderEpoch, NodeId, Offset, TopicPartition};

use tokio::sync::OwnedMutexGuard;

use crate::config::NodeConfig;
use crate::peer::QuorumView;
use crate::storage::VoterEndpoint;

/// A connection's leave to send batches to the log, one request after the other.
pub type Turn = OwnedMutexGuard<()>;

/// The broker, as an API handler sees it. Handlers run on an arbiter's thread, so the futures need
/// not be `Send`.
pub trait Backend: Clone + 'static {
    fn config(&self) -> &Arc<NodeConfig>;

    /// The committed metadata that this broker has replayed.
    fn image(&self) -> Arc<Image>;

    /// Resolves once [`Backend::image`] ends after `seen`, so that a handler can wait until this
    /// broker has what it asked the controller for.
    fn image_changed(&self, seen: Offset) -> impl Future<Output = ()>;

    /// Whether clients are told of this broker ([`super::LatelyFenced`]).
    fn lists(&self, broker: &Broker) -> bool;

    fn cluster_id(&self) -> ClusterId;

    /// The active controller, if one is known.
    fn active_controller(&self) -> Option<NodeId>;

    /// Forwards to the active controller, looking for the new one while there is none;
    /// REQUEST_TIMED_OUT is [`Response::NotController`] here.
    fn controller(&self, request: Request, timeout: Duration) -> impl Future<Output = Response>;

    /// Appends; answers in the order of `items`. With [`Acks::None`] it waits for no other broker. `turn`
    /// ends when all of them are on their way to the log, in the order of turns.
    fn append(
        &self,
        items: Vec<ProduceItem>,
        acks: Acks,
        timeout: Duration,
        turn: Turn,
    ) -> impl Future<Output = Vec<Result<Produced, ErrorCode>>>;

    /// Waits until `min_bytes` can be read or `max_wait` is over. In the order of `spec.items`.
    fn fetch(&self, spec: FetchSpec) -> impl Future<Output = Vec<FetchedItem>>;

    fn list_offset(
        &self,
        partition: TopicPartition,
        leader_epoch: Option<LeaderEpoch>,
        query: ListOffset,
    ) -> impl Future<Output = Result<ListedOffset, ErrorCode>>;

    fn end_of_epoch(
        &self,
        partition: TopicPartition,
        current: Option<LeaderEpoch>,
        epoch: LeaderEpoch,
    ) -> impl Future<Output = Result<EpochEnd, ErrorCode>>;

    /// DeleteRecords: moves the log's start; -1 is the high watermark. The new start.
    fn delete_records(
        &self,
        partition: TopicPartition,
        before: i64,
    ) -> impl Future<Output = Result<Offset, ErrorCode>>;

    /// The next producer id from this broker's block (K6).
    fn producer_id(&self) -> impl Future<Output = Result<i64, ErrorCode>>;

    fn quorum(&self) -> impl Future<Output = Result<QuorumView, ErrorCode>>;

    /// Has the quorum's leader change the voters (KIP-853); `endpoints` are those of the voter.
    fn change_voters(
        &self,
        change: VoterChange,
        endpoints: Vec<VoterEndpoint>,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), VoterChangeError>>;

    fn log_dirs(&self) -> impl Future<Output = Vec<LogDirInfo>>;
}

/// One record batch for one partition, its form and CRC checked.
#[derive(Clone, Debug)]
pub struct ProduceItem {
    pub partition: TopicPartition,
    pub batch: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Produced {
    pub base: Offset,
    /// Milliseconds since the Unix epoch where the topic is `LogAppendTime`, else -1.
    pub append_time_ms: i64,
    pub log_start: Offset,
}

#[derive(Clone, Debug)]
pub struct FetchSpec {
    pub items: Vec<FetchItem>,
    pub max_wait: Duration,
    pub min_bytes: usize,
    pub max_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct FetchItem {
    pub partition: TopicPartition,
    pub offset: Offset,
    /// The leader epoch that the client believes in.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The epoch of the last record that the client has, for a truncation check (KIP-595 fetch).
    pub last_epoch: Option<LeaderEpoch>,
    pub max_bytes: usize,
}

#[derive(Clone, Debug)]
pub struct FetchedItem {
    pub partition: TopicPartition,
    pub result: Result<FetchRead, ErrorCode>,
}

#[derive(Clone, Debug)]
pub struct FetchRead {
    pub high_watermark: Offset,
    pub log_start: Offset,
    /// The client's position is not in this log: where the epochs part.
    pub diverging: Option<EpochEnd>,
    /// Whole record batches from the one that holds the offset on.
    pub records: Vec<Bytes>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListOffset {
    Earliest,
    Latest,
    /// The offset of the largest timestamp.
    MaxTimestamp,
    /// The first offset at or after this time, in milliseconds since the Unix epoch.
    Timestamp(i64),
}

/// Offset and timestamp are -1 when nothing matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListedOffset {
    pub offset: i64,
    pub timestamp: i64,
    pub leader_epoch: LeaderEpoch,
}

#[derive(Clone, Debug)]
pub struct LogDirInfo {
    pub path: String,
    pub total_bytes: i64,
    pub usable_bytes: i64,
    pub error: Option<ErrorCode>,
    /// Partition, size in bytes, how far it is behind.
    pub replicas: Vec<(TopicPartition, i64, i64)>,
}
