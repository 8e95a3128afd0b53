//! Entries as frames in a file: `length u32 | checksum u32 | entry`, after the file's own mark and
//! header.
//!
//! A process that dies while it writes leaves a frame that ends early: the *torn tail*, which is cut
//! off and told. A frame that is whole and does not fit its checksum is damage.

use super::decode::{DecodeError, decode};
use super::encode::{EncodeError, encode};
use super::{Digest, Entry, Header};

/// How a file of a trace begins, with the format's number at the end.
const MARK: &[u8; 8] = b"kraftrc\x01";

/// The format: what entries look like, and what their digests are of.
pub const FORMAT: u8 = MARK[7];

/// The longest entry that is believed: a snapshot of the metadata of 100,000 partitions fits.
const MAX_ENTRY: usize = 64 << 20;

const FRAME: usize = 8;

/// Why a file of a trace cannot be read further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("it is no trace of kraft")]
    Foreign,
    #[error("it has format {0}; this release reads format {FORMAT}")]
    Format(u8),
    #[error("its header cannot be read: {0}")]
    Header(DecodeError),
    #[error("it ends within its header")]
    NoHeader,
    #[error("entry {entry} at byte {at} is damaged: its checksum does not fit")]
    Damaged { entry: u64, at: usize },
    #[error("entry {entry} at byte {at} cannot be read: {source}")]
    Entry { entry: u64, at: usize, source: DecodeError },
}

/// Begins a file.
///
/// # Errors
/// Never, for a header; the encoding's.
pub fn begin_file(bytes: &mut Vec<u8>, header: &Header) -> Result<(), EncodeError> {
    bytes.extend_from_slice(MARK);
    frame(bytes, |bytes| encode(bytes, header))
}

/// Appends one frame with what `write` appends in it; nothing if that fails.
pub(super) fn frame(
    bytes: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; FRAME]);
    match write(bytes) {
        Ok(()) => {
            close_frame(bytes, start);
            Ok(())
        }
        Err(error) => {
            bytes.truncate(start);
            Err(error)
        }
    }
}

fn close_frame(bytes: &mut [u8], start: usize) {
    let length = (bytes.len() - start - FRAME) as u32;
    let checksum = checksum(&bytes[start + FRAME..]);
    bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
    bytes[start + 4..start + FRAME].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(bytes: &[u8]) -> u32 {
    let digest = Digest::of(bytes);
    (digest ^ digest >> 32) as u32
}

/// A file of a trace, read entry by entry.
#[derive(Clone, Debug)]
pub struct TraceFile<'a> {
    pub header: Header,
    bytes: &'a [u8],
    at: usize,
    entry: u64,
    torn: Option<usize>,
}

impl<'a> TraceFile<'a> {
    /// # Errors
    /// If `bytes` are no trace that this release reads.
    pub fn open(bytes: &'a [u8]) -> Result<TraceFile<'a>, ReadError> {
        let (mark, _) = bytes.split_at_checked(MARK.len()).ok_or(ReadError::Foreign)?;
        match mark.split_last() {
            Some((&format, name)) if name == &MARK[..7] && format != FORMAT => {
                return Err(ReadError::Format(format));
            }
            Some((_, name)) if name == &MARK[..7] => {}
            _ => return Err(ReadError::Foreign),
        }
        let mut at = MARK.len();
        let damaged = ReadError::Damaged { entry: 0, at };
        let header = match next_frame(bytes, &mut at) {
            Next::Frame(entry) => decode(entry).map_err(ReadError::Header)?,
            Next::End | Next::Torn => return Err(ReadError::NoHeader),
            Next::Damaged => return Err(damaged),
        };
        let header: Header = header;
        let entry = header.entries_before;
        Ok(TraceFile { header, bytes, at, entry, torn: None })
    }

    /// Goes on where [`TraceFile::place`] said.
    pub(super) fn go_to(&mut self, at: usize, entry: u64) {
        (self.at, self.entry) = (at, entry);
    }

    /// How far it was read: bytes, and the last entry's number.
    pub(super) fn place(&self) -> (usize, u64) {
        (self.at, self.entry)
    }

    /// Bytes of a torn tail, once the end was reached.
    pub fn torn(&self) -> Option<usize> {
        self.torn
    }

    /// The next entry with its number in the recording, counted from 1.
    ///
    /// # Errors
    /// A damaged entry; there is nothing after it.
    pub fn next_entry(&mut self) -> Result<Option<(u64, Entry)>, ReadError> {
        let (entry, at) = (self.entry + 1, self.at);
        match next_frame(self.bytes, &mut self.at) {
            Next::Frame(bytes) => {
                self.entry = entry;
                let found = decode(bytes);
                let found = found.map_err(|source| ReadError::Entry { entry, at, source })?;
                Ok(Some((entry, found)))
            }
            Next::End => Ok(None),
            Next::Torn => {
                self.torn = Some(self.bytes.len() - at);
                self.at = self.bytes.len();
                Ok(None)
            }
            Next::Damaged => {
                self.at = self.bytes.len();
                Err(ReadError::Damaged { entry, at })
            }
        }
    }
}

enum Next<'a> {
    Frame(&'a [u8]),
    End,
    Torn,
    Damaged,
}

fn next_frame<'a>(bytes: &'a [u8], at: &mut usize) -> Next<'a> {
    let rest = &bytes[*at..];
    if rest.is_empty() {
        return Next::End;
    }
    let Some((head, rest)) = rest.split_at_checked(FRAME) else { return Next::Torn };
    let word = |from: usize| u32::from_le_bytes([0, 1, 2, 3].map(|index| head[from + index]));
    let length = word(0) as usize;
    // What a power failure leaves of a file that had grown is zeros.
    if head.iter().chain(rest).all(|&byte| byte == 0) {
        return Next::Torn;
    }
    if length > MAX_ENTRY || length == 0 {
        return Next::Damaged;
    }
    let Some(entry) = rest.get(..length) else { return Next::Torn };
    *at += FRAME + length;
    if checksum(entry) == word(4) { Next::Frame(entry) } else { Next::Damaged }
}
