//! What the machines of a node did, recorded while it ran and run again afterwards.
//!
//! ```text
//!   node:    event ──▶ Seam ──▶ Machine::step ──▶ effects ──▶ ...
//!                       │ event, what the log answered, digests of effects and state
//!                       ▼
//!                   Recording ──▶ files
//!   replay:         files ──▶ Replay ──▶ the same Machine::step ──▶ the same digests, or not
//!                               └─▶ Merged: all nodes of a cluster as one story
//! ```
//!
//! A trace holds every input of every machine, and a digest of every output. Records are not in it:
//! of a batch there is what a machine reads of it, its extent and its headers ([`Extents`]). The log
//! behind a replayed machine follows from that ([`LogState`]), but for a few answers that are
//! recorded ([`Answer`]).
//!
//! To write one: [`Recording`] and [`Seam`]. To read one: [`Recorded`] holds the files of one
//! recording, [`Replay`] runs it and hands out [`Replayed`] entries with the machine as it is after
//! each, [`Merged`] does so for many.

mod decode;
mod digest;
mod encode;
mod entry;
mod extents;
mod frame;
mod listen;
mod log;
mod machine;
mod merge;
mod record;
mod run;
#[cfg(test)]
mod tests;

pub use decode::DecodeError;
pub use digest::Digest;
pub use encode::EncodeError;
pub use entry::{Entry, Header, Input, MachineId, Outcome, Output, Start};
pub use extents::Extents;
pub use frame::{FORMAT, ReadError, TraceFile, begin_file};
pub use listen::RecordedLog;
pub use log::{Answer, LogState, Mark};
pub use machine::Machine;
pub use merge::Merged;
pub use record::{Recording, Seam, Track};
pub use run::{Divergence, Kind, Recorded, Replay, Replayed, RunError, What};
