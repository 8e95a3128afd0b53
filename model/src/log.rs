//! What a machine may ask of, and do to, the log that it replicates.
//!
//! The quorum's metadata log and a partition's data log are the same thing to their machines. The
//! node puts segments on disk behind this trait, the checker a short vector whose unflushed end a
//! crash may lose. Appends and truncations take effect in order and at once for every later
//! question; they are *durable* only up to [`Log::flushed`], which the shell moves and reports as
//! an event.

use crate::{EpochEnd, Offset};

/// A log as its machine sees it. Offsets count records; an epoch is a quorum epoch or a leader
/// epoch, whichever the log's owner uses.
pub trait Log {
    /// Consecutive records with their epochs. The node's are record batches as raw bytes; a
    /// machine only ever asks for the base and the end.
    type Batch: Clone;

    /// The first offset that is kept.
    fn start(&self) -> Offset;

    /// The offset after the last record.
    fn end(&self) -> Offset;

    /// Everything below this offset is on disk.
    fn flushed(&self) -> Offset;

    /// The epoch of the last record, or of the snapshot below [`Log::start`]; 0 in an empty log.
    fn last_epoch(&self) -> i32;

    /// The largest epoch in the log that is not above `epoch`, and its end. An `epoch` below all
    /// that are kept answers with `epoch` itself and the log's start.
    fn end_of_epoch(&self, epoch: i32) -> EpochEnd;

    /// Appends what a leader sent. The caller has checked that it starts at [`Log::end`].
    fn append(&mut self, batch: Self::Batch);

    /// Drops everything at and above `to`; `to` is not below [`Log::start`]. A batch that holds `to` goes
    /// as a whole; a log that starts inside that batch goes on, empty, at `to`.
    fn truncate(&mut self, to: Offset);

    /// Drops everything and goes on, empty, at `start` (F1 for data, Q11 for metadata).
    fn restart_at(&mut self, start: Offset);
}

/// The border of a batch, which is all that a machine looks at.
pub trait Extent {
    /// The offset of the first record.
    fn base(&self) -> Offset;

    /// The offset after the last record.
    fn end(&self) -> Offset;

    /// The epoch of the last record.
    fn last_epoch(&self) -> i32;
}
