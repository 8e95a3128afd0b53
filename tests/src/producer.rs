//! Record batches by hand, and what was acknowledged of them.

use bytes::{BufMut, Bytes, BytesMut};

/// The producer's part of a batch header.
#[derive(Clone, Copy, Debug)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
    pub sequence: i32,
}

impl Producer {
    /// No idempotence.
    pub const NONE: Producer = Producer { id: -1, epoch: -1, sequence: -1 };
}

/// One uncompressed batch (format 2) with these values.
pub fn batch(values: &[&[u8]], producer: Producer) -> Bytes {
    let mut records = BytesMut::new();
    for (delta, value) in values.iter().enumerate() {
        let mut record = BytesMut::new();
        record.put_i8(0);
        put_varint(&mut record, 0);
        put_varint(&mut record, delta as i64);
        put_varint(&mut record, -1);
        put_varint(&mut record, value.len() as i64);
        record.put_slice(value);
        put_varint(&mut record, 0);
        put_varint(&mut records, record.len() as i64);
        records.put_slice(&record);
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64);
    let mut tail = BytesMut::new();
    tail.put_i16(0);
    tail.put_i32(values.len() as i32 - 1);
    tail.put_i64(now);
    tail.put_i64(now);
    tail.put_i64(producer.id);
    tail.put_i16(producer.epoch);
    tail.put_i32(producer.sequence);
    tail.put_i32(values.len() as i32);
    tail.put_slice(&records);
    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_i32(tail.len() as i32 + 9);
    batch.put_i32(-1);
    batch.put_i8(2);
    batch.put_u32(crc32c::crc32c(&tail));
    batch.put_slice(&tail);
    batch.freeze()
}

fn put_varint(into: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        into.put_u8((rest as u8 & 0x7f) | 0x80);
        rest >>= 7;
    }
    into.put_u8(rest as u8);
}

fn read_varint(bytes: &[u8], at: &mut usize) -> i64 {
    let mut value = 0_u64;
    let mut shift = 0;
    loop {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return (value >> 1) as i64 ^ -((value & 1) as i64);
        }
        shift += 7;
    }
}

/// The records in a run of uncompressed batches: offset and value.
pub fn values(mut bytes: &[u8]) -> Vec<(i64, Vec<u8>)> {
    let mut found = Vec::new();
    while bytes.len() >= 61 {
        let field = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let base = i64::from_be_bytes(bytes[..8].try_into().expect("8 bytes"));
        let size = 12 + field(8) as usize;
        if bytes.len() < size {
            break;
        }
        let mut at = 61;
        for _ in 0..field(57) {
            let length = read_varint(bytes, &mut at) as usize;
            let next = at + length;
            at += 1;
            read_varint(bytes, &mut at);
            let delta = read_varint(bytes, &mut at);
            let key = read_varint(bytes, &mut at).max(0) as usize;
            at += key;
            let value = read_varint(bytes, &mut at).max(0) as usize;
            found.push((base + delta, bytes[at..at + value].to_vec()));
            at = next;
        }
        bytes = &bytes[size..];
    }
    found
}
