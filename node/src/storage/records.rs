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

use bytes::{Bytes, BytesMut};
use kraft_model::log::Extent;
use kraft_model::replay::Extents;
use kraft_model::replica::{BatchHeader, ProducerBatch};
use kraft_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Bytes of a batch's header.
pub const HEADER: usize = 61;
/// Bytes before what `batchLength` counts.
pub const LENGTH_END: usize = 12;
/// Bytes at the front of a batch that a leader rewrites: base offset, length, leader epoch.
pub const STAMP: usize = 16;

const ATTRIBUTE_LOG_APPEND_TIME: i16 = 0x08;

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

impl Records {
    /// Nothing, standing at `at`.
    pub fn empty(at: Offset, last_epoch: i32) -> Records {
        Records { bytes: Bytes::new(), base: at, end: at, last_epoch }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes bytes from outside: one or more whole batches, each with the right CRC, each
    /// beginning where the one before it ends.
    pub fn parse(bytes: Bytes) -> Result<Records, BatchError> {
        Records::parse_with(bytes, true)
    }

    /// Like [`Records::parse`], for bytes whose CRCs were checked when they were written.
    pub fn parse_unverified(bytes: Bytes) -> Result<Records, BatchError> {
        Records::parse_with(bytes, false)
    }

    fn parse_with(bytes: Bytes, verify: bool) -> Result<Records, BatchError> {
        let first = RecordBatch::read(&bytes)?;
        let (mut position, mut end, mut last_epoch) = (0, first.base, first.leader_epoch);
        while position < bytes.len() {
            let rest = &bytes[position..];
            let batch = RecordBatch::read(rest)?;
            if batch.base != end {
                return Err(BatchError::Malformed(
                    "a batch does not begin where the last one ends",
                ));
            }
            if verify {
                batch.verify(rest)?;
            }
            position += batch.size;
            end = batch.end();
            last_epoch = batch.leader_epoch;
        }
        Ok(Records { bytes, base: first.base, end, last_epoch: last_epoch.0 })
    }

    /// The batches with their positions in `bytes`, in order; ends early at bytes that are none.
    pub fn batches(&self) -> impl Iterator<Item = (usize, RecordBatch)> + '_ {
        let mut position = 0;
        std::iter::from_fn(move || {
            let batch = RecordBatch::read(&self.bytes[position..]).ok()?;
            let at = position;
            position += batch.size;
            Some((at, batch))
        })
    }

    /// The batches without their records, for a trace.
    pub fn extents(&self) -> Extents {
        let batches = self.batches().map(|(_, batch)| (batch.header(), batch.crc));
        Extents::of_batches((self.base, self.end, self.last_epoch), batches)
    }

    /// The same of a piece of a snapshot's file, in which batches may begin and end anywhere.
    pub fn chunk_extents(&self) -> Extents {
        Extents::of_chunk((self.base, self.end, self.last_epoch), &self.bytes)
    }

    /// The whole batches at the front that fit into `max_bytes`, but at least the first one.
    #[must_use]
    pub fn truncate_to_bytes(&self, max_bytes: usize) -> Records {
        let fits = |&(at, batch): &(usize, RecordBatch)| at == 0 || at + batch.size <= max_bytes;
        match self.batches().take_while(fits).last() {
            Some((at, last)) => Records {
                bytes: self.bytes.slice(..at + last.size),
                base: self.base,
                end: last.end(),
                last_epoch: last.leader_epoch.0,
            },
            None => self.clone(),
        }
    }

    /// Gives the batches the offsets from `base` on and `epoch`. Written in place when nobody else
    /// holds the bytes, as with a request fresh from its socket; else copied.
    #[must_use]
    pub fn stamp(self, base: Offset, epoch: i32) -> Records {
        let batches: Vec<_> = self.batches().collect();
        let mut bytes = into_mut(self.bytes);
        let mut next = base;
        for (at, batch) in batches {
            bytes[at..at + STAMP].copy_from_slice(&batch.stamped(next, epoch));
            next = next.plus(i64::from(batch.last_offset_delta) + 1);
        }
        Records { bytes: bytes.freeze(), base, end: next, last_epoch: epoch }
    }

    /// Sets every record's time to the broker's (`message.timestamp.type=LogAppendTime`): the
    /// header alone says it, and its CRC follows.
    #[must_use]
    pub fn with_append_time(self, now_ms: i64) -> Records {
        let batches: Vec<_> = self.batches().collect();
        let mut bytes = into_mut(self.bytes);
        for (at, batch) in batches {
            let whole = &mut bytes[at..at + batch.size];
            let attributes = batch.attributes | ATTRIBUTE_LOG_APPEND_TIME;
            whole[21..23].copy_from_slice(&attributes.to_be_bytes());
            whole[35..43].copy_from_slice(&now_ms.to_be_bytes());
            let crc = crc32c::crc32c(&whole[21..]);
            whole[17..21].copy_from_slice(&crc.to_be_bytes());
        }
        Records { bytes: bytes.freeze(), ..self }
    }
}

fn into_mut(bytes: Bytes) -> BytesMut {
    bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
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
        let batch = RecordBatch::read_header(bytes)?;
        if bytes.len() < batch.size {
            return Err(BatchError::Short { have: bytes.len() });
        }
        Ok(batch)
    }

    /// Reads the header at the start of `bytes`, which may hold no more than that.
    pub fn read_header(bytes: &[u8]) -> Result<RecordBatch, BatchError> {
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
        if batch.base.0 < 0 || batch.base.0.checked_add(1 << 31).is_none() {
            return Err(BatchError::Malformed("the base offset is out of range"));
        }
        Ok(batch)
    }

    /// Checks the CRC of the batch at the start of `bytes`.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), BatchError> {
        let Some(covered) = bytes.get(21..self.size) else {
            return Err(BatchError::Short { have: bytes.len() });
        };
        let found = crc32c::crc32c(covered);
        if found == self.crc { Ok(()) } else { Err(BatchError::Crc { expected: self.crc, found }) }
    }

    /// Exclusive.
    pub fn end(&self) -> Offset {
        self.base.plus(i64::from(self.last_offset_delta) + 1)
    }

    /// The first [`STAMP`] bytes of this batch with another base offset and leader epoch. The CRC
    /// does not cover them.
    pub fn stamped(&self, base: Offset, epoch: i32) -> [u8; STAMP] {
        let mut stamp = [0; STAMP];
        stamp[..8].copy_from_slice(&base.0.to_be_bytes());
        stamp[8..12].copy_from_slice(&((self.size - LENGTH_END) as i32).to_be_bytes());
        stamp[12..].copy_from_slice(&epoch.to_be_bytes());
        stamp
    }

    /// What a machine reads of it.
    pub fn header(&self) -> BatchHeader {
        let producer = (self.producer_id.0 >= 0).then(|| ProducerBatch {
            id: self.producer_id,
            epoch: self.producer_epoch,
            first_sequence: self.base_sequence,
            last_sequence: add_sequence(self.base_sequence, self.last_offset_delta),
            timestamp: self.max_timestamp,
        });
        BatchHeader { base: self.base, end: self.end(), epoch: self.leader_epoch, producer }
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base.plus(i64::from(self.last_offset_delta))
    }

    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub fn compression(&self) -> i16 {
        self.attributes & 7
    }

    /// All records have the broker's time, which is `max_timestamp`.
    pub fn has_append_time(&self) -> bool {
        self.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }
}

/// Sequences count modulo 2^31 (I3).
fn add_sequence(first: i32, delta: i32) -> i32 {
    if first < 0 {
        return first;
    }
    ((i64::from(first) + i64::from(delta)) & 0x7fff_ffff) as i32
}
