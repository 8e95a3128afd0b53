//! Whatever is wrong with what a node is given - its configuration, its machine, its disk, the
//! bytes on its sockets - it says so or recovers, and no acknowledged record is lost.

#[path = "bad_input/configuration.rs"]
mod configuration;
#[path = "bad_input/frames.rs"]
mod frames;
#[path = "bad_input/machine.rs"]
mod machine;
#[path = "bad_input/metadata.rs"]
mod metadata;
#[path = "bad_input/records.rs"]
mod records;

use std::fs;

use kraft_tests::{Node, eventually};

/// Waits until one line of the node's log has all of these words in it.
fn wait_for_line(node: &Node, words: &[&str]) {
    eventually(&format!("node {} logs {words:?}", node.id), || {
        let log = node.log();
        log.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
    });
}

/// Starts a node that must not come up, and hands over what it has said.
fn refuses_to_start(node: &mut Node) -> String {
    let before = node.log().len();
    node.start();
    let status = node.wait_for_end();
    let said = node.log()[before..].to_owned();
    assert_eq!(status.code(), Some(1), "it should end with an error, and said:\n{said}");
    assert!(!said.contains("panicked"), "it should end with an error, not a panic:\n{said}");
    said
}

fn config(node: &Node) -> String {
    fs::read_to_string(node.config_path()).expect("its configuration")
}

fn configure(node: &Node, text: &str) {
    fs::write(node.config_path(), text).expect("its configuration");
}
