//! What changes of a node from step to step, in small numbers, for a checker that keeps and
//! compares millions of them.
//!
//! ```text
//!   Quorum ── standing() ──▶ Standing (some 20 bytes) ── Quorum::with ──▶ Quorum
//! ```
//!
//! Small means: ids from 1 to 15, epochs and offsets below 254, directories whose lowest four bits
//! are the id of their node, and voters in ascending order of their directories. Left out is what
//! only decides how long a timer runs, which no checker can tell (the elections lost in a row, who
//! of the voters has fetched since the check-quorum timer was last set), the number by which the
//! shell knows a voter change again, and whom an observer asks next ([`Quorum::asking`]: a checker
//! lets it ask anybody).

mod role;

use super::quorum::Quorum;
use super::role::Contact;
use super::voters::{VoterSet, Voters};
use crate::limits::MAX_VOTERS;
use crate::{DirectoryId, Epoch, NodeId, Offset, ReplicaKey, Rules};

use role::SmallRole;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Standing {
    voters: SmallVoters,
    /// Where the record stands that says so, counted from the one that a log is formatted with.
    voters_at: Option<u8>,
    epoch: u8,
    vote: SmallKey,
    high_watermark: u8,
    connected: VoterSet,
    guide: SmallId,
    role: SmallRole,
}

/// The voters by their directories, in ascending order, 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct SmallVoters([u8; MAX_VOTERS]);

/// A node's id, 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct SmallId(u8);

/// A voter's key by its directory, 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct SmallKey(u8);

fn small(number: i64) -> u8 {
    u8::try_from(number).expect("a checked quorum counts to 255 at most")
}

impl SmallId {
    fn of(id: Option<NodeId>) -> Self {
        SmallId(id.map_or(0, |id| small(i64::from(id.0))))
    }

    fn id(self) -> Option<NodeId> {
        (self.0 > 0).then_some(NodeId(i32::from(self.0)))
    }

    fn renamed(self, places: &[usize]) -> Self {
        SmallId(renamed(self.0, places))
    }
}

impl SmallKey {
    fn of(key: Option<ReplicaKey>) -> Self {
        SmallKey(key.map_or(0, |key| key.directory.0 as u8))
    }

    fn key(self) -> Option<ReplicaKey> {
        let (id, directory) = (NodeId(i32::from(self.0 & 15)), DirectoryId(u128::from(self.0)));
        (self.0 > 0).then_some(ReplicaKey { id, directory })
    }

    fn renamed(self, places: &[usize]) -> Self {
        SmallKey(self.0 & !15 | renamed(self.0 & 15, places))
    }
}

/// An id, 0 for none, when the node at position `at` moves to `places[at]`. Ids count from 1.
fn renamed(id: u8, places: &[usize]) -> u8 {
    if id == 0 { 0 } else { places[usize::from(id) - 1] as u8 + 1 }
}

impl SmallVoters {
    fn of(voters: &Voters) -> Self {
        let mut small = [0; MAX_VOTERS];
        small.iter_mut().zip(voters).for_each(|(to, &key)| *to = SmallKey::of(Some(key)).0);
        debug_assert!(small[..voters.len()].is_sorted(), "voters are in ascending order");
        SmallVoters(small)
    }

    fn voters(self) -> Voters {
        self.0.into_iter().map_while(|key| SmallKey(key).key()).collect()
    }

    fn len(self) -> usize {
        self.0.iter().take_while(|&&key| key > 0).count()
    }

    /// The voters when nodes move, and where the voter at each position is then.
    fn renamed(self, places: &[usize]) -> (Self, [usize; MAX_VOTERS]) {
        let len = self.len();
        let mut sorted = self.0.map(|key| SmallKey(key).renamed(places).0);
        let moved = sorted;
        sorted[..len].sort_unstable();
        let position = |at: usize| sorted[..len].iter().position(|&key| key == moved[at]);
        (SmallVoters(sorted), std::array::from_fn(|at| position(at).unwrap_or(at)))
    }
}

impl<R: Rules> Quorum<R> {
    /// What changes from step to step.
    pub fn standing(&self) -> Standing {
        // Field by field, so that a new one cannot be forgotten.
        let Quorum {
            rules: _,
            me: _,
            configured: _,
            voters,
            voters_at,
            epoch,
            vote,
            role,
            high_watermark,
            connected,
            attempts: _,
            ask_next: _,
            guide,
        } = *self;
        Standing {
            voters: SmallVoters::of(&voters),
            voters_at: voters_at.map(|at| small(at.0 + 1)),
            epoch: small(i64::from(epoch.0)),
            vote: SmallKey::of(vote),
            high_watermark: small(high_watermark.0),
            connected,
            guide: SmallId::of(guide),
            role: SmallRole::of(&role),
        }
    }

    /// This node with another standing of its own.
    #[must_use]
    pub fn with(&self, standing: Standing) -> Self {
        let Standing { voters, voters_at, epoch, vote, high_watermark, connected, guide, role } =
            standing;
        Quorum {
            rules: self.rules,
            me: self.me,
            configured: self.configured,
            voters: voters.voters(),
            voters_at: voters_at.map(|at| Offset(i64::from(at) - 1)),
            epoch: Epoch(i32::from(epoch)),
            vote: vote.key(),
            role: role.role(voters.len()),
            high_watermark: Offset(i64::from(high_watermark)),
            connected,
            attempts: 0,
            ask_next: 0,
            guide: guide.id(),
        }
    }
}

impl<R: Rules> Quorum<R> {
    /// This node, about to ask the controller with this place among those that it may ask.
    #[must_use]
    pub fn asking(self, place: u8) -> Self {
        Quorum { ask_next: place, ..self }
    }
}

/// What a checker asks without making the machine whole again.
impl Standing {
    pub fn epoch(&self) -> Epoch {
        Epoch(i32::from(self.epoch))
    }

    pub fn high_watermark(&self) -> Offset {
        Offset(i64::from(self.high_watermark))
    }

    pub fn is_leader(&self) -> bool {
        matches!(self.role, SmallRole::Leader { .. })
    }

    /// The other node that this one takes for the leader of its epoch.
    pub fn other_leader(&self) -> Option<NodeId> {
        match self.role {
            SmallRole::Follower { leader, .. } | SmallRole::Prospective { leader, .. } => {
                leader.id()
            }
            _ => None,
        }
    }

    /// As [`Quorum::has_fetched`].
    pub fn has_fetched(&self) -> bool {
        matches!(self.role, SmallRole::Follower { contact: Contact::Fetched, .. })
    }

    pub fn is_candidate(&self) -> bool {
        matches!(self.role, SmallRole::Candidate { .. })
    }

    pub fn is_resigned(&self) -> bool {
        self.role == SmallRole::Resigned
    }

    pub fn is_unattached(&self) -> bool {
        self.role == SmallRole::Unattached
    }

    pub fn is_prospective(&self) -> bool {
        matches!(self.role, SmallRole::Prospective { .. })
    }

    /// The voters in force here, by directory in ascending order, 0 for none.
    pub fn voters(&self) -> [u8; MAX_VOTERS] {
        self.voters.0
    }

    /// Whether the voters are those of a record of the log, and where it stands; -1 for the set
    /// that the log was formatted with.
    pub fn voters_at(&self) -> Option<i64> {
        self.voters_at.map(|at| i64::from(at) - 1)
    }

    /// The same standing when the node with the id `at + 1` has the id `places[at] + 1`.
    #[must_use]
    pub fn renamed(self, places: &[usize]) -> Self {
        let (voters, positions) = self.voters.renamed(places);
        Standing {
            voters,
            vote: self.vote.renamed(places),
            connected: self.connected.renamed(&positions),
            guide: self.guide.renamed(places),
            role: self.role.renamed(places, &positions),
            ..self
        }
    }

    /// What no renaming changes: equal for two nodes that could stand for each other.
    pub fn anonymous(&self) -> [u8; 6] {
        let Standing { epoch, vote, high_watermark, role, .. } = *self;
        let (kind, detail) = role.anonymous();
        [epoch, u8::from(vote.0 > 0), high_watermark, kind, detail, 0]
    }
}
