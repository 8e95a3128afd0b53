//! Open files, at most so many: a broker with 10,000 partitions has 30,000 files and must not hold
//! a descriptor for each.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A bounded cache of open files, shared by the logs of a process. Handles are reference counted:
/// one that left the cache, or whose file was deleted, serves its holders to the end.
#[derive(Debug)]
pub struct OpenFiles {
    capacity: usize,
    next_log: AtomicU64,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    open: HashMap<FileKey, Entry>,
    /// Second-chance order. Keys of removed files stay until their turn, so its length, not the
    /// map's, is what is bounded.
    order: VecDeque<FileKey>,
}

#[derive(Debug)]
struct Entry {
    file: Arc<File>,
    used: bool,
}

/// A file of a log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct FileKey {
    pub log: u64,
    pub base: i64,
    pub kind: FileKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum FileKind {
    Log,
    OffsetIndex,
    TimeIndex,
}

impl FileKind {
    pub const ALL: [FileKind; 3] = [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex];

    pub fn suffix(self) -> &'static str {
        match self {
            FileKind::Log => "log",
            FileKind::OffsetIndex => "index",
            FileKind::TimeIndex => "timeindex",
        }
    }

    pub fn path(self, dir: &Path, base: i64) -> PathBuf {
        dir.join(format!("{base:020}.{}", self.suffix()))
    }
}

impl OpenFiles {
    /// A cache of at most `capacity` files (`open_files`); at least one.
    pub fn new(capacity: usize) -> Arc<OpenFiles> {
        Arc::new(OpenFiles {
            capacity: capacity.max(1),
            next_log: AtomicU64::new(0),
            cache: Mutex::default(),
        })
    }

    /// Files that the cache holds open now.
    pub fn open_count(&self) -> usize {
        self.lock().open.len()
    }

    /// A name for a log, so that its files are told from those of others.
    pub(super) fn new_log(&self) -> u64 {
        self.next_log.fetch_add(1, Ordering::Relaxed)
    }

    /// The file for reading and writing, opened if it is not; made if `create` and it is absent.
    pub(super) fn open(&self, key: FileKey, dir: &Path, create: bool) -> io::Result<Arc<File>> {
        if let Some(entry) = self.lock().open.get_mut(&key) {
            entry.used = true;
            return Ok(entry.file.clone());
        }
        let path = key.kind.path(dir, key.base);
        let file =
            OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)?;
        let file = Arc::new(file);
        let entry = Entry { file: file.clone(), used: false };
        let mut cache = self.lock();
        let evicted = cache.make_room(self.capacity);
        if cache.open.insert(key, entry).is_none() {
            cache.order.push_back(key);
        }
        drop(cache);
        drop(evicted); // closing a file may wait; not under the lock
        Ok(file)
    }

    /// Forgets a file that was renamed or deleted.
    pub(super) fn forget(&self, key: FileKey) {
        let closed = self.lock().open.remove(&key);
        drop(closed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        // The map is whole between any two statements that change it.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn make_room(&mut self, capacity: usize) -> Vec<Entry> {
        let mut evicted = Vec::new();
        while self.order.len() >= capacity {
            let Some(oldest) = self.order.pop_front() else { break };
            match self.open.get_mut(&oldest) {
                Some(entry) if entry.used => {
                    entry.used = false;
                    self.order.push_back(oldest);
                }
                Some(_) => evicted.extend(self.open.remove(&oldest)),
                None => {}
            }
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_stays_bounded_and_handles_outlive_their_eviction() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let files = OpenFiles::new(4);
        let key = |base| FileKey { log: 0, base, kind: FileKind::Log };
        let first = files.open(key(0), dir.path(), true).expect("opens");
        for base in 1..100 {
            files.open(key(base), dir.path(), true).expect("opens");
            if base % 3 == 0 {
                files.forget(key(base));
            }
            assert!(files.open_count() <= 4);
        }
        rustix::io::pwrite(&first, b"still mine", 0).expect("the handle still writes");
    }
}
