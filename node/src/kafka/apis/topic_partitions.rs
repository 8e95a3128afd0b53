//! DescribeTopicPartitions: topics page by page, with their ELR (KIP-966).

use std::collections::BTreeSet;

use kraft_model::ErrorCode;
use kraft_model::metadata::{Image, Partition};
use proto_kafka::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use proto_kafka::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};

use super::Context;
use super::wire::{
    NO_OPERATIONS, TOPIC_OPERATIONS, broker_ids, check_topic_name, is_internal, is_reachable,
    leader_id, topic_by_name, topic_name, wire_id,
};
use crate::kafka::backend::Backend;

/// Partitions in one answer: Kafka's `max.request.partition.size.limit`.
const PARTITION_LIMIT: usize = 2_000;

pub async fn describe<B: Backend>(
    context: &Context<B>,
    request: DescribeTopicPartitionsRequest,
    _version: i16,
) -> DescribeTopicPartitionsResponse {
    let image = context.backend.image();
    let mut names: BTreeSet<String> = if request.topics.is_empty() {
        image.topic_ids.keys().map(|name| name.to_string()).collect()
    } else {
        request.topics.iter().map(|topic| topic.name.to_string()).collect()
    };
    let mut first_index = 0;
    if let Some(cursor) = &request.cursor {
        let from = cursor.topic_name.to_string();
        names = names.split_off(&from);
        if names.contains(&from) {
            first_index = usize::try_from(cursor.partition_index).unwrap_or(0);
        }
    }
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut page = Page {
        image: &image,
        listener: &context.listener,
        left: limit.clamp(1, PARTITION_LIMIT),
        topics: Vec::new(),
        next: None,
    };
    for name in &names {
        if page.next.is_none() {
            page.topic(name, first_index);
            first_index = 0;
        }
    }
    DescribeTopicPartitionsResponse::default().with_topics(page.topics).with_next_cursor(page.next)
}

/// An answer that is being filled.
struct Page<'a> {
    image: &'a Image,
    listener: &'a str,
    left: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    /// Where the next page begins, once this one is full.
    next: Option<Cursor>,
}

impl Page<'_> {
    fn topic(&mut self, name: &str, from: usize) {
        let answer = DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(topic_name(name)))
            .with_is_internal(is_internal(name));
        let Some(topic) = topic_by_name(self.image, name) else {
            let error = match check_topic_name(name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(refusal) => refusal.code,
            };
            let answer = answer.with_error_code(error.code());
            self.topics.push(answer.with_topic_authorized_operations(NO_OPERATIONS));
            return;
        };
        if self.left == 0 {
            self.next = Some(cursor(name, from));
            return;
        }
        let rest = topic.partitions.iter().enumerate().skip(from);
        let partitions: Vec<_> = rest
            .take(self.left)
            .map(|(index, partition)| self.partition(index as i32, partition))
            .collect();
        self.left -= partitions.len();
        let end = from + partitions.len();
        if end < topic.partitions.len() {
            self.next = Some(cursor(name, end));
        }
        self.topics.push(
            answer
                .with_topic_id(wire_id(topic.id))
                .with_partitions(partitions)
                .with_topic_authorized_operations(TOPIC_OPERATIONS),
        );
    }

    fn partition(
        &self,
        index: i32,
        partition: &Partition,
    ) -> DescribeTopicPartitionsResponsePartition {
        let reaches = |node| is_reachable(self.image, self.listener, node);
        let leader = partition.leader.filter(|&leader| reaches(leader));
        let error = match leader {
            Some(_) => super::wire::NONE,
            None => ErrorCode::LeaderNotAvailable.code(),
        };
        let offline = partition.replicas.iter().filter(|&&replica| !reaches(replica));
        DescribeTopicPartitionsResponsePartition::default()
            .with_error_code(error)
            .with_partition_index(index)
            .with_leader_id(leader_id(leader))
            .with_leader_epoch(partition.leader_epoch.0)
            .with_replica_nodes(broker_ids(&partition.replicas))
            .with_isr_nodes(broker_ids(&partition.isr))
            .with_eligible_leader_replicas(Some(broker_ids(&partition.elr)))
            .with_last_known_elr(Some(broker_ids(&partition.last_known_elr)))
            .with_offline_replicas(offline.map(|replica| BrokerId(replica.0)).collect())
    }
}

fn cursor(topic: &str, index: usize) -> Cursor {
    Cursor::default().with_topic_name(topic_name(topic)).with_partition_index(index as i32)
}
