//! `kraft`: the node, a local cluster, administration, checks and benchmarks in one binary.
//!
//! Read on: `args` (the commands), `commands` (one file per family), `cluster` (processes on this
//! machine and their supervisor), `client` (the Kafka client that all of them use), `quorum` (asking
//! controllers without a broker), `verify` (what the nodes of a cluster hold, by the promises that the
//! checkers judge), `node` (where this process becomes a node itself).

mod args;
mod client;
mod cluster;
mod commands;
mod ids;
mod node;
mod output;
mod progress;
mod quorum;
mod report;
mod storage;
mod verify;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match args::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(),
    }
}
