//! A segment's sparse indexes in Kafka's form, made as the segment grows.
//!
//! ```text
//! .index      last offset of a batch - base i32 | position of that batch i32
//! .timeindex  largest timestamp so far i64 | last offset of its batch - base i32
//! ```
//!
//! An entry is due after every `index.interval.bytes`. Entries wait in memory until there are some
//! to write; what is on disk is never trusted without a look at the batch that it points to.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Entries kept in memory before they are written: 256 KiB of log or more, and with both kinds
/// 1.5 KiB of memory for a busy partition, none for an idle one.
const PENDING: usize = 64;

/// A fixed-size entry of an index file.
pub(super) trait Entry: Copy {
    const SIZE: usize;
    fn put(&self, bytes: &mut Vec<u8>);
    fn take(bytes: &[u8]) -> Self;
}

/// Offsets are relative to the segment's base.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OffsetEntry {
    pub last: u32,
    pub position: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TimeEntry {
    pub timestamp: i64,
    pub last: u32,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl Entry for OffsetEntry {
    const SIZE: usize = 8;

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.last.to_be_bytes());
        bytes.extend_from_slice(&self.position.to_be_bytes());
    }

    fn take(bytes: &[u8]) -> OffsetEntry {
        OffsetEntry { last: u32_at(bytes, 0), position: u32_at(bytes, 4) }
    }
}

impl Entry for TimeEntry {
    const SIZE: usize = 12;

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.timestamp.to_be_bytes());
        bytes.extend_from_slice(&self.last.to_be_bytes());
    }

    fn take(bytes: &[u8]) -> TimeEntry {
        let high = u64::from(u32_at(bytes, 0)) << 32;
        TimeEntry { timestamp: (high | u64::from(u32_at(bytes, 4))) as i64, last: u32_at(bytes, 8) }
    }
}

/// The entry at `index` of a file.
pub(super) fn entry_at<E: Entry>(file: &File, index: u32) -> io::Result<E> {
    let mut bytes = [0; 16];
    file.read_exact_at(&mut bytes[..E::SIZE], u64::from(index) * E::SIZE as u64)?;
    Ok(E::take(&bytes[..E::SIZE]))
}

/// How many entries at the front of the first `count` fulfil `pred`, which holds for a prefix.
pub(super) fn partition_point<E: Entry>(
    file: &File,
    count: u32,
    pred: impl Fn(E) -> bool,
) -> io::Result<u32> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if pred(entry_at(file, middle)?) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// Whole entries in a file.
pub(super) fn entry_count<E: Entry>(file: &File) -> io::Result<u32> {
    Ok((file.metadata()?.len() / E::SIZE as u64) as u32)
}

/// One of the active segment's two indexes: entries on disk, then entries in memory.
#[derive(Debug)]
pub(super) struct GrowingIndex<E> {
    on_disk: u32,
    pending: Vec<E>,
}

impl<E> Default for GrowingIndex<E> {
    fn default() -> Self {
        GrowingIndex { on_disk: 0, pending: Vec::new() }
    }
}

impl<E: Entry> GrowingIndex<E> {
    /// Goes on after `on_disk` entries of the file.
    pub fn after(on_disk: u32) -> Self {
        GrowingIndex { on_disk, pending: Vec::new() }
    }

    pub fn push(&mut self, entry: E) {
        self.pending.push(entry);
    }

    pub fn is_due(&self) -> bool {
        self.pending.len() >= PENDING
    }

    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes what is pending and cuts the file there. A failure loses nothing: the entries stay
    /// pending, and are written over the same place the next time.
    pub fn spill(&mut self, file: &File) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(self.pending.len() * E::SIZE);
        for entry in &self.pending {
            entry.put(&mut bytes);
        }
        let position = u64::from(self.on_disk) * E::SIZE as u64;
        file.write_all_at(&bytes, position)?;
        self.on_disk += self.pending.len() as u32;
        self.pending = Vec::new();
        Ok(())
    }

    /// The last entry that fulfils `pred`, which holds for a prefix. `file` is opened only if the
    /// pending entries do not hold it.
    pub fn last_where(
        &self,
        file: impl FnOnce() -> io::Result<std::sync::Arc<File>>,
        pred: impl Fn(E) -> bool,
    ) -> io::Result<Option<E>> {
        let matching = self.pending.partition_point(|entry| pred(*entry));
        if let Some(index) = matching.checked_sub(1) {
            return Ok(Some(self.pending[index]));
        }
        if self.on_disk == 0 {
            return Ok(None);
        }
        last_where(&*file()?, self.on_disk, pred)
    }

    /// Forgets the entries that do not fulfil `keep`, which holds for a prefix.
    pub fn truncate(
        &mut self,
        file: impl FnOnce() -> io::Result<std::sync::Arc<File>>,
        keep: impl Fn(E) -> bool,
    ) -> io::Result<()> {
        let kept = self.pending.partition_point(|entry| keep(*entry));
        self.pending.truncate(kept);
        if kept == 0 && self.on_disk > 0 {
            let file = file()?;
            self.on_disk = partition_point(&file, self.on_disk, keep)?;
            file.set_len(u64::from(self.on_disk) * E::SIZE as u64)?;
        }
        Ok(())
    }
}

/// The last of the first `count` entries of `file` that fulfils `pred`.
pub(super) fn last_where<E: Entry>(
    file: &File,
    count: u32,
    pred: impl Fn(E) -> bool,
) -> io::Result<Option<E>> {
    match partition_point(file, count, pred)?.checked_sub(1) {
        Some(index) => entry_at(file, index).map(Some),
        None => Ok(None),
    }
}

/// Whether an offset index of a segment with `size` bytes can be what it claims: whole entries,
/// rising, inside the segment. Reads all of it; for recovery.
pub(super) fn offsets_are_sane(file: &File, size: u64) -> io::Result<bool> {
    rises(file, |last: Option<OffsetEntry>, next| {
        u64::from(next.position) < size
            && last.is_none_or(|last| last.last < next.last && last.position < next.position)
    })
}

/// Whether a time index can be what it claims: whole entries, rising.
pub(super) fn times_are_sane(file: &File) -> io::Result<bool> {
    rises(file, |last: Option<TimeEntry>, next| {
        last.is_none_or(|last| last.timestamp < next.timestamp && last.last < next.last)
    })
}

fn rises<E: Entry>(file: &File, fits: impl Fn(Option<E>, E) -> bool) -> io::Result<bool> {
    let length = file.metadata()?.len();
    if !length.is_multiple_of(E::SIZE as u64) {
        return Ok(false);
    }
    let (mut last, mut position) = (None, 0);
    let mut buffer = vec![0; E::SIZE * 1024];
    while position < length {
        let take = buffer.len().min((length - position) as usize);
        file.read_exact_at(&mut buffer[..take], position)?;
        for bytes in buffer[..take].chunks_exact(E::SIZE) {
            let next = E::take(bytes);
            if !fits(last, next) {
                return Ok(false);
            }
            last = Some(next);
        }
        position += take as u64;
    }
    Ok(true)
}
