//! Runs the tests against each mutant, the quick ones first, and stops at the first that fails.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::compile::Built;
use crate::list::Mutant;

/// What a test program may take, a minute at the most without a mutant; under a mutant with which it takes
/// longer the machines do not stop, and that is noticed.
const PATIENCE: Duration = Duration::from_secs(400);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    pub name: String,
    /// The test that failed; none noticed it.
    pub killer: Option<String>,
    /// Whether the models were asked as well.
    pub models: bool,
    pub seconds: f64,
}

/// A test program, and which of its tests.
#[derive(Clone, Copy)]
struct Suite {
    program: &'static str,
    filters: &'static [&'static str],
}

const ALL: &[&str] = &[];
const MACHINES: &[&str] = &[
    "raft::",
    "metadata::",
    "replica::",
    "broker::",
    "replay::",
    "--skip",
    "check::",
    "--skip",
    "sim::",
];
/// The machines' own: under a second.
const QUICK: &[Suite] = &[
    some("quorum_stories", ALL),
    some("controller", ALL),
    some("replay", ALL),
    some("kraft_model", MACHINES),
];
const SIMULATION: Suite = some("simulation", ALL);
const CHECKERS: Suite = some("kraft_model", ALL);

const fn some(program: &'static str, filters: &'static [&'static str]) -> Suite {
    Suite { program, filters }
}

/// The models that a file's machine is in and the simulator, what is quick first: a minute and a half, if
/// none notices. Guards that are taken out by name are left to `kraft check --mutate all`.
fn models(file: &str) -> Vec<Suite> {
    const CLUSTER: Suite = some("cluster", &["min_insync", "decision"]);
    const CLUSTERS: Suite = some("cluster", &["nothing", "a_record", "arrives_twice"]);
    match file.split('/').nth(2) {
        Some("raft") => vec![
            some("quorum", &["no_partition", "wiped", "voters", "snapshot"]),
            some("quorum_abstract", ALL),
            SIMULATION,
            CHECKERS,
            some("quorum", &["two_reigns", "requests", "lost_message", "three_reigns"]),
        ],
        Some("metadata") => vec![
            some("controller_model", &["moved_back", "no_acknowledged", "a_verdict"]),
            CLUSTER,
            SIMULATION,
            CHECKERS,
            some("controller_model", &["brokers", "failover", "come_back"]),
            CLUSTERS,
        ],
        Some("replica") => vec![
            some("replica", &["late_fetches", "idempotent"]),
            CLUSTER,
            SIMULATION,
            CHECKERS,
            some("replica", &["nothing"]),
            CLUSTERS,
        ],
        _ => vec![CLUSTER, SIMULATION, CHECKERS, CLUSTERS],
    }
}

/// The verdicts of earlier runs, and the file that this run's go to.
pub struct Kept {
    known: BTreeMap<String, Verdict>,
    file: Mutex<File>,
}

impl Kept {
    /// About these sources and tests; of others nothing is kept, or what was noticed.
    pub fn open(work: &Path, fingerprint: &str, again: bool, keep: bool) -> Result<Kept> {
        let (path, of) = (work.join("verdicts.jsonl"), work.join("verdicts.of"));
        let is_same = fs::read_to_string(&of).ok().as_deref() == Some(fingerprint);
        let mut known = BTreeMap::new();
        if !again && (is_same || keep) {
            for line in fs::read_to_string(&path).unwrap_or_default().lines() {
                let verdict: Verdict = serde_json::from_str(line)?;
                known.insert(verdict.name.clone(), verdict);
            }
        }
        known.retain(|_, verdict| is_same || verdict.killer.is_some());
        let mut file = File::create(&path)?;
        for verdict in known.values() {
            writeln!(file, "{}", serde_json::to_string(verdict)?)?;
        }
        fs::write(&of, fingerprint)?;
        Ok(Kept { known, file: Mutex::new(file) })
    }
}

/// All that is known of the mutants in the end: the quick tests are run against all of them, and then the
/// models against those that are left, but for the names in `spared`.
pub fn all(
    built: &Built,
    mutants: &[&Mutant],
    kept: Kept,
    spared: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Verdict>> {
    let Kept { mut known, file } = kept;
    for models in [false, true] {
        let is_due = |mutant: &&&Mutant| match known.get(&mutant.name) {
            Some(verdict) => {
                let is_left = models && !verdict.models && verdict.killer.is_none();
                is_left && !spared.contains_key(&mutant.name)
            }
            None => true,
        };
        let due: Vec<&Mutant> = mutants.iter().filter(is_due).copied().collect();
        println!(
            "{} of {} are due for {}",
            due.len(),
            mutants.len(),
            if models { "models" } else { "tests" }
        );
        if !due.is_empty() {
            unchanged(built, models)?;
        }
        let next = AtomicUsize::new(0);
        let workers = thread::available_parallelism()?.get();
        let verdicts: Shared<Vec<Vec<Verdict>>> = thread::scope(|scope| {
            let hands: Vec<_> = (0..workers)
                .map(|_| scope.spawn(|| work(built, &due, models, &next, &file)))
                .collect();
            hands
                .into_iter()
                .map(|hand| hand.join().map_err(|_| "a worker panicked".to_owned())?)
                .collect()
        });
        known
            .extend(verdicts?.into_iter().flatten().map(|verdict| (verdict.name.clone(), verdict)));
    }
    let chosen: HashSet<&str> = mutants.iter().map(|mutant| mutant.name.as_str()).collect();
    known.retain(|name, _| chosen.contains(name.as_str()));
    Ok(known)
}

/// With no mutant on, everything passes, or no verdict would mean anything.
fn unchanged(built: &Built, asked: bool) -> Result<()> {
    let files = ["model/src/raft", "model/src/metadata", "model/src/replica"];
    let suites = match asked {
        true => files.iter().flat_map(|file| models(file)).collect(),
        false => QUICK.to_vec(),
    };
    for suite in suites {
        if let Some(killer) = run(built, &suite, 0)? {
            return Err(format!("without any change {killer} fails").into());
        }
    }
    Ok(())
}

type Shared<T> = std::result::Result<T, String>;

fn work(
    built: &Built,
    due: &[&Mutant],
    models: bool,
    next: &AtomicUsize,
    file: &Mutex<File>,
) -> Shared<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    while let Some(mutant) = due.get(next.fetch_add(1, Ordering::Relaxed)) {
        let verdict = judge(built, mutant, models).map_err(|error| error.to_string())?;
        let line = serde_json::to_string(&verdict).map_err(|error| error.to_string())?;
        let mut file = file.lock().map_err(|_| "a worker panicked")?;
        writeln!(file, "{line}").map_err(|error| error.to_string())?;
        if models && verdict.killer.is_none() {
            println!("survived: {}", verdict.name);
        }
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

fn judge(built: &Built, mutant: &Mutant, asked: bool) -> Result<Verdict> {
    let began = Instant::now();
    let suites = if asked { models(&mutant.file) } else { QUICK.to_vec() };
    let mut killer = None;
    for suite in suites {
        killer = run(built, &suite, mutant.id)?;
        if killer.is_some() {
            break;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(Verdict { name: mutant.name.clone(), killer, models: asked, seconds })
}

/// The first test that fails, if one does.
fn run(built: &Built, suite: &Suite, id: u32) -> Result<Option<String>> {
    let program = built
        .tests
        .get(suite.program)
        .ok_or_else(|| format!("no test program {}", suite.program))?;
    // Bounds on memory and time, for a mutant whose state space has no end, also if this program ends first.
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -v 8000000; ulimit -t 400; exec \"$0\" \"$@\""])
        .arg(program)
        .args(["--test-threads", "1"])
        .args(suite.filters)
        .env("KRAFT_MUTANT", id.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let (sender, lines) = channel();
    let out = child.stdout.take().ok_or("no output")?;
    let reader = thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(std::result::Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let deadline = Instant::now() + PATIENCE;
    let mut last = format!("{} (no test ran)", suite.program);
    let failed = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line.ends_with("FAILED") => {
                break Some(format!("{}: {}", suite.program, test_of(&line)));
            }
            Ok(line) if line.starts_with("test ") && !line.starts_with("test result") => {
                last = format!("{}: after {}", suite.program, test_of(&line));
            }
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => break Some(format!("{last} (too long)")),
            Err(RecvTimeoutError::Disconnected) => break None,
        }
    };
    if failed.is_some() {
        let _ = child.kill();
    }
    let status = child.wait()?;
    drop(lines);
    let _ = reader.join();
    Ok(failed.or_else(|| (!status.success()).then(|| format!("{last} (ended)"))))
}

fn test_of(line: &str) -> &str {
    line.trim_start_matches("test ").split(" ...").next().unwrap_or(line)
}
