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
//!   network.
//! * **Timers have no lengths.** Any that runs may run out at any time, and what only decides a
//!   length is not kept ([`crate::raft::Standing`]).
//! * **Dead answers are dropped** (`drop_dead`): an answer of an epoch that its receiver has left
//!   changes nothing whenever it arrives.
//! * **Symmetry** ([`symmetry`]): of the states that differ only in who is who, one is visited.
//! * **Requests arrive when they are sent** ([`Delivery::RequestsAtOnce`]). This one *does* hide
//!   something, late requests; it is what makes three epochs affordable, and the configurations
//!   with requests under way are there for what it hides.
//!
//! `tests/quorum_reductions.rs` counts with and without each.

mod actions;
mod bounds;
mod disk;
mod network;
mod packet;
mod promises;
mod record;
mod state;
mod story;
mod suite;
mod symmetry;
mod turn;

use stateright::{Model, Property};

use crate::check::Mutated;
use crate::raft::{Event, Quorum, StoredState};
use crate::{Epoch, ReplicaKey};

use disk::{DiskLog, QuorumFile};
use network::Network;
use packet::key;
use state::{Cut, History, Node, Spent};
use turn::Turn;

pub use actions::{Action, Partition};
pub use bounds::{ANY_NUMBER, Bounds, Delivery};
pub use state::State;
pub(super) use suite::{models, mutations};

/// The model with `N` voters.
#[derive(Clone, Debug)]
pub struct QuorumModel<const N: usize> {
    bounds: Bounds,
    voters: [ReplicaKey; N],
    /// The machines with what they are born with; what changes is in the state.
    born: [Quorum<Mutated>; N],
}

impl<const N: usize> QuorumModel<N> {
    pub fn new(bounds: Bounds) -> Self {
        let voters = std::array::from_fn(key);
        let (stored, log) = (StoredState::default(), DiskLog::default());
        let born = |at| Quorum::new(bounds.rules, key(at), &voters, stored, &log);
        QuorumModel { bounds, voters, born: std::array::from_fn(born) }
    }
}

impl<const N: usize> Model for QuorumModel<N> {
    type State = State<N>;
    type Action = Action;

    fn init_states(&self) -> Vec<State<N>> {
        let boot = |at| Node::boot(self, at, DiskLog::default(), QuorumFile::default());
        let mut state = State {
            nodes: std::array::from_fn(boot),
            network: Network::default(),
            outbox: Network::default(),
            cut: Cut::default(),
            spent: Spent::default(),
            history: History::new(),
            broken: None,
        };
        for at in 0..N {
            Turn::new(&mut state, self).run(at, Event::Started);
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
