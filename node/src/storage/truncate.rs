//! What goes away at a log's end, and all of it: truncation, and a new beginning.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use kraft_model::Offset;

use super::error::StorageError;
use super::files::FileKind;
use super::log::SegmentedLog;
use super::producers;
use super::read::locate;
use super::segment::{ActiveSegment, Home};

/// The end of the name of a first segment that takes the place of all others.
pub(super) const BEGUN: &str = ".begun";

/// The file with which a log begins anew, until the others are out of the way.
pub(super) fn begun_path(home: &Home, start: Offset) -> PathBuf {
    let mut name = home.path(FileKind::Log, start).into_os_string();
    name.push(BEGUN);
    name.into()
}

impl SegmentedLog {
    /// Drops everything at and above `to`; a batch that holds `to` goes as a whole. If the log starts
    /// inside that one, it goes on empty at `to`: offsets that were deleted are not given away again.
    pub fn truncate(&mut self, to: Offset) {
        if to >= self.end() || self.failure().is_some() {
            return;
        }
        let to = to.max(self.start);
        if let Err(source) = self.try_truncate(to) {
            let path = self.home.path(FileKind::Log, self.active.base);
            self.fail(StorageError::Io { operation: "truncate", path, source });
        }
        if self.end() < self.start {
            return self.restart_at(to);
        }
        self.flushed = self.flushed.min(self.end());
        self.epochs_changed |= self.epochs.truncate(self.end());
        self.flush_limit.lower(self.end());
        producers::remove_snapshots_above(&self.home.dir, self.end());
    }

    fn try_truncate(&mut self, to: Offset) -> io::Result<()> {
        while self.active.base >= to {
            let Some(previous) = self.sealed.pop() else { break };
            self.set_aside(self.active.base)?;
            self.active = ActiveSegment::load(
                &self.home,
                previous.base,
                previous.size,
                self.config.index_interval_bytes,
            )?
            .0;
        }
        if self.active.end <= to {
            return Ok(());
        }
        let file = self.home.open(FileKind::Log, self.active.base)?;
        let floor = self.active.floor(&self.home, to);
        let position = locate(&file, self.active.size, floor, to)?;
        file.set_len(position)?;
        self.active.truncate_indexes(&self.home, to)?;
        let interval = self.config.index_interval_bytes;
        // What is in memory of the indexes goes with the old state; `load` walks what they lack.
        self.active.spill(&self.home)?;
        self.active = ActiveSegment::load(&self.home, self.active.base, position, interval)?.0;
        Ok(())
    }

    /// Drops everything and goes on, empty, at `start`.
    pub fn restart_at(&mut self, start: Offset) {
        if self.failure().is_some() {
            return;
        }
        let bases: Vec<_> = self.sealed.iter().map(|segment| segment.base).collect();
        let bases = bases.into_iter().chain([self.active.base]);
        let begun = File::create(begun_path(&self.home, start));
        if let Err(source) = begun.and_then(|_| self.replace_segments(bases, start)) {
            let path = self.home.path(FileKind::Log, start);
            self.fail(StorageError::Io { operation: "restart the log at", path, source });
            return;
        }
        self.sealed.clear();
        self.active = ActiveSegment::new(start);
        (self.start, self.flushed) = (start, start);
        self.epochs.clear();
        self.flush_limit.lower(Offset::ZERO);
        producers::remove_snapshots_above(&self.home.dir, Offset(-1));
        (self.epochs_changed, self.names_changed) = (true, true);
    }

    /// The file for `start` is there already, under another name: whoever is killed in between leaves
    /// what the next process completes, and never a log without any segment. The name is what
    /// remembers the start.
    pub(super) fn replace_segments(
        &mut self,
        mut bases: impl Iterator<Item = Offset>,
        start: Offset,
    ) -> io::Result<()> {
        bases.try_for_each(|base| self.set_aside(base))?;
        fs::rename(begun_path(&self.home, start), self.home.path(FileKind::Log, start))
    }

    /// Renames a segment's files out of the way; [`SegmentedLog::take_garbage`] deletes them. The
    /// same base may soon be used again, so the new name is a name that never was.
    pub(super) fn set_aside(&mut self, base: Offset) -> io::Result<()> {
        for kind in FileKind::ALL {
            self.home.files.forget(self.home.key(kind, base));
            let path = self.home.path(kind, base);
            self.garbage_count += 1;
            let mut name = path.clone().into_os_string();
            name.push(format!(".{}.deleted", self.garbage_count));
            match fs::rename(&path, &name) {
                Ok(()) => self.garbage.push(name.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.names_changed = true;
        Ok(())
    }
}
