//! `kraft sim --mutate`: without a guard, some seed must break a promise.

use std::time::Instant;

use kraft_model::Guard;
use kraft_model::check::Fate;
use kraft_model::sim::{self, Outcome};
use serde::Serialize;

use super::{SimArgs, on_threads, save, with_options};
use crate::output::{self, grouped, table};
use crate::report::Failure;

/// Seeds for each guard with --mutate, and for one that nobody must miss.
const HUNTED: u64 = 3_000;
const SPARED: u64 = 600;

#[derive(Clone, Debug, Serialize)]
struct Hunted {
    mutation: &'static str,
    fate: &'static str,
    seeds: u64,
    steps: u64,
    seconds: f64,
    seed: Option<u64>,
    property: Option<&'static str>,
    how: Option<String>,
    as_expected: bool,
}

pub fn hunt(args: &SimArgs, guards: &[Guard]) -> Result<(), Failure> {
    let most = |guard| match sim::fate_of(guard) {
        Some(Fate::Survives) => args.seeds.unwrap_or(SPARED),
        _ => args.seeds.unwrap_or(HUNTED),
    };
    let mut hunted = Vec::new();
    for &guard in guards {
        output::notice(&format!("removing {}", guard.name()));
        let started = Instant::now();
        let (mut runs, mut found) = (Vec::new(), None::<Outcome>);
        let run = |number| {
            let setup = sim::seed_of(guard, args.first + number, args.steps);
            sim::try_without(guard, &with_options(args, setup))
        };
        on_threads(args, most(guard), run, |(outcome, shipped)| {
            runs.push((outcome.seed, outcome.steps));
            if let Some(broken) = shipped.as_ref().and_then(|shipped| shipped.broken.as_ref()) {
                let seed = outcome.seed;
                output::notice(&format!(
                    "seed {seed} breaks with every guard in force: {}",
                    broken.property
                ));
            } else if outcome.broken.is_some()
                && found.as_ref().is_none_or(|found| outcome.seed < found.seed)
            {
                found = Some(outcome);
            }
            found.is_none()
        });
        // The lowest seed that shows it, whichever thread was the first to find one.
        let last = found.as_ref().map_or(u64::MAX, |found| found.seed);
        runs.retain(|(seed, _)| *seed <= last);
        let (seeds, steps) = (runs.len() as u64, runs.iter().map(|(_, steps)| steps).sum());
        let fate = sim::fate_of(guard);
        let as_expected = fate.is_none_or(|fate| (fate == Fate::Killed) == found.is_some());
        let broken = found.as_ref().and_then(|outcome| outcome.broken.as_ref());
        hunted.push(Hunted {
            mutation: guard.name(),
            fate: match fate {
                Some(Fate::Killed) => "to be caught",
                Some(Fate::Survives) => "to survive",
                None => "not for the simulator",
            },
            seeds,
            steps,
            seconds: started.elapsed().as_secs_f64(),
            seed: found.as_ref().map(|outcome| outcome.seed),
            property: broken.map(|broken| broken.property),
            how: broken.map(|broken| broken.how.clone()),
            as_expected,
        });
    }
    save(args, &hunted)?;
    args.output.answer(&hunted, |hunted| hunted_table(hunted))?;
    if hunted.iter().all(|it| it.as_expected) { Ok(()) } else { Err(Failure::Violation) }
}

fn hunted_table(hunted: &[Hunted]) -> String {
    let rows = hunted.iter().map(|it| {
        vec![
            it.mutation.to_owned(),
            it.fate.to_owned(),
            grouped(it.seeds),
            grouped(it.steps),
            format!("{:.1}", it.seconds),
            output::or_dash(it.seed.map(|seed| seed.to_string()).as_deref()),
            it.property.unwrap_or("holds").to_owned(),
            if it.as_expected { "yes" } else { "NO" }.to_owned(),
        ]
    });
    let header =
        ["mutation", "fate", "seeds", "steps", "seconds", "seed", "verdict", "as expected"];
    table(&header, rows)
}
