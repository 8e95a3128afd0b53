//! Fetch: record batches as bytes, from the one that holds the asked offset on.
//!
//! There are no incremental sessions (KIP-227): every answer says session 0, which tells a client
//! to name all its partitions each time. Followers do not fetch here; they use the peer protocol.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kraft_model::metadata::Image;
use kraft_model::{ErrorCode, Offset, TopicPartition};
use proto_kafka::messages::fetch_request::{FetchPartition, FetchTopic};
use proto_kafka::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use proto_kafka::messages::{BrokerId, FetchRequest, FetchResponse};

use super::Context;
use super::wire::{leader_epoch, leader_id, timeout, topic_by_name};
use crate::kafka::backend::{Backend, FetchItem, FetchRead, FetchSpec};

/// The most that one answer carries: Kafka's `fetch.max.bytes` of the broker.
const MAX_BYTES: i32 = 55 * 1024 * 1024;
/// A wait beyond this is the client's mistake: connections are closed as idle before.
const MAX_WAIT: Duration = Duration::from_secs(300);
const READ_COMMITTED: i8 = 1;
const FINAL_EPOCH: i32 = -1;

pub async fn handle<B: Backend>(
    context: &Context<B>,
    request: FetchRequest,
    version: i16,
) -> FetchResponse {
    if let Some(error) = session_error(&request, version) {
        return FetchResponse::default().with_error_code(error.code());
    }
    let image = context.backend.image();
    let mut items = Vec::new();
    // In the request's order: an error, or the place in `items`.
    let mut places = Vec::new();
    for topic in &request.topics {
        for wanted in &topic.partitions {
            places.push(item(&image, &request, topic, wanted).map(|item| {
                items.push(item);
                items.len() - 1
            }));
        }
    }
    // An error is news: the client must not wait for records to hear of it.
    let waits = !items.is_empty() && places.iter().all(Result::is_ok);
    let spec = FetchSpec {
        items,
        max_wait: if waits { timeout(request.max_wait_ms).min(MAX_WAIT) } else { Duration::ZERO },
        min_bytes: usize::try_from(request.min_bytes).unwrap_or(0),
        max_bytes: usize::try_from(request.max_bytes.min(MAX_BYTES)).unwrap_or(0),
    };
    let mut fetched: Vec<Option<Result<FetchRead, ErrorCode>>> = if spec.items.is_empty() {
        Vec::new()
    } else {
        context.backend.fetch(spec).await.into_iter().map(|item| Some(item.result)).collect()
    };
    let mut outcomes = places.into_iter().map(|place| {
        let read = fetched.get_mut(place?).and_then(Option::take);
        read.unwrap_or(Err(ErrorCode::UnknownServerError))
    });
    let image = context.backend.image();
    let committed_only = request.isolation_level == READ_COMMITTED;
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(outcomes.by_ref());
        let partitions = partitions
            .map(|(wanted, outcome)| partition(&image, topic, wanted, outcome, committed_only));
        FetchableTopicResponse::default()
            .with_topic(topic.topic.clone())
            .with_partitions(partitions.collect())
    });
    FetchResponse::default().with_responses(topics.collect())
}

/// Session 0 with epoch 0 asks for a session and gets none; epoch -1 wants none or ends one.
/// Anything else continues a session that cannot exist here.
fn session_error(request: &FetchRequest, version: i16) -> Option<ErrorCode> {
    if version < 7 || request.session_epoch == FINAL_EPOCH {
        return None;
    }
    let begins = request.session_id == 0 && request.session_epoch == 0;
    (!begins).then_some(ErrorCode::FetchSessionIdNotFound)
}

fn item(
    image: &Image,
    request: &FetchRequest,
    topic: &FetchTopic,
    wanted: &FetchPartition,
) -> Result<FetchItem, ErrorCode> {
    if request.replica_id.0 >= 0 {
        return Err(ErrorCode::InvalidRequest);
    }
    let found = topic_by_name(image, &topic.topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let exists = usize::try_from(wanted.partition).is_ok_and(|at| at < found.partitions.len());
    if !exists {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    if wanted.fetch_offset < 0 {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    Ok(FetchItem {
        partition: TopicPartition { topic: found.id, partition: wanted.partition },
        offset: Offset(wanted.fetch_offset),
        leader_epoch: leader_epoch(wanted.current_leader_epoch),
        last_epoch: leader_epoch(wanted.last_fetched_epoch),
        max_bytes: usize::try_from(wanted.partition_max_bytes).unwrap_or(0),
    })
}

fn partition(
    image: &Image,
    topic: &FetchTopic,
    wanted: &FetchPartition,
    outcome: Result<FetchRead, ErrorCode>,
    committed_only: bool,
) -> PartitionData {
    let answer = PartitionData::default()
        .with_partition_index(wanted.partition)
        .with_preferred_read_replica(BrokerId(-1))
        .with_aborted_transactions(committed_only.then(Vec::new))
        .with_records(Some(Bytes::new()));
    match outcome {
        Ok(read) => {
            let answer = answer
                .with_high_watermark(read.high_watermark.0)
                .with_last_stable_offset(read.high_watermark.0)
                .with_log_start_offset(read.log_start.0);
            match read.diverging {
                Some(end) => answer.with_diverging_epoch(
                    EpochEndOffset::default().with_epoch(end.epoch).with_end_offset(end.end.0),
                ),
                None => answer.with_records(Some(joined(read.records))),
            }
        }
        Err(error) => {
            let answer = answer
                .with_error_code(error.code())
                .with_high_watermark(-1)
                .with_last_stable_offset(-1)
                .with_log_start_offset(-1);
            match error {
                ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch => {
                    answer.with_current_leader(current_leader(image, topic, wanted.partition))
                }
                _ => answer,
            }
        }
    }
}

/// The codec takes one slice per partition: one is passed on as it is, several are joined.
fn joined(mut records: Vec<Bytes>) -> Bytes {
    if records.len() <= 1 {
        return records.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(records.iter().map(Bytes::len).sum());
    records.iter().for_each(|part| whole.extend_from_slice(part));
    whole.freeze()
}

fn current_leader(image: &Image, topic: &FetchTopic, index: i32) -> LeaderIdAndEpoch {
    let partition = topic_by_name(image, &topic.topic)
        .and_then(|topic| topic.partitions.get(usize::try_from(index).ok()?));
    match partition {
        Some(partition) => LeaderIdAndEpoch::default()
            .with_leader_id(leader_id(partition.leader))
            .with_leader_epoch(partition.leader_epoch.0),
        None => LeaderIdAndEpoch::default(),
    }
}
