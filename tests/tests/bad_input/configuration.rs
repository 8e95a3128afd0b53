//! Keys that are unknown, missing, wrong by themselves or impossible together.

use kraft_tests::{Cluster, Layout, Node};

use crate::{config, configure, refuses_to_start, wait_for_line};

/// The configuration without its line for `key`.
fn without(config: &str, key: &str) -> String {
    let kept = config.lines().filter(|line| line.split('=').next() != Some(key));
    kept.map(|line| format!("{line}\n")).collect()
}

/// The node refuses its configuration with `line` added or in place of the key's line, and says
/// all of `words`.
fn assert_refused(node: &mut Node, line: &str, words: &[&str]) {
    let good = config(node);
    let key = line.split('=').next().unwrap_or(line);
    configure(node, &format!("{}{line}\n", without(&good, key)));
    let said = refuses_to_start(node);
    for word in words {
        assert!(said.contains(word), "'{word}' is not in what {line} made the node say:\n{said}");
    }
    configure(node, &good);
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_key_that_was_meant() {
    let mut cluster = Cluster::format(&Layout::split(1, 1));
    let node = cluster.node_mut(2);
    assert_refused(
        node,
        "log.segmnt.bytes=1",
        &[
            "node.properties:8",
            "neither Kafka nor kraft has a key 'log.segmnt.bytes'",
            "'log.segment.bytes'",
        ],
    );
    assert_refused(node, "no.such.thing.anywhere=1", &["'no.such.thing.anywhere'"]);
}

#[test]
fn a_key_that_only_kafka_has_is_a_warning_that_names_it() {
    let layout = Layout::split(1, 1).set("ssl.keystore.location", "/etc/keys");
    let cluster = Cluster::start(&layout);
    let words = ["WARN", "node.properties:8", "ssl.keystore.location", "goes without it"];
    wait_for_line(cluster.node(2), &words);
}

#[test]
fn each_missing_key_is_named_with_what_it_is_for() {
    let mut cluster = Cluster::format(&Layout::split(1, 1));
    let node = cluster.node_mut(2);
    let good = config(node);
    for (key, why) in [
        ("process.roles", "'broker'"),
        ("node.id", "an id of its own"),
        ("log.dirs", "where this node keeps its data"),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.voters", "who the voters are"),
    ] {
        configure(node, &without(&good, key));
        let said = refuses_to_start(node);
        let expected = format!("{key} is missing: ");
        let named = said.lines().any(|line| line.contains(&expected) && line.contains(why));
        assert!(named, "'{expected}' ... '{why}' is not in:\n{said}");
    }
}

#[test]
fn a_value_that_its_key_cannot_have_is_named_with_what_is_expected() {
    let mut cluster = Cluster::format(&Layout::split(1, 1));
    let node = cluster.node_mut(2);
    for line in [
        "node.id=-3",
        "process.roles=observer",
        "log.flush=sometimes",
        "num.partitions=0",
        "broker.session.timeout.ms=soon",
        "controller.quorum.voters=1@localhost",
        "listeners=PLAINTEXT//127.0.0.1:9092",
    ] {
        assert_refused(node, line, &["node.properties:", line, "expected "]);
    }
}

#[test]
fn combinations_that_cannot_work_are_refused_with_the_reason() {
    let mut cluster = Cluster::format(&Layout::split(1, 1));
    let voter = format!("1@127.0.0.1:{}", cluster.node(1).controller_port);
    let node = cluster.node_mut(2);
    let heartbeat = "broker.heartbeat.interval.ms=60000";
    assert_refused(node, heartbeat, &[heartbeat, "must be below broker.session.timeout.ms"]);
    let wait = "replica.fetch.wait.max.ms=60000";
    assert_refused(node, wait, &[wait, "must not be above replica.lag.time.max.ms"]);
    let twice = format!("controller.quorum.voters={voter},{voter}");
    assert_refused(node, &twice, &[&twice, "an id is named twice"]);
    let outside = "listeners=PLAINTEXT://0.0.0.0:0";
    assert_refused(node, outside, &[outside, "allow.plaintext=true"]);
    let stranger = "process.roles=controller";
    assert_refused(node, stranger, &["node.id 2 is a controller and must be among the voters"]);

    let voter = cluster.node_mut(1);
    assert_refused(voter, "process.roles=broker", &["process.roles lacks 'controller'"]);
    assert_refused(voter, "listeners=OTHER://127.0.0.1:0", &["a controller must bind"]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let mut cluster = Cluster::format(&Layout::split(1, 1));
    let node = cluster.node_mut(2);
    let broken = without(&config(node), "node.id") + "log.flush=sometimes\nno.such.key=1\n";
    configure(node, &broken);
    let said = refuses_to_start(node);
    for word in ["node.id is missing", "log.flush=sometimes", "'no.such.key'"] {
        assert!(said.contains(word), "'{word}' is not in:\n{said}");
    }
}

#[test]
fn a_configuration_file_that_is_not_there_is_named() {
    let cluster = Cluster::format(&Layout::split(1, 0));
    let output = cluster.kraft(&["node", "--config", "nowhere.properties"]).output();
    let output = output.expect("kraft runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it started without a configuration");
    assert!(error.contains("nowhere.properties") && error.contains("No such file"), "{error}");
}
