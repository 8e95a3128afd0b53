//! What a shard can be told.

use std::time::Instant;

use kraft_model::metadata::{AlteredPartition, Response};
use kraft_model::replica::{Acks, FetchOutcome, FetchPosition};
use kraft_model::{EpochEnd, ErrorCode, LeaderEpoch, NodeId, Offset, TopicPartition};
use tokio::sync::oneshot;

use super::consume::FetchPart;
use super::flush::FlushedLog;
use super::publish::Publication;
use crate::actor::replication::SessionPart;
use crate::kafka::{ListOffset, ListedOffset, LogDirInfo, Produced};
use crate::peer::FetchedPartition;
use crate::storage::Records;

pub(crate) enum Command {
    /// New metadata for this shard's partitions.
    Publish(Publication),
    Append(AppendPart),
    Fetch(FetchPart),
    /// Answer this held fetch with what there is.
    CutShort(u64),
    ListOffset(Question<(Option<LeaderEpoch>, ListOffset), ListedOffset>),
    EndOfEpoch(Question<(Option<LeaderEpoch>, LeaderEpoch), EpochEnd>),
    DeleteRecords(Question<i64, Offset>),
    LogDirs(oneshot::Sender<Vec<LogDirInfo>>),
    /// A follower's positions.
    ReplicaFetch(SessionPart),
    /// What a leader sent.
    Fetched {
        leader: NodeId,
        partitions: Vec<FetchedPartition>,
    },
    UnknownSession {
        leader: NodeId,
        sequence: u64,
    },
    LinkUp(NodeId),
    LinkDown(NodeId),
    /// Records for a follower were read from the device.
    Read {
        follower: NodeId,
        id: TopicPartition,
        position: FetchPosition,
        outcome: Read,
    },
    Altered {
        asked: Vec<AlteredPartition>,
        response: Response,
    },
    /// `named`: why the names of new partitions could not be brought to disk, if so.
    Flushed {
        group: Vec<FlushedLog>,
        named: Option<String>,
    },
    /// Delete the logs that were found on disk and that no metadata has asked for.
    DropStrays,
    /// Flush, write checkpoints, stop.
    Shutdown(oneshot::Sender<()>),
}

pub(crate) type Read = FetchOutcome<Option<Records>>;

/// Batches of one produce request that are for one shard, with their places in the request.
pub(crate) struct AppendPart {
    pub items: Vec<(usize, TopicPartition, bytes::Bytes)>,
    pub acks: Acks,
    pub deadline: Instant,
    pub answer: oneshot::Sender<Vec<(usize, Result<Produced, ErrorCode>)>>,
}

/// A question about one partition.
pub(crate) struct Question<Q, A> {
    pub id: TopicPartition,
    pub asked: Q,
    pub answer: oneshot::Sender<Result<A, ErrorCode>>,
}
