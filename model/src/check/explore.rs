//! Exploring a model to completion.
//!
//! Stateright's depth-first search does it: with a flat state it is the fastest and by far the most
//! frugal. It is given one `always` property that stands for all of the model's, and the
//! `sometimes` properties are watched on the way, since it would clone its path for every state in
//! which one of them holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

use super::search::counterexample_within;
use super::{Checked, Gauge, Story};

/// How much may be spent on one exploration.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Give up after about so many states, each counted as often as it is met (a hunt counts it
    /// once); the outcome is then not complete.
    pub states: usize,
    pub threads: usize,
    /// Told how far the exploration has come.
    pub gauge: Arc<Gauge>,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { states: usize::MAX, threads: 1, gauge: Arc::default() }
    }
}

/// What an exploration found.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    pub model: &'static str,
    pub bounds: String,
    pub unique_states: usize,
    /// Successors computed, those met before included.
    pub generated: usize,
    pub max_depth: usize,
    pub seconds: f64,
    /// Every state within the bounds was visited and every property looked at in each of them.
    pub complete: bool,
    /// The `sometimes` properties, and whether some state has them.
    pub reached: Vec<(&'static str, bool)>,
    /// The shortest counterexample, if an `always` property fails.
    pub violation: Option<Story>,
}

impl Outcome {
    /// Whether the model was proved within its bounds, and not vacuously.
    pub fn holds(&self) -> bool {
        self.complete && self.violation.is_none() && self.reached.iter().all(|&(_, hit)| hit)
    }

    /// The chance that two different states had one 64-bit fingerprint, so that one was skipped.
    pub fn collision_chance(&self) -> f64 {
        let states = self.unique_states as f64;
        states * states / 2.0 / 2f64.powi(64)
    }
}

/// Visits every state of `model`.
pub fn explore<M: Checked>(model: &M) -> Outcome {
    explore_within(model, &Budget::default())
}

/// Visits the states of `model` until the budget is spent or an `always` property fails; in that
/// case the shortest way to a failure is searched for as well.
pub fn explore_within<M: Checked>(model: &M, budget: &Budget) -> Outcome {
    let (watched, symmetry) = (Watched::new(model.clone()), model.symmetry());
    let witnesses = Arc::clone(&watched.witnesses);
    let began = Instant::now();
    let mut builder =
        watched.checker().threads(budget.threads).finish_when(HasDiscoveries::AnyFailures);
    if budget.states < usize::MAX {
        builder = builder.target_state_count(budget.states);
    }
    if let Some(representative) = symmetry {
        builder = builder.symmetry_fn(representative);
    }
    let checker = builder.spawn_dfs();
    while !checker.is_done() {
        budget.gauge.set(checker.unique_state_count(), checker.max_depth());
        std::thread::sleep(LOOK);
    }
    let checker = checker.join();
    budget.gauge.set(checker.unique_state_count(), checker.max_depth());
    let violated = checker.discovery(HOLDS).is_some();
    let generated = checker.state_count();
    let spent = budget.states < usize::MAX && generated >= budget.states;
    let mut outcome = Outcome {
        model: model.name(),
        bounds: model.bounds(),
        unique_states: checker.unique_state_count(),
        generated,
        max_depth: checker.max_depth(),
        seconds: began.elapsed().as_secs_f64(),
        complete: checker.is_done() && !violated && !spent,
        reached: witnesses.iter().map(|w| (w.name, w.seen.load(Ordering::Relaxed))).collect(),
        violation: None,
    };
    drop(checker);
    if violated {
        let unbounded = Budget { gauge: Arc::clone(&budget.gauge), ..Budget::default() };
        outcome.violation = counterexample_within(model, &unbounded);
        outcome.seconds = began.elapsed().as_secs_f64();
    }
    outcome
}

/// How often the gauge is read off. Short: the smallest models are done in milliseconds.
const LOOK: Duration = Duration::from_millis(2);

const HOLDS: &str = "every promise holds";

/// A `sometimes` property, and whether it was seen.
struct Witness<M: Model> {
    name: &'static str,
    condition: fn(&M, &M::State) -> bool,
    seen: AtomicBool,
}

/// The model with its `always` properties folded into one and its `sometimes` ones watched.
struct Watched<M: Model> {
    model: M,
    promises: Vec<fn(&M, &M::State) -> bool>,
    witnesses: Arc<Vec<Witness<M>>>,
}

impl<M: Checked> Watched<M> {
    fn new(model: M) -> Self {
        let mut promises = Vec::new();
        let mut witnesses = Vec::new();
        for Property { expectation, name, condition } in model.properties() {
            match expectation {
                Expectation::Always => promises.push(condition),
                Expectation::Sometimes => {
                    witnesses.push(Witness { name, condition, seen: AtomicBool::new(false) });
                }
                Expectation::Eventually => {
                    panic!("{name}: `eventually` overlooks cycles and is not used")
                }
            }
        }
        Watched { model, promises, witnesses: Arc::new(witnesses) }
    }

    /// Called once for every state that is expanded.
    fn holds(&self, state: &M::State) -> bool {
        for witness in self.witnesses.iter() {
            if !witness.seen.load(Ordering::Relaxed) && (witness.condition)(&self.model, state) {
                witness.seen.store(true, Ordering::Relaxed);
            }
        }
        self.promises.iter().all(|promise| promise(&self.model, state))
    }
}

impl<M: Checked> Model for Watched<M> {
    type State = M::State;
    type Action = M::Action;

    fn init_states(&self) -> Vec<M::State> {
        self.model.init_states()
    }

    fn actions(&self, state: &M::State, actions: &mut Vec<M::Action>) {
        self.model.actions(state, actions);
    }

    fn next_state(&self, state: &M::State, action: M::Action) -> Option<M::State> {
        self.model.next_state(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(HOLDS, Self::holds)]
    }

    fn within_boundary(&self, state: &M::State) -> bool {
        self.model.within_boundary(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::counterexample;

    /// Counts to `most` by ones and threes, and should stay below `limit`.
    #[derive(Clone)]
    struct Counter {
        most: u32,
        limit: u32,
    }

    const BELOW_LIMIT: &str = "the count stays below its limit";

    impl Model for Counter {
        type State = u32;
        type Action = u32;

        fn init_states(&self) -> Vec<u32> {
            vec![0]
        }

        fn actions(&self, _: &u32, actions: &mut Vec<u32>) {
            actions.extend([1, 3]);
        }

        fn next_state(&self, state: &u32, by: u32) -> Option<u32> {
            Some(state + by)
        }

        fn within_boundary(&self, state: &u32) -> bool {
            *state <= self.most
        }

        fn properties(&self) -> Vec<Property<Self>> {
            vec![
                Property::always(BELOW_LIMIT, |model, state| *state < model.limit),
                Property::sometimes("the count is five", |_, state| *state == 5),
            ]
        }
    }

    impl Checked for Counter {
        fn name(&self) -> &'static str {
            "counter"
        }

        fn bounds(&self) -> String {
            format!("to {}", self.most)
        }

        fn describe_step(&self, before: &u32, _: &u32, after: &u32) -> String {
            format!("{before} becomes {after}")
        }

        fn rule_of(&self, _: &str) -> &'static str {
            "seven is too many"
        }
    }

    #[test]
    fn a_model_that_holds_is_explored_to_completion() {
        let outcome = explore(&Counter { most: 6, limit: 7 });
        assert!(outcome.holds(), "{outcome:?}");
        assert_eq!(outcome.unique_states, 7);
    }

    #[test]
    fn a_model_that_never_reaches_what_it_should_does_not_hold() {
        let outcome = explore(&Counter { most: 4, limit: 7 });
        assert!(outcome.complete && !outcome.holds());
        assert_eq!(outcome.reached, [("the count is five", false)]);
    }

    #[test]
    fn a_counterexample_is_the_shortest_and_says_what_happened() {
        let found = explore(&Counter { most: 20, limit: 7 }).violation;
        assert_eq!(found, counterexample(&Counter { most: 20, limit: 7 }));
        let story = found.expect("seven is reached");
        assert_eq!(story.property, BELOW_LIMIT);
        assert_eq!(story.steps.len(), 3, "{story}");
        assert!(story.to_string().contains("rule:   seven is too many"), "{story}");
    }

    #[test]
    fn an_exploration_that_runs_out_of_budget_is_not_complete() {
        let budget = Budget { states: 3, ..Budget::default() };
        let outcome = explore_within(&Counter { most: 1_000_000, limit: u32::MAX }, &budget);
        assert!(!outcome.complete && outcome.violation.is_none());
    }
}
