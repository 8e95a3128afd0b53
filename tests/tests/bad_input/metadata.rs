//! A metadata log that is torn or damaged: a voter must not vote by it, and a broker not serve by it.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use kraft_tests::{Cluster, Layout, Node, eventually, wire};

use crate::wait_for_line;

const TOPICS: usize = 12;

fn with_topics() -> (Cluster, SocketAddr) {
    let cluster = Cluster::start(&Layout::split(3, 1));
    let broker = cluster.node(4).address();
    for number in 0..TOPICS {
        let created = wire::create_topic(broker, &format!("kept-{number}"), 1, 1, &[]);
        assert_eq!(created.expect("an answer"), 0);
    }
    (cluster, broker)
}

fn assert_topics_are_there(broker: SocketAddr) {
    for number in 0..TOPICS {
        let name = format!("kept-{number}");
        eventually(&format!("{name} is served"), || {
            let found = wire::describe(broker, &name).ok()?;
            found.first().filter(|p| p.error == 0 && p.leader >= 0).map(drop)
        });
    }
}

fn segment(node: &Node) -> PathBuf {
    node.data_dir().join("__cluster_metadata-0/00000000000000000000.log")
}

/// Flips a bit in the record of a topic that was created and has others behind it.
fn damage(node: &Node) {
    let path = segment(node);
    let mut bytes = fs::read(&path).expect("a metadata log");
    let name = b"kept-5";
    let at = bytes.windows(name.len()).position(|window| window == name);
    bytes[at.expect("the topic's record")] ^= 0x20;
    fs::write(&path, bytes).expect("the node is dead");
}

/// Kills one of the controllers that are well, so that nothing is decided without `mended`, and
/// has something decided.
fn assert_votes_again(cluster: &mut Cluster, mended: i32, broker: SocketAddr) {
    let other = cluster.controllers().into_iter().find(|id| *id != mended);
    cluster.node_mut(other.expect("three controllers")).kill();
    eventually("a topic is created with the mended voter's help", || {
        wire::create_topic(broker, "after", 1, 1, &[]).ok().filter(|code| *code == 0)
    });
    assert_topics_are_there(broker);
}

#[test]
fn a_damaged_active_controller_refetches_its_log_before_it_votes_again() {
    let (mut cluster, broker) = with_topics();
    let victim = eventually("a controller is active", || cluster.active_controller());
    cluster.node_mut(victim).kill();
    damage(cluster.node(victim));
    cluster.node_mut(victim).start();
    let victim_node = cluster.node(victim);
    wait_for_line(victim_node, &["ERROR", "the metadata log is damaged", "refetches before"]);
    wait_for_line(victim_node, &["the metadata log was damaged and is whole again"]);
    assert_votes_again(&mut cluster, victim, broker);
}

#[test]
fn a_torn_end_of_a_controllers_log_is_cut_off() {
    let (mut cluster, broker) = with_topics();
    let active = eventually("a controller is active", || cluster.active_controller());
    let victim = cluster.controllers().into_iter().find(|id| *id != active).expect("a follower");
    cluster.node_mut(victim).kill();
    let path = segment(cluster.node(victim));
    let front = fs::read(&path).expect("a metadata log")[..40].to_vec();
    let mut file = File::options().append(true).open(&path).expect("the node is dead");
    file.write_all(&front).expect("room");
    cluster.node_mut(victim).start();
    let words = ["WARN", "torn tail of the metadata log", "bytes=40"];
    wait_for_line(cluster.node(victim), &words);
    assert_votes_again(&mut cluster, victim, broker);
}

#[test]
fn a_broker_with_a_damaged_metadata_log_fetches_it_again_and_serves() {
    let (mut cluster, broker) = with_topics();
    cluster.node_mut(4).kill();
    damage(cluster.node(4));
    let before = cluster.node(4).log().matches("serves clients").count();
    cluster.node_mut(4).start();
    wait_for_line(cluster.node(4), &["ERROR", "the metadata log is damaged"]);
    eventually("the broker serves again", || {
        (cluster.node(4).log().matches("serves clients").count() > before).then_some(())
    });
    assert_topics_are_there(broker);
}
