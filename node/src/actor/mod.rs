//! The shells of the machines: each gathers events, steps a machine and runs its effects.

pub mod replication;
pub mod shard;
