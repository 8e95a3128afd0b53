//! One partition's batches, in order: open, ready, in flight. No I/O, no clock of its own.
//!
//! ```text
//! append ─▶ open ─▶ ready ─▶ in flight ─▶ acknowledged
//!                     ▲           │
//!                     └── failed ─┘  only when nothing of this partition is in flight any more
//! ```
//!
//! After a failure the partition waits until every answer is in and then sends again what was not
//! acknowledged, from the oldest on, one batch at a time until one succeeds. With idempotence the
//! broker refuses whatever overtook a failed batch, so that order and sequence stay whole.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::client::Codec;
use crate::client::records::{BatchBuilder, Identity, SealedBatch};

#[derive(Debug)]
pub struct PartitionQueue {
    pub index: i32,
    /// Producer id and epoch, if idempotent.
    producer: Option<(i64, i16)>,
    next_sequence: i32,
    max_in_flight: usize,
    open: Option<OpenBatch>,
    /// Full batches that were never sent.
    full: VecDeque<OpenBatch>,
    /// Sealed batches to send again, older than every full one.
    again: VecDeque<Batch>,
    in_flight: VecDeque<InFlight>,
    /// A batch failed: nothing leaves until the answers to the others are in.
    draining: bool,
    /// One batch at a time until one succeeds: after a failure, and at first. A broker takes any
    /// sequence from a producer that it does not know; were the first batch refused, the second
    /// would pass for the first, and the first could never follow it.
    careful: bool,
}

#[derive(Debug)]
struct OpenBatch {
    builder: BatchBuilder,
    since: Instant,
    appended: Vec<Instant>,
    /// What it adds to the producer's buffer.
    bytes: usize,
}

/// A sealed batch with what its report needs.
#[derive(Clone, Debug)]
pub struct Batch {
    pub sealed: SealedBatch,
    pub base_sequence: i32,
    pub since: Instant,
    pub appended: Vec<Instant>,
    pub bytes: usize,
}

#[derive(Debug)]
struct InFlight {
    batch: Batch,
    /// Nothing of this partition was on its way when it left.
    alone: bool,
    failed: bool,
}

pub struct Appended {
    pub bytes: usize,
    /// The record began a batch, whose linger time the sender must watch.
    pub opened: bool,
    /// The record filled a batch.
    pub filled: bool,
}

impl PartitionQueue {
    pub fn new(index: i32, producer: Option<(i64, i16)>, max_in_flight: usize) -> PartitionQueue {
        PartitionQueue {
            index,
            producer,
            next_sequence: 0,
            max_in_flight,
            open: None,
            full: VecDeque::new(),
            again: VecDeque::new(),
            in_flight: VecDeque::new(),
            draining: false,
            careful: producer.is_some(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_none()
            && self.full.is_empty()
            && self.again.is_empty()
            && self.in_flight.is_empty()
    }

    pub fn append(
        &mut self,
        stamp: Option<Instant>,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        batch_bytes: usize,
    ) -> Appended {
        let bound = BatchBuilder::record_bound(key, value);
        let mut filled = false;
        if self.open.as_ref().is_some_and(|open| open.builder.size() + bound > batch_bytes) {
            self.full.extend(self.open.take());
            filled = true;
        }
        let opened = self.open.is_none();
        let open = self.open.get_or_insert_with(|| OpenBatch {
            builder: BatchBuilder::new((bound * 64).min(batch_bytes)),
            since: Instant::now(),
            appended: Vec::new(),
            bytes: 0,
        });
        let before = open.builder.size();
        open.builder.append(timestamp_ms, key, value);
        let bytes = open.builder.size() - before;
        open.bytes += bytes;
        open.appended.extend(stamp);
        if open.builder.size() >= batch_bytes {
            self.full.extend(self.open.take());
            filled = true;
        }
        Appended { bytes, opened, filled }
    }

    /// When the open batch has waited long enough; `None` without one, or if it could not leave.
    pub fn lingers_until(&self, linger: Duration) -> Option<Instant> {
        if self.has_room() { self.open.as_ref().map(|open| open.since + linger) } else { None }
    }

    /// Whether [`take`](Self::take) would hand out a batch.
    pub fn is_ready(&self, now: Instant, linger: Duration) -> bool {
        self.has_room()
            && (!self.again.is_empty()
                || !self.full.is_empty()
                || self.open.as_ref().is_some_and(|open| open.since + linger <= now))
    }

    fn has_room(&self) -> bool {
        let limit = if self.careful { 1 } else { self.max_in_flight };
        !self.draining && self.in_flight.len() < limit
    }

    /// Seals (if need be) and hands out the next batch, which is then in flight.
    pub fn take(
        &mut self,
        now: Instant,
        linger: Duration,
        codec: Codec,
    ) -> std::io::Result<Option<Batch>> {
        if !self.is_ready(now, linger) {
            return Ok(None);
        }
        let batch = match self.again.pop_front() {
            Some(batch) => batch,
            None => match self.full.pop_front().or_else(|| self.open.take()) {
                Some(open) => self.seal(open, codec)?,
                None => return Ok(None),
            },
        };
        let alone = self.in_flight.is_empty();
        self.in_flight.push_back(InFlight { batch: batch.clone(), alone, failed: false });
        Ok(Some(batch))
    }

    fn seal(&mut self, open: OpenBatch, codec: Codec) -> std::io::Result<Batch> {
        let count = open.builder.count();
        let base_sequence = self.next_sequence;
        let identity = match self.producer {
            Some((producer_id, producer_epoch)) => {
                self.next_sequence = sequence_after(base_sequence, count);
                Identity { producer_id, producer_epoch, base_sequence }
            }
            None => Identity::NONE,
        };
        let sealed = open.builder.seal(codec, identity)?;
        let OpenBatch { since, appended, bytes, .. } = open;
        Ok(Batch { sealed, base_sequence, since, appended, bytes })
    }

    /// Whether the batch that begins at `base_sequence` left while nothing else was on its way. If
    /// not, an out-of-order answer only says that an older one was lost or overtaken, even though
    /// that one may be acknowledged by now: it arrived second.
    pub fn left_alone(&self, base_sequence: i32) -> bool {
        self.position(base_sequence).is_some_and(|position| self.in_flight[position].alone)
    }

    /// The batch was acknowledged.
    pub fn acknowledge(&mut self, base_sequence: i32) -> Option<Batch> {
        let position = self.position(base_sequence)?;
        let done = self.in_flight.remove(position)?;
        self.careful = false;
        self.settle();
        Some(done.batch)
    }

    /// The batch must be sent again.
    pub fn fail(&mut self, base_sequence: i32) {
        if let Some(position) = self.position(base_sequence) {
            self.in_flight[position].failed = true;
        }
        self.draining = true;
        self.settle();
    }

    /// The oldest batch in flight with this sequence whose answer is not in yet. Without
    /// idempotence every sequence is 0, and at most one batch is in flight.
    fn position(&self, base_sequence: i32) -> Option<usize> {
        self.in_flight
            .iter()
            .position(|flight| !flight.failed && flight.batch.base_sequence == base_sequence)
    }

    /// Once nothing is on its way any more, what failed is to be sent again, oldest first.
    fn settle(&mut self) {
        if self.draining && self.in_flight.iter().all(|flight| flight.failed) {
            self.again.extend(self.in_flight.drain(..).map(|flight| flight.batch));
            self.draining = false;
            self.careful = true;
        }
    }

    /// When the oldest batch's first record came.
    pub fn oldest(&self) -> Option<Instant> {
        let in_flight = self.in_flight.front().map(|flight| flight.batch.since);
        in_flight
            .or_else(|| self.again.front().map(|batch| batch.since))
            .or_else(|| self.full.front().map(|open| open.since))
            .or_else(|| self.open.as_ref().map(|open| open.since))
    }
}

/// Sequences run from 0 to 2^31-1 and begin again at 0 (I3).
fn sequence_after(base: i32, count: i32) -> i32 {
    (i64::from(base) + i64::from(count)).rem_euclid(1 << 31) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    /// Three batches of one record each, at a broker that knows the producer.
    fn three(max_in_flight: usize) -> PartitionQueue {
        let mut queue = PartitionQueue::new(0, Some((7, 0)), max_in_flight);
        for _ in 0..3 {
            queue.append(None, 0, None, Some(b"value"), 1);
        }
        queue.careful = false;
        queue
    }

    fn take(queue: &mut PartitionQueue) -> Option<i32> {
        let batch = queue.take(Instant::now(), NOW, Codec::None);
        batch.expect("nothing is compressed").map(|batch| batch.base_sequence)
    }

    #[test]
    fn batches_leave_in_order_up_to_the_limit() {
        let mut queue = three(2);
        assert_eq!([take(&mut queue), take(&mut queue)], [Some(0), Some(1)]);
        assert_eq!(take(&mut queue), None);
        assert!(queue.acknowledge(0).is_some());
        assert_eq!(take(&mut queue), Some(2));
    }

    #[test]
    fn nothing_follows_the_first_batch_before_it_is_acknowledged() {
        let mut queue = three(5);
        queue.careful = PartitionQueue::new(0, Some((7, 0)), 5).careful;
        assert_eq!([take(&mut queue), take(&mut queue)], [Some(0), None]);
        queue.acknowledge(0);
        assert_eq!([take(&mut queue), take(&mut queue)], [Some(1), Some(2)]);
    }

    #[test]
    fn a_failed_batch_holds_back_everything_until_all_answers_are_in() {
        let mut queue = three(5);
        assert_eq!([take(&mut queue), take(&mut queue)], [Some(0), Some(1)]);
        queue.fail(0);
        assert_eq!(take(&mut queue), None, "the answer to 1 is still out");
        queue.fail(1);
        assert_eq!(take(&mut queue), Some(0), "the oldest goes first");
        assert_eq!(take(&mut queue), None, "and alone");
        queue.acknowledge(0);
        assert_eq!([take(&mut queue), take(&mut queue)], [Some(1), Some(2)]);
    }

    #[test]
    fn a_batch_that_overtook_an_older_one_is_out_of_order_by_no_fault_of_its_own() {
        let mut queue = three(5);
        take(&mut queue);
        take(&mut queue);
        assert!(queue.left_alone(0));
        queue.acknowledge(0);
        assert!(!queue.left_alone(1), "0 was on its way when 1 left");
        queue.fail(1);
        assert_eq!(take(&mut queue), Some(1));
        assert!(queue.left_alone(1), "nothing can be in front of it now");
    }

    #[test]
    fn an_open_batch_leaves_when_its_linger_time_is_over() {
        let mut queue = PartitionQueue::new(0, None, 1);
        queue.append(None, 0, None, Some(b"value"), 1_000);
        let linger = Duration::from_secs(60);
        let opened = queue.oldest().expect("one record is waiting");
        assert!(!queue.is_ready(opened, linger));
        assert!(queue.is_ready(opened + linger, linger));
        assert_eq!(queue.lingers_until(linger), Some(opened + linger));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
        assert_eq!(sequence_after(0, 5), 5);
    }
}
