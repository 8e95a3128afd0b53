//! The life of one partition, as pure functions over its flat registration (P2 to P7).
//!
//! ```text
//!  what happened (Cause) ─┐
//!  the partition ─────────┼──▶ change ──▶ PartitionChange ──▶ Partition::apply
//!  its topic's Policy ────┤      finish reassignment, ELR, election, epochs
//!  who is alive (Brokers) ┘
//! ```
//!
//! [`alter`] judges a leader's proposal (P3) and [`reassign`] an operator's (P7) before they become
//! a [`Cause`]. The controller and the checker's models call the same functions.

mod alter;
mod apply;
mod change;
mod reassign;

#[cfg(test)]
mod tests;

pub use alter::{alter, refusal};
pub use change::{Cause, Election, change};
pub use reassign::{Refused, reassign};

use crate::{BrokerEpoch, NodeId};

/// What the rules of a partition ask about brokers.
pub trait Brokers {
    /// B5: registered, neither fenced nor stopping.
    fn is_active(&self, broker: NodeId) -> bool;

    /// The epoch of the broker's registration, if it has one.
    fn epoch(&self, broker: NodeId) -> Option<BrokerEpoch>;
}

/// What a topic's configuration says about its partitions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Policy {
    /// `min.insync.replicas` as configured.
    pub min_isr: i32,
    /// `unclean.leader.election.enable`.
    pub unclean: bool,
}
