//! The metadata log on a simulated disk, with its snapshots.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::log::Log;
use crate::raft::{RaftLog, SnapshotId, Voters, VotersRecord};
use crate::sim::random::Random;
use crate::{Epoch, EpochEnd, NodeId, Offset};

use super::batch::{CHUNK, Chunk, MetaBatch, Snapshot};

/// What a crash may bring back: the log before a restart at a snapshot that was not flushed.
#[derive(Clone, Debug)]
struct Before {
    start: i64,
    batches: VecDeque<Arc<MetaBatch>>,
    flushed: i64,
}

#[derive(Clone, Debug)]
pub struct MetaLog {
    start: i64,
    batches: VecDeque<Arc<MetaBatch>>,
    flushed: i64,
    /// Batches from `flushed` on that were on disk and that a truncation dropped, which is not on
    /// disk itself yet.
    cut: Vec<Arc<MetaBatch>>,
    before: Option<Box<Before>>,
    snapshot: Option<Arc<Snapshot>>,
    /// Where an earlier snapshot is looked for by those who are in the midst of fetching it.
    older: Option<Arc<Snapshot>>,
    /// The voters that it was formatted with, in a dynamic quorum.
    formatted: Option<Voters>,
    next_id: u64,
    read_batches: usize,
    /// The lowest offset that changed since the judge last looked.
    pub dirty_from: i64,
    /// No room is left: the next append fails.
    pub full: bool,
    pub failed: bool,
    /// It was damaged, and once ended here.
    pub damaged: Option<i64>,
}

/// What a crash left of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Loss {
    pub lost: i64,
    pub torn: bool,
}

impl MetaLog {
    /// `disk` is the number of its disk among all that the node ever had.
    pub fn new(node: NodeId, disk: u64, read_batches: usize, formatted: Option<Voters>) -> MetaLog {
        MetaLog {
            start: 0,
            batches: VecDeque::new(),
            flushed: 0,
            cut: Vec::new(),
            before: None,
            snapshot: None,
            older: None,
            formatted,
            next_id: (node.0 as u64) << 40 | disk << 32,
            read_batches,
            dirty_from: i64::MAX,
            full: false,
            failed: false,
            damaged: None,
        }
    }

    /// The batches from the one that holds `from` on.
    pub fn from(&self, from: i64) -> impl Iterator<Item = &Arc<MetaBatch>> {
        let first = self.batches.partition_point(|batch| batch.end() <= from);
        self.batches.range(first..)
    }

    pub fn batches(&self) -> &VecDeque<Arc<MetaBatch>> {
        &self.batches
    }

    /// The batch before the one at `base`, if it is kept.
    pub fn before(&self, base: i64) -> Option<&Arc<MetaBatch>> {
        let at = self.batches.partition_point(|batch| batch.end() <= base);
        at.checked_sub(1).and_then(|at| self.batches.get(at))
    }

    pub fn snapshot_content(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref()
    }

    /// A snapshot is durable.
    pub fn snapshot_stored(&mut self, snapshot: Arc<Snapshot>) {
        if self.snapshot.as_ref().is_none_or(|latest| latest.id < snapshot.id) {
            self.older = self.snapshot.replace(snapshot);
        }
    }

    /// A flush that began when the log ended at `to` is done; `undisturbed` if nothing was
    /// truncated since.
    pub fn flushed_up_to(&mut self, to: i64, undisturbed: bool) {
        self.flushed = self.flushed.max(to.min(self.end().0));
        if undisturbed {
            self.cut.clear();
            self.before = None;
        }
    }

    fn push(&mut self, batch: Arc<MetaBatch>) {
        if self.full {
            self.failed = true;
            return;
        }
        self.dirty_from = self.dirty_from.min(batch.base);
        self.batches.push_back(batch);
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn advance_start(&mut self, to: i64) {
        while self.batches.front().is_some_and(|batch| batch.end() <= to) {
            self.batches.pop_front();
        }
        self.start = self.start.max(to);
    }

    fn differs_from(&self, snapshot: SnapshotId) -> bool {
        let below = snapshot.end.0 - 1;
        let epoch_below = self.from(below).next().map(|batch| batch.epoch);
        self.end() < snapshot.end || below >= self.start && epoch_below != Some(snapshot.epoch.0)
    }

    /// The process ended; the page cache survives and the next start brings it to disk.
    pub fn kill(&mut self) {
        self.settle();
    }

    /// The power went.
    pub fn lose_power(&mut self, random: &mut Random) -> Loss {
        let end = self.end().0;
        if let Some(before) = self.before.take_if(|_| random.per_mille(300)) {
            (self.start, self.batches, self.flushed) =
                (before.start, before.batches, before.flushed);
            self.dirty_from = self.start;
            let kept = self.flushed;
            self.keep_below(kept);
        } else if !self.cut.is_empty() && random.per_mille(300) {
            let kept = self.flushed;
            self.keep_below(kept);
            self.dirty_from = self.dirty_from.min(kept);
            let cut = std::mem::take(&mut self.cut);
            self.batches.extend(cut.into_iter().skip_while(|batch| batch.base < kept));
        } else {
            let first = self.batches.partition_point(|batch| batch.end() <= self.flushed);
            let unflushed = self.batches.len() - first;
            let kept = first + random.below(unflushed as u64 + 1) as usize;
            self.batches.truncate(kept);
        }
        self.settle();
        let lost = end - self.end().0;
        self.dirty_from = self.dirty_from.min(self.end().0);
        Loss { lost, torn: lost > 0 && random.per_mille(500) }
    }

    fn keep_below(&mut self, kept: i64) {
        while self.batches.back().is_some_and(|batch| batch.end() > kept) {
            self.batches.pop_back();
        }
    }

    /// A start: everything that is there is on disk, log and snapshot are brought together.
    fn settle(&mut self) {
        self.cut.clear();
        self.before = None;
        (self.failed, self.full) = (false, false);
        if let Some(id) = self.snapshot()
            && self.differs_from(id)
        {
            self.batches.clear();
            self.start = id.end.0;
            self.dirty_from = self.dirty_from.min(self.start);
        }
        self.flushed = self.end().0;
    }

    /// A bit turned in one of the batches; the log ends before it from now on. Returns where the
    /// log ended.
    pub fn rot(&mut self, random: &mut Random) -> Option<i64> {
        let former = self.end().0;
        if self.batches.is_empty() {
            return None;
        }
        let at = random.index(self.batches.len());
        self.dirty_from = self.dirty_from.min(self.batches[at].base);
        self.batches.truncate(at);
        self.settle();
        Some(former)
    }
}

impl Log for MetaLog {
    type Batch = Chunk;

    fn start(&self) -> Offset {
        Offset(self.start)
    }

    fn end(&self) -> Offset {
        Offset(self.batches.back().map_or(self.start, |last| last.end()))
    }

    fn flushed(&self) -> Offset {
        Offset(self.flushed)
    }

    fn last_epoch(&self) -> i32 {
        let below = self.snapshot().filter(|id| id.end.0 >= self.start);
        let last = self.batches.back().map(|last| last.epoch);
        last.or(below.map(|id| id.epoch.0)).unwrap_or(0)
    }

    fn end_of_epoch(&self, epoch: i32) -> EpochEnd {
        let after = self.batches.partition_point(|batch| batch.epoch <= epoch);
        if let Some(last) = after.checked_sub(1).and_then(|at| self.batches.get(at)) {
            return EpochEnd { epoch: last.epoch, end: Offset(last.end()) };
        }
        match self.snapshot() {
            // The records of the snapshot's epoch are gone, but where they end is known.
            Some(id) if id.end.0 == self.start && id.epoch.0 <= epoch => {
                EpochEnd { epoch: id.epoch.0, end: id.end }
            }
            _ => EpochEnd { epoch, end: self.start() },
        }
    }

    fn append(&mut self, batch: Chunk) {
        batch.batches.into_iter().for_each(|batch| self.push(batch));
    }

    fn truncate(&mut self, to: Offset) {
        let mut dropped = Vec::new();
        while self.batches.back().is_some_and(|batch| batch.end() > to.0) {
            dropped.extend(self.batches.pop_back().filter(|batch| batch.end() <= self.flushed));
        }
        dropped.reverse();
        dropped.append(&mut self.cut);
        self.cut = dropped;
        self.flushed = self.flushed.min(self.end().0);
        self.dirty_from = self.dirty_from.min(self.end().0);
    }

    fn restart_at(&mut self, start: Offset) {
        let batches = std::mem::take(&mut self.batches);
        let before = Before { start: self.start, batches, flushed: self.flushed };
        self.before.get_or_insert(Box::new(before));
        self.cut.clear();
        (self.start, self.flushed) = (start.0, start.0);
        self.dirty_from = self.dirty_from.min(start.0);
    }
}

impl RaftLog for MetaLog {
    fn read(&self, from: Offset) -> Chunk {
        let batches: Vec<_> = self.from(from.0).take(self.read_batches).cloned().collect();
        let (base, end) = match (batches.first(), batches.last()) {
            (Some(first), Some(last)) => (first.base, last.end()),
            _ => (from.0, from.0),
        };
        let last_epoch = batches.last().map_or(0, |last| last.epoch);
        Chunk { base, end, last_epoch, batches, snapshot: None }
    }

    fn append_as_leader(&mut self, epoch: Epoch, batch: Chunk) {
        for batch in batch.batches {
            let (base, id) = (self.end().0, self.new_id());
            let records = batch.records.clone();
            self.push(Arc::new(MetaBatch { base, epoch: epoch.0, id, records, voters: None }));
        }
    }

    fn append_leader_change(&mut self, epoch: Epoch, _: NodeId) {
        let (base, id) = (self.end().0, self.new_id());
        let records = Vec::new();
        self.push(Arc::new(MetaBatch { base, epoch: epoch.0, id, records, voters: None }));
    }

    fn voters_below(&self, end: Offset) -> Option<VotersRecord> {
        let below = self.batches.iter().rev().skip_while(|batch| batch.base >= end.0);
        let record = |batch: &Arc<MetaBatch>| {
            Some(VotersRecord { offset: Offset(batch.base), voters: batch.voters? })
        };
        let formatted = || {
            let offset = VotersRecord::BOOTSTRAP;
            self.formatted.map(|voters| VotersRecord { offset, voters })
        };
        below
            .filter_map(record)
            .next()
            .or_else(|| self.snapshot.as_ref()?.voters)
            .or_else(formatted)
    }

    fn append_voters(&mut self, epoch: Epoch, voters: &Voters) {
        let (base, id) = (self.end().0, self.new_id());
        let (records, voters) = (Vec::new(), Some(*voters));
        self.push(Arc::new(MetaBatch { base, epoch: epoch.0, id, records, voters }));
    }

    fn snapshot(&self) -> Option<SnapshotId> {
        self.snapshot.as_ref().map(|snapshot| snapshot.id)
    }

    fn read_snapshot(&self, snapshot: SnapshotId, position: u64) -> Option<(Chunk, bool)> {
        let all = self.snapshot.iter().chain(&self.older);
        let found = all.into_iter().find(|one| one.id == snapshot)?;
        if position >= found.size() {
            return None;
        }
        let end = (position + CHUNK).min(found.size());
        let last = end == found.size();
        let content = last.then(|| Arc::clone(found));
        let (base, end) = (position as i64, end as i64);
        let last_epoch = snapshot.epoch.0;
        Some((Chunk { base, end, last_epoch, batches: Vec::new(), snapshot: content }, last))
    }

    fn is_damaged(&self) -> bool {
        self.damaged.is_some()
    }

    fn cut_to_snapshot(&mut self, snapshot: SnapshotId) {
        if self.differs_from(snapshot) {
            self.restart_at(snapshot.end);
        } else {
            self.advance_start(snapshot.end.0);
        }
    }
}
