//! P1: what a request for topics says, and what it leaves to the controller.

use kraft_model::metadata::{
    ConfigChange, CreatePartitions, NewTopic, Request, ResourceKind, Response,
};
use kraft_model::{ErrorCode, NodeId};

use crate::cluster::{new_topic, nodes};
use crate::topics::{brokers, refusal, set, topic};

fn named(name: &str) -> NewTopic {
    NewTopic { name: name.to_owned(), ..topic(1, 1) }
}

/// Kafka's clients say -1 for what they leave to the controller.
#[test]
fn minus_one_leaves_a_number_to_the_controller_or_to_the_assignment() {
    let mut cluster = brokers(2);
    assert_eq!(cluster.create_topic(topic(-1, -1)), Ok((1, 1)));
    let assigned = |name: &str, partitions, replication_factor| NewTopic {
        assignments: vec![vec![NodeId(2), NodeId(1)]; 3],
        partitions,
        replication_factor,
        ..new_topic(name)
    };
    assert_eq!(cluster.create_topic(assigned("manual", Some(-1), Some(-1))), Ok((3, 2)));
    for (partitions, factor) in [(Some(3), Some(-1)), (Some(-1), Some(2)), (None, Some(2))] {
        let both = assigned("both", partitions, factor);
        assert_eq!(refusal(&mut cluster, both), Some(ErrorCode::InvalidRequest));
    }
}

#[test]
fn a_partition_has_ten_replicas_at_most_however_many_brokers_there_are() {
    let mut cluster = brokers(11);
    assert_eq!(refusal(&mut cluster, topic(1, 11)), Some(ErrorCode::InvalidReplicationFactor));
    assert_eq!(cluster.create_topic(topic(1, 10)), Ok((1, 10)));
}

#[test]
fn a_name_that_fills_its_directory_name_or_resembles_another_is_no_fault() {
    let mut cluster = brokers(1);
    let longest = "x".repeat(249);
    for name in [&longest, "axb", "a.b", "c.d", "a.b.c", "a.", "a_c"] {
        assert_eq!(refusal(&mut cluster, named(name)), None, "{name}");
    }
}

/// Neither of two wishes for one thing is served, since nobody knows which is meant; others are.
#[test]
fn who_is_named_twice_in_a_request_gets_neither() {
    let mut cluster = brokers(2);
    let invalid = Err(ErrorCode::InvalidRequest);
    let topics = vec![named("a"), named("b"), named("a")];
    let request = Request::CreateTopics { topics, validate_only: false };
    let Response::CreateTopics(results) = cluster.ask(request) else { panic!("another answer") };
    let codes = results.iter().map(|(_, it)| it.as_ref().map(|_| ()).map_err(|it| it.code));
    assert_eq!(codes.collect::<Vec<_>>(), [invalid, Ok(()), invalid]);
    assert_eq!(cluster.create_topic(named("a")), Ok((1, 1)), "nothing was made of it");

    let grown = |topic: &str, total| CreatePartitions {
        topic: topic.to_owned(),
        total,
        assignments: Vec::new(),
    };
    let topics = vec![grown("a", 2), grown("b", 2), grown("a", 3)];
    let request = Request::CreatePartitions { topics, validate_only: false };
    let Response::CreatePartitions(results) = cluster.ask(request) else {
        panic!("another answer")
    };
    let codes = results.iter().map(|(_, it)| it.as_ref().copied().map_err(|it| it.code));
    assert_eq!(codes.collect::<Vec<_>>(), [invalid, Ok(()), invalid]);

    let configured = |topic: &str, value| ConfigChange {
        kind: ResourceKind::Topic,
        resource: topic.to_owned(),
        ops: vec![("retention.ms".to_owned(), set(value))],
        replace: false,
    };
    let changes = vec![configured("a", "1"), configured("b", "2"), configured("a", "3")];
    let request = Request::AlterConfigs { changes, validate_only: false };
    let Response::AlterConfigs(results) = cluster.ask(request) else { panic!("another answer") };
    let codes = results.iter().map(|(_, _, it)| it.as_ref().copied().map_err(|it| it.code));
    assert_eq!(codes.collect::<Vec<_>>(), [invalid, Ok(()), invalid]);
    let retention = |topic| cluster.image().topic_config(topic, "retention.ms", "9");
    assert_eq!((retention("a"), retention("b")), ("9", "2"));
}

/// Kafka's words: an operator tells by them a topic that is right already from a wrong number.
#[test]
fn who_asks_for_no_more_partitions_than_there_are_is_told_how_many_there_are() {
    let mut cluster = brokers(2);
    let assignments = vec![nodes(&[1]).to_vec(); 2];
    cluster.create_topic(NewTopic { assignments, ..new_topic("orders") }).expect("it is created");
    for (total, told) in [
        (2, "Topic already has 2 partition(s)."),
        (1, "The topic orders currently has 2 partition(s); 1 would not be an increase."),
    ] {
        let (topic, assignments) = ("orders".to_owned(), Vec::new());
        let topics = vec![CreatePartitions { topic, total, assignments }];
        let request = Request::CreatePartitions { topics, validate_only: false };
        let Response::CreatePartitions(results) = cluster.ask(request) else {
            panic!("another answer")
        };
        let refusal = results[0].1.as_ref().expect_err("there are as many already");
        assert_eq!((refusal.code, &refusal.message[..]), (ErrorCode::InvalidPartitions, told));
    }
}
