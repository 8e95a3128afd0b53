//! What a follower and its leader say to each other about one partition (L4).

use serde::{Deserialize, Serialize};

use crate::{BrokerEpoch, EpochEnd, ErrorCode, LeaderEpoch, NodeId, Offset};

/// Where a follower stands: the content of its fetch of one partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FetchPosition {
    pub leader_epoch: LeaderEpoch,
    /// The follower's log end; with flushing before acknowledging, its flushed end.
    pub offset: Offset,
    /// The leader epoch of the follower's last record; [`LeaderEpoch::UNKNOWN`] if it has none.
    pub last_epoch: LeaderEpoch,
    /// The follower's log start (F1).
    pub log_start: Offset,
}

/// A follower's fetch as its leader's replica sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Fetch {
    pub follower: NodeId,
    /// The registration under which the follower fetches (L1).
    pub broker_epoch: BrokerEpoch,
    pub position: FetchPosition,
}

/// The leader's answer. `B` is the log's batch.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Fetched<B> {
    /// What was asked, so that a late answer is known for one.
    pub position: FetchPosition,
    pub outcome: FetchOutcome<B>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum FetchOutcome<B> {
    /// Valid: what follows the position (none: nothing new), the leader's high watermark and log
    /// start.
    Records { records: B, high_watermark: Offset, log_start: Offset },
    /// The logs part before the position: the leader's largest epoch not above the follower's last,
    /// and where it ends.
    Diverging(EpochEnd),
    /// The position is below the leader's log start (F1), which is here, or above its end.
    OutOfRange { log_start: Offset, end: Offset },
    /// NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, ...
    Refused(ErrorCode),
}

impl<B> FetchOutcome<B> {
    /// The same outcome with `f` of the records in their place.
    pub fn map<C>(&self, f: &mut impl FnMut(&B) -> C) -> FetchOutcome<C> {
        match self {
            FetchOutcome::Records { records, high_watermark, log_start } => FetchOutcome::Records {
                records: f(records),
                high_watermark: *high_watermark,
                log_start: *log_start,
            },
            FetchOutcome::Diverging(end) => FetchOutcome::Diverging(*end),
            FetchOutcome::OutOfRange { log_start, end } => {
                FetchOutcome::OutOfRange { log_start: *log_start, end: *end }
            }
            FetchOutcome::Refused(error) => FetchOutcome::Refused(*error),
        }
    }
}
