//! Between the codec's types and ours.

use std::time::Duration;

use kraft_model::metadata::{Broker, Image, METADATA_TOPIC, Refusal, Topic};
use kraft_model::{ErrorCode, LeaderEpoch, NodeId, TopicId};
use proto_kafka::messages::{BrokerId, TopicName};
use proto_kafka::protocol::StrBytes;
use uuid::Uuid;

use super::Context;
use crate::kafka::backend::Backend;

/// "No error" on the wire.
pub const NONE: i16 = 0;

/// "Not asked for" in the fields that list authorized operations.
pub const NO_OPERATIONS: i32 = i32::MIN;
/// Bits of what anyone may do to a topic while there is no authorizer: read, write, create,
/// delete, alter, describe, describe and alter its configuration.
pub const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// The same of the cluster: create, alter, describe, cluster action, describe and alter
/// configurations, idempotent write.
pub const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

pub fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName(string(name))
}

pub fn wire_id(id: TopicId) -> Uuid {
    Uuid::from_u128(id.0)
}

pub fn topic_id(id: Uuid) -> TopicId {
    TopicId(id.as_u128())
}

pub fn broker_ids(nodes: &[NodeId]) -> Vec<BrokerId> {
    nodes.iter().map(|node| BrokerId(node.0)).collect()
}

/// -1 stands for no leader.
pub fn leader_id(leader: Option<NodeId>) -> BrokerId {
    BrokerId(leader.map_or(-1, |leader| leader.0))
}

/// A client's idea of the leader epoch; -1 says that it has none.
pub fn leader_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}

/// The error's number and its sentence.
pub fn refused(refusal: &Refusal) -> (i16, Option<StrBytes>) {
    (refusal.code.code(), Some(string(&refusal.message)))
}

/// Number and sentence of a result, none of either for success.
pub fn outcome<T>(result: &Result<T, Refusal>) -> (i16, Option<StrBytes>) {
    result.as_ref().map_or_else(refused, |_| (NONE, None))
}

/// A time-out as clients send it; negative is none at all.
pub fn timeout(timeout_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0))
}

/// What to say when no controller answered in time.
pub fn no_controller() -> Refusal {
    Refusal::new(
        ErrorCode::RequestTimedOut,
        "no active controller answered in time; is a majority of the controllers up?",
    )
}

/// What to say when the controller answered something else than it was asked.
pub fn unexpected() -> Refusal {
    Refusal::new(ErrorCode::UnknownServerError, "the controller's answer does not fit the request")
}

/// Takes the wanted kind of answer out of the controller's response.
macro_rules! expect_answer {
    ($response:expr, $variant:ident) => {
        match $response {
            kraft_model::metadata::Response::$variant(answer) => Ok(answer),
            kraft_model::metadata::Response::NotController { .. } => {
                Err($crate::kafka::apis::wire::no_controller())
            }
            _ => Err($crate::kafka::apis::wire::unexpected()),
        }
    };
}
pub(super) use expect_answer;

/// A topic's name by Kafka's rule, or why it is none.
pub fn check_topic_name(name: &str) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidTopic, message));
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name == "." || name == ".." {
        return invalid(format!("'{name}' cannot be a topic's name"));
    }
    if name == METADATA_TOPIC {
        return invalid(format!("'{name}' is the log of the cluster's metadata"));
    }
    if name.len() > kraft_model::limits::MAX_TOPIC_NAME {
        let most = kraft_model::limits::MAX_TOPIC_NAME;
        return invalid(format!("a topic's name has at most {most} characters"));
    }
    if !name.chars().all(allowed) {
        return invalid(format!(
            "topic name '{name}' holds a character other than ASCII letters, digits, '.', '_', '-'"
        ));
    }
    Ok(())
}

pub fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state")
}

pub fn topic_by_name<'a>(image: &'a Image, name: &str) -> Option<&'a Topic> {
    let id = image.topic_ids.get(name)?;
    image.topics.get(id).map(AsRef::as_ref)
}

/// A broker's host and port on a listener.
pub fn endpoint<'a>(broker: &'a Broker, listener: &str) -> Option<(&'a str, i32)> {
    let endpoint = broker.endpoints.iter().find(|endpoint| endpoint.listener == listener)?;
    Some((&endpoint.host, i32::from(endpoint.port)))
}

/// Whether clients of this listener can reach the broker: unfenced, and it has such a listener.
pub fn is_reachable(image: &Image, listener: &str, node: NodeId) -> bool {
    let broker = image.brokers.get(&node);
    broker.is_some_and(|broker| !broker.fenced && endpoint(broker, listener).is_some())
}

/// Waits until the image fits or `limit` is over; whether it does. Whoever asked this broker for a
/// change then finds it when asking the same broker again.
pub async fn wait_for_image<B: Backend>(
    context: &Context<B>,
    limit: Duration,
    fits: impl Fn(&Image) -> bool,
) -> bool {
    let wait = async {
        loop {
            let image = context.backend.image();
            if fits(&image) {
                return;
            }
            context.backend.image_changed(image.end).await;
        }
    };
    tokio::time::timeout(limit, wait).await.is_ok()
}
