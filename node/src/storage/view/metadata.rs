//! The metadata log of a node, with its snapshots and what it says of voters.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use kraft_model::{Offset, ReplicaKey};

use super::{BatchView, Stop, segments};
use crate::storage::error::{Context, StorageError};
use crate::storage::files::FileKind;
use crate::storage::metadata_log::damage_path;
use crate::storage::read::{not_a_batch, read_at};
use crate::storage::records::Records;
use crate::storage::scan::{Scan, Verdict, scan_segment};
use crate::storage::snapshot::Snapshots;
use crate::storage::voters::VoterHistory;

/// How often a log is read anew that its owner has changed under the reader's hands.
const ATTEMPTS: usize = 10;

/// A metadata log as it was found, every checksum in it checked.
#[derive(Debug)]
pub struct MetadataView {
    pub start: Offset,
    pub end: Offset,
    pub batches: Vec<MetadataBatch>,
    /// Where the log is damaged; everything before it is in `batches`.
    pub damage: Option<Stop>,
    /// The log was damaged, and its owner has not refetched all of it yet.
    pub is_mending: bool,
    voters: VoterHistory,
    snapshots: Snapshots,
}

/// A batch of metadata records, or of control records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetadataBatch {
    pub head: BatchView,
    pub records: Records,
}

impl MetadataView {
    /// Reads the log in `dir`; one that is not there is empty.
    ///
    /// # Errors
    ///
    /// The device's. Damage is none: see [`MetadataView::damage`].
    pub fn read(dir: &Path) -> Result<MetadataView, StorageError> {
        let mut before = None;
        let mut attempt = 0;
        loop {
            attempt += 1;
            match read_once(dir) {
                // What was cut and written anew while it was read is not found a second time.
                Ok(view)
                    if view.damage.is_some() && view.damage != before && attempt < ATTEMPTS =>
                {
                    before = view.damage;
                }
                Err(error) if has_moved(&error) && attempt < ATTEMPTS => {}
                result => return result,
            }
        }
    }

    /// The voters in force below `end`, committed or not; `None` in a static quorum.
    pub fn voters_below(&self, end: Offset) -> Option<Vec<ReplicaKey>> {
        let set = self.voters.below(end).or(self.voters.first())?;
        Some(set.voters.iter().map(|voter| voter.key).collect())
    }

    /// The snapshots beside the log, to be listed and loaded.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }
}

fn read_once(dir: &Path) -> Result<MetadataView, StorageError> {
    let bases = segments(dir)?;
    let start = bases.first().copied().unwrap_or(Offset::ZERO);
    let snapshots = Snapshots::new(dir);
    let (batches, damage, voters) = (Vec::new(), None, VoterHistory::default());
    let is_mending = damage_path(dir).exists();
    let mut view =
        MetadataView { start, end: start, batches, damage, is_mending, voters, snapshots };
    for (at, &base) in bases.iter().enumerate() {
        let path = FileKind::Log.path(dir, base.0);
        let scan = view.read_segment(&path, base)?;
        view.end = scan.end;
        view.damage = damage_in(path, &scan, bases.get(at + 1).copied());
        if view.damage.is_some() {
            break;
        }
    }
    view.read_voters(dir)?;
    Ok(view)
}

impl MetadataView {
    fn read_segment(&mut self, path: &Path, base: Offset) -> Result<Scan, StorageError> {
        let file = File::open(path).context("open", path)?;
        let mut found = Vec::new();
        let scan = scan_segment(&file, base, |position, batch| found.push((position, *batch)));
        let scan = scan.context("read", path)?;
        for (position, batch) in found {
            let bytes = read_at(&file, position, batch.size).context("read", path)?;
            let records =
                Records::parse(bytes.into()).map_err(not_a_batch).context("read", path)?;
            self.batches.push(MetadataBatch { head: BatchView::from(&batch), records });
        }
        Ok(scan)
    }

    /// The newest snapshot has spoken for what the log still holds below its end.
    fn read_voters(&mut self, dir: &Path) -> Result<(), StorageError> {
        if !dir.exists() {
            return Ok(());
        }
        let newest = self.snapshots.list()?.into_iter().next_back();
        if let Some(id) = newest {
            self.voters.begin(self.snapshots.voters(id)?);
        }
        let below = newest.map_or(Offset::ZERO, |id| id.end);
        for batch in self.batches.iter().filter(|batch| batch.head.base >= below) {
            self.voters.append(&batch.records).map_err(not_a_batch).context("read", dir)?;
        }
        Ok(())
    }
}

/// A segment that was not read to where the next one begins, or not to its own end, unless that is
/// an unfinished write at the end of the log.
fn damage_in(file: PathBuf, scan: &Scan, next: Option<Offset>) -> Option<Stop> {
    let reason = match (&scan.verdict, next) {
        (Verdict::Damaged(error), _) => error.to_string(),
        (Verdict::Whole, Some(next)) if next != scan.end => {
            format!("the segment ends, and the next one begins at {next}")
        }
        (Verdict::Torn, Some(_)) => "the segment ends inside a batch".to_owned(),
        (Verdict::Whole | Verdict::Torn, _) => return None,
    };
    Some(Stop { at: scan.end, file, position: scan.valid_bytes, reason, is_damage: true })
}

/// What an owner that cuts, deletes or replaces files makes a reader find.
fn has_moved(error: &StorageError) -> bool {
    match error {
        StorageError::Io { source, .. } => matches!(
            source.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
        ),
        // One that is being replaced by a newer one.
        StorageError::Snapshot { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use kraft_model::log::Log;
    use kraft_model::raft::{RaftLog, SnapshotId};
    use kraft_model::{DirectoryId, Epoch, NodeId};

    use super::*;
    use crate::storage::{LogConfig, MetadataLog, VoterNode};

    fn open(dir: &Path) -> MetadataLog {
        let config = LogConfig { segment_bytes: 300, ..LogConfig::default() };
        MetadataLog::open(dir, config).expect("opens").0
    }

    fn append(log: &mut MetadataLog, epoch: i32, value: &str) {
        let records = Records::build(Offset(0), 0, 1, false, [value.as_bytes(); 2].into_iter());
        log.append_as_leader(Epoch(epoch), records);
    }

    fn voters(ids: &[i32]) -> Vec<ReplicaKey> {
        let key = |&id: &i32| ReplicaKey { id: NodeId(id), directory: DirectoryId(id as u128) };
        ids.iter().map(key).collect()
    }

    #[test]
    fn a_log_is_read_as_its_owner_has_it() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        assert_eq!(MetadataView::read(&dir.path().join("none")).expect("absent").end, Offset(0));
        let mut log = open(dir.path());
        log.append_leader_change(Epoch(3), NodeId(1));
        (0..10).for_each(|number| append(&mut log, 3, &format!("value {number}")));
        let view = MetadataView::read(dir.path()).expect("reads");
        assert_eq!((view.start, view.end, view.damage.as_ref()), (Offset(0), log.end(), None));
        assert_eq!(view.batches.len(), 11);
        let of_log = log.read(Offset(0));
        let all: Vec<u8> = view.batches.iter().flat_map(|it| it.records.bytes.to_vec()).collect();
        assert_eq!(all[..of_log.bytes.len()], of_log.bytes[..]);
        log.truncate(Offset(5));
        append(&mut log, 4, "another");
        let view = MetadataView::read(dir.path()).expect("reads");
        assert_eq!((view.end, view.batches.last().map(|it| it.head.epoch)), (Offset(7), Some(4)));
    }

    #[test]
    fn voters_are_those_of_the_snapshot_and_of_what_follows_it() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let nodes = voters(&[1, 2]).into_iter().map(|key| VoterNode { key, endpoints: Vec::new() });
        let nodes: Vec<_> = nodes.collect();
        let snapshots = Snapshots::new(dir.path());
        snapshots.write_bootstrap(&nodes).expect("writes");
        let mut log = open(dir.path());
        append(&mut log, 1, "a");
        log.append_voters(Epoch(1), &voters(&[1, 2, 3]).into_iter().collect());
        append(&mut log, 1, "b");
        let view = MetadataView::read(dir.path()).expect("reads");
        assert_eq!(view.voters_below(Offset(2)), Some(voters(&[1, 2])));
        assert_eq!(view.voters_below(Offset(3)), Some(voters(&[1, 2, 3])));
        let id = SnapshotId { end: Offset(5), epoch: Epoch(1) };
        snapshots.create(id, 1, &nodes[..1]).and_then(|writer| writer.finish()).expect("writes");
        let view = MetadataView::read(dir.path()).expect("reads");
        assert_eq!(view.voters_below(Offset(2)), Some(voters(&[1])), "the snapshot speaks");
    }

    #[test]
    fn a_flipped_bit_is_damage_and_a_torn_end_is_none() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let mut log = open(dir.path());
        (0..10).for_each(|number| append(&mut log, 3, &format!("value {number}")));
        drop(log);
        let bases = segments(dir.path()).expect("lists");
        let last = FileKind::Log.path(dir.path(), bases[bases.len() - 1].0);
        let bytes = std::fs::read(&last).expect("reads");
        std::fs::write(&last, &bytes[..bytes.len() - 1]).expect("writes");
        let view = MetadataView::read(dir.path()).expect("reads");
        assert_eq!((view.end, view.damage), (Offset(18), None));
        let first = FileKind::Log.path(dir.path(), 0);
        let mut bytes = std::fs::read(&first).expect("reads");
        let middle = bytes.len() - 3;
        bytes[middle] ^= 1;
        std::fs::write(&first, bytes).expect("writes");
        let view = MetadataView::read(dir.path()).expect("reads");
        let damage = view.damage.expect("damage");
        assert!(damage.reason.contains("checksum") && damage.at == view.end, "{damage}");
        assert!(view.end < bases[1]);
    }
}
