//! What a metadata log is made of: batches, chunks of them, and snapshots.

use std::sync::Arc;

use crate::log::Extent;
use crate::metadata::Record;
use crate::raft::{SnapshotId, Voters, VotersRecord};
use crate::{Epoch, Offset};

/// One atomic batch: the controller's records, or a record of the quorum's own (one offset): a
/// Voters record, or else a LeaderChange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaBatch {
    pub base: i64,
    pub epoch: i32,
    /// Unique in the run: what tells two batches apart, whatever they say.
    pub id: u64,
    pub records: Vec<Record>,
    pub voters: Option<Voters>,
}

impl MetaBatch {
    pub fn end(&self) -> i64 {
        self.base + self.records.len().max(1) as i64
    }
}

/// A snapshot's content; durable from the moment that it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    pub id: SnapshotId,
    pub records: Vec<Record>,
    /// The last Voters record below its end.
    pub voters: Option<VotersRecord>,
}

impl Snapshot {
    /// Its size in "bytes": what a chunk's extent counts.
    pub(super) fn size(&self) -> u64 {
        self.records.len() as u64 + 1
    }
}

/// "Bytes" of a snapshot in one chunk.
pub(super) const CHUNK: u64 = 10;

/// Consecutive batches, or a chunk of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    pub base: i64,
    pub end: i64,
    pub last_epoch: i32,
    pub batches: Vec<Arc<MetaBatch>>,
    pub snapshot: Option<Arc<Snapshot>>,
}

impl Chunk {
    /// What a controller proposes.
    pub fn proposal(base: Offset, epoch: Epoch, records: Vec<Record>) -> Chunk {
        let batch = MetaBatch { base: base.0, epoch: epoch.0, id: 0, records, voters: None };
        let (base, end, last_epoch) = (batch.base, batch.end(), batch.epoch);
        Chunk { base, end, last_epoch, batches: vec![Arc::new(batch)], snapshot: None }
    }
}

impl Extent for Chunk {
    fn base(&self) -> Offset {
        Offset(self.base)
    }

    fn end(&self) -> Offset {
        Offset(self.end)
    }

    fn last_epoch(&self) -> i32 {
        self.last_epoch
    }
}
