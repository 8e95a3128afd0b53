//! The border of the quorum machine: what can happen to it, and what it asks for.

use serde::{Deserialize, Serialize};

use super::message::{Message, SnapshotId};
use super::{VoterChange, VoterChangeError};
use crate::{Epoch, NodeId, Offset, ReplicaKey};

/// Something that happened. `B` is the log's batch.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Event<B> {
    /// The process runs; first event, once.
    Started,
    /// A timer that an effect set has run out.
    Timeout(Timer),
    /// A message arrived over the link from node `from`, whose identity the handshake proved.
    Received { from: NodeId, message: Message<B> },
    /// A fetch that [`Effect::Hold`] left with the shell has waited its longest: answer it now,
    /// news or none.
    HoldExpired { from: NodeId, fetch: super::Fetch },
    /// The log is on disk up to here.
    Flushed(Offset),
    /// A link to the controller `node` stands; its endpoint answers. Also after
    /// [`Effect::VotersKnown`], for every link that stands already.
    Connected(NodeId),
    /// The link to `node` is down. No verdict: it may be back in a moment.
    Disconnected(NodeId),
    /// `node`'s process is gone, on the strict evidence of a closed link and refused connections.
    /// Acting on it is always safe; the models let it happen at any time.
    PeerGone(NodeId),
    /// The controller machine's records, one atomic batch, to append as leader. The batch's base
    /// is the log's end.
    Propose(B),
    /// The state machine wrote a snapshot and it is durable (Q11).
    SnapshotWritten(SnapshotId),
    /// A snapshot that [`Effect::StoreSnapshotChunk`] completed is durable and loaded.
    SnapshotInstalled(SnapshotId),
    /// Somebody wants the voters changed (Q12); [`Effect::VotersAnswered`] answers with this `id`.
    /// The shell has told its log where the voter is reached.
    ChangeVoters { id: u64, change: VoterChange },
    /// An orderly stop is wanted: a leader resigns and tells its followers (Q10).
    Resign,
}

impl<B> Event<B> {
    /// The same event with `f` of each batch in place of the batch.
    pub fn map<C>(&self, f: &mut impl FnMut(&B) -> C) -> Event<C> {
        match self {
            Event::Started => Event::Started,
            Event::Timeout(timer) => Event::Timeout(*timer),
            Event::Received { from, message } => {
                Event::Received { from: *from, message: message.map(f) }
            }
            Event::HoldExpired { from, fetch } => Event::HoldExpired { from: *from, fetch: *fetch },
            Event::Flushed(end) => Event::Flushed(*end),
            Event::Connected(node) => Event::Connected(*node),
            Event::Disconnected(node) => Event::Disconnected(*node),
            Event::PeerGone(node) => Event::PeerGone(*node),
            Event::Propose(batch) => Event::Propose(f(batch)),
            Event::SnapshotWritten(snapshot) => Event::SnapshotWritten(*snapshot),
            Event::SnapshotInstalled(snapshot) => Event::SnapshotInstalled(*snapshot),
            Event::ChangeVoters { id, change } => Event::ChangeVoters { id: *id, change: *change },
            Event::Resign => Event::Resign,
        }
    }
}

/// Something to be done. Effects of one step are carried out in order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Effect<B> {
    /// Write epoch, leader and vote to disk, fsynced, replacing what was there.
    Store(StoredState),
    /// Send `message` to `to` once `gate` is passed. Losing it is allowed.
    Send {
        to: NodeId,
        message: Message<B>,
        gate: Gate,
    },
    /// Bring the log to disk; [`Event::Flushed`] answers.
    Flush,
    /// There is nothing new for this node's fetch: keep the request, and give it back as
    /// [`Event::Received`] after the next [`Effect::News`], or as [`Event::HoldExpired`] after the
    /// longest wait. One per node; a newer fetch or a closed link replaces it.
    Hold {
        from: NodeId,
        fetch: super::Fetch,
    },
    /// The log's end or the high watermark moved: look at the held fetches again.
    News,
    /// (Re)start a timer; its length and jitter are the shell's.
    SetTimer(Timer),
    CancelTimer(Timer),
    /// The leader that is known, or none, in this epoch. Also when the node itself leads; then
    /// wait for [`Effect::Lead`] before acting as controller.
    LeaderKnown {
        leader: Option<NodeId>,
        epoch: Epoch,
    },
    /// This node leads, and everything before its epoch is committed and below `start`: activate
    /// the controller (Q5, KAFKA-15345).
    Lead {
        epoch: Epoch,
        start: Offset,
    },
    /// This node leads no longer: deactivate the controller (K2).
    LostLeadership {
        epoch: Epoch,
    },
    /// Everything below this offset is committed: replay it, release what waits for it.
    Committed(Offset),
    /// Another Voters record is in force (Q12): see to links with all that it names, and report
    /// those that stand as [`Event::Connected`]. On a leader the log's end has moved.
    VotersKnown,
    /// The answer to [`Event::ChangeVoters`]: the change is committed, or why it is not known to
    /// be.
    VotersAnswered {
        id: u64,
        result: Result<(), VoterChangeError>,
    },
    /// Write a chunk of a snapshot that is being fetched; after the `last` one make it durable,
    /// load it, and report [`Event::SnapshotInstalled`].
    StoreSnapshotChunk {
        snapshot: SnapshotId,
        position: u64,
        bytes: B,
        last: bool,
    },
    /// A promise is broken (e.g. a truncation below the high watermark). The process must stop.
    Violation(&'static str),
}

impl<B> Effect<B> {
    /// The same effect with `f` of each batch in place of the batch.
    pub fn map<C>(&self, f: &mut impl FnMut(&B) -> C) -> Effect<C> {
        match self {
            Effect::Store(state) => Effect::Store(*state),
            Effect::Send { to, message, gate } => {
                Effect::Send { to: *to, message: message.map(f), gate: *gate }
            }
            Effect::Flush => Effect::Flush,
            Effect::Hold { from, fetch } => Effect::Hold { from: *from, fetch: *fetch },
            Effect::News => Effect::News,
            Effect::SetTimer(timer) => Effect::SetTimer(*timer),
            Effect::CancelTimer(timer) => Effect::CancelTimer(*timer),
            Effect::LeaderKnown { leader, epoch } => {
                Effect::LeaderKnown { leader: *leader, epoch: *epoch }
            }
            Effect::Lead { epoch, start } => Effect::Lead { epoch: *epoch, start: *start },
            Effect::LostLeadership { epoch } => Effect::LostLeadership { epoch: *epoch },
            Effect::Committed(end) => Effect::Committed(*end),
            Effect::VotersKnown => Effect::VotersKnown,
            Effect::VotersAnswered { id, result } => {
                Effect::VotersAnswered { id: *id, result: *result }
            }
            Effect::StoreSnapshotChunk { snapshot, position, bytes, last } => {
                let (snapshot, position, last) = (*snapshot, *position, *last);
                Effect::StoreSnapshotChunk { snapshot, position, bytes: f(bytes), last }
            }
            Effect::Violation(promise) => Effect::Violation(promise),
        }
    }
}

/// The effects of a step, in order. Owned by the shell and reused.
pub type Effects<B> = Vec<Effect<B>>;

/// What must be on disk before a message may leave.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Gate {
    /// Nothing.
    None,
    /// The latest [`Effect::Store`] (Q2).
    Stored,
}

/// The quorum's timers. Lengths are the shell's: see `node/src/actor/quorum`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Timer {
    /// Knows no leader, or stands for election: how long until the next (pre-)vote. The shell
    /// adds jitter. The variant says how long to wait; it is one timer all the same, which setting
    /// or cancelling with any length replaces or stops.
    Election(Patience),
    /// A follower or observer has not heard from its leader.
    Fetch,
    /// A leader has not been fetched from by a majority (Q9).
    CheckQuorum,
    /// A leader repeats BeginQuorumEpoch to voters that have not fetched (Q5).
    Announce,
    /// Ask again after a request that went unanswered or was refused.
    Retry,
    /// A voter change has taken too long (Q12).
    VoterChange,
}

/// How long an election timer runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Patience {
    /// `controller.quorum.election.timeout.ms`, with jitter.
    Full,
    /// 0 to 50 ms: a voter that knows no leader has links to a majority of the voters.
    Fresh,
    /// The voter's rank among the successors x 30 ms, plus jitter: the leader is gone or resigned.
    Ranked(u8),
    /// After a lost election: exponential back-off, with jitter.
    Backoff(u8),
}

/// What survives a restart: the contents of the `quorum-state` file (Q2).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct StoredState {
    pub epoch: Epoch,
    pub leader: Option<NodeId>,
    pub vote: Option<ReplicaKey>,
}
