//! What can go wrong on disk: which file, where, what was expected, what to do.

use std::io;
use std::path::{Path, PathBuf};

use kraft_model::{ClusterId, NodeId, Offset, TopicId};

use super::records::BatchError;

/// An operation on storage that failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("cannot {operation} {}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },

    #[error("cannot append to {} at byte {position}: nothing of it was kept", path.display())]
    Append { path: PathBuf, position: u64, source: io::Error },

    #[error("cannot bring {} to disk; what the device holds is unknown, so the process must stop", path.display())]
    Flush { path: PathBuf, source: io::Error },

    #[error("{} is no valid checkpoint: {reason}", path.display())]
    Checkpoint { path: PathBuf, reason: String },

    #[error("{} is damaged at byte {position}, where offset {at} should be", path.display())]
    Segment { path: PathBuf, position: u64, at: Offset, source: BatchError },

    #[error(
        "{} is damaged: {reason}. How this node voted is lost, so it must not vote again under \
         this directory id: format the directory anew and let the node join as a new voter",
        path.display()
    )]
    QuorumState { path: PathBuf, reason: String },

    #[error("snapshot {} is damaged: {reason}", path.display())]
    Snapshot { path: PathBuf, reason: String },

    #[error(
        "the metadata log in {} starts at {start}, but no whole snapshot covers what is below; \
         restore the newest .checkpoint file, or format the directory and let the node fetch all",
        dir.display()
    )]
    NoSnapshot { dir: PathBuf, start: Offset },

    #[error("{} belongs to topic {}, not to {expected}", dir.display(), found.map_or_else(|| "nobody (partition.metadata is missing or torn)".to_owned(), |id| id.to_string()))]
    TopicId { dir: PathBuf, expected: TopicId, found: Option<TopicId> },

    #[error("{} is not formatted; run `kraft storage format`", dir.display())]
    NotFormatted { dir: PathBuf },

    #[error("{} was formatted by Apache Kafka; kraft leaves it alone. Choose another directory", dir.display())]
    ForeignKafka { dir: PathBuf },

    #[error("{} is not empty ({found} is in it) and was not formatted by kraft; choose another directory", dir.display())]
    ForeignFiles { dir: PathBuf, found: String },

    #[error("{} is formatted already, for node {node} of cluster {cluster}", dir.display())]
    AlreadyFormatted { dir: PathBuf, cluster: ClusterId, node: NodeId },

    #[error("{} is formatted as version {version}; this kraft reads version {supported}", dir.display())]
    FormatVersion { dir: PathBuf, version: String, supported: u32 },

    #[error("{}: {reason}", path.display())]
    MetaProperties { path: PathBuf, reason: String },

    #[error(
        "{} is in use by {}", dir.display(),
        pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked { dir: PathBuf, pid: Option<u32> },

    #[error("{} is not writable; its owner and mode, or the mount's, must allow it", dir.display())]
    NotWritable { dir: PathBuf, source: io::Error },
}

impl StorageError {
    /// The device has no room (ENOSPC or a quota), as opposed to being broken: after room was made
    /// the log can be opened again.
    pub fn is_full(&self) -> bool {
        let kind = match self {
            StorageError::Io { source, .. }
            | StorageError::Append { source, .. }
            | StorageError::Flush { source, .. }
            | StorageError::NotWritable { source, .. } => source.kind(),
            _ => return false,
        };
        matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Names the operation and the file of an [`io::Error`].
pub(super) trait Context<T> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, StorageError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, StorageError> {
        self.map_err(|source| StorageError::Io { operation, path: path.to_owned(), source })
    }
}
