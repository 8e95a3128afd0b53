//! Logs on disk: Kafka's record batches in Kafka's segments, so that Kafka's own tools read them.

mod records;

pub use records::{BatchError, RecordBatch, Records};
