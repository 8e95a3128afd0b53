//! Whole clusters over real processes, real sockets and real disks, for the tests in `tests/`.
//!
//! [`Cluster`] starts and torments nodes; [`Proxy`] cuts connections; [`wire`] speaks the Kafka
//! protocol without any of a client's patience; [`wait`] is how a test waits: for a condition, with a deadline.

pub mod binary;
pub mod cluster;
pub mod load;
pub mod local;
pub mod node;
pub mod producer;
pub mod proxy;
pub mod quorum;
pub mod wait;
pub mod wire;

pub use cluster::{Cluster, Layout};
pub use node::Node;
pub use proxy::Proxy;
pub use wait::eventually;
