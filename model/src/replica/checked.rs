//! What a checker's shell asks of a replica in place of remembering its effects: a smaller state.

use crate::metadata::{AlteredPartition, Partition};
use crate::{NodeId, Offset, PartitionEpoch, Rules};

use super::follower::Asked;
use super::isr::Proposal;
use super::machine::Role;
use super::progress::Lag;
use super::{FetchPosition, Replica, View};

impl<R: Rules> Replica<R> {
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

    /// Drops what makes no difference to the model, so that states that behave alike are equal:
    ///
    /// * what only decides whether a lag timer that runs out counts, since the model lets a
    ///   follower be found silent whenever it is behind, which allows all that a timer can do;
    /// * in a view, what only a leader reads: the ISR, the partition epoch and the other brokers.
    ///   Leaders change with the leader epoch, and with that everything is replayed again.
    pub(crate) fn forget_what_is_idle(&mut self) {
        for follower in self.followers.iter_mut() {
            follower.leader_end = Offset::ZERO;
            if follower.lag != Lag::Over {
                follower.lag = Lag::None;
            }
        }
        if !self.is_leader() {
            let Partition { replicas, leader, leader_epoch, .. } = self.view.partition;
            let partition_epoch = PartitionEpoch(-1);
            self.view.partition = Partition {
                replicas,
                leader,
                leader_epoch,
                partition_epoch,
                ..Partition::default()
            };
            self.view.brokers.clear();
        }
    }

    /// Whether replaying `view` would make a difference.
    pub(crate) fn would_notice(&self, view: &View) -> bool {
        if self.is_leader() {
            self.view != *view
        } else {
            self.leader_epoch() != view.partition.leader_epoch
        }
    }
}
