//! Counts the states of a model as its TLA+ specification sees them; `tla/counts.py` compares.
//!
//!     cargo run --release -p kraft-model --features check --example count -- \
//!         replica Appends=1 MaxLeaderEpoch=1 Fences=1 [--dump]
//!
//! Bounds are the constants of the specification; those that are not named are 0 or FALSE. Prints
//! one line `states N projections N depth N`; with `--dump`, before it, each projection as TLC's
//! `-dump` writes states. With `--check` nothing is counted: the model is checked as `kraft check`
//! does it, to see how long that takes.

use std::collections::BTreeMap;

use kraft_model::LeaderEpoch;
use kraft_model::check::replica::{Left, PAGE_CACHE, ReplicaModel};
use kraft_model::check::{Projected, Value, count, explore};

const USAGE: &str =
    "usage: count MODEL CONSTANT=VALUE... [--dump|--check]; the one model is replica";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let constants = arguments.iter().filter_map(|argument| argument.split_once('='));
    let constants: BTreeMap<&str, &str> = constants.collect();
    match arguments.first().map(String::as_str) {
        Some("replica") if has("--check") => check(&replica(&constants)),
        Some("replica") => print(&replica(&constants), has("--dump")),
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    }
}

fn print(model: &impl Projected, dumps: bool) {
    let count = count(model, |variables: &[(&'static str, Value)]| {
        if dumps {
            variables.iter().for_each(|(name, value)| println!("/\\ {name} = {value}"));
            println!();
        }
    });
    println!("states {} projections {} depth {}", count.states, count.projections, count.depth);
}

fn check(model: &impl Projected) {
    let outcome = explore(model);
    println!("states {} complete {}", outcome.unique_states, u8::from(outcome.complete));
}

/// The constants of `tla/MCReplication.tla`.
fn replica(constants: &BTreeMap<&str, &str>) -> ReplicaModel {
    let number = |name: &str| constants.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    let flag = |name: &str| constants.get(name) == Some(&"TRUE");
    ReplicaModel {
        name: "replica-count",
        flush: flag("FlushBeforeAck"),
        fetches_in_flight: flag("FetchesInFlight"),
        max_leader_epoch: LeaderEpoch(i32::from(number("MaxLeaderEpoch"))),
        left: Left {
            appends: number("Appends"),
            resends: 0,
            fences: number("Fences"),
            silences: number("Silences"),
            clean_stops: number("CleanStops"),
            lossy_stops: number("LossyStops"),
        },
        ..PAGE_CACHE
    }
}
