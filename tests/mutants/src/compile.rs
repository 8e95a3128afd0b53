//! One crate with all mutants in it. What does not compile is taken out, until the rest does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::Result;
use crate::list::Mutant;
use crate::rewrite;

const ROUNDS: usize = 40;

pub struct Built {
    pub viable: BTreeSet<u32>,
    /// Test executables by the name of their target.
    pub tests: BTreeMap<String, PathBuf>,
    /// Of all sources and tests, to know whether kept verdicts are about them.
    pub fingerprint: String,
}

pub fn all(root: &Path, work: &Path, mutants: &[Mutant]) -> Result<Built> {
    let tree = work.join("tree");
    let mut hasher = DefaultHasher::new();
    copy(root, &tree, &mut hasher)?;
    let mut viable: BTreeSet<u32> = mutants.iter().map(|mutant| mutant.id).collect();
    for round in 1..=ROUNDS {
        write(root, &tree, mutants, &mut viable)?;
        let (_, wrong) = cargo(&tree, work, &["check", "--lib"])?;
        if wrong.is_empty() {
            let (tests, _) = cargo(&tree, work, &["test", "--no-run", "--tests"])?;
            let fingerprint = format!("{:016x}", hasher.finish());
            return Ok(Built { viable, tests, fingerprint });
        }
        println!("round {round}: {} mutants do not compile", wrong.len());
        viable.retain(|id| !wrong.contains(id));
    }
    Err("what is left does not compile".into())
}

/// The crate alone, as a workspace of its own.
fn copy(root: &Path, tree: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    let _ = fs::remove_dir_all(tree);
    copy_files(&root.join("model"), &tree.join("model"), hasher)?;
    fs::remove_dir_all(tree.join("model/examples"))?;
    copy_files(&root.join("docs"), &tree.join("docs"), hasher)?; // A test reads one of its pages.
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?
        .replace("members = [\"model\", \"node\", \"cli\", \"tests\"]", "members = [\"model\"]")
        .replace("default-members = [\"cli\"]", "");
    fs::write(tree.join("Cargo.toml"), manifest)?;
    fs::copy(root.join("Cargo.lock"), tree.join("Cargo.lock"))?;
    let manifest = fs::read_to_string(tree.join("model/Cargo.toml"))?;
    let without_examples = manifest.split("[[example]]").next().unwrap_or_default();
    fs::write(tree.join("model/Cargo.toml"), without_examples)?;
    Ok(())
}

fn copy_files(from: &Path, to: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    fs::create_dir_all(to)?;
    let mut entries: Vec<PathBuf> =
        fs::read_dir(from)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    entries.sort();
    for path in entries {
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_files(&path, &target, hasher)?;
        } else {
            fs::read(&path)?.hash(hasher);
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

fn write(root: &Path, tree: &Path, mutants: &[Mutant], viable: &mut BTreeSet<u32>) -> Result<()> {
    let mut by_file: BTreeMap<&str, Vec<&Mutant>> = BTreeMap::new();
    for mutant in mutants {
        let of_file = by_file.entry(&mutant.file).or_default();
        if viable.contains(&mutant.id) {
            of_file.push(mutant);
        }
    }
    for (file, of_file) in by_file {
        let written = rewrite::file(&fs::read_to_string(root.join(file))?, &of_file)?;
        for mutant in of_file {
            if !written.contains(&format!("mutant::on({})", mutant.id)) {
                viable.remove(&mutant.id);
            }
        }
        fs::write(tree.join(file), written)?;
    }
    fs::write(tree.join("model/src/mutant.rs"), rewrite::SWITCH)?;
    let lib = fs::read_to_string(root.join("model/src/lib.rs"))?;
    fs::write(tree.join("model/src/lib.rs"), format!("{lib}\npub(crate) mod mutant;\n"))?;
    Ok(())
}

#[derive(Deserialize)]
struct Line {
    reason: String,
    executable: Option<PathBuf>,
    target: Option<Target>,
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Message {
    level: String,
    rendered: Option<String>,
    spans: Vec<Place>,
    code: Option<Code>,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
struct Place {
    file_name: String,
    line_start: usize,
    line_end: usize,
    is_primary: bool,
}

/// The test programs that were built, or the mutants that errors speak of.
fn cargo(
    tree: &Path,
    work: &Path,
    what: &[&str],
) -> Result<(BTreeMap<String, PathBuf>, BTreeSet<u32>)> {
    let out = Command::new("cargo")
        .args(what)
        .args(["--message-format=json", "-p", "kraft-model", "--features", "check"])
        .env("RUSTFLAGS", "-Awarnings")
        .env("CARGO_TARGET_DIR", work.join("build"))
        .current_dir(tree)
        .stderr(Stdio::null())
        .output()?;
    let mut tests = BTreeMap::new();
    let mut wrong = BTreeSet::new();
    let mut unknown = None;
    for line in out.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Line = serde_json::from_slice(line)?;
        match (line.reason.as_str(), line.executable, line.target, line.message) {
            ("compiler-artifact", Some(executable), Some(target), _) => {
                tests.insert(target.name, executable);
            }
            ("compiler-message", _, _, Some(message))
                if message.level == "error" && !message.spans.is_empty() =>
            {
                let found = blamed(tree, &message)?;
                if found.is_empty() {
                    unknown = message.rendered;
                }
                wrong.extend(found);
            }
            _ => {}
        }
    }
    match unknown {
        Some(error) if wrong.is_empty() => Err(error.into()),
        None if wrong.is_empty() && !out.status.success() => Err("the build failed".into()),
        _ => Ok((tests, wrong)),
    }
}

/// Those whose switches stand where the error is, or else next to it: below, if the compiler tells it at the
/// head of a function or of a match, above otherwise.
fn blamed(tree: &Path, message: &Message) -> Result<BTreeSet<u32>> {
    let code = message.code.as_ref().map(|code| code.code.as_str());
    let mut found = BTreeSet::new();
    for place in message.spans.iter().filter(|place| place.is_primary) {
        let Ok(source) = fs::read_to_string(tree.join(&place.file_name)) else { continue };
        let lines: Vec<&str> = source.lines().collect();
        let (first, last) = (place.line_start - 1, place.line_end.min(lines.len()));
        let below = || lines[first..].iter();
        let blamed: Vec<u32> = match code {
            Some("E0271") => below()
                .map(|line| switches(line))
                .find(|found| !found.is_empty())
                .unwrap_or_default(),
            // The arm that has a guard now, and had none.
            Some("E0004") => below()
                .filter(|line| line.contains(" if !crate::mutant::on("))
                .map(|line| switches(line))
                .find(|found| found.len() == 1)
                .unwrap_or_default(),
            _ => {
                let here: Vec<u32> =
                    lines[first..last].iter().flat_map(|line| switches(line)).collect();
                let above =
                    || lines[..last].iter().rev().find_map(|line| switches(line).last().copied());
                if here.is_empty() { above().into_iter().collect() } else { here }
            }
        };
        found.extend(blamed);
    }
    Ok(found)
}

fn switches(line: &str) -> Vec<u32> {
    let parts = line.split("mutant::on(").skip(1);
    parts.filter_map(|rest| rest.split(')').next()?.parse().ok()).collect()
}
