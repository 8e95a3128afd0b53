//! One well-filled request of every API, in each version that is served.

use kraft_node::kafka::table;
use proto_kafka::messages::*;
use proto_kafka::protocol::{Request, StrBytes};
use uuid::Uuid;

use crate::client::batch;

pub const TOPIC: &str = "orders";

pub fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn name(text: &str) -> TopicName {
    TopicName(string(text))
}

/// A request that can be built for a version.
pub trait Sample: Request {
    fn sample(version: i16) -> Self;
}

/// Does something with the sample of every API and version.
pub trait Visit {
    fn visit<R: Sample>(&mut self, version: i16);
}

macro_rules! every {
    ($visit:expr; $($request:ident),* $(,)?) => {{
        let mut seen = Vec::new();
        $(
            let api = table().iter().find(|api| api.key == $request::KEY).expect("a served API");
            seen.push(api.key);
            (api.min..=api.max).for_each(|version| $visit.visit::<$request>(version));
        )*
        assert!(table().iter().all(|api| seen.contains(&api.key)), "an API has no sample");
    }};
}

pub fn every_version(visit: &mut impl Visit) {
    every!(visit; ProduceRequest, FetchRequest, ListOffsetsRequest, MetadataRequest,
        ApiVersionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DeleteRecordsRequest,
        InitProducerIdRequest, OffsetForLeaderEpochRequest, DescribeConfigsRequest,
        AlterConfigsRequest, DescribeLogDirsRequest, CreatePartitionsRequest, ElectLeadersRequest,
        IncrementalAlterConfigsRequest, AlterPartitionReassignmentsRequest,
        ListPartitionReassignmentsRequest, DescribeQuorumRequest, DescribeClusterRequest,
        UnregisterBrokerRequest, DescribeTopicPartitionsRequest, AddRaftVoterRequest,
        RemoveRaftVoterRequest);
}

impl Sample for ProduceRequest {
    fn sample(_: i16) -> Self {
        let data = produce_request::PartitionProduceData::default()
            .with_index(0)
            .with_records(Some(batch(1, b"record").freeze()));
        let topic = produce_request::TopicProduceData::default()
            .with_name(name(TOPIC))
            .with_partition_data(vec![data]);
        ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![topic])
    }
}

impl Sample for FetchRequest {
    fn sample(version: i16) -> Self {
        let partition = fetch_request::FetchPartition::default()
            .with_partition(0)
            .with_partition_max_bytes(1 << 20);
        let topic = fetch_request::FetchTopic::default()
            .with_topic(name(TOPIC))
            .with_partitions(vec![partition]);
        let forgotten = fetch_request::ForgottenTopic::default()
            .with_topic(name("gone"))
            .with_partitions(vec![1, 2]);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_bytes(1 << 20)
            .with_topics(vec![topic]);
        let request = if version >= 7 {
            request.with_forgotten_topics_data(vec![forgotten]).with_session_epoch(0)
        } else {
            request
        };
        let request = if version >= 11 { request.with_rack_id(string("r1")) } else { request };
        if version >= 12 { request.with_cluster_id(Some(string("cluster"))) } else { request }
    }
}

impl Sample for ListOffsetsRequest {
    fn sample(_: i16) -> Self {
        let partition = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
        let topic = list_offsets_request::ListOffsetsTopic::default()
            .with_name(name(TOPIC))
            .with_partitions(vec![partition]);
        ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
    }
}

impl Sample for MetadataRequest {
    fn sample(_: i16) -> Self {
        let topic = metadata_request::MetadataRequestTopic::default().with_name(Some(name(TOPIC)));
        MetadataRequest::default().with_topics(Some(vec![topic]))
    }
}

impl Sample for ApiVersionsRequest {
    fn sample(version: i16) -> Self {
        let request = ApiVersionsRequest::default();
        if version < 3 {
            return request;
        }
        request
            .with_client_software_name(string("kraft-test"))
            .with_client_software_version(string("1.0"))
    }
}

impl Sample for CreateTopicsRequest {
    fn sample(version: i16) -> Self {
        let config = create_topics_request::CreatableTopicConfig::default()
            .with_name(string("retention.ms"))
            .with_value(Some(string("1000")));
        let by_count = create_topics_request::CreatableTopic::default()
            .with_name(name(&format!("counted-{version}")))
            .with_num_partitions(2)
            .with_replication_factor(1)
            .with_configs(vec![config]);
        let assignment = create_topics_request::CreatableReplicaAssignment::default()
            .with_broker_ids(vec![BrokerId(1)]);
        let assigned = create_topics_request::CreatableTopic::default()
            .with_name(name(&format!("assigned-{version}")))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(vec![assignment]);
        CreateTopicsRequest::default().with_topics(vec![by_count, assigned]).with_timeout_ms(1000)
    }
}

impl Sample for DeleteTopicsRequest {
    fn sample(version: i16) -> Self {
        let request = DeleteTopicsRequest::default().with_timeout_ms(1000);
        if version < 6 {
            return request.with_topic_names(vec![name("missing")]);
        }
        let by_id = delete_topics_request::DeleteTopicState::default()
            .with_name(None)
            .with_topic_id(Uuid::from_u128(77));
        let by_name =
            delete_topics_request::DeleteTopicState::default().with_name(Some(name("missing")));
        request.with_topics(vec![by_id, by_name])
    }
}

impl Sample for DeleteRecordsRequest {
    fn sample(_: i16) -> Self {
        let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(-1);
        let topic = delete_records_request::DeleteRecordsTopic::default()
            .with_name(name(TOPIC))
            .with_partitions(vec![partition]);
        DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000)
    }
}

impl Sample for InitProducerIdRequest {
    fn sample(_: i16) -> Self {
        InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(1)
    }
}

impl Sample for OffsetForLeaderEpochRequest {
    fn sample(_: i16) -> Self {
        let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default()
            .with_leader_epoch(4);
        let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
            .with_topic(name(TOPIC))
            .with_partitions(vec![partition]);
        OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
    }
}

impl Sample for DescribeConfigsRequest {
    fn sample(version: i16) -> Self {
        let resource = |kind, of: &str, keys| {
            describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(string(of))
                .with_configuration_keys(keys)
        };
        DescribeConfigsRequest::default()
            .with_resources(vec![
                resource(2, TOPIC, None),
                resource(4, "1", Some(vec![string("log.retention.ms")])),
            ])
            .with_include_synonyms(true)
            .with_include_documentation(version >= 3)
    }
}

impl Sample for AlterConfigsRequest {
    fn sample(_: i16) -> Self {
        let config = alter_configs_request::AlterableConfig::default()
            .with_name(string("retention.ms"))
            .with_value(Some(string("5000")));
        let resource = alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(string(TOPIC))
            .with_configs(vec![config]);
        AlterConfigsRequest::default().with_resources(vec![resource])
    }
}

impl Sample for IncrementalAlterConfigsRequest {
    fn sample(_: i16) -> Self {
        let config = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(string("retention.ms"))
            .with_config_operation(0)
            .with_value(Some(string("6000")));
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(string(TOPIC))
            .with_configs(vec![config]);
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
    }
}

impl Sample for DescribeLogDirsRequest {
    fn sample(_: i16) -> Self {
        let topic = describe_log_dirs_request::DescribableLogDirTopic::default()
            .with_topic(name(TOPIC))
            .with_partitions(vec![0, 1]);
        DescribeLogDirsRequest::default().with_topics(Some(vec![topic]))
    }
}

impl Sample for CreatePartitionsRequest {
    fn sample(_: i16) -> Self {
        let assignment = create_partitions_request::CreatePartitionsAssignment::default()
            .with_broker_ids(vec![BrokerId(1)]);
        let topic = create_partitions_request::CreatePartitionsTopic::default()
            .with_name(name(TOPIC))
            .with_count(3)
            .with_assignments(Some(vec![assignment]));
        CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000)
    }
}

impl Sample for ElectLeadersRequest {
    fn sample(_: i16) -> Self {
        let topic = elect_leaders_request::TopicPartitions::default()
            .with_topic(name(TOPIC))
            .with_partitions(vec![0, 99]);
        ElectLeadersRequest::default()
            .with_topic_partitions(Some(vec![topic]))
            .with_timeout_ms(1000)
    }
}

impl Sample for AlterPartitionReassignmentsRequest {
    fn sample(_: i16) -> Self {
        let partition = alter_partition_reassignments_request::ReassignablePartition::default()
            .with_replicas(Some(vec![BrokerId(2)]));
        let topic = alter_partition_reassignments_request::ReassignableTopic::default()
            .with_name(name(TOPIC))
            .with_partitions(vec![partition]);
        AlterPartitionReassignmentsRequest::default().with_topics(vec![topic])
    }
}

impl Sample for ListPartitionReassignmentsRequest {
    fn sample(_: i16) -> Self {
        let topic =
            list_partition_reassignments_request::ListPartitionReassignmentsTopics::default()
                .with_name(name(TOPIC))
                .with_partition_indexes(vec![0]);
        ListPartitionReassignmentsRequest::default().with_topics(Some(vec![topic]))
    }
}

impl Sample for DescribeQuorumRequest {
    fn sample(_: i16) -> Self {
        let topic = describe_quorum_request::TopicData::default()
            .with_topic_name(name("__cluster_metadata"))
            .with_partitions(vec![describe_quorum_request::PartitionData::default()]);
        DescribeQuorumRequest::default().with_topics(vec![topic])
    }
}

impl Sample for AddRaftVoterRequest {
    fn sample(_: i16) -> Self {
        let listener = add_raft_voter_request::Listener::default()
            .with_name(StrBytes::from_static_str("CONTROLLER"))
            .with_host(StrBytes::from_static_str("127.0.0.1"))
            .with_port(9093);
        AddRaftVoterRequest::default()
            .with_cluster_id(None)
            .with_timeout_ms(1_000)
            .with_voter_id(4)
            .with_voter_directory_id(uuid::Uuid::from_u128(4))
            .with_listeners(vec![listener])
    }
}

impl Sample for RemoveRaftVoterRequest {
    fn sample(_: i16) -> Self {
        RemoveRaftVoterRequest::default()
            .with_cluster_id(None)
            .with_voter_id(4)
            .with_voter_directory_id(uuid::Uuid::from_u128(4))
    }
}

impl Sample for DescribeClusterRequest {
    fn sample(version: i16) -> Self {
        DescribeClusterRequest::default().with_include_fenced_brokers(version >= 2)
    }
}

impl Sample for UnregisterBrokerRequest {
    fn sample(_: i16) -> Self {
        UnregisterBrokerRequest::default().with_broker_id(BrokerId(2))
    }
}

impl Sample for DescribeTopicPartitionsRequest {
    fn sample(_: i16) -> Self {
        let topic =
            describe_topic_partitions_request::TopicRequest::default().with_name(name(TOPIC));
        let cursor =
            describe_topic_partitions_request::Cursor::default().with_topic_name(name("a"));
        DescribeTopicPartitionsRequest::default()
            .with_topics(vec![topic])
            .with_response_partition_limit(10)
            .with_cursor(Some(cursor))
    }
}
