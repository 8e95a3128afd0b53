//! What a segment really holds: every batch read and its CRC checked, up to the first byte that is
//! no batch, and a verdict on that byte.
//!
//! A crash may leave the last write unfinished: a short batch, or pages that are still zero. That
//! is a *torn tail*; nothing durable is lost. Anything else that is not a batch was a batch once:
//! *damage*.

use std::fs::File;
use std::io;

use kraft_model::Offset;

use super::read::read_at;
use super::records::{BatchError, HEADER, RecordBatch};

/// Bytes read at once; a larger batch is read whole.
const CHUNK: usize = 1 << 20;

/// Blocks of which a device writes all or nothing.
const SECTOR: u64 = 512;

/// How a scan ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// With the file.
    Whole,
    /// In an unfinished write.
    Torn,
    /// At what was a batch once.
    Damaged(BatchError),
}

/// A segment as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scan {
    /// Bytes of valid batches at the front.
    pub valid_bytes: u64,
    /// Bytes in the file.
    pub size: u64,
    /// The offset after the last valid batch.
    pub end: Offset,
    pub verdict: Verdict,
}

/// Scans a segment that begins at `base`, showing each valid batch and its position to `visit`.
/// Any bytes are a legal input: this is what recovery runs on whatever a crash left.
///
/// # Errors
///
/// The device's only.
pub fn scan_segment(
    file: &File,
    base: Offset,
    mut visit: impl FnMut(u64, &RecordBatch),
) -> io::Result<Scan> {
    let size = file.metadata()?.len();
    let mut window = Window { file, size, bytes: Vec::new(), start: 0 };
    let (mut position, mut end, mut epoch) = (0, base, i32::MIN);
    let verdict = loop {
        if position == size {
            break Verdict::Whole;
        }
        match window.batch(position, end, epoch)? {
            Ok(batch) => {
                visit(position, &batch);
                position += batch.size as u64;
                end = batch.end();
                epoch = batch.leader_epoch.0;
            }
            Err(error) => break window.judge(position, end, error)?,
        }
    };
    Ok(Scan { valid_bytes: position, size, end, verdict })
}

/// The end of the last valid batch at or behind `position`, wherever batches begin again: how far
/// a damaged segment once reached.
///
/// # Errors
///
/// The device's.
pub fn former_end(file: &File, position: u64, at_least: Offset) -> io::Result<Offset> {
    let size = file.metadata()?.len();
    let mut window = Window { file, size, bytes: Vec::new(), start: 0 };
    let (mut position, mut end) = (position, at_least);
    while let Some((at, batch)) = window.next_batch(position, end)? {
        position = at + batch.size as u64;
        end = batch.end();
    }
    Ok(end)
}

struct Window<'a> {
    file: &'a File,
    size: u64,
    bytes: Vec<u8>,
    start: u64,
}

impl Window<'_> {
    /// `count` bytes at `position`, fewer at the file's end.
    fn at(&mut self, position: u64, count: usize) -> io::Result<&[u8]> {
        let left = (self.size - position) as usize;
        let count = count.min(left);
        let held = position >= self.start
            && position + count as u64 <= self.start + self.bytes.len() as u64;
        if !held {
            self.bytes = read_at(self.file, position, count.max(CHUNK.min(left)))?;
            self.start = position;
        }
        let from = (position - self.start) as usize;
        Ok(&self.bytes[from..from + count])
    }

    fn batch(
        &mut self,
        position: u64,
        base: Offset,
        epoch: i32,
    ) -> io::Result<Result<RecordBatch, BatchError>> {
        let batch = match RecordBatch::read_header(self.at(position, HEADER)?) {
            Ok(batch) => batch,
            Err(error) => return Ok(Err(error)),
        };
        if batch.base != base {
            return Ok(Err(BatchError::Malformed("the batch does not follow the one before it")));
        }
        if batch.leader_epoch.0 < epoch {
            return Ok(Err(BatchError::Malformed("the leader epoch goes back")));
        }
        if batch.size as u64 > self.size - position {
            return Ok(Err(BatchError::Short { have: (self.size - position) as usize }));
        }
        let bytes = self.at(position, batch.size)?;
        Ok(batch.verify(bytes).map(|()| batch))
    }

    /// Torn or damaged?
    fn judge(&mut self, position: u64, end: Offset, error: BatchError) -> io::Result<Verdict> {
        let is_short = match error {
            BatchError::Short { .. } => self.is_cut(position)?,
            _ => false,
        };
        if !is_short && !self.ends_in_zeros(position)? {
            return Ok(Verdict::Damaged(error));
        }
        // A tear is the last thing in a log: a valid batch behind it means that it was none.
        match self.next_batch(position + 1, end)? {
            Some(_) => Ok(Verdict::Damaged(error)),
            None => Ok(Verdict::Torn),
        }
    }

    /// The bytes up to the file's end are the front of a batch, not all of one whose length is
    /// damaged.
    fn is_cut(&mut self, position: u64) -> io::Result<bool> {
        let left = (self.size - position) as usize;
        if left < HEADER {
            return Ok(true);
        }
        let bytes = self.at(position, left)?;
        let Ok(batch) = RecordBatch::read_header(bytes) else { return Ok(false) };
        let whole = RecordBatch { size: left, ..batch };
        Ok(whole.verify(bytes).is_err())
    }

    /// Whether from some sector on, the first one behind `position` at the latest the last one,
    /// everything is zero; or everything is from `position` on.
    fn ends_in_zeros(&mut self, position: u64) -> io::Result<bool> {
        let mut zeros_from = self.size;
        while zeros_from > position {
            let chunk_start = zeros_from.saturating_sub(CHUNK as u64).max(position);
            let chunk = self.at(chunk_start, (zeros_from - chunk_start) as usize)?;
            match chunk.iter().rposition(|byte| *byte != 0) {
                Some(last) => {
                    zeros_from = chunk_start + last as u64 + 1;
                    break;
                }
                None => zeros_from = chunk_start,
            }
        }
        Ok(zeros_from == position || zeros_from.next_multiple_of(SECTOR) < self.size)
    }

    /// The first valid batch at or behind `position` that begins at or above `from`, but not by
    /// more records than the bytes passed over could hold: the CRC does not cover base offsets.
    fn next_batch(
        &mut self,
        mut position: u64,
        from: Offset,
    ) -> io::Result<Option<(u64, RecordBatch)>> {
        let (size, start) = (self.size, position);
        while position + HEADER as u64 <= size {
            let bytes = self.at(position, CHUNK)?;
            let candidate = (0..=bytes.len() - HEADER).find_map(|at| {
                let batch = RecordBatch::read_header(&bytes[at..]).ok()?;
                let fits = batch.size as u64 <= size - position - at as u64;
                let passed = (position - start) as i64 + at as i64;
                let follows = (0..=passed).contains(&batch.base.since(from));
                (fits && follows).then_some((at, batch))
            });
            let Some((at, batch)) = candidate else {
                position += (bytes.len() - HEADER + 1) as u64;
                continue;
            };
            let found = position + at as u64;
            if batch.verify(self.at(found, batch.size)?).is_ok() {
                return Ok(Some((found, batch)));
            }
            position = found + 1;
        }
        Ok(None)
    }
}
