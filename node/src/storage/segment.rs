//! Segments: the sealed ones, of which little is kept in memory, and the active one at the end.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use kraft_model::Offset;

use super::files::{FileKey, FileKind, OpenFiles};
use super::index::{self, GrowingIndex, OffsetEntry, TimeEntry};
use super::read::{Floor, HeaderWalk};
use super::records::RecordBatch;

/// Where a log's files are and how they are opened.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub dir: Arc<Path>,
    pub files: Arc<OpenFiles>,
    /// The log's name among the open files.
    pub log: u64,
}

impl Home {
    pub fn open(&self, kind: FileKind, base: Offset) -> io::Result<Arc<File>> {
        self.files.open(self.key(kind, base), &self.dir, false)
    }

    pub fn create(&self, kind: FileKind, base: Offset) -> io::Result<Arc<File>> {
        self.files.open(self.key(kind, base), &self.dir, true)
    }

    pub fn key(&self, kind: FileKind, base: Offset) -> FileKey {
        FileKey { log: self.log, base: base.0, kind }
    }

    pub fn path(&self, kind: FileKind, base: Offset) -> std::path::PathBuf {
        kind.path(&self.dir, base.0)
    }
}

/// A segment that is no longer written. It ends where the next one begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    pub base: Offset,
    pub size: u64,
    /// The largest timestamp, once it was asked for.
    pub largest: Option<Largest>,
}

/// A largest timestamp, in milliseconds since the Unix epoch, and the last offset of its batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Largest {
    pub timestamp: i64,
    pub offset: Offset,
}

impl Segment {
    /// Where to start towards `offset`. An index that cannot be read costs time, not the read.
    pub fn floor(&self, home: &Home, offset: Offset) -> Floor {
        let search = || -> io::Result<Option<OffsetEntry>> {
            let file = home.open(FileKind::OffsetIndex, self.base)?;
            let count = index::entry_count::<OffsetEntry>(&file)?;
            index::last_where(&file, count, |entry| below(entry, self.base, offset))
        };
        search().ok().flatten().map_or(Floor::START, |entry| floor(entry, self.base))
    }

    /// The largest timestamp: from the time index if the log agrees with it, else from the log.
    pub fn largest(&self, home: &Home) -> io::Result<Option<Largest>> {
        if self.largest.is_some() {
            return Ok(self.largest);
        }
        let log = home.open(FileKind::Log, self.base)?;
        let indexed = || -> io::Result<Option<Largest>> {
            let file = home.open(FileKind::TimeIndex, self.base)?;
            let count = index::entry_count::<TimeEntry>(&file)?;
            let Some(entry) = index::last_where(&file, count, |_: TimeEntry| true)? else {
                return Ok(None);
            };
            self.confirm(home, &log, entry)
        };
        match indexed() {
            Ok(Some(largest)) => Ok(Some(largest)),
            _ => largest_from(&log, self.size, 0, None),
        }
    }

    /// A time entry, if the log holds what it says.
    pub fn confirm(
        &self,
        home: &Home,
        log: &File,
        entry: TimeEntry,
    ) -> io::Result<Option<Largest>> {
        let offset = self.base.plus(i64::from(entry.last));
        let position = super::read::locate(log, self.size, self.floor(home, offset), offset)?;
        if position >= self.size {
            return Ok(None);
        }
        let batch = HeaderWalk::new(log, self.size).at(position)?;
        let agrees = batch.last_offset() == offset && batch.max_timestamp == entry.timestamp;
        Ok(agrees.then_some(Largest { timestamp: entry.timestamp, offset }))
    }
}

fn below(entry: OffsetEntry, base: Offset, offset: Offset) -> bool {
    base.plus(i64::from(entry.last)) <= offset
}

fn floor(entry: OffsetEntry, base: Offset) -> Floor {
    let last = Some(base.plus(i64::from(entry.last)));
    Floor { position: u64::from(entry.position), last }
}

/// The largest timestamp of `known` and the batches from `position` on.
fn largest_from(
    log: &File,
    size: u64,
    position: u64,
    known: Option<Largest>,
) -> io::Result<Option<Largest>> {
    let mut largest = known;
    HeaderWalk::new(log, size).visit(position, |_, batch| {
        raise(&mut largest, batch);
        ControlFlow::Continue(())
    })?;
    Ok(largest)
}

fn raise(largest: &mut Option<Largest>, batch: &RecordBatch) {
    if largest.is_none_or(|known| batch.max_timestamp > known.timestamp) {
        let offset = batch.last_offset();
        *largest = Some(Largest { timestamp: batch.max_timestamp, offset });
    }
}

/// The last segment, which is appended to.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    pub base: Offset,
    pub size: u64,
    pub end: Offset,
    /// The first batch's largest timestamp: `segment.ms` counts from it.
    pub first_timestamp: Option<i64>,
    pub largest: Option<Largest>,
    offsets: GrowingIndex<OffsetEntry>,
    times: GrowingIndex<TimeEntry>,
    last_indexed_time: Option<i64>,
    bytes_since_entry: u64,
    /// Where the last append begins: what a reader at the tail asks for.
    last_append: (Offset, u64),
}

impl ActiveSegment {
    /// An empty segment; it has no files until something is appended.
    pub fn new(base: Offset) -> ActiveSegment {
        ActiveSegment {
            base,
            size: 0,
            end: base,
            first_timestamp: None,
            largest: None,
            offsets: GrowingIndex::default(),
            times: GrowingIndex::default(),
            last_indexed_time: None,
            bytes_since_entry: 0,
            last_append: (base, 0),
        }
    }

    /// Notes a batch that was written, or found, at `position`.
    pub fn note(&mut self, position: u64, batch: &RecordBatch, interval_bytes: u32) {
        raise(&mut self.largest, batch);
        self.first_timestamp.get_or_insert(batch.max_timestamp);
        if self.bytes_since_entry > u64::from(interval_bytes) {
            let last = batch.last_offset().since(self.base) as u32;
            self.offsets.push(OffsetEntry { last, position: position as u32 });
            self.note_time();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += batch.size as u64;
        self.size = position + batch.size as u64;
        self.end = batch.end();
    }

    fn note_time(&mut self) {
        let Some(largest) = self.largest else { return };
        if self.last_indexed_time.is_none_or(|last| largest.timestamp > last) {
            let last = largest.offset.since(self.base) as u32;
            self.times.push(TimeEntry { timestamp: largest.timestamp, last });
            self.last_indexed_time = Some(largest.timestamp);
        }
    }

    pub fn note_append(&mut self, at: Offset, position: u64) {
        self.last_append = (at, position);
    }

    /// Writes index entries once there are some. A failure is not the append's: they wait.
    pub fn spill_if_due(&mut self, home: &Home) {
        if self.offsets.is_due() || self.times.is_due() {
            let _ = self.spill(home);
        }
    }

    pub fn spill(&mut self, home: &Home) -> io::Result<()> {
        if self.offsets.has_pending() {
            self.offsets.spill(&*home.create(FileKind::OffsetIndex, self.base)?)?;
        }
        if self.times.has_pending() {
            self.times.spill(&*home.create(FileKind::TimeIndex, self.base)?)?;
        }
        Ok(())
    }

    /// Ends the segment: its indexes are written, the largest timestamp last. An index that cannot
    /// be written is rebuilt at the next start.
    pub fn seal(mut self, home: &Home) -> Segment {
        self.note_time();
        if self.spill(home).is_err() {
            for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
                home.files.forget(home.key(kind, self.base));
                let _ = std::fs::remove_file(home.path(kind, self.base));
            }
        }
        Segment { base: self.base, size: self.size, largest: self.largest }
    }

    /// Writes the last entries for a clean stop, so that the next start finds them complete.
    pub fn finish(&mut self, home: &Home) -> io::Result<()> {
        self.note_time();
        self.spill(home)
    }

    pub fn floor(&self, home: &Home, offset: Offset) -> Floor {
        let (at, position) = self.last_append;
        if at <= offset {
            return Floor { position, last: None };
        }
        let open = || home.open(FileKind::OffsetIndex, self.base);
        let found = self.offsets.last_where(open, |entry| below(entry, self.base, offset));
        found.ok().flatten().map_or(Floor::START, |entry| floor(entry, self.base))
    }

    /// As a sealed one, for questions that both answer.
    pub fn as_segment(&self) -> Segment {
        Segment { base: self.base, size: self.size, largest: self.largest }
    }

    /// The last time entry below `timestamp`.
    pub fn time_floor(&self, home: &Home, timestamp: i64) -> Option<TimeEntry> {
        let open = || home.open(FileKind::TimeIndex, self.base);
        self.times.last_where(open, |entry| entry.timestamp < timestamp).ok().flatten()
    }

    /// Takes up a segment of `size` bytes with its index files, after a clean stop or a
    /// truncation: batches beyond the last entry are noted anew. Entries that the log does not
    /// bear out make the indexes start from nothing; true if so.
    pub fn load(
        home: &Home,
        base: Offset,
        size: u64,
        interval_bytes: u32,
    ) -> io::Result<(ActiveSegment, bool)> {
        let mut active = ActiveSegment::new(base);
        if size == 0 {
            active.remove_indexes(home)?;
            return Ok((active, false));
        }
        let log = home.open(FileKind::Log, base)?;
        let first = HeaderWalk::new(&log, size).at(0)?;
        let resumed = active.resume(home, &log, size)?;
        let had_indexes = home.path(FileKind::OffsetIndex, base).exists();
        if resumed.is_none() {
            active.remove_indexes(home)?;
            active = ActiveSegment::new(base);
        }
        let position = resumed.unwrap_or(0);
        HeaderWalk::new(&log, size).visit(position, |at, batch| {
            active.note(at, batch, interval_bytes);
            ControlFlow::Continue(())
        })?;
        active.first_timestamp = Some(first.max_timestamp);
        active.note_append(active.end, active.size);
        Ok((active, resumed.is_none() && had_indexes))
    }

    /// Trusts the index files as far as the log agrees; the position from which to note batches,
    /// or `None` if they must be made anew.
    fn resume(&mut self, home: &Home, log: &File, size: u64) -> io::Result<Option<u64>> {
        let open = |kind| match home.open(kind, self.base) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let (Some(offsets), Some(times)) =
            (open(FileKind::OffsetIndex)?, open(FileKind::TimeIndex)?)
        else {
            return Ok(None);
        };
        if !index::offsets_are_sane(&offsets, size)? || !index::times_are_sane(&times)? {
            return Ok(None);
        }
        let offset_count = index::entry_count::<OffsetEntry>(&offsets)?;
        let time_count = index::entry_count::<TimeEntry>(&times)?;
        if offset_count == 0 || time_count == 0 {
            return Ok(None);
        }
        let entry: OffsetEntry = index::entry_at(&offsets, offset_count - 1)?;
        let time: TimeEntry = index::entry_at(&times, time_count - 1)?;
        let position = u64::from(entry.position);
        let Ok(batch) = HeaderWalk::new(log, size).at(position) else { return Ok(None) };
        if batch.last_offset() != self.base.plus(i64::from(entry.last)) {
            return Ok(None);
        }
        let segment = Segment { base: self.base, size, largest: None };
        let Some(largest) = segment.confirm(home, log, time)? else { return Ok(None) };
        self.largest = Some(largest);
        self.last_indexed_time = Some(largest.timestamp);
        self.offsets = GrowingIndex::after(offset_count);
        self.times = GrowingIndex::after(time_count);
        // The indexed batch itself is noted already; go on behind it.
        self.bytes_since_entry = batch.size as u64;
        self.size = position + batch.size as u64;
        self.end = batch.end();
        Ok(Some(self.size))
    }

    fn remove_indexes(&self, home: &Home) -> io::Result<()> {
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            home.files.forget(home.key(kind, self.base));
            match std::fs::remove_file(home.path(kind, self.base)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Drops the index entries of batches that end above `to`.
    pub fn truncate_indexes(&mut self, home: &Home, to: Offset) -> io::Result<()> {
        let base = self.base;
        let open = |kind| move || home.open(kind, base);
        self.offsets
            .truncate(open(FileKind::OffsetIndex), |entry| base.plus(i64::from(entry.last)) < to)?;
        self.times
            .truncate(open(FileKind::TimeIndex), |entry| base.plus(i64::from(entry.last)) < to)
    }
}
