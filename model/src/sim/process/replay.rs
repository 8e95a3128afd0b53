//! Replaying what is committed, and snapshots in both directions (K4, Q11).

use std::sync::Arc;

use crate::log::Extent;
use crate::metadata::{self, Image};
use crate::raft::{Event, RaftLog, SnapshotId};
use crate::sim::disk::{Chunk, MetaBatch, Snapshot};
use crate::sim::env::{Fact, Input};
use crate::sim::faults::Fault;
use crate::sim::profile::MILLIS;
use crate::{Epoch, Offset, Rules};

use super::{At, Work};

impl<R: Rules> At<'_, R> {
    pub(super) fn replay_committed(&mut self, end: Offset) {
        let due: Vec<Arc<MetaBatch>> = self
            .disk
            .metadata
            .from(self.process.replayed.0)
            .take_while(|batch| batch.base < end.0)
            .cloned()
            .collect();
        for batch in due {
            self.replay(&batch);
        }
        if self.process.replayed < end {
            self.fatal("the metadata log ends before what is committed");
        }
        self.snapshot_if_due();
    }

    fn replay(&mut self, batch: &MetaBatch) {
        let (base, end) = (Offset(batch.base), Offset(batch.end()));
        if self.process.controller.is_some() {
            let records = batch.records.clone();
            self.controller_event(metadata::Event::Committed { base, records, end });
        } else {
            let image = &mut self.process.image;
            for (index, record) in (0..).zip(&batch.records) {
                if image.replay(base.plus(index), record).is_err() {
                    return self
                        .violation("a committed record does not fit the metadata before it");
                }
            }
            image.end = end;
        }
        self.process.replayed = end;
        self.process.replayed_epoch = Epoch(batch.epoch);
        self.process.unsnapshotted += 1;
        self.env.facts.push(Fact::Replayed);
        self.publish();
    }

    pub(super) fn load_snapshot(&mut self) {
        let Some(snapshot) = self.disk.metadata.snapshot_content().cloned() else { return };
        let Ok(image) = Image::load(snapshot.id.end, &snapshot.records) else {
            return self.violation("a snapshot does not load");
        };
        self.process.replayed = snapshot.id.end;
        self.process.replayed_epoch = snapshot.id.epoch;
        match &self.process.controller {
            Some(_) => self.controller_event(metadata::Event::Loaded(Box::new(image))),
            None => self.process.image = image,
        }
        self.env.facts.push(Fact::Replayed);
        self.publish();
    }

    pub(super) fn store_chunk(
        &mut self,
        snapshot: SnapshotId,
        position: u64,
        bytes: Chunk,
        last: bool,
    ) {
        let expected = match self.process.fetched {
            Some((of, stored)) if of == snapshot && position > 0 => stored,
            _ => 0,
        };
        if position != expected {
            return self.fatal("a snapshot's chunks do not follow one another");
        }
        self.process.fetched = Some((snapshot, bytes.end().0.max(0) as u64));
        if let (true, Some(content)) = (last, bytes.snapshot) {
            self.tell(|| format!("has fetched the snapshot at {}", snapshot.end));
            self.disk.metadata.snapshot_stored(content);
            self.process.work.push_back(Work::Quorum(Event::SnapshotInstalled(snapshot)));
            self.load_snapshot();
        }
    }

    fn snapshot_if_due(&mut self) {
        let due = self.process.unsnapshotted >= self.env.profile.snapshot_batches;
        if !due || self.process.is_writing_snapshot || self.process.end.is_some() {
            return;
        }
        self.process.is_writing_snapshot = true;
        self.process.unsnapshotted = 0;
        let (end, epoch) = (self.process.replayed, self.process.replayed_epoch);
        let id = SnapshotId { end, epoch };
        let voters = self.disk.metadata.voters_below(end);
        let snapshot = Snapshot { id, records: self.process.committed().records(), voters };
        // Kept with the process until it is written: a crash before that leaves nothing.
        self.process.writing = Some(Arc::new(snapshot));
        let time = self.env.disk_time();
        self.later(time, Input::SnapshotWritten(id));
    }

    pub(super) fn snapshot_written(&mut self, id: SnapshotId) {
        self.process.is_writing_snapshot = false;
        if let Some(snapshot) = self.process.writing.take() {
            self.disk.metadata.snapshot_stored(snapshot);
            self.step_quorum(Event::SnapshotWritten(id));
        }
    }

    /// Tells the broker's part of this process, which lags as its mailboxes do.
    fn publish(&mut self) {
        if !self.who.is_broker {
            return;
        }
        let image = Arc::new(self.process.committed().clone());
        let lag = self.metadata_lag();
        let at = (self.env.now + lag).max(self.process.published_at + 1);
        self.process.published_at = at;
        self.later(at - self.env.now, Input::Published(image));
    }

    fn metadata_lag(&mut self) -> u64 {
        if self.env.chance.per_mille(self.env.profile.metadata_lag) {
            self.env.counts.count(Fault::MetadataLag);
            return self.env.chance.between(20, 1_500) * MILLIS;
        }
        self.env.chance.below(300)
    }
}
