//! Bounds of the protocol's own collections, each with its reason. The node's bounds on frames,
//! queues and connections are in `kraft-node`'s `limits.rs`.

/// Voters of the quorum. Nobody runs more than seven controllers; one add in flight makes eight.
pub const MAX_VOTERS: usize = 8;

/// Replicas of a partition, those that a reassignment is adding and removing included: a move of
/// five replicas to five others fits.
pub const MAX_REPLICAS: usize = 10;

/// Partitions of one topic, and partitions that one request may create: what fits one atomic batch
/// of metadata records (K1).
pub const MAX_RECORDS_PER_BATCH: usize = 10_000;

/// Partitions in one topic.
pub const MAX_PARTITIONS_PER_TOPIC: i32 = 9_000;

/// A topic's name: Kafka's limit, which leaves room for `-<partition>` in a directory name.
pub const MAX_TOPIC_NAME: usize = 249;

/// Batches remembered per idempotent producer and partition (I1, Kafka's figure).
pub const PRODUCER_BATCHES: usize = 5;

/// Producer ids handed to a broker in one block (K6, Kafka's figure).
pub const PRODUCER_ID_BLOCK: i64 = 1_000;

/// Idempotent producers remembered per partition: some 2 MB. Kafka bounds them by time alone.
pub const MAX_PRODUCERS: usize = 10_000;
