//! Producer snapshots: what the log below an offset says of its idempotent producers, so that
//! their state (I1) is rebuilt from the last segment and not from all of them.
//!
//! The file is Kafka's (`<offset>.snapshot`, version 1: each producer's last batch). Behind what
//! Kafka reads stand the last five batches of each, which the duplicate check wants (I1, I2):
//!
//! ```text
//! version i16 | crc32c u32 of the rest | count i32 | Kafka's entries | "KRFT" | count i32 | batches
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};
use kraft_model::limits::PRODUCER_BATCHES;
use kraft_model::replica::{BatchHeader, ProducerBatch};
use kraft_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use super::durable;
use super::error::StorageError;
use super::files::FileKind;
use super::jobs::FlushLimit;
use super::log::SegmentedLog;
use super::read::{Floor, HeaderWalk, locate};
use super::segment::Home;

const VERSION: u16 = 1;
const CRC_END: usize = 6;
const KAFKA_ENTRY: usize = 46;
const OWN_MARK: &[u8; 4] = b"KRFT";
const OWN_ENTRY: usize = 46;

/// Producers in one snapshot; those that were silent longest are left out.
const MAX_PRODUCERS: usize = 100_000;

/// The last batches of each producer, oldest first.
#[derive(Default)]
struct Producers(BTreeMap<ProducerId, Vec<BatchHeader>>);

impl Producers {
    fn note(&mut self, header: BatchHeader) {
        let Some(producer) = header.producer else { return };
        let batches = self.0.entry(producer.id).or_default();
        if batches.len() == PRODUCER_BATCHES {
            batches.remove(0);
        }
        batches.push(header);
    }

    fn forget_the_oldest(&mut self) {
        let excess = self.0.len().saturating_sub(MAX_PRODUCERS);
        if excess > 0 {
            let last = |batches: &Vec<BatchHeader>| batches.last().map(|header| header.end);
            let mut by_age: Vec<_> = self.0.iter().map(|(id, b)| (last(b), *id)).collect();
            by_age.sort_unstable();
            for (_, id) in &by_age[..excess] {
                self.0.remove(id);
            }
        }
    }

    /// In the log's order.
    fn headers(self) -> Vec<BatchHeader> {
        let mut headers: Vec<_> = self.0.into_values().flatten().collect();
        headers.sort_unstable_by_key(|header| header.base);
        headers
    }
}

/// The segments that a snapshot is made from.
#[derive(Debug)]
pub(super) struct SnapshotSource {
    home: Home,
    /// Bases and sizes, in order.
    segments: Vec<(Offset, u64)>,
}

impl SnapshotSource {
    /// Everything of `log` below `at`, which is where a segment ends.
    pub fn below(log: &SegmentedLog, at: Offset) -> SnapshotSource {
        let active = (log.active.base, log.active.size);
        let sealed = log.sealed.iter().map(|segment| (segment.base, segment.size));
        let segments = sealed.chain([active]).filter(|(base, _)| *base < at).collect();
        SnapshotSource { home: log.home.clone(), segments }
    }

    /// The headers of idempotent batches from `from` on.
    fn visit(&self, from: Offset, mut visit: impl FnMut(BatchHeader)) -> io::Result<()> {
        let after = self.segments.partition_point(|(base, _)| *base <= from);
        for &(base, size) in &self.segments[after.saturating_sub(1)..] {
            if size == 0 {
                continue;
            }
            let file = self.home.open(FileKind::Log, base)?;
            let position = locate(&file, size, Floor::START, from)?;
            HeaderWalk::new(&file, size).visit(position, |_, batch| {
                let header = batch.header();
                if header.producer.is_some() {
                    visit(header);
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(())
    }
}

/// Writes the snapshot at `at`, unless it is there or a truncation below `at` makes it void.
pub(super) fn write_snapshot(
    at: Offset,
    source: &SnapshotSource,
    limit: &FlushLimit,
) -> Result<(), StorageError> {
    let path = snapshot_path(&source.home.dir, at);
    let failed = |source| StorageError::Io { operation: "write", path: path.clone(), source };
    if path.exists() {
        return Ok(());
    }
    let (from, mut producers) = latest_snapshot(&source.home.dir, at);
    let found = source.visit(from, |header| producers.note(header));
    match found {
        Ok(()) => {}
        Err(error) if is_no_failure(&error) => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    producers.forget_the_oldest();
    durable::replace_file(&path, &encode(&producers)).map_err(failed)?;
    if limit.covers(at) {
        return Ok(());
    }
    match fs::remove_file(&path) {
        // The truncation has removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed),
    }
}

/// Retention took a segment away meanwhile, a truncation its end, or it is damaged: there will be
/// another snapshot, and until then the headers are read from the log.
fn is_no_failure(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    matches!(error.kind(), NotFound | UnexpectedEof | InvalidData)
}

/// The newest whole snapshot at or below `at`, or nothing at the front of everything.
fn latest_snapshot(dir: &Path, at: Offset) -> (Offset, Producers) {
    let mut known: Vec<_> = snapshots(dir).into_iter().filter(|(end, _)| *end <= at).collect();
    known.sort_unstable();
    for (end, path) in known.into_iter().rev() {
        let content = fs::read(&path).ok();
        if let Some(headers) = content.and_then(|content| decode(&content)) {
            let mut producers = Producers::default();
            headers.into_iter().for_each(|header| producers.note(header));
            return (end, producers);
        }
    }
    (Offset::ZERO, Producers::default())
}

/// Makes the snapshots above `end` go away: what they summarise was truncated. One that stays in
/// spite of this fails the next start's look at the log's end.
pub(super) fn remove_snapshots_above(dir: &Path, end: Offset) {
    for (at, path) in snapshots(dir) {
        if at > end {
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes the snapshots below the first segment's base go away: the log holds nothing of what they
/// summarise.
pub(super) fn remove_snapshots_below(dir: &Path, base: Offset) {
    for (at, path) in snapshots(dir) {
        if at < base {
            let _ = fs::remove_file(path);
        }
    }
}

fn snapshot_path(dir: &Path, at: Offset) -> PathBuf {
    dir.join(format!("{:020}.snapshot", at.0))
}

fn snapshots(dir: &Path) -> Vec<(Offset, PathBuf)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let digits = path.file_name()?.to_str()?.strip_suffix(".snapshot")?;
            let at = (digits.len() == 20).then(|| digits.parse().ok())??;
            Some((Offset(at), path))
        })
        .collect()
}

fn encode(producers: &Producers) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u16(VERSION);
    bytes.put_u32(0); // the CRC, below
    bytes.put_i32(producers.0.len() as i32);
    let last = producers.0.values().filter_map(|batches| batches.last());
    for (header, producer) in last.filter_map(|header| Some((header, header.producer?))) {
        bytes.put_i64(producer.id.0);
        bytes.put_i16(producer.epoch.0);
        bytes.put_i32(producer.last_sequence);
        bytes.put_i64(header.end.0 - 1);
        bytes.put_i32((header.end.since(header.base) - 1) as i32);
        bytes.put_i64(producer.timestamp);
        bytes.put_i32(-1); // coordinator epoch
        bytes.put_i64(-1); // no open transaction
    }
    bytes.put_slice(OWN_MARK);
    let batches: Vec<_> = producers.0.values().flatten().collect();
    bytes.put_i32(batches.len() as i32);
    for (header, producer) in batches.iter().filter_map(|h| Some((h, h.producer?))) {
        bytes.put_i64(header.base.0);
        bytes.put_i64(header.end.0);
        bytes.put_i32(header.epoch.0);
        bytes.put_i64(producer.id.0);
        bytes.put_i16(producer.epoch.0);
        bytes.put_i32(producer.first_sequence);
        bytes.put_i32(producer.last_sequence);
        bytes.put_i64(producer.timestamp);
    }
    let crc = crc32c::crc32c(&bytes[CRC_END..]);
    bytes[2..CRC_END].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The batches of a snapshot; `None` if it is damaged or not ours.
fn decode(bytes: &[u8]) -> Option<Vec<BatchHeader>> {
    let mut rest = bytes;
    if rest.try_get_u16().ok()? != VERSION || rest.try_get_u32().ok()? != crc32c::crc32c(rest) {
        return None;
    }
    let producers = usize::try_from(rest.try_get_i32().ok()?).ok()?;
    rest = rest.get(producers.checked_mul(KAFKA_ENTRY)?..)?.strip_prefix(OWN_MARK)?;
    let count = usize::try_from(rest.try_get_i32().ok()?).ok()?;
    if rest.len() != count.checked_mul(OWN_ENTRY)? {
        return None;
    }
    let mut headers: Vec<_> = rest.chunks_exact(OWN_ENTRY).map(decode_batch).collect();
    headers.sort_unstable_by_key(|header| header.base);
    Some(headers)
}

/// `entry` is [`OWN_ENTRY`] bytes long.
fn decode_batch(mut entry: &[u8]) -> BatchHeader {
    BatchHeader {
        base: Offset(entry.get_i64()),
        end: Offset(entry.get_i64()),
        epoch: LeaderEpoch(entry.get_i32()),
        producer: Some(ProducerBatch {
            id: ProducerId(entry.get_i64()),
            epoch: ProducerEpoch(entry.get_i16()),
            first_sequence: entry.get_i32(),
            last_sequence: entry.get_i32(),
            timestamp: entry.get_i64(),
        }),
    }
}

impl SegmentedLog {
    /// The headers of idempotent batches from `from` on, in order. Below the newest producer
    /// snapshot only the last five of each producer: the others no longer matter to its state.
    pub fn headers_from(&self, from: Offset) -> Vec<BatchHeader> {
        let (covered, producers) = latest_snapshot(&self.home.dir, self.end());
        let mut headers = Vec::new();
        if covered > from {
            headers = producers.headers();
            headers.retain(|header| header.base >= from);
        }
        let source = SnapshotSource::below(self, self.end());
        let walked = source.visit(covered.max(from), |header| headers.push(header));
        if let Err(source) = walked {
            let path = self.home.dir.to_path_buf();
            self.fail(StorageError::Io { operation: "read the batches in", path, source });
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(base: i64, id: i64) -> BatchHeader {
        let producer = ProducerBatch {
            id: ProducerId(id),
            epoch: ProducerEpoch(3),
            first_sequence: base as i32,
            last_sequence: base as i32 + 1,
            timestamp: 99,
        };
        let (base, end) = (Offset(base), Offset(base + 2));
        BatchHeader { base, end, epoch: LeaderEpoch(1), producer: Some(producer) }
    }

    #[test]
    fn a_snapshot_keeps_five_batches_a_producer_and_notices_every_flipped_byte() {
        let mut producers = Producers::default();
        (0..20).for_each(|i| producers.note(header(i * 2, i % 2)));
        let bytes = encode(&producers);
        let headers = decode(&bytes).expect("what was written is read");
        assert_eq!(headers, (10..20).map(|i| header(i * 2, i % 2)).collect::<Vec<_>>());
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            assert_eq!(decode(&flipped), None, "byte {at}");
        }
    }
}
