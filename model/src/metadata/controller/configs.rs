//! Dynamic configuration of topics and brokers.

use std::collections::BTreeSet;

use crate::limits::MAX_RECORDS_PER_BATCH;
use crate::metadata::config::{self, MIN_INSYNC_REPLICAS};
use crate::metadata::partition::{Cause, Election};
use crate::metadata::{
    ConfigChange, ConfigOp, ConfigRecord, Configs, Image, Partition, Record, Refusal, ResourceKind,
    Response,
};
use crate::{ErrorCode, Guard, NodeId, Rules};

use super::scope::{Outcome, Scope};
use super::topics::{fit, repeated};

/// Values that one request may change: a batch has room for what clears the ELRs with them (P6).
const MAX_VALUES: usize = MAX_RECORDS_PER_BATCH - 1;

impl<R: Rules> Scope<R> {
    /// Each resource's changes are made whole or not at all.
    pub fn alter_configs(
        &self,
        image: &Image,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Outcome {
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(changes.len());
        let repeated = repeated(changes.iter().map(resource));
        for change in changes {
            let result = if repeated.contains(&resource(change)) {
                refuse(ErrorCode::InvalidRequest, "Each resource must appear at most once.")
            } else {
                alter(image, change).and_then(|new| fit(&mut records, new, MAX_VALUES))
            };
            results.push((change.kind, change.resource.clone(), result));
        }
        records.extend(self.without_stale_elrs(image, &records));
        if validate_only {
            records.clear();
        }
        Outcome { records, response: Response::AlterConfigs(results) }
    }

    /// P6: where min.insync.replicas falls to what the ISR has, the leader may commit what the ELR
    /// does not hold, so that it is void. Everywhere else the ELR still holds all that is committed,
    /// and may be all that is left of it: there it stays. Kafka voids it at any change.
    fn without_stale_elrs(&self, image: &Image, configs: &[Record]) -> Vec<Record> {
        let is_min_isr = |record: &Record| match record {
            Record::Config(config) => config.name == MIN_INSYNC_REPLICAS,
            _ => false,
        };
        if !configs.iter().any(is_min_isr) || !self.rules.holds(Guard::MinIsrKeepsElr) {
            return Vec::new();
        }
        let mut after = image.clone();
        let is_replayed = configs.iter().all(|record| after.replay(after.end, record).is_ok());
        debug_assert!(is_replayed, "configuration fits any metadata");
        let has_elr = |it: &Partition| !it.elr.is_empty() && !it.isr.is_empty();
        let records = self.change_all(&after, &after, has_elr, Cause::Elect(Election::Online));
        if configs.len() + records.len() > MAX_RECORDS_PER_BATCH {
            return vec![Record::ClearElr { topic: None }];
        }
        records
    }
}

fn resource(change: &ConfigChange) -> (ResourceKind, &str) {
    (change.kind, &change.resource)
}

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, message))
}

/// What a topic may be configured with when it is created.
pub(super) fn check_topic_config(name: &str, value: &str) -> Result<(), Refusal> {
    check(ResourceKind::Topic, name, value)
}

fn check(kind: ResourceKind, name: &str, value: &str) -> Result<(), Refusal> {
    match config::key(kind, name) {
        Some(key) => key.check(value).or_else(|why| refuse(ErrorCode::InvalidConfig, why)),
        None => refuse(ErrorCode::InvalidConfig, unknown(kind, name)),
    }
}

fn unknown(kind: ResourceKind, name: &str) -> String {
    match kind {
        ResourceKind::Topic => format!("Unknown topic config name: {name}"),
        ResourceKind::Broker => {
            format!("Broker config {name} is unknown, or cannot be changed while brokers run")
        }
    }
}

fn alter(image: &Image, change: &ConfigChange) -> Result<Vec<Record>, Refusal> {
    check_exists(image, change)?;
    let key = (change.kind, change.resource.clone());
    let before = image.configs.get(&key).map(|configs| (**configs).clone()).unwrap_or_default();
    let after = altered(&before, change)?;
    check_min_isr(&before, &after, change)?;
    let record = |name: &String, value: Option<&String>| {
        Record::Config(ConfigRecord {
            kind: change.kind,
            resource: change.resource.clone(),
            name: name.clone(),
            value: value.cloned(),
        })
    };
    let removed = before.keys().filter(|name| !after.contains_key(*name));
    let mut records: Vec<Record> = removed.map(|name| record(name, None)).collect();
    let is_new = |(name, value): &(&String, &String)| before.get(*name) != Some(*value);
    records.extend(after.iter().filter(is_new).map(|(name, value)| record(name, Some(value))));
    Ok(records)
}

fn check_exists(image: &Image, change: &ConfigChange) -> Result<(), Refusal> {
    let resource = change.resource.as_str();
    match change.kind {
        ResourceKind::Topic if image.topic_named(resource).is_some() => Ok(()),
        ResourceKind::Topic => refuse(
            ErrorCode::UnknownTopicOrPartition,
            format!("Topic '{resource}' does not exist."),
        ),
        ResourceKind::Broker if resource.is_empty() => Ok(()),
        ResourceKind::Broker => match resource.parse() {
            Ok(id) if image.broker(NodeId(id)).is_some() => Ok(()),
            Ok(_) => {
                let message = format!("Broker {resource} is not registered.");
                refuse(ErrorCode::BrokerIdNotRegistered, message)
            }
            Err(_) => {
                let message = format!("'{resource}' is not the id of a broker.");
                refuse(ErrorCode::InvalidRequest, message)
            }
        },
    }
}

/// The resource's configuration after the change, every new value checked.
fn altered(before: &Configs, change: &ConfigChange) -> Result<Configs, Refusal> {
    let mut after =
        if change.replace { kept_by_replacing(before, change.kind) } else { before.clone() };
    let mut seen = BTreeSet::new();
    for (name, op) in &change.ops {
        if !seen.insert(name) {
            let message = format!("Config {name} is named more than once.");
            return refuse(ErrorCode::InvalidRequest, message);
        }
        let value = match op {
            ConfigOp::Set(value) => Some(value.clone()),
            ConfigOp::Delete => None,
            ConfigOp::Append(items) => Some(edit_list(change.kind, name, before, items, true)?),
            ConfigOp::Subtract(items) => Some(edit_list(change.kind, name, before, items, false)?),
        };
        match value {
            None => {
                after.remove(name);
            }
            Some(value) => {
                check(change.kind, name, &value)?;
                after.insert(name.clone(), value);
            }
        }
    }
    Ok(after)
}

/// Replacing all of a resource's values means those that it names; the cluster's
/// min.insync.replicas is not one that can be absent.
fn kept_by_replacing(before: &Configs, kind: ResourceKind) -> Configs {
    let is_kept = |name: &str| kind == ResourceKind::Broker && name == MIN_INSYNC_REPLICAS;
    before.iter().filter(|(name, _)| is_kept(name)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// A list with items appended that it has not, or without the items that it has.
fn edit_list(
    kind: ResourceKind,
    name: &str,
    before: &Configs,
    items: &str,
    append: bool,
) -> Result<String, Refusal> {
    if !config::key(kind, name).is_some_and(|key| key.is_list()) {
        let message =
            format!("Config value of {name} is not a list: it can only be set or deleted.");
        return refuse(ErrorCode::InvalidConfig, message);
    }
    let split = |text: &str| -> Vec<String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(str::to_owned).collect()
    };
    let mut list = before.get(name).map(|value| split(value)).unwrap_or_default();
    for item in split(items) {
        list.retain(|other| *other != item);
        if append {
            list.push(item);
        }
    }
    Ok(list.join(","))
}

/// One min.insync.replicas per topic, or per cluster: a broker's own would differ from what the
/// controller goes by (KAFKA-16540), and so might none at all.
fn check_min_isr(before: &Configs, after: &Configs, change: &ConfigChange) -> Result<(), Refusal> {
    if change.kind == ResourceKind::Topic {
        return Ok(());
    }
    let (was, is) = (before.get(MIN_INSYNC_REPLICAS), after.get(MIN_INSYNC_REPLICAS));
    let fault = if !change.resource.is_empty() && is.is_some() {
        "cannot be set for a single broker; set it for a topic, or as the default of all brokers"
    } else if was.is_some() && is.is_none() {
        "cannot be removed as the default of all brokers; set another value"
    } else {
        return Ok(());
    };
    refuse(ErrorCode::InvalidConfig, format!("{MIN_INSYNC_REPLICAS} {fault}"))
}
