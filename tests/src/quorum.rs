//! The quorum as `kraft quorum` shows and changes it.

use std::process::Command;

use serde_json::Value;

use crate::{Cluster, Node, eventually};

/// `kraft quorum ...`, asking the controllers that run; what it printed.
pub fn quorum(cluster: &Cluster, words: &[&str]) -> Result<Value, String> {
    ask(cluster, words, cluster.nodes().filter(|node| node.is_controller && node.is_running()))
}

/// The same through the brokers.
pub fn through_brokers(cluster: &Cluster, words: &[&str]) -> Result<Value, String> {
    let mut command = cluster.kraft(&["quorum"]);
    command.args(words).args(["--output", "json", "--bootstrap-server"]);
    run(command.arg(cluster.bootstrap()))
}

/// The same from these controllers alone.
pub fn ask<'a>(
    cluster: &Cluster,
    words: &[&str],
    controllers: impl Iterator<Item = &'a Node>,
) -> Result<Value, String> {
    let mut command = cluster.kraft(&["quorum"]);
    command.args(words).args(["--output", "json", "--bootstrap-controller"]);
    let addresses = controllers.map(|node| node.controller_address().to_string());
    run(command.arg(addresses.collect::<Vec<_>>().join(",")))
}

fn run(command: &mut Command) -> Result<Value, String> {
    let output = command.output().expect("kraft runs");
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).expect("JSON")),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Waits until the leader says that these vote.
pub fn wait_for_voters(cluster: &Cluster, expected: &[i64]) {
    eventually(&format!("{expected:?} vote and one of them leads"), || {
        let status = quorum(cluster, &["status"]).ok()?;
        let leads = status["leader"].as_i64().is_some_and(|leader| expected.contains(&leader));
        (leads && ids(&status["voters"]) == expected).then_some(())
    });
}

fn ids(voters: &Value) -> Vec<i64> {
    let mut ids: Vec<i64> =
        voters.as_array().expect("a list").iter().filter_map(Value::as_i64).collect();
    ids.sort_unstable();
    ids
}
