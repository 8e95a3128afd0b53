//! DeleteRecords: moves the start of logs forward (KIP-107).

use futures_util::future::join_all;
use kraft_model::{ErrorCode, Offset};
use proto_kafka::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use proto_kafka::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::Context;
use super::list_offsets::partition;
use super::wire::NONE;
use crate::kafka::backend::Backend;

pub async fn handle<B: Backend>(
    context: &Context<B>,
    request: DeleteRecordsRequest,
    _version: i16,
) -> DeleteRecordsResponse {
    let topics = request.topics.iter().map(|topic| async {
        let partitions = topic.partitions.iter().map(|wanted| async {
            let index = wanted.partition_index;
            answer(index, delete(context, &topic.name, index, wanted.offset).await)
        });
        DeleteRecordsTopicResult::default()
            .with_name(topic.name.clone())
            .with_partitions(join_all(partitions).await)
    });
    DeleteRecordsResponse::default().with_topics(join_all(topics).await)
}

async fn delete<B: Backend>(
    context: &Context<B>,
    topic: &str,
    index: i32,
    before: i64,
) -> Result<Offset, ErrorCode> {
    let partition = partition(context, topic, index)?;
    if before < -1 {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    context.backend.delete_records(partition, before).await
}

fn answer(index: i32, start: Result<Offset, ErrorCode>) -> DeleteRecordsPartitionResult {
    let answer = DeleteRecordsPartitionResult::default().with_partition_index(index);
    match start {
        Ok(start) => answer.with_error_code(NONE).with_low_watermark(start.0),
        Err(error) => answer.with_error_code(error.code()).with_low_watermark(-1),
    }
}
