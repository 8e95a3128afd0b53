//! What a client's connection is good for, however it is used.

use std::net::SocketAddr;

use kraft_tests::producer::{Producer, batch, values};
use kraft_tests::wire::{self, Connection, PRODUCE_VERSION, produce_request};
use kraft_tests::{Cluster, Layout, eventually};
use proto_kafka::messages::fetch_request::{FetchPartition, FetchTopic};
use proto_kafka::messages::{BrokerId, FetchRequest};

fn start() -> (Cluster, SocketAddr) {
    let cluster = Cluster::start(&Layout::combined(1).set("num.io.threads", "2"));
    let broker = cluster.node(1).address();
    assert_eq!(wire::create_topic(broker, "t", 4, 1, &[]).expect("an answer"), 0);
    (cluster, broker)
}

fn one(value: &str) -> bytes::Bytes {
    batch(&[value.as_bytes()], Producer::NONE)
}

#[test]
fn who_wants_no_acknowledgement_keeps_its_connection_and_every_record() {
    let (_cluster, broker) = start();
    let mut connection = Connection::open(broker).expect("it listens");
    for number in 0..50 {
        let request = produce_request("t", number % 4, 0, one("x"));
        connection.send(PRODUCE_VERSION, &request).expect("it is sent");
    }
    for partition in 0..4 {
        let (error, _, records) = wire::fetch(&mut connection, "t", partition, 0).expect("answers");
        assert_eq!((error, values(&records).len()), (0, if partition < 2 { 13 } else { 12 }));
    }
}

#[test]
fn who_wants_no_acknowledgement_of_what_is_refused_is_told_by_the_end_of_its_connection() {
    let (_cluster, broker) = start();
    let mut connection = Connection::open(broker).expect("it listens");
    let request = produce_request("nowhere", 0, 0, one("x"));
    connection.send(PRODUCE_VERSION, &request).expect("it is sent");
    assert!(wire::latest_offset(&mut connection, "t", 0).is_err());
}

#[test]
fn a_fetch_that_has_no_room_gets_one_batch_all_the_same() {
    let (_cluster, broker) = start();
    let mut connection = Connection::open(broker).expect("it listens");
    for partition in 0..4 {
        wire::produce(&mut connection, "t", partition, -1, one("x")).expect("an answer");
    }
    let partition =
        |index| FetchPartition::default().with_partition(index).with_partition_max_bytes(1);
    let topic = FetchTopic::default()
        .with_topic(wire::topic_name("t"))
        .with_partitions((0..4).map(partition).collect());
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(100)
        .with_max_bytes(1)
        .with_topics(vec![topic]);
    eventually("a record is read", || {
        let response = connection.call(11, &request).ok()?;
        let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
        let records = partitions.filter_map(|partition| partition.records.as_ref());
        records.map(|records| records.len()).max().filter(|size| *size > 0)
    });
}

/// The directory of its first partition would be that of the metadata log.
#[test]
fn nobody_makes_a_topic_of_the_metadata_logs_name() {
    /// INVALID_TOPIC_EXCEPTION
    const INVALID: i16 = 17;
    let (mut cluster, broker) = start();
    let name = "__cluster_metadata";
    assert_eq!(wire::create_topic(broker, name, 1, 1, &[]).expect("an answer"), INVALID);
    cluster.node_mut(1).kill();
    cluster.node_mut(1).start();
    eventually("what was created is there", || {
        wire::describe(broker, "t").ok().filter(|partitions| partitions.len() == 4)
    });
}
