//! What there is to change: `cargo mutants --list`, as it stands.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::Result;

/// The machines.
const MACHINES: [&str; 4] = ["raft", "metadata", "replica", "broker"];
/// What is built for the checkers alone, for them to keep honest: their states, and how they look at machines.
const CHECKERS: [&str; 5] =
    ["checked.rs", "projected.rs", "renumber.rs", "small_log.rs", "standing/*"];

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
pub struct At {
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

#[derive(Debug, Deserialize)]
struct Span {
    start: At,
}

#[derive(Debug, Deserialize)]
struct Listed {
    file: String,
    genre: Genre,
    name: String,
    replacement: String,
    span: Span,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
pub enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArmGuard,
    MatchArm,
    StructField,
}

#[derive(Debug)]
pub struct Mutant {
    /// Its switch, from 1.
    pub id: u32,
    pub file: String,
    pub genre: Genre,
    /// What it is called whatever the line it stands on: file, change, and which of several alike.
    pub name: String,
    pub at: At,
    pub replacement: String,
}

pub fn all(root: &Path) -> Result<Vec<Mutant>> {
    let mut command = Command::new("cargo");
    command.args(["mutants", "--list", "--json", "-p", "kraft-model"]).current_dir(root);
    for machine in MACHINES {
        command.args(["-f", &format!("model/src/{machine}/**")]);
    }
    for checkers in CHECKERS {
        command.args(["-e", &format!("model/src/**/{checkers}")]);
    }
    let out = command.output()?;
    if !out.status.success() {
        let why = String::from_utf8_lossy(&out.stderr);
        return Err(
            format!("cargo mutants, which 'cargo install cargo-mutants' brings: {why}").into()
        );
    }
    let mut alike: HashMap<String, usize> = HashMap::new();
    let listed: Vec<Listed> = serde_json::from_slice(&out.stdout)?;
    let mutants =
        listed.into_iter().filter(|listed| !listed.file.ends_with("/checked.rs")).zip(1..);
    Ok(mutants
        .map(|(listed, id)| {
            let what = listed.name.splitn(4, ':').last().unwrap_or_default().trim();
            let plain = format!("{}: {what}", listed.file);
            let nth = alike.entry(plain.clone()).and_modify(|nth| *nth += 1).or_insert(1);
            let name = if *nth == 1 { plain } else { format!("{plain} ({nth})") };
            let Listed { file, genre, replacement, span, .. } = listed;
            Mutant { id, file, genre, name, at: span.start, replacement }
        })
        .collect())
}
