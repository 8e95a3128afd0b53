//! A partition whose leader acknowledges what is on disk, while nobody decides and then nobody leads.

use std::net::SocketAddr;

use kraft_tests::load::{Load, assert_nothing_lost, read_all};
use kraft_tests::{Cluster, Proxy, eventually, wire};

use super::{cabled, impatient, partition, stdout, wait_for_isr};

/// The leader has asked for a smaller ISR, in vain, and asks again.
fn wait_until_unanswered(cluster: &Cluster) {
    eventually("a request for an ISR goes unanswered", || {
        let shown = stdout(&["trace", "show"], &cluster.traces(), "");
        let unanswered = shown.lines().filter(|line| line.contains("Altered {"));
        unanswered.filter(|line| line.contains("answer: None")).count().checked_sub(1)
    });
}

#[test]
fn a_cluster_that_flushes_before_it_acknowledges_replays_to_the_same_digests() {
    let (mut cluster, cables) = cabled(&impatient().set("log.flush", "before-ack"));
    let brokers: Vec<SocketAddr> =
        cluster.brokers().iter().map(|id| cluster.node(*id).address()).collect();
    let code = wire::create_topic(brokers[0], "t", 1, 3, &[("min.insync.replicas", "1")]);
    assert_eq!(code.expect("an answer"), 0);
    wait_for_isr(&brokers, 3);
    let load = Load::start("t", brokers.clone(), 1);
    load.wait_for_more(100);

    let controllers = cluster.controllers();
    controllers.iter().for_each(|id| cluster.node(*id).pause());
    cables.iter().for_each(Proxy::break_off);
    wait_until_unanswered(&cluster);
    controllers.iter().for_each(|id| cluster.node(*id).resume());
    wait_for_isr(&brokers, 1);
    load.wait_for_more(20);

    // It alone has what it has acknowledged since.
    let last = eventually("a leader", || partition(&brokers)).leader;
    cluster.node_mut(last).kill();
    eventually("nobody leads", || {
        let described = brokers.iter().filter_map(|address| wire::describe(*address, "t").ok());
        described.flatten().find(|it| it.leader < 0)
    });
    cables.iter().for_each(Proxy::mend);
    cluster.node_mut(last).start();
    wait_for_isr(&brokers, 3);
    load.wait_for_more(20);

    let acked = load.finish();
    assert_nothing_lost(&acked, &read_all("t", &brokers));
    cluster.assert_traces_replay();
}
