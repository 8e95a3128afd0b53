//! What an operator does to a topic: its settings, its leader, its replicas, a broker that is gone.

use std::net::SocketAddr;

use kraft_tests::wire::{self, Connection, topic_name};
use kraft_tests::{Cluster, eventually};
use proto_kafka::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use proto_kafka::messages::elect_leaders_request::TopicPartitions;
use proto_kafka::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, ElectLeadersRequest, UnregisterBrokerRequest,
};

/// The topic that is operated on, of one partition.
const TOPIC: &str = "operated";

/// Brokers that clients reach here.
struct Operator<'a> {
    cluster: &'a mut Cluster,
    brokers: Vec<(i32, SocketAddr)>,
}

impl Operator<'_> {
    /// Any broker that runs, or one that is not this one.
    fn connect(&self) -> Option<Connection> {
        let running = self.brokers.iter().filter(|(id, _)| self.cluster.node(*id).is_running());
        running.map(|(_, address)| *address).find_map(|address| Connection::open(address).ok())
    }

    fn partition(&self) -> Option<wire::Partition> {
        let running = self.brokers.iter().filter(|(id, _)| self.cluster.node(*id).is_running());
        running.filter_map(|(_, address)| wire::describe(*address, TOPIC).ok()?.pop()).next()
    }

    fn wait_for(&self, what: &str, is: impl Fn(&wire::Partition) -> bool) -> wire::Partition {
        eventually(what, || self.partition().filter(|found| is(found)))
    }

    fn set_min_isr(&self, value: i32) {
        let set = format!("min.insync.replicas={value}");
        let mut command = self.cluster.kraft(&["topics", "alter", TOPIC, "--set", &set]);
        command.args(["--bootstrap-server", &self.cluster.bootstrap()]);
        let output = command.output().expect("kraft runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// `None` cancels.
    fn reassign(&self, replicas: Option<&[i32]>) {
        let replicas = replicas.map(|ids| ids.iter().map(|id| BrokerId(*id)).collect());
        let partition =
            ReassignablePartition::default().with_partition_index(0).with_replicas(replicas);
        let topic = ReassignableTopic::default()
            .with_name(topic_name(TOPIC))
            .with_partitions(vec![partition]);
        let request = AlterPartitionReassignmentsRequest::default()
            .with_timeout_ms(5_000)
            .with_topics(vec![topic]);
        eventually("the reassignment is accepted", || {
            let answer = self.connect()?.call(0, &request).ok()?;
            (answer.error_code == 0 && answer.responses[0].partitions[0].error_code == 0)
                .then_some(())
        });
    }

    fn prefer(&self) {
        let topic =
            TopicPartitions::default().with_topic(topic_name(TOPIC)).with_partitions(vec![0]);
        let request = ElectLeadersRequest::default()
            .with_topic_partitions(Some(vec![topic]))
            .with_timeout_ms(5_000);
        eventually("the preferred leader is elected", || {
            let answer = self.connect()?.call(1, &request).ok()?;
            let result = answer.replica_election_results.first()?.partition_result.first()?;
            (answer.error_code == 0 && result.error_code == 0).then_some(())
        });
    }

    fn unregister(&self, broker: i32) {
        /// BROKER_ID_NOT_REGISTERED: an answer was lost before.
        const DONE: i16 = 102;
        let request = UnregisterBrokerRequest::default().with_broker_id(BrokerId(broker));
        eventually("the broker is unregistered", || {
            let answer = self.connect()?.call(0, &request).ok()?;
            [0, DONE].contains(&answer.error_code).then_some(())
        });
    }
}

/// Everything once, on a topic of its own with two of the three brokers as replicas. One of the
/// brokers is gone afterwards.
pub fn operate(cluster: &mut Cluster) {
    let brokers: Vec<(i32, SocketAddr)> =
        cluster.brokers().iter().map(|id| (*id, cluster.node(*id).address())).collect();
    let all: Vec<i32> = brokers.iter().map(|(id, _)| *id).collect();
    let operator = Operator { cluster, brokers };
    let code = wire::create_topic(operator.brokers[0].1, TOPIC, 1, 2, &[]);
    assert_eq!(code.expect("an answer"), 0);
    let first = operator.wait_for("both replicas are in", |it| it.isr.len() == 2).replicas;
    let third = *all.iter().find(|id| !first.contains(id)).expect("three brokers");

    operator.set_min_isr(2);
    operator.set_min_isr(1);

    // The preferred leader steps down, comes back, and leads again.
    operator.cluster.node_mut(first[0]).terminate();
    operator.cluster.node_mut(first[0]).wait_for_end();
    operator.wait_for("the other one leads", |it| it.leader == first[1]);
    operator.cluster.node_mut(first[0]).start();
    operator.wait_for("both replicas are in again", |it| it.isr.len() == 2);
    operator.prefer();
    operator.wait_for("the preferred one leads", |it| it.leader == first[0]);

    let moved = [first[0], third];
    operator.reassign(Some(&moved));
    operator.wait_for("the replicas have moved", |it| {
        it.replicas == moved && it.isr.len() == 2 && it.isr.contains(&third)
    });

    // Whom it would move to is gone: it cannot end, and is called off.
    operator.cluster.node_mut(first[1]).kill();
    operator.reassign(Some(&[first[0], first[1]]));
    operator.wait_for("it is on its way", |it| it.replicas.len() == 3);
    operator.reassign(None);
    operator.wait_for("it is called off", |it| it.replicas == moved);
    operator.unregister(first[1]);
}
