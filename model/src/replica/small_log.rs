//! A log of a few tiny records in one flat value: what the checker and the tests put behind
//! [`DataLog`].

use std::hash::{Hash, Hasher};

use crate::epochs::EpochCache;
use crate::inline::InlineVec;
use crate::log::{Extent, Log};
use crate::raft::SnapshotId;
use crate::replay::{Extents, RecordedLog};
use crate::{EpochEnd, LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use super::{BatchHeader, DataLog, ProducerBatch};

/// Records that a small log has room for.
const CAPACITY: usize = 8;

/// A record; each is a batch of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct SmallRecord {
    pub epoch: u8,
    /// What the client wrote.
    pub value: u8,
    /// Producer and sequence, if the producer is idempotent.
    pub produced: Option<(u8, u8)>,
}

/// In one word: logs are most of what a checker hashes.
impl Hash for SmallRecord {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let SmallRecord { epoch, value, produced } = *self;
        let (id, sequence) = produced.unwrap_or_default();
        let all = [epoch, value, u8::from(produced.is_some()), id, sequence, 0, 0, 0];
        state.write_u64(u64::from_le_bytes(all));
    }
}

/// Consecutive records; none is "nothing to read".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SmallBatch {
    pub base: u8,
    pub records: InlineVec<SmallRecord, CAPACITY>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SmallLog {
    start: u8,
    flushed: u8,
    records: InlineVec<SmallRecord, CAPACITY>,
}

impl SmallBatch {
    /// What a client sends.
    pub fn new(value: u8, produced: Option<(u8, u8)>) -> SmallBatch {
        let record = SmallRecord { epoch: 0, value, produced };
        SmallBatch { base: 0, records: [record].into_iter().collect() }
    }
}

impl Extent for SmallBatch {
    fn base(&self) -> Offset {
        Offset(i64::from(self.base))
    }

    fn end(&self) -> Offset {
        self.base().plus(self.records.len() as i64)
    }

    fn last_epoch(&self) -> i32 {
        self.records.last().map_or(0, |record| i32::from(record.epoch))
    }
}

impl SmallLog {
    pub fn records(&self) -> &[SmallRecord] {
        &self.records
    }

    /// What a leader's shell reads for a follower from `from` on.
    pub fn read(&self, from: Offset) -> SmallBatch {
        let skipped = (from.0 - i64::from(self.start)).max(0) as usize;
        let records = self.records.iter().skip(skipped).copied().collect();
        SmallBatch { base: from.0 as u8, records }
    }

    /// The record at `offset`.
    pub fn at(&self, offset: Offset) -> Option<SmallRecord> {
        self.records.get(usize::try_from(offset.0 - i64::from(self.start)).ok()?).copied()
    }

    pub fn flush(&mut self) {
        self.flushed = self.end().0 as u8;
    }

    /// What a power failure leaves when the first `kept` unflushed records reached the disk.
    pub fn lose_tail(&mut self, kept: u8) {
        let end = Offset(i64::from(self.flushed.saturating_add(kept))).min(self.end());
        self.cut(end);
        self.flushed = self.end().0 as u8;
    }

    fn cut(&mut self, to: Offset) {
        let keep = (to.0 - i64::from(self.start)).max(0) as usize;
        self.records = self.records.iter().take(keep).copied().collect();
    }
}

impl Log for SmallLog {
    type Batch = SmallBatch;

    fn start(&self) -> Offset {
        Offset(i64::from(self.start))
    }

    fn end(&self) -> Offset {
        self.start().plus(self.records.len() as i64)
    }

    fn flushed(&self) -> Offset {
        Offset(i64::from(self.flushed))
    }

    fn last_epoch(&self) -> i32 {
        self.records.last().map_or(0, |record| i32::from(record.epoch))
    }

    fn end_of_epoch(&self, epoch: i32) -> EpochEnd {
        let known = self.records.iter().rposition(|record| i32::from(record.epoch) <= epoch);
        match known {
            Some(last) => EpochEnd {
                epoch: i32::from(self.records[last].epoch),
                end: self.start().plus(last as i64 + 1),
            },
            None => EpochEnd { epoch, end: self.start() },
        }
    }

    fn append(&mut self, batch: SmallBatch) {
        batch.records.iter().for_each(|&record| self.records.push(record));
    }

    fn truncate(&mut self, to: Offset) {
        self.cut(to);
        self.flushed = self.flushed.min(self.end().0 as u8);
    }

    fn restart_at(&mut self, start: Offset) {
        let start = start.0 as u8;
        *self = SmallLog { start, flushed: start, records: InlineVec::new() };
    }
}

impl DataLog for SmallLog {
    fn append_as_leader(&mut self, epoch: LeaderEpoch, batch: SmallBatch) {
        let epoch = epoch.0 as u8;
        batch.records.iter().for_each(|&record| self.records.push(SmallRecord { epoch, ..record }));
    }

    fn headers(batch: &SmallBatch) -> impl Iterator<Item = BatchHeader> + '_ {
        let base = batch.base();
        (0..).zip(&batch.records).map(move |(index, record)| header(base.plus(index), record))
    }

    fn headers_from(&self, from: Offset) -> Vec<BatchHeader> {
        SmallLog::headers(&self.read(from)).collect()
    }

    fn advance_start(&mut self, start: Offset) {
        let rest = self.read(start).records;
        *self = SmallLog { start: start.0 as u8, records: rest, ..*self };
    }
}

impl RecordedLog for SmallLog {
    fn extents(batch: &SmallBatch) -> Extents {
        let values = SmallLog::headers(batch).zip(&batch.records);
        let extent = (batch.base(), batch.end(), batch.last_epoch());
        Extents::of_batches(extent, values.map(|(header, record)| (header, record.value.into())))
    }

    fn chunk(bytes: &SmallBatch) -> Extents {
        SmallLog::extents(bytes)
    }

    fn epochs(&self) -> EpochCache {
        let mut epochs = EpochCache::default();
        for header in self.headers_from(self.start()) {
            epochs.note(header.epoch.0, header.base);
        }
        epochs
    }

    fn latest_snapshot(&self) -> Option<SnapshotId> {
        None
    }

    fn has_failed(&self) -> bool {
        false
    }
}

fn header(base: Offset, record: &SmallRecord) -> BatchHeader {
    let producer = record.produced.map(|(id, sequence)| ProducerBatch {
        id: ProducerId(i64::from(id)),
        epoch: ProducerEpoch(0),
        first_sequence: i32::from(sequence),
        last_sequence: i32::from(sequence),
        timestamp: 0,
    });
    BatchHeader { base, end: base.plus(1), epoch: LeaderEpoch(i32::from(record.epoch)), producer }
}
