//! The voters of a quorum, and sets of them as bits over their positions.

use std::ops::BitOr;

use serde::{Deserialize, Serialize};

use crate::inline::InlineVec;
use crate::limits::MAX_VOTERS;
use crate::{NodeId, Offset, ReplicaKey};

/// The voters, in the order in which they joined.
pub type Voters = InlineVec<ReplicaKey, MAX_VOTERS>;

/// A Voters record of the log (Q12).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct VotersRecord {
    /// Where it stands in the log. [`VotersRecord::BOOTSTRAP`] for the set that a quorum was
    /// formatted with; below the log's start for one that a snapshot holds.
    pub offset: Offset,
    pub voters: Voters,
}

impl VotersRecord {
    /// The place of the set that a quorum was formatted with: before everything.
    pub const BOOTSTRAP: Offset = Offset(-1);
}

/// Voters by their positions; ids go up to 2^31-1 and make no bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct VoterSet(u8);

const _: () = assert!(MAX_VOTERS <= u8::BITS as usize);

impl VoterSet {
    pub(super) const EMPTY: VoterSet = VoterSet(0);

    pub(super) fn of(position: usize) -> Self {
        VoterSet(1 << position)
    }

    pub(super) fn insert(&mut self, position: usize) {
        self.0 |= 1 << position;
    }

    pub(super) fn remove(&mut self, position: usize) {
        self.0 &= !(1 << position);
    }

    pub(super) fn contains(self, position: usize) -> bool {
        self.0 & (1 << position) != 0
    }

    pub(super) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub(super) fn bits(self) -> u8 {
        self.0
    }

    /// The set when the voter at position `at` moves to `places[at]`.
    #[cfg(feature = "check")]
    pub(super) fn renamed(self, places: &[usize]) -> Self {
        let moved = places.iter().enumerate().filter(|&(at, _)| self.contains(at));
        moved.fold(VoterSet::EMPTY, |set, (_, &place)| set | VoterSet::of(place))
    }

    /// The same voters by their positions in another set; who is not in it drops out.
    pub(super) fn moved(self, from: &Voters, to: &Voters) -> VoterSet {
        let mut moved = VoterSet::EMPTY;
        for (at, voter) in to.iter().enumerate() {
            let before = from.iter().position(|other| other == voter);
            if before.is_some_and(|before| self.contains(before)) {
                moved.insert(at);
            }
        }
        moved
    }
}

impl BitOr for VoterSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        VoterSet(self.0 | other.0)
    }
}

/// Whether `key` may speak for `voter`: a voter without a directory is a static one, for whom any
/// directory speaks.
pub(super) fn same_voter(voter: ReplicaKey, key: ReplicaKey) -> bool {
    voter.id == key.id && (voter.directory.is_zero() || voter.directory == key.directory)
}

/// The position of the voter with this id.
pub(super) fn position(voters: &[ReplicaKey], id: NodeId) -> Option<usize> {
    voters.iter().position(|voter| voter.id == id)
}
