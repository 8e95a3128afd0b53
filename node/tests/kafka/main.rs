//! The client listener over a broker in memory.

mod admin;
mod client;
mod data;
mod fake;
mod hostile;
mod listener;
mod pipeline;
mod samples;
mod versions;
