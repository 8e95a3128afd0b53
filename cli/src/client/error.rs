//! Why a call of the client failed.

use kraft_model::ErrorCode;
use proto_kafka::error::ResponseError;
use proto_kafka::messages::ApiKey;

use super::records::RecordError;

/// A failed call. Cloneable, because one broken connection fails everything that waits on it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot connect to {address}: {reason}")]
    Connect { address: String, reason: String },
    #[error("no bootstrap server answered ({tried})")]
    Bootstrap { tried: String },
    #[error("the connection to {address} broke: {reason}")]
    Closed { address: String, reason: String },
    #[error("{address} did not answer {api:?} within {timeout_ms} ms")]
    Timeout { address: String, api: ApiKey, timeout_ms: u128 },
    #[error("{address} and this client share no version of {api:?}")]
    Version { address: String, api: ApiKey },
    #[error("{api:?} was answered with {}", describe(*code, message.as_deref()))]
    Answer { api: ApiKey, code: i16, message: Option<String> },
    #[error("the answer to {api:?} lacks {what}")]
    Incomplete { api: ApiKey, what: String },
    #[error("{api:?} cannot be encoded: {reason}")]
    Encode { api: ApiKey, reason: String },
    #[error("the answer of {address} to {api:?} cannot be read: {reason}")]
    Decode { address: String, api: ApiKey, reason: String },
    #[error("topic '{0}' does not exist")]
    UnknownTopic(String),
    #[error("topic '{topic}' has no partition {partition}")]
    UnknownPartition { topic: String, partition: i32 },
    #[error("partition {topic}-{partition} has no leader")]
    NoLeader { topic: String, partition: i32 },
    #[error("records of {topic}-{partition} cannot be read: {error}")]
    Records { topic: String, partition: i32, error: RecordError },
    #[error("not everything was acknowledged within {timeout_ms} ms; the last failure: {last}")]
    Delivery { timeout_ms: u128, last: String },
}

impl ClientError {
    /// An answer's error code as a result; 0 is success.
    pub fn check(api: ApiKey, code: i16, message: Option<&str>) -> Result<(), ClientError> {
        if code == 0 {
            return Ok(());
        }
        let message = message.filter(|text| !text.is_empty()).map(str::to_owned);
        Err(ClientError::Answer { api, code, message })
    }

    /// Whether the same call may succeed a little later, on this broker or another.
    pub fn is_retriable(&self) -> bool {
        match self {
            ClientError::Connect { .. }
            | ClientError::Bootstrap { .. }
            | ClientError::Closed { .. }
            | ClientError::Timeout { .. }
            | ClientError::NoLeader { .. } => true,
            ClientError::Answer { code, .. } => is_retriable_code(*code),
            _ => false,
        }
    }

    /// The protocol's error code, where a broker gave one.
    pub fn code(&self) -> Option<i16> {
        match self {
            ClientError::Answer { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// Whether Kafka calls this error code retriable.
pub fn is_retriable_code(code: i16) -> bool {
    ResponseError::try_from_code(code).is_some_and(|error| error.is_retriable())
}

/// An error code by Kafka's name, with what the broker added.
fn describe(code: i16, message: Option<&str>) -> String {
    let name = match ErrorCode::from_code(code) {
        Some(known) => known.name().to_owned(),
        None => format!("error {code}"),
    };
    match message {
        Some(message) => format!("{name}: {message}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_named_as_kafka_names_it() {
        let error = ClientError::check(ApiKey::CreateTopics, 36, Some("it exists"));
        let text = error.expect_err("36 is an error").to_string();
        assert_eq!(text, "CreateTopics was answered with TOPIC_ALREADY_EXISTS: it exists");
        assert!(ClientError::check(ApiKey::CreateTopics, 0, None).is_ok());
    }

    #[test]
    fn a_moved_leader_is_retriable_and_a_bad_topic_name_is_not() {
        assert!(is_retriable_code(ErrorCode::NotLeaderOrFollower.code()));
        assert!(!is_retriable_code(ErrorCode::InvalidTopic.code()));
    }
}
