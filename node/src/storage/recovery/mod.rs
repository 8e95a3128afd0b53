//! Opening a log: after a clean stop by its indexes, else by reading what was not surely on disk.

mod epochs;
mod found;
mod names;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kraft_model::Offset;

use crate::storage::durable;
use crate::storage::error::{Context, StorageError};
use crate::storage::files::{FileKind, OpenFiles};
use crate::storage::index;
use crate::storage::log::{LogConfig, SegmentedLog};
use crate::storage::producers;
use crate::storage::read::{HeaderWalk, locate};
use crate::storage::scan::{Verdict, former_end, scan_segment};
use crate::storage::segment::{ActiveSegment, Segment};

pub use found::{Damage, OpenState, Recovery};
pub(super) use names::segment_base;

impl SegmentedLog {
    /// Opens the log in `dir`, recovering what needs to be. Reads and writes: not on an arbiter.
    ///
    /// # Errors
    ///
    /// The device's. Damaged content is no error: it is reported in [`Recovery`].
    pub fn open(
        dir: &Path,
        config: LogConfig,
        files: Arc<OpenFiles>,
        state: OpenState,
    ) -> Result<(SegmentedLog, Recovery), StorageError> {
        let mut log = SegmentedLog::empty(dir, config, files, state.log_start);
        let (bases, state) = log.take_up_names(state.beyond_the_start())?;
        let mut recovery = Recovery::default();
        if let Some(&last) = bases.last() {
            log.start = state.log_start.max(bases[0]);
            let mut opening = Opening { log: &mut log, recovery: &mut recovery, state, bases };
            if !(state.clean && opening.take_up_clean()?) {
                opening.recover(last)?;
            }
            opening.compare_with_recovery_point();
        } else if state.recovery_point > state.log_start {
            recovery.damage = Some(missing(dir, state));
        }
        producers::remove_snapshots_above(dir, log.end());
        producers::remove_snapshots_below(dir, log.first_base());
        if log.end() < log.start {
            // What is below was deleted, and its offsets are not given away again.
            log.restart_at(log.start);
        }
        let is_whole = state.clean && recovery.scanned_bytes == 0 && recovery.damage.is_none();
        log.flushed = if is_whole { log.end() } else { state.recovery_point.min(log.end()) };
        log.flushed = log.flushed.max(log.start);
        if log.config.sync_on_open || recovery.damage.is_some() {
            log.names_changed = true;
            let flushed = log.flush_job().run()?;
            log.flushed_up_to(flushed);
        }
        Ok((log, recovery))
    }
}

fn missing(dir: &Path, state: OpenState) -> Damage {
    Damage {
        file: dir.to_owned(),
        at: state.log_start,
        position: 0,
        reason: format!("its segments are gone; they reached {} at least", state.recovery_point),
        set_aside: Vec::new(),
        below_recovery_point: true,
        below_high_watermark: state.log_start < state.high_watermark,
        former_end: state.recovery_point,
    }
}

struct Opening<'a> {
    log: &'a mut SegmentedLog,
    recovery: &'a mut Recovery,
    state: OpenState,
    /// Not empty.
    bases: Vec<Offset>,
}

impl Opening<'_> {
    fn path(&self, base: Offset) -> PathBuf {
        self.log.home.path(FileKind::Log, base)
    }

    fn file(&self, base: Offset) -> Result<Arc<File>, StorageError> {
        self.log.home.open(FileKind::Log, base).context("open", &self.path(base))
    }

    fn size(&self, base: Offset) -> Result<u64, StorageError> {
        let path = self.path(base);
        Ok(fs::metadata(&path).context("look at", &path)?.len())
    }

    /// Takes the files for what they are. False if the last segment is not what a clean stop
    /// leaves; then nothing has been changed.
    fn take_up_clean(&mut self) -> Result<bool, StorageError> {
        let (sealed, last) = self.bases.split_at(self.bases.len() - 1);
        for &base in sealed {
            let size = self.size(base)?;
            self.log.sealed.push(Segment { base, size, largest: None });
        }
        let size = self.size(last[0])?;
        let interval = self.log.config.index_interval_bytes;
        match ActiveSegment::load(&self.log.home, last[0], size, interval) {
            Ok((active, rebuilt)) => {
                self.log.active = active;
                self.recovery.indexes_rebuilt += u32::from(rebuilt);
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.log.sealed.clear();
                return Ok(false);
            }
            Err(error) => return Err(error).context("read", &self.path(last[0])),
        }
        self.load_epochs(self.log.end())?;
        Ok(true)
    }

    /// Scans from the recovery point on, and the last segment always: a truncation may have made
    /// it the last one after the recovery point was written.
    fn recover(&mut self, last: Offset) -> Result<(), StorageError> {
        let bases = self.bases.clone();
        let point = self.state.recovery_point;
        let mut first = bases.partition_point(|base| *base <= point).saturating_sub(1);
        if self.state.scan_all {
            first = 0;
        }
        for index in 0..first {
            if !self.take_up_sealed(bases[index], bases[index + 1])? {
                first = index;
                break;
            }
        }
        self.log.active = ActiveSegment::new(bases[first]);
        self.load_epochs(bases[first])?;
        for (index, &base) in bases.iter().enumerate().skip(first) {
            let next = bases.get(index + 1).copied();
            if !self.recover_segment(base, next)? {
                return self.drop_segments(&bases[index + 1..]);
            }
            if base != last {
                self.log.roll();
            }
        }
        Ok(())
    }

    /// A log that is shorter than it was on disk has lost something, however tidy its end.
    fn compare_with_recovery_point(&mut self) {
        let (end, point) = (self.log.end(), self.state.recovery_point);
        if end < point && self.recovery.damage.is_none() {
            let position = self.log.active.size;
            let reason = format!("it ends at {end}, but was on disk up to {point}");
            self.report(self.log.active.base, end, position, reason, point);
        }
    }

    /// Takes up a segment below the recovery point, if it reaches to the next one.
    fn take_up_sealed(&mut self, base: Offset, next: Offset) -> Result<bool, StorageError> {
        let size = self.size(base)?;
        let mut segment = Segment { base, size, largest: None };
        let file = self.file(base)?;
        let home = &self.log.home;
        let is_sane = |kind| -> io::Result<bool> {
            let file = match home.open(kind, base) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
                Err(error) => return Err(error),
            };
            match kind {
                FileKind::TimeIndex => index::times_are_sane(&file),
                _ => index::offsets_are_sane(&file, size),
            }
        };
        let looked = is_sane(FileKind::OffsetIndex)
            .and_then(|offsets| Ok(offsets && is_sane(FileKind::TimeIndex)?));
        if !looked.context("read the indexes of", &self.path(base))? {
            let Some(rebuilt) = self.rebuild_indexes(base, size)? else { return Ok(false) };
            segment = rebuilt;
        }
        let last = Offset(next.0 - 1);
        let reaches = locate(&file, size, segment.floor(&self.log.home, last), last)
            .and_then(|position| HeaderWalk::new(&file, size).at(position))
            .is_ok_and(|batch| batch.end() == next);
        if reaches {
            self.log.sealed.push(segment);
        }
        Ok(reaches)
    }

    fn rebuild_indexes(
        &mut self,
        base: Offset,
        size: u64,
    ) -> Result<Option<Segment>, StorageError> {
        self.recovery.indexes_rebuilt += 1;
        self.remove_indexes(base)?;
        let interval = self.log.config.index_interval_bytes;
        match ActiveSegment::load(&self.log.home, base, size, interval) {
            Ok((active, _)) => Ok(Some(active.seal(&self.log.home))),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(error) => Err(error).context("read", &self.path(base)),
        }
    }

    fn remove_indexes(&self, base: Offset) -> Result<(), StorageError> {
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            let path = self.log.home.path(kind, base);
            self.log.home.files.forget(self.log.home.key(kind, base));
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).context("delete", &path);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Scans a segment, which becomes the active one. False if the log ends in it, though there
    /// may be segments behind it.
    fn recover_segment(
        &mut self,
        base: Offset,
        next: Option<Offset>,
    ) -> Result<bool, StorageError> {
        let path = self.path(base);
        let file = self.file(base)?;
        self.remove_indexes(base)?;
        self.log.active = ActiveSegment::new(base);
        let log = &mut *self.log;
        let interval = log.config.index_interval_bytes;
        let scan = scan_segment(&file, base, |position, batch| {
            log.epochs.note(batch.leader_epoch.0, batch.base);
            log.active.note(position, batch, interval);
            log.active.spill_if_due(&log.home);
        })
        .context("read", &path)?;
        log.epochs_changed = true;
        log.active.note_append(scan.end, scan.valid_bytes);
        self.recovery.scanned_bytes += scan.size;
        let point = self.state.recovery_point;
        match scan.verdict {
            Verdict::Whole => match next {
                Some(next) if next != scan.end => {
                    let reason =
                        format!("it ends at {}, the next segment begins at {next}", scan.end);
                    self.lose_the_rest(base, scan.end, scan.valid_bytes, reason, scan.end)?;
                    Ok(false)
                }
                _ => Ok(true),
            },
            Verdict::Torn if scan.end >= point => {
                file.set_len(scan.valid_bytes).context("truncate", &path)?;
                self.recovery.truncated_bytes += scan.size - scan.valid_bytes;
                Ok(false)
            }
            Verdict::Torn => {
                let reason = "it ends inside a batch that was on disk".to_owned();
                self.lose_the_rest(base, scan.end, scan.valid_bytes, reason, point)?;
                Ok(false)
            }
            Verdict::Damaged(error) => {
                let at_least = scan.end.plus(1);
                let former =
                    former_end(&file, scan.valid_bytes + 1, at_least).context("read", &path)?;
                self.lose_the_rest(base, scan.end, scan.valid_bytes, error.to_string(), former)?;
                Ok(false)
            }
        }
    }

    /// Keeps the valid front of a damaged segment and sets the file itself aside.
    fn lose_the_rest(
        &mut self,
        base: Offset,
        end: Offset,
        position: u64,
        reason: String,
        former_end: Offset,
    ) -> Result<(), StorageError> {
        let path = self.path(base);
        self.report(base, end, position, reason, former_end);
        let front = with_suffix(&path, "tmp");
        let copied = (|| {
            let mut copy = File::create(&front)?;
            io::copy(&mut io::Read::take(File::open(&path)?, position), &mut copy)?;
            copy.sync_all()
        })();
        copied.context("save what is whole of", &path)?;
        self.log.home.files.forget(self.log.home.key(FileKind::Log, base));
        self.put_away(&path)?;
        fs::rename(&front, &path).context("rename", &front)?;
        durable::sync_parent(&path).context("sync the directory of", &path)
    }

    fn put_away(&mut self, path: &Path) -> Result<(), StorageError> {
        let away = with_suffix(path, "damaged");
        fs::rename(path, &away).context("rename", path)?;
        if let Some(damage) = &mut self.recovery.damage {
            damage.set_aside.push(away);
        }
        Ok(())
    }

    fn report(
        &mut self,
        base: Offset,
        at: Offset,
        position: u64,
        reason: String,
        former_end: Offset,
    ) {
        self.recovery.damage = Some(Damage {
            file: self.path(base),
            at,
            position,
            reason,
            set_aside: Vec::new(),
            below_recovery_point: at < self.state.recovery_point,
            below_high_watermark: at < self.state.high_watermark,
            former_end: former_end.max(self.state.recovery_point),
        });
    }

    /// The log ends before these segments: behind damage they are set aside, behind an unfinished
    /// write they are part of what never became durable.
    fn drop_segments(&mut self, bases: &[Offset]) -> Result<(), StorageError> {
        for &base in bases {
            let path = self.path(base);
            let size = self.size(base)?;
            self.remove_indexes(base)?;
            if self.recovery.damage.is_some() {
                let file = File::open(&path).context("open", &path)?;
                let end = former_end(&file, 0, base).context("read", &path)?;
                self.put_away(&path)?;
                if let Some(damage) = &mut self.recovery.damage {
                    damage.former_end = damage.former_end.max(end);
                }
            } else {
                self.recovery.truncated_bytes += size;
                self.log.set_aside(base).context("rename", &path)?;
            }
        }
        Ok(())
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}
