//! Dropping the front of a log: by age, by size, or because a leader's log starts later.

use std::io;

use kraft_model::Offset;

use super::error::StorageError;
use super::files::FileKind;
use super::log::SegmentedLog;
use super::producers;

impl SegmentedLog {
    /// Where the log should start by `retention.ms` and `retention.bytes`: whole segments that are
    /// below `high_watermark`. The caller passes it on to [`SegmentedLog::advance_start`], and to
    /// the machine. An active segment that is too old as a whole is sealed first, so that a
    /// partition nobody writes to any more becomes empty too.
    ///
    /// # Errors
    ///
    /// A segment's timestamps cannot be read.
    pub fn retention_start(&mut self, now_ms: i64, high_watermark: Offset) -> io::Result<Offset> {
        let by_time = self.first_young_segment(now_ms)?;
        if by_time > self.sealed.len() {
            self.roll();
        }
        let first_kept = by_time.max(self.first_within_size());
        let kept_base = self.sealed.get(first_kept).map_or(self.active.base, |kept| kept.base);
        let mut bases = self.sealed.iter().map(|segment| segment.base).chain([self.active.base]);
        let allowed = bases.rfind(|base| *base <= kept_base && *base <= high_watermark);
        Ok(allowed.unwrap_or(self.start).max(self.start))
    }

    /// Segments at the front that are too old; the active one counts behind the sealed ones.
    fn first_young_segment(&mut self, now_ms: i64) -> io::Result<usize> {
        if self.config.retention_ms < 0 {
            return Ok(0);
        }
        let oldest = now_ms.saturating_sub(self.config.retention_ms);
        for index in 0..self.sealed.len() {
            let largest = self.sealed[index].largest(&self.home)?;
            self.sealed[index].largest = largest;
            if largest.is_none_or(|largest| largest.timestamp >= oldest) {
                return Ok(index);
            }
        }
        let is_old = self.active.largest.is_some_and(|largest| largest.timestamp < oldest);
        Ok(self.sealed.len() + usize::from(is_old))
    }

    fn first_within_size(&self) -> usize {
        let Ok(limit) = u64::try_from(self.config.retention_bytes) else { return 0 };
        let mut excess = self.size().saturating_sub(limit);
        self.sealed
            .iter()
            .take_while(|segment| {
                let fits = segment.size <= excess;
                excess = excess.saturating_sub(segment.size);
                fits
            })
            .count()
    }

    /// Drops what is below `start`: whole segments go, a part of one is only hidden.
    pub fn advance_start(&mut self, start: Offset) {
        let start = start.min(self.end());
        if start <= self.start || self.failure().is_some() {
            return;
        }
        let bases = self.sealed.iter().skip(1).map(|s| s.base).chain([self.active.base]);
        let passed = bases.take(self.sealed.len()).take_while(|next| *next <= start).count();
        if passed > 0
            && let Err(source) = self.drop_front(passed)
        {
            let path = self.home.dir.to_path_buf();
            self.fail(StorageError::Io { operation: "drop the front of the log in", path, source });
            return;
        }
        self.start = start;
        self.flushed = self.flushed.max(start);
        self.epochs_changed |= self.epochs.advance_start(start);
    }

    /// Sets the first `count` sealed segments aside.
    fn drop_front(&mut self, count: usize) -> io::Result<()> {
        if count == self.sealed.len() && self.active.size == 0 {
            // Its name is what remembers where the log goes on: it is there before the others go.
            self.home.create(FileKind::Log, self.active.base)?;
        }
        let passed: Vec<Offset> = self.sealed[..count].iter().map(|segment| segment.base).collect();
        passed.into_iter().try_for_each(|base| self.set_aside(base))?;
        self.sealed.drain(..count);
        producers::remove_snapshots_below(&self.home.dir, self.first_base());
        Ok(())
    }
}
