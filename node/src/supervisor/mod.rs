//! Who owns what in a node's process, and when the process must stop.
//!
//! ```text
//!   NodeSupervisor ─┬─ links to every peer, the quorum actor, the controller client
//!                   ├─ ControllerSupervisor: the listener that only peers may use
//!                   └─ BrokerSupervisor: partitions on their worker threads, client listeners,
//!                                        the broker's lifecycle
//! ```
//!
//! Nothing with protocol state is ever rebuilt inside a process: a broken promise or a disk that
//! cannot be trusted stops the process with a message and exit code 1, and whoever runs it starts
//! it again. Release builds abort on a panic for the same reason.

mod backend;
mod broker;
mod controller;
mod identity;
mod inbox;
mod listeners;
mod node;
mod outside;

pub use identity::{Identity, IdentityError};
pub use node::{NodeSupervisor, Stop};

use crate::config::NodeConfig;

/// Why a node did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the metadata log in {path} cannot be opened")]
    MetadataLog { path: String, source: crate::storage::StorageError },
    #[error("listener {listener} cannot bind {host}:{port}: {source}{hint}")]
    Bind { listener: String, host: String, port: u16, source: std::io::Error, hint: &'static str },
    #[error("the partitions cannot be taken up")]
    Partitions(#[source] crate::actor::shard::StartError),
    #[error("the node's machines cannot be recorded: {0}")]
    Trace(#[from] crate::trace::TraceError),
    #[error("the runtime cannot be started")]
    Runtime(#[source] std::io::Error),
    #[error("{0}")]
    Fatal(String),
}

/// Runs a node until it is told to stop (SIGTERM, SIGINT), or cannot go on.
///
/// # Errors
///
/// Why it did not start, or could not go on; an orderly stop is none.
pub fn run(config: NodeConfig) -> Result<(), NodeError> {
    node::run(config)
}
