//! `kraft sim`: whole clusters under simulated faults, a seed a run.

mod hunt;
mod report;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use kraft_model::check::Mutated;
use kraft_model::sim::{self, Aim, Fault, Outcome, Setup};
use kraft_model::{Guard, Shipped};
use serde::Serialize;

use self::hunt::hunt;
use self::report::Report;
use crate::output::{self, OutputArgs};
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

/// Runs that shrinking may take.
const TRIES: u32 = 400;
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
