//! What waits for the device, apart from the log so that it runs where waiting is allowed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kraft_model::Offset;

use super::checkpoint;
use super::durable;
use super::error::{Context, StorageError};
use super::files::FileKind;
use super::log::SegmentedLog;
use super::producers::{self, SnapshotSource};

/// The end of the name of a directory that is to be deleted.
pub(super) const DELETED_DIR: &str = "-delete";

/// Bytes in a file's name.
const MAX_FILE_NAME: usize = 255;

/// Bytes of the active segment from which on a producer snapshot is worth its fsync at a stop.
const SNAPSHOT_WORTH: u64 = 4 << 20;

/// Brings a log to disk up to where it ended when the job was made. Report success to the log's
/// `flushed_up_to`; after a failure what is on the device is unknown (a second fsync would claim
/// success), so the process must stop.
#[derive(Debug)]
pub struct FlushJob {
    pub(super) end: Offset,
    pub(super) dir: Arc<Path>,
    files: Vec<Result<(PathBuf, Arc<File>), StorageError>>,
    sync_dir: bool,
    epochs: Option<String>,
    /// Producer snapshots to be made where segments were sealed.
    producers: Vec<(Offset, SnapshotSource)>,
    limit: FlushLimit,
}

/// How much of a running flush still counts: a truncation lowers it, because what is appended
/// behind the cut is not what the job brings to disk. Shared by a log and its jobs.
#[derive(Clone, Debug)]
pub(super) struct FlushLimit(Arc<AtomicI64>);

impl Default for FlushLimit {
    fn default() -> FlushLimit {
        FlushLimit(Arc::new(AtomicI64::new(i64::MAX)))
    }
}

impl FlushLimit {
    pub fn lower(&self, to: Offset) {
        self.0.fetch_min(to.0, Ordering::SeqCst);
    }

    pub fn covers(&self, offset: Offset) -> bool {
        offset.0 <= self.0.load(Ordering::SeqCst)
    }

    /// For a new job. The limit of jobs under way holds for it too, which errs on the safe side.
    fn for_job(&mut self) -> FlushLimit {
        if Arc::strong_count(&self.0) == 1 {
            *self = FlushLimit::default();
        }
        self.clone()
    }
}

/// A flush job's success, for [`SegmentedLog::flushed_up_to`].
#[derive(Debug)]
pub struct Flushed {
    end: Offset,
    limit: FlushLimit,
}

impl FlushJob {
    /// Where the log is on disk once this succeeded.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Waits for the device.
    ///
    /// # Errors
    ///
    /// [`StorageError::Flush`], after which the log must not be used any more.
    pub fn run(self) -> Result<Flushed, StorageError> {
        for file in self.files {
            let (path, file) = file?;
            file.sync_data().map_err(|source| StorageError::Flush { path, source })?;
        }
        if let Some(text) = self.epochs {
            let path = checkpoint::epochs_path(&self.dir);
            durable::replace_file(&path, text.as_bytes())
                .map_err(|source| StorageError::Flush { path, source })?;
        }
        for (at, source) in self.producers {
            producers::write_snapshot(at, &source, &self.limit)?;
        }
        if self.sync_dir {
            durable::sync_dir(&self.dir)
                .map_err(|source| StorageError::Flush { path: self.dir.to_path_buf(), source })?;
        }
        Ok(Flushed { end: self.end, limit: self.limit })
    }
}

/// Deletes files that a log has set aside. Freeing a large file takes its time.
#[derive(Debug)]
pub struct DeleteJob {
    files: Vec<PathBuf>,
    dir: Option<PathBuf>,
}

impl DeleteJob {
    /// # Errors
    ///
    /// The first file that could not be deleted; the others are.
    pub fn run(self) -> Result<(), StorageError> {
        let mut result = Ok(());
        for path in self.files {
            if let Err(source) = fs::remove_file(&path)
                && source.kind() != io::ErrorKind::NotFound
                && result.is_ok()
            {
                result = Err(StorageError::Io { operation: "delete", path, source });
            }
        }
        match self.dir {
            Some(dir) => result.and(fs::remove_dir_all(&dir).context("delete", &dir)),
            None => result,
        }
    }
}

impl SegmentedLog {
    /// A job that brings everything to disk.
    pub fn flush_job(&mut self) -> FlushJob {
        self.flush_job_to(self.end())
    }

    /// A job for the sealed segments that are not on disk yet, if there are any. To be asked for
    /// after appends, so that a stop or crash leaves one segment to scan and not many.
    pub fn sealed_flush_job(&mut self) -> Option<FlushJob> {
        let base = self.active.base;
        (base > self.flushed).then(|| self.flush_job_to(base))
    }

    fn flush_job_to(&mut self, end: Offset) -> FlushJob {
        let mut files: Vec<_> = std::mem::take(&mut self.extra_sync)
            .into_iter()
            .map(|path| {
                let file = File::open(&path).map(Arc::new);
                file.map(|file| (path.clone(), file))
                    .map_err(|source| StorageError::Flush { path, source })
            })
            .collect();
        let mut sealed_ends: Vec<Offset> = Vec::new();
        let ends = self.sealed.iter().skip(1).map(|s| s.base).chain([self.active.base]);
        for (segment, segment_end) in self.sealed.iter().zip(ends) {
            if segment_end > self.flushed {
                files.extend(self.handles(segment.base, &FileKind::ALL));
                sealed_ends.push(segment_end);
            }
        }
        if end > self.active.base && self.active.size > 0 {
            files.extend(self.handles(self.active.base, &[FileKind::Log]));
        }
        let producers =
            sealed_ends.into_iter().map(|at| (at, SnapshotSource::below(self, at))).collect();
        let epochs = std::mem::take(&mut self.epochs_changed)
            .then(|| checkpoint::epochs_text(self.epochs.entries()));
        FlushJob {
            end,
            dir: self.home.dir.clone(),
            files,
            sync_dir: std::mem::take(&mut self.names_changed),
            epochs,
            producers,
            limit: self.flush_limit.for_job(),
        }
    }

    fn handles(
        &self,
        base: Offset,
        kinds: &[FileKind],
    ) -> Vec<Result<(PathBuf, Arc<File>), StorageError>> {
        let open = |kind: &FileKind| {
            let path = self.home.path(*kind, base);
            match self.home.open(*kind, base) {
                Ok(file) => Some(Ok((path, file))),
                // A small segment has no index.
                Err(error) if error.kind() == io::ErrorKind::NotFound && *kind != FileKind::Log => {
                    None
                }
                Err(source) => Some(Err(StorageError::Flush { path, source })),
            }
        };
        kinds.iter().filter_map(open).collect()
    }

    /// A flush job succeeded. [`SegmentedLog::flushed`] stays behind the job's end if there was a
    /// truncation meanwhile; then it takes another job.
    pub fn flushed_up_to(&mut self, flushed: Flushed) {
        let end = Offset(flushed.end.0.min(flushed.limit.0.load(Ordering::SeqCst)));
        self.flushed = self.flushed.max(end.min(self.end()));
    }

    /// Files to be deleted, if any.
    pub fn take_garbage(&mut self) -> Option<DeleteJob> {
        (!self.garbage.is_empty())
            .then(|| DeleteJob { files: std::mem::take(&mut self.garbage), dir: None })
    }

    /// Renames the log's directory, so that its name is free, and leaves the rest to the job.
    pub(super) fn into_garbage(self) -> Result<DeleteJob, StorageError> {
        let bases = self.sealed.iter().map(|segment| segment.base).chain([self.active.base]);
        for key in bases.flat_map(|base| FileKind::ALL.map(|kind| self.home.key(kind, base))) {
            self.home.files.forget(key);
        }
        let dir = self.home.dir.to_path_buf();
        let suffix = format!(".{}{DELETED_DIR}", uuid::Uuid::new_v4().simple());
        // Topic names are ASCII; one that is as long as allowed must give way to the suffix.
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let kept: String = name.chars().take(MAX_FILE_NAME - suffix.len()).collect();
        let away = dir.with_file_name(kept + &suffix);
        fs::rename(&dir, &away).context("rename", &dir)?;
        Ok(DeleteJob { files: Vec::new(), dir: Some(away) })
    }

    /// The job of an orderly stop: everything, with the indexes, and the producers if reading
    /// them from the segment would take long.
    pub fn close_job(&mut self) -> FlushJob {
        let end = self.end();
        let spilled = self.active.finish(&self.home);
        let mut job = self.flush_job();
        if self.active.size > 0 {
            job.files.extend(self.handles(self.active.base, &FileKind::ALL));
            if let Err(source) = spilled {
                let path = self.home.path(FileKind::OffsetIndex, self.active.base);
                job.files.push(Err(StorageError::Flush { path, source }));
            }
        }
        if self.active.size > SNAPSHOT_WORTH {
            job.producers.push((end, SnapshotSource::below(self, end)));
        }
        job
    }

    /// Another file of the directory that the next flush is to bring to disk.
    pub(super) fn sync_with_next_flush(&mut self, path: PathBuf) {
        self.extra_sync = Some(path);
    }
}
