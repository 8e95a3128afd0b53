//! `kraft log dump`: what a segment or an index holds.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use crate::client::records::{BatchIter, BatchView};
use crate::output::{Format, OutputArgs, line};
use crate::report::{Context, Failure};

/// Bytes up to and with `batchLength`.
const LENGTH_END: usize = 12;
/// Larger than any batch a broker takes.
const MAX_BATCH: usize = 100 * 1024 * 1024;

/// Look into the files of a log
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, clap::Subcommand)]
enum LogCommand {
    /// Print the batches of a segment (.log), or the entries of an index (.index, .timeindex)
    ///
    /// JSON, a line each: batch: {position, size, base_offset, last_offset, leader_epoch, count,
    /// codec, producer_id, producer_epoch, base_sequence, max_timestamp_ms, control,
    /// transactional, records: [{offset, timestamp_ms, key, value}]}; index: {offset, position};
    /// time index: {timestamp_ms, offset}.
    Dump {
        file: PathBuf,
        /// The records too
        #[arg(long)]
        records: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Serialize)]
struct Batch {
    position: u64,
    size: usize,
    base_offset: i64,
    last_offset: i64,
    leader_epoch: i32,
    count: i32,
    codec: &'static str,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    max_timestamp_ms: i64,
    control: bool,
    transactional: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Vec<DumpedRecord>>,
}

#[derive(Serialize)]
struct DumpedRecord {
    offset: i64,
    timestamp_ms: i64,
    key: Option<String>,
    value: Option<String>,
}

#[derive(Serialize)]
struct IndexEntry {
    offset: i64,
    position: u32,
}

#[derive(Serialize)]
struct TimeIndexEntry {
    timestamp_ms: i64,
    offset: i64,
}

pub fn run(args: &LogArgs) -> Result<(), Failure> {
    let LogCommand::Dump { file, records, output } = &args.command;
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("index") => index(file, *output),
        Some("timeindex") => time_index(file, *output),
        _ => segment(file, *records, *output),
    }
}

fn failed(file: &Path) -> String {
    format!("cannot dump {}", file.display())
}

/// Batch by batch, so that a segment of any size fits into memory.
fn segment(file: &Path, records: bool, output: OutputArgs) -> Result<(), Failure> {
    let mut reader = BufReader::with_capacity(1 << 20, open(file)?);
    let mut position = 0;
    let mut scratch = Vec::new();
    while let Some(bytes) = next_batch(&mut reader, position).map_err(|why| {
        Failure::new(failed(file)).because(why).next("what stands before it was printed")
    })? {
        let size = bytes.len();
        let damaged =
            |why: String| Failure::new(failed(file)).because(format!("at byte {position}: {why}"));
        let view = BatchIter::new(bytes).next();
        let view = view.ok_or_else(|| damaged("the batch is cut off".to_owned()))?;
        let view = view.map_err(|error| damaged(error.to_string()))?;
        let batch = dump(&view, position, records, &mut scratch);
        print(&batch.map_err(damaged)?, output, batch_text)?;
        position += size as u64;
    }
    Ok(())
}

/// The next batch's bytes; `None` at the end. Zeroes or a cut-off batch at the end are a torn tail.
fn next_batch(reader: &mut impl Read, position: u64) -> Result<Option<Bytes>, String> {
    let mut prefix = [0; LENGTH_END];
    let mut have = 0;
    while have < LENGTH_END {
        match reader.read(&mut prefix[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => {
                return Err(format!("torn tail: the file ends inside a batch at byte {position}"));
            }
            Ok(read) => have += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    let length = i32::from_be_bytes([prefix[8], prefix[9], prefix[10], prefix[11]]);
    let length = usize::try_from(length).ok().filter(|length| (1..MAX_BATCH).contains(length));
    let length = length.ok_or_else(|| format!("no batch begins at byte {position}"))?;
    let mut bytes = BytesMut::from(&prefix[..]);
    let mut body = Vec::new();
    reader.take(length as u64).read_to_end(&mut body).map_err(|error| error.to_string())?;
    if body.len() < length {
        return Err(format!("torn tail: the file ends inside a batch at byte {position}"));
    }
    bytes.extend_from_slice(&body);
    Ok(Some(bytes.freeze()))
}

fn dump(
    view: &BatchView,
    position: u64,
    with_records: bool,
    scratch: &mut Vec<u8>,
) -> Result<Batch, String> {
    let header = &view.header;
    let mut records = Vec::new();
    // Read even if not shown: a dump of a damaged batch must say so.
    view.for_each_record(scratch, |record| {
        if with_records {
            let text = |bytes: Option<&[u8]>| {
                bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            };
            records.push(DumpedRecord {
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                key: text(record.key),
                value: text(record.value),
            });
        }
    })
    .map_err(|error| error.to_string())?;
    Ok(Batch {
        position,
        size: header.size,
        base_offset: header.base.0,
        last_offset: view.end_offset() - 1,
        leader_epoch: header.leader_epoch.0,
        count: header.record_count,
        codec: view.codec().map_err(|error| error.to_string())?.name(),
        producer_id: header.producer_id.0,
        producer_epoch: header.producer_epoch.0,
        base_sequence: header.base_sequence,
        max_timestamp_ms: header.max_timestamp,
        control: header.is_control(),
        transactional: header.is_transactional(),
        records: with_records.then_some(records),
    })
}

fn batch_text(batch: &Batch) -> String {
    let mut text = format!(
        "{:>10}  offsets {}..{}  epoch {}  {} records  {} bytes  {}",
        batch.position,
        batch.base_offset,
        batch.last_offset,
        batch.leader_epoch,
        batch.count,
        batch.size,
        batch.codec
    );
    if batch.producer_id >= 0 {
        text += &format!(
            "  producer {}/{} from {}",
            batch.producer_id, batch.producer_epoch, batch.base_sequence
        );
    }
    text += if batch.control { "  control" } else { "" };
    text += if batch.transactional { "  transactional" } else { "" };
    for record in batch.records.iter().flatten() {
        let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".to_owned());
        text += &format!(
            "\n            {} @{} {} = {}",
            record.offset,
            record.timestamp_ms,
            shown(&record.key),
            shown(&record.value)
        );
    }
    text
}

/// Eight bytes an entry: offset from the file's base, position in the segment.
fn index(file: &Path, output: OutputArgs) -> Result<(), Failure> {
    let base = base_offset(file)?;
    for entry in entries::<8>(file)? {
        let [a, b, c, d, e, f, g, h] = entry;
        let entry = IndexEntry {
            offset: base + i64::from(u32::from_be_bytes([a, b, c, d])),
            position: u32::from_be_bytes([e, f, g, h]),
        };
        print(&entry, output, |entry| format!("offset {}  at {}", entry.offset, entry.position))?;
    }
    Ok(())
}

/// Twelve bytes an entry: timestamp, offset from the file's base.
fn time_index(file: &Path, output: OutputArgs) -> Result<(), Failure> {
    let base = base_offset(file)?;
    for entry in entries::<12>(file)? {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = entry;
        let entry = TimeIndexEntry {
            timestamp_ms: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            offset: base + i64::from(u32::from_be_bytes([i, j, k, l])),
        };
        print(&entry, output, |entry| {
            format!("timestamp {}  offset {}", entry.timestamp_ms, entry.offset)
        })?;
    }
    Ok(())
}

/// Fixed-size entries up to the first one that was never written. Indexes are allocated ahead and
/// zero-filled; only the very first entry may be all zeros and real.
fn entries<const SIZE: usize>(file: &Path) -> Result<Vec<[u8; SIZE]>, Failure> {
    let mut bytes = Vec::new();
    open(file)?.read_to_end(&mut bytes).doing(|| failed(file))?;
    let (entries, _) = bytes.as_chunks::<SIZE>();
    let written = entries.iter().take_while(|entry| **entry != [0; SIZE]);
    Ok(written.copied().collect())
}

/// Segment files are named by their base offset.
fn base_offset(file: &Path) -> Result<i64, Failure> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem.parse().map_err(|_| {
        Failure::new(failed(file))
            .because("its name is not a base offset such as 00000000000000000000")
    })
}

fn open(file: &Path) -> Result<File, Failure> {
    File::open(file).doing(|| failed(file))
}

fn print<T: Serialize>(
    item: &T,
    output: OutputArgs,
    text: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    match output.output {
        Format::Table => line(&text(item)),
        Format::Json => {
            let json = serde_json::to_string(item);
            line(&json.map_err(|error| Failure::new("cannot write JSON").because(error))?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Codec;
    use crate::client::records::{BatchBuilder, Identity};

    fn batch() -> Bytes {
        let mut builder = BatchBuilder::new(256);
        builder.append(5, Some(b"k"), Some(b"v"));
        builder.append(6, None, Some(b"w"));
        builder.seal(Codec::Gzip, Identity::NONE).expect("memory takes every write").bytes
    }

    #[test]
    fn a_batch_is_shown_with_its_records() {
        let view = BatchIter::new(batch()).next().expect("there is one").expect("it is whole");
        let dumped = dump(&view, 0, true, &mut Vec::new()).expect("it is well-formed");
        let text = batch_text(&dumped);
        assert!(text.contains("offsets 0..1  epoch -1  2 records"), "{text}");
        assert!(text.ends_with("1 @6 null = w"), "{text}");
    }

    #[test]
    fn a_torn_tail_is_named_and_a_clean_end_is_not_an_error() {
        let whole = batch();
        let mut clean = &whole[..];
        assert!(next_batch(&mut clean, 0).expect("it is whole").is_some());
        assert!(next_batch(&mut clean, 9).expect("the end").is_none());
        let mut torn = &whole[..whole.len() - 1];
        assert!(next_batch(&mut torn, 0).expect_err("it is cut off").contains("torn tail"));
        let zeros = [0u8; 64];
        assert!(next_batch(&mut &zeros[..], 0).is_err());
    }
}
