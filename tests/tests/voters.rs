//! Who votes is changed while everything runs (KIP-853): the quorum grows, shrinks, loses its
//! leader and a disk, and keeps what it committed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use kraft_tests::load::{Load, assert_nothing_lost, read_all};
use kraft_tests::quorum::{quorum, through_brokers, wait_for_voters};
use kraft_tests::{Cluster, Layout, eventually, wire};
use serde_json::Value;

/// Creates one topic after the other until it is told to stop; remembers those that were created.
struct Creations {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Creations {
    fn start(brokers: Vec<SocketAddr>) -> Creations {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || {
                let mut created = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let (name, at) = (format!("topic-{number}"), brokers[number % brokers.len()]);
                    if wire::create_topic(at, &name, 1, 1, &[]).is_ok_and(|code| code == 0) {
                        created.push(name);
                    }
                }
                created
            }
        });
        Creations { stop, thread }
    }

    fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")
    }
}

/// The directory id of the node, as the leader shows it, and whether it votes with it.
fn replica(cluster: &Cluster, id: i64) -> Vec<(String, bool)> {
    let replicas = quorum(cluster, &["replicas"]).unwrap_or(Value::Null);
    let all = replicas.as_array().cloned().unwrap_or_default();
    let of_node = all.iter().filter(|replica| replica["id"] == id);
    let shown = of_node.map(|replica| {
        let directory = replica["directory_id"].as_str().unwrap_or_default();
        (directory.to_owned(), replica["status"] != "observer")
    });
    shown.collect()
}

/// How often any node has become the active controller.
fn times_led(cluster: &Cluster) -> usize {
    cluster.nodes().map(|node| node.log().matches("the controller here is active").count()).sum()
}

fn brokers(cluster: &Cluster) -> Vec<SocketAddr> {
    cluster.brokers().iter().map(|id| cluster.node(*id).address()).collect()
}

#[test]
fn a_quorum_grows_to_five_and_shrinks_to_three_others_under_load() {
    let mut cluster = Cluster::start(&Layout::dynamic(3, 3, 2).traced());
    let brokers = brokers(&cluster);
    let code = wire::create_topic(brokers[0], "t", 1, 3, &[("min.insync.replicas", "2")]);
    assert_eq!(code.expect("an answer"), 0);
    let load = Load::start("t", brokers.clone(), 1);
    let creations = Creations::start(brokers.clone());
    load.wait_for_more(50);

    for spare in [7, 8] {
        cluster.node_mut(spare).start();
    }
    through_brokers(&cluster, &["add-voter", "7"]).expect("node 7 joins");
    quorum(&cluster, &["add-voter", "8"]).expect("node 8 joins");
    wait_for_voters(&cluster, &[1, 2, 3, 7, 8]);
    load.wait_for_more(50);

    // The leader goes first, of its own accord, and then another one of the old.
    let leader = eventually("a leader is known", || cluster.active_controller());
    let others = [1, 2, 3].into_iter().filter(|id| *id != leader).collect::<Vec<_>>();
    quorum(&cluster, &["remove-voter", &leader.to_string()]).expect("the leader can be removed");
    let second =
        eventually("another leader", || cluster.active_controller().filter(|now| *now != leader));
    assert_ne!(second, leader);
    cluster.node_mut(leader).kill();
    let (gone, kept) = (others[0], others[1]);
    through_brokers(&cluster, &["remove-voter", &gone.to_string()]).expect("it can be removed");
    cluster.node_mut(gone).kill();
    let last = [i64::from(kept), 7, 8];
    wait_for_voters(&cluster, &last);
    load.wait_for_more(50);

    // Of the first three none is needed any more.
    cluster.node_mut(kept).kill();
    eventually("the new ones go on", || {
        wire::create_topic(brokers[0], "after", 1, 1, &[]).ok().filter(|code| *code == 0)
    });
    load.wait_for_more(50);
    let created = creations.finish();
    let acked = load.finish();

    let running: Vec<i32> = [7, 8].into_iter().chain(cluster.brokers()).chain([kept]).collect();
    for &id in &running {
        cluster.node_mut(id).kill();
    }
    for &id in &running {
        cluster.node_mut(id).start();
    }
    cluster.wait_until_ready();
    wait_for_voters(&cluster, &last);
    assert!(!created.is_empty(), "topics were created meanwhile");
    for topic in created.iter().map(String::as_str).chain(["after"]) {
        eventually(&format!("{topic} is there"), || {
            wire::describe(brokers[0], topic).ok().filter(|found| found.len() == 1)
        });
    }
    assert_nothing_lost(&acked, &read_all("t", &brokers));
    cluster.assert_traces_replay();
}

#[test]
fn a_voter_on_a_new_disk_cannot_vote_until_it_is_removed_and_added() {
    let mut cluster = Cluster::start(&Layout::dynamic(3, 1, 0));
    let broker = brokers(&cluster)[0];
    let leader = eventually("a leader is known", || cluster.active_controller());
    let followers: Vec<i32> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    let (wiped, other) = (followers[0], followers[1]);
    let old = eventually("it votes", || replica(&cluster, i64::from(wiped)).pop()).0;

    cluster.node_mut(wiped).kill();
    let cluster_id = cluster.cluster_id.clone();
    cluster.node(wiped).replace_disk(&cluster_id, &["--no-initial-controllers"]);
    cluster.node_mut(wiped).start();
    let new = eventually("it follows as an observer beside the voter that it was", || {
        let shown = replica(&cluster, i64::from(wiped));
        let observer = shown.iter().find(|(directory, votes)| *directory != old && !votes)?;
        shown.contains(&(old.clone(), true)).then(|| observer.0.clone())
    });
    let added = quorum(&cluster, &["add-voter", &wiped.to_string()]);
    let refusal = added.expect_err("its id votes with another directory");
    assert!(refusal.contains(&format!("remove-voter {wiped} --directory-id {old}")), "{refusal}");

    // Without the third one it would take the wiped one's vote to elect anybody: a creation waits
    // for that in vain, for many times the length of an election.
    let led = times_led(&cluster);
    cluster.node_mut(leader).kill();
    let created = wire::create_topic(broker, "minority", 1, 1, &[]);
    assert_ne!(created.ok(), Some(0), "metadata changed without a majority of the voters");
    assert_eq!(times_led(&cluster), led, "a vote was given twice: one of {wiped}, {other} leads");

    cluster.node_mut(leader).start();
    eventually("a leader is elected", || cluster.active_controller());
    quorum(&cluster, &["remove-voter", &wiped.to_string()]).expect("the old disk is removed");
    let added = quorum(&cluster, &["add-voter", &wiped.to_string()]).expect("the new one is added");
    assert_eq!(added["directory_id"], new.as_str());
    wait_for_voters(&cluster, &[1, 2, 3]);
    cluster.node_mut(leader).kill();
    eventually("now its vote counts", || {
        wire::create_topic(broker, "majority", 1, 1, &[]).ok().filter(|code| *code == 0)
    });
}

#[test]
fn a_standalone_controller_grows_to_three() {
    let mut cluster = Cluster::start(&Layout::dynamic(1, 1, 2).traced());
    let broker = quorum(&cluster, &["add-voter", "2", "--endpoint", "127.0.0.1:1"]);
    let refusal = broker.expect_err("a broker could be elected and could not act");
    assert!(refusal.contains("no controller"), "{refusal}");
    for id in [3, 4] {
        cluster.node_mut(id).start();
        let added = quorum(&cluster, &["add-voter", &id.to_string()]).expect("it joins");
        assert_eq!(added["id"], id);
    }
    wait_for_voters(&cluster, &[1, 3, 4]);
    cluster.node_mut(1).kill();
    let broker = brokers(&cluster)[0];
    eventually("the two that joined go on", || {
        wire::create_topic(broker, "t", 1, 1, &[]).ok().filter(|code| *code == 0)
    });
    cluster.assert_traces_replay();
}

#[test]
fn a_static_quorum_says_why_it_cannot_be_changed() {
    let cluster = Cluster::start(&Layout::split(1, 1));
    for refusal in [
        quorum(&cluster, &["remove-voter", "1"]),
        through_brokers(&cluster, &["remove-voter", "1"]),
    ] {
        let text = refusal.expect_err("its voters are configured");
        assert!(text.contains("UNSUPPORTED_VERSION") && text.contains("static"), "{text}");
    }
    let broker = quorum(&cluster, &["add-voter", "2"]).expect_err("node 2 is a broker");
    assert!(broker.contains("no controller"), "{broker}");
}
