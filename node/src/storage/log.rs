//! A log of segments, as both kinds of log use it: append, read, truncate, drop the front.
//!
//! ```text
//!   start                                flushed            end
//!     │  00..000.log   00..420.log  00..900.log (active)     │
//!     └──[ sealed ]────[ sealed ]────[ on disk ···│ page cache ]
//! ```
//!
//! Everything here returns after a memory copy into the page cache or a rename; what waits for the
//! device leaves as a job ([`FlushJob`](super::FlushJob), [`DeleteJob`](super::DeleteJob)).

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use kraft_model::epochs::EpochCache;
use kraft_model::{EpochEnd, Offset};

use super::error::StorageError;
use super::files::{FileKind, OpenFiles};
use super::jobs::FlushLimit;
use super::read::{Floor, ReadPlan};
use super::records::{RecordBatch, Records, STAMP};
use super::segment::{ActiveSegment, Home, Segment};

/// A topic's settings as far as its logs need them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// `segment.bytes`. A batch that alone is larger has a segment of its own.
    pub segment_bytes: u64,
    /// `segment.ms`: between the first batch of a segment and one that would be its last.
    pub segment_ms: i64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `retention.ms`; -1: for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; -1: without bound.
    pub retention_bytes: i64,
    /// Bring to disk what recovery found, so that [`kraft_model::log::Log::flushed`] is the end:
    /// where acknowledgements rest on flushed records.
    pub sync_on_open: bool,
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            index_interval_bytes: 4096,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            sync_on_open: false,
        }
    }
}

/// Positions in a segment and in index entries are 31 bits wide.
const MAX_SEGMENT_BYTES: u64 = i32::MAX as u64;

/// Bytes at the log's end that count as still in the page cache.
const TAIL_BYTES: u64 = 16 << 20;

/// One log directory's segments.
#[derive(Debug)]
pub struct SegmentedLog {
    pub(super) home: Home,
    pub(super) config: LogConfig,
    pub(super) sealed: Vec<Segment>,
    pub(super) active: ActiveSegment,
    pub(super) start: Offset,
    pub(super) flushed: Offset,
    pub(super) epochs: EpochCache,
    /// The leader epoch checkpoint is behind.
    pub(super) epochs_changed: bool,
    /// Files came or went since the directory was last synced.
    pub(super) names_changed: bool,
    /// Files that were set aside for deletion.
    pub(super) garbage: Vec<PathBuf>,
    pub(super) garbage_count: u32,
    pub(super) extra_sync: Option<PathBuf>,
    pub(super) flush_limit: FlushLimit,
    failure: OnceLock<StorageError>,
}

impl SegmentedLog {
    /// A log without files yet, starting at `start`, in the directory `dir`.
    pub(super) fn empty(
        dir: &Path,
        config: LogConfig,
        files: Arc<OpenFiles>,
        start: Offset,
    ) -> SegmentedLog {
        let home = Home { dir: Arc::from(dir), log: files.new_log(), files };
        SegmentedLog {
            home,
            config,
            sealed: Vec::new(),
            active: ActiveSegment::new(start),
            start,
            flushed: start,
            epochs: EpochCache::default(),
            epochs_changed: false,
            names_changed: false,
            garbage: Vec::new(),
            garbage_count: 0,
            extra_sync: None,
            flush_limit: FlushLimit::default(),
            failure: OnceLock::new(),
        }
    }

    pub fn start(&self) -> Offset {
        self.start
    }

    pub fn end(&self) -> Offset {
        self.active.end
    }

    /// Everything below is on disk.
    pub fn flushed(&self) -> Offset {
        self.flushed
    }

    pub fn dir(&self) -> &Path {
        &self.home.dir
    }

    /// Bytes of the log's batches on disk.
    pub fn size(&self) -> u64 {
        self.sealed.iter().map(|segment| segment.size).sum::<u64>() + self.active.size
    }

    /// Where the first segment begins, at the log's start or before it.
    pub(super) fn first_base(&self) -> Offset {
        self.sealed.first().map_or(self.active.base, |first| first.base)
    }

    pub fn segment_count(&self) -> usize {
        self.sealed.len() + 1
    }

    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// New settings; they hold from the next append on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// The first failed write, after which the log takes nothing more.
    pub fn failure(&self) -> Option<&StorageError> {
        self.failure.get()
    }

    pub(super) fn fail(&self, error: StorageError) {
        // Only the first one says what happened; later ones follow from it.
        let _ = self.failure.set(error);
    }

    /// Which epoch starts where.
    pub fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    pub fn last_epoch(&self) -> Option<i32> {
        self.epochs.last()
    }

    pub fn epoch_at(&self, offset: Offset) -> Option<i32> {
        self.epochs.epoch_at(offset)
    }

    pub fn end_of_epoch(&self, epoch: i32) -> EpochEnd {
        self.epochs.end_of(epoch, self.start, self.end())
    }

    /// Appends batches as they are: one write, whatever their number.
    pub fn append(&mut self, records: &Records) {
        if records.is_empty() || self.failure.get().is_some() {
            return;
        }
        if records.base != self.end() {
            let path = self.home.path(FileKind::Log, self.active.base);
            let reason = format!("offset {} follows {}", records.base, self.end());
            let source = io::Error::new(io::ErrorKind::InvalidInput, reason);
            self.fail(StorageError::Append { path, position: self.active.size, source });
            return;
        }
        let Some(first) = records.batches().next().map(|(_, batch)| batch) else { return };
        self.roll_if_full(records.bytes.len() as u64, &first, records.end);
        let position = self.active.size;
        if !self.write(&mut [IoSlice::new(&records.bytes)], position) {
            return;
        }
        for (at, batch) in records.batches() {
            self.note(position + at as u64, &batch);
        }
        self.active.note_append(records.base, position);
        self.active.spill_if_due(&self.home);
    }

    /// Appends batches with the offsets from the log's end on and `epoch`. The payload is neither
    /// copied nor changed: the new front of each header is written before the rest of it.
    pub fn append_as_leader(&mut self, epoch: i32, records: &Records) {
        for (at, batch) in records.batches() {
            if self.failure.get().is_some() {
                return;
            }
            let base = self.end();
            let batch =
                RecordBatch { base, leader_epoch: kraft_model::LeaderEpoch(epoch), ..batch };
            self.roll_if_full(batch.size as u64, &batch, batch.end());
            let position = self.active.size;
            let stamp = batch.stamped(base, epoch);
            let rest = &records.bytes[at + STAMP..at + batch.size];
            if !self.write(&mut [IoSlice::new(&stamp), IoSlice::new(rest)], position) {
                return;
            }
            self.note(position, &batch);
            self.active.note_append(base, position);
            self.active.spill_if_due(&self.home);
        }
    }

    fn note(&mut self, position: u64, batch: &RecordBatch) {
        self.epochs_changed |= self.epochs.note(batch.leader_epoch.0, batch.base);
        self.active.note(position, batch, self.config.index_interval_bytes);
    }

    /// Writes to the active segment. If it fails, what was written of it is cut off again.
    fn write(&mut self, pieces: &mut [IoSlice<'_>], position: u64) -> bool {
        let is_new = self.active.size == 0;
        let written = self.home.create(FileKind::Log, self.active.base).and_then(|file| {
            write_all_vectored(pieces, position, |pieces, at| {
                Ok(rustix::io::pwritev(&file, pieces, at)?)
            })
            .inspect_err(|_| {
                // The position is what counts; a longer file is cut again at the next start.
                let _ = file.set_len(position);
            })
        });
        self.names_changed |= is_new;
        match written {
            Ok(()) => true,
            Err(source) => {
                let path = self.home.path(FileKind::Log, self.active.base);
                self.fail(StorageError::Append { path, position, source });
                false
            }
        }
    }

    fn roll_if_full(&mut self, bytes: u64, first: &RecordBatch, end: Offset) {
        let active = &self.active;
        if active.size == 0 {
            return;
        }
        let limit = self.config.segment_bytes.min(MAX_SEGMENT_BYTES);
        let is_old = active
            .first_timestamp
            .is_some_and(|time| first.max_timestamp.saturating_sub(time) > self.config.segment_ms);
        let is_wide = end.since(active.base) > i64::from(i32::MAX);
        if active.size + bytes > limit || is_old || is_wide {
            self.roll();
        }
    }

    /// Seals the active segment and begins another one at the log's end.
    pub fn roll(&mut self) {
        if self.active.size == 0 {
            return;
        }
        let next = ActiveSegment::new(self.end());
        let full = std::mem::replace(&mut self.active, next);
        self.sealed.push(full.seal(&self.home));
        self.names_changed = true;
    }

    /// Plans to read whole batches from the one that holds `from`: at most `max_bytes`, at least
    /// one, none that begins at or above `below`.
    ///
    /// # Errors
    ///
    /// A segment cannot be opened.
    pub fn read(&self, from: Offset, max_bytes: usize, below: Offset) -> io::Result<ReadPlan> {
        if from >= self.end() || from >= below || from < self.start {
            return Ok(ReadPlan::nothing(from));
        }
        let (segment, floor) = self.floor(from);
        let file = self.home.open(FileKind::Log, segment.base)?;
        let is_tail =
            segment.base == self.active.base && floor.position + TAIL_BYTES >= self.active.size;
        Ok(ReadPlan::new(file, segment.size, floor, from).bounded(below, max_bytes, is_tail))
    }

    /// The segment that holds `offset`, and where in it to look.
    pub(super) fn floor(&self, offset: Offset) -> (Segment, Floor) {
        if offset >= self.active.base {
            return (self.active.as_segment(), self.active.floor(&self.home, offset));
        }
        let after = self.sealed.partition_point(|segment| segment.base <= offset);
        let segment = self.sealed[after.saturating_sub(1)];
        (segment, segment.floor(&self.home, offset))
    }
}

/// Writes all of `pieces` at `position` through `write`, which may write less at a time.
pub(super) fn write_all_vectored(
    mut pieces: &mut [IoSlice<'_>],
    mut position: u64,
    mut write: impl FnMut(&[IoSlice<'_>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    while !pieces.is_empty() {
        match write(pieces, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                position += count as u64;
                IoSlice::advance_slices(&mut pieces, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
