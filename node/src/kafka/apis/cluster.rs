//! DescribeCluster and UnregisterBroker.

use std::time::Duration;

use kraft_model::NodeId;
use kraft_model::metadata::Request;
use proto_kafka::messages::describe_cluster_response::DescribeClusterBroker;
use proto_kafka::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, UnregisterBrokerRequest,
    UnregisterBrokerResponse,
};

use super::Context;
use super::wire::{CLUSTER_OPERATIONS, NO_OPERATIONS, endpoint, expect_answer, outcome, string};
use crate::kafka::backend::Backend;

const BROKERS: i8 = 1;
/// MISMATCHED_ENDPOINT_TYPE: a broker's listener tells of brokers only (KIP-919).
const MISMATCHED_ENDPOINT_TYPE: i16 = 114;
const CONTROLLER_TIME: Duration = Duration::from_secs(30);

pub async fn describe<B: Backend>(
    context: &Context<B>,
    request: DescribeClusterRequest,
    _version: i16,
) -> DescribeClusterResponse {
    let cluster_id = string(&context.backend.cluster_id().to_string());
    let answer = DescribeClusterResponse::default()
        .with_cluster_id(cluster_id)
        .with_endpoint_type(request.endpoint_type);
    if request.endpoint_type != BROKERS {
        let message = "this listener is a broker's; it describes brokers (endpoint type 1) only";
        return answer
            .with_error_code(MISMATCHED_ENDPOINT_TYPE)
            .with_error_message(Some(string(message)));
    }
    let image = context.backend.image();
    let wanted =
        image.brokers.values().filter(|broker| request.include_fenced_brokers || !broker.fenced);
    let brokers = wanted.filter_map(|broker| {
        let (host, port) = endpoint(broker, &context.listener)?;
        Some(
            DescribeClusterBroker::default()
                .with_broker_id(BrokerId(broker.id.0))
                .with_host(string(host))
                .with_port(port)
                .with_rack(broker.rack.as_deref().map(string))
                .with_is_fenced(broker.fenced),
        )
    });
    let brokers: Vec<_> = brokers.collect();
    // Clients send what is the controller's to any broker, so any that is up will do.
    let first = brokers.iter().find(|broker| !broker.is_fenced);
    let operations = match request.include_cluster_authorized_operations {
        true => CLUSTER_OPERATIONS,
        false => NO_OPERATIONS,
    };
    answer
        .with_controller_id(first.map_or(BrokerId(-1), |broker| broker.broker_id))
        .with_brokers(brokers)
        .with_cluster_authorized_operations(operations)
}

pub async fn unregister_broker<B: Backend>(
    context: &Context<B>,
    request: UnregisterBrokerRequest,
    _version: i16,
) -> UnregisterBrokerResponse {
    let asked = Request::UnregisterBroker { broker: NodeId(request.broker_id.0) };
    let response = context.backend.controller(asked, CONTROLLER_TIME).await;
    let result = expect_answer!(response, UnregisterBroker).and_then(|result| result);
    let (error, message) = outcome(&result);
    UnregisterBrokerResponse::default().with_error_code(error).with_error_message(message)
}
