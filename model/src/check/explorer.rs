//! Stateright's Explorer over a model: a browser walks through the states, step by step, each told as
//! in a counterexample.

use std::net::SocketAddr;
use std::sync::Arc;

use stateright::{Model, Property};

use super::Checked;

/// Serves the Explorer for `model` at `address`, until the process ends.
pub fn serve<M: Checked>(model: &M, address: SocketAddr) {
    let told = Told(Arc::new(model.clone()));
    drop(told.checker().serve(address));
}

/// The model with its steps as sentences.
struct Told<M>(Arc<M>);

impl<M: Checked> Model for Told<M> {
    type State = M::State;
    type Action = M::Action;

    fn init_states(&self) -> Vec<M::State> {
        self.0.init_states()
    }

    fn actions(&self, state: &M::State, actions: &mut Vec<M::Action>) {
        self.0.actions(state, actions);
    }

    fn next_state(&self, state: &M::State, action: M::Action) -> Option<M::State> {
        self.0.next_state(state, action)
    }

    fn within_boundary(&self, state: &M::State) -> bool {
        self.0.within_boundary(state)
    }

    fn format_step(&self, before: &M::State, action: M::Action) -> Option<String> {
        let after = self.0.next_state(before, action.clone())?;
        let story = self.0.describe_step(before, &action, &after);
        Some(format!("{story}\n\n{after:#?}"))
    }

    /// One that always holds if the model's do: stateright's properties are functions of the model
    /// that it is given, which is not the inner one.
    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("every promise holds", |told: &Told<M>, state| {
            super::search::broken(&*told.0, state).is_none()
        })]
    }
}
