//! A log that is on disk as soon as it is written, a few bytes long.

use std::hash::{Hash, Hasher};

use crate::log::{Extent, Log};
use crate::raft::{RaftLog, SnapshotId, Voters, VotersRecord};
use crate::{Epoch, EpochEnd, NodeId, Offset};

/// Records that a log has room for: one LeaderChange an epoch, and the proposals.
const CAPACITY: usize = 8;

/// One record: its epoch, and below it the number of the proposal, 0 for a LeaderChange.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Record(u8);

impl Record {
    pub(super) fn new(epoch: Epoch, number: u8) -> Self {
        Record((epoch.0 as u8) << 4 | number)
    }

    /// Whether the controller wrote it, not the quorum itself.
    pub(super) fn is_data(self) -> bool {
        self.0 & 15 > 0
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{},{}>", self.0 >> 4, self.0 & 15)
    }
}

impl crate::invariant::quorum::Entry for Record {
    fn epoch(&self) -> i32 {
        i32::from(self.0 >> 4)
    }
}

/// The records from 0 on. Beyond the length everything is zero, so that equal logs are equal bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct FlushedLog {
    len: u8,
    records: [Record; CAPACITY],
}

/// By the word. No record is zero, so that the records tell the length.
impl Hash for FlushedLog {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(u64::from_le_bytes(self.records.map(|record| record.0)));
    }
}

impl FlushedLog {
    pub(super) fn as_slice(&self) -> &[Record] {
        &self.records[..usize::from(self.len)]
    }

    fn push(&mut self, record: Record) {
        self.records[usize::from(self.len)] = record;
        self.len += 1;
    }

    #[must_use]
    pub(super) fn prefix(mut self, len: usize) -> Self {
        self.records[len..].fill(Record::default());
        self.len = len as u8;
        self
    }
}

/// What travels in one answer: one record, so that a record of an earlier epoch can arrive without
/// the one that would commit it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct One {
    pub(super) base: Offset,
    pub(super) record: Record,
}

impl Extent for One {
    fn base(&self) -> Offset {
        self.base
    }

    fn end(&self) -> Offset {
        self.base.plus(1)
    }

    fn last_epoch(&self) -> i32 {
        crate::invariant::quorum::Entry::epoch(&self.record)
    }
}

impl Log for FlushedLog {
    type Batch = One;

    fn start(&self) -> Offset {
        Offset::ZERO
    }

    fn end(&self) -> Offset {
        Offset(i64::from(self.len))
    }

    fn flushed(&self) -> Offset {
        self.end()
    }

    fn last_epoch(&self) -> i32 {
        self.as_slice().last().map_or(0, crate::invariant::quorum::Entry::epoch)
    }

    fn end_of_epoch(&self, epoch: i32) -> EpochEnd {
        let epoch_of = crate::invariant::quorum::Entry::epoch;
        let records = self.as_slice();
        let end = records.iter().take_while(|&record| epoch_of(record) <= epoch).count();
        let epoch = if end == 0 { epoch } else { epoch_of(&records[end - 1]) };
        EpochEnd { epoch, end: Offset(end as i64) }
    }

    fn append(&mut self, batch: One) {
        self.push(batch.record);
    }

    fn truncate(&mut self, to: Offset) {
        *self = self.prefix(to.0 as usize);
    }

    fn restart_at(&mut self, _: Offset) {
        unreachable!("this model takes no snapshots")
    }
}

impl RaftLog for FlushedLog {
    fn read(&self, from: Offset) -> One {
        One { base: from, record: self.as_slice()[from.0 as usize] }
    }

    fn append_as_leader(&mut self, _: Epoch, batch: One) {
        self.append(batch);
    }

    fn append_leader_change(&mut self, epoch: Epoch, _: NodeId) {
        self.push(Record::new(epoch, 0));
    }

    /// The quorum is a static one.
    fn voters_below(&self, _: Offset) -> Option<VotersRecord> {
        None
    }

    fn append_voters(&mut self, _: Epoch, _: &Voters) {
        unreachable!("this quorum is a static one")
    }

    fn snapshot(&self) -> Option<SnapshotId> {
        None
    }

    fn read_snapshot(&self, _: SnapshotId, _: u64) -> Option<(One, bool)> {
        None
    }

    fn cut_to_snapshot(&mut self, _: SnapshotId) {
        unreachable!("this model takes no snapshots")
    }
}
