//! A node's role in small numbers.

use crate::limits::MAX_VOTERS;
use crate::raft::SnapshotId;
use crate::raft::reconfigure::{Pending, Stage};
use crate::raft::role::{Contact, Follower, Leader, Pull, Role, Tally};
use crate::raft::voters::VoterSet;
use crate::{Epoch, Offset};

use super::{SmallId, SmallKey, small};

/// [`Role`] in small numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum SmallRole {
    Unattached,
    Prospective { granted: VoterSet, refused: VoterSet, leader: SmallId },
    Candidate { granted: VoterSet, refused: VoterSet },
    Leader { start: u8, ends: [u8; MAX_VOTERS], followed: VoterSet, pending: SmallPending },
    Follower { leader: SmallId, contact: Contact, pull: SmallPull },
    Resigned,
}

/// [`Pull`] in small numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum SmallPull {
    Idle,
    Fetching,
    Flushing,
    FetchingSnapshot { end: u8, epoch: u8, position: u8 },
    InstallingSnapshot { end: u8, epoch: u8 },
}

/// [`Pending`] in small numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum SmallPending {
    None,
    CatchingUp { voter: SmallKey, target: u8 },
    Committing(u8),
}

impl SmallRole {
    pub(super) fn of(role: &Role) -> Self {
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

    pub(super) fn role(self, voters: usize) -> Role {
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
    pub(super) fn renamed(self, places: &[usize], positions: &[usize]) -> Self {
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

    /// What no renaming changes: the kind, and something of what it holds.
    pub(super) fn anonymous(self) -> (u8, u8) {
        match self {
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
