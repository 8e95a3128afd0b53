//! A node's disk: a log of which a crash may lose the end, the stored epoch and vote, snapshots.
//!
//! ```text
//!   log        written ⊇ durable        a crash leaves any prefix of what was appended since the
//!                                       flush, or what was there before anything since then
//!   epoch,     pending / stored         a crash leaves the one or the other
//!   vote
//!   snapshot   incoming ─ rename ─▶     a crash loses what is being fetched; a whole one that is
//!              placed                   being put in place is there afterwards, or is not
//! ```

use crate::log::{Extent, Log};
use crate::raft::{RaftLog, SnapshotId, StoredState, Voters, VotersRecord};
use crate::{Epoch, EpochEnd, NodeId, Offset};

use super::record::{Record, Run, VoterMask};

/// The log as the process sees it, and as it is on the platter; the snapshot beside it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct DiskLog {
    /// What the process reads.
    pub(super) written: Run,
    /// What a crash leaves if nothing since the last flush got through: a truncation may be lost
    /// as well as an append.
    pub(super) durable: Run,
    pub(super) flushed: u8,
    /// The newest snapshot in place, by what it folds: every record from the first on. Empty for
    /// none.
    pub(super) placed: Run,
    /// What was fetched so far of another snapshot.
    pub(super) incoming: Run,
    /// The incoming snapshot is whole and being put in place.
    pub(super) placing: bool,
    /// The voters that the disk was formatted with; empty in a quorum whose voters are static.
    pub(super) formatted: VoterMask,
}

impl DiskLog {
    pub(super) fn formatted(voters: VoterMask) -> Self {
        DiskLog { formatted: voters, ..DiskLog::default() }
    }

    pub(super) fn flush(&mut self) {
        self.durable = self.written;
        self.flushed = self.written.end_small();
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.flushed == self.written.end_small()
    }

    /// The logs that a crash may leave.
    pub(super) fn survivors(&self) -> impl Iterator<Item = Run> + use<> {
        let (written, durable) = (self.written, self.durable);
        let kept = usize::from(self.flushed - written.base_small());
        let prefixes = (kept..=written.len()).map(move |len| written.prefix(len));
        prefixes.filter(move |&run| run != durable).chain([durable])
    }

    /// The disk after a crash that left `log`, as start-up mends it: a crash may have come between
    /// putting a snapshot in place and cutting the log, and the snapshot is what is believed.
    pub(super) fn recovered(self, log: Run, placed: bool) -> Self {
        let snapshot = if self.placing && placed { self.incoming } else { self.placed };
        let mut disk =
            DiskLog { written: log, placed: snapshot, ..DiskLog::formatted(self.formatted) };
        if disk.differs_from_snapshot() {
            disk.written = Run::empty(disk.placed.end());
        }
        disk.flush();
        disk
    }

    /// The log ends before the snapshot, or holds something else where the snapshot ends.
    fn differs_from_snapshot(&self) -> bool {
        let Some(last) = self.placed.as_slice().last() else { return false };
        let below = Offset(self.placed.end().0 - 1);
        self.written.end() <= below
            || self.written.at(below).is_some_and(|record| record.epoch() != last.epoch())
    }

    pub(super) fn store_chunk(&mut self, chunk: Run, position: u64, last: bool) {
        if position == 0 {
            self.incoming = Run::default();
        }
        chunk.as_slice().iter().for_each(|&record| self.incoming.push(record));
        self.placing = last;
    }

    /// The rename is durable.
    pub(super) fn place(&mut self) -> SnapshotId {
        let whole = std::mem::take(&mut self.incoming);
        self.placing = false;
        if whole.len() > self.placed.len() {
            self.placed = whole;
        }
        snapshot_id(whole)
    }

    /// The last voters below `end`, and where they stand.
    fn last_voters(&self, end: Offset) -> (Offset, VoterMask) {
        let last = |run: &Run| {
            let all = run.as_slice().iter().enumerate();
            let below = all.map(|(at, &record)| (run.base().plus(at as i64), record));
            let below = below.take_while(|&(at, _)| at < end);
            below.filter_map(|(at, record)| record.voter_mask().map(|mask| (at, mask))).last()
        };
        let recorded = last(&self.written).or_else(|| last(&self.placed));
        recorded.unwrap_or((VotersRecord::BOOTSTRAP, self.formatted))
    }

    /// Who votes by this log.
    pub(super) fn voter_mask(&self) -> VoterMask {
        self.last_voters(self.written.end()).1
    }

    /// What the state machine is after the records below `end`: the records themselves, since no
    /// fold of them could tell more.
    pub(super) fn fold(&self, end: Offset) -> Run {
        let mut fold = self.placed;
        let missing = fold.end().0..end.0;
        missing.filter_map(|at| self.written.at(Offset(at))).for_each(|record| fold.push(record));
        fold
    }

    /// All that this node's state machine and log hold, from the first record on.
    pub(super) fn whole(&self) -> Run {
        if self.placed.len() == 0 { self.written } else { self.fold(self.written.end()) }
    }
}

fn snapshot_id(fold: Run) -> SnapshotId {
    SnapshotId { end: fold.end(), epoch: Epoch(fold.last_epoch()) }
}

impl std::fmt::Debug for DiskLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.placed.len() > 0 {
            write!(f, "snapshot {:?} + ", self.placed)?;
        }
        write!(f, "{:?}", self.written)?;
        if !self.is_flushed() {
            write!(f, " (flushed to {})", self.flushed)?;
        }
        Ok(())
    }
}

impl Log for DiskLog {
    type Batch = Run;

    fn start(&self) -> Offset {
        self.written.base()
    }

    fn end(&self) -> Offset {
        self.written.end()
    }

    fn flushed(&self) -> Offset {
        Offset(i64::from(self.flushed))
    }

    fn last_epoch(&self) -> i32 {
        let last = self.written.as_slice().last().or(self.placed.as_slice().last());
        last.map_or(0, |record| record.epoch())
    }

    fn end_of_epoch(&self, epoch: i32) -> EpochEnd {
        let records = self.written.as_slice();
        let count = records.iter().take_while(|record| record.epoch() <= epoch).count();
        let end = self.start().plus(count as i64);
        let below = self.placed.as_slice().last().filter(|_| self.placed.end() == end);
        let epoch = match (count, below) {
            (0, Some(last)) if last.epoch() <= epoch => last.epoch(),
            (0, _) => epoch,
            _ => records[count - 1].epoch(),
        };
        EpochEnd { epoch, end }
    }

    fn append(&mut self, batch: Run) {
        batch.as_slice().iter().for_each(|&record| self.written.push(record));
    }

    fn truncate(&mut self, to: Offset) {
        self.written.cut(to.since(self.start()) as usize);
        self.flushed = self.flushed.min(self.written.end_small());
    }

    fn restart_at(&mut self, start: Offset) {
        self.written = Run::empty(start);
        self.flushed = self.written.end_small();
    }
}

impl RaftLog for DiskLog {
    /// One record at a time: the finest grain, and what lets a record of an earlier epoch arrive
    /// without the one that would commit it.
    fn read(&self, from: Offset) -> Run {
        self.written.at(from).map_or(Run::empty(from), |record| Run::one(from, record))
    }

    fn append_as_leader(&mut self, _: Epoch, batch: Run) {
        self.append(batch);
    }

    fn append_leader_change(&mut self, epoch: Epoch, leader: NodeId) {
        self.written.push(Record::leader_change(epoch, leader));
    }

    fn voters_below(&self, end: Offset) -> Option<VotersRecord> {
        if self.formatted.is_empty() {
            return None;
        }
        let (offset, mask) = self.last_voters(end);
        Some(VotersRecord { offset, voters: mask.voters() })
    }

    fn append_voters(&mut self, epoch: Epoch, voters: &Voters) {
        let mask = VoterMask::of(voters.iter().map(|voter| voter.directory.0 as u8));
        self.written.push(Record::voters(epoch, mask));
    }

    fn snapshot(&self) -> Option<SnapshotId> {
        (self.placed.len() > 0).then(|| snapshot_id(self.placed))
    }

    /// A chunk is one record.
    fn read_snapshot(&self, snapshot: SnapshotId, position: u64) -> Option<(Run, bool)> {
        if self.snapshot() != Some(snapshot) {
            return None;
        }
        let at = Offset(position as i64);
        let record = self.placed.at(at)?;
        Some((Run::one(at, record), at.plus(1) == self.placed.end()))
    }

    fn cut_to_snapshot(&mut self, snapshot: SnapshotId) {
        let end = snapshot.end;
        let differs = self.end() < end
            || self.written.at(Offset(end.0 - 1)).is_some_and(|r| r.epoch() != snapshot.epoch.0);
        if differs {
            self.restart_at(end);
        } else {
            self.written.advance(end);
            self.flushed = self.flushed.max(self.written.base_small());
        }
    }
}

/// The quorum-state file: what is on disk, and what is being written over it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct QuorumFile {
    pub(super) stored: Stored,
    pub(super) pending: Option<Stored>,
}

/// The file's content, with nodes by id and voters by directory, 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Stored {
    pub(super) epoch: u8,
    pub(super) leader: u8,
    pub(super) vote: u8,
}

impl Stored {
    pub(super) fn pack(stored: StoredState) -> Self {
        Stored {
            epoch: stored.epoch.0 as u8,
            leader: stored.leader.map_or(0, |id| id.0 as u8),
            vote: stored.vote.map_or(0, |key| key.directory.0 as u8),
        }
    }

    pub(super) fn unpack(self) -> StoredState {
        StoredState {
            epoch: Epoch(i32::from(self.epoch)),
            leader: (self.leader > 0).then_some(NodeId(i32::from(self.leader))),
            vote: (self.vote > 0).then(|| super::keys::key_of(self.vote)),
        }
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "epoch {}", self.epoch)?;
        if self.vote > 0 {
            write!(f, ", vote for {}", self.vote & 15)?;
        }
        if self.leader > 0 {
            write!(f, ", leader {}", self.leader)?;
        }
        Ok(())
    }
}
