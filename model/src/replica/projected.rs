//! What a specification has as a replica's variables: enough to compare its states with these.

use crate::metadata::AlteredPartition;
use crate::{BrokerEpoch, NodeId, Offset, PartitionEpoch, Rules};

use super::Replica;
use super::isr::Proposal;
use super::machine::Role;
use super::progress::Lag;

/// A leader's memory beside its log and its high watermark.
#[derive(Debug)]
pub struct Leading {
    pub isr: Vec<NodeId>,
    pub recovering: bool,
    pub partition_epoch: PartitionEpoch,
    /// Registrations by broker, and whether they are active.
    pub brokers: Vec<(NodeId, BrokerEpoch, bool)>,
    /// Name of the proposal's state, and what was asked.
    pub proposal: (&'static str, Option<AlteredPartition>),
    /// Ends of the records whose producers wait for acks=all.
    pub waiting: Vec<Offset>,
}

/// What a leader knows of one follower.
#[derive(Clone, Copy, Debug)]
pub struct Follows {
    /// Its end and its registration, if it has fetched in this leader epoch.
    pub fetched: Option<(Offset, BrokerEpoch)>,
    /// It was behind for too long.
    pub over: bool,
}

impl<R: Rules> Replica<R> {
    /// What it remembers as a leader; `None` while it leads nothing.
    pub fn leading(&self) -> Option<Leading> {
        let Role::Leader(leader) = &self.role else { return None };
        let proposal = match leader.proposal {
            Proposal::None => ("none", None),
            Proposal::Sent(asked) => ("sent", Some(asked)),
            Proposal::Unanswered(asked) => ("unanswered", Some(asked)),
            Proposal::Decided(asked) => ("decided", Some(asked)),
            Proposal::RolledBack => ("rolled-back", None),
        };
        Some(Leading {
            isr: self.view.partition.isr.to_vec(),
            recovering: self.view.partition.recovering,
            partition_epoch: self.view.partition.partition_epoch,
            brokers: self.view.brokers.to_vec(),
            proposal,
            waiting: leader.waiting.commit.ends().collect(),
        })
    }

    /// What is known of `node` as a follower. Without a fetch in this epoch the rest of an entry
    /// says nothing, whatever it holds.
    pub fn follows(&self, node: NodeId) -> Follows {
        let entry = self.followers.iter().find(|one| one.node == node);
        Follows {
            fetched: entry.filter(|one| one.fetched).map(|one| (one.end, one.broker_epoch)),
            over: entry.is_some_and(|one| one.lag == Lag::Over),
        }
    }
}
