//! Produce, Fetch and what belongs to offsets.

use bytes::{Bytes, BytesMut};
use kraft_model::{ErrorCode, LeaderEpoch, NodeId, TopicPartition};
use kraft_node::kafka::ConnectionError;
use proto_kafka::messages::*;

use crate::client::{Client, base_offsets, batch, run, seal};
use crate::fake::FakeBackend;
use crate::samples::{Sample, TOPIC, name, string};

pub fn produce(topic: &str, partition: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = produce_request::PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch));
    let topic = produce_request::TopicProduceData::default()
        .with_name(name(topic))
        .with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(1000).with_topic_data(vec![topic])
}

pub fn fetch(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let partition = fetch_request::FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let topic = fetch_request::FetchTopic::default()
        .with_topic(name(topic))
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// A backend with one topic of one partition, and a client of it.
fn one_topic() -> (FakeBackend, TopicPartition, Client) {
    let backend = FakeBackend::new();
    let topic = backend.add_topic(TOPIC, 1);
    let client = Client::connect(&backend);
    (backend, TopicPartition { topic, partition: 0 }, client)
}

async fn produced(
    client: &mut Client,
    request: &ProduceRequest,
    version: i16,
) -> produce_response::PartitionProduceResponse {
    let mut response = client.call(request, version).await;
    response.responses.remove(0).partition_responses.remove(0)
}

#[test]
fn what_was_produced_is_fetched_with_its_offsets_and_bytes() {
    run(async {
        let (_, _, mut client) = one_topic();
        for (count, base) in [(3, 0), (2, 3)] {
            let request = produce(TOPIC, 0, -1, batch(count, b"payload").freeze());
            let answer = produced(&mut client, &request, 9).await;
            assert_eq!((answer.error_code, answer.base_offset), (0, base));
        }
        for version in 4..=12 {
            let request = fetch(TOPIC, 0, 1);
            let response = client.call(&request, version).await;
            let partition = &response.responses[0].partitions[0];
            assert_eq!((partition.error_code, partition.high_watermark), (0, 5));
            let records = partition.records.clone().expect("records");
            assert!(records.ends_with(b"payload"));
            assert_eq!(base_offsets(records), [0, 3], "from the batch that holds offset 1 on");
        }
    });
}

/// Sends `change`d bytes of a good batch and expects this error and nothing in the log.
fn refused(error: ErrorCode, change: impl FnOnce(&mut BytesMut)) {
    run(async move {
        let (backend, _, mut client) = one_topic();
        let mut bytes = batch(2, b"payload");
        change(&mut bytes);
        let answer = produced(&mut client, &produce(TOPIC, 0, 1, bytes.freeze()), 8).await;
        assert_eq!(answer.error_code, error.code());
        assert!(answer.error_message.is_some_and(|message| !message.is_empty()));
        assert_eq!(backend.submitted().len(), 0, "nothing is appended");
    });
}

#[test]
fn a_batch_with_a_wrong_checksum_is_corrupt() {
    refused(ErrorCode::CorruptMessage, |batch| batch[65] ^= 1);
}

#[test]
fn two_batches_for_one_partition_are_refused() {
    refused(ErrorCode::InvalidRecord, |bytes| bytes.extend_from_slice(&batch(1, b"second")));
}

#[test]
fn no_batch_at_all_is_refused() {
    refused(ErrorCode::InvalidRecord, BytesMut::clear);
}

#[test]
fn a_record_count_that_does_not_fit_the_offsets_is_refused() {
    refused(ErrorCode::InvalidRecord, |batch| {
        batch[57..61].copy_from_slice(&7i32.to_be_bytes());
        seal(batch);
    });
}

#[test]
fn a_control_batch_from_a_client_is_refused() {
    refused(ErrorCode::InvalidRecord, |batch| {
        batch[22] |= 0x20;
        seal(batch);
    });
}

#[test]
fn the_old_record_format_is_refused() {
    refused(ErrorCode::InvalidRecord, |batch| batch[16] = 1);
}

#[test]
fn an_unknown_compression_is_refused() {
    refused(ErrorCode::UnsupportedCompressionType, |batch| {
        batch[22] |= 6;
        seal(batch);
    });
}

#[test]
fn zstd_needs_version_7() {
    run(async {
        let (_, _, mut client) = one_topic();
        let mut zstd = batch(1, b"payload");
        zstd[22] |= 4;
        seal(&mut zstd);
        let request = produce(TOPIC, 0, 1, zstd.freeze());
        let answer = produced(&mut client, &request, 6).await;
        assert_eq!(answer.error_code, ErrorCode::UnsupportedCompressionType.code());
        assert_eq!(produced(&mut client, &request, 7).await.error_code, 0);
    });
}

#[test]
fn a_batch_above_the_topics_max_message_bytes_is_too_large() {
    run(async {
        let (backend, _, mut client) = one_topic();
        let request = produce(TOPIC, 0, 1, batch(1, &[0; 139]).freeze());
        assert_eq!(produced(&mut client, &request, 9).await.error_code, 0);
        let resource = (kraft_model::metadata::ResourceKind::Topic, TOPIC.to_owned());
        let set = [("max.message.bytes".to_owned(), "199".to_owned())].into();
        backend.edit(|image| {
            image.configs.insert(resource, std::sync::Arc::new(set));
        });
        let answer = produced(&mut client, &request, 9).await;
        assert_eq!(answer.error_code, ErrorCode::MessageTooLarge.code());
    });
}

#[test]
fn without_acknowledgement_nothing_is_answered_and_an_error_closes_the_connection() {
    run(async {
        let (backend, _, mut client) = one_topic();
        client.send(&produce(TOPIC, 0, 0, batch(1, b"x").freeze()), 9).await;
        // The next answer belongs to the next request.
        client.call(&ApiVersionsRequest::sample(3), 3).await;
        assert_eq!(backend.submitted().len(), 1);
        client.send(&produce("missing", 0, 0, batch(1, b"x").freeze()), 9).await;
        assert!(client.frame().await.is_none());
        assert!(matches!(client.end().await, Err(ConnectionError::Silent(_))));
    });
}

#[test]
fn impossible_acks_and_transactions_are_refused_without_an_append() {
    run(async {
        let (backend, _, mut client) = one_topic();
        let request = produce(TOPIC, 0, 2, batch(1, b"x").freeze());
        let answer = produced(&mut client, &request, 9).await;
        assert_eq!(answer.error_code, ErrorCode::InvalidRequiredAcks.code());
        let request = produce(TOPIC, 0, -1, batch(1, b"x").freeze())
            .with_transactional_id(Some(TransactionalId(string("tx"))));
        let answer = produced(&mut client, &request, 9).await;
        assert_eq!(answer.error_code, ErrorCode::InvalidRequest.code());
        assert_eq!(backend.submitted().len(), 0);
        let request = InitProducerIdRequest::sample(4)
            .with_transactional_id(Some(TransactionalId(string("tx"))));
        let answer = client.call(&request, 4).await;
        assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion.code());
    });
}

#[test]
fn a_producer_is_told_the_new_leader_and_where_it_is_from_version_10_on() {
    run(async {
        let (backend, id, mut client) = one_topic();
        backend.edit_partition(id, |partition| {
            partition.leader = Some(NodeId(2));
            partition.leader_epoch = LeaderEpoch(6);
        });
        let request = produce(TOPIC, 0, -1, batch(1, b"x").freeze());
        let response = client.call(&request, 10).await;
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, ErrorCode::NotLeaderOrFollower.code());
        assert_eq!(partition.current_leader.leader_id, BrokerId(2));
        assert_eq!(partition.current_leader.leader_epoch, 6);
        assert_eq!(response.node_endpoints[0].port, 9002);
        let response = client.call(&fetch(TOPIC, 0, 0), 12).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.current_leader.leader_id, BrokerId(2));
    });
}

#[test]
fn a_fetch_of_something_that_does_not_exist_does_not_wait() {
    run(async {
        let (_, _, mut client) = one_topic();
        let mut request = fetch(TOPIC, 0, 0).with_min_bytes(1).with_max_wait_ms(3_600_000);
        request.topics.extend(fetch("missing", 0, 0).topics);
        let response = client.call(&request, 11).await;
        let errors: Vec<_> =
            response.responses.iter().map(|topic| topic.partitions[0].error_code).collect();
        assert_eq!(errors, [0, ErrorCode::UnknownTopicOrPartition.code()]);
    });
}

#[test]
fn a_fetch_session_is_never_granted_and_an_invented_one_is_unknown() {
    run(async {
        let (_, _, mut client) = one_topic();
        let begin = fetch(TOPIC, 0, 0).with_session_epoch(0);
        let response = client.call(&begin, 11).await;
        assert_eq!((response.error_code, response.session_id), (0, 0));
        let unknown = begin.with_session_id(5).with_session_epoch(3);
        let response = client.call(&unknown, 11).await;
        assert_eq!(response.error_code, ErrorCode::FetchSessionIdNotFound.code());
    });
}

#[test]
fn offsets_are_listed_by_end_time_and_largest_timestamp() {
    run(async {
        let (_, _, mut client) = one_topic();
        produced(&mut client, &produce(TOPIC, 0, 1, batch(4, b"x").freeze()), 9).await;
        for (timestamp, offset) in [(-1, 4), (-2, 0), (-3, 3), (1_500, 0), (9_999, -1)] {
            let partition =
                list_offsets_request::ListOffsetsPartition::default().with_timestamp(timestamp);
            let topic = list_offsets_request::ListOffsetsTopic::default()
                .with_name(name(TOPIC))
                .with_partitions(vec![partition]);
            let request = ListOffsetsRequest::default().with_topics(vec![topic]);
            let response = client.call(&request, 7).await;
            let partition = &response.topics[0].partitions[0];
            assert_eq!((partition.error_code, partition.offset), (0, offset), "{timestamp}");
        }
    });
}

#[test]
fn every_idempotent_producer_gets_an_id_of_its_own() {
    run(async {
        let (_, _, mut client) = one_topic();
        let first = client.call(&InitProducerIdRequest::sample(4), 4).await;
        let second = client.call(&InitProducerIdRequest::sample(0), 0).await;
        assert_eq!((first.error_code, first.producer_epoch), (0, 0));
        assert_ne!(first.producer_id, second.producer_id);
    });
}
