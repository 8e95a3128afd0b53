//! The binary itself: what it prints, and how it ends.

use std::process::{Command, Output};

fn kraft(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kraft")).args(arguments).output().expect("kraft runs")
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_right() {
    let output = kraft(&["topics", "create"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Usage"), "{output:?}");
}

#[test]
fn a_failure_ends_with_1_and_says_what_to_do_next() {
    let empty = tempfile::tempdir().expect("a temporary directory");
    let dir = empty.path().join("none");
    let output = kraft(&["status", "--dir", dir.to_str().expect("a path in UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("kraft up"), "{output:?}");
}

#[test]
fn the_checker_catches_a_vote_given_twice_and_tells_the_story() {
    let output = kraft(&["check", "--mutate", "vote-twice"]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "a mutation that is caught is a success: {output:?}");
    assert!(told.contains("VIOLATED") && told.contains("rule:"), "{told}");
}
