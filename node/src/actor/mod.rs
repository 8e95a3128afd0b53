//! The shells of the machines: each gathers events, steps a machine and runs its effects. Dull on
//! purpose.

pub mod controller_client;
pub mod lifecycle;
mod post;
mod promises;
pub mod quorum;
pub mod replication;
pub mod shard;
mod timers;

pub use post::{post, post_or_drop};
pub use timers::Timers;
