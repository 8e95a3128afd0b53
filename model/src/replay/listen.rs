//! A log that a machine uses as ever, while its answers are noted.

use std::cell::RefCell;

use super::{Answer, Extents, LogState, Mark};
use crate::epochs::EpochCache;
use crate::log::{Extent, Log};
use crate::raft::{RaftLog, SnapshotId, Voters, VotersRecord};
use crate::replica::{BatchHeader, DataLog, Producers};
use crate::{Epoch, EpochEnd, LeaderEpoch, NodeId, Offset};

/// What a recording has to know of a log, beyond what its machine asks.
pub trait RecordedLog: Log<Batch: Extent> {
    /// A batch without its records.
    fn extents(batch: &Self::Batch) -> Extents;

    /// A chunk of a snapshot, as [`RaftLog::read_snapshot`] hands it out.
    fn chunk(bytes: &Self::Batch) -> Extents;

    /// Which epoch starts where.
    fn epochs(&self) -> EpochCache;

    /// The latest snapshot; a data log has none.
    fn latest_snapshot(&self) -> Option<SnapshotId>;

    /// A write failed: what the log says of itself is void.
    fn has_failed(&self) -> bool;

    fn mark(&self) -> Mark {
        Mark {
            start: self.start(),
            end: self.end(),
            flushed: self.flushed(),
            last_epoch: self.last_epoch(),
            snapshot: self.latest_snapshot(),
        }
    }

    /// Where the log stands, for the beginning of a recording.
    fn state(&self) -> LogState {
        LogState {
            start: self.start(),
            end: self.end(),
            flushed: self.flushed(),
            epochs: self.epochs(),
            snapshot: self.latest_snapshot(),
        }
    }
}

/// `log`, and what it answered that its extents cannot tell.
pub(super) struct Listening<'a, L> {
    log: &'a mut L,
    answers: RefCell<Vec<Answer>>,
}

impl<'a, L> Listening<'a, L> {
    pub fn new(log: &'a mut L) -> Self {
        Listening { log, answers: RefCell::default() }
    }

    pub fn answers(self) -> Vec<Answer> {
        self.answers.into_inner()
    }

    fn note(&self, answer: Answer) {
        self.answers.borrow_mut().push(answer);
    }
}

impl<L: RecordedLog> Log for Listening<'_, L> {
    type Batch = L::Batch;

    fn start(&self) -> Offset {
        self.log.start()
    }

    fn end(&self) -> Offset {
        self.log.end()
    }

    fn flushed(&self) -> Offset {
        self.log.flushed()
    }

    fn last_epoch(&self) -> i32 {
        self.log.last_epoch()
    }

    fn end_of_epoch(&self, epoch: i32) -> EpochEnd {
        self.log.end_of_epoch(epoch)
    }

    fn append(&mut self, batch: L::Batch) {
        self.log.append(batch);
    }

    fn truncate(&mut self, to: Offset) {
        let cuts = to < self.log.end();
        self.log.truncate(to);
        if cuts {
            self.note(Answer::Truncated(self.log.end()));
        }
    }

    fn restart_at(&mut self, start: Offset) {
        self.log.restart_at(start);
    }
}

impl<L: RecordedLog + DataLog> DataLog for Listening<'_, L> {
    fn append_as_leader(&mut self, epoch: LeaderEpoch, batch: L::Batch) {
        DataLog::append_as_leader(self.log, epoch, batch);
    }

    fn headers(batch: &L::Batch) -> impl Iterator<Item = BatchHeader> + '_ {
        L::headers(batch)
    }

    fn headers_from(&self, from: Offset) -> Vec<BatchHeader> {
        self.log.headers_from(from)
    }

    fn producers_at(&self, to: Offset) -> Producers {
        let producers = self.log.producers_at(to);
        self.note(Answer::Producers(producers.clone()));
        producers
    }

    fn advance_start(&mut self, start: Offset) {
        self.log.advance_start(start);
    }
}

impl<L: RecordedLog + RaftLog> RaftLog for Listening<'_, L> {
    fn read(&self, from: Offset) -> L::Batch {
        let batch = self.log.read(from);
        self.note(Answer::Read(L::extents(&batch)));
        batch
    }

    fn append_as_leader(&mut self, epoch: Epoch, batch: L::Batch) {
        RaftLog::append_as_leader(self.log, epoch, batch);
    }

    fn append_leader_change(&mut self, epoch: Epoch, leader: NodeId) {
        self.log.append_leader_change(epoch, leader);
    }

    fn voters_below(&self, end: Offset) -> Option<VotersRecord> {
        let record = self.log.voters_below(end);
        self.note(Answer::Voters(record));
        record
    }

    fn append_voters(&mut self, epoch: Epoch, voters: &Voters) {
        self.log.append_voters(epoch, voters);
    }

    fn snapshot(&self) -> Option<SnapshotId> {
        self.log.snapshot()
    }

    fn read_snapshot(&self, snapshot: SnapshotId, position: u64) -> Option<(L::Batch, bool)> {
        let chunk = self.log.read_snapshot(snapshot, position);
        let noted = chunk.as_ref().map(|(bytes, last)| (L::chunk(bytes), *last));
        self.note(Answer::Chunk(noted));
        chunk
    }

    fn cut_to_snapshot(&mut self, snapshot: SnapshotId) {
        self.log.cut_to_snapshot(snapshot);
    }
}
