//! The protocol machines of kraft: every rule of the cluster as a pure transition function.
//!
//! ```text
//! event ──▶ step ──▶ effects ──▶ a shell does the I/O ──▶ completion comes back as an event
//! ```
//!
//! A machine has no clock, no randomness, no sockets, no files and no threads; it asks for all of
//! them through its effects. Four shells drive the same machines: the node (production), the
//! exhaustive checker ([`check`]), the simulator and the replay of recorded traces.
//!
//! Where to read on:
//!
//! * [`raft`]: the controller quorum. Its border is [`raft::Event`] and [`raft::Effect`].
//! * [`metadata`]: records, the image that they fold into, and the controller's decisions.
//! * [`broker`]: the life of a broker as the broker sees it: register, heartbeat, shut down.
//! * [`replica`]: one partition on one broker: leader, follower, ISR, high watermark, producers.
//! * [`replay`]: what a node's machines did, recorded and run again.
//! * [`invariant`]: what must always hold, as named functions that every judge calls.
//!
//! Rules are cited by name (`Q7`, `P3`, `L2` ...); ARCHITECTURE.md lists them with their sources.

pub mod broker;
#[cfg(feature = "check")]
pub mod check;
pub mod epochs;
pub mod error;
pub mod ids;
pub mod inline;
pub mod invariant;
pub mod limits;
pub mod log;
pub mod metadata;
pub mod raft;
pub mod replay;
pub mod replica;
pub mod rules;
#[cfg(feature = "check")]
pub mod sim;

pub use error::ErrorCode;
pub use ids::*;
pub use rules::{Guard, Rules, Shipped};
