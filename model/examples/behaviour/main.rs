//! What a cluster did, as a behaviour of the TLA+ specifications; `tla/validate.py` judges it.
//!
//!     cargo run --release -p kraft-model --features check --example behaviour -- DIRECTORY [TOPIC-PARTITION]
//!
//! Reads the traces in a directory (`trace.dir`), of all nodes, and prints for one partition what the
//! active controllers decided about it and about the brokers, one line each as a TLA+ record, and
//! before them the constants. Without a partition named, the first one that was created.

mod controllers;

use std::path::Path;
use std::{fs, process};

use kraft_model::replay::{Merged, Recorded};

use controllers::Controllers;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(directory) = arguments.first() else {
        eprintln!("usage: behaviour DIRECTORY [TOPIC-PARTITION]");
        process::exit(2);
    };
    if let Err(problem) = print(Path::new(directory), arguments.get(1).map(String::as_str)) {
        eprintln!("{problem}");
        process::exit(1);
    }
}

fn print(directory: &Path, partition: Option<&str>) -> Result<(), String> {
    let mut controllers = Controllers::new(partition);
    for replayed in Merged::new(recordings(directory)?) {
        controllers.take(&replayed.map_err(|error| error.to_string())?);
    }
    for line in controllers.behaviour()? {
        println!("{line}");
    }
    Ok(())
}

fn recordings(directory: &Path) -> Result<Vec<Recorded>, String> {
    let failed = |error| format!("{}: {error}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "trace") {
            files.push((path.display().to_string(), fs::read(&path).map_err(failed)?));
        }
    }
    Recorded::gather(files).map_err(|(name, error)| format!("{name}: {error}"))
}
