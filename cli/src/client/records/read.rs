//! Reading record batches in place.

use bytes::Bytes;
use kraft_node::storage::{BatchError, RecordBatch};

use super::varint;
use crate::client::Codec;

const HEADER: usize = 61;

/// Why bytes are not the records that their header promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("{0}")]
    Batch(#[from] BatchError),
    #[error("compression type {0} is unknown")]
    Codec(i16),
    #[error("{codec} decompression failed: {reason}")]
    Inflate { codec: &'static str, reason: String },
    #[error("record {index} of the batch at offset {base} is malformed")]
    Record { base: i64, index: i32 },
}

/// Whole batches of a run of bytes; a batch that the run cuts off ends it.
#[derive(Debug)]
pub struct BatchIter {
    rest: Bytes,
}

/// One batch: its header and its bytes.
#[derive(Clone, Debug)]
pub struct BatchView {
    pub header: RecordBatch,
    pub bytes: Bytes,
}

/// One record, borrowed from its batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    header_count: i32,
}

impl BatchIter {
    pub fn new(bytes: Bytes) -> BatchIter {
        BatchIter { rest: bytes }
    }
}

impl Iterator for BatchIter {
    type Item = Result<BatchView, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match RecordBatch::read(&self.rest) {
            Ok(header) => {
                let bytes = self.rest.split_to(header.size);
                Some(Ok(BatchView { header, bytes }))
            }
            // A fetch may end inside a batch; the next one brings it whole.
            Err(BatchError::Short { .. }) => None,
            Err(error) => {
                self.rest.clear();
                Some(Err(error.into()))
            }
        }
    }
}

impl BatchView {
    /// The offset after the batch's last one.
    pub fn end_offset(&self) -> i64 {
        self.header.end().0
    }

    pub fn codec(&self) -> Result<Codec, RecordError> {
        let id = self.header.compression();
        Codec::from_id(id).ok_or(RecordError::Codec(id))
    }

    /// Calls `each` with every record. Checks the CRC first; `scratch` takes what is decompressed.
    pub fn for_each_record(
        &self,
        scratch: &mut Vec<u8>,
        mut each: impl FnMut(Record<'_>),
    ) -> Result<(), RecordError> {
        self.header.verify(&self.bytes)?;
        let payload = &self.bytes[HEADER..];
        let mut rest = match self.codec()? {
            Codec::None => payload,
            codec => {
                codec.inflate(payload, scratch).map_err(|error| RecordError::Inflate {
                    codec: codec.name(),
                    reason: error.to_string(),
                })?;
                &scratch[..]
            }
        };
        for index in 0..self.header.record_count {
            let record = self.take_record(&mut rest);
            each(record.ok_or(RecordError::Record { base: self.header.base.0, index })?);
        }
        Ok(())
    }

    fn take_record<'a>(&self, rest: &mut &'a [u8]) -> Option<Record<'a>> {
        let length = usize::try_from(varint::take(rest)?).ok()?;
        let (mut body, after) = rest.split_at_checked(length)?;
        *rest = after;
        let (_attributes, fields) = body.split_first()?;
        body = fields;
        let timestamp_delta = varint::take(&mut body)?;
        let offset_delta = varint::take(&mut body)?;
        let key = take_field(&mut body)?;
        let value = take_field(&mut body)?;
        let header_count = i32::try_from(varint::take(&mut body)?).ok()?;
        // Bit 3: the broker's clock stamped the whole batch (LogAppendTime).
        let timestamp_ms = if self.header.attributes & 8 != 0 {
            self.header.max_timestamp
        } else {
            self.header.base_timestamp.checked_add(timestamp_delta)?
        };
        let offset = self.header.base.0.checked_add(offset_delta)?;
        Some(Record { offset, timestamp_ms, key, value, headers: body, header_count })
    }
}

impl<'a> Record<'a> {
    /// The record's headers in order; a malformed one ends them.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let mut rest = self.headers;
        (0..self.header_count).map_while(move |_| {
            let key = take_field(&mut rest)??;
            Some((key, take_field(&mut rest)?))
        })
    }
}

/// A length and as many bytes; -1 is null. The outer `None` is malformed.
fn take_field<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::take(rest)?;
    if length == -1 {
        return Some(None);
    }
    let (field, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(Some(field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::records::{BatchBuilder, Identity};
    use bytes::BytesMut;

    fn batch(codec: Codec) -> Bytes {
        let mut builder = BatchBuilder::new(1_024);
        builder.append(1_000, Some(b"k"), Some(b"first"));
        builder.append(3_000, None, Some(b""));
        builder.append(2_000, Some(b""), None);
        let identity = Identity { producer_id: 9, producer_epoch: 2, base_sequence: 40 };
        builder.seal(codec, identity).expect("memory takes every write").bytes
    }

    fn read(bytes: Bytes) -> Result<Vec<String>, RecordError> {
        let (mut seen, mut scratch) = (Vec::new(), Vec::new());
        for view in BatchIter::new(bytes) {
            view?.for_each_record(&mut scratch, |record| {
                seen.push(format!(
                    "{}@{} {:?}={:?} {}",
                    record.offset,
                    record.timestamp_ms,
                    record.key,
                    record.value,
                    record.headers().count()
                ));
            })?;
        }
        Ok(seen)
    }

    #[test]
    fn a_batch_comes_back_as_it_was_written_with_every_codec() {
        let expected = [
            "0@1000 Some([107])=Some([102, 105, 114, 115, 116]) 0",
            "1@3000 None=Some([]) 0",
            "2@2000 Some([])=None 0",
        ];
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let bytes = batch(codec);
            let header = RecordBatch::read(&bytes).expect("the header is whole");
            assert_eq!((header.producer_id.0, header.producer_epoch.0), (9, 2));
            assert_eq!((header.base_sequence, header.max_timestamp), (40, 3_000));
            assert_eq!(read(bytes).expect("our own batch is well-formed"), expected);
        }
    }

    #[test]
    fn another_crate_reads_our_batches() {
        use proto_kafka::records::RecordBatchDecoder;
        let set = RecordBatchDecoder::decode(&mut batch(Codec::None)).expect("it is format 2");
        assert_eq!(set.records.len(), 3);
        assert_eq!(set.records[0].key.as_deref(), Some(&b"k"[..]));
        assert_eq!(set.records[1].timestamp, 3_000);
        assert_eq!(set.records[2].sequence, 42);
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let mut bytes = BytesMut::from(&batch(Codec::None)[..]);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let error = read(bytes.freeze()).expect_err("the CRC covers every record");
        assert!(matches!(error, RecordError::Batch(BatchError::Crc { .. })));
    }

    #[test]
    fn a_batch_cut_off_at_the_end_is_left_for_the_next_fetch() {
        let whole = batch(Codec::None);
        let mut run = BytesMut::from(&whole[..]);
        run.extend_from_slice(&whole[..whole.len() - 1]);
        assert_eq!(read(run.freeze()).expect("the first is whole").len(), 3);
    }
}
