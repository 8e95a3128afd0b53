//! The models of the controller quorum: its machines over a modelled disk and network.
//!
//! ```text
//!   Quorum<Mutated> ── effects ──▶ disk (pending / durable)   crash: any prefix of what is pending
//!        ▲                         connections, in order      break: what was under way is lost
//!        └───────── events ◀────── timers that run, any time; a peer's death, believed any time
//! ```
//!
//! # What is left out, and why that hides nothing
//!
//! * **A crashed process restarts at once.** Until then it would only have been silent, which a slow
//!   node is too. What it had in memory is gone, and so is what was under way from it.
//! * **Storing excludes all else** (`storing`). While a node's epoch and vote are being stored,
//!   nothing else happens than that its disk makes progress, or that it crashes. Nobody hears from
//!   it until then, so whatever the others did in the meantime they could as well have done before
//!   it began or after it ended; and of what it could do itself nothing would outlive the crash.
//! * **Without a crash to come, disks are quick.** Nothing can then tell a slow disk from a slow
//!   network. (Where requests arrive at once, both of these hide late requests as that does.)
//! * **Timers have no lengths.** Any that runs may run out at any time, and what only decides a
//!   length is not kept ([`crate::raft::Standing`]).
//! * **Dead answers are dropped** (`drop_dead`): an answer of an epoch that its receiver has left
//!   changes nothing whenever it arrives.
//! * **Symmetry** ([`symmetry`]): of the states that differ only in who is who, one is visited.
//! * **Requests arrive when they are sent** ([`Delivery::RequestsAtOnce`]). This one *does* hide
//!   something, late requests; it is what makes three epochs affordable, and the configurations
//!   with requests under way are there for what it hides.
//!
//! The tests of `reductions` visit the same bounds with and without each.

mod actions;
mod bounds;
mod disk;
mod enact;
mod keys;
mod mutations;
mod network;
mod packet;
mod packing;
mod promises;
mod record;
#[cfg(test)]
mod reductions;
mod state;
mod story;
mod suite;
mod symmetry;
mod turn;
#[cfg(test)]
mod twins;
mod watch;

use stateright::{Model, Property};

use crate::check::Mutated;
use crate::raft::{Quorum, StoredState};
use crate::{Epoch, ReplicaKey};

use disk::{DiskLog, QuorumFile};
use keys::{key, second_key};
use network::Network;
use record::VoterMask;
use state::{Cut, History, Node, Spent};
use turn::Turn;

pub use actions::{Action, Partition};
pub use bounds::{ANY_NUMBER, Bounds, Delivery, Reductions};
pub(super) use mutations::mutations;
pub use state::State;
pub(super) use suite::models;

/// The model with `N` nodes.
#[derive(Clone, Debug)]
pub struct QuorumModel<const N: usize> {
    bounds: Bounds,
    /// The voters of a static quorum; none in one whose voters change.
    configured: Vec<ReplicaKey>,
    /// What the disks are formatted with.
    formatted: VoterMask,
    /// The machines with what they are born with, on their first disks and on their second; what
    /// changes is in the state.
    born: [[Quorum<Mutated>; 2]; N],
}

impl<const N: usize> QuorumModel<N> {
    pub fn new(bounds: Bounds) -> Self {
        let dynamic = bounds.observers.is_some();
        let configured: Vec<_> = if dynamic { vec![] } else { (0..N).map(key).collect() };
        let voters = N - usize::from(bounds.observers.unwrap_or(0));
        let formatted = if dynamic { VoterMask::first(voters) } else { VoterMask::default() };
        let (stored, log) = (StoredState::default(), DiskLog::formatted(formatted));
        let born = |key| Quorum::new(bounds.rules, key, &configured, stored, &log);
        let born = std::array::from_fn(|at| [born(key(at)), born(second_key(at))]);
        QuorumModel { bounds, configured, formatted, born }
    }

    fn born(&self, at: usize, wiped: bool) -> &Quorum<Mutated> {
        &self.born[at][usize::from(wiped)]
    }

    /// Whether a node may be none of the voters that it knows.
    fn has_observers(&self) -> bool {
        !self.formatted.is_empty() || self.bounds.wipes > 0
    }
}

impl<const N: usize> Model for QuorumModel<N> {
    type State = State<N>;
    type Action = Action;

    fn init_states(&self) -> Vec<State<N>> {
        let log = DiskLog::formatted(self.formatted);
        let boot = |at| Node::boot(self, at, false, log, QuorumFile::default());
        let mut state = State {
            nodes: std::array::from_fn(boot),
            network: Network::default(),
            outbox: Network::default(),
            cut: Cut::default(),
            spent: Spent::default(),
            history: History::new(),
            broken: None,
            alike: (N - usize::from(self.bounds.observers.unwrap_or(0))) as u8,
        };
        for at in 0..N {
            Turn::new(&mut state, self).start(at);
        }
        vec![state]
    }

    fn actions(&self, state: &State<N>, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn next_state(&self, state: &State<N>, action: Action) -> Option<State<N>> {
        let mut next = *state;
        self.enact(&mut next, action);
        Some(next)
    }

    fn within_boundary(&self, state: &State<N>) -> bool {
        let last = Epoch(i32::from(self.bounds.epochs));
        state.nodes.iter().all(|node| node.standing.epoch() <= last)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = promises::kept(&self.bounds);
        properties.extend(promises::reached(&self.bounds));
        properties
    }
}
