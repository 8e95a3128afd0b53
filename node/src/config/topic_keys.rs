//! The keys of a topic's configuration (Kafka's `TopicConfig`), by name.

use super::registry::{BrokerKey, Kind, TopicKey};

const ANY: i64 = i64::MAX;
const INT: i64 = i32::MAX as i64;
const MINUTE_MS: i64 = 60 * 1000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

const fn from(name: &'static str) -> BrokerKey {
    BrokerKey { name, factor: 1 }
}

const fn scaled(name: &'static str, factor: i64) -> BrokerKey {
    BrokerKey { name, factor }
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    broker_keys: &'static [BrokerKey],
    doc: &'static str,
) -> TopicKey {
    TopicKey { name, kind, default, broker_keys, doc }
}

pub(super) const COMPRESSIONS: &[&str] =
    &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
pub(super) const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
pub(super) const POLICIES: &[&str] = &["compact", "delete"];

#[rustfmt::skip]
pub(super) const TOPIC_KEYS: &[TopicKey] = &[
    key("cleanup.policy", Kind::ListOf(POLICIES), "delete", &[from("log.cleanup.policy")],
        "What happens to old segments: deleted by age and size, or compacted by key."),
    key("compression.type", Kind::OneOf(COMPRESSIONS), "producer", &[from("compression.type")],
        "How batches are compressed in the log; 'producer' keeps what the producer chose."),
    key("delete.retention.ms", Kind::Long(0, ANY), "86400000", &[from("log.cleaner.delete.retention.ms")],
        "How long a compacted topic keeps the marker of a deleted key."),
    key("file.delete.delay.ms", Kind::Long(0, ANY), "60000", &[from("log.segment.delete.delay.ms")],
        "How long a segment's file outlives its removal from the log."),
    key("flush.messages", Kind::Long(1, ANY), "9223372036854775807", &[],
        "Records after which the log is flushed; log.flush decides what acknowledgements rest on."),
    key("flush.ms", Kind::Long(0, ANY), "9223372036854775807", &[],
        "Time after which the log is flushed; log.flush decides what acknowledgements rest on."),
    key("follower.replication.throttled.replicas", Kind::List, "", &[],
        "Kept for Kafka's reassignment tool; kraft does not throttle replication."),
    key("index.interval.bytes", Kind::Int(0, INT), "4096", &[from("log.index.interval.bytes")],
        "Bytes of log between two entries of the offset index."),
    key("leader.replication.throttled.replicas", Kind::List, "", &[],
        "Kept for Kafka's reassignment tool; kraft does not throttle replication."),
    key("max.compaction.lag.ms", Kind::Long(1, ANY), "9223372036854775807", &[from("log.cleaner.max.compaction.lag.ms")],
        "How long a record may stay uncompacted."),
    key("max.message.bytes", Kind::Int(0, INT), "1048588", &[from("message.max.bytes")],
        "The largest record batch that is accepted, after compression."),
    key("message.timestamp.after.max.ms", Kind::Long(0, ANY), "3600000", &[from("log.message.timestamp.after.max.ms")],
        "How far a record's timestamp may lie ahead of the broker's clock."),
    key("message.timestamp.before.max.ms", Kind::Long(0, ANY), "9223372036854775807", &[from("log.message.timestamp.before.max.ms")],
        "How far a record's timestamp may lie behind the broker's clock."),
    key("message.timestamp.type", Kind::OneOf(TIMESTAMP_TYPES), "CreateTime", &[from("log.message.timestamp.type")],
        "Whether a record keeps its producer's time or gets that of its append."),
    key("min.cleanable.dirty.ratio", Kind::Double(0.0, 1.0), "0.5", &[from("log.cleaner.min.cleanable.ratio")],
        "The uncompacted share of a log at which compaction is due."),
    key("min.compaction.lag.ms", Kind::Long(0, ANY), "0", &[from("log.cleaner.min.compaction.lag.ms")],
        "How long a record stays uncompacted at least."),
    key("min.insync.replicas", Kind::Int(1, INT), "1", &[from("min.insync.replicas")],
        "In-sync replicas without which acks=all is refused."),
    key("preallocate", Kind::Bool, "false", &[from("log.preallocate")],
        "Whether a new segment's file takes its whole size at once."),
    key("retention.bytes", Kind::Long(-1, ANY), "-1", &[from("log.retention.bytes")],
        "A partition's size above which its oldest segments are deleted; -1: none."),
    key("retention.ms", Kind::Long(-1, ANY), "604800000",
        &[from("log.retention.ms"), scaled("log.retention.minutes", MINUTE_MS), scaled("log.retention.hours", HOUR_MS)],
        "The age at which a segment is deleted; -1: never."),
    key("segment.bytes", Kind::Int(14, INT), "1073741824", &[from("log.segment.bytes")],
        "The size at which a segment is closed and the next one begun."),
    key("segment.index.bytes", Kind::Int(4, INT), "10485760", &[from("log.index.size.max.bytes")],
        "The largest size of a segment's index."),
    key("segment.jitter.ms", Kind::Long(0, ANY), "0",
        &[from("log.roll.jitter.ms"), scaled("log.roll.jitter.hours", HOUR_MS)],
        "A random part taken off segment.ms, so that segments do not all end at once."),
    key("segment.ms", Kind::Long(1, ANY), "604800000",
        &[from("log.roll.ms"), scaled("log.roll.hours", HOUR_MS)],
        "The age at which a segment is closed although it is not full."),
    key("unclean.leader.election.enable", Kind::Bool, "false", &[from("unclean.leader.election.enable")],
        "Whether a replica outside the ISR may lead when no other can, which loses records."),
];
