//! What is known of idempotent producers: a function of the log (I1 to I4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::inline::InlineVec;
use crate::limits::{MAX_PRODUCERS, PRODUCER_BATCHES};
use crate::{ErrorCode, Guard, Offset, ProducerEpoch, ProducerId, Rules};

use super::{BatchHeader, ProducerBatch};

/// The producers that wrote to one partition, by id.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Producers {
    by_id: BTreeMap<ProducerId, ProducerEntry>,
}

/// One producer: its epoch and its last batches. What a producer snapshot file holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ProducerEntry {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
    /// In log order, at least one.
    pub batches: InlineVec<ProducedBatch, PRODUCER_BATCHES>,
    /// The largest timestamp of the last batch, by which idle producers expire.
    pub timestamp: i64,
}

/// Where a batch of a producer is in the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct ProducedBatch {
    pub first_sequence: i32,
    pub last_sequence: i32,
    pub base: Offset,
    /// Exclusive.
    pub end: Offset,
}

/// What a batch of an idempotent producer is to the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    Next,
    /// It was appended before, and here it is.
    Duplicate(ProducedBatch),
}

/// The sequence after `last`: sequences run from 0 to 2^31-1 and begin anew (I3).
fn next_sequence(last: i32) -> i32 {
    if last == i32::MAX { 0 } else { last + 1 }
}

impl ProducerEntry {
    fn last_sequence(&self) -> Option<i32> {
        self.batches.last().map(|batch| batch.last_sequence)
    }

    fn last_end(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, |batch| batch.end)
    }

    fn find(&self, batch: &ProducerBatch) -> Option<ProducedBatch> {
        let same = |known: &&ProducedBatch| {
            known.first_sequence == batch.first_sequence
                && known.last_sequence == batch.last_sequence
        };
        self.batches.iter().find(same).copied().filter(|_| self.epoch == batch.epoch)
    }

    fn push(&mut self, batch: ProducedBatch) {
        if self.batches.len() == PRODUCER_BATCHES {
            self.batches.remove(0);
        }
        self.batches.push(batch);
    }
}

impl Producers {
    /// The state that a snapshot file held.
    pub fn from_entries(entries: impl IntoIterator<Item = ProducerEntry>) -> Producers {
        let mut producers = Producers::default();
        for entry in entries.into_iter().filter(|entry| !entry.batches.is_empty()) {
            producers.make_room_for(entry.id);
            producers.by_id.insert(entry.id, entry);
        }
        producers
    }

    /// For a snapshot file, in the order of ids.
    pub fn entries(&self) -> impl Iterator<Item = &ProducerEntry> {
        self.by_id.values()
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Takes in a batch that is in the log, whoever appended it; others are none of its business.
    pub fn replay(&mut self, header: &BatchHeader) {
        let Some(batch) = header.producer else { return };
        self.make_room_for(batch.id);
        let fresh = ProducerEntry {
            id: batch.id,
            epoch: batch.epoch,
            batches: InlineVec::new(),
            timestamp: batch.timestamp,
        };
        let entry = self.by_id.entry(batch.id).or_insert(fresh);
        if entry.epoch != batch.epoch {
            *entry = fresh;
        }
        entry.timestamp = batch.timestamp;
        entry.push(ProducedBatch {
            first_sequence: batch.first_sequence,
            last_sequence: batch.last_sequence,
            base: header.base,
            end: header.end,
        });
    }

    /// Forgets producers whose last batch is older than `before_timestamp` (milliseconds since the
    /// Unix epoch, as in the records); they start over as unknown ones.
    pub fn expire(&mut self, before_timestamp: i64) {
        self.by_id.retain(|_, entry| entry.timestamp >= before_timestamp);
    }

    /// Whether a batch at or above `to` is remembered, so that truncating there changes something.
    pub(super) fn reach_beyond(&self, to: Offset) -> bool {
        self.by_id.values().any(|entry| entry.last_end() > to)
    }

    /// I3, I4: may the leader append this batch, or has it done so before?
    pub(super) fn check(
        &self,
        rules: impl Rules,
        batch: &ProducerBatch,
    ) -> Result<Standing, ErrorCode> {
        if batch.first_sequence < 0 || batch.last_sequence < 0 {
            return Err(ErrorCode::InvalidRecord);
        }
        let Some(known) = self.by_id.get(&batch.id) else { return Ok(Standing::Next) };
        if batch.epoch < known.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if !rules.holds(Guard::SkipSequenceCheck) {
            return Ok(Standing::Next);
        }
        if let Some(original) = known.find(batch) {
            return Ok(Standing::Duplicate(original));
        }
        let expected = match known.last_sequence() {
            Some(last) if known.epoch == batch.epoch => next_sequence(last),
            _ => 0,
        };
        if batch.first_sequence == expected {
            Ok(Standing::Next)
        } else {
            Err(ErrorCode::OutOfOrderSequenceNumber)
        }
    }

    /// A log may name any number of producers; beyond the bound the one that was silent for the
    /// longest stretch of the log is forgotten, which every replica of that log decides alike.
    fn make_room_for(&mut self, id: ProducerId) {
        if self.by_id.len() < MAX_PRODUCERS || self.by_id.contains_key(&id) {
            return;
        }
        let idle = self.by_id.values().min_by_key(|entry| entry.last_end()).map(|entry| entry.id);
        if let Some(idle) = idle {
            self.by_id.remove(&idle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LeaderEpoch, Shipped};

    fn batch(epoch: i16, first: i32, last: i32) -> ProducerBatch {
        ProducerBatch {
            id: ProducerId(7),
            epoch: ProducerEpoch(epoch),
            first_sequence: first,
            last_sequence: last,
            timestamp: i64::from(last),
        }
    }

    fn at(base: i64, producer: ProducerBatch) -> BatchHeader {
        let (base, epoch) = (Offset(base), LeaderEpoch(0));
        BatchHeader { base, end: base.plus(1), epoch, producer: Some(producer) }
    }

    fn after(batches: &[ProducerBatch]) -> Producers {
        let mut producers = Producers::default();
        (0..).zip(batches).for_each(|(base, &producer)| producers.replay(&at(base, producer)));
        producers
    }

    #[test]
    fn sequences_begin_anywhere_for_an_unknown_producer_and_then_have_no_gap() {
        assert_eq!(after(&[]).check(Shipped, &batch(0, 40, 41)), Ok(Standing::Next));
        let known = after(&[batch(0, 40, 41)]);
        assert_eq!(known.check(Shipped, &batch(0, 42, 42)), Ok(Standing::Next));
        let gap = known.check(Shipped, &batch(0, 43, 43));
        assert_eq!(gap, Err(ErrorCode::OutOfOrderSequenceNumber));
    }

    #[test]
    fn sequences_wrap_to_zero_after_the_largest() {
        let known = after(&[batch(0, i32::MAX - 1, i32::MAX)]);
        assert_eq!(known.check(Shipped, &batch(0, 0, 3)), Ok(Standing::Next));
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_the_old_one_is_fenced() {
        let known = after(&[batch(3, 5, 5)]);
        assert_eq!(known.check(Shipped, &batch(4, 0, 0)), Ok(Standing::Next));
        let late_start = known.check(Shipped, &batch(4, 6, 6));
        assert_eq!(late_start, Err(ErrorCode::OutOfOrderSequenceNumber));
        let fenced = known.check(Shipped, &batch(2, 6, 6));
        assert_eq!(fenced, Err(ErrorCode::InvalidProducerEpoch));
    }

    #[test]
    fn the_last_five_batches_are_known_as_duplicates_and_older_ones_are_not() {
        let known = after(&[0, 1, 2, 3, 4, 5].map(|sequence| batch(0, sequence, sequence)));
        for sequence in 1..=5 {
            let standing = known.check(Shipped, &batch(0, sequence, sequence));
            let Ok(Standing::Duplicate(original)) = standing else { panic!("{standing:?}") };
            assert_eq!(original.base, Offset(i64::from(sequence)));
        }
        let forgotten = known.check(Shipped, &batch(0, 0, 0));
        assert_eq!(forgotten, Err(ErrorCode::OutOfOrderSequenceNumber));
    }

    #[test]
    fn a_batch_that_shares_one_end_with_an_earlier_one_is_no_duplicate_of_it() {
        let known = after(&[batch(0, 0, 3)]);
        for other in [batch(0, 0, 2), batch(0, 1, 3)] {
            let standing = known.check(Shipped, &other);
            assert_eq!(standing, Err(ErrorCode::OutOfOrderSequenceNumber));
        }
    }

    #[test]
    fn a_batch_without_a_sequence_at_either_end_is_invalid() {
        for batch in [batch(0, -1, 3), batch(0, 3, -1), batch(0, -1, -1)] {
            let standing = after(&[]).check(Shipped, &batch);
            assert_eq!(standing, Err(ErrorCode::InvalidRecord));
        }
    }

    #[test]
    fn entries_restore_what_they_were_taken_from_and_idle_producers_expire() {
        let mut known = after(&[batch(0, 0, 3), batch(0, 4, 9)]);
        assert_eq!(Producers::from_entries(known.entries().copied()), known);
        known.expire(9);
        assert_eq!((known.len(), known.is_empty()), (1, false));
        known.expire(10);
        assert!(known.is_empty());
    }

    #[test]
    fn the_producer_that_wrote_longest_ago_makes_room() {
        let mut producers = Producers::default();
        for id in 0..=MAX_PRODUCERS as i64 {
            let producer = ProducerBatch { id: ProducerId(id), ..batch(0, 0, 0) };
            producers.replay(&at(id, producer));
        }
        assert_eq!(producers.len(), MAX_PRODUCERS);
        assert!(producers.entries().all(|entry| entry.id != ProducerId(0)));
    }
}
