//! What a checker's shell asks of a replica in place of remembering its effects: a smaller state.

use crate::metadata::AlteredPartition;
use crate::{NodeId, Offset, Rules};

use super::follower::Asked;
use super::isr::Proposal;
use super::machine::Role;
use super::progress::Lag;
use super::{FetchPosition, Replica, View};

impl<R: Rules> Replica<R> {
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Whom the replica follows, and from where it asks.
    pub(crate) fn wanted_fetch(&self) -> Option<(NodeId, FetchPosition)> {
        match &self.role {
            Role::Follower(follower) => match follower.asked {
                Asked::From(position) => Some((follower.leader, position)),
                Asked::WaitsForFlush | Asked::Refused => None,
            },
            Role::Idle | Role::Leader(_) => None,
        }
    }

    /// What it has asked the controller and still wants to know.
    pub(crate) fn wanted_alteration(&self) -> Option<AlteredPartition> {
        match &self.role {
            Role::Leader(leader) => match leader.proposal {
                Proposal::Sent(asked) => Some(asked),
                _ => None,
            },
            Role::Idle | Role::Follower(_) => None,
        }
    }

    pub(crate) fn is_rolled_back(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.proposal == Proposal::RolledBack)
    }

    /// Drops what only decides whether a lag timer that runs out counts. A model that lets a
    /// follower be found silent whenever it is behind allows all that such a timer can do.
    pub(crate) fn forget_clocks(&mut self) {
        for follower in self.followers.iter_mut() {
            follower.leader_end = Offset::ZERO;
            if follower.lag != Lag::Over {
                follower.lag = Lag::None;
            }
        }
    }
}
