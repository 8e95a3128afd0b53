//! `kraft trace replay`: every digest must come out again.

use std::collections::BTreeMap;

use kraft_model::replay::{Recorded, Replay, RunError, What};
use serde::Serialize;

use super::fold::fold;
use super::load::load;
use super::story::{Placed, Story};
use super::{ReplayArgs, View};
use crate::output::{self, OutputArgs, grouped, table};
use crate::report::Failure;

/// What replaying has shown.
#[derive(Serialize)]
struct Report {
    entries: u64,
    steps: u64,
    machines: usize,
    recordings: Vec<Recording>,
    divergence: Option<Divergence>,
    damage: Option<String>,
}

/// One thread's recording of one run of a node.
#[derive(Clone, Serialize)]
struct Recording {
    node: i32,
    incarnation: String,
    thread: String,
    version: String,
    entries: u64,
    steps: u64,
    machines: usize,
    /// Bytes of an entry that a killed process did not finish writing; cut off.
    torn: Option<usize>,
    /// Why it ended, if it says so.
    ended: Option<String>,
}

/// The first step that came to something else.
#[derive(Serialize)]
struct Divergence {
    position: u64,
    node: i32,
    incarnation: String,
    entry: u64,
    machine: String,
    event: String,
    what: String,
    effects: Vec<String>,
    before: String,
    after: String,
}

pub fn run(args: &ReplayArgs, output: OutputArgs) -> Result<(), Failure> {
    let recordings = load(&args.paths)?;
    if let Some(at) = args.at {
        return show_at(&recordings, at, args.show);
    }
    let report = replay(&recordings, args.until);
    output.answer(&report, text)?;
    match (&report.divergence, &report.damage) {
        (None, None) => Ok(()),
        _ => Err(Failure::Violation),
    }
}

fn replay(recordings: &[Recorded], until: Option<u64>) -> Report {
    let mut story = Story::new(recordings);
    let mut counts: BTreeMap<_, (u64, u64, usize)> = BTreeMap::new();
    let (mut divergence, mut damage, mut steps) = (None, None, 0);
    while until.is_none_or(|until| story.position() < until) {
        let placed = match story.next() {
            Some(Ok(placed)) => placed,
            Some(Err(error)) => {
                damage = Some(error.to_string());
                break;
            }
            None => break,
        };
        let entry = &placed.entry;
        let count = counts.entry((entry.incarnation, entry.thread.to_string())).or_default();
        count.0 += 1;
        match &entry.what {
            What::Began(_) => count.2 += 1,
            What::Stepped { .. } | What::LogFailed { .. } => {
                count.1 += 1;
                steps += 1;
            }
        }
        if placed.divergence().is_some() {
            divergence = Some(diverged(recordings, &placed));
            break;
        }
    }
    let recordings: Vec<Recording> = story
        .merged()
        .replays()
        .map(|replay| {
            let header = replay.header();
            let key = (header.incarnation, header.thread.clone());
            recording(replay, counts.get(&key).copied().unwrap_or_default())
        })
        .collect();
    let machines = recordings.iter().map(|it| it.machines).sum();
    Report { entries: story.position(), steps, machines, recordings, divergence, damage }
}

fn recording(replay: &Replay, (entries, steps, machines): (u64, u64, usize)) -> Recording {
    let header = replay.header();
    Recording {
        node: header.node.0,
        incarnation: header.incarnation.to_string(),
        thread: header.thread.to_string(),
        version: header.version.clone(),
        entries,
        steps,
        machines,
        torn: replay.torn(),
        ended: replay.ended().map(str::to_owned),
    }
}

fn diverged(recordings: &[Recorded], placed: &Placed) -> Divergence {
    let entry = &placed.entry;
    Divergence {
        position: placed.position,
        node: entry.node.0,
        incarnation: entry.incarnation.to_string(),
        entry: entry.entry,
        machine: entry.after.name(entry.id),
        event: placed.event(),
        what: placed.divergence().unwrap_or_default(),
        effects: placed.effects(),
        before: placed.before(recordings).map(|machine| fold(&machine.text())).unwrap_or_default(),
        after: fold(&entry.after.text()),
    }
}

fn text(report: &Report) -> String {
    let rows = report.recordings.iter().map(|it| {
        let end = match (&it.torn, &it.ended) {
            (Some(bytes), _) => format!("a torn tail of {bytes} bytes, cut off"),
            (None, Some(why)) => why.clone(),
            (None, None) => "open".to_owned(),
        };
        vec![
            it.node.to_string(),
            it.thread.clone(),
            it.incarnation.clone(),
            grouped(it.entries),
            it.machines.to_string(),
            end,
        ]
    });
    let mut text = table(&["node", "thread", "run", "entries", "machines", "end"], rows);
    let (steps, machines) = (grouped(report.steps), report.machines);
    match (&report.divergence, &report.damage) {
        (None, None) => {
            text += &format!("{steps} steps of {machines} machines: every digest came out again\n");
        }
        (Some(found), _) => text += &divergence_text(found),
        (None, Some(damage)) => {
            text += &format!("DAMAGED after {steps} steps: {damage}\n");
        }
    }
    text
}

fn divergence_text(found: &Divergence) -> String {
    let Divergence { position, node, machine, entry, incarnation, .. } = found;
    let mut text = format!(
        "DIVERGES at {position}: {node}/{machine} (entry {entry} of run {incarnation})\n  event: {}\n  {}\n",
        found.event, found.what
    );
    found.effects.iter().for_each(|effect| text += &format!("  effect now: {effect}\n"));
    text += "  state before, and what the step changed of it now:\n";
    text + &changes(&found.before, &found.after)
}

/// The state before with the lines that are others afterwards.
pub fn changes(before: &str, after: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = (old.len() - same).min(new.len() - same);
    let tail = (0..rest).take_while(|n| old[old.len() - 1 - n] == new[new.len() - 1 - n]).count();
    let mut text = String::new();
    let mut put = |mark: char, lines: &[&str]| {
        lines.iter().for_each(|line| text += &format!("  {mark} {line}\n"));
    };
    put(' ', &old[..same]);
    put('-', &old[same..old.len() - tail]);
    put('+', &new[same..new.len() - tail]);
    put(' ', &old[old.len() - tail..]);
    text
}

fn show_at(recordings: &[Recorded], at: u64, view: View) -> Result<(), Failure> {
    let mut story = Story::new(recordings);
    let reached = story.by_ref().find(|placed| match placed {
        Ok(placed) => placed.position == at,
        Err(_) => true,
    });
    let placed = reached.ok_or_else(|| {
        let entries = story.position();
        Failure::usage(format!("there is no entry {at}")).because(format!("there are {entries}"))
    })?;
    let placed = placed.map_err(damaged)?;
    show_view(&placed, view)
}

pub fn damaged(error: RunError) -> Failure {
    Failure::new("cannot replay the trace").because(error)
}

pub fn show_view(placed: &Placed, view: View) -> Result<(), Failure> {
    match view {
        View::State => output::line(&fold(&placed.entry.after.text())),
        View::Event => output::line(&fold(&placed.event_in_full())),
        View::Effects => placed.effects().iter().try_for_each(|effect| output::line(effect)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_stands_between_what_did_not() {
        let changed = changes("a\nb\nc\nd", "a\nx\ny\nd");
        assert_eq!(changed, "    a\n  - b\n  - c\n  + x\n  + y\n    d\n");
        assert_eq!(changes("a", "a"), "    a\n");
    }
}
