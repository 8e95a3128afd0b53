//! Partitions at run time: each lives on one shard, a thread with one actor that hosts many.
//!
//! ```text
//!   clients ─┐                         ┌─▶ Replica::step ─▶ effects ─┐
//!   peers   ─┼─▶ Partitions ─▶ Shard ──┤                             ├─▶ answers, fetches, flushes
//!   metadata ┘   (splits by hash)      └── PartitionLog ◀────────────┘
//! ```
//!
//! A shard takes what has arrived as one *turn*: it steps the machines command by command and, at
//! the turn's end, sends what has gathered: one fetch for each leader, one answer for each
//! follower's session, one AlterPartition, one group of fsyncs. Under load a turn is long and its
//! messages few; at rest nothing runs.
//!
//! Read on: [`Partitions`] (the handle), `actor` (the turn), `step` (events and effects).

mod actor;
mod alter;
mod command;
mod common;
mod consume;
mod disks;
mod flush;
mod handle;
mod homes;
mod maintain;
mod metrics;
mod offsets;
mod outside;
mod partitions;
mod peers;
mod produce;
mod publish;
mod query;
mod replicate;
mod slot;
mod step;
#[cfg(test)]
pub(crate) mod testing;
mod timers;

pub use disks::{LogDirectory, OpenError};
pub use metrics::Metrics;
pub use outside::{BrokerEvents, ControllerClient, LinkFull, Outside, Peers};
pub use partitions::{Partitions, StartError};
