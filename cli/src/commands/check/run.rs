//! Running explorations side by side, and saying meanwhile how far they are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use kraft_model::check::{
    Budget, Configuration, Fate, Gauge, Mutation, Outcome as Explored, Subject,
};

use super::outcome::Outcome;
use crate::output::{grouped, notice};

/// An exploration, and what must come out of it.
pub struct Job {
    pub model: &'static str,
    tier: Option<&'static str>,
    pub mutation: Option<&'static str>,
    pub subject: Subject,
    explore: fn(&Budget) -> Explored,
    fate: Option<Fate>,
}

impl From<Configuration> for Job {
    fn from(it: Configuration) -> Job {
        let Configuration { name, tier, subject, explore } = it;
        Job { model: name, tier: Some(tier.name()), mutation: None, subject, explore, fate: None }
    }
}

impl From<Mutation> for Job {
    fn from(it: Mutation) -> Job {
        let Mutation { guard, fate, model, subject, hunt } = it;
        let mutation = Some(guard.name());
        Job { model, tier: None, mutation, subject, explore: hunt, fate: Some(fate) }
    }
}

impl Job {
    fn run(&self, budget: &Budget) -> Outcome {
        let explored = (self.explore)(budget);
        let caught = explored.violation.is_some();
        let as_expected = match self.fate {
            None => explored.holds(),
            Some(Fate::Killed) => caught,
            Some(Fate::Survives) => !caught && explored.complete,
        };
        Outcome::new(self.model, self.tier, self.mutation, &explored, as_expected)
    }

    fn announcement(&self) -> String {
        match self.mutation {
            None => format!("checking {}: {}", self.model, (self.subject.bounds)()),
            Some(mutation) => format!("removing {mutation}, judged by {}", self.model),
        }
    }
}

pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Runs all jobs, `threads` at a time; the outcomes are in the order of the jobs.
///
/// The last ones are begun first: within each family the larger bounds come last, and what takes
/// longest should not be waited for at the end.
pub fn all(jobs: &[Job], threads: usize, states: usize) -> Vec<Outcome> {
    let screen = Screen::new();
    let left = AtomicUsize::new(jobs.len());
    let outcomes: Mutex<Vec<Option<Outcome>>> = Mutex::new(vec![None; jobs.len()]);
    thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                while let Some(at) = take(&left) {
                    let outcome = screen.watch(&jobs[at], states);
                    let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                    outcomes[at] = Some(outcome);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.into_iter().flatten().collect()
}

/// The next job's place, from the last to the first.
fn take(left: &AtomicUsize) -> Option<usize> {
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    taken.ok().map(|left| left - 1)
}

/// Lines on standard error, one for each exploration that runs; plain notices where nobody watches.
struct Screen {
    bars: Option<MultiProgress>,
}

/// How often a line is drawn anew.
const REDRAW: Duration = Duration::from_millis(200);

impl Screen {
    fn new() -> Screen {
        let is_watched = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let bars = || MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Screen { bars: is_watched.then(bars) }
    }

    fn watch(&self, job: &Job, states: usize) -> Outcome {
        let gauge = Arc::new(Gauge::default());
        let budget = Budget { states, gauge: Arc::clone(&gauge), ..Budget::default() };
        let Some(bars) = &self.bars else {
            notice(&job.announcement());
            return job.run(&budget);
        };
        let bar = bars.add(ProgressBar::no_length());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        let name =
            job.mutation.map_or(job.model.to_owned(), |name| format!("{name} ({})", job.model));
        let done = Mutex::new(false);
        let outcome = thread::scope(|scope| {
            scope.spawn(|| draw(&bar, &name, &gauge, &done));
            let outcome = job.run(&budget);
            *done.lock().unwrap_or_else(PoisonError::into_inner) = true;
            outcome
        });
        bar.finish_and_clear();
        let seconds = outcome.seconds;
        let line = format!("{name}: {}, {} states, {seconds:.1} s", outcome.said(), outcome.unique);
        // Standard error may be closed; the answer says it all again.
        let _ = bars.println(line);
        outcome
    }
}

fn draw(bar: &ProgressBar, name: &str, gauge: &Gauge, done: &Mutex<bool>) {
    let began = Instant::now();
    while !*done.lock().unwrap_or_else(PoisonError::into_inner) {
        let (states, seconds) = (gauge.states() as u64, began.elapsed().as_secs_f64());
        let rate = (states as f64 / seconds.max(0.001)) as u64;
        let (states, rate) = (grouped(states), grouped(rate));
        bar.set_message(format!(
            "{name}: {states} states, {rate}/s, depth {}, {seconds:.0} s",
            gauge.depth()
        ));
        bar.tick();
        thread::sleep(REDRAW);
    }
}
