//! The keys of a node's configuration: Kafka's names and defaults, then what only kraft has.

use super::registry::{Kind, NodeKey};
use super::topic_keys::{COMPRESSIONS, POLICIES, TIMESTAMP_TYPES};

const ANY: i64 = i64::MAX;
const INT: i64 = i32::MAX as i64;
const SHORT: i64 = i16::MAX as i64;

const fn unset(name: &'static str, kind: Kind, doc: &'static str) -> NodeKey {
    NodeKey { name, kind, default: None, dynamic: false, doc }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> NodeKey {
    NodeKey { name, kind, default: Some(default), dynamic: false, doc }
}

/// A key whose value can change while the node runs.
const fn live(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> NodeKey {
    NodeKey { name, kind, default: Some(default), dynamic: true, doc }
}

const fn live_unset(name: &'static str, kind: Kind, doc: &'static str) -> NodeKey {
    NodeKey { name, kind, default: None, dynamic: true, doc }
}

const ROLES: &[&str] = &["controller", "broker"];
const FLUSHES: &[&str] = &["page-cache", "before-ack"];

#[rustfmt::skip]
pub(super) const NODE_KEYS: &[NodeKey] = &[
    // Who the node is.
    unset("process.roles", Kind::ListOf(ROLES), "What this process is: broker, controller, or both."),
    unset("node.id", Kind::Int(0, INT), "This node's id, unique in the cluster whatever its roles."),
    unset("broker.rack", Kind::Text, "The broker's rack; replicas are spread over racks."),

    // Where it keeps its data.
    unset("log.dirs", Kind::List, "Directories of the partitions' logs, comma-separated."),
    unset("log.dir", Kind::Text, "The one directory of the partitions' logs, where log.dirs is not given."),
    unset("metadata.log.dir", Kind::Text, "Directory of the metadata log; by default the first of log.dirs."),

    // Where it can be reached.
    key("listeners", Kind::List, "PLAINTEXT://:9092", "What to bind: NAME://host:port, comma-separated. Port 0: any free one."),
    unset("advertised.listeners", Kind::List, "What clients and brokers are told to dial; by default the listeners themselves."),
    unset("listener.security.protocol.map", Kind::List, "The protocol of each listener name: NAME:PROTOCOL, comma-separated."),
    unset("inter.broker.listener.name", Kind::Text, "The listener over which brokers reach each other; by default PLAINTEXT."),
    unset("controller.listener.names", Kind::List, "The listeners of the controllers; brokers use the first."),

    // The quorum.
    unset("controller.quorum.voters", Kind::List, "The voters: id@host:port, comma-separated; kraft also takes id@host:port:directory-id."),
    unset("controller.quorum.bootstrap.servers", Kind::List, "Controllers to ask for the quorum: host:port, comma-separated."),
    key("controller.quorum.election.timeout.ms", Kind::Int(1, INT), "1000", "How long an election may last before the next one."),
    key("controller.quorum.fetch.timeout.ms", Kind::Int(1, INT), "2000", "How long a follower waits for its leader's answer before it stands for election."),
    key("controller.quorum.fetch.max.wait.ms", Kind::Int(1, INT), "500", "How long a leader may hold a fetch that has nothing to read."),
    key("metadata.log.max.record.bytes.between.snapshots", Kind::Long(1, ANY), "20971520", "Bytes of metadata log after which a snapshot is due."),

    // Brokers and controllers.
    key("broker.session.timeout.ms", Kind::Int(1, INT), "9000", "Silence after which the controller fences a broker."),
    key("broker.heartbeat.interval.ms", Kind::Int(1, INT), "2000", "Time between a broker's heartbeats."),
    key("controlled.shutdown.enable", Kind::Bool, "true", "Whether a broker hands its partitions over before it stops."),
    key("controlled.shutdown.timeout.ms", Kind::Long(0, ANY), "300000", "How long a stopping broker waits for that; kraft's own key."),
    key("auto.leader.rebalance.enable", Kind::Bool, "true", "Whether preferred leaders are given back what they led."),
    key("leader.imbalance.check.interval.seconds", Kind::Long(1, ANY), "300", "Time between two looks for preferred leaders that do not lead."),
    key("unclean.leader.election.interval.ms", Kind::Long(1, ANY), "300000", "Time between two looks for partitions that only an unclean election can save."),

    // Replication.
    key("replica.lag.time.max.ms", Kind::Long(1, ANY), "30000", "How long a follower may be behind before it leaves the ISR."),
    key("replica.fetch.wait.max.ms", Kind::Int(1, INT), "500", "How long a leader may hold a follower's fetch that has nothing to read."),
    key("replica.fetch.max.bytes", Kind::Int(0, INT), "1048576", "Bytes of one partition in a follower's fetch; a larger batch still goes alone."),
    key("replica.fetch.response.max.bytes", Kind::Int(0, INT), "10485760", "Bytes of all partitions in a follower's fetch."),

    // Topics that say nothing themselves.
    key("auto.create.topics.enable", Kind::Bool, "true", "Whether a client's question for a topic creates it."),
    key("num.partitions", Kind::Int(1, INT), "1", "Partitions of a topic whose creator names no number."),
    key("default.replication.factor", Kind::Short(1, SHORT), "1", "Replicas of a topic whose creator names no number."),
    live("min.insync.replicas", Kind::Int(1, INT), "1", "In-sync replicas without which acks=all is refused."),
    live("unclean.leader.election.enable", Kind::Bool, "false", "Whether a replica outside the ISR may lead when no other can, which loses records."),
    key("delete.topic.enable", Kind::Bool, "true", "Whether topics can be deleted."),
    live("message.max.bytes", Kind::Int(0, INT), "1048588", "The largest record batch that is accepted, after compression."),
    live("compression.type", Kind::OneOf(COMPRESSIONS), "producer", "How batches are compressed in the log; 'producer' keeps what the producer chose."),
    live("log.message.timestamp.type", Kind::OneOf(TIMESTAMP_TYPES), "CreateTime", "Whether a record keeps its producer's time or gets that of its append."),
    live("log.message.timestamp.before.max.ms", Kind::Long(0, ANY), "9223372036854775807", "How far a record's timestamp may lie behind the broker's clock."),
    live("log.message.timestamp.after.max.ms", Kind::Long(0, ANY), "3600000", "How far a record's timestamp may lie ahead of the broker's clock."),
    live("log.cleanup.policy", Kind::ListOf(POLICIES), "delete", "What happens to old segments: deleted by age and size, or compacted by key."),
    live_unset("log.retention.ms", Kind::Long(-1, ANY), "The age at which a segment is deleted; before log.retention.minutes and .hours."),
    unset("log.retention.minutes", Kind::Int(-1, INT), "The age at which a segment is deleted; before log.retention.hours."),
    key("log.retention.hours", Kind::Int(-1, INT), "168", "The age at which a segment is deleted."),
    live("log.retention.bytes", Kind::Long(-1, ANY), "-1", "A partition's size above which its oldest segments are deleted; -1: none."),
    key("log.retention.check.interval.ms", Kind::Long(1, ANY), "300000", "Time between two looks for segments to delete."),
    live("log.segment.bytes", Kind::Int(14, INT), "1073741824", "The size at which a segment is closed and the next one begun."),
    live_unset("log.roll.ms", Kind::Long(1, ANY), "The age at which a segment is closed although it is not full; before log.roll.hours."),
    key("log.roll.hours", Kind::Int(1, INT), "168", "The age at which a segment is closed although it is not full."),
    live_unset("log.roll.jitter.ms", Kind::Long(0, ANY), "A random part taken off log.roll.ms; before log.roll.jitter.hours."),
    key("log.roll.jitter.hours", Kind::Int(0, INT), "0", "A random part taken off log.roll.hours."),
    live("log.segment.delete.delay.ms", Kind::Long(0, ANY), "60000", "How long a segment's file outlives its removal from the log."),
    live("log.index.interval.bytes", Kind::Int(0, INT), "4096", "Bytes of log between two entries of the offset index."),
    live("log.index.size.max.bytes", Kind::Int(4, INT), "10485760", "The largest size of a segment's index."),
    live("log.preallocate", Kind::Bool, "false", "Whether a new segment's file takes its whole size at once."),
    live("log.cleaner.delete.retention.ms", Kind::Long(0, ANY), "86400000", "How long a compacted topic keeps the marker of a deleted key."),
    live("log.cleaner.min.cleanable.ratio", Kind::Double(0.0, 1.0), "0.5", "The uncompacted share of a log at which compaction is due."),
    live("log.cleaner.min.compaction.lag.ms", Kind::Long(0, ANY), "0", "How long a record stays uncompacted at least."),
    live("log.cleaner.max.compaction.lag.ms", Kind::Long(1, ANY), "9223372036854775807", "How long a record may stay uncompacted."),

    // Consumer groups.
    key("offsets.topic.replication.factor", Kind::Short(1, SHORT), "3", "Replicas of the topic that keeps committed offsets."),
    key("offsets.topic.num.partitions", Kind::Int(1, INT), "50", "Partitions of the topic that keeps committed offsets."),
    key("offsets.retention.minutes", Kind::Int(1, INT), "10080", "How long the offsets of an empty group are kept."),
    key("offset.metadata.max.bytes", Kind::Int(0, INT), "4096", "The longest note that a client may commit with an offset."),
    key("group.initial.rebalance.delay.ms", Kind::Int(0, INT), "3000", "How long a new group waits for more members."),
    key("group.min.session.timeout.ms", Kind::Int(0, INT), "6000", "The shortest session timeout that a member may ask for."),
    key("group.max.session.timeout.ms", Kind::Int(0, INT), "1800000", "The longest session timeout that a member may ask for."),
    key("group.max.size", Kind::Int(1, INT), "2147483647", "The most members of one group."),

    // Clients and resources.
    key("socket.request.max.bytes", Kind::Int(1, INT), "104857600", "The largest request."),
    key("connections.max.idle.ms", Kind::Long(-1, ANY), "600000", "Silence after which a client's connection is closed."),
    key("fetch.max.bytes", Kind::Int(1024, INT), "57671680", "The most bytes that one fetch is answered with."),
    key("num.io.threads", Kind::Int(0, 1024), "0", "Threads that the work is spread over; 0: one for each core. (Kafka's default is 8.)"),

    // What only kraft has.
    key("log.flush", Kind::OneOf(FLUSHES), "page-cache", "What an acknowledgement of acks=all rests on: the page caches of the ISR, or their disks."),
    key("allow.plaintext", Kind::Bool, "false", "Whether listeners may be reached from other hosts although nothing is encrypted or authenticated."),
    unset("metrics.listener", Kind::Text, "host:port of the metrics and health endpoint."),
    unset("trace.dir", Kind::Text, "Directory in which every input of the node's machines is recorded, for 'kraft trace'; unset: nothing is."),
    key("trace.segment.bytes", Kind::Long(4096, ANY), "67108864", "Bytes of a file of the trace after which another one begins."),
    key("trace.max.bytes", Kind::Long(4096, ANY), "4294967296", "Bytes of one thread's trace after which it ends, which it says."),
    key("open.files", Kind::Int(16, INT), "4096", "Log files that are held open at once."),
];
