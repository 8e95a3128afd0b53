//! What a log directory's checkpoints say, in memory and on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kraft_model::{Offset, TopicPartition};

use super::disks::OpenError;
use crate::storage::{Checkpoint, OpenState, PartitionOffsets, StorageError};

/// Where a partition stands, for the checkpoints.
pub(super) struct Mark {
    pub directory: Arc<Path>,
    pub topic: Arc<str>,
    pub id: TopicPartition,
    /// The log's number.
    pub log: u64,
    pub high_watermark: Offset,
    pub recovery_point: Offset,
    pub log_start: Offset,
    /// When, as [`next_number`] counts.
    pub taken: u64,
}

/// Numbers marks in the order in which they are taken: they may be written in another one.
pub(super) fn next_number() -> u64 {
    static TAKEN: AtomicU64 = AtomicU64::new(1);
    TAKEN.fetch_add(1, Ordering::Relaxed)
}

/// Who has a name.
struct Owner {
    /// The log's number.
    log: u64,
    /// The number of the latest mark.
    noted: u64,
}

/// A topic's name and a partition, by which Kafka's files name it.
pub(super) type Key = (String, i32);

pub(super) fn key(topic: &str, id: TopicPartition) -> Key {
    (topic.to_owned(), id.partition)
}

#[derive(Default)]
pub(super) struct Offsets {
    high_watermarks: PartitionOffsets,
    recovery_points: PartitionOffsets,
    log_starts: PartitionOffsets,
    /// Who has the name now: it may have been another topic's, or this partition's before it left and
    /// came back.
    owners: BTreeMap<Key, Owner>,
    /// What was forgotten and is still in the files.
    on_disk: BTreeSet<Key>,
}

impl Offsets {
    /// A damaged checkpoint says nothing; the node takes such a stop for unclean.
    pub fn read(directory: &Path) -> Result<Offsets, OpenError> {
        let read = |checkpoint: Checkpoint| match checkpoint.read(directory) {
            Err(StorageError::Checkpoint { path, reason }) => {
                tracing::warn!(path = %path.display(), reason, "a checkpoint is damaged");
                Ok(PartitionOffsets::default())
            }
            found => found.map_err(|source| OpenError::Log {
                directory: directory.to_owned(),
                path: directory.to_owned(),
                source: source.into(),
            }),
        };
        Ok(Offsets {
            high_watermarks: read(Checkpoint::HighWatermark)?,
            recovery_points: read(Checkpoint::RecoveryPoint)?,
            log_starts: read(Checkpoint::LogStart)?,
            ..Offsets::default()
        })
    }

    pub fn of(&self, key: &Key) -> OpenState {
        let of = |all: &PartitionOffsets| all.get(key).copied().unwrap_or(Offset::ZERO);
        OpenState {
            recovery_point: of(&self.recovery_points),
            log_start: of(&self.log_starts),
            high_watermark: of(&self.high_watermarks),
            ..OpenState::default()
        }
    }

    pub fn hand_over(&mut self, key: Key, log: u64) {
        self.owners.insert(key, Owner { log, noted: next_number() });
    }

    /// A mark may come late, when its log is gone, or behind one that was taken after it: what a
    /// truncation has lowered since must stay low.
    pub fn note(&mut self, mark: &Mark) {
        let key = key(&mark.topic, mark.id);
        if let Some(owner) = self.owners.get_mut(&key)
            && owner.log == mark.log
            && owner.noted < mark.taken
        {
            owner.noted = mark.taken;
            self.high_watermarks.insert(key.clone(), mark.high_watermark);
            self.recovery_points.insert(key.clone(), mark.recovery_point);
            self.log_starts.insert(key, mark.log_start);
        }
    }

    pub fn forget(&mut self, key: &Key) {
        let all = [&mut self.high_watermarks, &mut self.recovery_points, &mut self.log_starts];
        if all.into_iter().filter_map(|offsets| offsets.remove(key)).count() > 0 {
            self.on_disk.insert(key.clone());
        }
        self.owners.remove(key);
    }

    pub fn forget_high_watermarks(&mut self) {
        self.high_watermarks.clear();
    }

    /// Whether the files still have what was forgotten.
    pub fn is_on_disk(&self, key: &Key) -> bool {
        self.on_disk.contains(key)
    }

    /// The starts first: what is deleted need not be on disk.
    pub fn write(&mut self, directory: &Path) -> Result<(), StorageError> {
        Checkpoint::LogStart.write(directory, &self.log_starts)?;
        Checkpoint::HighWatermark.write(directory, &self.high_watermarks)?;
        Checkpoint::RecoveryPoint.write(directory, &self.recovery_points)?;
        self.on_disk.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_was_taken_earlier_and_is_written_later_changes_nothing() {
        let (id, mut offsets) = (TopicPartition::default(), Offsets::default());
        let mark = |recovery_point| Mark {
            directory: Path::new("").into(),
            topic: "t".into(),
            id,
            high_watermark: Offset::ZERO,
            recovery_point,
            log_start: Offset::ZERO,
            log: 7,
            taken: next_number(),
        };
        let of_a_replica_that_went = mark(Offset(9));
        offsets.hand_over(key("t", id), 7);
        let (high, lowered) = (mark(Offset(6)), mark(Offset(2)));
        for late in [lowered, high, of_a_replica_that_went] {
            offsets.note(&late);
            assert_eq!(offsets.of(&key("t", id)).recovery_point, Offset(2));
        }
    }
}
