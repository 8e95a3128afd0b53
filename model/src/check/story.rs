//! A counterexample, told so that a person can follow it.

use std::fmt;

use super::Checked;

/// The way to a broken promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Story {
    pub model: &'static str,
    pub bounds: String,
    /// The `always` property that fails in the last state.
    pub property: &'static str,
    /// What the property means, in words.
    pub rule: &'static str,
    pub steps: Vec<Step>,
    /// States that were looked at before the violation was found.
    pub unique_states: usize,
}

/// One step of a story.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// The action as the model writes it, for replaying.
    pub action: String,
    /// Who did what, and what changed.
    pub text: String,
}

impl Story {
    /// Tells `actions` from `start` on, which must lead to a state that breaks `property`.
    pub(super) fn of<M: Checked>(
        model: &M,
        start: &M::State,
        actions: &[M::Action],
        property: &'static str,
        unique_states: usize,
    ) -> Story {
        let mut steps = Vec::with_capacity(actions.len());
        let mut state = start.clone();
        for action in actions {
            let after = model
                .next_state(&state, action.clone())
                .expect("an action that led to a state leads there again");
            let text = model.describe_step(&state, action, &after);
            steps.push(Step { action: format!("{action:?}"), text });
            state = after;
        }
        assert!(
            super::search::broken(model, &state) == Some(property),
            "the last state of a counterexample breaks the property it is a counterexample of",
        );
        Story {
            model: model.name(),
            bounds: model.bounds(),
            property,
            rule: model.rule_of(property),
            steps,
            unique_states,
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.model, self.bounds)?;
        for (index, step) in self.steps.iter().enumerate() {
            let mut lines = step.text.lines();
            writeln!(f, "{:>4}. {}", index + 1, lines.next().unwrap_or(&step.action))?;
            for line in lines {
                writeln!(f, "      {line}")?;
            }
        }
        writeln!(f, "   => broken: {}", self.property)?;
        writeln!(f, "      rule:   {}", self.rule)
    }
}
