//! Storage on disk as the rest of the node meets it.

#![allow(clippy::unwrap_used)]

mod bench;
mod corruption;
mod data;
mod directory;
mod metadata;
mod model;
mod recovery;
mod support;
