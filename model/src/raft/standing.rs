//! The part of a node that changes, taken out and put back.

use super::quorum::Quorum;
use super::role::Role;
use super::voters::{VoterSet, Voters};
use crate::{Epoch, NodeId, Offset, ReplicaKey, Rules};

/// What changes of a node from step to step; the rest is what it was born with. A checker keeps
/// only this of each node, and hashes all of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Standing {
    voters: Voters,
    voters_at: Option<Offset>,
    epoch: Epoch,
    vote: Option<ReplicaKey>,
    role: Role,
    high_watermark: Offset,
    connected: VoterSet,
    attempts: u8,
    ask_next: u8,
    guide: Option<NodeId>,
}

impl<R: Rules> Quorum<R> {
    /// What changes from step to step.
    pub fn standing(&self) -> Standing {
        // Field by field, so that a new one cannot be forgotten.
        let Quorum {
            rules: _,
            me: _,
            configured: _,
            voters,
            voters_at,
            epoch,
            vote,
            role,
            high_watermark,
            connected,
            attempts,
            ask_next,
            guide,
        } = *self;
        Standing {
            voters,
            voters_at,
            epoch,
            vote,
            role,
            high_watermark,
            connected,
            attempts,
            ask_next,
            guide,
        }
    }

    /// This node with another standing of its own.
    #[must_use]
    pub fn with(&self, standing: Standing) -> Self {
        let Standing {
            voters,
            voters_at,
            epoch,
            vote,
            role,
            high_watermark,
            connected,
            attempts,
            ask_next,
            guide,
        } = standing;
        Quorum {
            rules: self.rules,
            me: self.me,
            configured: self.configured,
            voters,
            voters_at,
            epoch,
            vote,
            role,
            high_watermark,
            connected,
            attempts,
            ask_next,
            guide,
        }
    }
}
