//! The log directories of a broker: which partitions are in them, and their checkpoints.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io, thread};

use kraft_model::log::Log;
use kraft_model::replica::{DataLog, Producers, high_watermark_to_begin_with};
use kraft_model::{Offset, Shipped, TopicPartition};

use super::homes::{Home, doomed_name, io_error, none_twice, partitions_in, remove, topic_id};
use super::offsets::{Key, Mark, Offsets, key};
use crate::storage::{LogConfig, OpenFiles, OpenState, PartitionLog, Recovery, StorageError};

#[cfg(test)]
mod tests;

/// A log directory as the node found it.
#[derive(Clone, Debug)]
pub struct LogDirectory {
    pub path: PathBuf,
    /// The last stop was orderly, so that what is in the logs is on disk.
    pub was_clean: bool,
    /// It holds all that the last process wrote (L6): a kill while the machine stayed up is no loss.
    pub is_intact: bool,
}

/// A directory or a log in it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot {operation} {}", path.display())]
    Io { operation: &'static str, directory: PathBuf, path: PathBuf, source: io::Error },
    #[error("cannot open the log {}", path.display())]
    Log { directory: PathBuf, path: PathBuf, source: Box<StorageError> },
    #[error("{} is no partition.metadata that names a topic id", path.display())]
    Metadata { directory: PathBuf, path: PathBuf },
    #[error("{} and {} are the same partition: take one of them away", first.display(), second.display())]
    Twice { directory: PathBuf, first: PathBuf, second: PathBuf },
}

impl OpenError {
    /// The log directory that is concerned.
    pub fn directory(&self) -> &Path {
        match self {
            OpenError::Io { directory, .. }
            | OpenError::Log { directory, .. }
            | OpenError::Metadata { directory, .. }
            | OpenError::Twice { directory, .. } => directory,
        }
    }
}

/// A partition's log that is ready to be used.
pub(super) struct FoundLog {
    pub topic: Arc<str>,
    pub log: PartitionLog,
    pub high_watermark: Offset,
    pub producers: Producers,
    pub directory: Arc<Path>,
}

/// What opening all logs has shown.
#[derive(Default)]
pub(super) struct Opened {
    pub logs: Vec<(TopicPartition, FoundLog)>,
    /// Damage below what was flushed or committed was found.
    pub is_damaged: bool,
    /// Something is damaged, wherever: the logs do not hold all that was written.
    pub has_damage: bool,
}

pub(super) struct Disks {
    directories: Vec<Directory>,
    files: Arc<OpenFiles>,
}

struct Directory {
    path: Arc<Path>,
    was_clean: bool,
    is_intact: bool,
    /// Partitions in it, for an even spread of new ones.
    count: AtomicUsize,
    offsets: Mutex<Offsets>,
    /// Held by whoever gives a partition's name to another log: the one that had it and the one that
    /// gets it may be on different shards. Taken before `offsets`.
    names: Mutex<()>,
}

impl Disks {
    pub fn new(directories: Vec<LogDirectory>, open_files: usize) -> Result<Disks, OpenError> {
        let open = |LogDirectory { path, was_clean, is_intact }| {
            fs::create_dir_all(&path).map_err(|source| io_error("create", &path, &path, source))?;
            let offsets = Offsets::read(&path)?;
            let (count, offsets) = (AtomicUsize::new(0), Mutex::new(offsets));
            let names = Mutex::default();
            Ok(Directory { path: path.into(), was_clean, is_intact, count, offsets, names })
        };
        let directories = directories.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Disks { directories, files: OpenFiles::new(open_files) })
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().map(|directory| &*directory.path)
    }

    /// Opens and recovers every log, several at a time. Waits for the device.
    pub fn open_all(&self, config: LogConfig, threads: usize) -> Result<Opened, OpenError> {
        let mut homes = Vec::new();
        for directory in &self.directories {
            homes.extend(partitions_in(&directory.path)?.into_iter().map(|home| (directory, home)));
        }
        none_twice(homes.iter().map(|(_, home)| home))?;
        let next = AtomicUsize::new(0);
        let work = || -> Result<Opened, OpenError> {
            let mut opened = Opened::default();
            while let Some((directory, home)) = homes.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (id, found, recovery) = self.open(directory, home, config)?;
                opened.has_damage |= recovery.damage.is_some();
                opened.is_damaged |= recovery.damage.is_some_and(|damage| {
                    damage.below_recovery_point || damage.below_high_watermark
                });
                opened.logs.push((id, found));
            }
            Ok(opened)
        };
        let parts: Vec<_> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join()).collect()
        });
        let mut all = Opened::default();
        for part in parts {
            let part = part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            all.is_damaged |= part.is_damaged;
            all.has_damage |= part.has_damage;
            all.logs.extend(part.logs);
        }
        let mut doubted = self.directories.iter().filter(|directory| !directory.is_intact);
        doubted.try_for_each(Directory::forget_high_watermarks)?;
        Ok(all)
    }

    fn open(
        &self,
        directory: &Directory,
        home: &Home,
        config: LogConfig,
    ) -> Result<(TopicPartition, FoundLog, Recovery), OpenError> {
        let state = directory.state_of(home);
        let failed = |source| OpenError::Log {
            directory: directory.path.to_path_buf(),
            path: home.path.clone(),
            source: Box::new(source),
        };
        let files = Arc::clone(&self.files);
        let (log, recovery) =
            PartitionLog::open(&home.path, home.id.topic, config, files, state).map_err(failed)?;
        directory.lock().hand_over(key(&home.topic, home.id), log.number());
        report(&home.path, &recovery);
        directory.count.fetch_add(1, Ordering::Relaxed);
        let found = FoundLog {
            topic: Arc::clone(&home.topic),
            producers: log.producers_at(log.end()),
            high_watermark: high_watermark_to_begin_with(
                Shipped,
                state.high_watermark,
                log.start(),
                directory.is_intact,
            ),
            log,
            directory: Arc::clone(&directory.path),
        };
        Ok((home.id, found, recovery))
    }

    /// Makes the directory of a new partition, where the fewest are. Nothing of it is on disk yet.
    pub fn create(
        &self,
        topic: &Arc<str>,
        id: TopicPartition,
        config: LogConfig,
    ) -> Result<FoundLog, OpenError> {
        let directory = self.directories.iter().min_by_key(|one| one.count.load(Ordering::Relaxed));
        let directory = directory.ok_or_else(|| {
            let none = io::Error::new(io::ErrorKind::NotFound, "there is no log directory");
            io_error("create a log in", Path::new(""), Path::new(""), none)
        })?;
        let path = directory.path.join(format!("{topic}-{}", id.partition));
        let _alone = directory.names();
        directory.make_way(&path, id)?;
        directory.forget_the_namesake(&key(topic, id))?;
        let files = Arc::clone(&self.files);
        let log = PartitionLog::create(&path, id.topic, config, files).map_err(|source| {
            let directory = directory.path.to_path_buf();
            OpenError::Log { directory, path: path.clone(), source: source.into() }
        })?;
        directory.lock().hand_over(key(topic, id), log.number());
        directory.count.fetch_add(1, Ordering::Relaxed);
        Ok(FoundLog {
            topic: Arc::clone(topic),
            log,
            high_watermark: Offset::ZERO,
            producers: Producers::default(),
            directory: Arc::clone(&directory.path),
        })
    }

    /// Takes a partition's directory out of the way at once, and deletes it when there is time.
    pub fn delete(&self, log: PartitionLog, topic: &Arc<str>, id: TopicPartition) {
        let path = log.dir().to_path_buf();
        let directory = self.directories.iter().find(|one| path.parent() == Some(&*one.path));
        let _alone = directory.map(Directory::names);
        let is_ours = path.parent().map(|parent| topic_id(parent, &path));
        if !matches!(is_ours, Some(Ok(Some(topic))) if topic == id.topic) {
            // A newer topic of the same name has taken the place.
            return;
        }
        if let Some(directory) = directory {
            directory.count.fetch_sub(1, Ordering::Relaxed);
            directory.lock().forget(&key(topic, id));
        }
        match log.delete() {
            Ok(job) => drop(tokio::task::spawn_blocking(move || {
                if let Err(error) = job.run() {
                    tracing::warn!(path = %path.display(), %error, "cannot delete a partition");
                }
            })),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot delete a partition")
            }
        }
    }

    /// Writes the checkpoints with these marks in. Waits for the device.
    pub fn checkpoint(&self, marks: Vec<Mark>) -> Result<(), OpenError> {
        for directory in &self.directories {
            let mut offsets = directory.lock();
            let mut is_changed = false;
            for mark in marks.iter().filter(|mark| mark.directory == directory.path) {
                offsets.note(mark);
                is_changed = true;
            }
            if is_changed {
                directory.write(&mut offsets)?;
            }
        }
        Ok(())
    }
}

impl Directory {
    fn lock(&self) -> std::sync::MutexGuard<'_, Offsets> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> std::sync::MutexGuard<'_, ()> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets aside what has the name of a log that is to be made: of a topic that was deleted while this
    /// broker was away or that its own shard has yet to delete, or of a creation that was cut short.
    fn make_way(&self, path: &Path, id: TopicPartition) -> Result<(), OpenError> {
        let failed = |operation| move |source| io_error(operation, &self.path, path, source);
        if !fs::exists(path).map_err(failed("look for"))? {
            return Ok(());
        }
        let old = topic_id(&self.path, path)?.unwrap_or_default();
        let doomed = path.with_file_name(doomed_name(TopicPartition { topic: old, ..id }));
        match fs::rename(path, &doomed) {
            // Whoever was faster has done the same.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("set aside")(error)),
            Ok(()) => {
                drop(tokio::task::spawn_blocking(move || remove(&doomed)));
                Ok(())
            }
        }
    }

    fn write(&self, offsets: &mut Offsets) -> Result<(), OpenError> {
        offsets.write(&self.path).map_err(|source| OpenError::Log {
            directory: self.path.to_path_buf(),
            path: self.path.to_path_buf(),
            source: source.into(),
        })
    }

    /// Before a log is made: what the checkpoints say of an earlier topic of this name is gone, or a
    /// process that begins after a kill would take it for the new one's.
    fn forget_the_namesake(&self, key: &Key) -> Result<(), OpenError> {
        let mut offsets = self.lock();
        offsets.forget(key);
        match offsets.is_on_disk(key) {
            true => self.write(&mut offsets),
            false => Ok(()),
        }
    }

    /// Checkpoints that nobody believes any more are gone before this process registers: the next one
    /// may be intact, and would believe what it finds.
    fn forget_high_watermarks(&self) -> Result<(), OpenError> {
        let mut offsets = self.lock();
        offsets.forget_high_watermarks();
        self.write(&mut offsets)
    }

    fn state_of(&self, home: &Home) -> OpenState {
        let found = self.lock().of(&key(&home.topic, home.id));
        OpenState { clean: self.was_clean, scan_all: false, ..found }
    }
}

/// Tells the operator what recovery has found and done; a log that was whole is no news.
fn report(path: &Path, recovery: &Recovery) {
    let log = path.display();
    if let Some(damage) = &recovery.damage {
        tracing::error!(?damage, "a log is damaged; what is missing will be fetched again");
    }
    if recovery.truncated_bytes > 0 {
        let bytes = recovery.truncated_bytes;
        tracing::warn!(%log, bytes, "an unfinished write at the end of a log was cut off");
    }
    if recovery.indexes_rebuilt > 0 {
        let indexes = recovery.indexes_rebuilt;
        tracing::warn!(%log, indexes, "indexes did not fit their segments and were made anew");
    }
}
