//! `kraft sim`: whole clusters under simulated faults, a seed a run.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use kraft_model::check::{Fate, Mutated};
use kraft_model::sim::{self, Aim, Fault, FaultCounts, Outcome, Setup};
use kraft_model::{Guard, Shipped};
use serde::Serialize;

use crate::output::{self, OutputArgs, grouped, table};
use crate::progress::Progress;
use crate::report::{Context, Failure};

/// Simulate whole clusters under faults: network, disks, clocks and crashes, a seed a run
///
/// Every invariant is judged after every step; then the faults end and the cluster must become whole
/// and serve. A seed is always the same run, bit for bit.
///
/// JSON: {seeds, steps, seconds, simulated_seconds, acknowledged, shown, committed, faults: {name:
/// count}, violations: [{seed, steps, property, how, profile, story}]}; with --mutate [{mutation,
/// fate, seeds, steps, seconds, seed, property, how, as_expected}]. Ends with exit code 3 if a
/// promise is broken, or with --mutate if a guard that must be missed is not, or one that may be
/// gone is.
#[derive(Debug, clap::Args)]
pub struct SimArgs {
    /// How many seeds to run [default: 200; with --mutate at most 3000 for each guard, or 600 if it may be gone]
    #[arg(long, value_name = "N", conflicts_with = "seed")]
    seeds: Option<u64>,
    /// Run one seed and tell its story
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0, conflicts_with = "seed")]
    first: u64,
    /// Steps under faults; healing comes on top
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    steps: u64,
    /// [default: the processors of this machine]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Remove one guard of the protocol, or each in turn: the simulator must notice
    #[arg(long, value_name = "NAME|all")]
    mutate: Option<String>,
    /// What the seeds are drawn for [default: by turns; with --mutate what shows the guard's removal]
    #[arg(long, value_name = "NAME", value_parser = aim)]
    aim: Option<Aim>,
    /// Make the first failing run as short as it gets, and save its story
    #[arg(long)]
    shrink: bool,
    /// Where --shrink saves the story [default: kraft-sim-SEED.txt]
    #[arg(long, value_name = "FILE", requires = "shrink")]
    story: Option<PathBuf>,
    /// Leave out these kinds of faults
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', value_parser = fault)]
    without: Vec<Fault>,
    /// Leave out single strikes, by their numbers in the story
    #[arg(long, value_name = "NUMBER,...", value_delimiter = ',')]
    without_strikes: Vec<u32>,
    /// Write the JSON answer here as well
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

fn fault(name: &str) -> Result<Fault, String> {
    Fault::named(name).ok_or_else(|| {
        let names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        format!("there is no fault '{name}'; they are: {}", names.join(", "))
    })
}

fn aim(name: &str) -> Result<Aim, String> {
    Aim::ALL.iter().copied().find(|aim| aim.name() == name).ok_or_else(|| {
        let names: Vec<_> = Aim::ALL.iter().map(|aim| aim.name()).collect();
        format!("there is no aim '{name}'; they are: {}", names.join(", "))
    })
}

/// Lines of a story that are printed; a saved one has all that were kept.
const TOLD: usize = 60;
/// Runs that shrinking may take.
const TRIES: u32 = 400;
/// Seeds for each guard with --mutate, and for one that nobody must miss.
const HUNTED: u64 = 3_000;
const SPARED: u64 = 600;

#[derive(Clone, Debug, Default, Serialize)]
struct Report {
    seeds: u64,
    steps: u64,
    seconds: f64,
    simulated_seconds: f64,
    /// Writes acknowledged with acks=all, records shown to consumers, metadata committed.
    acknowledged: u64,
    shown: u64,
    committed: u64,
    faults: Vec<(&'static str, u64)>,
    violations: Vec<Violation>,
}

#[derive(Clone, Debug, Serialize)]
struct Violation {
    seed: u64,
    steps: u64,
    property: &'static str,
    how: String,
    profile: String,
    story: Vec<String>,
}

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

pub fn run(args: &SimArgs) -> Result<(), Failure> {
    match (&args.mutate, args.seed) {
        (Some(name), None) => hunt(args, &guards(name)?),
        (Some(name), Some(seed)) => match guards(name)?[..] {
            [guard] => one(args, sim::seed_of(guard, seed, args.steps), Some(guard)),
            _ => Err(Failure::usage("one seed is of one mutation").next("name it")),
        },
        (None, Some(seed)) => one(args, Setup::new(seed, args.steps), None),
        (None, None) => many(args),
    }
}

fn guards(asked: &str) -> Result<Vec<Guard>, Failure> {
    if asked == "all" {
        return Ok(Guard::ALL.iter().copied().filter(|&it| sim::fate_of(it).is_some()).collect());
    }
    let found = Guard::ALL.iter().copied().find(|guard| guard.name() == asked);
    let names: Vec<_> = Guard::ALL.iter().map(|guard| guard.name()).collect();
    let unknown = || Failure::usage(format!("there is no mutation '{asked}'"));
    let guard = found.ok_or_else(|| unknown().next(format!("they are: {}", names.join(", "))))?;
    Ok(vec![guard])
}

fn with_options(args: &SimArgs, mut setup: Setup) -> Setup {
    setup.without.kinds.extend(&args.without);
    setup.without.strikes.extend(&args.without_strikes);
    setup.aim = args.aim.unwrap_or(setup.aim);
    setup
}

/// One seed, told.
fn one(args: &SimArgs, setup: Setup, guard: Option<Guard>) -> Result<(), Failure> {
    let setup = Setup { is_told: true, ..with_options(args, setup) };
    let started = Instant::now();
    let outcome = sim::run(&setup, Mutated(guard));
    let shrunk = match args.shrink && outcome.broken.is_some() {
        true => shrink(args, &setup, guard)?,
        false => None,
    };
    let told = shrunk.as_ref().unwrap_or(&outcome);
    let report = Report::of(1, std::slice::from_ref(told), started.elapsed().as_secs_f64());
    finish(args, &report, true)
}

/// The story of the shortest run that fails alike, saved to a file.
fn shrink(args: &SimArgs, setup: &Setup, guard: Option<Guard>) -> Result<Option<Outcome>, Failure> {
    output::notice(&format!("shrinking seed {}", setup.seed));
    let Some(shrunk) = sim::shrink(setup, Mutated(guard), TRIES) else { return Ok(None) };
    let seed = setup.seed;
    let path = args.story.clone().unwrap_or_else(|| format!("kraft-sim-{seed}.txt").into());
    let mut text = format!("kraft sim --seed {seed} --steps {}", shrunk.setup.steps);
    if let Some(aim) = args.aim {
        text += &format!(" --aim {}", aim.name());
    }
    if let Some(guard) = guard {
        text += &format!(" --mutate {}", guard.name());
    }
    let kinds: Vec<_> = shrunk.setup.without.kinds.iter().map(|it| it.name().to_owned()).collect();
    let strikes: Vec<_> = shrunk.setup.without.strikes.iter().map(u32::to_string).collect();
    for (option, values) in [("--without", kinds), ("--without-strikes", strikes)] {
        if !values.is_empty() {
            text += &format!(" {option} {}", values.join(","));
        }
    }
    text += &format!("\n{}\n\n{}\n", shrunk.outcome.profile, shrunk.outcome.tale.join("\n"));
    std::fs::write(&path, text).doing(|| format!("cannot write {}", path.display()))?;
    output::notice(&format!(
        "{} steps after {} runs; saved to {}",
        shrunk.outcome.steps,
        shrunk.tries,
        path.display()
    ));
    Ok(Some(shrunk.outcome))
}

fn many(args: &SimArgs) -> Result<(), Failure> {
    let seeds = args.seeds.unwrap_or(200);
    let started = Instant::now();
    let mut progress = Progress::counting("seeds", Some(seeds));
    let setup = |number| with_options(args, Setup::new(args.first + number, args.steps));
    let mut outcomes = Vec::new();
    on_threads(
        args,
        seeds,
        |number| sim::run(&setup(number), Shipped),
        |outcome| {
            outcomes.push(outcome);
            progress.set(outcomes.len() as u64);
            true
        },
    );
    progress.finish();
    outcomes.sort_unstable_by_key(|outcome| outcome.seed);
    let failing = outcomes.iter().find(|outcome| outcome.broken.is_some());
    if let Some(seed) = failing.map(|outcome| outcome.seed) {
        let setup = Setup { is_told: true, ..setup(seed - args.first) };
        let told = match args.shrink {
            true => shrink(args, &setup, None)?,
            false => None,
        };
        let told = told.unwrap_or_else(|| sim::run(&setup, Shipped));
        outcomes
            .iter_mut()
            .filter(|it| it.seed == seed)
            .for_each(|it| it.tale.clone_from(&told.tale));
    }
    let report = Report::of(seeds, &outcomes, started.elapsed().as_secs_f64());
    finish(args, &report, false)
}

/// Runs numbers from 0 on several threads; `take` gets the results as they come. Once it says false
/// no more are begun; it gets the rest of those that were.
fn on_threads<T: Send>(
    args: &SimArgs,
    count: u64,
    work: impl Fn(u64) -> T + Sync,
    mut take: impl FnMut(T) -> bool,
) {
    let threads = args.threads.or_else(|| thread::available_parallelism().ok().map(usize::from));
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (send, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads.unwrap_or(1).max(1) {
            let (next, stop, work, send) = (&next, &stop, &work, send.clone());
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || send.send(work(number)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        for result in results {
            if !take(result) {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
}

fn hunt(args: &SimArgs, guards: &[Guard]) -> Result<(), Failure> {
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

impl Report {
    fn of(seeds: u64, outcomes: &[Outcome], seconds: f64) -> Report {
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

    fn text(&self, told: bool) -> String {
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

fn finish(args: &SimArgs, report: &Report, told: bool) -> Result<(), Failure> {
    save(args, report)?;
    args.output.answer(report, |report| report.text(told))?;
    if report.violations.is_empty() { Ok(()) } else { Err(Failure::Violation) }
}

fn save(args: &SimArgs, answer: &impl Serialize) -> Result<(), Failure> {
    let Some(path) = &args.report else { return Ok(()) };
    let text = serde_json::to_string_pretty(answer)
        .map_err(|error| Failure::new("cannot write the report").because(error))?;
    std::fs::write(path, text).doing(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_left_out_by_its_name() {
        assert_eq!(fault("ring"), Ok(Fault::Ring));
        assert!(fault("no-such").is_err_and(|text| text.contains("power-loss")));
    }

    #[test]
    fn an_aim_is_chosen_by_its_name() {
        assert_eq!(aim("voters"), Ok(Aim::Voters));
        assert!(aim("no-such").is_err_and(|text| text.contains("partitions")));
    }

    #[test]
    fn a_mutation_is_chosen_by_its_name() {
        assert_eq!(guards("vote-twice").ok(), Some(vec![Guard::VoteTwice]));
        assert!(guards("all").is_ok_and(|all| all.len() > 20));
        assert!(guards("no-such").is_err());
    }
}
