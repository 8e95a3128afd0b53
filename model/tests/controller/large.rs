//! K1: more records than a batch holds go as several, and a controller may fail over between them.

use kraft_model::invariant::metadata::broken;
use kraft_model::limits::MAX_RECORDS_PER_BATCH;
use kraft_model::metadata::{BrokerHeartbeat, NewTopic, Request};
use kraft_model::{BrokerEpoch, NodeId};

use crate::cluster::{Cluster, new_topic};

/// Brokers 1 to 3, in the ISR of more partitions than there are records in a batch.
fn large() -> Cluster {
    let mut cluster = Cluster::new();
    (1..=3).for_each(|id| cluster.start(id));
    for name in ["orders", "payments"] {
        let (partitions, replication_factor) = (Some(5_500), Some(3));
        let topic = NewTopic { partitions, replication_factor, ..new_topic(name) };
        cluster.create_topic(topic).expect("the topic is created");
    }
    cluster
}

/// Of what `ask` leads to the first batch is committed, and then another controller leads.
fn fails_over_in_between(cluster: &mut Cluster, ask: impl Fn(&Cluster) -> Request) {
    let end = cluster.end();
    cluster.batches.clear();
    let request = ask(cluster);
    let id = cluster.send(request);
    assert_eq!(cluster.batches.first(), Some(&MAX_RECORDS_PER_BATCH));
    assert!(cluster.batches.len() > 1, "one batch is no story");
    cluster.commit_some(MAX_RECORDS_PER_BATCH);
    assert_eq!(cluster.reply(id), None, "a part is not the whole");
    cluster.lose_leadership();
    assert_eq!(cluster.end(), end.plus(MAX_RECORDS_PER_BATCH as i64));
    assert_eq!(broken(cluster.controller.committed()), None);
    cluster.lead();
}

fn places_in_isrs(cluster: &Cluster, id: i32) -> usize {
    cluster.image().partitions().filter(|(_, it)| it.isr.contains(&NodeId(id))).count()
}

#[test]
fn a_controlled_shutdown_goes_on_under_the_next_controller() {
    let mut cluster = large();
    let wants_to_stop = |cluster: &Cluster| {
        let (broker, epoch) = (NodeId(1), cluster.epoch_of(1));
        let metadata_offset = cluster.end();
        Request::Heartbeat(BrokerHeartbeat {
            broker,
            epoch,
            metadata_offset,
            want_fence: false,
            want_shutdown: true,
        })
    };
    fails_over_in_between(&mut cluster, wants_to_stop);
    assert!(cluster.is_active(1) && places_in_isrs(&cluster, 1) == 1_000);
    cluster.beat(1, false, true);
    assert_eq!(places_in_isrs(&cluster, 1), 0);
    assert!(!cluster.is_active(1));
}

#[test]
fn a_new_process_takes_over_under_the_next_controller() {
    let mut cluster = large();
    let registers = |cluster: &Cluster| Request::RegisterBroker(cluster.registration(1, 2));
    let before = cluster.epoch_of(1);
    fails_over_in_between(&mut cluster, registers);
    assert_eq!(cluster.epoch_of(1), before, "the old process is registered, and in fewer ISRs");
    let end = cluster.end();
    let epoch = cluster.register(cluster.registration(1, 2)).expect("it is registered");
    assert_eq!(epoch, BrokerEpoch(end.0 + 1_000), "behind the rest of the changes");
    assert_eq!(places_in_isrs(&cluster, 1), 0);
}

#[test]
fn a_broker_goes_for_good_under_the_next_controller() {
    let mut cluster = large();
    fails_over_in_between(&mut cluster, |_| Request::UnregisterBroker { broker: NodeId(1) });
    assert!(cluster.is_active(1) && places_in_isrs(&cluster, 1) == 1_000);
    cluster.ask(Request::UnregisterBroker { broker: NodeId(1) });
    assert_eq!(places_in_isrs(&cluster, 1), 0);
    assert!(cluster.image().broker(NodeId(1)).is_none());
}

#[test]
fn a_session_that_ends_takes_every_isr_with_it() {
    let mut cluster = large();
    cluster.batches.clear();
    cluster.expire(1);
    assert_eq!(cluster.batches, [MAX_RECORDS_PER_BATCH, 1_001]);
    assert_eq!(places_in_isrs(&cluster, 1), 0);
    cluster.batches.clear();
    for id in [2, 3] {
        cluster.expire(id);
    }
    assert!(cluster.image().partitions().all(|(_, it)| it.leader.is_none()));
    cluster.batches.clear();
    cluster.beat(3, false, false);
    assert_eq!(cluster.batches, [MAX_RECORDS_PER_BATCH, 1_001], "unfenced, then elected");
    assert!(cluster.image().partitions().all(|(_, it)| it.leader == Some(NodeId(3))));
}
