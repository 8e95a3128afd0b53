//! Every process dies at once, while records are written and topics are made: whatever comes back
//! first, all that was acknowledged is there.
//!
//! After a kill the brokers know that nothing they wrote is gone, and any of them may lead. After a
//! power failure they know no such thing; a test cannot pull the plug, but it can take from them
//! what tells the one from the other.

use std::fs;
use std::net::SocketAddr;

use kraft_tests::load::{Load, assert_nothing_lost, read_all};
use kraft_tests::{Cluster, Layout, eventually, wire};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Death {
    Kill,
    PowerFailure,
}

use Death::{Kill, PowerFailure};

/// A cluster under load, the topics that it acknowledged, and the deaths that it survived.
struct Stage {
    cluster: Cluster,
    brokers: Vec<SocketAddr>,
    load: Load,
    topics: Vec<String>,
}

impl Stage {
    fn new() -> Stage {
        let cluster = Cluster::start(&Layout::split(3, 3).traced());
        let brokers: Vec<SocketAddr> =
            cluster.brokers().iter().map(|id| cluster.node(*id).address()).collect();
        let code = wire::create_topic(brokers[0], "t", 1, 3, &[("min.insync.replicas", "2")]);
        assert_eq!(code.expect("an answer"), 0);
        let load = Load::start("t", brokers.clone(), 1);
        let stage = Stage { cluster, brokers, load, topics: Vec::new() };
        stage.wait_for_isr(3);
        stage
    }

    fn wait_for_isr(&self, size: usize) {
        eventually(&format!("the ISR has {size} members"), || {
            self.brokers.iter().find(|address| {
                wire::describe(**address, "t").is_ok_and(|found| {
                    found.first().is_some_and(|p| p.isr.len() == size && p.leader >= 0)
                })
            })
        });
    }

    /// kill -9 of every process at once, in the middle of everything, after one more topic was
    /// acknowledged.
    fn end_everything(&mut self, death: Death) {
        self.load.wait_for_more(100);
        let topic = format!("topic-{}", self.topics.len());
        assert_eq!(wire::create_topic(self.brokers[0], &topic, 1, 3, &[]).expect("an answer"), 0);
        self.topics.push(topic);
        let ids: Vec<i32> = self.cluster.nodes().map(|node| node.id).collect();
        ids.iter().for_each(|id| self.cluster.node_mut(*id).kill_now());
        ids.iter().for_each(|id| self.cluster.node_mut(*id).kill());
        if death == PowerFailure {
            for id in self.cluster.brokers() {
                let session = self.cluster.node(id).data_dir().join(".kraft_session");
                fs::remove_file(session).expect("a broker notes its registration");
            }
        }
    }

    fn start_controllers(&mut self) {
        for id in self.cluster.controllers() {
            self.cluster.node_mut(id).start();
        }
    }

    /// Starts a broker and waits until it serves clients: it is registered and unfenced then.
    fn start_broker(&mut self, id: i32) {
        self.cluster.node_mut(id).start();
        let address = self.cluster.node(id).address();
        eventually(&format!("broker {id} lists itself"), || {
            wire::brokers(address).ok()?.iter().find(|broker| broker.0 == id).map(drop)
        });
    }

    /// Starts all brokers but one, one after the other.
    fn start_brokers_without(&mut self, missing: i32) {
        for id in self.cluster.brokers().into_iter().filter(|id| *id != missing) {
            self.start_broker(id);
        }
    }

    fn judge(self) {
        let Stage { load, brokers, topics, cluster } = self;
        load.wait_for_more(100);
        let acked = load.finish();
        cluster.assert_traces_replay();
        assert_nothing_lost(&acked, &read_all("t", &brokers));
        let running: Vec<SocketAddr> = cluster
            .brokers()
            .into_iter()
            .filter(|id| cluster.node(*id).is_running())
            .map(|id| cluster.node(id).address())
            .collect();
        for topic in &topics {
            let partitions = wire::describe(running[0], topic).expect("an answer");
            assert_eq!(partitions.len(), 1, "{topic} was acknowledged and is gone");
        }
    }
}

fn in_every_order(death: Death) {
    let mut stage = Stage::new();
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let brokers = stage.cluster.brokers();
        stage.end_everything(death);
        stage.start_controllers();
        for place in order {
            stage.start_broker(brokers[place]);
        }
        stage.wait_for_isr(3);
    }
    stage.judge();
}

#[test]
fn killed_brokers_that_return_in_any_order_lose_nothing() {
    in_every_order(Kill);
}

#[test]
fn brokers_that_return_in_any_order_after_a_power_failure_lose_nothing() {
    in_every_order(PowerFailure);
}

#[test]
fn all_processes_that_return_at_once_lose_nothing() {
    let mut stage = Stage::new();
    for death in [Kill, PowerFailure] {
        stage.end_everything(death);
        let ids: Vec<i32> = stage.cluster.nodes().map(|node| node.id).collect();
        ids.iter().for_each(|id| stage.cluster.node_mut(*id).start());
        stage.wait_for_isr(3);
    }
    stage.judge();
}

#[test]
fn brokers_that_return_before_any_controller_lose_nothing() {
    let mut stage = Stage::new();
    stage.end_everything(Kill);
    for id in stage.cluster.brokers() {
        stage.cluster.node_mut(id).start();
    }
    stage.start_controllers();
    stage.wait_for_isr(3);
    stage.judge();
}

#[test]
fn after_a_kill_any_two_brokers_of_three_serve_everything() {
    let mut stage = Stage::new();
    for missing in stage.cluster.brokers() {
        stage.end_everything(Kill);
        stage.start_controllers();
        stage.start_brokers_without(missing);
        stage.wait_for_isr(2);
        stage.load.wait_for_more(100);
        stage.start_broker(missing);
        stage.wait_for_isr(3);
    }
    stage.judge();
}

#[test]
fn after_a_power_failure_a_broker_that_comes_late_brings_back_everything() {
    let mut stage = Stage::new();
    for missing in stage.cluster.brokers() {
        stage.end_everything(PowerFailure);
        stage.start_controllers();
        stage.start_brokers_without(missing);
        stage.start_broker(missing);
        stage.wait_for_isr(3);
    }
    stage.judge();
}
