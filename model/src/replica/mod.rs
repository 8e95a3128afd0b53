//! One partition on one broker: rules L1 to L5 (leader and follower), I1 to I5 (idempotent
//! producers), F1 and F2.
//!
//! ```text
//!                 ┌── Append, Fetch (of followers), Altered ──┐
//!   metadata ──▶ Leader  ◀── View names me ──▶  Follower ◀── Fetched (from the leader)
//!                 └── AlterPartition, Reply, HighWatermark    └── Fetch position
//! ```
//!
//! Read on: [`Event`], [`Effect`], then [`View`], which is all that a replica knows of the metadata,
//! and [`Replica`], which has one file per role.

#[cfg(feature = "check")]
mod checked;
mod event;
mod follower;
mod isr;
mod leader;
mod log;
mod machine;
mod message;
mod producers;
mod progress;
#[cfg(feature = "check")]
mod projected;
mod query;
#[cfg(any(test, feature = "check"))]
pub mod small_log;
#[cfg(test)]
mod tests;
mod waiting;

pub use event::{Acks, Appended, Effect, Effects, Event, RequestId, Timer, View};
pub use log::{BatchHeader, DataLog, ProducerBatch};
pub use machine::{Replica, high_watermark_to_begin_with};
pub use message::{Fetch, FetchOutcome, FetchPosition, Fetched};
pub use producers::{ProducedBatch, ProducerEntry, Producers};
#[cfg(feature = "check")]
pub use projected::{Follows, Leading};
pub use query::Readable;
