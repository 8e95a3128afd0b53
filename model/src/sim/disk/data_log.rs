//! A partition's log on a simulated disk.

use std::ops::Range;

use crate::log::{Extent, Log};
use crate::replica::{BatchHeader, DataLog, ProducerBatch};
use crate::sim::random::Random;
use crate::{EpochEnd, LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// A record of a batch. `value` is unique in the run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DataRecord {
    pub epoch: i32,
    pub value: u64,
    /// Producer and sequence, if the producer is idempotent.
    pub produced: Option<(i64, i32)>,
    /// Records of its batch that come before it, and after it.
    before: u8,
    after: u8,
}

impl DataRecord {
    /// What a client sends: the values of one batch, and who produced the first of them.
    pub fn batch(values: &[u64], produced: Option<(i64, i32)>) -> Vec<DataRecord> {
        let last = values.len().saturating_sub(1) as u8;
        let record = |(before, &value): (u8, &u64)| DataRecord {
            epoch: 0,
            value,
            produced: produced.map(|(id, first)| (id, first + i32::from(before))),
            before,
            after: last - before,
        };
        (0..).zip(values).map(record).collect()
    }
}

/// Consecutive batches; none is "nothing to read".
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Run {
    pub base: i64,
    pub records: Vec<DataRecord>,
}

impl Extent for Run {
    fn base(&self) -> Offset {
        Offset(self.base)
    }

    fn end(&self) -> Offset {
        Offset(self.base + self.records.len() as i64)
    }

    fn last_epoch(&self) -> i32 {
        self.records.last().map_or(0, |record| record.epoch)
    }
}

#[derive(Clone, Debug)]
pub struct PartitionLog {
    /// The first offset that may be read, which may be inside the first batch.
    start: i64,
    /// Where that batch begins.
    base: i64,
    records: Vec<DataRecord>,
    /// What the process knows to be on disk.
    flushed: i64,
    /// What is: a process that starts knows less than that.
    durable: i64,
    /// Records from `durable` on that were on disk and that a truncation dropped, which is not on
    /// disk itself yet.
    cut: Vec<DataRecord>,
    /// The lowest offset that changed since the judge last looked.
    pub dirty_from: i64,
    /// No room is left: the next append fails.
    pub full: bool,
    pub failed: bool,
}

impl PartitionLog {
    pub fn new() -> PartitionLog {
        PartitionLog {
            start: 0,
            base: 0,
            records: Vec::new(),
            flushed: 0,
            durable: 0,
            cut: Vec::new(),
            dirty_from: i64::MAX,
            full: false,
            failed: false,
        }
    }

    fn index(&self, offset: i64) -> usize {
        (offset - self.base).max(0) as usize
    }

    /// The beginning of the batch that holds `offset`.
    fn batch_base(&self, offset: i64) -> i64 {
        let record = self.records.get(self.index(offset)).filter(|_| offset >= self.base);
        record.map_or(offset, |record| offset - i64::from(record.before))
    }

    pub fn at(&self, offset: i64) -> Option<&DataRecord> {
        if offset < self.start { None } else { self.records.get(self.index(offset)) }
    }

    /// The batches from the one that holds `from` on, about as many records as `most` says.
    pub fn read(&self, from: i64, most: usize) -> Run {
        let base = self.batch_base(from);
        let rest = self.records.get(self.index(base)..).unwrap_or_default();
        let last = rest.get(most.saturating_sub(1)).or(rest.last());
        let whole = last.map_or(0, |last| most.saturating_add(last.after.into())).min(rest.len());
        Run { base, records: rest[..whole].to_vec() }
    }

    /// Up to `most` records from `from` on, as a consumer sees them.
    pub fn seen_from(&self, from: i64, most: usize) -> Vec<DataRecord> {
        let from = from.max(self.start);
        self.records.iter().skip(self.index(from)).take(most).copied().collect()
    }

    pub fn records(&self) -> &[DataRecord] {
        &self.records
    }

    fn push(&mut self, batch: impl IntoIterator<Item = DataRecord>) {
        if self.full {
            self.failed = true;
            return;
        }
        self.dirty_from = self.dirty_from.min(self.end().0);
        self.records.extend(batch);
    }

    pub fn flushed_up_to(&mut self, to: i64, undisturbed: bool) {
        self.flushed = self.flushed.max(to.min(self.end().0));
        self.durable_up_to(self.flushed);
        if undisturbed {
            self.cut.clear();
        }
    }

    /// What was cut below `to` cannot come back any more.
    fn durable_up_to(&mut self, to: i64) {
        let more = (to - self.durable).max(0);
        self.cut.drain(..self.cut.len().min(more as usize));
        self.durable += more;
    }

    /// Keeps the batches that end at or below `to`.
    fn keep_below(&mut self, to: i64) {
        let to = self.batch_base(to);
        let keep = self.index(to);
        if keep < self.records.len() {
            self.records.truncate(keep);
            self.dirty_from = self.dirty_from.min(to);
        }
    }

    /// The power went: of what was not flushed a prefix is left. Returns how much was lost.
    pub fn lose_power(&mut self, random: &mut Random) -> i64 {
        let end = self.end().0;
        let durable = self.durable.max(self.start);
        let may_come_back = self.batch_base(durable) == durable
            && self.cut.first().is_some_and(|first| first.before == 0);
        if may_come_back && random.per_mille(300) {
            self.keep_below(durable);
            let cut = std::mem::take(&mut self.cut);
            self.dirty_from = self.dirty_from.min(durable);
            self.records.extend(cut);
        } else {
            let unflushed = (end - durable).max(0) as u64;
            self.keep_below(durable + random.below(unflushed + 1) as i64);
        }
        self.begin_at_least_at(self.start);
        self.durable = self.end().0;
        self.cut.clear();
        end - self.end().0
    }

    /// What is left ends inside the batch that the log starts in: deleted records stay deleted.
    fn begin_at_least_at(&mut self, start: i64) {
        if self.end().0 < self.start {
            self.restart_at(Offset(start));
        }
    }

    /// Opened anew: all that is known to be on disk is what the recovery point says.
    pub fn reopen(&mut self, recovery_point: i64) {
        (self.failed, self.full) = (false, false);
        self.flushed = recovery_point.min(self.end().0).max(self.start);
    }

    /// A bit turned in a record; the log ends before it from now on.
    pub fn rot(&mut self, random: &mut Random) -> Option<i64> {
        if self.records.is_empty() {
            return None;
        }
        self.keep_below(self.base + random.below(self.records.len() as u64) as i64);
        self.begin_at_least_at(self.start);
        let at = self.end().0;
        (self.flushed, self.durable) = (self.flushed.min(at), self.durable.min(at));
        Some(at)
    }
}

impl Log for PartitionLog {
    type Batch = Run;

    fn start(&self) -> Offset {
        Offset(self.start)
    }

    fn end(&self) -> Offset {
        Offset(self.base + self.records.len() as i64)
    }

    fn flushed(&self) -> Offset {
        Offset(self.flushed)
    }

    fn last_epoch(&self) -> i32 {
        self.records.last().map_or(0, |record| record.epoch)
    }

    fn end_of_epoch(&self, epoch: i32) -> EpochEnd {
        let after = self.records.partition_point(|record| record.epoch <= epoch);
        match after.checked_sub(1).and_then(|at| self.records.get(at)) {
            Some(last) => EpochEnd { epoch: last.epoch, end: Offset(self.base + after as i64) },
            None => EpochEnd { epoch, end: self.start() },
        }
    }

    fn append(&mut self, batch: Run) {
        self.push(batch.records);
    }

    fn truncate(&mut self, to: Offset) {
        let start = to.0.max(self.start);
        let to = self.batch_base(start);
        if to < self.durable {
            let (from, durable) = (self.index(to), self.index(self.durable));
            let mut dropped = self.records[from..durable.min(self.records.len())].to_vec();
            dropped.append(&mut self.cut);
            self.cut = dropped;
            self.durable = to;
        }
        self.flushed = self.flushed.min(to);
        self.keep_below(to);
        self.begin_at_least_at(start);
    }

    fn restart_at(&mut self, start: Offset) {
        self.records.clear();
        self.cut.clear();
        (self.start, self.base) = (start.0, start.0);
        (self.flushed, self.durable) = (start.0, start.0);
        self.dirty_from = self.dirty_from.min(start.0);
    }
}

impl DataLog for PartitionLog {
    fn append_as_leader(&mut self, epoch: LeaderEpoch, batch: Run) {
        self.push(batch.records.into_iter().map(|record| DataRecord { epoch: epoch.0, ..record }));
    }

    fn headers(batch: &Run) -> impl Iterator<Item = BatchHeader> + '_ {
        let mut base = batch.base;
        batch.records.chunk_by(|record, _| record.after > 0).filter_map(move |records| {
            let (first, last) = (records.first()?, records.last()?);
            let begin = base;
            base += records.len() as i64;
            Some(header(begin..base, first, last))
        })
    }

    fn headers_from(&self, from: Offset) -> Vec<BatchHeader> {
        PartitionLog::headers(&self.read(from.0, usize::MAX)).collect()
    }

    fn advance_start(&mut self, start: Offset) {
        if start.0 > self.start {
            let base = self.batch_base(start.0);
            let drop = self.index(base).min(self.records.len());
            self.records.drain(..drop);
            (self.start, self.base) = (start.0, base);
            self.flushed = self.flushed.max(start.0);
            self.durable_up_to(start.0);
        }
    }
}

fn header(offsets: Range<i64>, first: &DataRecord, last: &DataRecord) -> BatchHeader {
    let producer =
        first.produced.zip(last.produced).map(|((id, first), (_, last))| ProducerBatch {
            id: ProducerId(id),
            epoch: ProducerEpoch(0),
            first_sequence: first,
            last_sequence: last,
            timestamp: 0,
        });
    let (base, end) = (Offset(offsets.start), Offset(offsets.end));
    BatchHeader { base, end, epoch: LeaderEpoch(first.epoch), producer }
}
