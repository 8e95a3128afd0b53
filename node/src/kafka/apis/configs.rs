//! DescribeConfigs, IncrementalAlterConfigs and AlterConfigs on topics and brokers (KIP-133,
//! KIP-226, KIP-339).
//!
//! Names and values are checked against the table of keys here, because machines do not know the
//! keys; whether a change is made is the controller's to say.

use std::time::Duration;

use kraft_model::ErrorCode;
use kraft_model::metadata::{
    ConfigChange, ConfigOp, Image, Refusal, Request, ResourceKind, TopicCreated,
};
use proto_kafka::messages::create_topics_response::CreatableTopicConfigs;
use proto_kafka::messages::describe_configs_request::DescribeConfigsResource;
use proto_kafka::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use proto_kafka::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, alter_configs_response,
    incremental_alter_configs_response,
};

use super::Context;
use super::wire::{check_topic_name, expect_answer, outcome, string, topic_by_name, unexpected};
use crate::config::registry::{
    Kind, NodeKey, TopicKey, check_dynamic, check_topic, node_key, node_keys, topic_key, topic_keys,
};
use crate::kafka::backend::Backend;
use crate::kafka::effective::{Effective, Setting, Source};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const CONTROLLER_TIME: Duration = Duration::from_secs(30);

/// A number in a topic's configuration; 0 if the table has no such key.
pub fn topic_number<B: Backend>(
    context: &Context<B>,
    image: &Image,
    topic: &str,
    key: &'static str,
) -> i64 {
    let effective = Effective { image, config: context.backend.config() };
    effective.topic_number(topic, key).unwrap_or_default()
}

/// The whole configuration of a topic that was just made, for the answer to CreateTopics. This
/// broker's image need not have the topic yet.
pub fn of_created_topic<B: Backend>(
    context: &Context<B>,
    created: &TopicCreated,
) -> Vec<CreatableTopicConfigs> {
    let image = context.backend.image();
    let effective = Effective { image: &image, config: context.backend.config() };
    let configs = topic_keys().iter().map(|key| {
        let own = created.configs.iter().find(|(name, _)| name == key.name);
        let (value, source) = match own {
            Some((_, value)) => (Some(value.clone()), Source::Topic),
            None => {
                let first = effective.topic_default(key).into_iter().next();
                first.map_or((None, Source::Default), |set| (set.value, set.source))
            }
        };
        CreatableTopicConfigs::default()
            .with_name(string(key.name))
            .with_value(value.as_deref().map(string))
            .with_config_source(source as i8)
    });
    configs.collect()
}

pub async fn describe<B: Backend>(
    context: &Context<B>,
    request: DescribeConfigsRequest,
    version: i16,
) -> DescribeConfigsResponse {
    let image = context.backend.image();
    let describer = Describer {
        effective: Effective { image: &image, config: context.backend.config() },
        synonyms: request.include_synonyms,
        documentation: request.include_documentation && version >= 3,
    };
    let results = request.resources.iter().map(|resource| {
        let described = describer.resource(resource);
        let (error, message) = outcome(&described);
        let answer = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_code(error)
            .with_error_message(message);
        answer.with_configs(described.unwrap_or_default())
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

struct Describer<'a> {
    effective: Effective<'a>,
    synonyms: bool,
    documentation: bool,
}

impl Describer<'_> {
    fn resource(
        &self,
        resource: &DescribeConfigsResource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
        let name = resource.resource_name.as_str();
        let wanted = |key: &str| {
            let keys = resource.configuration_keys.as_deref();
            keys.is_none_or(|keys| keys.iter().any(|wanted| wanted.as_str() == key))
        };
        match resource.resource_type {
            TOPIC => {
                check_topic_name(name)?;
                if topic_by_name(self.effective.image, name).is_none() {
                    let message = format!("there is no topic '{name}'");
                    return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message));
                }
                let keys = topic_keys().iter().filter(|key| wanted(key.name));
                Ok(keys.map(|key| self.topic_key(name, key)).collect())
            }
            BROKER if name.is_empty() => {
                let keys = node_keys().iter().filter(|key| wanted(key.name));
                Ok(keys.filter_map(|key| self.default_of_brokers(key)).collect())
            }
            BROKER if name == self.effective.config.node_id.to_string() => {
                let keys = node_keys().iter().filter(|key| wanted(key.name));
                Ok(keys.map(|key| self.broker_key(key)).collect())
            }
            BROKER => {
                let own = self.effective.config.node_id;
                let message = format!("this is broker {own}; it does not know broker '{name}'");
                Err(Refusal::new(ErrorCode::InvalidRequest, message))
            }
            other => Err(unknown_resource(other)),
        }
    }

    fn topic_key(&self, topic: &str, key: &TopicKey) -> DescribeConfigsResourceResult {
        let settings = self.effective.topic(topic, key);
        self.entry(key.name, key.kind, key.doc, &settings, false)
    }

    fn broker_key(&self, key: &NodeKey) -> DescribeConfigsResourceResult {
        let settings = self.effective.broker(key);
        self.entry(key.name, key.kind, key.doc, &settings, !key.dynamic)
    }

    /// The default of all brokers has only what was set there.
    fn default_of_brokers(&self, key: &NodeKey) -> Option<DescribeConfigsResourceResult> {
        let value = self.effective.dynamic(ResourceKind::Broker, "")?.get(key.name)?.clone();
        let settings =
            [Setting { name: key.name, value: Some(value), source: Source::DynamicDefault }];
        Some(self.entry(key.name, key.kind, key.doc, &settings, !key.dynamic))
    }

    fn entry(
        &self,
        name: &'static str,
        kind: Kind,
        doc: &'static str,
        settings: &[Setting],
        read_only: bool,
    ) -> DescribeConfigsResourceResult {
        let synonyms = settings.iter().filter(|set| self.synonyms && set.value.is_some());
        let synonyms = synonyms.map(|set| {
            DescribeConfigsSynonym::default()
                .with_name(string(set.name))
                .with_value(set.value.as_deref().map(string))
                .with_source(set.source as i8)
        });
        let in_force = settings.first();
        let source = in_force.map_or(Source::Default, |set| set.source);
        DescribeConfigsResourceResult::default()
            .with_name(string(name))
            .with_value(in_force.and_then(|set| set.value.as_deref()).map(string))
            .with_read_only(read_only)
            .with_config_source(source as i8)
            .with_synonyms(synonyms.collect())
            .with_config_type(kind.wire())
            .with_documentation(self.documentation.then(|| string(doc)))
    }
}

pub async fn alter<B: Backend>(
    context: &Context<B>,
    request: IncrementalAlterConfigsRequest,
    _version: i16,
) -> IncrementalAlterConfigsResponse {
    let changes = request.resources.iter().map(|resource| {
        let kind = kind(resource.resource_type)?;
        let ops = resource.configs.iter().map(|config| {
            let value = config.value.as_ref().map(|value| value.as_str());
            operation(kind, &config.name, config.config_operation, value)
        });
        change(context, kind, &resource.resource_name, ops.collect::<Result<_, _>>()?, false)
    });
    let outcomes = submit(context, changes.collect(), request.validate_only).await;
    let responses = request.resources.iter().zip(&outcomes).map(|(resource, result)| {
        let (error, message) = outcome(result);
        incremental_alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_code(error)
            .with_error_message(message)
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

/// AlterConfigs: what is not named goes back to its default.
pub async fn replace<B: Backend>(
    context: &Context<B>,
    request: AlterConfigsRequest,
    _version: i16,
) -> AlterConfigsResponse {
    let changes = request.resources.iter().map(|resource| {
        let kind = kind(resource.resource_type)?;
        let ops = resource.configs.iter().map(|config| {
            let value = config.value.as_ref().map(|value| value.as_str());
            operation(kind, &config.name, if value.is_some() { SET } else { DELETE }, value)
        });
        change(context, kind, &resource.resource_name, ops.collect::<Result<_, _>>()?, true)
    });
    let outcomes = submit(context, changes.collect(), request.validate_only).await;
    let responses = request.resources.iter().zip(&outcomes).map(|(resource, result)| {
        let (error, message) = outcome(result);
        alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_code(error)
            .with_error_message(message)
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn kind(resource_type: i8) -> Result<ResourceKind, Refusal> {
    match resource_type {
        TOPIC => Ok(ResourceKind::Topic),
        BROKER => Ok(ResourceKind::Broker),
        other => Err(unknown_resource(other)),
    }
}

fn unknown_resource(resource_type: i8) -> Refusal {
    let message = format!(
        "resource type {resource_type} has no configuration; topics (2) and brokers (4) do"
    );
    Refusal::new(ErrorCode::InvalidRequest, message)
}

/// One change of one key, its name and value checked.
fn operation(
    kind: ResourceKind,
    name: &str,
    operation: i8,
    value: Option<&str>,
) -> Result<(String, ConfigOp), Refusal> {
    let invalid = |message: String| Refusal::new(ErrorCode::InvalidConfig, message);
    if operation == DELETE {
        return Ok((name.to_owned(), ConfigOp::Delete));
    }
    let missing = || Refusal::new(ErrorCode::InvalidRequest, format!("{name} is given no value"));
    let value = value.ok_or_else(missing)?;
    match kind {
        ResourceKind::Topic => check_topic(name, value),
        ResourceKind::Broker => check_dynamic(name, value),
    }
    .map_err(invalid)?;
    let is_list = match kind {
        ResourceKind::Topic => topic_key(name).map(|key| key.kind),
        ResourceKind::Broker => node_key(name).map(|key| key.kind),
    };
    let is_list = matches!(is_list, Some(Kind::List | Kind::ListOf(_)));
    let op = match operation {
        SET => ConfigOp::Set(value.to_owned()),
        APPEND if is_list => ConfigOp::Append(value.to_owned()),
        SUBTRACT if is_list => ConfigOp::Subtract(value.to_owned()),
        APPEND | SUBTRACT => {
            return Err(invalid(format!("{name} is no list; it can only be set or deleted")));
        }
        other => {
            let message = format!("there is no operation {other}; 0 to 3 are possible");
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
    };
    Ok((name.to_owned(), op))
}

/// The change of one resource, whose name has the form of one.
fn change<B: Backend>(
    context: &Context<B>,
    kind: ResourceKind,
    resource: &str,
    ops: Vec<(String, ConfigOp)>,
    replace: bool,
) -> Result<ConfigChange, Refusal> {
    match kind {
        ResourceKind::Topic => check_topic_name(resource)?,
        ResourceKind::Broker => {
            let image = context.backend.image();
            let known = resource
                .parse()
                .is_ok_and(|id| image.brokers.contains_key(&kraft_model::NodeId(id)));
            if !resource.is_empty() && !known {
                let message = format!("there is no broker '{resource}'; '' means all brokers");
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
        }
    }
    Ok(ConfigChange { kind, resource: resource.to_owned(), ops, replace })
}

/// Sends the changes whose form is good; outcomes in the order of `changes`.
async fn submit<B: Backend>(
    context: &Context<B>,
    changes: Vec<Result<ConfigChange, Refusal>>,
    validate_only: bool,
) -> Vec<Result<(), Refusal>> {
    let good: Vec<_> = changes.iter().filter_map(|change| change.as_ref().ok().cloned()).collect();
    let answered = if good.is_empty() {
        Ok(Vec::new())
    } else {
        let asked = Request::AlterConfigs { changes: good, validate_only };
        let response = context.backend.controller(asked, CONTROLLER_TIME).await;
        expect_answer!(response, AlterConfigs)
    };
    let outcome = |change: ConfigChange| {
        let answers = answered.as_ref().map_err(Clone::clone)?;
        let own = answers
            .iter()
            .find(|(kind, resource, _)| *kind == change.kind && *resource == change.resource);
        own.map_or_else(|| Err(unexpected()), |(_, _, result)| result.clone())
    };
    changes.into_iter().map(|change| outcome(change?)).collect()
}
