//! DescribeLogDirs: this broker's directories and what its replicas take up there (KIP-113).

use std::collections::{BTreeMap, BTreeSet};

use kraft_model::TopicId;
use kraft_model::metadata::Image;
use proto_kafka::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use proto_kafka::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

use super::Context;
use super::wire::{NONE, string, topic_name};
use crate::kafka::backend::{Backend, LogDirInfo};

/// Topics by name with the partitions that were asked for; `None`: all.
type Wanted = Option<BTreeMap<String, BTreeSet<i32>>>;

pub async fn handle<B: Backend>(
    context: &Context<B>,
    request: DescribeLogDirsRequest,
    _version: i16,
) -> DescribeLogDirsResponse {
    let wanted: Wanted = request.topics.map(|topics| {
        let mut wanted = BTreeMap::<_, BTreeSet<i32>>::new();
        for topic in topics {
            wanted.entry(topic.topic.to_string()).or_default().extend(topic.partitions);
        }
        wanted
    });
    let dirs = context.backend.log_dirs().await;
    let image = context.backend.image();
    let results = dirs.iter().map(|dir| describe(&image, dir, &wanted));
    DescribeLogDirsResponse::default().with_results(results.collect())
}

fn describe(image: &Image, dir: &LogDirInfo, wanted: &Wanted) -> DescribeLogDirsResult {
    let mut topics = BTreeMap::<TopicId, Vec<DescribeLogDirsPartition>>::new();
    for &(id, size, lag) in &dir.replicas {
        let described = DescribeLogDirsPartition::default()
            .with_partition_index(id.partition)
            .with_partition_size(size)
            .with_offset_lag(lag);
        topics.entry(id.topic).or_default().push(described);
    }
    let topics = topics.into_iter().filter_map(|(id, mut partitions)| {
        let name = &image.topics.get(&id)?.name;
        if let Some(wanted) = wanted {
            let indexes = wanted.get(&**name)?;
            partitions.retain(|partition| indexes.contains(&partition.partition_index));
        }
        let topic = DescribeLogDirsTopic::default().with_name(topic_name(name));
        (!partitions.is_empty()).then(|| topic.with_partitions(partitions))
    });
    DescribeLogDirsResult::default()
        .with_error_code(dir.error.map_or(NONE, |error| error.code()))
        .with_log_dir(string(&dir.path))
        .with_topics(topics.collect())
        .with_total_bytes(dir.total_bytes)
        .with_usable_bytes(dir.usable_bytes)
}
