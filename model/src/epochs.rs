//! Which epoch starts where: what answers "where does epoch N end?" without reading the log. The
//! node's logs keep one beside their segments, a replayed log has little else.

use serde::{Deserialize, Serialize};

use crate::{EpochEnd, Offset};

/// Epochs with the offset of their first record, both strictly rising. A handful of entries in
/// practice: one for each change of leader that is still in the log.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct EpochCache {
    starts: Vec<(i32, Offset)>,
}

impl EpochCache {
    /// `None` if the entries do not rise.
    pub fn from_entries(starts: Vec<(i32, Offset)>) -> Option<EpochCache> {
        let rising = starts.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        let valid = starts.iter().all(|(epoch, start)| *epoch >= 0 && start.0 >= 0);
        (rising && valid).then_some(EpochCache { starts })
    }

    pub fn entries(&self) -> &[(i32, Offset)] {
        &self.starts
    }

    pub fn last(&self) -> Option<i32> {
        self.starts.last().map(|(epoch, _)| *epoch)
    }

    /// The epoch of the record at `offset`.
    pub fn epoch_at(&self, offset: Offset) -> Option<i32> {
        let after = self.starts.partition_point(|(_, start)| *start <= offset);
        after.checked_sub(1).map(|index| self.starts[index].0)
    }

    /// Records of `epoch` are appended at `offset`. True if the epoch is new. An epoch below the
    /// last one is not noted: it has no place of its own.
    pub fn note(&mut self, epoch: i32, offset: Offset) -> bool {
        if epoch < 0 || self.last().is_some_and(|last| epoch <= last) {
            return false;
        }
        // An epoch whose records are all gone again gives way to the one that follows.
        while self.starts.last().is_some_and(|(_, start)| *start >= offset) {
            self.starts.pop();
        }
        self.starts.push((epoch, offset));
        true
    }

    /// The largest epoch not above `epoch` and its end, in a log from `start` to `end`.
    pub fn end_of(&self, epoch: i32, start: Offset, end: Offset) -> EpochEnd {
        let after = self.starts.partition_point(|(known, _)| *known <= epoch);
        let next_start = self.starts.get(after).map_or(end, |(_, start)| *start);
        match after.checked_sub(1) {
            Some(index) => EpochEnd { epoch: self.starts[index].0, end: next_start },
            None => EpochEnd { epoch, end: start },
        }
    }

    /// Drops what begins at or above `to`. True if anything did.
    pub fn truncate(&mut self, to: Offset) -> bool {
        let keep = self.starts.partition_point(|(_, start)| *start < to);
        let changed = keep < self.starts.len();
        self.starts.truncate(keep);
        changed
    }

    /// The log starts at `start` now: the epoch in force there starts there.
    pub fn advance_start(&mut self, start: Offset) -> bool {
        let passed = self.starts.partition_point(|(_, at)| *at <= start);
        let Some(floor) = passed.checked_sub(1) else { return false };
        let changed = floor > 0 || self.starts[0].1 < start;
        self.starts.drain(..floor);
        self.starts[0].1 = start;
        changed
    }

    pub fn clear(&mut self) {
        self.starts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> EpochCache {
        let entries = vec![(1, Offset(0)), (3, Offset(10)), (7, Offset(25))];
        EpochCache::from_entries(entries).expect("rises")
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_starts() {
        let ends = |epoch| {
            let end = cache().end_of(epoch, Offset(0), Offset(40));
            (end.epoch, end.end.0)
        };
        assert_eq!(ends(1), (1, 10));
        assert_eq!(ends(5), (3, 25));
        assert_eq!(ends(9), (7, 40));
        assert_eq!(ends(0), (0, 0));
    }

    #[test]
    fn truncation_and_a_later_start_keep_the_epoch_in_force() {
        let mut epochs = cache();
        assert!(epochs.truncate(Offset(25)));
        assert!(epochs.advance_start(Offset(12)));
        assert_eq!(epochs.entries(), [(3, Offset(12))]);
        assert!(epochs.note(4, Offset(12)));
        assert_eq!(epochs.entries(), [(4, Offset(12))]);
        assert_eq!(epochs.epoch_at(Offset(11)), None);
    }
}
