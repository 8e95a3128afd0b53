//! A log of which only the extents are known: what a replayed machine finds behind its trait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Extents;
use crate::epochs::EpochCache;
use crate::log::Log;
use crate::raft::{RaftLog, SnapshotId, Voters, VotersRecord};
use crate::replica::{BatchHeader, DataLog, Producers};
use crate::{Epoch, EpochEnd, LeaderEpoch, NodeId, Offset};

/// Where a log stands. Offsets and epochs of records follow from it; their bytes do not.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct LogState {
    pub start: Offset,
    pub end: Offset,
    /// Everything below is on disk.
    pub flushed: Offset,
    /// Each epoch with the offset of its first record that is kept.
    pub epochs: EpochCache,
    /// The latest durable snapshot; of a metadata log only.
    pub snapshot: Option<SnapshotId>,
}

/// Where a log stands, without the epochs: enough to see whether it moved between two steps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Mark {
    pub start: Offset,
    pub end: Offset,
    pub flushed: Offset,
    pub last_epoch: i32,
    pub snapshot: Option<SnapshotId>,
}

/// What a log answered that does not follow from where it stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Where a truncation left the end: at or below what was asked, since batches go as a whole.
    Truncated(Offset),
    /// Records for a follower, as many as fit.
    Read(Extents),
    /// A piece of a snapshot.
    Chunk(Option<(Extents, bool)>),
    /// Producer state, gathered from records.
    Producers(Producers),
    /// Who votes, by the records below some offset (Q12).
    Voters(Option<VotersRecord>),
}

impl LogState {
    pub fn mark(&self) -> Mark {
        let LogState { start, end, flushed, snapshot, .. } = *self;
        Mark { start, end, flushed, last_epoch: self.last_epoch(), snapshot }
    }

    /// The epoch of the last record, or of the snapshot below the start.
    pub fn last_epoch(&self) -> i32 {
        let below = self.snapshot.filter(|snapshot| snapshot.end >= self.start);
        self.epochs.last().or(below.map(|snapshot| snapshot.epoch.0)).unwrap_or(0)
    }

    /// What the shell did to the log between two steps: the start moved, or more is on disk.
    fn move_to(&mut self, mark: &Mark) {
        if mark.start > self.start {
            self.advance_start(mark.start);
        }
        self.flushed = mark.flushed;
        self.snapshot = mark.snapshot;
    }

    fn note(&mut self, epoch: i32, base: Offset, end: Offset) {
        self.epochs.note(epoch, base);
        self.end = end;
    }

    fn cut(&mut self, end: Offset) {
        self.end = end;
        self.flushed = self.flushed.min(end);
        self.epochs.truncate(end);
    }

    fn begin_at(&mut self, start: Offset) {
        (self.start, self.end, self.flushed) = (start, start, start);
        self.epochs.clear();
    }

    fn advance_start(&mut self, start: Offset) {
        let start = start.min(self.end);
        if start > self.start {
            self.start = start;
            self.flushed = self.flushed.max(start);
            self.epochs.advance_start(start);
        }
    }

    /// The log ends before the snapshot, or holds something else where the snapshot ends.
    fn differs_from(&self, snapshot: SnapshotId) -> bool {
        let below = Offset(snapshot.end.0 - 1);
        self.end < snapshot.end
            || below >= self.start && self.epochs.epoch_at(below) != Some(snapshot.epoch.0)
    }
}

/// A log that does to its extents what the recorded one did to its records, and answers from the
/// recording what extents cannot tell.
#[derive(Clone, Debug, Default)]
pub(super) struct ExtentLog {
    pub state: LogState,
    answers: RefCell<VecDeque<Answer>>,
    /// The machine asked what it did not ask in the recording.
    is_lost: Cell<bool>,
}

impl ExtentLog {
    pub fn new(state: LogState) -> ExtentLog {
        ExtentLog { state, ..ExtentLog::default() }
    }

    pub fn prepare(&mut self, moved: Option<&Mark>, answers: Vec<Answer>) {
        if let Some(mark) = moved {
            self.state.move_to(mark);
        }
        self.answers = RefCell::new(answers.into());
        self.is_lost = Cell::new(false);
    }

    /// Whether everything that was answered in the recording was asked, and nothing else.
    pub fn is_in_step(&self) -> bool {
        !self.is_lost.get() && self.answers.borrow().is_empty()
    }

    fn next<T>(&self, wanted: impl FnOnce(Answer) -> Option<T>) -> Option<T> {
        let answer = self.answers.borrow_mut().pop_front().and_then(wanted);
        if answer.is_none() {
            self.is_lost.set(true);
        }
        answer
    }
}

impl Log for ExtentLog {
    type Batch = Extents;

    fn start(&self) -> Offset {
        self.state.start
    }

    fn end(&self) -> Offset {
        self.state.end
    }

    fn flushed(&self) -> Offset {
        self.state.flushed
    }

    fn last_epoch(&self) -> i32 {
        self.state.last_epoch()
    }

    fn end_of_epoch(&self, epoch: i32) -> EpochEnd {
        let state = &self.state;
        let known = state.epochs.end_of(epoch, state.start, state.end);
        match state.snapshot {
            // The records of the snapshot's epoch are gone, but where they end is known.
            Some(snapshot)
                if known.end == state.start
                    && snapshot.end == known.end
                    && snapshot.epoch.0 <= epoch =>
            {
                EpochEnd { epoch: snapshot.epoch.0, end: snapshot.end }
            }
            _ => known,
        }
    }

    fn append(&mut self, batch: Extents) {
        for header in &batch.batches {
            self.state.note(header.epoch.0, header.base, header.end);
        }
    }

    fn truncate(&mut self, to: Offset) {
        if to >= self.state.end {
            return;
        }
        let end = self.next(|answer| match answer {
            Answer::Truncated(end) => Some(end),
            _ => None,
        });
        self.state.cut(end.unwrap_or(to));
    }

    fn restart_at(&mut self, start: Offset) {
        self.state.begin_at(start);
    }
}

impl DataLog for ExtentLog {
    fn append_as_leader(&mut self, epoch: LeaderEpoch, batch: Extents) {
        for header in &batch.batches {
            let base = self.state.end;
            self.state.note(epoch.0, base, base.plus(header.end.since(header.base)));
        }
    }

    fn headers(batch: &Extents) -> impl Iterator<Item = BatchHeader> + '_ {
        batch.batches.iter().copied()
    }

    fn headers_from(&self, _: Offset) -> Vec<BatchHeader> {
        // Only `producers_at` would ask, and that is answered from the recording.
        self.is_lost.set(true);
        Vec::new()
    }

    fn producers_at(&self, _: Offset) -> Producers {
        let known = self.next(|answer| match answer {
            Answer::Producers(producers) => Some(producers),
            _ => None,
        });
        known.unwrap_or_default()
    }

    fn advance_start(&mut self, start: Offset) {
        self.state.advance_start(start);
    }
}

impl RaftLog for ExtentLog {
    fn read(&self, from: Offset) -> Extents {
        let read = self.next(|answer| match answer {
            Answer::Read(extents) => Some(extents),
            _ => None,
        });
        read.unwrap_or_else(|| Extents::of_batches((from, from, 0), std::iter::empty()))
    }

    fn append_as_leader(&mut self, epoch: Epoch, batch: Extents) {
        DataLog::append_as_leader(self, LeaderEpoch(epoch.0), batch);
    }

    fn append_leader_change(&mut self, epoch: Epoch, _: NodeId) {
        let base = self.state.end;
        self.state.note(epoch.0, base, base.plus(1));
    }

    fn voters_below(&self, _: Offset) -> Option<VotersRecord> {
        self.next(|answer| match answer {
            Answer::Voters(record) => Some(record),
            _ => None,
        })
        .flatten()
    }

    fn append_voters(&mut self, epoch: Epoch, _: &Voters) {
        let base = self.state.end;
        self.state.note(epoch.0, base, base.plus(1));
    }

    fn snapshot(&self) -> Option<SnapshotId> {
        self.state.snapshot
    }

    fn read_snapshot(&self, _: SnapshotId, _: u64) -> Option<(Extents, bool)> {
        self.next(|answer| match answer {
            Answer::Chunk(chunk) => Some(chunk),
            _ => None,
        })
        .flatten()
    }

    fn cut_to_snapshot(&mut self, snapshot: SnapshotId) {
        self.state.snapshot = self.state.snapshot.max(Some(snapshot));
        if self.state.differs_from(snapshot) {
            self.state.begin_at(snapshot.end);
        } else {
            self.state.advance_start(snapshot.end);
        }
    }
}
