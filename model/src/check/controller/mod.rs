//! The `controller` model: the controller's machine while brokers come and go, leaders ask for
//! ISRs, operators move partitions, and the leadership of the quorum is lost in between.
//!
//! ```text
//!   brokers, leaders, operators ──▶ Controller<Mutated> ──▶ tail (appended) ──▶ committed
//!              ▲                          │                       │ failover: dropped
//!              └── answers, judged ◀──────┘                       ▼
//!   data: who holds what is acknowledged? ◀── every change that is committed
//! ```
//!
//! What is left out, and why nothing is lost by it:
//!
//! * *The quorum* is a log of which a prefix is committed. A failover keeps any number of the
//!   batches that are not; that this is all that a quorum does is what the `quorum` model shows.
//! * *A standby* replays what is committed and decides nothing. It is made when it takes over, from
//!   a snapshot; or the deposed machine itself leads again, with whatever it kept.
//! * *Brokers* see what is committed at once: that they see it late is the same as asking late,
//!   which every request may be, and the `cluster` model has the rest.
//! * *Replicas* are what `data` says of them: who holds every acknowledged record.
//! * *Offsets and epochs* that only grow are renumbered in every state, in their order.

mod act;
mod answer;
mod config;
mod data;
mod enact;
mod hunts;
mod judge;
mod list;
mod renumber;
mod state;
mod tell;
#[cfg(test)]
mod twins;

pub use config::{
    ControllerModel, ELR, ELR_WIDE, FAILOVER, FAILOVER_WIDE, LIFE, LIVENESS, REASSIGN,
    REASSIGN_WIDE, TOPICS, configurations,
};
pub use hunts::mutations;
pub use list::Action;
pub use state::{Left, State};

use stateright::{Model, Property};

impl Model for ControllerModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.initial()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.list_actions(state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let state = self.act(before, action);
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let promises = judge::promises().zip(UNBROKEN);
        let mut all: Vec<_> =
            promises.map(|(name, &holds)| Property::always(name, holds)).collect();
        for &happened in self.reaches {
            let at = happened as usize;
            all.push(Property::sometimes(state::Happened::ALL[at].1, REACHED[at]));
        }
        all
    }
}

/// A property of stateright's is a function that knows nothing but model and state.
type Condition = fn(&ControllerModel, &State) -> bool;

fn unbroken<const AT: u8>(_: &ControllerModel, state: &State) -> bool {
    state.broken != Some(AT)
}

fn reached<const AT: u8>(_: &ControllerModel, state: &State) -> bool {
    state.just & (1 << AT) != 0
}

macro_rules! each {
    ($function:ident: $($at:literal)*) => { &[$($function::<$at>,)*] };
}

/// One for each promise.
const UNBROKEN: &[Condition] = each!(unbroken: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19
    20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35);

/// One for each thing that can have happened.
const REACHED: &[Condition] = each!(reached: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_and_every_happening_has_a_property() {
        assert!(judge::promises().count() <= UNBROKEN.len());
        assert_eq!(state::Happened::ALL.len(), REACHED.len());
    }
}
