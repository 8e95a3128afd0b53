//! Judges every small change to the machines that `cargo mutants` can think of, with one build.
//!
//! `cargo mutants` builds the crate once for each change: a day for the machines. Here its list is taken as
//! it is, and all changes are put into one copy of the crate, each behind a switch that the environment
//! turns on (`KRAFT_MUTANT=17`). A run of the tests then judges one change, and takes a second or so.
//!
//!     cargo run --manifest-path tests/mutants/Cargo.toml -- [--only TEXT] [--again | --keep]
//!
//! What no test notices must be in `tests/mutants/survivors.txt`, with the reason why nothing is
//! lost by it; the exit code is 1 otherwise. Verdicts are kept in `target/mutants/verdicts.jsonl` and taken up
//! again by the next run, unless sources or tests changed since or `--again` is given. With `--keep` what was
//! noticed before such a change is not judged again: right after tests were added, and a guess otherwise.
//! Only `--again` asks the models, which take minutes, about survivors that have their reason.

mod compile;
mod judge;
mod list;
mod rewrite;
mod survivors;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut only = None;
    let (mut again, mut keep) = (false, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--only" => only = Some(arguments.next().ok_or("--only needs a text")?),
            "--again" => again = true,
            "--keep" => keep = true,
            other => {
                return Err(format!("{other}: there are --only TEXT, --again and --keep").into());
            }
        }
    }
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).ok_or("no root")?.to_path_buf();
    let work = root.join("target/mutants");
    fs::create_dir_all(&work)?;

    let mutants = list::all(&root)?;
    let built = compile::all(&root, &work, &mutants)?;
    println!(
        "{} mutants: {} are built, {} are no Rust",
        mutants.len(),
        built.viable.len(),
        mutants.len() - built.viable.len()
    );

    let chosen: Vec<&list::Mutant> = mutants
        .iter()
        .filter(|mutant| built.viable.contains(&mutant.id))
        .filter(|mutant| only.as_ref().is_none_or(|text| mutant.name.contains(text.as_str())))
        .collect();
    let kept = judge::Kept::open(&work, &built.fingerprint, again, keep)?;
    let spared = if again { BTreeMap::new() } else { survivors::known(&root)? };
    let verdicts = judge::all(&built, &chosen, kept, &spared)?;
    survivors::report(&root, &mutants, &verdicts, only.is_none())
}
