//! What many runs came to.

use kraft_model::sim::{Fault, FaultCounts, Outcome};
use serde::Serialize;

use crate::output::{grouped, table};

/// Lines of a story that are printed; a saved one has all that were kept.
const TOLD: usize = 60;

#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    seeds: u64,
    steps: u64,
    seconds: f64,
    simulated_seconds: f64,
    /// Writes acknowledged with acks=all, records shown to consumers, metadata committed.
    acknowledged: u64,
    shown: u64,
    committed: u64,
    faults: Vec<(&'static str, u64)>,
    pub violations: Vec<Violation>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    seed: u64,
    steps: u64,
    property: &'static str,
    how: String,
    profile: String,
    story: Vec<String>,
}

impl Report {
    pub fn of(seeds: u64, outcomes: &[Outcome], seconds: f64) -> Report {
        let mut faults = FaultCounts::default();
        let mut report = Report { seeds, seconds, ..Report::default() };
        for outcome in outcomes {
            faults.add(&outcome.faults);
            report.steps += outcome.steps;
            report.simulated_seconds += outcome.micros as f64 / 1e6;
            report.acknowledged += outcome.acknowledged;
            report.shown += outcome.shown;
            report.committed += outcome.committed;
            report.violations.extend(outcome.broken.as_ref().map(|broken| Violation {
                seed: outcome.seed,
                steps: outcome.steps,
                property: broken.property,
                how: broken.how.clone(),
                profile: outcome.profile.clone(),
                story: outcome.tale.clone(),
            }));
        }
        report.faults = Fault::ALL.iter().map(|&it| (it.name(), faults.of(it))).collect();
        report
    }

    pub fn text(&self, told: bool) -> String {
        let rows =
            self.faults.iter().map(|(name, count)| vec![(*name).to_owned(), grouped(*count)]);
        let mut text = table(&["fault", "times"], rows);
        text += &format!(
            "{} seeds, {} steps, {:.0} simulated seconds in {:.1} s ({} steps a second); {} writes \
             acknowledged, {} records read, {} metadata records committed\n",
            grouped(self.seeds),
            grouped(self.steps),
            self.simulated_seconds,
            self.seconds,
            grouped((self.steps as f64 / self.seconds.max(1e-9)) as u64),
            grouped(self.acknowledged),
            grouped(self.shown),
            grouped(self.committed),
        );
        if self.violations.is_empty() {
            text += "no promise was broken\n";
        }
        for violation in &self.violations {
            let Violation { seed, steps, property, how, profile, .. } = violation;
            text += &format!(
                "\nseed {seed} breaks a promise at step {steps}: {property}\n  {how}\n  {profile}\n"
            );
            let skipped = violation.story.len().saturating_sub(TOLD);
            violation.story.iter().skip(skipped).for_each(|line| text += &format!("  {line}\n"));
        }
        if !self.violations.is_empty() && !told {
            text += "\n'kraft sim --seed S' runs one of them again, '--shrink' makes it shorter\n";
        }
        text
    }
}
