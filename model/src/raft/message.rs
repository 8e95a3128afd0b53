//! What the nodes of a quorum say to each other.

use serde::{Deserialize, Serialize};

use crate::inline::InlineVec;
use crate::limits::MAX_VOTERS;
use crate::{Epoch, EpochEnd, ErrorCode, NodeId, Offset, ReplicaKey};

/// A message between two nodes. `B` is the log's batch ([`crate::log::Log::Batch`]); in the node it
/// travels as raw bytes beside the CBOR header.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Message<B> {
    Vote(Vote),
    VoteResponse(VoteResponse),
    BeginQuorumEpoch(BeginQuorumEpoch),
    /// The receiver's epoch and the leader that it knows; a higher epoch deposes the sender.
    BeginQuorumEpochResponse {
        epoch: Epoch,
        leader: Option<NodeId>,
    },
    EndQuorumEpoch(EndQuorumEpoch),
    Fetch(Fetch),
    FetchResponse(FetchResponse<B>),
    FetchSnapshot(FetchSnapshot),
    FetchSnapshotResponse(FetchSnapshotResponse<B>),
}

impl<B> Message<B> {
    /// The same message with `f` of each batch in place of the batch.
    pub fn map<C>(&self, f: &mut impl FnMut(&B) -> C) -> Message<C> {
        match self {
            Message::Vote(vote) => Message::Vote(*vote),
            Message::VoteResponse(answer) => Message::VoteResponse(*answer),
            Message::BeginQuorumEpoch(begin) => Message::BeginQuorumEpoch(*begin),
            Message::BeginQuorumEpochResponse { epoch, leader } => {
                Message::BeginQuorumEpochResponse { epoch: *epoch, leader: *leader }
            }
            Message::EndQuorumEpoch(end) => Message::EndQuorumEpoch(*end),
            Message::Fetch(fetch) => Message::Fetch(*fetch),
            Message::FetchSnapshot(fetch) => Message::FetchSnapshot(*fetch),
            Message::FetchResponse(answer) => {
                let FetchResponse { epoch, leader, offset, last_epoch, .. } = *answer;
                let outcome = answer.outcome.map(f);
                Message::FetchResponse(FetchResponse { epoch, leader, offset, last_epoch, outcome })
            }
            Message::FetchSnapshotResponse(answer) => {
                let FetchSnapshotResponse { epoch, leader, snapshot, position, .. } = *answer;
                let chunk = answer.chunk.as_ref().map(|(bytes, last)| (f(bytes), *last));
                let chunk = chunk.map_err(|error| *error);
                let answer = FetchSnapshotResponse { epoch, leader, snapshot, position, chunk };
                Message::FetchSnapshotResponse(answer)
            }
        }
    }
}

impl<B> FetchOutcome<B> {
    /// As [`Message::map`].
    pub fn map<C>(&self, f: &mut impl FnMut(&B) -> C) -> FetchOutcome<C> {
        match self {
            FetchOutcome::Records { batch, high_watermark } => FetchOutcome::Records {
                batch: batch.as_ref().map(f),
                high_watermark: *high_watermark,
            },
            FetchOutcome::Diverging(end) => FetchOutcome::Diverging(*end),
            FetchOutcome::Snapshot(snapshot) => FetchOutcome::Snapshot(*snapshot),
            FetchOutcome::Refused(error) => FetchOutcome::Refused(*error),
        }
    }
}

/// A request for a vote, or with `pre_vote` the question whether one would be granted (Q3, Q4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Vote {
    /// The epoch that the candidate stands in; a Prospective keeps its epoch.
    pub epoch: Epoch,
    pub candidate: ReplicaKey,
    /// Whom the candidate takes the receiver to be; another directory means another disk.
    pub voter: ReplicaKey,
    pub last_epoch: Epoch,
    pub end: Offset,
    pub pre_vote: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct VoteResponse {
    /// The receiver's epoch after the request.
    pub epoch: Epoch,
    /// The leader of that epoch, if the receiver knows it.
    pub leader: Option<NodeId>,
    pub granted: bool,
    /// As in the request that is answered.
    pub pre_vote: bool,
    /// Why the request was not looked at, e.g. [`ErrorCode::FencedLeaderEpoch`].
    pub error: Option<ErrorCode>,
}

/// "I lead this epoch": the announcement after an election, repeated to voters that do not fetch
/// (Q5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct BeginQuorumEpoch {
    pub epoch: Epoch,
    pub leader: NodeId,
    pub voter: ReplicaKey,
}

/// "I lead no longer": the successors in the order of their logs' ends (Q10).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct EndQuorumEpoch {
    pub epoch: Epoch,
    pub leader: NodeId,
    pub successors: InlineVec<ReplicaKey, MAX_VOTERS>,
}

/// A follower's or observer's pull (Q6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Fetch {
    pub epoch: Epoch,
    pub replica: ReplicaKey,
    /// The fetcher's log end: what it asks from, and what it acknowledges. A follower flushes first
    /// (Q7). An observer that only asks around for a leader does not; should whom it asks count it as
    /// a voter already, it lacks the record that made it one, and any majority of the voters before
    /// that record meets the others that hold what it acknowledges.
    pub offset: Offset,
    pub last_epoch: Epoch,
    /// The high watermark that the fetcher knows: a fetch is answered as soon as there is a higher
    /// one, so that commits spread without delay (KIP-1166).
    pub high_watermark: Offset,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FetchResponse<B> {
    pub epoch: Epoch,
    pub leader: Option<NodeId>,
    /// The fetch that is answered: `offset` and `last_epoch` as asked, so that a late answer is
    /// known for one (L4's check, in the quorum too).
    pub offset: Offset,
    pub last_epoch: Epoch,
    pub outcome: FetchOutcome<B>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum FetchOutcome<B> {
    /// A valid fetch: what follows `offset` (or nothing yet), and the leader's high watermark.
    Records { batch: Option<B>, high_watermark: Offset },
    /// The logs differ at `offset`: the leader's largest epoch not above the fetcher's, and where
    /// it ends (Q6). Carries no high watermark to act upon (Q8).
    Diverging(EpochEnd),
    /// The log no longer reaches back to `offset`: fetch this snapshot first (Q11).
    Snapshot(SnapshotId),
    /// FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH or NOT_LEADER_OR_FOLLOWER.
    Refused(ErrorCode),
}

/// A snapshot by what it covers: everything below `end`, whose last record is of `epoch` (Q11).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct SnapshotId {
    pub end: Offset,
    pub epoch: Epoch,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FetchSnapshot {
    pub epoch: Epoch,
    pub replica: ReplicaKey,
    pub snapshot: SnapshotId,
    /// Bytes of it that the fetcher has.
    pub position: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FetchSnapshotResponse<B> {
    pub epoch: Epoch,
    pub leader: Option<NodeId>,
    pub snapshot: SnapshotId,
    pub position: u64,
    /// The chunk at `position`, and whether it is the last; or why there is none.
    pub chunk: Result<(B, bool), ErrorCode>,
}
