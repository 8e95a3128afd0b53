//! A partition's log on a simulated disk.

use crate::log::{Extent, Log};
use crate::replica::{BatchHeader, DataLog, ProducerBatch};
use crate::sim::random::Random;
use crate::{EpochEnd, LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// A record, which is a batch of its own. `value` is unique in the run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DataRecord {
    pub epoch: i32,
    pub value: u64,
    /// Producer and sequence, if the producer is idempotent.
    pub produced: Option<(i64, i32)>,
}

/// Consecutive records; none is "nothing to read".
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
    start: i64,
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
        (offset - self.start).max(0) as usize
    }

    pub fn at(&self, offset: i64) -> Option<&DataRecord> {
        if offset < self.start { None } else { self.records.get(self.index(offset)) }
    }

    /// Up to `most` records from `from` on.
    pub fn read(&self, from: i64, most: usize) -> Run {
        let records = self.records.iter().skip(self.index(from)).take(most).copied().collect();
        Run { base: from, records }
    }

    pub fn records(&self) -> &[DataRecord] {
        &self.records
    }

    fn push(&mut self, record: DataRecord) {
        if self.full {
            self.failed = true;
            return;
        }
        self.dirty_from = self.dirty_from.min(self.end().0);
        self.records.push(record);
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

    fn keep_below(&mut self, to: i64) {
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
        if !self.cut.is_empty() && random.per_mille(300) {
            self.keep_below(durable);
            let cut = std::mem::take(&mut self.cut);
            self.dirty_from = self.dirty_from.min(durable);
            self.records.extend(cut);
        } else {
            let unflushed = (end - durable).max(0) as u64;
            self.keep_below(durable + random.below(unflushed + 1) as i64);
        }
        self.durable = self.end().0;
        self.cut.clear();
        end - self.end().0
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
        let at = self.start + random.below(self.records.len() as u64) as i64;
        self.keep_below(at);
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
        Offset(self.start + self.records.len() as i64)
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
            Some(last) => EpochEnd { epoch: last.epoch, end: Offset(self.start + after as i64) },
            None => EpochEnd { epoch, end: self.start() },
        }
    }

    fn append(&mut self, batch: Run) {
        batch.records.into_iter().for_each(|record| self.push(record));
    }

    fn truncate(&mut self, to: Offset) {
        let to = to.0.max(self.start);
        if to < self.durable {
            let (from, durable) = (self.index(to), self.index(self.durable));
            let mut dropped = self.records[from..durable.min(self.records.len())].to_vec();
            dropped.append(&mut self.cut);
            self.cut = dropped;
            self.durable = to;
        }
        self.flushed = self.flushed.min(to);
        self.keep_below(to);
    }

    fn restart_at(&mut self, start: Offset) {
        self.records.clear();
        self.cut.clear();
        (self.start, self.flushed, self.durable) = (start.0, start.0, start.0);
        self.dirty_from = self.dirty_from.min(start.0);
    }
}

impl DataLog for PartitionLog {
    fn append_as_leader(&mut self, epoch: LeaderEpoch, batch: Run) {
        batch.records.into_iter().for_each(|record| {
            self.push(DataRecord { epoch: epoch.0, ..record });
        });
    }

    fn headers(batch: &Run) -> impl Iterator<Item = BatchHeader> + '_ {
        (batch.base..).zip(&batch.records).map(|(offset, record)| header(offset, record))
    }

    fn headers_from(&self, from: Offset) -> Vec<BatchHeader> {
        PartitionLog::headers(&self.read(from.0, usize::MAX)).collect()
    }

    fn advance_start(&mut self, start: Offset) {
        if start.0 > self.start {
            let drop = self.index(start.0).min(self.records.len());
            self.records.drain(..drop);
            self.start = start.0;
            self.flushed = self.flushed.max(start.0);
            self.durable_up_to(start.0);
        }
    }
}

fn header(base: i64, record: &DataRecord) -> BatchHeader {
    let producer = record.produced.map(|(id, sequence)| ProducerBatch {
        id: ProducerId(id),
        epoch: ProducerEpoch(0),
        first_sequence: sequence,
        last_sequence: sequence,
        timestamp: 0,
    });
    let (base, end) = (Offset(base), Offset(base + 1));
    BatchHeader { base, end, epoch: LeaderEpoch(record.epoch), producer }
}
