//! A small Kafka client over the wire protocol: what the commands and the benchmarks need.
//!
//! ```text
//! Client ── metadata cache, leader routing, retries ──▶ Connection ── frames in order ──▶ broker
//!   ├─ admin     topics, configs, cluster, quorum, offsets
//!   ├─ Producer  one batch builder per partition ─▶ one request per leader
//!   └─ Consumer  one fetch in flight per leader ─▶ raw batches, read in place
//! ```
//!
//! It runs on one thread of one tokio runtime and costs no allocation per record. It is no general
//! client: one topic per producer or consumer, no groups, no transactions, no TLS.

mod admin;
mod codec;
mod connection;
mod consumer;
mod error;
#[cfg(test)]
mod fake;
mod metadata;
mod murmur2;
mod offsets;
mod producer;
pub mod records;
mod retry;
mod routing;
#[cfg(test)]
mod tests;
mod versions;

pub use admin::{AlterOp, ConfigEntry, NewTopic, ResourceKind, is_unknown_topic};
pub use codec::Codec;
pub use consumer::{Consumer, ConsumerConfig, Fetched, Start};
pub use error::{ClientError, is_retriable_code};
pub use metadata::{Broker, ClusterMetadata, TopicMetadata};
pub use producer::{Acks, BatchReport, Producer, ProducerConfig};
pub use routing::{Client, ClientOptions};
