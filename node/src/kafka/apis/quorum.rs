//! DescribeQuorum: the controllers' quorum as this broker's node sees it (KIP-595, KIP-836).

use kraft_model::ErrorCode;
use kraft_model::metadata::METADATA_TOPIC;
use proto_kafka::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use proto_kafka::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse};
use uuid::Uuid;

use super::Context;
use super::wire::{leader_id, string};
use crate::kafka::backend::Backend;
use crate::peer::{QuorumView, VoterView};

pub async fn describe<B: Backend>(
    context: &Context<B>,
    request: DescribeQuorumRequest,
    version: i16,
) -> DescribeQuorumResponse {
    let view = match context.backend.quorum().await {
        Ok(view) => view,
        Err(error) => {
            return DescribeQuorumResponse::default()
                .with_error_code(error.code())
                .with_error_message(Some(string(error.name())));
        }
    };
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            if topic.topic_name.as_str() == METADATA_TOPIC && wanted.partition_index == 0 {
                quorum(&view, version)
            } else {
                let error = ErrorCode::UnknownTopicOrPartition;
                PartitionData::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_code(error.code())
                    .with_error_message((version >= 2).then(|| string(error.name())))
            }
        });
        TopicData::default()
            .with_topic_name(topic.topic_name.clone())
            .with_partitions(partitions.collect())
    });
    let answer = DescribeQuorumResponse::default().with_topics(topics.collect());
    match version {
        ..2 => answer,
        _ => answer.with_nodes(nodes(&view)),
    }
}

fn quorum(view: &QuorumView, version: i16) -> PartitionData {
    let replicas = |all: &[VoterView]| all.iter().map(|one| replica(one, version)).collect();
    PartitionData::default()
        .with_leader_id(leader_id(view.leader))
        .with_leader_epoch(view.epoch.0)
        .with_high_watermark(view.high_watermark.0)
        .with_current_voters(replicas(&view.voters))
        .with_observers(replicas(&view.observers))
}

fn replica(view: &VoterView, version: i16) -> ReplicaState {
    let state = ReplicaState::default()
        .with_replica_id(BrokerId(view.id.0))
        .with_log_end_offset(view.end.0);
    let state = match version {
        0 => state,
        _ => state
            .with_last_fetch_timestamp(view.last_fetch_ms)
            .with_last_caught_up_timestamp(view.last_caught_up_ms),
    };
    match version {
        ..2 => state,
        _ => state.with_replica_directory_id(Uuid::from_u128(view.directory.0)),
    }
}

/// Where those that vote or could vote are reached.
fn nodes(view: &QuorumView) -> Vec<Node> {
    let controllers = view.voters.iter().chain(&view.observers).filter(|node| node.controller);
    let nodes = controllers.filter(|node| !node.endpoints.is_empty()).map(|node| {
        let listeners = node.endpoints.iter().map(|endpoint| {
            Listener::default()
                .with_name(string(&endpoint.name))
                .with_host(string(&endpoint.host))
                .with_port(endpoint.port)
        });
        Node::default().with_node_id(BrokerId(node.id.0)).with_listeners(listeners.collect())
    });
    nodes.collect()
}
