//! OffsetForLeaderEpoch: where an epoch ends, for a client that checks whether its position was
//! truncated away (KIP-320).

use futures_util::future::join_all;
use kraft_model::{EpochEnd, ErrorCode, LeaderEpoch};
use proto_kafka::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use proto_kafka::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use proto_kafka::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::Context;
use super::list_offsets::partition;
use super::wire::leader_epoch;
use crate::kafka::backend::Backend;

pub async fn handle<B: Backend>(
    context: &Context<B>,
    request: OffsetForLeaderEpochRequest,
    _version: i16,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|topic| async {
        let partitions = topic.partitions.iter().map(|wanted| async {
            answer(wanted.partition, end(context, &topic.topic, wanted).await)
        });
        OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic.clone())
            .with_partitions(join_all(partitions).await)
    });
    OffsetForLeaderEpochResponse::default().with_topics(join_all(topics).await)
}

async fn end<B: Backend>(
    context: &Context<B>,
    topic: &str,
    wanted: &OffsetForLeaderPartition,
) -> Result<EpochEnd, ErrorCode> {
    let partition = partition(context, topic, wanted.partition)?;
    let current = leader_epoch(wanted.current_leader_epoch);
    context.backend.end_of_epoch(partition, current, LeaderEpoch(wanted.leader_epoch)).await
}

fn answer(index: i32, end: Result<EpochEnd, ErrorCode>) -> EpochEndOffset {
    let answer = EpochEndOffset::default().with_partition(index);
    match end {
        Ok(end) => answer.with_leader_epoch(end.epoch).with_end_offset(end.end.0),
        Err(error) => {
            answer.with_error_code(error.code()).with_leader_epoch(-1).with_end_offset(-1)
        }
    }
}
