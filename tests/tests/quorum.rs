//! The controller quorum as processes: it forms, survives, and keeps what it committed.

use kraft_tests::{Cluster, Layout, eventually, wire};

#[test]
fn three_controllers_elect_a_leader_and_another_one_when_it_is_killed() {
    let mut cluster = Cluster::start(&Layout::split(3, 0));
    let first = eventually("a leader is elected", || cluster.active_controller());
    cluster.node_mut(first).kill();
    let second = eventually("another leader is elected", || {
        cluster.active_controller().filter(|leader| *leader != first)
    });
    assert_ne!(first, second);
}

#[test]
fn a_killed_active_controller_is_replaced_and_every_topic_is_still_there() {
    let mut cluster = Cluster::start(&Layout::split(3, 1));
    let broker = cluster.node(4).address();
    assert_eq!(wire::create_topic(broker, "before", 1, 1, &[]).expect("an answer"), 0);
    let leader = eventually("a leader is known", || cluster.active_controller());
    cluster.node_mut(leader).kill();
    assert_eq!(wire::create_topic(broker, "after", 1, 1, &[]).expect("an answer"), 0);
    for topic in ["before", "after"] {
        let partitions = wire::describe(broker, topic).expect("an answer");
        assert_eq!(partitions.len(), 1, "{topic} is there");
    }
}

#[test]
fn with_two_of_three_controllers_dead_metadata_waits_and_data_flows() {
    let mut cluster = Cluster::start(&Layout::split(3, 1));
    let broker = cluster.node(4).address();
    assert_eq!(wire::create_topic(broker, "data", 1, 1, &[]).expect("an answer"), 0);
    for id in [1, 2] {
        cluster.node_mut(id).kill();
    }
    let load = kraft_tests::load::Load::start("data", vec![broker], 7);
    load.wait_for_more(100);
    let waiting = std::thread::spawn(move || wire::create_topic(broker, "late", 1, 1, &[]));
    load.wait_for_more(100);
    assert!(!waiting.is_finished(), "a creation was answered without a majority");
    cluster.node_mut(1).start();
    let answer = waiting.join().expect("no panic");
    if answer.ok() != Some(0) {
        // The first request may have run out of time; the next one must not.
        eventually("a topic can be created again", || {
            wire::create_topic(broker, "later", 1, 1, &[]).ok().filter(|code| *code == 0)
        });
    }
    let acked = load.finish();
    let log = kraft_tests::load::read_all("data", &[broker]);
    kraft_tests::load::assert_nothing_lost(&acked, &log);
}
