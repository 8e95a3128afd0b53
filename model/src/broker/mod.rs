//! The life of a broker as the broker sees it (B1, B2, L6).
//!
//! ```text
//!   Starting ──▶ Recovering ──▶ Running ──▶ ControlledShutdown ──▶ Stopped
//!   (register)   (fenced: catch    (unfenced)    (leaders move away)
//!                 up, heartbeat)
//! ```
//!
//! Read on: [`Event`], [`Effect`], then [`Broker`].

#[cfg(feature = "check")]
mod checked;
mod event;
mod machine;
#[cfg(test)]
mod tests;

pub use event::{Effect, Effects, Event, Timer};
pub use machine::{Broker, State};
