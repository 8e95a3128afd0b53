//! Topics, configurations and the cluster, as admin clients ask for them.

use kraft_model::ErrorCode;
use kraft_model::metadata::ResourceKind;
use kraft_model::{NodeId, TopicPartition};
use kraft_node::kafka::Backend;
use proto_kafka::messages::*;
use uuid::Uuid;

use crate::client::{Client, run};
use crate::fake::{FakeBackend, configured};
use crate::samples::{Sample, TOPIC, name, string};

fn metadata(topics: &[&str]) -> MetadataRequest {
    let topics = topics.iter().map(|topic| {
        metadata_request::MetadataRequestTopic::default().with_name(Some(name(topic)))
    });
    MetadataRequest::default().with_topics(Some(topics.collect()))
}

#[test]
fn metadata_names_brokers_of_the_listener_and_an_unfenced_one_as_controller() {
    run(async {
        let mut client = Client::connect(&FakeBackend::new());
        for version in 0..=13 {
            let response = client.call(&metadata(&[]), version).await;
            let brokers: Vec<_> =
                response.brokers.iter().map(|b| (b.node_id.0, &*b.host, b.port)).collect();
            // Broker 2 is fenced; 3 was a short while ago, and is still told of.
            assert_eq!(brokers, [(1, "broker.example", 9001), (3, "broker.example", 9003)]);
            if version >= 1 {
                assert_eq!(response.controller_id, BrokerId(1));
            }
            if version >= 2 {
                assert_eq!(response.cluster_id.as_deref(), Some("AAAAAAAAAAAAAAAAAAAAwQ"));
            }
        }
    });
}

#[test]
fn metadata_tells_leader_epoch_and_offline_replicas_and_a_missing_leader() {
    run(async {
        let backend = FakeBackend::new();
        let topic = backend.add_topic(TOPIC, 2);
        backend.edit_partition(TopicPartition { topic, partition: 1 }, |partition| {
            partition.replicas.push(NodeId(2));
            partition.leader = Some(NodeId(2));
        });
        let mut client = Client::connect(&backend);
        let response = client.call(&metadata(&[TOPIC]), 12).await;
        let topic = &response.topics[0];
        assert_eq!((topic.error_code, topic.topic_id.is_nil()), (0, false));
        let led = &topic.partitions[0];
        assert_eq!((led.error_code, led.leader_id, led.leader_epoch), (0, BrokerId(1), 5));
        let fenced = &topic.partitions[1];
        assert_eq!(fenced.error_code, ErrorCode::LeaderNotAvailable.code());
        assert_eq!(fenced.leader_id, BrokerId(-1));
        assert_eq!(fenced.offline_replicas, [BrokerId(2)]);
    });
}

#[test]
fn an_empty_topic_list_means_all_in_version_0_and_none_later() {
    run(async {
        let backend = FakeBackend::new();
        backend.add_topic("a", 1);
        backend.add_topic("b", 1);
        let mut client = Client::connect(&backend);
        assert_eq!(client.call(&metadata(&[]), 0).await.topics.len(), 2);
        assert_eq!(client.call(&metadata(&[]), 1).await.topics.len(), 0);
        let all = MetadataRequest::default().with_topics(None);
        assert_eq!(client.call(&all, 1).await.topics.len(), 2);
    });
}

#[test]
fn a_topic_is_found_by_its_id_and_an_unknown_id_is_an_error_of_its_own() {
    run(async {
        let backend = FakeBackend::new();
        let id = backend.add_topic(TOPIC, 1);
        let mut client = Client::connect(&backend);
        let by_id = |id| {
            let topic = metadata_request::MetadataRequestTopic::default()
                .with_topic_id(Uuid::from_u128(id))
                .with_name(None);
            MetadataRequest::default().with_topics(Some(vec![topic]))
        };
        let response = client.call(&by_id(id.0), 12).await;
        assert_eq!(response.topics[0].name, Some(name(TOPIC)));
        let response = client.call(&by_id(5), 12).await;
        assert_eq!(response.topics[0].error_code, ErrorCode::UnknownTopicId.code());
    });
}

#[test]
fn metadata_creates_a_missing_topic_only_if_client_and_broker_allow_it() {
    run(async {
        let backend = FakeBackend::new();
        let mut client = Client::connect(&backend);
        let request = metadata(&["new"]).with_allow_auto_topic_creation(false);
        let response = client.call(&request, 9).await;
        assert_eq!(response.topics[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
        let request = metadata(&["new", "bad name"]).with_allow_auto_topic_creation(true);
        let response = client.call(&request, 9).await;
        let errors: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(errors, [0, ErrorCode::InvalidTopic.code()], "made, and seen at once");

        let strict = FakeBackend::with_settings(&[("auto.create.topics.enable", "false")]);
        let mut client = Client::connect(&strict);
        let response = client.call(&request, 9).await;
        assert_eq!(response.topics[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
    });
}

#[test]
fn a_created_topic_is_in_this_brokers_metadata_when_the_answer_comes() {
    run(async {
        let backend = FakeBackend::new();
        let mut client = Client::connect(&backend);
        let response = client.call(&CreateTopicsRequest::sample(7), 7).await;
        assert!(backend.image().topic_ids.contains_key("counted-7"), "no waiting was needed");
        let counted = &response.topics[0];
        assert_eq!((counted.error_code, counted.num_partitions), (0, 2));
        assert!(!counted.topic_id.is_nil());
        let configs = counted.configs.as_ref().expect("the topic's configuration");
        let retention = configs.iter().find(|config| &*config.name == "retention.ms");
        let retention = retention.expect("retention.ms");
        assert_eq!((retention.value.as_deref(), retention.config_source), (Some("1000"), 1));
        let again = client.call(&CreateTopicsRequest::sample(7), 7).await;
        assert_eq!(again.topics[0].error_code, ErrorCode::TopicAlreadyExists.code());
        assert_eq!(again.topics[0].error_message.as_deref(), Some("topic 'counted-7' exists"));
    });
}

#[test]
fn a_malformed_creation_is_refused_topic_by_topic() {
    run(async {
        let mut client = Client::connect(&FakeBackend::new());
        let topic = |of: &str| {
            create_topics_request::CreatableTopic::default()
                .with_name(name(of))
                .with_num_partitions(1)
                .with_replication_factor(1)
        };
        let assignment = create_topics_request::CreatableReplicaAssignment::default()
            .with_partition_index(1)
            .with_broker_ids(vec![BrokerId(1)]);
        let gap = topic("gap")
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(vec![assignment]);
        let request = CreateTopicsRequest::default().with_topics(vec![
            topic("ok"),
            topic("twice"),
            topic("twice"),
            topic(".."),
            gap,
        ]);
        let response = client.call(&request, 6).await;
        let errors: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
        let twice = ErrorCode::InvalidRequest.code();
        let invalid = ErrorCode::InvalidTopic.code();
        assert_eq!(errors, [0, twice, twice, invalid, ErrorCode::InvalidReplicaAssignment.code()]);
    });
}

#[test]
fn without_a_controller_every_topic_is_answered_with_a_time_out_and_the_reason() {
    run(async {
        let backend = FakeBackend::new();
        backend.lose_controller();
        let mut client = Client::connect(&backend);
        let response = client.call(&CreateTopicsRequest::sample(7), 7).await;
        for topic in &response.topics {
            assert_eq!(topic.error_code, ErrorCode::RequestTimedOut.code());
            let message = topic.error_message.as_deref().unwrap_or_default();
            assert!(message.contains("controller"), "{message}");
        }
    });
}

#[test]
fn a_deleted_topic_is_named_whether_it_was_deleted_by_name_or_id() {
    run(async {
        let backend = FakeBackend::new();
        let id = backend.add_topic("by-id", 1);
        backend.add_topic("by-name", 1);
        let mut client = Client::connect(&backend);
        let by_id = delete_topics_request::DeleteTopicState::default()
            .with_name(None)
            .with_topic_id(Uuid::from_u128(id.0));
        let by_name =
            delete_topics_request::DeleteTopicState::default().with_name(Some(name("by-name")));
        let request = DeleteTopicsRequest::default().with_topics(vec![by_id, by_name]);
        let response = client.call(&request, 6).await;
        let names: Vec<_> = response.responses.iter().map(|r| r.name.clone()).collect();
        assert_eq!(names, [Some(name("by-id")), Some(name("by-name"))]);
        assert!(backend.image().topics.is_empty());
    });
}

fn describe_configs(kind: i8, of: &str, keys: &[&str]) -> DescribeConfigsRequest {
    let keys = keys.iter().map(|key| string(key)).collect();
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(string(of))
        .with_configuration_keys(Some(keys));
    DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(true)
}

#[test]
fn a_topics_configuration_names_the_source_of_every_value_and_what_lies_beneath() {
    run(async {
        let backend = FakeBackend::with_settings(&[("log.retention.hours", "2")]);
        backend.add_topic(TOPIC, 1);
        let mut client = Client::connect(&backend);
        let request = describe_configs(2, TOPIC, &["retention.ms", "cleanup.policy"]);
        let response = client.call(&request, 4).await;
        let entries = &response.results[0].configs;
        let entry = |of: &str| entries.iter().find(|entry| &*entry.name == of).expect("the key");
        let policy = entry("cleanup.policy");
        assert_eq!((policy.value.as_deref(), policy.config_source), (Some("delete"), 5));
        assert!(policy.documentation.as_ref().is_some_and(|doc| !doc.is_empty()));
        let retention = entry("retention.ms");
        assert_eq!((retention.value.as_deref(), retention.config_source), (Some("7200000"), 4));

        client.call(&IncrementalAlterConfigsRequest::sample(1), 1).await;
        let response = client.call(&request, 4).await;
        let entries = &response.results[0].configs;
        let retention = entries.iter().find(|entry| &*entry.name == "retention.ms").expect("key");
        assert_eq!((retention.value.as_deref(), retention.config_source), (Some("6000"), 1));
        assert_eq!((retention.config_type, retention.read_only), (5, false));
        let sources: Vec<_> = retention.synonyms.iter().map(|synonym| synonym.source).collect();
        assert_eq!(sources, [1, 4, 5]);
    });
}

#[test]
fn a_broker_describes_itself_and_no_other_broker() {
    run(async {
        let mut client = Client::connect(&FakeBackend::new());
        let response = client.call(&describe_configs(4, "1", &["node.id"]), 4).await;
        let entry = &response.results[0].configs[0];
        assert_eq!((entry.value.as_deref(), entry.read_only), (Some("1"), true));
        for (kind, of) in [(4, "2"), (8, "1")] {
            let response = client.call(&describe_configs(kind, of, &[]), 4).await;
            assert_eq!(response.results[0].error_code, ErrorCode::InvalidRequest.code());
        }
        let response = client.call(&describe_configs(2, "missing", &[]), 4).await;
        let error = ErrorCode::UnknownTopicOrPartition.code();
        assert_eq!(response.results[0].error_code, error);
    });
}

#[test]
fn a_configuration_that_cannot_be_is_refused_before_the_controller_is_asked() {
    run(async {
        let backend = FakeBackend::new();
        backend.add_topic(TOPIC, 1);
        let mut client = Client::connect(&backend);
        let alter = |key: &str, operation, value: Option<&str>| {
            let config = incremental_alter_configs_request::AlterableConfig::default()
                .with_name(string(key))
                .with_config_operation(operation)
                .with_value(value.map(string));
            let resource = incremental_alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(string(TOPIC))
                .with_configs(vec![config]);
            IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
        };
        let invalid = ErrorCode::InvalidConfig;
        for (request, error) in [
            (alter("retention.msec", 0, Some("1")), invalid),
            (alter("retention.ms", 0, Some("soon")), invalid),
            (alter("retention.ms", 2, Some("1")), invalid),
            (alter("retention.ms", 0, None), ErrorCode::InvalidRequest),
            (alter("retention.ms", 9, Some("1")), ErrorCode::InvalidRequest),
        ] {
            let response = client.call(&request, 1).await;
            let answer = &response.responses[0];
            assert_eq!(answer.error_code, error.code(), "{request:?}");
            assert!(answer.error_message.is_some());
        }
        assert_eq!(configured(&backend, ResourceKind::Topic, TOPIC, "retention.ms"), None);
        client.call(&alter("retention.ms", 0, Some("1")), 1).await;
        let set = configured(&backend, ResourceKind::Topic, TOPIC, "retention.ms");
        assert_eq!(set.as_deref(), Some("1"));
    });
}

#[test]
fn described_topics_come_page_by_page_until_the_cursor_ends() {
    run(async {
        let backend = FakeBackend::new();
        for topic in ["a", "b", "c"] {
            backend.add_topic(topic, 3);
        }
        let mut client = Client::connect(&backend);
        let mut request =
            DescribeTopicPartitionsRequest::default().with_response_partition_limit(4);
        let mut seen = Vec::new();
        loop {
            let response = client.call(&request, 0).await;
            for topic in &response.topics {
                let topic_name = topic.name.as_ref().expect("a name").to_string();
                let indexes = topic.partitions.iter().map(|p| p.partition_index);
                seen.extend(indexes.map(|index| (topic_name.clone(), index)));
            }
            let Some(next) = response.next_cursor else { break };
            request.cursor = Some(
                describe_topic_partitions_request::Cursor::default()
                    .with_topic_name(next.topic_name)
                    .with_partition_index(next.partition_index),
            );
        }
        let all = ["a", "b", "c"].map(|topic| (0..3).map(move |index| (topic.to_owned(), index)));
        assert_eq!(seen, all.into_iter().flatten().collect::<Vec<_>>(), "each exactly once");
    });
}

#[test]
fn a_running_reassignment_is_listed_and_a_change_of_factor_can_be_ruled_out() {
    run(async {
        let backend = FakeBackend::new();
        let topic = backend.add_topic(TOPIC, 2);
        backend.edit_partition(TopicPartition { topic, partition: 1 }, |partition| {
            partition.replicas.push(NodeId(2));
            partition.adding.push(NodeId(2));
        });
        let mut client = Client::connect(&backend);
        let all = ListPartitionReassignmentsRequest::default().with_topics(None);
        let response = client.call(&all, 0).await;
        let partitions = &response.topics[0].partitions;
        assert_eq!(partitions.len(), 1);
        assert_eq!(
            (partitions[0].partition_index, &*partitions[0].adding_replicas),
            (1, &[BrokerId(2)][..])
        );

        let mut request = AlterPartitionReassignmentsRequest::sample(1);
        request.topics[0].partitions[0].replicas = Some(vec![BrokerId(1), BrokerId(2)]);
        let response = client.call(&request, 1).await;
        assert_eq!(response.responses[0].partitions[0].error_code, 0);
        request.allow_replication_factor_change = false;
        let response = client.call(&request, 1).await;
        let error = ErrorCode::InvalidReplicationFactor.code();
        assert_eq!(response.responses[0].partitions[0].error_code, error);
    });
}

#[test]
fn elections_are_answered_partition_by_partition_in_every_version() {
    run(async {
        let backend = FakeBackend::new();
        backend.add_topic(TOPIC, 1);
        let mut client = Client::connect(&backend);
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        for version in 0..=2 {
            let response = client.call(&ElectLeadersRequest::sample(version), version).await;
            let results = &response.replica_election_results[0].partition_result;
            let mut results: Vec<_> =
                results.iter().map(|r| (r.partition_id, r.error_code)).collect();
            results.sort();
            assert_eq!(results, [(0, ErrorCode::ElectionNotNeeded.code()), (99, unknown)]);
        }
    });
}

#[test]
fn the_cluster_is_described_with_fenced_brokers_only_on_request_and_never_by_controllers() {
    run(async {
        let mut client = Client::connect(&FakeBackend::new());
        let request = DescribeClusterRequest::default();
        assert_eq!(client.call(&request, 2).await.brokers.len(), 1);
        let with_fenced = request.clone().with_include_fenced_brokers(true);
        let brokers = client.call(&with_fenced, 2).await.brokers;
        assert_eq!(brokers.iter().filter(|broker| broker.is_fenced).count(), 2);
        let controllers = request.with_endpoint_type(2);
        assert_eq!(client.call(&controllers, 1).await.error_code, 114);
    });
}

#[test]
fn the_quorum_is_described_for_the_metadata_topic_only() {
    run(async {
        let mut client = Client::connect(&FakeBackend::new());
        let mut request = DescribeQuorumRequest::sample(2);
        let response = client.call(&request, 2).await;
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.leader_id), (0, BrokerId(3000)));
        assert_eq!(partition.current_voters[0].log_end_offset, 12);
        request.topics[0].topic_name = name(TOPIC);
        let response = client.call(&request, 2).await;
        let error = ErrorCode::UnknownTopicOrPartition.code();
        assert_eq!(response.topics[0].partitions[0].error_code, error);
    });
}

#[test]
fn a_directory_tells_the_size_of_the_partitions_that_were_asked_for() {
    run(async {
        let backend = FakeBackend::new();
        backend.add_topic(TOPIC, 1);
        let mut client = Client::connect(&backend);
        client.call(&ProduceRequest::sample(9), 9).await;
        let response = client.call(&DescribeLogDirsRequest::sample(4), 4).await;
        let dir = &response.results[0];
        assert_eq!((&*dir.log_dir, dir.total_bytes), ("/data", 1000));
        assert!(dir.topics[0].partitions[0].partition_size > 61);
    });
}
