//! The dynamic configuration that is known: by key, what values it takes.

use super::ResourceKind;

pub const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
pub const UNCLEAN_LEADER_ELECTION: &str = "unclean.leader.election.enable";

/// A key that topics or brokers can be configured with while they run.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    /// The same setting's name as a broker's default for its topics; empty if there is none.
    pub broker_name: &'static str,
    /// Whether a topic can carry it; else brokers only.
    pub is_topic: bool,
    pub values: Values,
}

/// The values that a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// Whole numbers from the first to the second.
    Integer(i64, i64),
    /// Numbers between 0 and 1.
    Ratio,
    Boolean,
    OneOf(&'static [&'static str]),
    /// A list, separated by commas, of one or more of these.
    ListOf(&'static [&'static str]),
    /// `*`, or a list of `partition:broker`.
    Throttles,
    Text,
}

const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;
const COMPRESSION: &[&str] = &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];

const fn topic(name: &'static str, broker_name: &'static str, values: Values) -> Key {
    Key { name, broker_name, is_topic: true, values }
}

const fn broker(name: &'static str, values: Values) -> Key {
    Key { name, broker_name: name, is_topic: false, values }
}

/// Every known key, topics' first, by Kafka's names and bounds.
pub const KEYS: &[Key] = &[
    topic("cleanup.policy", "log.cleanup.policy", Values::ListOf(&["delete", "compact"])),
    topic("compression.gzip.level", "compression.gzip.level", Values::Integer(-1, 9)),
    topic("compression.lz4.level", "compression.lz4.level", Values::Integer(1, 17)),
    topic("compression.type", "compression.type", Values::OneOf(COMPRESSION)),
    topic("compression.zstd.level", "compression.zstd.level", Values::Integer(-131_072, 22)),
    topic("delete.retention.ms", "log.cleaner.delete.retention.ms", Values::Integer(0, LONG)),
    topic("file.delete.delay.ms", "log.segment.delete.delay.ms", Values::Integer(0, LONG)),
    topic("flush.messages", "log.flush.interval.messages", Values::Integer(1, LONG)),
    topic("flush.ms", "log.flush.interval.ms", Values::Integer(0, LONG)),
    topic("follower.replication.throttled.replicas", "", Values::Throttles),
    topic("index.interval.bytes", "log.index.interval.bytes", Values::Integer(0, INT)),
    topic("leader.replication.throttled.replicas", "", Values::Throttles),
    topic("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", Values::Integer(1, LONG)),
    topic("max.message.bytes", "message.max.bytes", Values::Integer(0, INT)),
    topic(
        "message.timestamp.after.max.ms",
        "log.message.timestamp.after.max.ms",
        Values::Integer(0, LONG),
    ),
    topic(
        "message.timestamp.before.max.ms",
        "log.message.timestamp.before.max.ms",
        Values::Integer(0, LONG),
    ),
    topic(
        "message.timestamp.type",
        "log.message.timestamp.type",
        Values::OneOf(&["CreateTime", "LogAppendTime"]),
    ),
    topic("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio", Values::Ratio),
    topic("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms", Values::Integer(0, LONG)),
    topic(MIN_INSYNC_REPLICAS, MIN_INSYNC_REPLICAS, Values::Integer(1, INT)),
    topic("preallocate", "log.preallocate", Values::Boolean),
    topic("retention.bytes", "log.retention.bytes", Values::Integer(i64::MIN, LONG)),
    topic("retention.ms", "log.retention.ms", Values::Integer(-1, LONG)),
    topic("segment.bytes", "log.segment.bytes", Values::Integer(1_048_576, INT)),
    topic("segment.index.bytes", "log.index.size.max.bytes", Values::Integer(4, INT)),
    topic("segment.jitter.ms", "log.roll.jitter.ms", Values::Integer(0, LONG)),
    topic("segment.ms", "log.roll.ms", Values::Integer(1, LONG)),
    topic(UNCLEAN_LEADER_ELECTION, UNCLEAN_LEADER_ELECTION, Values::Boolean),
    broker("background.threads", Values::Integer(1, INT)),
    broker("follower.replication.throttled.rate", Values::Integer(0, LONG)),
    broker("leader.replication.throttled.rate", Values::Integer(0, LONG)),
    broker("log.cleaner.threads", Values::Integer(0, INT)),
    broker("max.connection.creation.rate", Values::Integer(0, INT)),
    broker("max.connections", Values::Integer(0, INT)),
    broker("max.connections.per.ip", Values::Integer(0, INT)),
    broker("max.connections.per.ip.overrides", Values::Text),
    broker("num.io.threads", Values::Integer(1, INT)),
    broker("num.network.threads", Values::Integer(1, INT)),
    broker("num.recovery.threads.per.data.dir", Values::Integer(1, INT)),
    broker("num.replica.fetchers", Values::Integer(1, INT)),
];

/// The key of this name for resources of this kind. A broker's keys are its own and the defaults
/// of its topics, by their broker names.
pub fn key(kind: ResourceKind, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| match kind {
        ResourceKind::Topic => key.is_topic && key.name == name,
        ResourceKind::Broker => key.broker_name == name && !name.is_empty(),
    })
}

/// The name under which brokers have a default for this topic key; the key's own if unknown.
pub fn broker_name(name: &str) -> &str {
    KEYS.iter().find(|key| key.is_topic && key.name == name).map_or(name, |key| key.broker_name)
}

impl Key {
    /// Whether operators may append to the value and subtract from it.
    pub fn is_list(&self) -> bool {
        matches!(self.values, Values::ListOf(_) | Values::Throttles)
    }

    /// What is wrong with `value`, as a sentence that names the key and what would be right.
    pub fn check(&self, value: &str) -> Result<(), String> {
        self.values.check(value.trim()).map_err(|expected| {
            format!("Invalid value {value} for configuration {}: {expected}", self.name)
        })
    }
}

impl Values {
    fn check(self, value: &str) -> Result<(), String> {
        match self {
            Values::Integer(low, high) => match value.parse::<i64>() {
                Err(_) => Err("it must be a whole number".to_owned()),
                Ok(number) if number < low => Err(format!("it must be at least {low}")),
                Ok(number) if number > high => Err(format!("it must be at most {high}")),
                Ok(_) => Ok(()),
            },
            Values::Ratio => match value.parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(()),
                _ => Err("it must be a number between 0 and 1".to_owned()),
            },
            Values::Boolean => match value.to_ascii_lowercase().as_str() {
                "true" | "false" => Ok(()),
                _ => Err("it must be true or false".to_owned()),
            },
            Values::OneOf(names) if names.contains(&value) => Ok(()),
            Values::OneOf(names) => Err(format!("it must be one of {}", names.join(", "))),
            Values::ListOf(names) => {
                let known = |item: &str| names.contains(&item.trim());
                let complaint = || format!("it must be a list of {}", names.join(", "));
                value.split(',').all(known).then_some(()).ok_or_else(complaint)
            }
            Values::Throttles => {
                let valid = value.is_empty() || value == "*" || value.split(',').all(is_throttle);
                let complaint = || "it must be * or a list of partition:broker".to_owned();
                valid.then_some(()).ok_or_else(complaint)
            }
            Values::Text => Ok(()),
        }
    }
}

fn is_throttle(item: &str) -> bool {
    let is_id = |text: &str| text.trim().parse::<i32>().is_ok_and(|id| id >= 0);
    item.split_once(':').is_some_and(|(partition, broker)| is_id(partition) && is_id(broker))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic_key(name: &str) -> &'static Key {
        key(ResourceKind::Topic, name).expect("it is a topic's")
    }

    #[track_caller]
    fn takes(name: &str, right: &[&str], wrong: &[&str]) {
        for value in right {
            assert_eq!(topic_key(name).check(value), Ok(()));
        }
        for value in wrong {
            let complaint = topic_key(name).check(value).expect_err(value);
            assert!(complaint.contains(name) && complaint.contains("it must be"), "{complaint}");
        }
    }

    #[test]
    fn values_are_taken_up_to_their_bounds_and_no_further() {
        takes("compression.gzip.level", &["-1", "9", " 5 "], &["-2", "10", "nine", "", "5.0"]);
        takes("min.cleanable.dirty.ratio", &["0", "0.5", "1.0"], &["-0.1", "1.1", "half"]);
        takes("preallocate", &["true", "FALSE"], &["yes", ""]);
    }

    #[test]
    fn names_are_taken_alone_or_in_lists_where_they_are_known() {
        takes("message.timestamp.type", &["CreateTime"], &["createtime", ""]);
        let (right, wrong) = (["delete", "compact, delete"], ["", "delete,", "remove"]);
        takes("cleanup.policy", &right, &wrong);
    }

    #[test]
    fn throttles_name_partitions_and_brokers() {
        let right = ["", "*", "0:1", "0:1, 3:2"];
        let wrong = ["0", "0:", ":1", "-1:1", "0:-1", "0:1;0:2", "*,0:1"];
        takes("leader.replication.throttled.replicas", &right, &wrong);
    }
}
