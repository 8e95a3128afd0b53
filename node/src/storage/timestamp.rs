//! From times to offsets (ListOffsets by timestamp, and the largest timestamp).

use std::fs::File;
use std::io;
use std::ops::ControlFlow;

use bytes::Bytes;
use kraft_model::{LeaderEpoch, Offset};

use super::build::records;
use super::files::FileKind;
use super::index::{self, TimeEntry};
use super::log::SegmentedLog;
use super::read::{HeaderWalk, locate, not_a_batch, read_at};
use super::records::RecordBatch;
use super::segment::{Home, Segment};

/// A record found by its time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimestampHit {
    pub offset: Offset,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    pub leader_epoch: LeaderEpoch,
    /// `offset` is the record's own. Otherwise the batch is compressed and `offset` its first:
    /// whoever can decompress `batch` can say which record it is.
    pub exact: bool,
    /// The whole batch.
    pub batch: Bytes,
}

/// A question about times, to be answered where waiting is allowed.
#[derive(Debug)]
pub struct TimestampPlan {
    home: Home,
    start: Offset,
    segments: Vec<Segment>,
    active_floor: Option<TimeEntry>,
    query: Query,
}

#[derive(Clone, Copy, Debug)]
enum Query {
    AtOrAfter(i64),
    Largest,
}

impl SegmentedLog {
    /// The first record at or after `timestamp`.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> TimestampPlan {
        let active_floor = self.active.time_floor(&self.home, timestamp);
        TimestampPlan { active_floor, ..self.timestamp_plan(Query::AtOrAfter(timestamp)) }
    }

    /// The first record with the log's largest timestamp.
    pub fn largest_timestamp(&self) -> TimestampPlan {
        self.timestamp_plan(Query::Largest)
    }

    fn timestamp_plan(&self, query: Query) -> TimestampPlan {
        let segments = self.sealed.iter().copied().chain([self.active.as_segment()]);
        TimestampPlan {
            home: self.home.clone(),
            start: self.start,
            segments: segments.filter(|segment| segment.size > 0).collect(),
            active_floor: None,
            query,
        }
    }
}

impl TimestampPlan {
    /// The record, if there is one.
    ///
    /// # Errors
    ///
    /// The device's, and `InvalidData` where a segment does not hold record batches.
    pub fn run(self) -> io::Result<Option<TimestampHit>> {
        match self.query {
            Query::AtOrAfter(timestamp) => self.first_from(timestamp),
            Query::Largest => {
                let mut largest: Option<i64> = None;
                for segment in &self.segments {
                    let here = segment.largest(&self.home)?.map(|largest| largest.timestamp);
                    largest = largest.max(here);
                }
                largest.map_or(Ok(None), |timestamp| self.first_from(timestamp))
            }
        }
    }

    fn first_from(&self, timestamp: i64) -> io::Result<Option<TimestampHit>> {
        for (index, segment) in self.segments.iter().enumerate() {
            let reaches = |largest: super::segment::Largest| largest.timestamp >= timestamp;
            if !segment.largest(&self.home)?.is_some_and(reaches) {
                continue;
            }
            let log = self.home.open(FileKind::Log, segment.base)?;
            let is_active = index + 1 == self.segments.len();
            let floor = if is_active { self.active_floor } else { None };
            let from = self.search_from(segment, &log, floor, timestamp)?;
            if let Some(hit) = self.search(segment, &log, from, timestamp)? {
                return Ok(Some(hit));
            }
        }
        Ok(None)
    }

    /// The position before which every batch is older, as the time index and the log agree.
    fn search_from(
        &self,
        segment: &Segment,
        log: &File,
        known: Option<TimeEntry>,
        timestamp: i64,
    ) -> io::Result<u64> {
        let indexed = || -> io::Result<Option<TimeEntry>> {
            let file = self.home.open(FileKind::TimeIndex, segment.base)?;
            let count = index::entry_count::<TimeEntry>(&file)?;
            index::last_where(&file, count, |entry: TimeEntry| entry.timestamp < timestamp)
        };
        let entry = known.or_else(|| indexed().ok().flatten());
        let confirmed = match entry {
            Some(entry) => segment.confirm(&self.home, log, entry)?,
            None => None,
        };
        let offset = confirmed.map_or(self.start, |older| older.offset.plus(1).max(self.start));
        locate(log, segment.size, segment.floor(&self.home, offset), offset)
    }

    fn search(
        &self,
        segment: &Segment,
        log: &File,
        from: u64,
        timestamp: i64,
    ) -> io::Result<Option<TimestampHit>> {
        let mut found = None;
        HeaderWalk::new(log, segment.size).visit(from, |position, batch| {
            if batch.max_timestamp < timestamp {
                return ControlFlow::Continue(());
            }
            match self.in_batch(log, position, batch, timestamp) {
                Ok(None) => ControlFlow::Continue(()),
                result => {
                    found = Some(result);
                    ControlFlow::Break(())
                }
            }
        })?;
        found.unwrap_or(Ok(None))
    }

    fn in_batch(
        &self,
        log: &File,
        position: u64,
        batch: &RecordBatch,
        timestamp: i64,
    ) -> io::Result<Option<TimestampHit>> {
        let bytes = Bytes::from(read_at(log, position, batch.size)?);
        let leader_epoch = batch.leader_epoch;
        let hit = |offset, timestamp, exact| TimestampHit {
            offset,
            timestamp,
            leader_epoch,
            exact,
            batch: bytes.clone(),
        };
        if batch.has_append_time() {
            let offset = batch.base.max(self.start);
            return Ok(Some(hit(offset, batch.max_timestamp, true)));
        }
        if batch.compression() != 0 {
            return Ok(Some(hit(batch.base.max(self.start), batch.max_timestamp, false)));
        }
        for record in records(&bytes) {
            let record = record.map_err(not_a_batch)?;
            if record.timestamp >= timestamp && record.offset >= self.start {
                return Ok(Some(hit(record.offset, record.timestamp, true)));
            }
        }
        Ok(None)
    }
}
