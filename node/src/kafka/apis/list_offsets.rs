//! ListOffsets: offsets by time, and a log's two ends.

use futures_util::future::join_all;
use kraft_model::{ErrorCode, TopicPartition};
use proto_kafka::messages::list_offsets_request::ListOffsetsPartition;
use proto_kafka::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use proto_kafka::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::Context;
use super::wire::{NONE, leader_epoch, topic_by_name};
use crate::kafka::backend::{Backend, ListOffset, ListedOffset};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
/// The first version that returns the leader epoch (KIP-320).
const EPOCH_VERSION: i16 = 4;
/// The first version that may ask for the largest timestamp (KIP-734).
const MAX_TIMESTAMP_VERSION: i16 = 7;

pub async fn handle<B: Backend>(
    context: &Context<B>,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let topics = request.topics.iter().map(|topic| async {
        let partitions = topic.partitions.iter().map(|wanted| async {
            let found = list(context, &topic.name, wanted, version).await;
            answer(wanted.partition_index, found, version)
        });
        ListOffsetsTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(join_all(partitions).await)
    });
    ListOffsetsResponse::default().with_topics(join_all(topics).await)
}

async fn list<B: Backend>(
    context: &Context<B>,
    topic: &str,
    wanted: &ListOffsetsPartition,
    version: i16,
) -> Result<ListedOffset, ErrorCode> {
    let query = match wanted.timestamp {
        LATEST => ListOffset::Latest,
        EARLIEST => ListOffset::Earliest,
        MAX_TIMESTAMP if version >= MAX_TIMESTAMP_VERSION => ListOffset::MaxTimestamp,
        time if time >= 0 => ListOffset::Timestamp(time),
        _ => return Err(ErrorCode::UnsupportedVersion),
    };
    let partition = partition(context, topic, wanted.partition_index)?;
    let epoch = leader_epoch(wanted.current_leader_epoch);
    context.backend.list_offset(partition, epoch, query).await
}

/// The partition of that name and number, if there is one.
pub fn partition<B: Backend>(
    context: &Context<B>,
    topic: &str,
    index: i32,
) -> Result<TopicPartition, ErrorCode> {
    let image = context.backend.image();
    let topic = topic_by_name(&image, topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let exists = usize::try_from(index).is_ok_and(|at| at < topic.partitions.len());
    let partition = TopicPartition { topic: topic.id, partition: index };
    if exists { Ok(partition) } else { Err(ErrorCode::UnknownTopicOrPartition) }
}

fn answer(
    index: i32,
    found: Result<ListedOffset, ErrorCode>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let answer = ListOffsetsPartitionResponse::default().with_partition_index(index);
    match found {
        Ok(listed) => {
            let epoch = if version >= EPOCH_VERSION { listed.leader_epoch.0 } else { -1 };
            answer
                .with_error_code(NONE)
                .with_offset(listed.offset)
                .with_timestamp(listed.timestamp)
                .with_leader_epoch(epoch)
        }
        Err(error) => answer
            .with_error_code(error.code())
            .with_offset(-1)
            .with_timestamp(-1)
            .with_leader_epoch(-1),
    }
}
