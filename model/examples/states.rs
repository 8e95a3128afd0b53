//! Counts the states of a model whose TLA+ twin TLC counts: `tla/counts.py` runs both.
//!
//!     states quorum-abstract EPOCHS RECORDS [--dump]
//!
//! Prints the number of distinct states and how long it took; with `--dump` each state on a line of
//! its own, in a form that TLC's dump can be brought into as well.

use std::collections::HashSet;
use std::process::ExitCode;

use kraft_model::check::quorum_abstract::{Bounds, QuorumAbstract, State};
use kraft_model::check::{Mutated, explore};
use stateright::Model;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["quorum-abstract", epochs, records] => count(bounds(epochs, records)),
        ["quorum-abstract", epochs, records, "--dump"] => dump(bounds(epochs, records)),
        _ => {
            eprintln!("usage: states quorum-abstract EPOCHS RECORDS [--dump]");
            ExitCode::from(2)
        }
    }
}

fn bounds(epochs: &str, records: &str) -> Bounds {
    let number = |text: &str| text.parse().expect("a number of epochs or records");
    Bounds { epochs: number(epochs), records: number(records), rules: Mutated(None) }
}

fn count(bounds: Bounds) -> ExitCode {
    let outcome = explore(&QuorumAbstract::<3>::new(bounds));
    println!("{} distinct, {:.3} s", outcome.unique_states, outcome.seconds);
    ExitCode::from(u8::from(!outcome.complete))
}

/// Visits the states by their lines, so that what is counted is what is printed.
fn dump(bounds: Bounds) -> ExitCode {
    let model = QuorumAbstract::<3>::new(bounds);
    let mut seen = HashSet::new();
    let mut waiting: Vec<State<3>> = model.init_states();
    while let Some(state) = waiting.pop() {
        let line = state.line();
        if seen.contains(&line) {
            continue;
        }
        println!("{line}");
        seen.insert(line);
        let mut actions = Vec::new();
        model.actions(&state, &mut actions);
        waiting.extend(actions.into_iter().filter_map(|action| model.next_state(&state, action)));
    }
    ExitCode::SUCCESS
}
