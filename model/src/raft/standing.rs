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

use super::SnapshotId;
use super::quorum::Quorum;
use super::reconfigure::{Pending, Stage};
use super::role::{Contact, Follower, Leader, Pull, Role, Tally};
use super::voters::{VoterSet, Voters};
use crate::limits::MAX_VOTERS;
use crate::{DirectoryId, Epoch, NodeId, Offset, ReplicaKey, Rules};

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

/// [`Role`] in small numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum SmallRole {
    Unattached,
    Prospective { granted: VoterSet, refused: VoterSet, leader: SmallId },
    Candidate { granted: VoterSet, refused: VoterSet },
    Leader { start: u8, ends: [u8; MAX_VOTERS], followed: VoterSet, pending: SmallPending },
    Follower { leader: SmallId, contact: Contact, pull: SmallPull },
    Resigned,
}

/// [`Pull`] in small numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum SmallPull {
    Idle,
    Fetching,
    Flushing,
    FetchingSnapshot { end: u8, epoch: u8, position: u8 },
    InstallingSnapshot { end: u8, epoch: u8 },
}

/// [`Pending`] in small numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum SmallPending {
    None,
    CatchingUp { voter: SmallKey, target: u8 },
    Committing(u8),
}

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

impl SmallRole {
    fn of(role: &Role) -> Self {
        match *role {
            Role::Unattached => SmallRole::Unattached,
            Role::Prospective { tally: Tally { granted, refused }, leader } => {
                SmallRole::Prospective { granted, refused, leader: SmallId::of(leader) }
            }
            Role::Candidate { tally: Tally { granted, refused } } => {
                SmallRole::Candidate { granted, refused }
            }
            Role::Leader(Leader { start, ends, followed, heard: _, pending }) => {
                let mut small_ends = [0; MAX_VOTERS];
                small_ends.iter_mut().zip(ends.iter()).for_each(|(to, end)| *to = small(end.0));
                let (start, pending) = (small(start.0), SmallPending::of(pending));
                SmallRole::Leader { start, ends: small_ends, followed, pending }
            }
            Role::Follower(Follower { leader, contact, pull }) => SmallRole::Follower {
                leader: SmallId::of(Some(leader)),
                contact,
                pull: SmallPull::of(pull),
            },
            Role::Resigned => SmallRole::Resigned,
        }
    }

    fn role(self, voters: usize) -> Role {
        match self {
            SmallRole::Unattached => Role::Unattached,
            SmallRole::Prospective { granted, refused, leader } => {
                Role::Prospective { tally: Tally { granted, refused }, leader: leader.id() }
            }
            SmallRole::Candidate { granted, refused } => {
                Role::Candidate { tally: Tally { granted, refused } }
            }
            SmallRole::Leader { start, ends, followed, pending } => Role::Leader(Leader {
                start: Offset(i64::from(start)),
                ends: ends[..voters].iter().map(|&end| Offset(i64::from(end))).collect(),
                followed,
                heard: VoterSet::EMPTY,
                pending: pending.pending(),
            }),
            SmallRole::Follower { leader, contact, pull } => Role::Follower(Follower {
                leader: leader.id().expect("a follower has a leader"),
                contact,
                pull: pull.pull(),
            }),
            SmallRole::Resigned => Role::Resigned,
        }
    }

    /// `places` says where nodes move, `positions` where voters do.
    fn renamed(self, places: &[usize], positions: &[usize]) -> Self {
        let moved = |set: VoterSet| set.renamed(positions);
        match self {
            SmallRole::Unattached | SmallRole::Resigned => self,
            SmallRole::Prospective { granted, refused, leader } => SmallRole::Prospective {
                granted: moved(granted),
                refused: moved(refused),
                leader: leader.renamed(places),
            },
            SmallRole::Candidate { granted, refused } => {
                SmallRole::Candidate { granted: moved(granted), refused: moved(refused) }
            }
            SmallRole::Leader { start, ends, followed, pending } => {
                let mut moved_ends = [0; MAX_VOTERS];
                positions.iter().zip(ends).for_each(|(&position, end)| moved_ends[position] = end);
                let (followed, pending) = (moved(followed), pending.renamed(places));
                SmallRole::Leader { start, ends: moved_ends, followed, pending }
            }
            SmallRole::Follower { leader, contact, pull } => {
                SmallRole::Follower { leader: leader.renamed(places), contact, pull }
            }
        }
    }
}

impl SmallPending {
    fn of(pending: Option<Pending>) -> Self {
        match pending.map(|pending| pending.stage) {
            None => SmallPending::None,
            Some(Stage::CatchingUp { voter, target }) => SmallPending::CatchingUp {
                voter: SmallKey::of(Some(voter)),
                target: small(target.0),
            },
            Some(Stage::Committing(at)) => SmallPending::Committing(small(at.0)),
        }
    }

    fn pending(self) -> Option<Pending> {
        let stage = match self {
            SmallPending::None => return None,
            SmallPending::CatchingUp { voter, target } => Stage::CatchingUp {
                voter: voter.key().unwrap_or_default(),
                target: Offset(i64::from(target)),
            },
            SmallPending::Committing(at) => Stage::Committing(Offset(i64::from(at))),
        };
        Some(Pending { id: 0, stage })
    }

    fn renamed(self, places: &[usize]) -> Self {
        match self {
            SmallPending::CatchingUp { voter, target } => {
                SmallPending::CatchingUp { voter: voter.renamed(places), target }
            }
            SmallPending::None | SmallPending::Committing(_) => self,
        }
    }
}

impl SmallPull {
    fn of(pull: Pull) -> Self {
        match pull {
            Pull::Idle => SmallPull::Idle,
            Pull::Fetching => SmallPull::Fetching,
            Pull::Flushing => SmallPull::Flushing,
            Pull::FetchingSnapshot { snapshot: SnapshotId { end, epoch }, position } => {
                let (end, epoch) = (small(end.0), small(i64::from(epoch.0)));
                SmallPull::FetchingSnapshot { end, epoch, position: position as u8 }
            }
            Pull::InstallingSnapshot(SnapshotId { end, epoch }) => {
                let (end, epoch) = (small(end.0), small(i64::from(epoch.0)));
                SmallPull::InstallingSnapshot { end, epoch }
            }
        }
    }

    fn pull(self) -> Pull {
        let snapshot = |end: u8, epoch: u8| SnapshotId {
            end: Offset(i64::from(end)),
            epoch: Epoch(i32::from(epoch)),
        };
        match self {
            SmallPull::Idle => Pull::Idle,
            SmallPull::Fetching => Pull::Fetching,
            SmallPull::Flushing => Pull::Flushing,
            SmallPull::FetchingSnapshot { end, epoch, position } => {
                let (snapshot, position) = (snapshot(end, epoch), u64::from(position));
                Pull::FetchingSnapshot { snapshot, position }
            }
            SmallPull::InstallingSnapshot { end, epoch } => {
                Pull::InstallingSnapshot(snapshot(end, epoch))
            }
        }
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
        let (kind, detail) = match role {
            SmallRole::Unattached => (0, 0),
            SmallRole::Prospective { granted, leader, .. } => {
                (1, (granted.len() as u8) << 1 | u8::from(leader.0 > 0))
            }
            SmallRole::Candidate { granted, .. } => (2, granted.len() as u8),
            SmallRole::Leader { start, .. } => (3, start),
            SmallRole::Follower { contact, pull, .. } => {
                let pull = match pull {
                    SmallPull::Idle => 0,
                    SmallPull::Fetching => 1,
                    SmallPull::Flushing => 2,
                    SmallPull::FetchingSnapshot { .. } => 3,
                    SmallPull::InstallingSnapshot { .. } => 4,
                };
                (4, (contact as u8) << 3 | pull)
            }
            SmallRole::Resigned => (5, 0),
        };
        [epoch, u8::from(vote.0 > 0), high_watermark, kind, detail, 0]
    }
}
