//! What the quorum's machine asks of its log, and what a trace says of it.

use kraft_model::epochs::EpochCache;
use kraft_model::log::Log;
use kraft_model::raft::{RaftLog, SnapshotId, Voters, VotersRecord};
use kraft_model::replay::{Extents, RecordedLog};
use kraft_model::{Epoch, EpochEnd, NodeId, Offset};

use super::{MetadataLog, now_ms};
use crate::storage::build::leader_change;
use crate::storage::error::StorageError;
use crate::storage::records::Records;
use crate::storage::voters::{VoterNode, VoterSet, voters_batch};

impl Log for MetadataLog {
    type Batch = Records;

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
        let below = self.latest.filter(|snapshot| snapshot.end >= self.log.start());
        self.log.last_epoch().or(below.map(|snapshot| snapshot.epoch.0)).unwrap_or(0)
    }

    fn end_of_epoch(&self, epoch: i32) -> EpochEnd {
        let known = self.log.end_of_epoch(epoch);
        match self.latest {
            // The records of the snapshot's epoch are gone, but where they end is known.
            Some(snapshot)
                if known.end == self.log.start()
                    && snapshot.end == known.end
                    && snapshot.epoch.0 <= epoch =>
            {
                EpochEnd { epoch: snapshot.epoch.0, end: snapshot.end }
            }
            _ => known,
        }
    }

    fn append(&mut self, batch: Records) {
        self.log.append(&batch);
        self.note_voters(&batch);
        self.remember(batch);
    }

    fn truncate(&mut self, to: Offset) {
        self.log.truncate(to);
        self.voters.truncate(to);
        self.forget_tail_from(self.log.end());
    }

    fn restart_at(&mut self, start: Offset) {
        self.log.restart_at(start);
        self.begin_voters();
        self.tail.clear();
        self.tail_bytes = 0;
    }
}

impl RecordedLog for MetadataLog {
    fn extents(batch: &Records) -> Extents {
        batch.extents()
    }

    fn chunk(bytes: &Records) -> Extents {
        bytes.chunk_extents()
    }

    fn epochs(&self) -> EpochCache {
        self.log.epochs().clone()
    }

    fn latest_snapshot(&self) -> Option<SnapshotId> {
        self.latest
    }

    fn has_failed(&self) -> bool {
        self.log.failure().is_some()
    }
}

impl RaftLog for MetadataLog {
    /// From memory as a rule; what is older is read from disk here, at most 1 MiB of it. If it
    /// cannot be, the answer is empty and [`MetadataLog::failure`] says why.
    fn read(&self, from: Offset) -> Records {
        if let Some(records) = self.read_tail(from) {
            return records;
        }
        self.read_disk(from).unwrap_or_else(|source| {
            let path = self.log.dir().to_owned();
            self.log.fail(StorageError::Io { operation: "read the log in", path, source });
            Records::empty(from, 0)
        })
    }

    fn append_as_leader(&mut self, epoch: Epoch, batch: Records) {
        self.append(batch.stamp(self.log.end(), epoch.0));
    }

    fn append_leader_change(&mut self, epoch: Epoch, leader: NodeId) {
        self.append(leader_change(self.log.end(), epoch.0, leader.0, now_ms()));
    }

    fn voters_below(&self, end: Offset) -> Option<VotersRecord> {
        self.voters.below(end).map(VoterSet::keys)
    }

    fn append_voters(&mut self, epoch: Epoch, voters: &Voters) {
        let nodes: Vec<VoterNode> = voters.iter().map(|&key| self.with_endpoints(key)).collect();
        self.append(voters_batch(self.log.end(), epoch.0, now_ms(), &nodes));
    }

    fn snapshot(&self) -> Option<SnapshotId> {
        self.latest
    }

    fn read_snapshot(&self, snapshot: SnapshotId, position: u64) -> Option<(Records, bool)> {
        let (bytes, last) = self.snapshots.chunk(snapshot, position)?;
        // The extent of a chunk counts bytes of the file.
        let base = Offset(i64::try_from(position).ok()?);
        let end = base.plus(bytes.len() as i64);
        Some((Records { bytes, base, end, last_epoch: snapshot.epoch.0 }, last))
    }

    fn is_damaged(&self) -> bool {
        self.damaged.is_some()
    }

    fn cut_to_snapshot(&mut self, snapshot: SnapshotId) {
        self.snapshot_stored(snapshot);
        if self.differs_from(snapshot) {
            self.restart_at(snapshot.end);
        } else {
            self.log.advance_start(snapshot.end);
            self.voters.forget_below(snapshot.end);
        }
    }
}
