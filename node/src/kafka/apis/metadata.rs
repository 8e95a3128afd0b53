//! Metadata: who is there, which topics, who leads. Creates missing topics when asked to.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kraft_model::metadata::{Broker, Image, NewTopic, Partition, Request, Topic};
use kraft_model::{ErrorCode, NodeId, TopicId};
use proto_kafka::messages::metadata_request::MetadataRequestTopic;
use proto_kafka::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use proto_kafka::messages::{BrokerId, MetadataRequest, MetadataResponse};

use super::Context;
use super::wire::{
    CLUSTER_OPERATIONS, NO_OPERATIONS, TOPIC_OPERATIONS, broker_ids, check_topic_name, endpoint,
    expect_answer, is_internal, is_reachable, leader_id, string, topic_by_name, topic_id,
    topic_name, wait_for_image, wire_id,
};
use crate::kafka::backend::Backend;

/// How long a missing topic's creation may hold the answer up; the client asks again anyway.
const AUTO_CREATE_TIME: Duration = Duration::from_secs(2);
/// Topics that one request may bring into being.
const AUTO_CREATE_TOPICS: usize = 100;
/// The first version in which topics may be named by id (KIP-516).
const ID_VERSION: i16 = 12;

pub async fn handle<B: Backend>(
    context: &Context<B>,
    request: MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let all = match &request.topics {
        None => true,
        // Version 0 has no null, so that an empty list means all.
        Some(topics) => topics.is_empty() && version == 0,
    };
    let wanted = request.topics.unwrap_or_default();
    let created =
        if request.allow_auto_topic_creation && context.backend.config().auto_create_topics {
            create_missing(context, &wanted).await
        } else {
            Vec::new()
        };
    let image = context.backend.image();
    let listed = |broker: &Broker| context.backend.lists(broker);
    let view = View { image: &image, listener: &context.listener };
    let mut topics: Vec<MetadataResponseTopic> = if all {
        image
            .topic_ids
            .values()
            .filter_map(|id| image.topics.get(id))
            .map(|t| view.topic(t))
            .collect()
    } else {
        wanted.iter().map(|topic| view.wanted(topic, version, &created)).collect()
    };
    if request.include_topic_authorized_operations {
        for topic in topics.iter_mut().filter(|topic| topic.error_code == super::wire::NONE) {
            topic.topic_authorized_operations = TOPIC_OPERATIONS;
        }
    }
    let operations = if request.include_cluster_authorized_operations {
        CLUSTER_OPERATIONS
    } else {
        NO_OPERATIONS
    };
    MetadataResponse::default()
        .with_cluster_id(Some(string(&context.backend.cluster_id().to_string())))
        .with_controller_id(any_broker(&view.brokers(|broker| !broker.fenced)))
        .with_brokers(view.brokers(listed))
        .with_topics(topics)
        .with_cluster_authorized_operations(operations)
}

/// Controllers do not serve clients; whichever broker is named forwards to them. So it is one
/// broker after another, as good as a random one.
pub fn any_broker(brokers: &[MetadataResponseBroker]) -> BrokerId {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    match brokers.len() {
        0 => BrokerId(-1),
        count => brokers[TURN.fetch_add(1, Ordering::Relaxed) % count].node_id,
    }
}

/// Has the controller create what does not exist; what it refused, with the error.
async fn create_missing<B: Backend>(
    context: &Context<B>,
    wanted: &[MetadataRequestTopic],
) -> Vec<(String, ErrorCode)> {
    let image = context.backend.image();
    let missing: BTreeSet<String> = wanted
        .iter()
        .filter_map(|topic| topic.name.as_ref())
        .filter(|name| topic_by_name(&image, name).is_none() && check_topic_name(name).is_ok())
        .take(AUTO_CREATE_TOPICS)
        .map(|name| name.to_string())
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let topics = missing.iter().map(|name| new_topic(context, name)).collect();
    let request = Request::CreateTopics { topics, validate_only: false };
    let response = context.backend.controller(request, AUTO_CREATE_TIME).await;
    let results = match expect_answer!(response, CreateTopics) {
        Ok(results) => results,
        // The client asks again, and then there may be a controller.
        Err(_) => {
            let later = |name| (name, ErrorCode::LeaderNotAvailable);
            return missing.into_iter().map(later).collect();
        }
    };
    let (there, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(|(_, result)| {
        result.as_ref().err().is_none_or(|e| e.code == ErrorCode::TopicAlreadyExists)
    });
    wait_for_image(context, AUTO_CREATE_TIME, |image| {
        there.iter().all(|(name, _)| image.topic_ids.contains_key(name.as_str()))
    })
    .await;
    let mut errors: Vec<_> =
        refused.into_iter().filter_map(|(name, result)| Some((name, result.err()?.code))).collect();
    // Only looked at if this broker still does not have the topic.
    errors.extend(there.into_iter().map(|(name, _)| (name, ErrorCode::LeaderNotAvailable)));
    errors
}

fn new_topic<B: Backend>(context: &Context<B>, name: &str) -> NewTopic {
    let config = context.backend.config();
    let offsets = name == "__consumer_offsets";
    NewTopic {
        name: name.to_owned(),
        partitions: None,
        replication_factor: offsets.then_some(config.offsets_topic_replication_factor),
        assignments: Vec::new(),
        configs: Vec::new(),
    }
}

/// The image as clients of one listener see it.
struct View<'a> {
    image: &'a Image,
    listener: &'a str,
}

impl View<'_> {
    fn brokers(&self, which: impl Fn(&Broker) -> bool) -> Vec<MetadataResponseBroker> {
        let brokers = self.image.brokers.values().filter(|broker| which(broker));
        brokers.filter_map(|broker| self.broker(broker)).collect()
    }

    fn broker(&self, broker: &Broker) -> Option<MetadataResponseBroker> {
        let (host, port) = endpoint(broker, self.listener)?;
        Some(
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(broker.id.0))
                .with_host(string(host))
                .with_port(port)
                .with_rack(broker.rack.as_deref().map(string)),
        )
    }

    fn wanted(
        &self,
        wanted: &MetadataRequestTopic,
        version: i16,
        created: &[(String, ErrorCode)],
    ) -> MetadataResponseTopic {
        let id = topic_id(wanted.topic_id);
        let Some(name) = &wanted.name else {
            return match self.image.topics.get(&id) {
                Some(topic) if version >= ID_VERSION => self.topic(topic),
                _ if version >= ID_VERSION => failed(ErrorCode::UnknownTopicId, None, id),
                // Versions 10 and 11 carry ids, but answer by name only.
                _ => failed(ErrorCode::InvalidRequest, Some(""), id),
            };
        };
        if let Some(topic) = topic_by_name(self.image, name) {
            return self.topic(topic);
        }
        let refused = created.iter().find(|(refused, _)| refused.as_str() == name.as_str());
        let error = match refused {
            Some((_, error)) => *error,
            None if check_topic_name(name).is_err() => ErrorCode::InvalidTopic,
            None => ErrorCode::UnknownTopicOrPartition,
        };
        failed(error, Some(name), TopicId::ZERO)
    }

    fn topic(&self, topic: &Topic) -> MetadataResponseTopic {
        let partitions = topic.partitions.iter().zip(0..);
        let partitions = partitions.map(|(partition, index)| self.partition(index, partition));
        MetadataResponseTopic::default()
            .with_name(Some(topic_name(&topic.name)))
            .with_topic_id(wire_id(topic.id))
            .with_is_internal(is_internal(&topic.name))
            .with_partitions(partitions.collect())
            .with_topic_authorized_operations(NO_OPERATIONS)
    }

    fn partition(&self, index: i32, partition: &Partition) -> MetadataResponsePartition {
        let leader = partition.leader.filter(|&leader| self.reaches(leader));
        let error = match leader {
            Some(_) => super::wire::NONE,
            None => ErrorCode::LeaderNotAvailable.code(),
        };
        MetadataResponsePartition::default()
            .with_error_code(error)
            .with_partition_index(index)
            .with_leader_id(leader_id(leader))
            .with_leader_epoch(partition.leader_epoch.0)
            .with_replica_nodes(broker_ids(&partition.replicas))
            .with_isr_nodes(broker_ids(&partition.isr))
            .with_offline_replicas(
                partition
                    .replicas
                    .iter()
                    .filter(|&&replica| !self.reaches(replica))
                    .map(|replica| BrokerId(replica.0))
                    .collect(),
            )
    }

    fn reaches(&self, node: NodeId) -> bool {
        is_reachable(self.image, self.listener, node)
    }
}

fn failed(error: ErrorCode, name: Option<&str>, id: TopicId) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(error.code())
        .with_name(name.map(topic_name))
        .with_topic_id(wire_id(id))
        .with_is_internal(name.is_some_and(is_internal))
        .with_topic_authorized_operations(NO_OPERATIONS)
}
