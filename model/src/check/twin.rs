//! The judge is judged: a model whose judgement was tampered with must let a mutation pass that the
//! model itself catches.
//!
//! A promise that cannot fail proves nothing, and nobody notices: it is green. So every promise has
//! a *twin*, which says yes to everything, or compares the wrong way round, or reads what the
//! fingerprint of a state leaves out; and a test that sees the difference:
//!
//! ```text
//!   mutation ── judged by the promise alone ──▶ caught
//!            └─ judged by its twin alone ─────▶ passes
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};

use stateright::{Expectation, Model, Property};

use super::{Budget, Checked, Outcome, hunt_within};

/// What judges in place of all of the model's promises.
pub(in crate::check) enum Judge<M: Model> {
    /// This promise of the model.
    Promise(&'static str),
    /// Something else.
    Twin(fn(&M, &M::State) -> bool),
    /// This promise, over states of which some are taken for equal that are not: the function
    /// takes out what the fingerprint leaves out.
    Forgetful(&'static str, fn(&M::State) -> M::State),
}

impl<M: Model> Clone for Judge<M> {
    fn clone(&self) -> Self {
        match *self {
            Judge::Promise(name) => Judge::Promise(name),
            Judge::Twin(judges) => Judge::Twin(judges),
            Judge::Forgetful(name, forget) => Judge::Forgetful(name, forget),
        }
    }
}

/// Whether `judge` finds fault with `model`, all of which is looked at if it does not.
pub(in crate::check) fn condemns<M: Checked>(model: M, judge: Judge<M>) -> bool {
    let outcome = hunt(model, judge, usize::MAX);
    assert!(outcome.complete || outcome.violation.is_some(), "{outcome:?}");
    outcome.violation.is_some()
}

/// Asserts that the promise catches what the model was built to break, and that over the same
/// states its twin, which is always content, does not.
pub(in crate::check) fn assert_sees<M: Checked>(model: M, promise: &'static str) {
    let seen = hunt(model.clone(), Judge::Promise(promise), usize::MAX);
    assert!(seen.violation.is_some(), "'{promise}' sees nothing in {}", seen.unique_states);
    let twin = hunt(model, Judge::Twin(|_, _| true), seen.unique_states);
    assert!(twin.violation.is_none() && twin.unique_states >= seen.unique_states);
}

/// Asserts that the promise does not hold in a state made by hand: for what no one mutation of a
/// machine reaches.
pub(in crate::check) fn assert_sees_in<M: Checked>(
    model: &M,
    state: &M::State,
    promise: &'static str,
) {
    let judged = Judged { model: model.clone(), judge: Judge::Promise(promise) };
    assert!(!judged.is_content(state), "'{promise}' does not see {state:?}");
    let untouched = model.init_states();
    assert!(untouched.iter().all(|state| judged.is_content(state)), "'{promise}' sees ghosts");
}

/// The promises that the model keeps, by name.
pub(in crate::check) fn promises_of<M: Model>(model: &M) -> impl Iterator<Item = &'static str> {
    let kept = |it: &Property<M>| it.expectation == Expectation::Always;
    model.properties().into_iter().filter(kept).map(|promise| promise.name)
}

/// The promises that no `assert_sees` of `tests` is about, by the constants that `declared` gives
/// their names to.
pub(in crate::check) fn unseen<'a>(
    promises: impl IntoIterator<Item = &'static str>,
    declared: &'a str,
    tests: &str,
) -> Vec<&'a str> {
    let calls = tests.split("assert_sees").skip(1).filter_map(|call| call.split(';').next());
    let subjects: BTreeSet<_> = calls.filter_map(last_word).collect();
    let constants = promises.into_iter().map(|promise| constant_of(promise, declared));
    constants.filter(|constant| !subjects.contains(constant)).collect()
}

/// What a call is about is its last argument.
fn last_word(call: &str) -> Option<&str> {
    call.rsplit(|c: char| !c.is_alphanumeric() && c != '_').find(|word| !word.is_empty())
}

fn constant_of<'a>(promise: &str, declared: &'a str) -> &'a str {
    let value = format!("\"{promise}\"");
    let declaration = declared.split(';').find(|it| it.ends_with(&value));
    let name = declaration.and_then(|it| it.rsplit("const ").next()?.split(':').next());
    name.unwrap_or_else(|| panic!("no constant is '{promise}'"))
}

fn hunt<M: Checked>(model: M, judge: Judge<M>, states: usize) -> Outcome {
    hunt_within(&Judged { model, judge }, &Budget { states, ..Budget::default() })
}

#[derive(Clone)]
struct Judged<M: Checked> {
    model: M,
    judge: Judge<M>,
}

/// A state with its own idea of which others are equal to it.
#[derive(Clone)]
struct Seen<S> {
    state: S,
    forget: Option<fn(&S) -> S>,
}

impl<S: Clone> Seen<S> {
    fn remembered(&self) -> S {
        self.forget.map_or_else(|| self.state.clone(), |forget| forget(&self.state))
    }
}

impl<S: Clone + PartialEq> PartialEq for Seen<S> {
    fn eq(&self, other: &Self) -> bool {
        self.remembered() == other.remembered()
    }
}

impl<S: Clone + Eq> Eq for Seen<S> {}

impl<S: Clone + Hash> Hash for Seen<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.remembered().hash(state);
    }
}

impl<S: fmt::Debug> fmt::Debug for Seen<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

impl<M: Checked> Judged<M> {
    fn seen(&self, state: M::State) -> Seen<M::State> {
        let forget = match self.judge {
            Judge::Forgetful(_, forget) => Some(forget),
            Judge::Promise(_) | Judge::Twin(_) => None,
        };
        Seen { state, forget }
    }

    fn is_content(&self, state: &M::State) -> bool {
        match self.judge {
            Judge::Twin(judges) => judges(&self.model, state),
            Judge::Promise(name) | Judge::Forgetful(name, _) => {
                let promise = self.model.properties().into_iter().find(|it| it.name == name);
                let promise = promise.expect("a promise of the model");
                assert!(promise.expectation == Expectation::Always);
                (promise.condition)(&self.model, state)
            }
        }
    }
}

impl<M: Checked> Model for Judged<M> {
    type State = Seen<M::State>;
    type Action = M::Action;

    fn init_states(&self) -> Vec<Self::State> {
        self.model.init_states().into_iter().map(|state| self.seen(state)).collect()
    }

    fn actions(&self, seen: &Self::State, actions: &mut Vec<M::Action>) {
        self.model.actions(&seen.state, actions);
    }

    fn next_state(&self, seen: &Self::State, action: M::Action) -> Option<Self::State> {
        self.model.next_state(&seen.state, action).map(|state| self.seen(state))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("the judge is content", |judged: &Self, seen: &Self::State| {
            judged.is_content(&seen.state)
        })]
    }

    fn within_boundary(&self, seen: &Self::State) -> bool {
        self.model.within_boundary(&seen.state)
    }
}

impl<M: Checked> Checked for Judged<M> {
    fn name(&self) -> &'static str {
        self.model.name()
    }

    fn bounds(&self) -> String {
        self.model.bounds()
    }

    fn describe_step(
        &self,
        before: &Self::State,
        action: &M::Action,
        after: &Self::State,
    ) -> String {
        self.model.describe_step(&before.state, action, &after.state)
    }

    fn rule_of(&self, _: &str) -> &'static str {
        "the judge has a reason"
    }
}

mod tests {
    use super::*;

    /// Walks from 0 to 2 over either side, and should not take the left one.
    #[derive(Clone)]
    struct Fork;

    const RIGHT: &str = "nobody arrives from the left";

    impl Model for Fork {
        type State = (u8, bool);
        type Action = bool;

        fn init_states(&self) -> Vec<Self::State> {
            vec![(0, false)]
        }

        fn actions(&self, &(at, _): &Self::State, actions: &mut Vec<bool>) {
            if at == 0 {
                actions.extend([false, true]);
            }
        }

        fn next_state(&self, &(at, _): &Self::State, left: bool) -> Option<Self::State> {
            Some((at + 1, left))
        }

        fn properties(&self) -> Vec<Property<Self>> {
            vec![Property::always(RIGHT, |_, &(_, left): &(u8, bool)| !left)]
        }
    }

    impl Checked for Fork {
        fn name(&self) -> &'static str {
            "fork"
        }

        fn bounds(&self) -> String {
            "one step".to_owned()
        }

        fn describe_step(&self, _: &(u8, bool), _: &bool, after: &(u8, bool)) -> String {
            format!("{after:?}")
        }

        fn rule_of(&self, _: &str) -> &'static str {
            "keep right"
        }
    }

    #[test]
    fn a_promise_sees_what_its_twin_does_not() {
        assert_sees(Fork, RIGHT);
        assert!(!condemns(Fork, Judge::Twin(|_, &(at, left): &(u8, bool)| !left || at == 1)));
    }

    #[test]
    fn a_promise_that_no_test_is_about_is_missed() {
        let declared = "const LEFT: &str = \"left\"; pub const RIGHT: &str =\n    \"right\";";
        let tests =
            "assert_sees(fork(LEFT), RIGHT); assert_sees_in(&fork, &state, signs::LEFT,\n);";
        assert!(unseen(["left", "right"], declared, tests).is_empty());
        assert_eq!(
            unseen(["left", "right"], declared, "assert_sees(fork(LEFT), RIGHT);"),
            ["LEFT"]
        );
    }

    #[test]
    fn a_field_that_a_promise_reads_and_the_fingerprint_does_not_hides_its_breach() {
        assert!(condemns(Fork, Judge::Promise(RIGHT)));
        assert!(!condemns(Fork, Judge::Forgetful(RIGHT, |&(at, _)| (at, false))));
    }
}
