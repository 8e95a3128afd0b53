//! `kraft trace`: what nodes recorded (`trace.dir`), run again through the same functions.

mod fold;
mod load;
mod replay;
mod show;
mod step;
mod story;

use std::path::PathBuf;

use clap::Subcommand;

use crate::output::OutputArgs;
use crate::report::Failure;

/// Run again what nodes recorded under trace.dir
///
/// A trace holds every input of a node's machines and the digest of every output. Paths are
/// directories or files; of several, and of all nodes in one, the entries stand in the order of time.
#[derive(Debug, clap::Args)]
pub struct TraceArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the inputs through the same functions: every digest must come out again
    ///
    /// JSON: {entries, steps, machines, recordings: [{node, incarnation, thread, version, entries,
    /// steps, machines, torn, ended}], divergence, damage}; a divergence tells position, node, thread, entry,
    /// machine, event, what, effects, before and after. Ends with exit code 3 if there is one, or
    /// damage.
    Replay(ReplayArgs),
    /// List the entries, one a line
    ///
    /// JSON: [{position, at_ns, node, machine, event, effects}].
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
struct ReplayArgs {
    /// Directories or files of traces
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Only the first N entries
    #[arg(long, value_name = "N")]
    until: Option<u64>,
    /// Run up to entry N and print what --show asks for
    #[arg(long, value_name = "N", conflicts_with_all = ["until", "step"])]
    at: Option<u64>,
    /// What to print of the entry
    #[arg(long, value_enum, requires = "at", default_value_t = View::State)]
    show: View,
    /// Step through it: reads commands, from the terminal or from standard input ('h' lists them)
    #[arg(long, conflicts_with = "until")]
    step: bool,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// Directories or files of traces
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Only this node's, or only this machine's: 1, 1/quorum, 4/orders-0
    #[arg(long, value_name = "NODE[/MACHINE]", value_parser = story::Filter::parse)]
    machine: Option<story::Filter>,
    /// From entry N on
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
    /// Up to entry N
    #[arg(long, value_name = "N")]
    until: Option<u64>,
    /// The effects too
    #[arg(long)]
    effects: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum View {
    State,
    Event,
    Effects,
}

pub fn run(args: &TraceArgs) -> Result<(), Failure> {
    match &args.command {
        Command::Replay(replay) if replay.step => step::run(&load::load(&replay.paths)?),
        Command::Replay(replay) => replay::run(replay, args.output),
        Command::Show(show) => show::run(show, args.output),
    }
}
