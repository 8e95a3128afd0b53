//! Which value of a configuration key is in force, and where it comes from: the topic's own, this
//! broker's, all brokers', the file's, the default, in this order.

use kraft_model::metadata::{Configs, Image, ResourceKind};

use crate::config::NodeConfig;
use crate::config::registry::{NodeKey, TopicKey, topic_key};

/// Where a value comes from; the number is the one of DescribeConfigs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i8)]
pub enum Source {
    Topic = 1,
    DynamicBroker = 2,
    DynamicDefault = 3,
    Static = 4,
    Default = 5,
}

/// One place in which a key has a value; the first of a list is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// The name by which the value was given: a topic key's broker key has another.
    pub name: &'static str,
    pub value: Option<String>,
    pub source: Source,
}

/// The configuration of one broker over one image.
#[derive(Clone, Copy, Debug)]
pub struct Effective<'a> {
    pub image: &'a Image,
    pub config: &'a NodeConfig,
}

impl Effective<'_> {
    /// Every setting of a topic's key, the one in force first; never empty.
    pub fn topic(&self, topic: &str, key: &TopicKey) -> Vec<Setting> {
        let own = self.dynamic(ResourceKind::Topic, topic).and_then(|set| set.get(key.name));
        let own = own.map(|value| setting(key.name, value.clone(), Source::Topic));
        own.into_iter().chain(self.topic_default(key)).collect()
    }

    /// A topic's key as it is where the topic itself does not set it; the one in force first.
    pub fn topic_default(&self, key: &TopicKey) -> Vec<Setting> {
        let id = self.config.node_id.to_string();
        let mut all = Vec::new();
        for (resource, source) in
            [(id.as_str(), Source::DynamicBroker), ("", Source::DynamicDefault)]
        {
            let Some(set) = self.dynamic(ResourceKind::Broker, resource) else { continue };
            for broker_key in key.broker_keys {
                if let Some(value) = set.get(broker_key.name) {
                    all.push(setting(broker_key.name, scaled(value, broker_key.factor), source));
                }
            }
        }
        let given = key.broker_keys.iter().find(|k| self.config.given.contains_key(k.name));
        if let (Some(given), Some(value)) = (given, self.config.topic_defaults.get(key.name)) {
            all.push(setting(given.name, value.clone(), Source::Static));
        }
        let name = key.broker_key().unwrap_or(key.name);
        all.push(setting(name, key.default.to_owned(), Source::Default));
        all
    }

    /// Every setting of this broker's key, the one in force first; never empty.
    pub fn broker(&self, key: &NodeKey) -> Vec<Setting> {
        let id = self.config.node_id.to_string();
        let dynamic = |resource: &str, source| {
            let value = self.dynamic(ResourceKind::Broker, resource)?.get(key.name)?;
            Some(setting(key.name, value.clone(), source))
        };
        let fixed = self
            .config
            .given
            .get(key.name)
            .map(|value| setting(key.name, value.clone(), Source::Static));
        let default = Setting {
            name: key.name,
            value: key.default.map(str::to_owned),
            source: Source::Default,
        };
        dynamic(&id, Source::DynamicBroker)
            .into_iter()
            .chain(dynamic("", Source::DynamicDefault))
            .chain(fixed)
            .chain([default])
            .collect()
    }

    /// What is set dynamically on one resource.
    pub fn dynamic(&self, kind: ResourceKind, resource: &str) -> Option<&Configs> {
        self.image.configs.get(&(kind, resource.to_owned())).map(AsRef::as_ref)
    }

    /// A topic's key that holds a number; `None` if there is no such key or it holds none.
    pub fn topic_number(&self, topic: &str, key: &str) -> Option<i64> {
        self.topic(topic, topic_key(key)?).first()?.value.as_ref()?.trim().parse().ok()
    }
}

fn setting(name: &'static str, value: String, source: Source) -> Setting {
    Setting { name, value: Some(value), source }
}

/// A broker key's value in its topic key's unit; -1 ("no limit") has none.
fn scaled(value: &str, factor: i64) -> String {
    match value.trim().parse::<i64>() {
        Ok(number) if factor != 1 && number >= 0 => number.saturating_mul(factor).to_string(),
        _ => value.to_owned(),
    }
}
