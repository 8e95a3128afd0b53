//! Administrative calls: topics, configuration, cluster, quorum, offsets.

use std::time::Duration;

use kraft_model::ErrorCode;
use kraft_model::raft::VoterChange;
use kraft_node::storage::VoterEndpoint;
use proto_kafka::messages::create_partitions_request::CreatePartitionsTopic;
use proto_kafka::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use proto_kafka::messages::delete_topics_request::DeleteTopicState;
use proto_kafka::messages::describe_configs_request::DescribeConfigsResource;
use proto_kafka::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use proto_kafka::messages::{
    AddRaftVoterRequest, ApiKey, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeClusterResponse, DescribeConfigsRequest, DescribeQuorumRequest,
    DescribeQuorumResponse, IncrementalAlterConfigsRequest, InitProducerIdRequest,
    RemoveRaftVoterRequest, TopicName, add_raft_voter_request, describe_quorum_request,
};
use proto_kafka::protocol::StrBytes;

use super::retry::retrying;
use super::{Client, ClientError};
use crate::quorum::{Change, ChangeFailed};

/// What to create. `None` leaves a number to the broker's defaults.
#[derive(Clone, Debug)]
pub struct NewTopic {
    pub name: String,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
    pub configs: Vec<(String, String)>,
}

/// What a configuration belongs to, by the protocol's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum ResourceKind {
    Topic,
    Broker,
}

/// One change of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AlterOp {
    Set(String, String),
    /// Back to the default.
    Delete(String),
}

/// One key of a resource's configuration.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct ConfigEntry {
    pub name: String,
    /// `null` where the broker will not tell.
    pub value: Option<String>,
    /// `default`, `static`, `dynamic-topic`, `dynamic-broker`, `dynamic-default` or `other`.
    pub source: &'static str,
    pub read_only: bool,
    pub sensitive: bool,
}

impl ResourceKind {
    fn number(self) -> i8 {
        match self {
            ResourceKind::Topic => 2,
            ResourceKind::Broker => 4,
        }
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

impl Client {
    fn operation_timeout_ms(&self) -> i32 {
        i32::try_from(self.options().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }

    /// Creates a topic, or only checks whether it could be (`validate_only`).
    pub async fn create_topic(
        &self,
        topic: &NewTopic,
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let configs = topic.configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        });
        let wanted = CreatableTopic::default()
            .with_name(topic_name(&topic.name))
            .with_num_partitions(topic.partitions.unwrap_or(-1))
            .with_replication_factor(topic.replication_factor.unwrap_or(-1))
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![wanted])
            .with_timeout_ms(self.operation_timeout_ms())
            .with_validate_only(validate_only);
        retrying(self.options().total_timeout, async || {
            let response = self.call_any(&request).await?;
            let result = first(ApiKey::CreateTopics, "the topic", response.topics)?;
            ClientError::check(
                ApiKey::CreateTopics,
                result.error_code,
                result.error_message.as_deref(),
            )
        })
        .await
    }

    pub async fn delete_topic(&self, name: &str) -> Result<(), ClientError> {
        let state = DeleteTopicState::default().with_name(Some(topic_name(name)));
        let timeout = self.options().request_timeout;
        retrying(self.options().total_timeout, async || {
            let connection = self.any().await?;
            let mut request =
                DeleteTopicsRequest::default().with_timeout_ms(self.operation_timeout_ms());
            // Version 6 can name topics by id and so names them in another field.
            request = if connection.version(ApiKey::DeleteTopics)? >= 6 {
                request.with_topics(vec![state.clone()])
            } else {
                request.with_topic_names(vec![topic_name(name)])
            };
            let response = connection.call(&request, timeout).await?;
            let result = first(ApiKey::DeleteTopics, "the topic", response.responses)?;
            let message = result.error_message.as_deref();
            ClientError::check(ApiKey::DeleteTopics, result.error_code, message)
        })
        .await
    }

    /// Raises a topic's partition count to `count`.
    pub async fn create_partitions(&self, topic: &str, count: i32) -> Result<(), ClientError> {
        let wanted = CreatePartitionsTopic::default()
            .with_name(topic_name(topic))
            .with_count(count)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![wanted])
            .with_timeout_ms(self.operation_timeout_ms());
        retrying(self.options().total_timeout, async || {
            let response = self.call_any(&request).await?;
            let result = first(ApiKey::CreatePartitions, "the topic", response.results)?;
            let message = result.error_message.as_deref();
            ClientError::check(ApiKey::CreatePartitions, result.error_code, message)
        })
        .await
    }

    pub async fn describe_configs(
        &self,
        kind: ResourceKind,
        name: &str,
    ) -> Result<Vec<ConfigEntry>, ClientError> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(kind.number())
            .with_resource_name(text(name))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let timeout = self.options().request_timeout;
        retrying(self.options().total_timeout, async || {
            let connection = self.config_target(kind, name).await?;
            let response = connection.call(&request, timeout).await?;
            let result = first(ApiKey::DescribeConfigs, "the resource", response.results)?;
            let message = result.error_message.as_deref();
            ClientError::check(ApiKey::DescribeConfigs, result.error_code, message)?;
            let entries = result.configs.into_iter().map(|entry| ConfigEntry {
                name: entry.name.to_string(),
                value: entry.value.map(|value| value.to_string()),
                source: source_name(entry.config_source),
                read_only: entry.read_only,
                sensitive: entry.is_sensitive,
            });
            Ok(entries.collect())
        })
        .await
    }

    pub async fn alter_configs(
        &self,
        kind: ResourceKind,
        name: &str,
        changes: &[AlterOp],
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let change = |change: &AlterOp| match change {
            AlterOp::Set(key, value) => AlterableConfig::default()
                .with_name(text(key))
                .with_config_operation(0)
                .with_value(Some(text(value))),
            AlterOp::Delete(key) => AlterableConfig::default()
                .with_name(text(key))
                .with_config_operation(1)
                .with_value(None),
        };
        let resource = AlterConfigsResource::default()
            .with_resource_type(kind.number())
            .with_resource_name(text(name))
            .with_configs(changes.iter().map(change).collect());
        let request = IncrementalAlterConfigsRequest::default()
            .with_resources(vec![resource])
            .with_validate_only(validate_only);
        let timeout = self.options().request_timeout;
        retrying(self.options().total_timeout, async || {
            let connection = self.config_target(kind, name).await?;
            let response = connection.call(&request, timeout).await?;
            let result =
                first(ApiKey::IncrementalAlterConfigs, "the resource", response.responses)?;
            let message = result.error_message.as_deref();
            ClientError::check(ApiKey::IncrementalAlterConfigs, result.error_code, message)
        })
        .await
    }

    /// A broker's own configuration is that broker's to tell; everything else anybody's.
    async fn config_target(
        &self,
        kind: ResourceKind,
        name: &str,
    ) -> Result<std::sync::Arc<super::connection::Connection>, ClientError> {
        match (kind, name.parse()) {
            (ResourceKind::Broker, Ok(id)) => self.broker(id).await,
            _ => self.any().await,
        }
    }

    pub async fn describe_cluster(&self) -> Result<DescribeClusterResponse, ClientError> {
        retrying(self.options().total_timeout, async || {
            self.describe_cluster_once(self.options().request_timeout).await
        })
        .await
    }

    /// Without retries, for a caller that polls.
    pub async fn describe_cluster_once(
        &self,
        timeout: Duration,
    ) -> Result<DescribeClusterResponse, ClientError> {
        let connection = self.any().await?;
        // Version 2 can list fenced brokers too; before it only live ones are listed.
        let fenced = connection.version(ApiKey::DescribeCluster)? >= 2;
        let request = DescribeClusterRequest::default().with_include_fenced_brokers(fenced);
        let response = connection.call(&request, timeout).await?;
        let message = response.error_message.as_deref();
        ClientError::check(ApiKey::DescribeCluster, response.error_code, message)?;
        Ok(response)
    }

    /// The state of the metadata quorum, through a broker.
    pub async fn describe_quorum(&self) -> Result<DescribeQuorumResponse, ClientError> {
        let topic = describe_quorum_request::TopicData::default()
            .with_topic_name(TopicName(StrBytes::from_static_str("__cluster_metadata")))
            .with_partitions(vec![describe_quorum_request::PartitionData::default()]);
        let request = DescribeQuorumRequest::default().with_topics(vec![topic]);
        retrying(self.options().total_timeout, async || {
            let response = self.call_any(&request).await?;
            let message = response.error_message.as_deref();
            ClientError::check(ApiKey::DescribeQuorum, response.error_code, message)?;
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            for partition in partitions {
                let message = partition.error_message.as_deref();
                ClientError::check(ApiKey::DescribeQuorum, partition.error_code, message)?;
            }
            Ok(response)
        })
        .await
    }

    /// Has the quorum's voters changed, through a broker. Asked once: whoever asks again looks first
    /// whether it was done.
    pub async fn change_voters(
        &self,
        asked: &Change,
        patience: Duration,
    ) -> Result<(), ChangeFailed> {
        let (key, add) = match asked.change {
            VoterChange::Remove(key) => (key, false),
            VoterChange::Add(key) | VoterChange::Update(key) => (key, true),
        };
        let directory = uuid::Uuid::from_u128(key.directory.0);
        let answered = if add {
            let listener = |at: &VoterEndpoint| {
                add_raft_voter_request::Listener::default()
                    .with_name(text(&at.name))
                    .with_host(text(&at.host))
                    .with_port(at.port)
            };
            let request = AddRaftVoterRequest::default()
                .with_cluster_id(None)
                .with_timeout_ms(i32::try_from(patience.as_millis()).unwrap_or(i32::MAX))
                .with_voter_id(key.id.0)
                .with_voter_directory_id(directory)
                .with_listeners(asked.endpoints.iter().map(listener).collect());
            let answer = self.call_any(&request).await;
            answer.map(|answer| (ApiKey::AddRaftVoter, answer.error_code, answer.error_message))
        } else {
            let request = RemoveRaftVoterRequest::default()
                .with_cluster_id(None)
                .with_voter_id(key.id.0)
                .with_voter_directory_id(directory);
            let answer = self.call_any(&request).await;
            answer.map(|answer| (ApiKey::RemoveRaftVoter, answer.error_code, answer.error_message))
        };
        let checked = answered
            .and_then(|(api, code, message)| ClientError::check(api, code, message.as_deref()));
        checked.map_err(|error| match error.code() {
            Some(_) => {
                ChangeFailed::Refused { retriable: error.is_retriable(), why: error.to_string() }
            }
            None => ChangeFailed::Unknown(error.to_string()),
        })
    }

    /// A fresh producer id and epoch, for idempotence.
    pub async fn init_producer_id(&self) -> Result<(i64, i16), ClientError> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(self.operation_timeout_ms())
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        retrying(self.options().total_timeout, async || {
            let response = self.call_any(&request).await?;
            ClientError::check(ApiKey::InitProducerId, response.error_code, None)?;
            Ok((response.producer_id.0, response.producer_epoch))
        })
        .await
    }
}

/// The single item that an answer to a request for one thing must hold.
fn first<T>(api: ApiKey, what: &str, items: Vec<T>) -> Result<T, ClientError> {
    let missing = || ClientError::Incomplete { api, what: what.to_owned() };
    items.into_iter().next().ok_or_else(missing)
}

fn source_name(source: i8) -> &'static str {
    match source {
        1 => "dynamic-topic",
        2 => "dynamic-broker",
        3 => "dynamic-default",
        4 => "static",
        5 => "default",
        _ => "other",
    }
}

/// Whether a deletion failed only because there was nothing to delete.
pub fn is_unknown_topic(error: &ClientError) -> bool {
    matches!(error, ClientError::UnknownTopic(_))
        || error.code() == Some(ErrorCode::UnknownTopicOrPartition.code())
}
