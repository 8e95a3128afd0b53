//! A breadth-first search for the shortest counterexample.
//!
//! Stateright's own keeps a whole path with every state that waits; this one keeps a table of
//! fingerprints, each with its parent's and the number of the action between them, and states only
//! for the level at hand. What it finds is replayed from the start before it is told.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use std::time::Instant;

use stateright::{Expectation, Model};

use super::explore::{Budget, Outcome};
use super::fingerprints::Fingerprints;
use super::{Checked, Story};

/// Where a state was first seen from: its parent's row in the table and the action's number.
#[derive(Clone, Copy)]
struct Origin {
    parent: u32,
    action: u16,
}

/// The shortest way to a state that breaks an `always` property, or `None` if there is no such
/// state.
pub fn counterexample<M: Checked>(model: &M) -> Option<Story> {
    counterexample_within(model, &Budget::default())
}

/// As [`counterexample`], giving up when the budget of states is spent.
pub fn counterexample_within<M: Checked>(model: &M, budget: &Budget) -> Option<Story> {
    Search::new(model).run(budget)
}

/// As [`counterexample_within`], with the figures of the search.
pub fn hunt_within<M: Checked>(model: &M, budget: &Budget) -> Outcome {
    let began = Instant::now();
    let mut search = Search::new(model);
    let violation = search.run(budget);
    let spent = search.origins.len() >= budget.states;
    Outcome {
        model: model.name(),
        bounds: model.bounds(),
        unique_states: search.origins.len(),
        generated: search.generated,
        max_depth: violation.as_ref().map_or(search.depth, |story| story.steps.len()),
        seconds: began.elapsed().as_secs_f64(),
        complete: violation.is_none() && !spent,
        reached: Vec::new(),
        violation,
    }
}

/// The first `always` property that does not hold in `state`.
pub(super) fn broken<M: Model>(model: &M, state: &M::State) -> Option<&'static str> {
    let mut properties = model.properties().into_iter();
    properties
        .find(|p| p.expectation == Expectation::Always && !(p.condition)(model, state))
        .map(|p| p.name)
}

struct Search<'a, M: Checked> {
    model: &'a M,
    seen: Fingerprints,
    /// A row for every state met, in the order of meeting.
    origins: Vec<Origin>,
    generated: usize,
    depth: usize,
}

impl<'a, M: Checked> Search<'a, M> {
    fn new(model: &'a M) -> Self {
        Search { model, seen: Fingerprints::new(), origins: Vec::new(), generated: 0, depth: 0 }
    }

    fn run(&mut self, budget: &Budget) -> Option<Story> {
        let mut level = Vec::new();
        let starts = self.model.init_states();
        for state in &starts {
            if let Some(row) = self.meet(state, Origin { parent: u32::MAX, action: 0 }) {
                level.push((row, state.clone()));
            }
        }
        while !level.is_empty() && self.origins.len() < budget.states {
            if let Some((row, property)) = self.first_broken(&level) {
                return Some(self.tell(&starts, row, property));
            }
            level = self.next_level(&level);
            self.depth += 1;
            budget.gauge.set(self.origins.len(), self.depth);
        }
        None
    }

    fn first_broken(&self, level: &[(u32, M::State)]) -> Option<(u32, &'static str)> {
        level.iter().find_map(|(row, state)| broken(self.model, state).map(|name| (*row, name)))
    }

    fn next_level(&mut self, level: &[(u32, M::State)]) -> Vec<(u32, M::State)> {
        let mut next = Vec::new();
        let mut actions = Vec::new();
        for (parent, state) in level {
            self.model.actions(state, &mut actions);
            for (index, action) in actions.drain(..).enumerate() {
                let Some(after) = self.model.next_state(state, action) else { continue };
                self.generated += 1;
                let action = u16::try_from(index).expect("fewer than 65536 actions in a state");
                if self.model.within_boundary(&after)
                    && let Some(row) = self.meet(&after, Origin { parent: *parent, action })
                {
                    next.push((row, after));
                }
            }
        }
        next
    }

    /// The row of `state` if it was not met before.
    fn meet(&mut self, state: &M::State, origin: Origin) -> Option<u32> {
        let fingerprint = BuildHasherDefault::<DefaultHasher>::default().hash_one(state);
        if !self.seen.insert(fingerprint) {
            return None;
        }
        self.origins.push(origin);
        Some(u32::try_from(self.origins.len() - 1).expect("fewer than 2^32 states"))
    }

    /// Walks from `row` back to its start, then forth again through the model.
    fn tell(&self, starts: &[M::State], row: u32, property: &'static str) -> Story {
        let mut numbers = Vec::new();
        let mut at = row;
        while self.origins[at as usize].parent != u32::MAX {
            numbers.push(self.origins[at as usize].action);
            at = self.origins[at as usize].parent;
        }
        numbers.reverse();
        let start = &starts[at as usize];
        let mut state = start.clone();
        let mut path = Vec::with_capacity(numbers.len());
        for number in numbers {
            let mut actions = Vec::new();
            self.model.actions(&state, &mut actions);
            let action = actions.swap_remove(number as usize);
            path.push(action.clone());
            state = self.model.next_state(&state, action).expect("a step that was taken before");
        }
        Story::of(self.model, start, &path, property, self.origins.len())
    }
}
