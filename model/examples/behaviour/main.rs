//! What a cluster did, as a behaviour of the TLA+ specifications; `tla/validate.py` judges it.
//!
//!     cargo run --release -p kraft-model --features check --example behaviour -- DIRECTORY [TOPIC-PARTITION]
//!
//! Reads the traces in a directory (`trace.dir`), of all nodes, and prints for one partition what the
//! active controllers decided about it and about the brokers, one line each as a TLA+ record, and
//! before them the constants. Without a partition named, the first one that was created.

mod controllers;
#[path = "../shared/partition.rs"]
mod partition;
#[path = "../shared/read.rs"]
mod read;

use std::process;

use kraft_model::replay::Merged;

use controllers::Controllers;
use read::recordings;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(directory) = arguments.first() else {
        eprintln!("usage: behaviour DIRECTORY [TOPIC-PARTITION]");
        process::exit(2);
    };
    if let Err(problem) = print(directory, arguments.get(1).map(String::as_str)) {
        eprintln!("{problem}");
        process::exit(1);
    }
}

fn print(directory: &str, partition: Option<&str>) -> Result<(), String> {
    let mut controllers = Controllers::new(partition);
    for replayed in Merged::new(recordings(directory, |_| true)?) {
        controllers.take(&replayed.map_err(|error| error.to_string())?);
    }
    for line in controllers.behaviour()? {
        println!("{line}");
    }
    Ok(())
}
