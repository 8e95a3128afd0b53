//! `kraft trace show`: the entries as lines.

use serde::Serialize;

use super::ShowArgs;
use super::load::load;
use super::story::{Placed, Story};
use crate::output::{self, Format, OutputArgs};
use crate::report::Failure;

/// One entry.
#[derive(Serialize)]
struct Shown {
    position: u64,
    /// Nanoseconds of the machine's monotonic clock.
    at_ns: u64,
    node: i32,
    machine: String,
    event: String,
    effects: Vec<String>,
}

pub fn run(args: &ShowArgs, output: OutputArgs) -> Result<(), Failure> {
    let mut shown = Vec::new();
    for placed in Story::new(&load(&args.paths)?) {
        let placed =
            placed.map_err(|error| Failure::new("cannot read the trace").because(error))?;
        if args.until.is_some_and(|until| placed.position > until) {
            break;
        }
        let is_wanted = placed.position >= args.from
            && args.machine.as_ref().is_none_or(|filter| filter.admits(&placed));
        match output.output {
            _ if !is_wanted => {}
            Format::Json => shown.push(entry(&placed)),
            Format::Table => print(&placed, args.effects)?,
        }
    }
    match output.output {
        Format::Json => output.answer(&shown, |_| String::new()),
        Format::Table => Ok(()),
    }
}

fn entry(placed: &Placed) -> Shown {
    Shown {
        position: placed.position,
        at_ns: placed.entry.at,
        node: placed.entry.node.0,
        machine: placed.entry.after.name(placed.entry.id),
        event: placed.event(),
        effects: placed.effects(),
    }
}

fn print(placed: &Placed, effects: bool) -> Result<(), Failure> {
    output::line(&placed.line())?;
    let lines = placed.effects();
    lines.iter().filter(|_| effects).try_for_each(|effect| output::line(&indented(effect)))
}

pub fn indented(effect: &str) -> String {
    format!("{:>27}-> {effect}", "")
}
