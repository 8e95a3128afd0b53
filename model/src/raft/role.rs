//! What a node of the quorum is at a time (Q1), with what it needs to know only while it is that.
//!
//! ```text
//! from          to           because
//! any           Unattached   a higher epoch was seen, its leader unknown (Q3)
//! any           Follower     a leader of this or a higher epoch made itself known
//! Unattached    Prospective  the election timer ran out
//! Follower      Prospective  the leader is silent, gone or resigned
//! Prospective   Candidate    a majority would vote (Q4)
//! Prospective   Follower     no majority, but a leader is known; else Unattached
//! Candidate     Leader       a majority voted (Q5)
//! Candidate     Prospective  the election timer ran out
//! Leader        Resigned     an orderly stop, or no majority fetches (Q9); also by a restart (Q2)
//! Resigned      Prospective  the election timer ran out
//! Leader        Unattached   its removal from the voters is committed (Q12)
//! any but Leader and Follower
//!               Unattached   is a voter no longer (Q12)
//! ```

use super::SnapshotId;
use super::reconfigure::Pending;
use super::voters::VoterSet;
use crate::inline::InlineVec;
use crate::limits::MAX_VOTERS;
use crate::{NodeId, Offset};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Role {
    /// Knows no leader of its epoch; may have voted in it.
    Unattached,
    /// Asks whether it would be elected, without touching its epoch. `leader` is whom it followed
    /// and follows again if it would not.
    Prospective {
        tally: Tally,
        leader: Option<NodeId>,
    },
    Candidate {
        tally: Tally,
    },
    Leader(Leader),
    Follower(Follower),
    /// Led this epoch and will not do so again.
    Resigned,
}

/// The answers to a round of vote requests.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Tally {
    pub(super) granted: VoterSet,
    pub(super) refused: VoterSet,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Leader {
    /// Where the epoch begins: the offset of its LeaderChange record.
    pub(super) start: Offset,
    /// How far each voter's log is flushed, by its fetches of this epoch; the leader's own place
    /// stays 0, since its log knows better.
    pub(super) ends: InlineVec<Offset, MAX_VOTERS>,
    /// Voters that have fetched in this epoch and need no announcement.
    pub(super) followed: VoterSet,
    /// Voters that have fetched since a majority last had (Q9).
    pub(super) heard: VoterSet,
    /// The voter change that is under way (Q12).
    pub(super) pending: Option<Pending>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Follower {
    pub(super) leader: NodeId,
    pub(super) contact: Contact,
    pub(super) pull: Pull,
}

/// What a follower thinks of its leader.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Contact {
    /// Has not fetched from it yet since it became its follower.
    Untried,
    /// Has fetched from it: refuses pre-votes (Q4).
    Fetched,
    /// It is gone, has resigned, or nobody would elect another: an election timer runs.
    Lost,
}

/// A follower's one request in flight, or what it waits for before the next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Pull {
    /// Nothing is on its way: waits for a timer or for the link.
    Idle,
    Fetching,
    /// What was appended is not on disk yet; the next fetch will acknowledge it.
    Flushing,
    FetchingSnapshot {
        snapshot: SnapshotId,
        position: u64,
    },
    InstallingSnapshot(SnapshotId),
}

impl Role {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Role::Unattached => "Unattached",
            Role::Prospective { .. } => "Prospective",
            Role::Candidate { .. } => "Candidate",
            Role::Leader(_) => "Leader",
            Role::Follower(_) => "Follower",
            Role::Resigned => "Resigned",
        }
    }
}
