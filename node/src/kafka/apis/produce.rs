//! Produce: one record batch per partition into the log, as bytes (KIP-98, KIP-951).
//!
//! The batch's header and checksum are checked here, before anything is appended; its records are
//! never looked into.

use std::collections::BTreeSet;

use bytes::Bytes;
use kraft_model::metadata::{Image, Refusal, Topic};
use kraft_model::replica::Acks;
use kraft_model::{ErrorCode, NodeId, TopicPartition};
use proto_kafka::messages::produce_request::{PartitionProduceData, TopicProduceData};
use proto_kafka::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use proto_kafka::messages::{BrokerId, ProduceRequest, ProduceResponse};

use super::wire::{endpoint, leader_id, refused, string, timeout, topic_by_name};
use super::{Context, Reply, configs};
use crate::kafka::backend::{Backend, ProduceItem, Produced};
use crate::storage::{BatchError, RecordBatch};

const ZSTD: i16 = 4;
const LOG_APPEND_TIME: i16 = 8;
/// The first version that may carry zstd (KIP-110).
const ZSTD_VERSION: i16 = 7;
/// The first version that tells a client who leads now (KIP-951).
const LEADER_VERSION: i16 = 10;

type Outcome = Result<Produced, Refusal>;

pub async fn handle<B: Backend>(
    context: &Context<B>,
    request: ProduceRequest,
    version: i16,
) -> Reply {
    let image = context.backend.image();
    let acks = acks(request.acks);
    let form = whole_request(&request, acks);
    let mut items = Vec::new();
    // In the request's order: a refusal, or the place in `items`.
    let mut checked = Vec::new();
    for topic in &request.topic_data {
        let found = topic_by_name(&image, &topic.name);
        let limit = found
            .map(|found| configs::topic_number(context, &image, &found.name, "max.message.bytes"));
        for data in &topic.partition_data {
            let item = form.clone().and_then(|()| check(found, limit, data, version));
            checked.push(item.map(|item| {
                items.push(item);
                items.len() - 1
            }));
        }
    }
    let acks = acks.unwrap_or(Acks::None);
    let appended = if items.is_empty() {
        Vec::new()
    } else {
        let turn = context.turns.clone().lock_owned().await;
        context.backend.append(items, acks, timeout(request.timeout_ms), turn).await
    };
    let outcomes: Vec<Outcome> = checked
        .into_iter()
        .map(|place| match appended.get(place?) {
            Some(result) => result.map_err(plain),
            None => Err(plain(ErrorCode::UnknownServerError)),
        })
        .collect();
    if request.acks == 0 {
        return match outcomes.iter().all(Result::is_ok) {
            true => Reply::Silent,
            false => Reply::Close("a batch of a request without acknowledgement was refused"),
        };
    }
    respond(context, &request.topic_data, outcomes, version).into()
}

fn acks(acks: i16) -> Option<Acks> {
    match acks {
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    }
}

fn plain(code: ErrorCode) -> Refusal {
    Refusal::new(code, code.name())
}

fn whole_request(request: &ProduceRequest, acks: Option<Acks>) -> Result<(), Refusal> {
    if acks.is_none() {
        let message = format!("acks is {}; 0, 1 and -1 (all) are possible", request.acks);
        return Err(Refusal::new(ErrorCode::InvalidRequiredAcks, message));
    }
    if request.transactional_id.is_some() {
        let message = "transactions are not supported; leave transactional.id unset";
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    Ok(())
}

fn check(
    topic: Option<&Topic>,
    limit: Option<i64>,
    data: &PartitionProduceData,
    version: i16,
) -> Result<ProduceItem, Refusal> {
    let topic = topic.ok_or_else(|| plain(ErrorCode::UnknownTopicOrPartition))?;
    let exists = usize::try_from(data.index).is_ok_and(|at| at < topic.partitions.len());
    if !exists {
        return Err(plain(ErrorCode::UnknownTopicOrPartition));
    }
    let batch = data.records.clone().unwrap_or_default();
    check_batch(&batch, limit.unwrap_or(i64::MAX), version)?;
    Ok(ProduceItem { partition: TopicPartition { topic: topic.id, partition: data.index }, batch })
}

/// Exactly one whole batch, with a good checksum, that a client may send.
fn check_batch(bytes: &Bytes, limit: i64, version: i16) -> Result<(), Refusal> {
    let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRecord, message));
    let batch = RecordBatch::read(bytes).map_err(broken)?;
    if batch.size != bytes.len() {
        return invalid("a partition takes exactly one record batch per request");
    }
    if batch.size as u64 > u64::try_from(limit).unwrap_or(0) {
        let message = format!("the batch has {} bytes, max.message.bytes is {limit}", batch.size);
        return Err(Refusal::new(ErrorCode::MessageTooLarge, message));
    }
    batch.verify(bytes).map_err(broken)?;
    if batch.record_count <= 0 || i64::from(batch.record_count) != batch.end().since(batch.base) {
        return invalid("the batch's record count does not fit its offsets");
    }
    if batch.is_control() || batch.is_transactional() {
        return invalid("control batches and transactional batches are not accepted");
    }
    if batch.producer_id.0 >= 0 && (batch.base_sequence < 0 || batch.producer_epoch.0 < 0) {
        return invalid("a batch with a producer id needs a sequence number and an epoch");
    }
    if batch.attributes & LOG_APPEND_TIME != 0 {
        let message = "only the broker stamps batches with the append time";
        return Err(Refusal::new(ErrorCode::InvalidTimestamp, message));
    }
    match batch.compression() {
        0..ZSTD => Ok(()),
        ZSTD if version >= ZSTD_VERSION => Ok(()),
        _ => Err(plain(ErrorCode::UnsupportedCompressionType)),
    }
}

fn broken(error: BatchError) -> Refusal {
    let code = match error {
        BatchError::Magic(_) | BatchError::Malformed(_) => ErrorCode::InvalidRecord,
        BatchError::Short { have: 0 } => ErrorCode::InvalidRecord,
        _ => ErrorCode::CorruptMessage,
    };
    Refusal::new(code, error.to_string())
}

fn respond<B: Backend>(
    context: &Context<B>,
    topics: &[TopicProduceData],
    outcomes: Vec<Outcome>,
    version: i16,
) -> ProduceResponse {
    // The image of now: what refused the batch may be newer than what the request was read with.
    let image = context.backend.image();
    let mut outcomes = outcomes.into_iter();
    let mut moved_to = BTreeSet::new();
    let mut responses = Vec::with_capacity(topics.len());
    for topic in topics {
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for (data, outcome) in topic.partition_data.iter().zip(outcomes.by_ref()) {
            let hint = version >= LEADER_VERSION
                && outcome.as_ref().is_err_and(|e| e.code == ErrorCode::NotLeaderOrFollower);
            let mut answer = partition(data.index, outcome);
            if hint && let Some((leader, current)) = current(&image, &topic.name, data.index) {
                moved_to.extend(leader);
                answer = answer.with_current_leader(current);
            }
            partitions.push(answer);
        }
        responses.push(
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_partition_responses(partitions),
        );
    }
    ProduceResponse::default().with_responses(responses).with_node_endpoints(node_endpoints(
        &image,
        &context.listener,
        &moved_to,
    ))
}

fn partition(index: i32, outcome: Outcome) -> PartitionProduceResponse {
    let answer = PartitionProduceResponse::default().with_index(index);
    match outcome {
        Ok(produced) => answer
            .with_base_offset(produced.base.0)
            .with_log_append_time_ms(produced.append_time_ms)
            .with_log_start_offset(produced.log_start.0),
        Err(refusal) => {
            let (code, message) = refused(&refusal);
            answer
                .with_error_code(code)
                .with_error_message(message)
                .with_base_offset(-1)
                .with_log_append_time_ms(-1)
                .with_log_start_offset(-1)
        }
    }
}

fn current(image: &Image, topic: &str, index: i32) -> Option<(Option<NodeId>, LeaderIdAndEpoch)> {
    let partitions = &topic_by_name(image, topic)?.partitions;
    let partition = partitions.get(usize::try_from(index).ok()?)?;
    let current = LeaderIdAndEpoch::default()
        .with_leader_id(leader_id(partition.leader))
        .with_leader_epoch(partition.leader_epoch.0);
    Some((partition.leader, current))
}

fn node_endpoints(image: &Image, listener: &str, nodes: &BTreeSet<NodeId>) -> Vec<NodeEndpoint> {
    let brokers = nodes.iter().filter_map(|node| image.brokers.get(node));
    brokers
        .filter_map(|broker| {
            let (host, port) = endpoint(broker, listener)?;
            Some(
                NodeEndpoint::default()
                    .with_node_id(BrokerId(broker.id.0))
                    .with_host(string(host))
                    .with_port(port)
                    .with_rack(broker.rack.as_deref().map(string)),
            )
        })
        .collect()
}
