//! CreateTopics, DeleteTopics and CreatePartitions. After a success the answer waits a moment for
//! this broker's own image, so that the next question to this broker finds what was made.

use std::collections::BTreeMap;
use std::time::Duration;

use kraft_model::metadata::{CreatePartitions, NewTopic, Refusal, Request, TopicCreated, TopicRef};
use kraft_model::{ErrorCode, NodeId, TopicId};
use proto_kafka::messages::create_partitions_request::CreatePartitionsTopic;
use proto_kafka::messages::create_partitions_response::CreatePartitionsTopicResult;
use proto_kafka::messages::create_topics_request::CreatableTopic;
use proto_kafka::messages::create_topics_response::CreatableTopicResult;
use proto_kafka::messages::delete_topics_response::DeletableTopicResult;
use proto_kafka::messages::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
    CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};

use super::wire::{
    check_topic_name, expect_answer, outcome, timeout, topic_by_name, topic_id, topic_name,
    unexpected, wait_for_image, wire_id,
};
use super::{Context, configs};
use crate::kafka::backend::Backend;

/// How long an answer may wait for this broker's image; a broker that is further behind than this
/// has worse troubles.
const IMAGE_WAIT: Duration = Duration::from_secs(2);
/// The first version that returns the new topic's shape and configuration (KIP-525).
const SHAPE_VERSION: i16 = 5;

pub async fn create<B: Backend>(
    context: &Context<B>,
    request: CreateTopicsRequest,
    version: i16,
) -> CreateTopicsResponse {
    let mut count = BTreeMap::<&str, usize>::new();
    request.topics.iter().for_each(|topic| *count.entry(topic.name.as_str()).or_default() += 1);
    let mut asked = Vec::new();
    let mut results = BTreeMap::<String, Result<TopicCreated, Refusal>>::new();
    for topic in &request.topics {
        let form = if count[topic.name.as_str()] > 1 {
            Err(Refusal::new(ErrorCode::InvalidRequest, "the request names this topic twice"))
        } else {
            new_topic(topic)
        };
        match form {
            Ok(new) => asked.push(new),
            Err(refusal) => {
                results.insert(topic.name.to_string(), Err(refusal));
            }
        }
    }
    if !asked.is_empty() {
        let names: Vec<String> = asked.iter().map(|topic| topic.name.clone()).collect();
        let validate_only = request.validate_only;
        let asked = Request::CreateTopics { topics: asked, validate_only };
        let response = context.backend.controller(asked, timeout(request.timeout_ms)).await;
        match expect_answer!(response, CreateTopics) {
            Ok(answers) => results.extend(answers),
            Err(refusal) => {
                results.extend(names.into_iter().map(|name| (name, Err(refusal.clone()))));
            }
        }
    }
    if !request.validate_only {
        let ids: Vec<TopicId> =
            results.values().filter_map(|result| Some(result.as_ref().ok()?.id)).collect();
        wait_for_image(context, IMAGE_WAIT, |image| {
            ids.iter().all(|id| image.topics.contains_key(id))
        })
        .await;
    }
    let topics = request.topics.iter().map(|topic| {
        let result = results.get(topic.name.as_str()).cloned();
        created(context, topic, result.unwrap_or_else(|| Err(unexpected())), version)
    });
    CreateTopicsResponse::default().with_topics(topics.collect())
}

/// The request's form: a name that can be one, counts or assignments but not both, assignments for
/// partitions 0, 1, 2 ...
fn new_topic(topic: &CreatableTopic) -> Result<NewTopic, Refusal> {
    check_topic_name(&topic.name)?;
    let mut assignments: Vec<_> = topic.assignments.iter().collect();
    assignments.sort_by_key(|assignment| assignment.partition_index);
    let dense = assignments.iter().zip(0..).all(|(given, index)| given.partition_index == index);
    if !dense {
        let message = "assignments must be for partitions 0, 1, 2 ... without gap or repetition";
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    if !assignments.is_empty() && (topic.num_partitions != -1 || topic.replication_factor != -1) {
        let message = "with assignments, partition count and replication factor must be -1";
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    Ok(NewTopic {
        name: topic.name.to_string(),
        partitions: (topic.num_partitions != -1).then_some(topic.num_partitions),
        replication_factor: (topic.replication_factor != -1).then_some(topic.replication_factor),
        assignments: assignments.iter().map(|given| nodes(&given.broker_ids)).collect(),
        configs: topic
            .configs
            .iter()
            .filter_map(|config| {
                Some((config.name.to_string(), config.value.as_ref()?.to_string()))
            })
            .collect(),
    })
}

fn nodes(brokers: &[BrokerId]) -> Vec<NodeId> {
    brokers.iter().map(|broker| NodeId(broker.0)).collect()
}

fn created<B: Backend>(
    context: &Context<B>,
    topic: &CreatableTopic,
    result: Result<TopicCreated, Refusal>,
    version: i16,
) -> CreatableTopicResult {
    let (error, message) = outcome(&result);
    let answer = CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_code(error)
        .with_error_message(message)
        .with_num_partitions(-1)
        .with_replication_factor(-1);
    match result {
        Ok(created) if version >= SHAPE_VERSION => {
            let configs = configs::of_created_topic(context, &created);
            answer
                .with_topic_id(wire_id(created.id))
                .with_num_partitions(created.partitions)
                .with_replication_factor(created.replication_factor)
                .with_configs(Some(configs))
        }
        _ => answer,
    }
}

pub async fn delete<B: Backend>(
    context: &Context<B>,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let topics: Vec<TopicRef> = if version >= 6 {
        let refs = request.topics.iter().map(|topic| match &topic.name {
            Some(name) => TopicRef::Name(name.to_string()),
            None => TopicRef::Id(topic_id(topic.topic_id)),
        });
        refs.collect()
    } else {
        request.topic_names.iter().map(|name| TopicRef::Name(name.to_string())).collect()
    };
    let asked = Request::DeleteTopics { topics: topics.clone() };
    let response = context.backend.controller(asked, timeout(request.timeout_ms)).await;
    let results = expect_answer!(response, DeleteTopics).unwrap_or_else(|refusal| {
        topics.into_iter().map(|topic| (topic, Err(refusal.clone()))).collect()
    });
    let gone: Vec<TopicId> =
        results.iter().filter_map(|(_, result)| Some(result.as_ref().ok()?.0)).collect();
    wait_for_image(context, IMAGE_WAIT, |image| {
        gone.iter().all(|id| !image.topics.contains_key(id))
    })
    .await;
    DeleteTopicsResponse::default()
        .with_responses(results.into_iter().map(|(topic, result)| deleted(topic, result)).collect())
}

fn deleted(topic: TopicRef, result: Result<(TopicId, String), Refusal>) -> DeletableTopicResult {
    let (error, message) = outcome(&result);
    let (name, id) = match (result, topic) {
        (Ok((id, name)), _) => (Some(name), id),
        (Err(_), TopicRef::Name(name)) => (Some(name), TopicId::ZERO),
        (Err(_), TopicRef::Id(id)) => (None, id),
    };
    DeletableTopicResult::default()
        .with_name(name.as_deref().map(topic_name))
        .with_topic_id(wire_id(id))
        .with_error_code(error)
        .with_error_message(message)
}

pub async fn create_partitions<B: Backend>(
    context: &Context<B>,
    request: CreatePartitionsRequest,
    _version: i16,
) -> CreatePartitionsResponse {
    let topics: Vec<CreatePartitions> = request.topics.iter().map(more_partitions).collect();
    let validate_only = request.validate_only;
    let asked = Request::CreatePartitions { topics: topics.clone(), validate_only };
    let response = context.backend.controller(asked, timeout(request.timeout_ms)).await;
    let results = expect_answer!(response, CreatePartitions).unwrap_or_else(|refusal| {
        topics.iter().map(|topic| (topic.topic.clone(), Err(refusal.clone()))).collect()
    });
    if !validate_only {
        let grown = |topic: &CreatePartitions| {
            results.iter().any(|(name, result)| *name == topic.topic && result.is_ok())
        };
        let grown: Vec<_> = topics.iter().filter(|&topic| grown(topic)).collect();
        wait_for_image(context, IMAGE_WAIT, |image| {
            grown.iter().all(|wanted| {
                topic_by_name(image, &wanted.topic)
                    .is_none_or(|topic| topic.partitions.len() as i64 >= i64::from(wanted.total))
            })
        })
        .await;
    }
    let results = results.iter().map(|(name, result)| {
        let (error, message) = outcome(result);
        CreatePartitionsTopicResult::default()
            .with_name(topic_name(name))
            .with_error_code(error)
            .with_error_message(message)
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

fn more_partitions(topic: &CreatePartitionsTopic) -> CreatePartitions {
    let assignments = topic.assignments.as_deref().unwrap_or_default();
    CreatePartitions {
        topic: topic.name.to_string(),
        total: topic.count,
        assignments: assignments.iter().map(|given| nodes(&given.broker_ids)).collect(),
    }
}
