//! P1 and the configuration of topics and brokers.

use std::collections::BTreeSet;

use kraft_model::metadata::{
    ConfigChange, ConfigOp, CreatePartitions, NewTopic, Request, ResourceKind, Response, TopicRef,
};
use kraft_model::{ErrorCode, NodeId};

use crate::cluster::{Cluster, TOPIC, new_topic, nodes};

pub fn brokers(count: i32) -> Cluster {
    let mut cluster = Cluster::new();
    (1..=count).for_each(|id| cluster.start(id));
    cluster
}

pub fn topic(partitions: i32, factor: i16) -> NewTopic {
    let (partitions, replication_factor) = (Some(partitions), Some(factor));
    NewTopic { partitions, replication_factor, ..new_topic("orders") }
}

pub fn refusal(cluster: &mut Cluster, topic: NewTopic) -> Option<ErrorCode> {
    let end = cluster.end();
    let code = cluster.create_topic(topic).err().map(|refusal| refusal.code);
    assert!(code.is_none() || cluster.end() == end, "a refusal writes nothing");
    code
}

pub fn configure(
    cluster: &mut Cluster,
    kind: ResourceKind,
    resource: &str,
    name: &str,
    op: ConfigOp,
) -> Result<(), (ErrorCode, String)> {
    let ops = vec![(name.to_owned(), op)];
    let change = ConfigChange { kind, resource: resource.to_owned(), ops, replace: false };
    let request = Request::AlterConfigs { changes: vec![change], validate_only: false };
    match cluster.ask(request) {
        Response::AlterConfigs(results) => {
            results[0].2.clone().map_err(|refusal| (refusal.code, refusal.message))
        }
        other => panic!("{other:?}"),
    }
}

pub fn set(value: &str) -> ConfigOp {
    ConfigOp::Set(value.to_owned())
}

#[test]
fn a_topic_takes_the_controllers_numbers_where_it_says_none() {
    let mut cluster = brokers(3);
    assert_eq!(cluster.create_topic(new_topic("orders")), Ok((1, 1)));
    assert_eq!(cluster.image().topic_named("orders").map(|topic| topic.id), Some(TOPIC));
}

#[test]
fn a_topic_that_cannot_be_is_refused_with_kafkas_error() {
    let mut cluster = brokers(2);
    let named = |name: &str| NewTopic { name: name.to_owned(), ..topic(1, 1) };
    let invalid = Some(ErrorCode::InvalidTopic);
    for name in ["", ".", "..", "a b", "caf\u{e9}", "__cluster_metadata", &"x".repeat(250)] {
        assert_eq!(refusal(&mut cluster, named(name)), invalid, "{name}");
    }
    assert_eq!(refusal(&mut cluster, topic(0, 1)), Some(ErrorCode::InvalidPartitions));
    assert_eq!(refusal(&mut cluster, topic(9_001, 1)), Some(ErrorCode::InvalidPartitions));
    let factor = Some(ErrorCode::InvalidReplicationFactor);
    for wrong in [0, -2, 3, 11] {
        assert_eq!(refusal(&mut cluster, topic(1, wrong)), factor);
    }
    let assigned = |lists: &[&[i32]]| NewTopic {
        assignments: lists.iter().map(|list| nodes(list).to_vec()).collect(),
        ..new_topic("orders")
    };
    let assignment = Some(ErrorCode::InvalidReplicaAssignment);
    for wrong in [&[&[1, 1][..]][..], &[&[5]], &[&[]], &[&[1, 2], &[1]]] {
        assert_eq!(refusal(&mut cluster, assigned(wrong)), assignment);
    }
    let both = NewTopic { partitions: Some(1), ..assigned(&[&[1]]) };
    assert_eq!(refusal(&mut cluster, both), Some(ErrorCode::InvalidRequest));
    let configs = vec![("retention.ms".to_owned(), "soon".to_owned())];
    let config = NewTopic { configs, ..topic(1, 1) };
    assert_eq!(refusal(&mut cluster, config), Some(ErrorCode::InvalidConfig));
}

#[test]
fn a_name_is_taken_once_dots_and_underscores_alike() {
    let mut cluster = brokers(1);
    let named = |name: &str| NewTopic { name: name.to_owned(), ..topic(1, 1) };
    assert_eq!(refusal(&mut cluster, named("a.b")), None);
    let exists = Some(ErrorCode::TopicAlreadyExists);
    assert_eq!(refusal(&mut cluster, named("a.b")), exists);
    let collides = Some(ErrorCode::InvalidTopic);
    assert_eq!(refusal(&mut cluster, named("a_b")), collides);
}

#[test]
fn a_request_that_arrives_again_after_a_deletion_makes_another_topic() {
    let mut cluster = brokers(1);
    let id_of = |cluster: &Cluster| cluster.image().topic_named("orders").map(|topic| topic.id);
    cluster.create_topic(topic(1, 1)).expect("it is created");
    let first = id_of(&cluster);
    let topics = vec![TopicRef::Name("orders".to_owned())];
    cluster.ask(Request::DeleteTopics { topics });
    cluster.create_topic(topic(1, 1)).expect("it is created once more");
    assert_eq!(first, Some(TOPIC));
    assert_ne!(id_of(&cluster), first);
}

#[test]
fn validating_only_writes_nothing() {
    let mut cluster = brokers(1);
    let end = cluster.end();
    let request = Request::CreateTopics { topics: vec![topic(2, 1)], validate_only: true };
    let Response::CreateTopics(results) = cluster.ask(request) else { panic!("another answer") };
    assert!(results[0].1.is_ok());
    assert_eq!(cluster.end(), end);
}

#[test]
fn one_request_cannot_outgrow_an_atomic_batch() {
    let mut cluster = brokers(1);
    let named = |name: &str, count| NewTopic { name: name.to_owned(), ..topic(count, 1) };
    // A topic's own record comes to those of its partitions.
    let topics = vec![named("a", 5_000), named("b", 4_998), named("c", 1)];
    let request = Request::CreateTopics { topics, validate_only: false };
    let Response::CreateTopics(results) = cluster.ask(request) else { panic!("another answer") };
    let codes: Vec<_> = results.iter().map(|(_, it)| it.as_ref().map_err(|it| it.code)).collect();
    assert!(codes[0].is_ok() && codes[1].is_ok(), "they fill a batch to the last record");
    assert_eq!(codes[2].err(), Some(ErrorCode::PolicyViolation));
    assert_eq!(cluster.batches.last(), Some(&10_000));
}

#[test]
fn replicas_are_spread_over_racks_and_brokers_and_the_fenced_come_last() {
    let mut cluster = Cluster::new();
    for id in 1..=6 {
        let mut asked = cluster.registration(id, 1);
        asked.rack = Some(["a", "b", "c"][(id % 3) as usize].to_owned());
        cluster.register(asked).expect("it is registered");
        cluster.beat(id, false, false);
    }
    cluster.entropy = 4;
    assert_eq!(cluster.create_topic(topic(12, 3)), Ok((12, 3)));
    let mut leads = [0; 7];
    let mut followers_of_first = BTreeSet::new();
    for number in 0..12 {
        let topic = cluster.image().topic_named("orders").expect("it exists");
        let partition = topic.partitions[number];
        let racks: BTreeSet<i32> = partition.replicas.iter().map(|id| id.0 % 3).collect();
        assert_eq!(racks.len(), 3, "{:?}", partition.replicas);
        assert_eq!(partition.leader, partition.replicas.first().copied());
        leads[partition.replicas[0].0 as usize] += 1;
        if partition.replicas[0] == NodeId(1) {
            followers_of_first.extend(partition.replicas[1..].iter().copied());
        }
    }
    assert_eq!(leads[1..], [2; 6]);
    assert!(followers_of_first.len() > 2, "not always the same followers");

    cluster.expire(1);
    let other = NewTopic { name: "other".to_owned(), ..topic(5, 5) };
    cluster.create_topic(other).expect("five are active");
    let mut rest = cluster.image().topic_named("other").expect("it exists").partitions.iter();
    assert!(rest.all(|partition| !partition.replicas.contains(&NodeId(1))));
    let all = NewTopic { name: "all".to_owned(), ..topic(1, 6) };
    cluster.create_topic(all).expect("six are registered");
    let all = cluster.image().topic_named("all").expect("it exists").partitions[0];
    assert_eq!((all.replicas.last(), all.isr.len()), (Some(&NodeId(1)), 5));
}

#[test]
fn a_deleted_topic_takes_its_configuration_with_it() {
    let mut cluster = brokers(1);
    let configs = vec![("retention.ms".to_owned(), "1000".to_owned())];
    cluster.create_topic(NewTopic { configs, ..topic(1, 1) }).expect("it is created");
    assert_eq!(cluster.image().topic_config("orders", "retention.ms", "9"), "1000");
    let delete = |topic| Request::DeleteTopics { topics: vec![topic] };
    let name = TopicRef::Name("orders".to_owned());
    let gone = Ok((TOPIC, "orders".to_owned()));
    let answer = Response::DeleteTopics(vec![(name.clone(), gone)]);
    assert_eq!(cluster.ask(delete(name.clone())), answer);
    assert_eq!(cluster.image().topic_config("orders", "retention.ms", "9"), "9");
    for (topic, code) in [
        (name, ErrorCode::UnknownTopicOrPartition),
        (TopicRef::Id(TOPIC), ErrorCode::UnknownTopicId),
    ] {
        let Response::DeleteTopics(results) = cluster.ask(delete(topic)) else {
            panic!("another answer")
        };
        assert_eq!(results[0].1.as_ref().map_err(|it| it.code).err(), Some(code));
    }
}

#[test]
fn partitions_are_added_and_never_taken_away() {
    let mut cluster = brokers(2);
    cluster.create_topic(topic(2, 2)).expect("it is created");
    let mut grow = |total, lists: &[&[i32]]| {
        let assignments = lists.iter().map(|list| nodes(list).to_vec()).collect();
        let asked = CreatePartitions { topic: "orders".to_owned(), total, assignments };
        let request = Request::CreatePartitions { topics: vec![asked], validate_only: false };
        match cluster.ask(request) {
            Response::CreatePartitions(results) => {
                results[0].1.clone().map_err(|refusal| refusal.code)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(grow(2, &[]), Err(ErrorCode::InvalidPartitions));
    assert_eq!(grow(1, &[]), Err(ErrorCode::InvalidPartitions));
    assert_eq!(grow(4, &[&[1, 2]]), Err(ErrorCode::InvalidReplicaAssignment));
    assert_eq!(grow(3, &[&[1]]), Err(ErrorCode::InvalidReplicaAssignment));
    assert_eq!(grow(3, &[&[2, 1]]), Ok(()));
    assert_eq!(grow(5, &[]), Ok(()));
    assert_eq!(cluster.partition_at(2).replicas, nodes(&[2, 1]));
    assert_eq!(cluster.partition_at(4).replicas.len(), 2);
}

#[test]
fn a_configuration_value_is_checked_and_the_complaint_names_key_and_value() {
    let mut cluster = Cluster::with_topic(1);
    let topic = ResourceKind::Topic;
    let (code, message) =
        configure(&mut cluster, topic, "orders", "retention.ms", set("soon")).expect_err("no");
    assert_eq!(code, ErrorCode::InvalidConfig);
    assert!(message.contains("retention.ms") && message.contains("soon"), "{message}");
    let mut code = |kind, resource: &str, name: &str, op| {
        configure(&mut cluster, kind, resource, name, op).err().map(|(code, _)| code)
    };
    let invalid = Some(ErrorCode::InvalidConfig);
    assert_eq!(code(topic, "orders", "retention.parsecs", set("1")), invalid);
    assert_eq!(code(topic, "orders", "segment.bytes", set("10")), invalid);
    assert_eq!(code(topic, "orders", "preallocate", set("maybe")), invalid);
    assert_eq!(code(topic, "orders", "cleanup.policy", set("shred")), invalid);
    assert_eq!(code(topic, "orders", "retention.ms", ConfigOp::Append("1".into())), invalid);
    let unknown = Some(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(topic, "nothing", "retention.ms", set("1")), unknown);
    let broker = ResourceKind::Broker;
    assert_eq!(
        code(broker, "5", "max.connections", set("1")),
        Some(ErrorCode::BrokerIdNotRegistered)
    );
    assert_eq!(code(broker, "1", "max.connections", set("1")), None);
    assert_eq!(code(broker, "", "log.retention.ms", set("77")), None);
    assert_eq!(cluster.image().topic_config("orders", "retention.ms", "9"), "77");
}

#[test]
fn lists_are_appended_to_and_subtracted_from() {
    let mut cluster = Cluster::with_topic(1);
    let mut change = |op| {
        configure(&mut cluster, ResourceKind::Topic, "orders", "cleanup.policy", op).expect("fine");
        cluster.image().topic_config("orders", "cleanup.policy", "none").to_owned()
    };
    assert_eq!(change(set("delete")), "delete");
    assert_eq!(change(ConfigOp::Append("compact".to_owned())), "delete,compact");
    assert_eq!(change(ConfigOp::Subtract("delete".to_owned())), "compact");
    assert_eq!(change(ConfigOp::Delete), "none");
}

#[test]
fn a_lower_min_isr_clears_the_elr_where_somebody_leads() {
    let key = "min.insync.replicas";
    let mut cluster = Cluster::with_topic(2);
    cluster.expire(2);
    cluster.is(Some(1), &[1], &[2], &[]);
    configure(&mut cluster, ResourceKind::Topic, "orders", key, set("1")).expect("fine");
    cluster.is(Some(1), &[1], &[], &[]);

    let mut leaderless = Cluster::with_topic(2);
    leaderless.expire(2);
    leaderless.expire(1);
    configure(&mut leaderless, ResourceKind::Broker, "", key, set("1")).expect("fine");
    leaderless.is(None, &[], &[2, 1], &[1]);
    leaderless.beat(2, false, false);
    leaderless.is(Some(2), &[2], &[], &[]);
}

/// A record may be acknowledged by brokers 1 and 3, and then broker 1 may lose it: broker 3 has to
/// stay in the ELR.
#[test]
fn the_elr_stays_where_min_isr_does_not_fall_to_what_the_isr_has() {
    let key = "min.insync.replicas";
    let mut cluster = Cluster::with_topic(3);
    cluster.expire(2);
    cluster.expire(3);
    cluster.is(Some(1), &[1], &[3], &[]);
    for value in ["2", "3", "2"] {
        configure(&mut cluster, ResourceKind::Topic, "orders", key, set(value)).expect("fine");
        cluster.is(Some(1), &[1], &[3], &[]);
    }
    configure(&mut cluster, ResourceKind::Broker, "", key, set("1")).expect("fine");
    cluster.is(Some(1), &[1], &[3], &[]);
    configure(&mut cluster, ResourceKind::Topic, "orders", key, ConfigOp::Delete).expect("fine");
    cluster.is(Some(1), &[1], &[], &[]);
}

/// Who lost nothing may still come back; to give that up is for the sweep, or for who asks for it.
#[test]
fn a_lower_min_isr_elects_nobody_uncleanly_where_nobody_leads() {
    let mut cluster = Cluster::with_topic(3);
    [1, 2, 3].iter().for_each(|&id| cluster.expire(id));
    cluster.beat(1, false, false);
    for (key, value) in [("unclean.leader.election.enable", "true"), ("min.insync.replicas", "1")] {
        configure(&mut cluster, ResourceKind::Topic, "orders", key, set(value)).expect("fine");
        cluster.is(None, &[], &[2, 3], &[3]);
    }
    cluster.beat(2, false, false);
    cluster.is(Some(2), &[2], &[], &[]);
}

#[test]
fn min_isr_is_the_clusters_or_a_topics_but_no_single_brokers() {
    let key = "min.insync.replicas";
    let mut cluster = Cluster::with_topic(1);
    let mut code = |resource: &str, op| {
        let result = configure(&mut cluster, ResourceKind::Broker, resource, key, op);
        result.err().map(|(code, _)| code)
    };
    assert_eq!(code("1", set("1")), Some(ErrorCode::InvalidConfig));
    assert_eq!(code("", ConfigOp::Delete), Some(ErrorCode::InvalidConfig));
    assert_eq!(code("", set("3")), None);
    let partition = kraft_model::TopicPartition { topic: TOPIC, partition: 0 };
    let view = cluster.image().replica_view(partition, 7, true).expect("it exists");
    assert_eq!((view.min_isr, view.brokers.len(), view.flush_before_ack), (3, 1, true));
}

#[test]
fn replacing_a_configuration_keeps_the_clusters_min_insync_replicas_alone() {
    let mut cluster = brokers(1);
    let names = ["min.insync.replicas", "log.retention.ms"];
    for name in names {
        assert_eq!(configure(&mut cluster, ResourceKind::Broker, "", name, set("2")), Ok(()));
    }
    let ops = vec![("num.io.threads".to_owned(), set("3"))];
    let change =
        ConfigChange { kind: ResourceKind::Broker, resource: String::new(), ops, replace: true };
    cluster.ask(Request::AlterConfigs { changes: vec![change], validate_only: false });
    let left = &cluster.image().configs[&(ResourceKind::Broker, String::new())];
    let left: Vec<_> = left.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    assert_eq!(left, [("min.insync.replicas", "2"), ("num.io.threads", "3")]);
}
