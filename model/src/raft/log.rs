//! The metadata log as the quorum machine sees it: [`Log`] plus what only a quorum needs.

use super::{SnapshotId, Voters, VotersRecord};
use crate::log::{Extent, Log};
use crate::{Epoch, NodeId, Offset};

/// The metadata log. `append` takes a leader's batch; a leader's own go through
/// [`RaftLog::append_as_leader`].
pub trait RaftLog: Log<Batch: Extent> {
    /// Records from `from` (at or above the log's start, below its end), at least one batch,
    /// within the shell's size limit.
    fn read(&self, from: Offset) -> Self::Batch;

    /// Appends the controller's records in `epoch`.
    fn append_as_leader(&mut self, epoch: Epoch, batch: Self::Batch);

    /// Appends the control record with which an epoch begins (Q5).
    fn append_leader_change(&mut self, epoch: Epoch, leader: NodeId);

    /// The last Voters record below `end`, or else what the latest snapshot says, or else what the
    /// log was formatted with; `None` in a log that knows nothing of its voters: its quorum is a
    /// static one (kraft.version 0), or nothing was fetched yet. Asked after every change of the
    /// log, so it is not looked for in the records.
    fn voters_below(&self, end: Offset) -> Option<VotersRecord>;

    /// Appends a Voters record (Q12). Where each of them is reached the log knows from the record
    /// before, or from its shell.
    fn append_voters(&mut self, epoch: Epoch, voters: &Voters);

    /// The latest durable snapshot.
    fn snapshot(&self) -> Option<SnapshotId>;

    /// A chunk of `snapshot` from byte `position` on and whether it is the last one; `None` when
    /// the snapshot is not there or shorter. The extent of a chunk counts bytes: its base is
    /// `position`, its end is where the next chunk begins.
    fn read_snapshot(&self, snapshot: SnapshotId, position: u64) -> Option<(Self::Batch, bool)>;

    /// The log was damaged, and what it had promised to hold is not all there yet: it has not been
    /// refetched past its former end. Until then the node grants no vote and does not stand (Q3):
    /// a majority that counts it might know nothing of what it has lost.
    fn is_damaged(&self) -> bool {
        false
    }

    /// The log below the snapshot's end may go; if the log is shorter than the snapshot or differs
    /// from it, it restarts, empty, at the snapshot's end (Q11).
    fn cut_to_snapshot(&mut self, snapshot: SnapshotId);
}
