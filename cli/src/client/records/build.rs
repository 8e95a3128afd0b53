//! Writing a record batch (format 2).

use std::io;

use bytes::{BufMut, Bytes, BytesMut};

use super::varint;
use crate::client::Codec;

/// Bytes of a batch's header, and what of it `batchLength` does not count.
const HEADER: usize = 61;
const LENGTH_END: usize = 12;
/// Where the CRC's coverage begins: attributes.
const CRC_FROM: usize = 21;

/// Who produces, for idempotence: what the broker tells duplicates by. `None` is all -1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
}

impl Identity {
    pub const NONE: Identity = Identity { producer_id: -1, producer_epoch: -1, base_sequence: -1 };
}

/// A batch that is still growing: uncompressed records behind the header's place.
#[derive(Debug)]
pub struct BatchBuilder {
    bytes: BytesMut,
    count: i32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

/// A batch as it goes on the wire.
#[derive(Clone, Debug)]
pub struct SealedBatch {
    pub bytes: Bytes,
    pub count: i32,
}

impl BatchBuilder {
    /// Room for `capacity` bytes is taken at once.
    pub fn new(capacity: usize) -> BatchBuilder {
        let mut bytes = BytesMut::with_capacity(capacity.max(HEADER));
        bytes.put_bytes(0, HEADER);
        BatchBuilder { bytes, count: 0, base_timestamp_ms: 0, max_timestamp_ms: 0 }
    }

    pub fn count(&self) -> i32 {
        self.count
    }

    /// Bytes so far, header included, before compression.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// An upper bound of what one more record adds.
    pub fn record_bound(key: Option<&[u8]>, value: Option<&[u8]>) -> usize {
        // Five varints of at most 5 bytes, one of at most 10, the attributes byte.
        key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + 36
    }

    /// Appends a record without headers.
    pub fn append(&mut self, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        if self.count == 0 {
            self.base_timestamp_ms = timestamp_ms;
            self.max_timestamp_ms = timestamp_ms;
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        let timestamp_delta = timestamp_ms - self.base_timestamp_ms;
        let offset_delta = i64::from(self.count);
        // Attributes and the header count (none) are a byte each.
        let body = 2
            + varint::size(timestamp_delta)
            + varint::size(offset_delta)
            + field_size(key)
            + field_size(value);
        varint::put(&mut self.bytes, body as i64);
        self.bytes.put_u8(0);
        varint::put(&mut self.bytes, timestamp_delta);
        varint::put(&mut self.bytes, offset_delta);
        put_field(&mut self.bytes, key);
        put_field(&mut self.bytes, value);
        varint::put(&mut self.bytes, 0);
        self.count += 1;
    }

    /// Compresses, fills in the header and computes the CRC. Base offset and leader epoch are the
    /// broker's to write.
    pub fn seal(self, codec: Codec, identity: Identity) -> io::Result<SealedBatch> {
        let BatchBuilder { mut bytes, count, base_timestamp_ms, max_timestamp_ms } = self;
        if codec != Codec::None {
            let mut packed = vec![0; HEADER];
            codec.deflate(&bytes[HEADER..], &mut packed)?;
            bytes = BytesMut::from(&packed[..]);
        }
        let length = (bytes.len() - LENGTH_END) as i32;
        let mut header = &mut bytes[..HEADER];
        header.put_i64(0);
        header.put_i32(length);
        header.put_i32(-1);
        header.put_i8(2);
        header.put_u32(0);
        header.put_i16(codec.id());
        header.put_i32(count - 1);
        header.put_i64(base_timestamp_ms);
        header.put_i64(max_timestamp_ms);
        header.put_i64(identity.producer_id);
        header.put_i16(identity.producer_epoch);
        header.put_i32(identity.base_sequence);
        header.put_i32(count);
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[CRC_FROM - 4..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        Ok(SealedBatch { bytes: bytes.freeze(), count })
    }
}

fn field_size(field: Option<&[u8]>) -> usize {
    match field {
        Some(bytes) => varint::size(bytes.len() as i64) + bytes.len(),
        None => 1,
    }
}

fn put_field(out: &mut BytesMut, field: Option<&[u8]>) {
    match field {
        Some(bytes) => {
            varint::put(out, bytes.len() as i64);
            out.put_slice(bytes);
        }
        None => varint::put(out, -1),
    }
}
