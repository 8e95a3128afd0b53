//! The border of the replica machine.

use serde::{Deserialize, Serialize};

use crate::inline::InlineVec;
use crate::limits::MAX_REPLICAS;
use crate::metadata::{AlteredPartition, Partition};
use crate::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, Offset, PartitionEpoch};

use super::message::{Fetch, FetchOutcome, FetchPosition, Fetched};

/// Names a produce request within one shard, so that its answer finds the way back.
pub type RequestId = u64;

/// Something that happened to a partition's replica. `B` is the log's batch.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Event<B> {
    /// The metadata that this broker has replayed, whenever something in it changed. Only from an
    /// image that holds the broker's present registration: an older one may name it leader of an
    /// epoch in which it led before it restarted and lost what it had not flushed.
    View(Box<View>),
    /// A client's record batch, checked for form and CRC by the shell. Answered by
    /// [`Effect::Reply`], with [`Acks::None`] at once.
    Append {
        request: RequestId,
        batch: B,
        acks: Acks,
    },
    /// The client has waited its longest for [`Acks::All`].
    RequestExpired(RequestId),
    /// A follower's fetch; answered by [`Effect::Answer`] in the same step.
    Fetch(Fetch),
    /// The leader's answer to [`Effect::Fetch`].
    Fetched {
        leader: NodeId,
        answer: Fetched<B>,
    },
    /// The fetch could not be answered at all (link down, timeout): ask again when there is a link.
    FetchFailed {
        leader: NodeId,
        position: FetchPosition,
    },
    /// The controller's answer to [`Effect::AlterPartition`], or `None` when none will come
    /// (connection lost, no controller). `leader_epoch` and `partition_epoch` are the request's.
    Altered {
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        answer: Option<Result<(), ErrorCode>>,
    },
    /// Nothing was heard from this follower's fetchers for `replica.lag.time.max.ms`.
    Silent(NodeId),
    Timeout(Timer),
    /// The log is on disk up to here. Only where `log.flush` says that acknowledging waits for it.
    Flushed(Offset),
    /// Retention or DeleteRecords moved the log's start.
    StartMoved(Offset),
    /// Idle producers may be forgotten: those that wrote last before this time, in milliseconds
    /// since the Unix epoch (`producer.id.expiration.ms`).
    ProducersExpired(i64),
    /// The topic is deleted, or the partition is no longer this broker's: ends whatever the replica
    /// does. The log is the shell's to remove.
    Retired,
}

impl<B> Event<B> {
    /// The same event with `f` of each batch in place of the batch.
    pub fn map<C>(&self, f: &mut impl FnMut(&B) -> C) -> Event<C> {
        match self {
            Event::View(view) => Event::View(view.clone()),
            Event::Append { request, batch, acks } => {
                Event::Append { request: *request, batch: f(batch), acks: *acks }
            }
            Event::RequestExpired(request) => Event::RequestExpired(*request),
            Event::Fetch(fetch) => Event::Fetch(*fetch),
            Event::Fetched { leader, answer } => {
                let Fetched { position, outcome } = answer;
                let answer = Fetched { position: *position, outcome: outcome.map(f) };
                Event::Fetched { leader: *leader, answer }
            }
            Event::FetchFailed { leader, position } => {
                Event::FetchFailed { leader: *leader, position: *position }
            }
            Event::Altered { leader_epoch, partition_epoch, answer } => Event::Altered {
                leader_epoch: *leader_epoch,
                partition_epoch: *partition_epoch,
                answer: *answer,
            },
            Event::Silent(follower) => Event::Silent(*follower),
            Event::Timeout(timer) => Event::Timeout(*timer),
            Event::Flushed(end) => Event::Flushed(*end),
            Event::StartMoved(start) => Event::StartMoved(*start),
            Event::ProducersExpired(before) => Event::ProducersExpired(*before),
            Event::Retired => Event::Retired,
        }
    }
}

/// Something to be done, in order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Effect {
    /// Answer a produce request.
    Reply {
        request: RequestId,
        result: Result<Appended, ErrorCode>,
    },
    /// Answer a follower's fetch. `Records` says from where to read in place of the bytes; with
    /// nothing to read the shell may hold the answer until there is news.
    Answer {
        follower: NodeId,
        position: FetchPosition,
        outcome: FetchOutcome<Offset>,
    },
    /// Fetch from `leader` from this position on: replaces the position fetched from so far.
    Fetch {
        leader: NodeId,
        position: FetchPosition,
    },
    /// Do not fetch this partition any more.
    StopFetching,
    /// Ask the controller for another ISR (L3). One is in flight at a time.
    AlterPartition(AlteredPartition),
    /// The log's end, its start or the high watermark moved: held fetches of followers and
    /// consumers may have something to read.
    News,
    /// Bring the log to disk; [`Event::Flushed`] answers.
    Flush,
    /// The log was truncated to here: caches and indexes above it are void.
    Truncated(Offset),
    SetTimer(Timer),
    CancelTimer(Timer),
    /// For logs and metrics.
    Became {
        leader: bool,
        epoch: LeaderEpoch,
    },
    /// For logs and metrics: the ISR in force changed.
    IsrChanged {
        shrunk: bool,
    },
    /// A promise is broken (e.g. a truncation below the high watermark of a clean leader).
    Violation(&'static str),
}

pub type Effects = Vec<Effect>;

/// How far a batch must be before its producer hears of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Acks {
    /// Not at all.
    None,
    /// In the leader's log.
    Leader,
    /// Below the high watermark, and |ISR| >= min.insync.replicas (I5).
    All,
}

/// Where a batch is in the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Appended {
    pub base: Offset,
    /// The log's start when it was appended.
    pub log_start: Offset,
    /// An earlier batch with the same sequence was found instead (I2).
    pub duplicate: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Timer {
    /// `replica.lag.time.max.ms` since this follower was last caught up. Armed only while it is
    /// behind, so that idle partitions cost nothing.
    Lag(NodeId),
    /// Ask the controller again.
    AlterRetry,
    /// Ask the leader again that refused a fetch (`replica.fetch.backoff.ms`).
    FetchRetry,
}

/// What a replica knows of the metadata: its partition and the brokers that hold it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct View {
    pub partition: Partition,
    /// `min.insync.replicas` as configured; what is in force comes from
    /// [`crate::metadata::effective_min_isr`], the one definition that controller and broker share.
    pub min_isr: i32,
    /// The brokers of `partition.replicas` that are registered, in that order: their registration,
    /// and whether they are active (B5).
    pub brokers: InlineVec<(NodeId, BrokerEpoch, bool), MAX_REPLICAS>,
    /// Acknowledge and advance only what is flushed (`log.flush`).
    pub flush_before_ack: bool,
}
