//! Outcomes as tables and stories that a person reads.

use super::outcome::Outcome;
use super::replay::Replay;
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
    let mut text = title(&outcome.model, outcome.mutation) + &steps(&outcome.trace);
    let (violated, rule) = (outcome.violated.unwrap_or_default(), outcome.rule.unwrap_or_default());
    text += &broken(violated, rule);
    text
}

/// What was taken again, and where it led.
pub fn replays(replays: &[Replay]) -> String {
    let mut text = String::new();
    for replay in replays {
        text += &(title(&replay.model, replay.mutation.as_deref()) + &steps(&replay.trace));
        text += &match (replay.violated, replay.rule, replay.lost_at) {
            (Some(violated), Some(rule), _) => broken(violated, rule),
            (.., Some(step)) => format!("   => step {step} cannot be taken any more\n"),
            _ => "   => every promise holds\n".to_owned(),
        };
    }
    text
}

fn title(model: &str, mutation: Option<&str>) -> String {
    match mutation {
        Some(mutation) => format!("\nwithout the guard of {mutation}, in {model}:\n"),
        None => format!("\n{model}: how it happens\n"),
    }
}

fn steps(trace: &[String]) -> String {
    let numbered = trace.iter().enumerate();
    numbered
        .map(|(index, step)| format!("{:>4}  {}\n", index + 1, step.replace('\n', "\n      ")))
        .collect()
}

fn broken(violated: &str, rule: &str) -> String {
    format!("   => broken: {violated}\n      rule:   {rule}\n")
}
