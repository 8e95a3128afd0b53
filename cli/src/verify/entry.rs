//! A record of the metadata log as the invariants see it, and the log of one node as a row of them.

use kraft_model::Offset;
use kraft_model::invariant::quorum;
use kraft_node::storage::{BatchView, MetadataView};

/// A record by the batch that it is in. Offsets are told apart by where they stand in a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub epoch: i32,
    pub base: Offset,
    pub crc: u32,
}

impl quorum::Entry for Entry {
    fn epoch(&self) -> i32 {
        self.epoch
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Entry { epoch, base, crc } = self;
        write!(f, "the batch at {base} of epoch {epoch} with checksum {crc:#010x}")
    }
}

/// A log, an entry for each offset.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entries {
    start: i64,
    all: Vec<Entry>,
}

impl Entries {
    pub fn of(log: &MetadataView) -> Entries {
        Entries::of_batches(log.start, log.batches.iter().map(|batch| batch.head))
    }

    pub fn of_batches(start: Offset, batches: impl IntoIterator<Item = BatchView>) -> Entries {
        let entries = |BatchView { base, end, epoch, crc }| {
            let count = usize::try_from(end.since(base)).unwrap_or_default();
            std::iter::repeat_n(Entry { epoch, base, crc }, count)
        };
        Entries { start: start.0, all: batches.into_iter().flat_map(entries).collect() }
    }

    pub fn start(&self) -> Offset {
        Offset(self.start)
    }

    pub fn end(&self) -> Offset {
        Offset(self.start + self.all.len() as i64)
    }

    pub fn all(&self) -> &[Entry] {
        &self.all
    }

    pub fn at(&self, offset: Offset) -> Option<&Entry> {
        self.all.get(usize::try_from(offset.0 - self.start).ok()?)
    }

    /// What there is from `from` on, which is not below the start.
    pub fn from(&self, from: Offset) -> &[Entry] {
        let at = usize::try_from(from.0 - self.start).unwrap_or(usize::MAX);
        self.all.get(at..).unwrap_or_default()
    }

    /// The first offset at which the two differ, of those that both have.
    pub fn first_difference(&self, other: &Entries) -> Option<Offset> {
        let from = self.start().max(other.start());
        let pairs = self.from(from).iter().zip(other.from(from));
        let at = pairs.into_iter().position(|(one, another)| one != another)?;
        Some(from.plus(at as i64))
    }

    /// The offset up to which the two say the same; what only one of them has no longer is taken
    /// for the same, since it is in a snapshot.
    pub fn agrees_up_to(&self, other: &Entries) -> Offset {
        self.first_difference(other).unwrap_or(self.end().min(other.end()))
    }

    /// This log from `origin` up to `to`. What is below its own start is in a snapshot of it, of which
    /// is judged elsewhere that it is what `reference` has there.
    pub fn whole(&self, reference: &Entries, origin: Offset, to: Offset) -> Vec<Entry> {
        let known = |offset: i64| {
            let log = if offset < self.start { reference } else { self };
            log.at(Offset(offset)).copied()
        };
        (origin.0..to.0).map_while(known).collect()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Batches of one record, by epoch and checksum.
    pub fn log(start: i64, content: &[(i32, u32)]) -> Entries {
        let batch = |(base, &(epoch, crc)): (i64, &(i32, u32))| BatchView {
            base: Offset(base),
            end: Offset(base + 1),
            epoch,
            crc,
        };
        Entries::of_batches(Offset(start), (start..).zip(content).map(batch))
    }

    #[test]
    fn logs_agree_up_to_where_they_differ_or_one_ends() {
        let one = log(0, &[(1, 10), (1, 11), (2, 12)]);
        assert_eq!(one.agrees_up_to(&log(0, &[(1, 10), (1, 11)])), Offset(2));
        assert_eq!(one.first_difference(&log(1, &[(1, 11), (2, 13)])), Some(Offset(2)));
        assert_eq!(one.agrees_up_to(&log(1, &[(1, 11), (2, 12), (2, 13)])), Offset(3));
        assert_eq!(log(0, &[(1, 10)]).agrees_up_to(&log(5, &[(2, 9)])), Offset(1));
    }

    #[test]
    fn what_a_snapshot_has_taken_away_is_what_the_others_have_there() {
        let reference = log(0, &[(1, 10), (1, 11), (2, 12)]);
        let cut = log(2, &[(2, 12), (2, 13)]);
        assert_eq!(cut.whole(&reference, Offset(0), Offset(3)), reference.all());
        assert_eq!(cut.whole(&reference, Offset(0), Offset(9)).len(), 4);
        assert_eq!(reference.whole(&reference, Offset(1), Offset(2)).len(), 1);
    }
}
