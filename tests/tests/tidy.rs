//! Promises about the source itself, which no type can keep.

use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file under a folder of the workspace.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).expect("a folder of the workspace") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                found.push((path, text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let mut found = Vec::new();
    walk(&root, &mut found);
    assert!(!found.is_empty(), "{folder} has sources");
    found
}

#[test]
fn the_node_can_name_only_the_shipped_rules() {
    for (path, text) in sources("node/src") {
        for name in ["Mutated", "with_rules", "kraft_model::check"] {
            assert!(!text.contains(name), "{} names {name}", path.display());
        }
    }
}

#[test]
fn one_module_names_serde_cbor() {
    let named: Vec<PathBuf> = ["node/src", "cli/src", "model/src"]
        .into_iter()
        .flat_map(sources)
        .filter(|(_, text)| text.contains("serde_cbor"))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(named.len(), 1, "{named:?}");
    assert!(named[0].ends_with("peer/cbor.rs"), "{named:?}");
}

#[test]
fn the_machines_have_no_clock_no_files_no_sockets_and_no_threads() {
    let machines = ["raft", "metadata", "replica", "broker", "invariant", "replay"];
    for (path, text) in machines.iter().flat_map(|room| sources(&format!("model/src/{room}"))) {
        for name in ["std::time", "std::net", "std::fs", "std::thread", "tokio", "actix", "HashMap"]
        {
            assert!(!text.contains(name), "{} names {name}", path.display());
        }
    }
}

/// The machines, with the folder that holds each.
const MACHINES: [(&str, &str); 4] = [
    ("Quorum", "model/src/raft"),
    ("Controller", "model/src/metadata/controller"),
    ("Broker", "model/src/broker"),
    ("Replica", "model/src/replica"),
];

/// Everything that `name`'s `impl` blocks begin with `pub fn`, up to the body.
fn public_methods(text: &str, name: &str) -> Vec<String> {
    let mut methods = Vec::new();
    for block in text.split("\nimpl").skip(1) {
        let block = block.split("\n}").next().unwrap_or_default();
        let subject = block.lines().next().unwrap_or_default();
        let of = subject.rsplit([' ', '>']).find(|word| word.starts_with(char::is_alphabetic));
        if of.is_some_and(|of| of.split('<').next() == Some(name)) && !subject.contains(" for ") {
            let signatures = block.split("\n    pub fn ").skip(1);
            methods
                .extend(signatures.map(|it| it.split('{').next().unwrap_or_default().to_owned()));
        }
    }
    methods
}

#[test]
fn a_machine_changes_by_its_step_and_by_nothing_else() {
    for (name, folder) in MACHINES {
        let mut changing = Vec::new();
        for (path, text) in sources(folder) {
            for method in public_methods(&text, name) {
                if method.contains("&mut self") {
                    changing.push(method.split(['(', '<']).next().unwrap_or_default().to_owned());
                }
            }
            let body = text.split(&format!("pub struct {name}")).nth(1);
            let body = body.filter(|rest| rest.starts_with([' ', '<']));
            let fields = body.and_then(|body| body.split("\n}").next()).unwrap_or_default();
            let is_open = fields.lines().any(|line| line.starts_with("    pub "));
            assert!(!is_open, "{name} has a public field, in {}", path.display());
        }
        assert_eq!(changing, ["step"], "what changes {name} and can be called from outside");
    }
}

#[test]
fn the_shells_make_events_and_run_effects_and_step_machines_through_the_recorder_only() {
    // The recorder's two sides are here; every shell calls it in one place for each machine.
    let recorder = Path::new("trace").join("mod.rs");
    let mut seams = std::collections::BTreeMap::new();
    for (path, text) in sources("node/src") {
        for seam in ["quorum", "controller", "broker", "replica"] {
            let count = text.matches(&format!("recorder.{seam}(")).count();
            *seams.entry(seam).or_insert(0) += count;
            let direct = format!("{seam}.step(");
            let is_stepped = text.contains(&direct) || text.contains("machine.step(");
            assert!(!is_stepped || path.ends_with(&recorder), "{} steps a machine", path.display());
        }
        // What an image says is what its machine replayed; a standing is for the checkers.
        for name in [".replay(", "raft::Standing", ".standing()"] {
            assert!(!text.contains(name), "{} names {name}", path.display());
        }
    }
    assert!(seams.values().all(|&count| count == 1), "one seam for each machine: {seams:?}");
    for made in ["Quorum::new(", "Controller::new(", "Broker::new(", "Replica::new("] {
        let count: usize =
            sources("node/src").iter().map(|(_, text)| text.matches(made).count()).sum();
        assert_eq!(count, 1, "{made}: made once and never replaced");
    }
}
