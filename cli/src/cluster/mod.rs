//! A cluster on this machine: its directory, its processes, and the supervisor that keeps them.
//!
//! ```text
//! .kraft/
//!   cluster.json      who there is: ids, roles, ports; written once, when the cluster is made
//!   supervisor.json   what runs: pids with their start times, restarts, last exits
//!   supervisor.log    output of a detached supervisor
//!   node-1/           node.properties, node.log, data/
//!   ...
//! ```

mod create;
mod layout;
mod ports;
mod process;
mod readiness;
mod state;
mod supervisor;

pub use create::{Shape, create};
pub use layout::{Cluster, Node, bootstrap_of};
pub use ports::DEFAULT_BROKER as DEFAULT_BROKER_PORT;
pub use process::{ProcessId, Signal, Stat};
pub use readiness::wait_until_ready;
pub use state::{LastExit, NodeState, SupervisorState, Wish};
pub use supervisor::{Notice, Options as SupervisorOptions, now_ms, supervise};
