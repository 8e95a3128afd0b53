//! Making record batches of our own, and reading the records of one.
//!
//! ```text
//! record: length varint | attributes i8 | timestampDelta varint | offsetDelta varint
//!         | key (length varint, -1 none) | value (likewise) | header count varint | headers
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use kraft_model::Offset;

use super::records::{BatchError, HEADER, LENGTH_END, RecordBatch, Records};

const ATTRIBUTE_CONTROL: i16 = 0x20;

/// One record of an uncompressed batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordView<'a> {
    pub offset: Offset,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

impl Records {
    /// One uncompressed batch of keyless records with `values`, all of the same time. Empty
    /// `values` give empty records: a batch holds at least one.
    pub fn build<'a>(
        base: Offset,
        epoch: i32,
        timestamp_ms: i64,
        control: bool,
        values: impl Iterator<Item = &'a [u8]>,
    ) -> Records {
        Records::build_keyed(base, epoch, timestamp_ms, control, values.map(|v| (None, v)))
    }

    /// Like [`Records::build`], with keys (control records are told apart by theirs).
    pub fn build_keyed<'a>(
        base: Offset,
        epoch: i32,
        timestamp_ms: i64,
        control: bool,
        records: impl Iterator<Item = (Option<&'a [u8]>, &'a [u8])>,
    ) -> Records {
        let mut bytes = BytesMut::zeroed(HEADER);
        let mut count = 0;
        for (key, value) in records {
            put_record(&mut bytes, count, key, value);
            count += 1;
        }
        if count == 0 {
            return Records::empty(base, epoch);
        }
        write_header(&mut bytes, base, epoch, timestamp_ms, control, count);
        let end = base.plus(i64::from(count));
        Records { bytes: bytes.freeze(), base, end, last_epoch: epoch }
    }
}

fn put_record(bytes: &mut BytesMut, delta: i32, key: Option<&[u8]>, value: &[u8]) {
    let key_length = key.map_or(-1, |key| key.len() as i64);
    let length = 1 // attributes
        + varint_size(0)
        + varint_size(i64::from(delta))
        + varint_size(key_length)
        + key.map_or(0, <[u8]>::len)
        + varint_size(value.len() as i64)
        + value.len()
        + varint_size(0);
    put_varint(bytes, length as i64);
    bytes.put_i8(0);
    put_varint(bytes, 0);
    put_varint(bytes, i64::from(delta));
    put_varint(bytes, key_length);
    bytes.put_slice(key.unwrap_or_default());
    put_varint(bytes, value.len() as i64);
    bytes.put_slice(value);
    put_varint(bytes, 0);
}

fn write_header(
    bytes: &mut BytesMut,
    base: Offset,
    epoch: i32,
    timestamp_ms: i64,
    control: bool,
    count: i32,
) {
    let mut header = Vec::with_capacity(HEADER);
    header.put_i64(base.0);
    header.put_i32((bytes.len() - LENGTH_END) as i32);
    header.put_i32(epoch);
    header.put_i8(2);
    header.put_u32(0); // the CRC, below
    header.put_i16(if control { ATTRIBUTE_CONTROL } else { 0 });
    header.put_i32(count - 1);
    header.put_i64(timestamp_ms);
    header.put_i64(timestamp_ms);
    header.put_i64(-1); // no producer id, epoch, sequence
    header.put_i16(-1);
    header.put_i32(-1);
    header.put_i32(count);
    bytes[..HEADER].copy_from_slice(&header);
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// The records of the batch at the start of `bytes`. A compressed batch is one error; so are
/// lengths that do not fit, after which nothing more comes.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = Result<RecordView<'_>, BatchError>> {
    let mut reader = RecordReader::new(bytes);
    std::iter::from_fn(move || reader.next_record())
}

/// The values of the batch at the start of `bytes`; an absent value is an empty one.
pub fn values(bytes: &[u8]) -> impl Iterator<Item = Result<&[u8], BatchError>> {
    records(bytes).map(|record| record.map(|record| record.value.unwrap_or_default()))
}

struct RecordReader<'a> {
    state: Result<(RecordBatch, Cursor<'a>), Option<BatchError>>,
    left: i32,
}

impl<'a> RecordReader<'a> {
    fn new(bytes: &'a [u8]) -> RecordReader<'a> {
        let state = RecordBatch::read(bytes).and_then(|batch| {
            if batch.compression() != 0 {
                return Err(BatchError::Malformed("the records are compressed"));
            }
            if batch.record_count < 0 {
                return Err(BatchError::Malformed("the record count is negative"));
            }
            Ok((batch, Cursor { rest: &bytes[HEADER..batch.size] }))
        });
        let left = state.as_ref().map_or(0, |(batch, _)| batch.record_count);
        RecordReader { state: state.map_err(Some), left }
    }

    fn next_record(&mut self) -> Option<Result<RecordView<'a>, BatchError>> {
        let (batch, cursor) = match &mut self.state {
            Ok(open) => open,
            Err(error) => return error.take().map(Err),
        };
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let record = cursor.record(batch);
        if record.is_err() {
            self.state = Err(None);
        }
        Some(record)
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn record(&mut self, batch: &RecordBatch) -> Result<RecordView<'a>, BatchError> {
        let length = self.varint()?;
        let mut body = Cursor { rest: self.take(length)? };
        body.take(1)?;
        let timestamp_delta = body.varint()?;
        let offset_delta = body.varint()?;
        let key = body.nullable()?;
        let value = body.nullable()?;
        if !(0..=i64::from(batch.last_offset_delta)).contains(&offset_delta) {
            return Err(BatchError::Malformed("a record's offset is outside its batch"));
        }
        Ok(RecordView {
            offset: batch.base.plus(offset_delta),
            timestamp: batch.base_timestamp.wrapping_add(timestamp_delta),
            key,
            value,
        })
    }

    fn take(&mut self, count: i64) -> Result<&'a [u8], BatchError> {
        let count = usize::try_from(count)
            .map_err(|_| BatchError::Malformed("a length inside a record is negative"))?;
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(BatchError::Malformed("a record is longer than its batch")),
        }
    }

    fn nullable(&mut self) -> Result<Option<&'a [u8]>, BatchError> {
        match self.varint()? {
            -1 => Ok(None),
            length => self.take(length).map(Some),
        }
    }

    /// A zigzag varint of at most ten bytes.
    fn varint(&mut self) -> Result<i64, BatchError> {
        let mut raw: u64 = 0;
        for shift in (0..70).step_by(7) {
            let Some((&byte, rest)) = self.rest.split_first() else {
                return Err(BatchError::Malformed("a record ends inside a number"));
            };
            self.rest = rest;
            raw |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
            }
        }
        Err(BatchError::Malformed("a number in a record has more than ten bytes"))
    }
}

fn put_varint(bytes: &mut BytesMut, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        bytes.put_u8(raw as u8 | 0x80);
        raw >>= 7;
    }
    bytes.put_u8(raw as u8);
}

fn varint_size(value: i64) -> usize {
    let raw = ((value << 1) ^ (value >> 63)) as u64;
    (64 - raw.leading_zeros() as usize).max(1).div_ceil(7)
}

/// Kafka's key of the control record with which an epoch begins: version 0, type 2.
const LEADER_CHANGE_KEY: [u8; 4] = [0, 0, 0, 2];

/// The control batch with which `epoch` begins (Q5), in Kafka's form (LeaderChangeMessage,
/// version 0, with empty voter lists: the quorum keeps its own).
pub fn leader_change(base: Offset, epoch: i32, leader: i32, timestamp_ms: i64) -> Records {
    let mut value = Vec::with_capacity(9);
    value.put_i16(0);
    value.put_i32(leader);
    value.put_slice(&[1, 1, 0]); // two empty compact arrays, no tagged fields
    let record = std::iter::once((Some(&LEADER_CHANGE_KEY[..]), &value[..]));
    Records::build_keyed(base, epoch, timestamp_ms, true, record)
}

/// The marks at a snapshot's front and back, in Kafka's form (types 3 and 4): a file without the
/// second one is not whole.
pub fn snapshot_mark(base: Offset, epoch: i32, footer: bool, timestamp_ms: i64) -> Records {
    let key = [0, 0, 0, if footer { 4 } else { 3 }];
    let mut value = Vec::with_capacity(11);
    value.put_i16(0);
    if !footer {
        value.put_i64(timestamp_ms);
    }
    value.put_u8(0);
    let record = std::iter::once((Some(&key[..]), &value[..]));
    Records::build_keyed(base, epoch, timestamp_ms, true, record)
}

/// Whether the batch at the start of `bytes` is the mark that ends a snapshot.
pub fn is_snapshot_footer(bytes: &Bytes) -> bool {
    RecordBatch::read(bytes).is_ok_and(|batch| batch.is_control())
        && records(bytes)
            .next()
            .is_some_and(|first| first.is_ok_and(|record| record.key == Some(&[0, 0, 0, 4][..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_values_are_read_back_with_a_valid_checksum() {
        let long = vec![7; 300];
        let input: [&[u8]; 3] = [b"a", b"", &long];
        let built = Records::build(Offset(5), 3, 1_000, false, input.iter().copied());
        let parsed = Records::parse(built.bytes.clone()).expect("what was built is a batch");
        assert_eq!((parsed.base, parsed.end, parsed.last_epoch), (Offset(5), Offset(8), 3));
        let read: Result<Vec<_>, _> = values(&parsed.bytes).collect();
        assert_eq!(read, Ok(input.to_vec()));
    }

    #[test]
    fn a_stamped_batch_keeps_its_checksum_and_an_append_time_renews_it() {
        let built = Records::build(Offset(0), 0, 1, false, [&b"x"[..], b"y"].into_iter());
        let stamped = built.stamp(Offset(40), 9).with_append_time(77);
        let parsed = Records::parse(stamped.bytes).expect("checksum holds");
        let (_, batch) = parsed.batches().next().expect("one batch");
        assert_eq!((batch.base, batch.leader_epoch.0, batch.max_timestamp), (Offset(40), 9, 77));
        assert_eq!(batch.attributes & 8, 8);
    }

    #[test]
    fn every_flipped_byte_of_a_record_is_an_error_or_a_value_but_never_a_panic() {
        let built = Records::build(Offset(0), 0, 1, false, [&b"abc"[..], b"defg"].into_iter());
        for at in 0..built.bytes.len() {
            for bit in 0..8 {
                let mut bytes = built.bytes.to_vec();
                bytes[at] ^= 1 << bit;
                assert!(values(&bytes).count() <= 1 << 20);
            }
        }
    }
}
