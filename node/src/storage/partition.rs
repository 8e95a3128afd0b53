//! A partition's data log: `<topic>-<partition>/` with its segments and `partition.metadata`.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use kraft_model::epochs::EpochCache;
use kraft_model::log::Log;
use kraft_model::raft::SnapshotId;
use kraft_model::replay::{Extents, RecordedLog};
use kraft_model::replica::{BatchHeader, DataLog};
use kraft_model::{EpochEnd, LeaderEpoch, Offset, TopicId};

use super::durable;
use super::error::{Context, StorageError};
use super::files::OpenFiles;
use super::jobs::{DeleteJob, FlushJob, Flushed};
use super::log::{LogConfig, SegmentedLog};
use super::read::ReadPlan;
use super::records::Records;
use super::recovery::{OpenState, Recovery};
use super::timestamp::TimestampPlan;

/// The log behind a replica's machine. Its methods copy memory or rename files at most; what waits
/// for the device is handed out as a job or plan.
#[derive(Debug)]
pub struct PartitionLog {
    log: SegmentedLog,
    topic: TopicId,
    /// `partition.metadata` was written but not brought to disk; the first flush does.
    metadata_is_new: bool,
}

impl PartitionLog {
    /// Makes an empty log in `dir`, which is created. Nothing is synced: a crash before the first
    /// flush may lose an empty log, which is then made again.
    ///
    /// # Errors
    ///
    /// The directory cannot be made, or belongs to another topic.
    pub fn create(
        dir: &Path,
        topic: TopicId,
        config: LogConfig,
        files: Arc<OpenFiles>,
    ) -> Result<PartitionLog, StorageError> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).context("create", dir);
            }
            Err(_) => {
                let log = PartitionLog::open(dir, topic, config, files, OpenState::default());
                return log.map(|(log, _)| log);
            }
            Ok(()) => {}
        }
        write_topic(dir, topic)?;
        let log = SegmentedLog::empty(dir, config, files, Offset::ZERO);
        Ok(PartitionLog { log, topic, metadata_is_new: true })
    }

    /// Opens the log in `dir` and recovers what needs to be. Waits for the device.
    ///
    /// # Errors
    ///
    /// The directory holds another topic's log ([`StorageError::TopicId`]), or the device fails.
    /// Damage is no error: see [`Recovery`].
    pub fn open(
        dir: &Path,
        topic: TopicId,
        config: LogConfig,
        files: Arc<OpenFiles>,
        state: OpenState,
    ) -> Result<(PartitionLog, Recovery), StorageError> {
        let found = read_topic(dir)?;
        let mismatch = || StorageError::TopicId { dir: dir.to_owned(), expected: topic, found };
        if found.is_some_and(|found| found != topic) {
            return Err(mismatch());
        }
        let (log, recovery) = SegmentedLog::open(dir, config, files, state)?;
        let is_empty = log.start() == log.end() && recovery.damage.is_none();
        // Lost in a crash: together with whatever was in the log, or nobody knows whose log it is.
        let metadata_is_new = found.is_none();
        if metadata_is_new {
            if !is_empty {
                return Err(mismatch());
            }
            write_topic(dir, topic)?;
        }
        Ok((PartitionLog { log, topic, metadata_is_new }, recovery))
    }

    pub fn topic(&self) -> TopicId {
        self.topic
    }

    /// Which log this is: no other one of the process has the number, not even a later one of the same
    /// partition.
    pub fn number(&self) -> u64 {
        self.log.home.log
    }

    /// The first failed write, after which the log takes nothing more: the directory is offline.
    pub fn failure(&self) -> Option<&StorageError> {
        self.log.failure()
    }

    /// Plans to read whole batches from the one that holds `from`: at most `max_bytes`, at least
    /// one, none that begins at or above `below` (the high watermark for consumers, the log's end
    /// for followers). Empty when there is nothing to read, or `from` is below the start.
    ///
    /// # Errors
    ///
    /// A segment cannot be opened.
    pub fn read(&self, from: Offset, max_bytes: usize, below: Offset) -> io::Result<ReadPlan> {
        self.log.read(from, max_bytes, below)
    }

    /// The first record at or after `timestamp`, in milliseconds since the Unix epoch.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> TimestampPlan {
        self.log.offset_for_timestamp(timestamp)
    }

    /// The first record with the largest timestamp.
    pub fn largest_timestamp(&self) -> TimestampPlan {
        self.log.largest_timestamp()
    }

    /// A job that brings everything to disk; report it to [`PartitionLog::flushed_up_to`].
    pub fn flush_job(&mut self) -> FlushJob {
        self.sync_metadata();
        self.log.flush_job()
    }

    /// A job for sealed segments that are not on disk yet. Ask after appends, whatever `log.flush`
    /// says: it bounds what a crash makes the next start scan.
    pub fn sealed_flush_job(&mut self) -> Option<FlushJob> {
        self.log.sealed_flush_job()
    }

    /// A flush job succeeded. After a truncation meanwhile it may count for less than its end.
    pub fn flushed_up_to(&mut self, flushed: Flushed) {
        self.log.flushed_up_to(flushed);
    }

    /// The last flush of an orderly stop: with it the next start needs to read nothing.
    pub fn close_job(&mut self) -> FlushJob {
        self.sync_metadata();
        self.log.close_job()
    }

    /// Where retention would have the log start (whole segments below `high_watermark`).
    ///
    /// # Errors
    ///
    /// A segment's timestamps cannot be read.
    pub fn retention_start(&mut self, now_ms: i64, high_watermark: Offset) -> io::Result<Offset> {
        self.log.retention_start(now_ms, high_watermark)
    }

    /// Files that truncation and retention have set aside.
    pub fn take_garbage(&mut self) -> Option<DeleteJob> {
        self.log.take_garbage()
    }

    /// Renames the directory out of the way and leaves its deletion to the job.
    ///
    /// # Errors
    ///
    /// The directory cannot be renamed.
    pub fn delete(self) -> Result<DeleteJob, StorageError> {
        self.log.into_garbage()
    }

    /// Bytes of batches on disk.
    pub fn size(&self) -> u64 {
        self.log.size()
    }

    pub fn segment_count(&self) -> usize {
        self.log.segment_count()
    }

    pub fn dir(&self) -> &Path {
        self.log.dir()
    }

    /// The leader epoch of the record at `offset`.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.log.epoch_at(offset).map(LeaderEpoch)
    }

    pub fn set_config(&mut self, config: LogConfig) {
        self.log.set_config(config);
    }

    fn sync_metadata(&mut self) {
        if std::mem::take(&mut self.metadata_is_new) {
            self.log.sync_with_next_flush(metadata_path(self.log.dir()));
        }
    }
}

fn metadata_path(dir: &Path) -> std::path::PathBuf {
    dir.join("partition.metadata")
}

fn write_topic(dir: &Path, topic: TopicId) -> Result<(), StorageError> {
    let path = metadata_path(dir);
    fs::write(&path, format!("version: 0\ntopic_id: {topic}\n")).context("write", &path)
}

/// `None` if the file is missing or not whole.
pub(super) fn read_topic(dir: &Path) -> Result<Option<TopicId>, StorageError> {
    let path = metadata_path(dir);
    let content = durable::read_if_there(&path).context("read", &path)?.unwrap_or_default();
    let topic = |line: &str| line.strip_prefix("topic_id: ")?.trim().parse().ok();
    Ok(String::from_utf8_lossy(&content).lines().find_map(topic))
}

impl Log for PartitionLog {
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
        self.log.last_epoch().unwrap_or(0)
    }

    fn end_of_epoch(&self, epoch: i32) -> EpochEnd {
        self.log.end_of_epoch(epoch)
    }

    fn append(&mut self, batch: Records) {
        self.log.append(&batch);
    }

    fn truncate(&mut self, to: Offset) {
        self.log.truncate(to);
    }

    fn restart_at(&mut self, start: Offset) {
        self.log.restart_at(start);
    }
}

impl RecordedLog for PartitionLog {
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
        None
    }

    fn has_failed(&self) -> bool {
        self.log.failure().is_some()
    }
}

impl DataLog for PartitionLog {
    fn append_as_leader(&mut self, epoch: LeaderEpoch, batch: Records) {
        self.log.append_as_leader(epoch.0, &batch);
    }

    fn headers(batch: &Records) -> impl Iterator<Item = BatchHeader> + '_ {
        batch.batches().map(|(_, batch)| batch.header())
    }

    fn headers_from(&self, from: Offset) -> Vec<BatchHeader> {
        self.log.headers_from(from)
    }

    fn advance_start(&mut self, start: Offset) {
        self.log.advance_start(start);
    }
}
