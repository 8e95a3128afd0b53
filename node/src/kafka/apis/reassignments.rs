//! AlterPartitionReassignments and ListPartitionReassignments (KIP-455, P7).

use std::collections::BTreeMap;

use kraft_model::inline::Nodes;
use kraft_model::limits::MAX_REPLICAS;
use kraft_model::metadata::{Image, Partition, ReassignPartition, Refusal, Request, Topic};
use kraft_model::{ErrorCode, NodeId, TopicPartition};
use proto_kafka::messages::alter_partition_reassignments_request::ReassignablePartition;
use proto_kafka::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use proto_kafka::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use proto_kafka::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::Context;
use super::wire::{
    broker_ids, expect_answer, outcome, refused, timeout, topic_by_name, topic_name, unexpected,
};
use crate::kafka::backend::Backend;

pub async fn alter<B: Backend>(
    context: &Context<B>,
    request: AlterPartitionReassignmentsRequest,
    _version: i16,
) -> AlterPartitionReassignmentsResponse {
    let image = context.backend.image();
    let keep_factor = !request.allow_replication_factor_change;
    let mut asked = Vec::new();
    // In the request's order: a refusal, or which partition was asked for.
    let mut forms = Vec::new();
    for topic in &request.topics {
        let found = topic_by_name(&image, &topic.name);
        for wanted in &topic.partitions {
            forms.push(change(found, wanted, keep_factor).map(|change| {
                asked.push(change);
                change.id
            }));
        }
    }
    let mut results = BTreeMap::new();
    if !asked.is_empty() {
        let asked = Request::ReassignPartitions { partitions: asked };
        let response = context.backend.controller(asked, timeout(request.timeout_ms)).await;
        match expect_answer!(response, ReassignPartitions) {
            Ok(answers) => results.extend(answers),
            Err(refusal) => {
                let (error, message) = refused(&refusal);
                return AlterPartitionReassignmentsResponse::default()
                    .with_error_code(error)
                    .with_error_message(message);
            }
        }
    }
    let mut outcomes = forms.into_iter().map(|form| {
        let answer: Option<&Result<(), Refusal>> = results.get(&form?);
        answer.cloned().unwrap_or_else(|| Err(unexpected()))
    });
    let responses = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(outcomes.by_ref());
        let partitions = partitions.map(|(wanted, result)| {
            let (error, message) = outcome(&result);
            ReassignablePartitionResponse::default()
                .with_partition_index(wanted.partition_index)
                .with_error_code(error)
                .with_error_message(message)
        });
        ReassignableTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    AlterPartitionReassignmentsResponse::default()
        .with_allow_replication_factor_change(request.allow_replication_factor_change)
        .with_responses(responses.collect())
}

fn change(
    topic: Option<&Topic>,
    wanted: &ReassignablePartition,
    keep_factor: bool,
) -> Result<ReassignPartition, Refusal> {
    let unknown = || Refusal::new(ErrorCode::UnknownTopicOrPartition, "there is no such partition");
    let topic = topic.ok_or_else(unknown)?;
    let at = usize::try_from(wanted.partition_index).map_err(|_| unknown())?;
    let partition = topic.partitions.get(at).ok_or_else(unknown)?;
    let id = TopicPartition { topic: topic.id, partition: wanted.partition_index };
    let Some(replicas) = &wanted.replicas else {
        return Ok(ReassignPartition { id, replicas: None });
    };
    let replicas: Vec<NodeId> = replicas.iter().map(|broker| NodeId(broker.0)).collect();
    let target = Nodes::try_from_slice(&replicas).map_err(|_| {
        let message = format!("a partition has at most {MAX_REPLICAS} replicas");
        Refusal::new(ErrorCode::InvalidReplicaAssignment, message)
    })?;
    // The client's own condition on its request (KIP-860), not a rule of the cluster.
    let factor = partition.replicas.without(&partition.removing).len();
    if keep_factor && target.len() != factor {
        let message = format!("{} replicas would change the factor of {factor}", target.len());
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
    }
    Ok(ReassignPartition { id, replicas: Some(target) })
}

pub async fn list<B: Backend>(
    context: &Context<B>,
    request: ListPartitionReassignmentsRequest,
    _version: i16,
) -> ListPartitionReassignmentsResponse {
    let image = context.backend.image();
    let topics = match &request.topics {
        None => every_reassignment(&image),
        Some(wanted) => wanted
            .iter()
            .filter_map(|wanted| {
                let topic = topic_by_name(&image, &wanted.name)?;
                ongoing(topic, wanted.partition_indexes.iter().copied())
            })
            .collect(),
    };
    ListPartitionReassignmentsResponse::default().with_topics(topics)
}

fn every_reassignment(image: &Image) -> Vec<OngoingTopicReassignment> {
    let topics = image.topics.values();
    topics.filter_map(|topic| ongoing(topic, 0..topic.partitions.len() as i32)).collect()
}

fn ongoing(topic: &Topic, indexes: impl Iterator<Item = i32>) -> Option<OngoingTopicReassignment> {
    let partitions: Vec<_> = indexes
        .filter_map(|index| {
            let partition = topic.partitions.get(usize::try_from(index).ok()?)?;
            reassignment(index, partition)
        })
        .collect();
    let topic = OngoingTopicReassignment::default().with_name(topic_name(&topic.name));
    (!partitions.is_empty()).then(|| topic.with_partitions(partitions))
}

fn reassignment(index: i32, partition: &Partition) -> Option<OngoingPartitionReassignment> {
    if partition.adding.is_empty() && partition.removing.is_empty() {
        return None;
    }
    Some(
        OngoingPartitionReassignment::default()
            .with_partition_index(index)
            .with_replicas(broker_ids(&partition.replicas))
            .with_adding_replicas(broker_ids(&partition.adding))
            .with_removing_replicas(broker_ids(&partition.removing)),
    )
}
