//! Brokers die and pause under load: nothing acknowledged is lost, and it is over quickly.

use std::net::SocketAddr;
use std::time::Instant;

use kraft_tests::load::{Load, assert_nothing_lost, read_all};
use kraft_tests::{Cluster, Layout, eventually, wire};

fn with_topic(layout: &Layout) -> (Cluster, Vec<SocketAddr>) {
    let cluster = Cluster::start(layout);
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
}

#[test]
fn killing_every_process_at_once_loses_nothing_that_was_acknowledged() {
    let (mut cluster, brokers) = with_topic(&Layout::split(3, 3));
    let load = Load::start("t", brokers.clone(), 1);
    load.wait_for_more(200);
    let ids: Vec<i32> = cluster.nodes().map(|node| node.id).collect();
    ids.iter().for_each(|id| cluster.node_mut(*id).kill_now());
    ids.iter().for_each(|id| cluster.node_mut(*id).kill());
    ids.iter().for_each(|id| cluster.node_mut(*id).start());
    wait_for_isr(&brokers, 3);
    load.wait_for_more(50);
    let acked = load.finish();
    assert_nothing_lost(&acked, &read_all("t", &brokers));
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
    let paused_at = Instant::now();
    cluster.node_mut(victim).pause();
    let others = survivors(&cluster, victim);
    eventually("another broker leads", || {
        let found = wire::describe(others[0], "t").ok()?;
        found.first().filter(|p| p.leader >= 0 && p.leader != victim).map(drop)
    });
    assert!(paused_at.elapsed().as_millis() >= 500, "fenced before the session was over");
    // A second producer that only knows the paused leader: whatever it is told is judged below.
    let stale = Load::start("t", others.clone(), 2);
    cluster.node_mut(victim).resume();
    load.wait_for_more(100);
    stale.wait_for_more(10);
    wait_for_isr(&brokers, 3);
    let acked = load.finish();
    drop(stale);
    let log: Vec<_> = read_all("t", &brokers);
    for ack in &acked {
        let found = log.iter().find(|(offset, _)| *offset == ack.offset);
        assert_eq!(found.map(|(_, value)| value), Some(&ack.value), "offset {}", ack.offset);
    }
}
