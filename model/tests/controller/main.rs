//! The controller machine's stories, one file per part of its rules.

mod bounds;
mod brokers;
mod cluster;
mod fold;
mod large;
mod leadership;
mod liveness;
mod partitions;
mod requests;
mod topics;
