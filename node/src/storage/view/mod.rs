//! The logs in a directory of another process, which may be writing them meanwhile: nothing is locked
//! and nothing is changed.
//!
//! What lies below a high watermark stands still whoever writes, but for the front that retention
//! takes away. So a view of data is read up to a high watermark that was asked for before; what is above
//! may be cut off and written anew while it is read. A view of metadata is read whole, and again
//! where what was found cannot be, since whoever follows may have cut its end meanwhile.

mod data;
mod metadata;

use std::fs;
use std::path::{Path, PathBuf};

use kraft_model::{Offset, TopicId};

pub use data::{DataView, Depth};
pub use metadata::{MetadataBatch, MetadataView};

use super::error::{Context, StorageError};
use super::partition::read_topic;
use super::records::RecordBatch;
use super::recovery::segment_base;

/// A batch by what tells it from every other one: where it stands, its epoch, and the checksum of
/// its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchView {
    pub base: Offset,
    /// Exclusive.
    pub end: Offset,
    pub epoch: i32,
    pub crc: u32,
}

impl From<&RecordBatch> for BatchView {
    fn from(batch: &RecordBatch) -> BatchView {
        let (base, end) = (batch.base, batch.end());
        BatchView { base, end, epoch: batch.leader_epoch.0, crc: batch.crc }
    }
}

/// Where a log could not be read on, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stop {
    /// The offset that should come.
    pub at: Offset,
    pub file: PathBuf,
    pub position: u64,
    pub reason: String,
    /// There was a batch once. Otherwise the log ends, if need be in a write that is not finished.
    pub is_damage: bool,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Stop { at, file, position, reason, .. } = self;
        write!(f, "{reason}, where offset {at} should be (byte {position} of {})", file.display())
    }
}

/// The directory in which `dir` has the log of this partition, if it has one.
///
/// # Errors
///
/// The device's.
pub fn find_replica(
    dir: &Path,
    name: &str,
    topic: TopicId,
    partition: i32,
) -> Result<Option<PathBuf>, StorageError> {
    let path = dir.join(format!("{name}-{partition}"));
    // A topic of the same name that was deleted may not be out of the way yet.
    Ok((read_topic(&path)? == Some(topic)).then_some(path))
}

/// The bases of the segments in `dir`, in order; none if it is not there.
fn segments(dir: &Path) -> Result<Vec<Offset>, StorageError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context("list", dir)?,
    };
    let mut bases = Vec::new();
    for entry in entries {
        let name = entry.context("list", dir)?.file_name();
        bases.extend(name.to_str().and_then(segment_base));
    }
    bases.sort_unstable();
    Ok(bases)
}
