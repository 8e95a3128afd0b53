//! Writes what the voters of a quorum did, by the traces of a cluster, as a TLA+ module.
//!
//!     quorum_trace DIRECTORY > QuorumTraceLog.tla
//!
//! `tla/validate_quorum.py` has TLC hold it against the specification. Each entry is a record that
//! names its node, the event, what was said and what the machine looked like afterwards; the
//! specification says what these should have been (`tla/QuorumTrace.tla`). Who was a voter at some
//! time is followed from its first entry to its last, as an observer too; the others are only
//! heard of.

mod line;
mod said;
mod story;

#[path = "../shared/lines.rs"]
mod lines;
#[path = "../shared/read.rs"]
mod read;

use std::fmt::{Display, Write as _};
use std::process::ExitCode;

use lines::{hand_out, write_lines};
use read::recordings;
use story::Story;

fn main() -> ExitCode {
    let Some(directory) = std::env::args().nth(1) else {
        eprintln!("usage: quorum_trace DIRECTORY > QuorumTraceLog.tla");
        return ExitCode::from(2);
    };
    let recorded = recordings(&directory, |name| name.contains("_quorum_"));
    hand_out(&directory, recorded.and_then(Story::of).and_then(|story| module(&story)))
}

fn module(story: &Story) -> Result<String, String> {
    let lines = story.steps.iter().filter(|step| story.voted.contains(&step.node));
    let lines = lines.filter_map(|step| line::of(story, step).transpose());
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    let rule = "-".repeat(27);
    let mut text = format!("{rule} MODULE QuorumTraceLog {rule}\n");
    text.push_str("\\* Written by the example quorum_trace from the traces of a cluster.\n");
    text.push_str("EXTENDS Integers, Sequences\n");
    let _ = writeln!(text, "TraceNodes == {}", set(&story.nodes));
    let _ = writeln!(text, "TraceVoters == {}", set(&story.voted));
    let _ = writeln!(text, "TraceDynamic == {}", boolean(story.is_dynamic));
    text.push_str("NoMessage == [kind |-> \"\"]\n");
    write_lines(&mut text, &lines);
    Ok(text)
}

/// A set as TLA+ has it.
fn set(members: impl IntoIterator<Item = impl Display>) -> String {
    let members: Vec<String> = members.into_iter().map(|member| member.to_string()).collect();
    format!("{{{}}}", members.join(", "))
}

fn boolean(value: bool) -> &'static str {
    if value { "TRUE" } else { "FALSE" }
}
