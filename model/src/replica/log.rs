//! The data log as a replica sees it: [`Log`] plus what only a partition needs.

use serde::{Deserialize, Serialize};

use crate::log::{Extent, Log};
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use super::Producers;

/// A partition's log. One `Batch` holds one or more record batches; what a client sends is exactly
/// one, whose offsets are still to be assigned.
pub trait DataLog: Log<Batch: Extent> {
    /// Assigns offsets from the log's end and `epoch`, and appends.
    fn append_as_leader(&mut self, epoch: LeaderEpoch, batch: Self::Batch);

    /// The headers of the record batches in `batch`, in order.
    fn headers(batch: &Self::Batch) -> impl Iterator<Item = BatchHeader> + '_;

    /// The headers of what is in the log from `from` on, for rebuilding producer state after a
    /// truncation (I1).
    fn headers_from(&self, from: Offset) -> Vec<BatchHeader>;

    /// The producer state that the log below `to` means (I1). A log with snapshots of it starts from
    /// the nearest one; otherwise everything that is kept is gone through.
    fn producers_at(&self, to: Offset) -> Producers {
        let mut producers = Producers::default();
        let headers = self.headers_from(self.start());
        headers
            .iter()
            .filter(|header| header.end <= to)
            .for_each(|header| producers.replay(header));
        producers
    }

    /// Drops what is below `start` (retention, or a leader whose log starts later).
    fn advance_start(&mut self, start: Offset);
}

/// What a machine reads of a record batch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct BatchHeader {
    pub base: Offset,
    /// Exclusive: the last record's offset + 1.
    pub end: Offset,
    pub epoch: LeaderEpoch,
    /// `None` for batches of producers that are not idempotent.
    pub producer: Option<ProducerBatch>,
}

/// The idempotent part of a batch header (I1 to I4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ProducerBatch {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
    pub first_sequence: i32,
    pub last_sequence: i32,
    /// The largest timestamp in the batch; a duplicate is answered with the original's.
    pub timestamp: i64,
}
