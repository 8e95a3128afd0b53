//! A node's disk: a log of which a crash may lose the end, and the stored epoch and vote.

use crate::log::{Extent, Log};
use crate::raft::{RaftLog, SnapshotId, StoredState, Voters, VotersRecord};
use crate::{Epoch, EpochEnd, NodeId, Offset};

/// Records that a modelled log has room for; every configuration stays below.
pub(super) const CAPACITY: usize = 8;

/// One record: its epoch and what it says, four bits each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Record(u8);

/// From here on a payload is the LeaderChange of the node with the id `payload - LEADER_CHANGE`.
const LEADER_CHANGE: u8 = 8;

impl Record {
    pub(super) fn new(epoch: Epoch, payload: u8) -> Self {
        Record((epoch.0 as u8) << 4 | payload)
    }

    pub(super) fn epoch(self) -> i32 {
        i32::from(self.0 >> 4)
    }

    fn payload(self) -> u8 {
        self.0 & 15
    }

    /// Whether the controller wrote it, not the quorum itself.
    pub(super) fn is_data(self) -> bool {
        self.payload() < LEADER_CHANGE
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.payload() {
            data if self.is_data() => write!(f, "r{data}@{}", self.epoch()),
            leader => write!(f, "lead{}@{}", leader - LEADER_CHANGE, self.epoch()),
        }
    }
}

impl crate::invariant::quorum::Entry for Record {
    fn epoch(&self) -> i32 {
        Record::epoch(*self)
    }
}

/// Consecutive records. Beyond the length everything is zero, so that equal runs are equal bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Run {
    base: u8,
    len: u8,
    records: [Record; CAPACITY],
}

impl Run {
    pub(super) fn one(base: Offset, record: Record) -> Self {
        let mut run = Run { base: base.0 as u8, ..Run::default() };
        run.push(record);
        run
    }

    pub(super) fn as_slice(&self) -> &[Record] {
        &self.records[..usize::from(self.len)]
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(super) fn push(&mut self, record: Record) {
        self.records[usize::from(self.len)] = record;
        self.len += 1;
    }

    pub(super) fn cut(&mut self, len: usize) {
        self.records[len..].fill(Record::default());
        self.len = len as u8;
    }

    pub(super) fn prefix(mut self, len: usize) -> Self {
        self.cut(len);
        self
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

impl Extent for Run {
    fn base(&self) -> Offset {
        Offset(i64::from(self.base))
    }

    fn end(&self) -> Offset {
        Offset(i64::from(self.base + self.len))
    }

    fn last_epoch(&self) -> i32 {
        self.as_slice().last().map_or(0, |record| record.epoch())
    }
}

/// The log as the process sees it, and as it is on the platter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct DiskLog {
    /// What the process reads.
    pub(super) written: Run,
    /// What a crash leaves if nothing since the last flush got through: a truncation may be lost
    /// as well as an append.
    pub(super) durable: Run,
    flushed: u8,
}

impl DiskLog {
    pub(super) fn flush(&mut self) {
        self.durable = self.written;
        self.flushed = self.written.len;
    }

    /// The logs that a crash may leave: any prefix of what was appended since the flush, or what
    /// was there before anything since then.
    pub(super) fn survivors(&self) -> impl Iterator<Item = Run> + use<> {
        let (written, durable) = (self.written, self.durable);
        let prefixes = usize::from(self.flushed)..=written.len();
        let prefixes = prefixes.map(move |len| written.prefix(len));
        prefixes.filter(move |&run| run != durable).chain([durable])
    }

    pub(super) fn recovered(run: Run) -> Self {
        DiskLog { written: run, durable: run, flushed: run.len }
    }
}

impl std::fmt::Debug for DiskLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.written)?;
        if self.flushed < self.written.len {
            write!(f, " (flushed to {})", self.flushed)?;
        }
        Ok(())
    }
}

impl Log for DiskLog {
    type Batch = Run;

    fn start(&self) -> Offset {
        Offset::ZERO
    }

    fn end(&self) -> Offset {
        self.written.end()
    }

    fn flushed(&self) -> Offset {
        Offset(i64::from(self.flushed))
    }

    fn last_epoch(&self) -> i32 {
        self.written.last_epoch()
    }

    fn end_of_epoch(&self, epoch: i32) -> EpochEnd {
        let records = self.written.as_slice();
        let end = records.iter().take_while(|record| record.epoch() <= epoch).count();
        let epoch = if end == 0 { epoch } else { records[end - 1].epoch() };
        EpochEnd { epoch, end: Offset(end as i64) }
    }

    fn append(&mut self, batch: Run) {
        batch.as_slice().iter().for_each(|&record| self.written.push(record));
    }

    fn truncate(&mut self, to: Offset) {
        self.written.cut(to.0 as usize);
        self.flushed = self.flushed.min(self.written.len);
    }

    fn restart_at(&mut self, _: Offset) {
        unreachable!("this model takes no snapshots")
    }
}

impl RaftLog for DiskLog {
    /// One record at a time: the finest grain, and what lets a record of an earlier epoch arrive
    /// without the one that would commit it.
    fn read(&self, from: Offset) -> Run {
        Run::one(from, self.written.as_slice()[from.0 as usize])
    }

    fn append_as_leader(&mut self, _: Epoch, batch: Run) {
        self.append(batch);
    }

    fn append_leader_change(&mut self, epoch: Epoch, leader: NodeId) {
        self.written.push(Record::new(epoch, LEADER_CHANGE + leader.0 as u8));
    }

    fn voters_below(&self, _: Offset) -> Option<VotersRecord> {
        None
    }

    fn append_voters(&mut self, _: Epoch, _: &Voters) {
        unreachable!("this model's voters are static")
    }

    fn snapshot(&self) -> Option<SnapshotId> {
        None
    }

    fn read_snapshot(&self, _: SnapshotId, _: u64) -> Option<(Run, bool)> {
        None
    }

    fn cut_to_snapshot(&mut self, _: SnapshotId) {
        unreachable!("this model takes no snapshots")
    }
}

/// The quorum-state file: what is on disk, and what is being written over it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct QuorumFile {
    pub(super) stored: Stored,
    pub(super) pending: Option<Stored>,
}

/// The file's content with nodes by id, 0 for none; a vote's directory follows from its id here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Stored {
    epoch: u8,
    leader: u8,
    vote: u8,
}

impl Stored {
    pub(super) fn pack(stored: StoredState) -> Self {
        Stored {
            epoch: stored.epoch.0 as u8,
            leader: stored.leader.map_or(0, |id| id.0 as u8),
            vote: stored.vote.map_or(0, |key| key.id.0 as u8),
        }
    }

    pub(super) fn unpack(self) -> StoredState {
        StoredState {
            epoch: Epoch(i32::from(self.epoch)),
            leader: (self.leader > 0).then_some(NodeId(i32::from(self.leader))),
            vote: (self.vote > 0).then(|| super::network::key(usize::from(self.vote) - 1)),
        }
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "epoch {}", self.epoch)?;
        if self.vote > 0 {
            write!(f, ", vote for {}", self.vote)?;
        }
        if self.leader > 0 {
            write!(f, ", leader {}", self.leader)?;
        }
        Ok(())
    }
}
