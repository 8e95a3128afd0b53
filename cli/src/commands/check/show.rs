//! Outcomes as tables and stories that a person reads.

use super::outcome::Outcome;
use crate::output::{grouped, or_dash, table};

pub fn outcomes(outcomes: &[Outcome]) -> String {
    let rows = outcomes.iter().map(|outcome| {
        let expected = if outcome.as_expected { "yes" } else { "NO" };
        vec![
            outcome.model.clone(),
            or_dash(outcome.mutation),
            grouped(outcome.unique as u64),
            outcome.depth.to_string(),
            format!("{:.1}", outcome.seconds),
            outcome.said(),
            expected.to_owned(),
        ]
    });
    let header = ["model", "mutation", "states", "depth", "seconds", "verdict", "as expected"];
    let mut text = table(&header, rows);
    let bounds = outcomes.iter().filter(|outcome| outcome.mutation.is_none());
    bounds.for_each(|it| {
        text +=
            &format!("{}: {}; collision chance {:.0e}\n", it.model, it.bounds, it.collision_chance)
    });
    for outcome in outcomes.iter().filter(|outcome| !outcome.trace.is_empty()) {
        text += &story(outcome);
    }
    text
}

/// The counterexample, a step a line, and what it breaks.
pub fn story(outcome: &Outcome) -> String {
    let mut text = match outcome.mutation {
        Some(mutation) => format!("\nwithout the guard of {mutation}, in {}:\n", outcome.model),
        None => format!("\n{}: how it happens\n", outcome.model),
    };
    for (index, step) in outcome.trace.iter().enumerate() {
        text += &format!("{:>4}  {}\n", index + 1, step.replace('\n', "\n      "));
    }
    let (violated, rule) = (outcome.violated.unwrap_or_default(), outcome.rule.unwrap_or_default());
    text + &format!("   => broken: {violated}\n      rule:   {rule}\n")
}
