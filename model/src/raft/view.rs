//! What a node knows only while it is a candidate or a leader, for whoever holds it against a
//! specification. Voters are bits by their positions.

use super::quorum::Quorum;
use super::role::{Role, Tally};
use crate::Offset;

impl<R> Quorum<R> {
    /// Who has granted and who has refused the (pre-)vote that this node asks for.
    pub fn tally(&self) -> (u8, u8) {
        match self.role {
            Role::Prospective { tally, .. } | Role::Candidate { tally } => {
                let Tally { granted, refused } = tally;
                (granted.bits(), refused.bits())
            }
            _ => (0, 0),
        }
    }

    /// How far the voter at this position was told to be flushed, by its fetches of the epoch that
    /// this node leads; `None` as long as it has not fetched in it, and on all but leaders.
    pub fn fetched_end(&self, at: usize) -> Option<Offset> {
        match &self.role {
            Role::Leader(leader) if leader.followed.contains(at) => leader.ends.get(at).copied(),
            _ => None,
        }
    }
}
