//! Record batches as raw bytes (Kafka's format v2): only the header is ever looked at.
//!
//! ```text
//!  0 baseOffset i64 | 8 batchLength i32 | 12 partitionLeaderEpoch i32 | 16 magic i8 | 17 crc u32
//! 21 attributes i16 | 23 lastOffsetDelta i32 | 27 baseTimestamp i64 | 35 maxTimestamp i64
//! 43 producerId i64 | 51 producerEpoch i16 | 53 baseSequence i32 | 57 recordCount i32 | 61 records
//! ```
//!
//! The CRC (crc32c) covers everything from `attributes` on, so that base offset and leader epoch
//! can be written without touching it.

use bytes::Bytes;
use kraft_model::log::Extent;
use kraft_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Bytes of a batch's header.
pub const HEADER: usize = 61;
/// Bytes before what `batchLength` counts.
pub const LENGTH_END: usize = 12;

/// One or more whole record batches in offset order: the `Batch` of both kinds of log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Records {
    /// Slices of whole batches, together in order. Empty only for "nothing".
    pub bytes: Bytes,
    pub base: Offset,
    /// Exclusive.
    pub end: Offset,
    pub last_epoch: i32,
}

impl Extent for Records {
    fn base(&self) -> Offset {
        self.base
    }

    fn end(&self) -> Offset {
        self.end
    }

    fn last_epoch(&self) -> i32 {
        self.last_epoch
    }
}

/// A record batch's header, read in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordBatch {
    pub base: Offset,
    /// Bytes of the whole batch, header included.
    pub size: usize,
    pub leader_epoch: LeaderEpoch,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: i32,
    pub record_count: i32,
}

/// Why bytes are not a record batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("{have} bytes end inside a record batch")]
    Short { have: usize },
    #[error("batch length {0} is impossible")]
    Length(i32),
    #[error("record format {0} is not supported; format 2 is (message.format of Kafka 0.11 on)")]
    Magic(i8),
    #[error("checksum is {found:#010x}, the header says {expected:#010x}")]
    Crc { expected: u32, found: u32 },
    #[error("{0}")]
    Malformed(&'static str),
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    i64::from_be_bytes(eight)
}

impl RecordBatch {
    /// Reads the header at the start of `bytes`, which hold at least the whole batch. The CRC is
    /// not looked at: [`RecordBatch::verify`].
    pub fn read(bytes: &[u8]) -> Result<RecordBatch, BatchError> {
        if bytes.len() < HEADER {
            return Err(BatchError::Short { have: bytes.len() });
        }
        let length = i32_at(bytes, 8);
        if length < (HEADER - LENGTH_END) as i32 {
            return Err(BatchError::Length(length));
        }
        let magic = bytes[16] as i8;
        if magic != 2 {
            return Err(BatchError::Magic(magic));
        }
        let size = LENGTH_END + length as usize;
        if bytes.len() < size {
            return Err(BatchError::Short { have: bytes.len() });
        }
        let batch = RecordBatch {
            base: Offset(i64_at(bytes, 0)),
            size,
            leader_epoch: LeaderEpoch(i32_at(bytes, 12)),
            crc: i32_at(bytes, 17) as u32,
            attributes: i16_at(bytes, 21),
            last_offset_delta: i32_at(bytes, 23),
            base_timestamp: i64_at(bytes, 27),
            max_timestamp: i64_at(bytes, 35),
            producer_id: ProducerId(i64_at(bytes, 43)),
            producer_epoch: ProducerEpoch(i16_at(bytes, 51)),
            base_sequence: i32_at(bytes, 53),
            record_count: i32_at(bytes, 57),
        };
        if batch.last_offset_delta < 0 {
            return Err(BatchError::Malformed("the last offset delta is negative"));
        }
        Ok(batch)
    }

    /// Checks the CRC of the batch at the start of `bytes`.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), BatchError> {
        let found = crc32c::crc32c(&bytes[21..self.size]);
        if found == self.crc { Ok(()) } else { Err(BatchError::Crc { expected: self.crc, found }) }
    }

    /// Exclusive.
    pub fn end(&self) -> Offset {
        self.base.plus(i64::from(self.last_offset_delta) + 1)
    }

    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub fn compression(&self) -> i16 {
        self.attributes & 7
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }
}
