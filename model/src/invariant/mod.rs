//! Invariants of the protocol, one file each: the same functions judge the checkers, the simulator
//! and the running cluster.

pub mod metadata;
pub mod quorum;
pub mod replica;
pub mod steps;
