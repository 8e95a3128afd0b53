//! ElectLeaders: preferred or unclean elections on request (KIP-183, KIP-460, P8).

use std::collections::BTreeMap;

use kraft_model::metadata::{ElectLeaders, ElectionType, Image, Refusal, Request};
use kraft_model::{ErrorCode, TopicPartition};
use proto_kafka::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use proto_kafka::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::Context;
use super::list_offsets::partition;
use super::wire::{expect_answer, outcome, timeout, topic_name};
use crate::kafka::backend::Backend;

const UNCLEAN: i8 = 1;

type Outcomes = BTreeMap<String, Vec<(i32, Result<(), Refusal>)>>;

pub async fn handle<B: Backend>(
    context: &Context<B>,
    request: ElectLeadersRequest,
    version: i16,
) -> ElectLeadersResponse {
    let mut outcomes = Outcomes::new();
    let partitions = request.topic_partitions.as_ref().map(|topics| {
        let mut known = Vec::new();
        for topic in topics {
            for &index in &topic.partitions {
                match partition(context, &topic.topic, index) {
                    Ok(id) => known.push(id),
                    Err(code) => record(&mut outcomes, topic.topic.to_string(), index, Err(code)),
                }
            }
        }
        known
    });
    if partitions.as_ref().is_none_or(|known| !known.is_empty()) {
        let kind = match request.election_type {
            0 => ElectionType::Preferred,
            UNCLEAN => ElectionType::Unclean,
            _ => {
                return ElectLeadersResponse::default()
                    .with_error_code(ErrorCode::InvalidRequest.code());
            }
        };
        let named = partitions.clone();
        // Named before the election: a topic that is deleted meanwhile keeps its name here.
        let image = context.backend.image();
        let asked = Request::ElectLeaders(ElectLeaders { kind, partitions });
        let response = context.backend.controller(asked, timeout(request.timeout_ms)).await;
        match expect_answer!(response, ElectLeaders) {
            Ok(results) => {
                for (id, result) in results {
                    // Who asks for all partitions wants to hear of elections only.
                    if named.is_none() && result == Err(ErrorCode::ElectionNotNeeded) {
                        continue;
                    }
                    record(&mut outcomes, name(&image, id), id.partition, result);
                }
            }
            // Version 0 has no error of the whole request.
            Err(refusal) if version == 0 => {
                for id in named.unwrap_or_default() {
                    record(&mut outcomes, name(&image, id), id.partition, Err(refusal.code));
                }
            }
            Err(refusal) => {
                return ElectLeadersResponse::default().with_error_code(refusal.code.code());
            }
        }
    }
    let results = outcomes.into_iter().map(|(topic, partitions)| {
        let partitions = partitions.iter().map(|(index, result)| {
            let (error, message) = outcome(result);
            PartitionResult::default()
                .with_partition_id(*index)
                .with_error_code(error)
                .with_error_message(message)
        });
        ReplicaElectionResult::default()
            .with_topic(topic_name(&topic))
            .with_partition_result(partitions.collect())
    });
    ElectLeadersResponse::default().with_replica_election_results(results.collect())
}

fn name(image: &Image, id: TopicPartition) -> String {
    image.topics.get(&id.topic).map_or_else(|| id.topic.to_string(), |topic| topic.name.to_string())
}

fn record(outcomes: &mut Outcomes, topic: String, index: i32, result: Result<(), ErrorCode>) {
    let result = result.map_err(|code| Refusal::new(code, explained(code)));
    outcomes.entry(topic).or_default().push((index, result));
}

fn explained(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::ElectionNotNeeded => "the partition has the leader that it should have",
        ErrorCode::PreferredLeaderNotAvailable => "the first replica is not alive or not in sync",
        ErrorCode::EligibleLeadersNotAvailable => "no replica that is alive may lead",
        ErrorCode::UnknownTopicOrPartition => "there is no such partition",
        _ => code.name(),
    }
}
