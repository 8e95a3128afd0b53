//! One kraft node as an OS process: actors, sockets and disks around the machines of
//! `kraft-model`. Nothing here decides protocol: it gathers events, steps a machine, runs effects.
//!
//! Read on: `supervisor` (who owns what), `actor` (the shells of the machines), `peer` (CBOR
//! between nodes), `kafka` (the client listener), `storage` (segments and recovery), `trace` (what
//! the machines did, recorded).

pub mod actor;
pub mod config;
pub mod kafka;
pub mod limits;
pub mod metrics;
pub mod peer;
pub mod storage;
pub mod supervisor;
pub mod trace;
