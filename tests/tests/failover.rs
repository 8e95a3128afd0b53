//! Brokers die and pause under load: nothing acknowledged is lost, and it is over quickly.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::Instant;

use kraft_tests::load::{Acked, Load, assert_nothing_lost, read_all};
use kraft_tests::producer::{self, Producer};
use kraft_tests::wire::Connection;
use kraft_tests::{Cluster, Layout, Proxy, eventually, wire};
use proto_kafka::messages::ProduceRequest;

fn with_topic(layout: &Layout) -> (Cluster, Vec<SocketAddr>) {
    let cluster = Cluster::start(&layout.clone().traced());
    let brokers: Vec<SocketAddr> =
        cluster.brokers().iter().map(|id| cluster.node(*id).address()).collect();
    let code = wire::create_topic(brokers[0], "t", 1, 3, &[("min.insync.replicas", "2")]);
    assert_eq!(code.expect("an answer"), 0);
    wait_for_isr(&brokers, 3);
    (cluster, brokers)
}

/// Waits until some broker of `asked` says that the ISR has `size` members.
fn wait_for_isr(asked: &[SocketAddr], size: usize) {
    eventually(&format!("the ISR has {size} members"), || {
        asked.iter().find(|address| {
            wire::describe(**address, "t").is_ok_and(|found| {
                found.first().is_some_and(|p| p.isr.len() == size && p.leader >= 0)
            })
        })
    });
}

fn leader(brokers: &[SocketAddr]) -> i32 {
    eventually("the partition has a leader", || {
        brokers.iter().find_map(|address| {
            let found = wire::describe(*address, "t").ok()?;
            found.first().map(|p| p.leader).filter(|leader| *leader >= 0)
        })
    })
}

fn survivors(cluster: &Cluster, victim: i32) -> Vec<SocketAddr> {
    let ids = cluster.brokers().into_iter().filter(|id| *id != victim);
    ids.map(|id| cluster.node(id).address()).collect()
}

#[test]
fn killing_the_leader_under_load_loses_nothing_and_the_isr_grows_back() {
    let (mut cluster, brokers) = with_topic(&Layout::split(3, 3));
    let load = Load::start("t", brokers.clone(), 1);
    load.wait_for_more(100);
    for _ in 0..2 {
        let victim = leader(&brokers);
        cluster.node_mut(victim).kill();
        wait_for_isr(&survivors(&cluster, victim), 2);
        load.wait_for_more(100);
        cluster.node_mut(victim).start();
        wait_for_isr(&brokers, 3);
        load.wait_for_more(50);
    }
    let acked = load.finish();
    assert_nothing_lost(&acked, &read_all("t", &brokers));
    cluster.assert_traces_replay();
}

#[test]
fn killing_a_follower_under_load_loses_nothing() {
    let (mut cluster, brokers) = with_topic(&Layout::split(3, 3));
    let load = Load::start("t", brokers.clone(), 1);
    load.wait_for_more(100);
    let led_by = leader(&brokers);
    let victim = *cluster.brokers().iter().find(|id| **id != led_by).expect("a follower");
    cluster.node_mut(victim).kill();
    load.wait_for_more(100);
    wait_for_isr(&survivors(&cluster, victim), 2);
    cluster.node_mut(victim).start();
    wait_for_isr(&brokers, 3);
    let acked = load.finish();
    assert_nothing_lost(&acked, &read_all("t", &brokers));
    cluster.assert_traces_replay();
}

#[test]
fn a_leader_that_is_told_to_stop_hands_over_and_exits_cleanly() {
    let (mut cluster, brokers) = with_topic(&Layout::split(3, 3));
    let load = Load::start("t", brokers.clone(), 1);
    load.wait_for_more(100);
    let victim = leader(&brokers);
    cluster.node_mut(victim).terminate();
    let status = cluster.node_mut(victim).wait_for_end();
    assert!(status.success(), "an orderly stop exits with 0, not {status}");
    load.wait_for_more(100);
    cluster.node_mut(victim).start();
    wait_for_isr(&brokers, 3);
    let acked = load.finish();
    assert_nothing_lost(&acked, &read_all("t", &brokers));
    cluster.assert_traces_replay();
}

#[test]
fn killing_a_combined_node_that_leads_both_loses_nothing() {
    let (mut cluster, brokers) = with_topic(&Layout::combined(3));
    let load = Load::start("t", brokers.clone(), 1);
    load.wait_for_more(100);
    let victim = eventually("a controller is active", || cluster.active_controller());
    cluster.node_mut(victim).kill();
    load.wait_for_more(100);
    wait_for_isr(&survivors(&cluster, victim), 2);
    cluster.node_mut(victim).start();
    wait_for_isr(&brokers, 3);
    let acked = load.finish();
    assert_nothing_lost(&acked, &read_all("t", &brokers));
    cluster.assert_traces_replay();
}

#[test]
fn a_paused_leader_is_fenced_and_acknowledges_nothing_that_the_new_one_lacks() {
    let layout = Layout::split(3, 3)
        .set("broker.session.timeout.ms", "1000")
        .set("broker.heartbeat.interval.ms", "300");
    let (mut cluster, brokers) = with_topic(&layout);
    let load = Load::start("t", brokers.clone(), 1);
    load.wait_for_more(100);
    let victim = leader(&brokers);
    let mut stale = Connection::open(cluster.node(victim).address()).expect("it runs");
    let paused_at = Instant::now();
    cluster.node_mut(victim).pause();
    // Written to a leader that sleeps: it reads this first thing when it wakes, knowing of no other.
    let value = b"to the paused leader".to_vec();
    let batch = producer::batch(&[&value], Producer::NONE);
    let request = wire::produce_request("t", 0, -1, batch);
    stale.send(wire::PRODUCE_VERSION, &request).expect("the socket takes it");
    let others = survivors(&cluster, victim);
    eventually("another broker leads", || {
        let found = wire::describe(others[0], "t").ok()?;
        found.first().filter(|p| p.leader >= 0 && p.leader != victim).map(drop)
    });
    assert!(paused_at.elapsed().as_millis() >= 500, "fenced before the session was over");
    load.wait_for_more(100);
    cluster.node_mut(victim).resume();
    let answer = stale.receive::<ProduceRequest>(wire::PRODUCE_VERSION);
    let (code, offset) = wire::produced(&answer.expect("an answer")).expect("one partition");
    load.wait_for_more(100);
    wait_for_isr(&brokers, 3);
    let mut acked = load.finish();
    if code == 0 {
        acked.push(Acked { value, offset, at: Instant::now() });
    }
    assert_nothing_lost(&acked, &read_all("t", &brokers));
    cluster.assert_traces_replay();
}

/// One proxy in front of each controller, for one broker alone.
fn put_proxies_before_controllers(cluster: &Cluster, broker: i32) -> Vec<Proxy> {
    let path = cluster.node(broker).config_path();
    let mut config = fs::read_to_string(&path).expect("its configuration");
    let controllers = cluster.controllers();
    let proxies = controllers.iter().map(|id| {
        let target = cluster.node(*id).controller_address();
        let proxy = Proxy::to(target);
        config = config.replace(&target.to_string(), &proxy.address().to_string());
        proxy
    });
    let proxies = proxies.collect();
    fs::write(path, config).expect("its configuration");
    proxies
}

#[test]
fn cutting_the_controller_links_of_a_healthy_leader_a_hundred_times_fences_nobody() {
    let mut cluster = Cluster::format(&Layout::split(3, 3).traced());
    let ids: Vec<i32> = cluster.nodes().map(|node| node.id).collect();
    let proxies: BTreeMap<i32, Vec<Proxy>> = cluster
        .brokers()
        .into_iter()
        .map(|id| (id, put_proxies_before_controllers(&cluster, id)))
        .collect();
    ids.iter().for_each(|id| cluster.node_mut(*id).start());
    cluster.wait_until_ready();
    let brokers: Vec<SocketAddr> =
        cluster.brokers().iter().map(|id| cluster.node(*id).address()).collect();
    let code = wire::create_topic(brokers[0], "t", 1, 3, &[("min.insync.replicas", "2")]);
    assert_eq!(code.expect("an answer"), 0);
    let load = Load::start("t", brokers.clone(), 1);
    load.wait_for_more(100);
    let before = wire::describe(brokers[0], "t").expect("an answer");
    let cut = &proxies[&before[0].leader];
    for _ in 0..100 {
        let accepted: Vec<usize> = cut.iter().map(Proxy::accepted).collect();
        cut.iter().for_each(Proxy::cut);
        eventually("the leader has its links again", || {
            cut.iter()
                .zip(&accepted)
                .all(|(proxy, before)| proxy.accepted() > *before)
                .then_some(())
        });
    }
    // A decision of the controllers after the last cut shows that the earlier ones were all seen.
    assert_eq!(wire::create_topic(brokers[0], "after", 1, 3, &[]).expect("an answer"), 0);
    load.wait_for_more(100);
    assert_eq!(wire::describe(brokers[0], "t").expect("an answer"), before);
    for id in cluster.controllers() {
        let log = cluster.node(id).log();
        assert!(!log.contains("broker was fenced"), "controller {id} fenced a broker:\n{log}");
    }
    assert_nothing_lost(&load.finish(), &read_all("t", &brokers));
    cluster.assert_traces_replay();
}
