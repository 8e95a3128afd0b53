//! Every key that kraft knows, one row each: the table behind loading, DescribeConfigs and the
//! checks of IncrementalAlterConfigs.

use super::node_keys::NODE_KEYS;
use super::topic_keys::TOPIC_KEYS;

/// What values a key takes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    Bool,
    /// A 16-bit number within these bounds.
    Short(i64, i64),
    /// A 32-bit number within these bounds.
    Int(i64, i64),
    /// A 64-bit number within these bounds.
    Long(i64, i64),
    /// A fraction within these bounds.
    Double(f64, f64),
    Text,
    /// Comma-separated.
    List,
    /// Comma-separated, each element one of these.
    ListOf(&'static [&'static str]),
    /// One of these.
    OneOf(&'static [&'static str]),
}

impl Kind {
    /// The type's number in DescribeConfigs (KIP-569).
    pub fn wire(self) -> i8 {
        match self {
            Kind::Bool => 1,
            Kind::Text | Kind::OneOf(_) => 2,
            Kind::Int(..) => 3,
            Kind::Short(..) => 4,
            Kind::Long(..) => 5,
            Kind::Double(..) => 6,
            Kind::List | Kind::ListOf(_) => 7,
        }
    }

    /// Checks one value.
    ///
    /// # Errors
    /// What would be right, as the end of the sentence "expected ...".
    pub fn check(self, value: &str) -> Result<(), String> {
        let value = value.trim();
        let right = match self {
            Kind::Text | Kind::List => true,
            Kind::Bool => parse_bool(value).is_some(),
            Kind::Short(min, max) | Kind::Int(min, max) | Kind::Long(min, max) => {
                value.parse().is_ok_and(|number: i64| (min..=max).contains(&number))
            }
            Kind::Double(min, max) => {
                value.parse().is_ok_and(|number: f64| (min..=max).contains(&number))
            }
            Kind::OneOf(names) => names.contains(&value),
            Kind::ListOf(names) => elements(value).all(|element| names.contains(&element)),
        };
        if right { Ok(()) } else { Err(self.expected()) }
    }

    /// The values that are right, in words.
    pub fn expected(self) -> String {
        match self {
            Kind::Bool => "true or false".to_owned(),
            Kind::Short(min, max) | Kind::Int(min, max) | Kind::Long(min, max) => match max {
                i64::MAX => format!("a whole number of at least {min}"),
                _ => format!("a whole number from {min} to {max}"),
            },
            Kind::Double(min, max) => format!("a number from {min} to {max}"),
            Kind::Text => "text".to_owned(),
            Kind::List => "a comma-separated list".to_owned(),
            Kind::OneOf(names) => format!("one of {}", names.join(", ")),
            Kind::ListOf(names) => format!("a comma-separated list of {}", names.join(", ")),
        }
    }
}

/// A key of a node's configuration.
#[derive(Clone, Copy, Debug)]
pub struct NodeKey {
    pub name: &'static str,
    pub kind: Kind,
    /// `None`: unset unless given.
    pub default: Option<&'static str>,
    /// Can be changed while the node runs (IncrementalAlterConfigs on brokers).
    pub dynamic: bool,
    pub doc: &'static str,
}

/// A key of a topic's configuration. All of them can be changed while brokers run.
#[derive(Clone, Copy, Debug)]
pub struct TopicKey {
    pub name: &'static str,
    pub kind: Kind,
    /// Kafka's default, in force where no broker key sets another.
    pub default: &'static str,
    /// The node keys that set the default for topics: the first one that is given wins.
    pub broker_keys: &'static [BrokerKey],
    pub doc: &'static str,
}

/// A node key as the source of a topic's default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokerKey {
    pub name: &'static str,
    /// What one unit of it is in the topic key's unit (hours in milliseconds ...).
    pub factor: i64,
}

impl TopicKey {
    /// The node key whose name Kafka reports as this key's synonym.
    pub fn broker_key(&self) -> Option<&'static str> {
        self.broker_keys.first().map(|key| key.name)
    }
}

/// All keys of a node, in the order of the documentation.
pub fn node_keys() -> &'static [NodeKey] {
    NODE_KEYS
}

/// All keys of a topic, by name.
pub fn topic_keys() -> &'static [TopicKey] {
    TOPIC_KEYS
}

pub fn node_key(name: &str) -> Option<&'static NodeKey> {
    NODE_KEYS.iter().find(|key| key.name == name)
}

pub fn topic_key(name: &str) -> Option<&'static TopicKey> {
    TOPIC_KEYS.iter().find(|key| key.name == name)
}

/// Whether a topic may be given this value.
///
/// # Errors
/// A sentence for the client: what is wrong, and what would be right.
pub fn check_topic(name: &str, value: &str) -> Result<(), String> {
    let key = topic_key(name).ok_or_else(|| unknown("topic", name, topic_names()))?;
    key.kind.check(value).map_err(|expected| wrong(name, value, &expected))
}

/// Whether a running broker may be given this value.
///
/// # Errors
/// As for [`check_topic`]; also for a key that only a restart can change.
pub fn check_dynamic(name: &str, value: &str) -> Result<(), String> {
    let key = node_key(name).ok_or_else(|| unknown("broker", name, node_names()))?;
    if !key.dynamic {
        return Err(format!(
            "{name} cannot be changed while the node runs; set it in the node's file and restart"
        ));
    }
    key.kind.check(value).map_err(|expected| wrong(name, value, &expected))
}

fn wrong(name: &str, value: &str, expected: &str) -> String {
    format!("{name} cannot be '{value}'; expected {expected}")
}

fn unknown(of: &str, name: &str, names: impl Iterator<Item = &'static str>) -> String {
    match super::suggest::nearest(name, names) {
        Some(near) => format!("there is no {of} configuration '{name}'; did you mean '{near}'?"),
        None => format!("there is no {of} configuration '{name}'"),
    }
}

fn node_names() -> impl Iterator<Item = &'static str> {
    NODE_KEYS.iter().map(|key| key.name)
}

fn topic_names() -> impl Iterator<Item = &'static str> {
    TOPIC_KEYS.iter().map(|key| key.name)
}

/// Kafka takes either case.
pub(super) fn parse_bool(value: &str) -> Option<bool> {
    match value {
        _ if value.eq_ignore_ascii_case("true") => Some(true),
        _ if value.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// The elements of a comma-separated list, trimmed, the empty ones left out.
pub fn elements(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_stands_once_and_its_default_is_a_legal_value() {
        let mut names = BTreeSet::new();
        for key in node_keys() {
            assert!(names.insert(key.name), "{} stands twice", key.name);
            assert_eq!(key.default.map_or(Ok(()), |d| key.kind.check(d)), Ok(()), "{}", key.name);
        }
        let mut names = BTreeSet::new();
        for key in topic_keys() {
            assert!(names.insert(key.name), "{} stands twice", key.name);
            assert_eq!(key.kind.check(key.default), Ok(()), "{}", key.name);
            for source in key.broker_keys {
                assert!(node_key(source.name).is_some(), "{} is no node key", source.name);
            }
        }
    }

    #[test]
    fn a_topic_is_told_what_is_wrong_with_a_value_and_what_would_be_right() {
        assert_eq!(check_topic("retention.ms", "-1"), Ok(()));
        let error = check_topic("min.insync.replicas", "0").expect_err("0 is too few");
        assert!(error.contains("min.insync.replicas cannot be '0'"), "{error}");
        let error = check_topic("retention.msec", "1").expect_err("no such key");
        assert!(error.contains("did you mean 'retention.ms'?"), "{error}");
        assert!(check_topic("cleanup.policy", "compact,delete").is_ok());
        assert!(check_topic("cleanup.policy", "compact,shred").is_err());
    }

    #[test]
    fn a_running_broker_keeps_what_only_a_restart_can_change() {
        assert!(check_dynamic("log.retention.ms", "1000").is_ok());
        let error = check_dynamic("node.id", "4").expect_err("static");
        assert!(error.contains("restart"), "{error}");
    }
}
