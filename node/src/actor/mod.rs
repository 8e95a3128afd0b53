//! The shells of the machines: gather events, step, run effects. Dull on purpose.

pub mod controller_client;
pub mod lifecycle;
mod post;
pub mod quorum;
mod timers;

pub use post::{post, post_or_drop};
pub use timers::Timers;
