//! Snapshots of the metadata log: `<end>-<epoch>.checkpoint`, record batches between Kafka's
//! header and footer marks. Written as `.part`, synced, checked, then renamed: a file under its
//! real name is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kraft_model::raft::SnapshotId;
use kraft_model::{Epoch, Offset};

use super::build::{is_snapshot_footer, snapshot_mark};
use super::durable;
use super::error::{Context, StorageError};
use super::read::{not_a_batch, read_at};
use super::records::{BatchError, HEADER, RecordBatch, Records};
use super::voters::{VoterNode, VoterSet, membership_batch, voters_in};

/// Bytes of a snapshot in one answer.
pub const SNAPSHOT_CHUNK: usize = 1 << 20;

/// A batch in a snapshot; the writer's are far smaller.
const MAX_BATCH: usize = 64 << 20;

/// The snapshots in the metadata log's directory. Cheap to clone; everything that it does waits
/// for the device.
#[derive(Clone, Debug)]
pub struct Snapshots {
    dir: Arc<Path>,
}

/// A snapshot that this node makes of its own image.
#[derive(Debug)]
pub struct SnapshotWriter {
    file: File,
    part: PathBuf,
    id: SnapshotId,
    snapshots: Snapshots,
    next: Offset,
    time_ms: i64,
}

/// The batches of a snapshot, marks left out, each with its CRC checked.
#[derive(Debug)]
pub struct SnapshotReader {
    file: File,
    path: PathBuf,
    size: u64,
    position: u64,
    has_ended: bool,
}

impl Snapshots {
    pub(super) fn new(dir: &Path) -> Snapshots {
        Snapshots { dir: Arc::from(dir) }
    }

    pub fn path(&self, id: SnapshotId) -> PathBuf {
        self.dir.join(format!("{:020}-{:010}.checkpoint", id.end.0, id.epoch.0))
    }

    fn part(&self, id: SnapshotId) -> PathBuf {
        let mut name = self.path(id).into_os_string();
        name.push(".part");
        name.into()
    }

    /// Whole snapshots by their names, oldest first.
    ///
    /// # Errors
    ///
    /// The directory cannot be listed.
    pub fn list(&self) -> Result<Vec<SnapshotId>, StorageError> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.dir).context("list", &self.dir)? {
            let name = entry.context("list", &self.dir)?.file_name();
            ids.extend(name.to_str().and_then(parse_name));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Begins a snapshot of the image at `id`, whose last record has the time `time_ms`. `voters`
    /// are those in force at `id`; none where the quorum is a static one.
    ///
    /// # Errors
    ///
    /// The file cannot be made.
    pub fn create(
        &self,
        id: SnapshotId,
        time_ms: i64,
        voters: &[VoterNode],
    ) -> Result<SnapshotWriter, StorageError> {
        let part = self.part(id);
        let file = File::create(&part).context("create", &part)?;
        let snapshots = self.clone();
        let mut writer = SnapshotWriter { file, part, id, snapshots, next: Offset::ZERO, time_ms };
        writer.write(snapshot_mark(Offset::ZERO, id.epoch.0, false, time_ms))?;
        if !voters.is_empty() {
            writer.write(membership_batch(writer.next, id.epoch.0, time_ms, voters))?;
        }
        Ok(writer)
    }

    /// Writes what a quorum is formatted with: the snapshot of an empty log, which says nothing but
    /// who votes (Kafka's bootstrap checkpoint).
    ///
    /// # Errors
    ///
    /// The device's.
    pub(super) fn write_bootstrap(&self, voters: &[VoterNode]) -> Result<(), StorageError> {
        self.create(SnapshotId::default(), 0, voters)?.finish().map(drop)
    }

    /// The voters that the quorum was formatted with, if it is a dynamic one and has no other
    /// snapshot yet.
    ///
    /// # Errors
    ///
    /// As for [`Snapshots::voters`].
    pub(super) fn bootstrap(&self) -> Result<Option<VoterSet>, StorageError> {
        let id = SnapshotId::default();
        if self.path(id).exists() { self.voters(id) } else { Ok(None) }
    }

    /// The voters at a snapshot's end; `None` in a static quorum.
    ///
    /// # Errors
    ///
    /// The snapshot cannot be read.
    pub(super) fn voters(&self, id: SnapshotId) -> Result<Option<VoterSet>, StorageError> {
        let mut reader = self.open(id)?;
        // The marks and what they enclose are control batches; records come after them.
        while let Some(batch) = reader.next_control()? {
            let sets = voters_in(&batch).map_err(|error| reader.damaged(&error.to_string()))?;
            if let Some(set) = sets.into_iter().next_back() {
                return Ok(Some(VoterSet { offset: Offset(id.end.0 - 1), ..set }));
            }
        }
        Ok(None)
    }

    /// Stores a chunk of a snapshot that is being fetched. After the `last` one the file is
    /// checked, synced and put in place.
    ///
    /// # Errors
    ///
    /// [`StorageError::Snapshot`] if the whole is not a snapshot: fetch it anew from the start.
    pub fn store_chunk(
        &self,
        id: SnapshotId,
        position: u64,
        chunk: &[u8],
        last: bool,
    ) -> Result<(), StorageError> {
        let part = self.part(id);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(position == 0);
        let file = options.open(&part).context("open", &part)?;
        let have = file.metadata().context("look at", &part)?.len();
        if have < position {
            let reason = format!("a chunk for byte {position} came when there were {have} bytes");
            return Err(StorageError::Snapshot { path: part, reason });
        }
        file.set_len(position).context("write", &part)?;
        file.write_all_at(chunk, position).context("write", &part)?;
        if last { self.finish(id, &file) } else { Ok(()) }
    }

    fn finish(&self, id: SnapshotId, file: &File) -> Result<(), StorageError> {
        let (part, path) = (self.part(id), self.path(id));
        file.sync_all().map_err(|source| StorageError::Flush { path: part.clone(), source })?;
        SnapshotReader::open(part.clone())?.check()?;
        fs::rename(&part, &path).context("rename", &part)?;
        durable::sync_dir(&self.dir).context("sync", &self.dir)
    }

    /// Opens a snapshot to be loaded.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn open(&self, id: SnapshotId) -> Result<SnapshotReader, StorageError> {
        SnapshotReader::open(self.path(id))
    }

    /// Deletes the snapshots before `id` and what is left of unfinished ones.
    ///
    /// # Errors
    ///
    /// A file cannot be deleted.
    pub fn delete_before(&self, id: SnapshotId) -> Result<(), StorageError> {
        for old in self.list()?.into_iter().filter(|old| *old < id) {
            for path in [self.path(old), self.part(old)] {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(error).context("delete", &path);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The newest snapshot that is whole. Damaged ones are set aside, and named.
    pub(super) fn newest(&self) -> Result<(Option<SnapshotId>, Vec<PathBuf>), StorageError> {
        let mut damaged = Vec::new();
        let bootstrap = SnapshotId::default();
        for id in self.list()?.into_iter().rev().filter(|&id| id != bootstrap) {
            let path = self.path(id);
            match self.open(id)?.check() {
                Ok(()) => return Ok((Some(id), damaged)),
                Err(StorageError::Snapshot { .. }) => {
                    let mut away = path.clone().into_os_string();
                    away.push(".damaged-snapshot");
                    fs::rename(&path, &away).context("rename", &path)?;
                    damaged.push(away.into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok((None, damaged))
    }

    /// A chunk at `position` and whether it is the last; `None` if the file is not there or
    /// shorter.
    pub(super) fn chunk(&self, id: SnapshotId, position: u64) -> Option<(Bytes, bool)> {
        let file = File::open(self.path(id)).ok()?;
        let size = file.metadata().ok()?.len();
        let left = usize::try_from(size.checked_sub(position)?).ok()?;
        let count = left.min(SNAPSHOT_CHUNK);
        let bytes = read_at(&file, position, count).ok()?;
        Some((Bytes::from(bytes), count == left))
    }
}

fn parse_name(name: &str) -> Option<SnapshotId> {
    let (end, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
    let is_ours = end.len() == 20 && epoch.len() == 10;
    let id = SnapshotId { end: Offset(end.parse().ok()?), epoch: Epoch(epoch.parse().ok()?) };
    is_ours.then_some(id)
}

impl SnapshotWriter {
    /// Appends record values as one batch; empty `values` are nothing.
    ///
    /// # Errors
    ///
    /// The device's.
    pub fn append<'a>(
        &mut self,
        values: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), StorageError> {
        self.write(Records::build(self.next, self.id.epoch.0, self.time_ms, false, values))
    }

    fn write(&mut self, records: Records) -> Result<(), StorageError> {
        self.file.write_all(&records.bytes).context("write", &self.part)?;
        self.next = records.end;
        Ok(())
    }

    /// Ends the snapshot and puts it in place, durably.
    ///
    /// # Errors
    ///
    /// The device's.
    pub fn finish(mut self) -> Result<SnapshotId, StorageError> {
        self.write(snapshot_mark(self.next, self.id.epoch.0, true, self.time_ms))?;
        self.snapshots.finish(self.id, &self.file)?;
        Ok(self.id)
    }
}

impl SnapshotReader {
    fn open(path: PathBuf) -> Result<SnapshotReader, StorageError> {
        let file = File::open(&path).context("open", &path)?;
        let size = file.metadata().context("look at", &path)?.len();
        Ok(SnapshotReader { file, path, size, position: 0, has_ended: false })
    }

    /// Reads all of it.
    fn check(mut self) -> Result<(), StorageError> {
        while self.next_batch()?.is_some() {}
        Ok(())
    }

    /// The next batch of records, or `None` behind the last one.
    ///
    /// # Errors
    ///
    /// [`StorageError::Snapshot`] where it is damaged or not whole.
    pub fn next_batch(&mut self) -> Result<Option<Records>, StorageError> {
        loop {
            if self.position == self.size {
                return if self.has_ended { Ok(None) } else { Err(self.damaged("it has no end")) };
            }
            if self.has_ended {
                return Err(self.damaged("there is something behind its end"));
            }
            let records = match self.read() {
                Ok(records) => records,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(self.damaged(&error.to_string()));
                }
                Err(error) => return Err(error).context("read", &self.path),
            };
            self.position += records.bytes.len() as u64;
            let is_mark = records.batches().next().is_some_and(|(_, batch)| batch.is_control());
            if !is_mark {
                return Ok(Some(records));
            }
            self.has_ended = is_snapshot_footer(&records.bytes);
        }
    }

    /// The next batch if it is a control batch: only at the front are there some to look at.
    fn next_control(&mut self) -> Result<Option<Records>, StorageError> {
        if self.position == self.size {
            return Ok(None);
        }
        let records = self.read().map_err(|error| self.damaged(&error.to_string()))?;
        self.position += records.bytes.len() as u64;
        let is_control = records.batches().next().is_some_and(|(_, batch)| batch.is_control());
        Ok(is_control.then_some(records))
    }

    fn read(&self) -> io::Result<Records> {
        let left = (self.size - self.position) as usize;
        if left < HEADER {
            return Err(not_a_batch(BatchError::Short { have: left }));
        }
        let header = read_at(&self.file, self.position, HEADER)?;
        let batch = RecordBatch::read_header(&header).map_err(not_a_batch)?;
        if batch.size > left.min(MAX_BATCH) {
            return Err(not_a_batch(BatchError::Short { have: left }));
        }
        let bytes = read_at(&self.file, self.position, batch.size)?;
        Records::parse(bytes.into()).map_err(not_a_batch)
    }

    fn damaged(&self, reason: &str) -> StorageError {
        let reason = format!("at byte {}: {reason}", self.position);
        StorageError::Snapshot { path: self.path.clone(), reason }
    }
}
