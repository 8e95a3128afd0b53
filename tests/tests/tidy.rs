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
    let machines = ["raft", "metadata", "replica", "broker", "invariant"];
    for (path, text) in machines.iter().flat_map(|room| sources(&format!("model/src/{room}"))) {
        for name in ["std::time", "std::net", "std::fs", "std::thread", "tokio", "actix", "HashMap"]
        {
            assert!(!text.contains(name), "{} names {name}", path.display());
        }
    }
}
