//! Reading a segment: walking batch headers, and the plan of a read that runs elsewhere.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use kraft_model::Offset;

use super::records::{BatchError, HEADER, RecordBatch};

/// Bytes read at once when walking headers: what an index entry leaves open, and a header.
const WALK_BUFFER: usize = 4096 + HEADER;

/// Reads batch headers of one file, in rising order of position.
pub(super) struct HeaderWalk<'a> {
    file: &'a File,
    /// No batch reaches beyond this.
    size: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> HeaderWalk<'a> {
    pub fn new(file: &'a File, size: u64) -> HeaderWalk<'a> {
        HeaderWalk { file, size, buffer: Vec::new(), buffer_at: 0 }
    }

    /// The header at `position`, of a batch that ends inside the file.
    pub fn at(&mut self, position: u64) -> io::Result<RecordBatch> {
        let left = self.size.saturating_sub(position);
        if left < HEADER as u64 {
            return Err(not_a_batch(BatchError::Short { have: left as usize }));
        }
        let offset = position.checked_sub(self.buffer_at).map(|offset| offset as usize);
        let start = match offset {
            Some(offset) if offset + HEADER <= self.buffer.len() => offset,
            _ => {
                self.buffer.resize(WALK_BUFFER.min(left as usize), 0);
                self.file.read_exact_at(&mut self.buffer, position)?;
                self.buffer_at = position;
                0
            }
        };
        let batch = RecordBatch::read_header(&self.buffer[start..]).map_err(not_a_batch)?;
        if batch.size as u64 > left {
            return Err(not_a_batch(BatchError::Short { have: left as usize }));
        }
        Ok(batch)
    }

    /// Visits the batches from `position` on until `visit` breaks; where it did, or the end.
    pub fn visit(
        &mut self,
        mut position: u64,
        mut visit: impl FnMut(u64, &RecordBatch) -> ControlFlow<()>,
    ) -> io::Result<u64> {
        while position < self.size {
            let batch = self.at(position)?;
            if visit(position, &batch).is_break() {
                break;
            }
            position += batch.size as u64;
        }
        Ok(position)
    }
}

pub(super) fn not_a_batch(error: BatchError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Where a walk towards an offset starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Floor {
    pub position: u64,
    /// The last offset of the batch there, as the index says; `None` at the segment's start.
    pub last: Option<Offset>,
}

impl Floor {
    pub const START: Floor = Floor { position: 0, last: None };
}

/// The position of the first batch that ends above `offset`; `size` if there is none. A floor that
/// does not hold what its index entry said is not used: the segment is walked from its start.
pub(super) fn locate(file: &File, size: u64, floor: Floor, offset: Offset) -> io::Result<u64> {
    let mut walk = HeaderWalk::new(file, size);
    let start = match floor.last {
        Some(last) => match walk.at(floor.position) {
            Ok(batch) if batch.last_offset() == last && batch.base <= offset => floor.position,
            Ok(_) => 0,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => 0,
            Err(error) => return Err(error),
        },
        None => floor.position,
    };
    walk.visit(start, |_, batch| {
        if batch.end() > offset { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
}

/// A read of whole batches, planned where the log is and run where waiting is allowed.
#[derive(Debug)]
pub struct ReadPlan {
    source: Option<Source>,
    from: Offset,
    below: Offset,
    max_bytes: usize,
    is_tail: bool,
}

#[derive(Debug)]
struct Source {
    file: Arc<File>,
    floor: Floor,
    size: u64,
}

impl ReadPlan {
    /// Nothing to read.
    pub(super) fn nothing(at: Offset) -> ReadPlan {
        ReadPlan { source: None, from: at, below: at, max_bytes: 0, is_tail: true }
    }

    pub(super) fn new(file: Arc<File>, size: u64, floor: Floor, from: Offset) -> ReadPlan {
        let source = Some(Source { file, floor, size });
        ReadPlan { source, from, below: from, max_bytes: 0, is_tail: false }
    }

    pub(super) fn bounded(self, below: Offset, max_bytes: usize, is_tail: bool) -> ReadPlan {
        ReadPlan { below, max_bytes, is_tail, ..self }
    }

    pub fn is_empty(&self) -> bool {
        self.source.is_none()
    }

    /// Written a moment ago: in the page cache, so that running the plan does not wait.
    pub fn is_tail(&self) -> bool {
        self.is_tail
    }

    /// Whole batches from the one that holds the offset on: as many as fit, at least one, none
    /// that begins at or above the bound. Empty if a truncation took them meanwhile.
    ///
    /// # Errors
    ///
    /// The device's, and `InvalidData` where the file does not hold record batches.
    pub fn run(self) -> io::Result<Bytes> {
        let Some(Source { file, floor, size }) = self.source else { return Ok(Bytes::new()) };
        let size = size.min(file.metadata()?.len());
        let position = locate(&file, size, floor, self.from)?;
        if position >= size {
            return Ok(Bytes::new());
        }
        let left = (size - position) as usize;
        let bytes = read_at(&file, position, self.max_bytes.max(HEADER).min(left))?;
        let first = RecordBatch::read_header(&bytes).map_err(not_a_batch)?;
        if first.base >= self.below {
            return Ok(Bytes::new());
        }
        if first.size > bytes.len() {
            if first.size > left {
                return Err(not_a_batch(BatchError::Short { have: left }));
            }
            return read_at(&file, position, first.size).map(Bytes::from);
        }
        let end = whole_batches(&bytes, self.below);
        let mut bytes = Bytes::from(bytes);
        bytes.truncate(end);
        Ok(bytes)
    }
}

/// Where the whole batches at the front of `bytes` that begin below `below` end.
fn whole_batches(bytes: &[u8], below: Offset) -> usize {
    let mut end = 0;
    while let Ok(batch) = RecordBatch::read(&bytes[end..])
        && batch.base < below
    {
        end += batch.size;
    }
    end
}

/// Exactly `count` bytes at `position`, without clearing the memory first.
pub(super) fn read_at(file: &File, position: u64, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        let at = position + bytes.len() as u64;
        // `reserve` rounds up, so the limit has to be asked for again each time.
        let before = bytes.len();
        let spare = rustix::buffer::spare_capacity(&mut bytes);
        match rustix::io::pread(file, spare, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => bytes.truncate(before),
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(count);
    Ok(bytes)
}
