//! The only places that change epoch, vote and role, and so the only ones that store them (Q2).

use super::quorum::{Io, Quorum};
use super::role::{Contact, Follower, Pull, Role};
use super::voters::position;
use super::{Effect, Patience, RaftLog, StoredState, Timer, VoterChangeError};
use crate::{Epoch, NodeId, ReplicaKey, Rules};

/// Lost elections after which waiting no longer grows.
const MAX_ATTEMPTS: u8 = 5;

impl<R: Rules> Quorum<R> {
    /// What a restart must know of the present state.
    pub fn durable(&self) -> StoredState {
        let leader = match self.role {
            Role::Resigned => Some(self.me.id),
            _ => self.leader(),
        };
        StoredState { epoch: self.epoch, leader, vote: self.vote }
    }

    /// Changes what the node is. The store comes before anything that the new role says, and
    /// nothing is said before it is on disk.
    pub(super) fn transition<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        epoch: Epoch,
        vote: Option<ReplicaKey>,
        role: Role,
    ) {
        let (durable, known) = (self.durable(), (self.leader(), self.epoch));
        self.leave_role(io);
        self.epoch = epoch;
        self.vote = vote;
        self.role = role;
        if self.durable() != durable {
            io.push(Effect::Store(self.durable()));
        }
        let (leader, epoch) = (self.leader(), self.epoch);
        if (leader, epoch) != known {
            io.push(Effect::LeaderKnown { leader, epoch });
        }
    }

    fn leave_role<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        match self.role {
            Role::Leader(_) => {
                self.end_change(io, Err(VoterChangeError::LostLeadership));
                io.cancel(Timer::CheckQuorum);
                io.cancel(Timer::Announce);
                io.push(Effect::LostLeadership { epoch: self.epoch });
                // Those whose fetches are held must hear that this node leads no longer.
                io.push(Effect::News);
            }
            Role::Follower(follower) => {
                io.cancel(Timer::Fetch);
                io.cancel(Timer::Retry);
                if follower.contact == Contact::Lost {
                    io.cancel(Timer::Election(Patience::Full));
                }
            }
            _ if self.is_voter() => io.cancel(Timer::Election(Patience::Full)),
            _ => io.cancel(Timer::Retry),
        }
    }

    /// Takes in what an answer says of epoch and leader. Only a higher epoch, or a leader of this
    /// one where none is known, changes anything.
    pub(super) fn learn<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        epoch: Epoch,
        leader: Option<NodeId>,
    ) {
        // It may be none of the voters that this node knows: who leads may have been removed, or
        // added, by records that are not here yet.
        let leader = leader.filter(|&id| id != self.me.id);
        match leader {
            Some(leader) if epoch > self.epoch && !self.is_worth_following(leader) => {
                self.detach(io, epoch, Patience::Full);
            }
            Some(leader) if !self.is_worth_following(leader) => {}
            Some(leader) if epoch > self.epoch => self.follow(io, epoch, leader),
            Some(leader) if epoch == self.epoch && self.may_follow() => {
                self.follow(io, epoch, leader);
            }
            None if epoch > self.epoch => self.detach(io, epoch, Patience::Full),
            _ => {}
        }
    }

    /// An observer that has no link to the voter that it is told leads goes on asking: the voter that
    /// told it may not have noticed yet that this leader is dead. Voters stand for election instead.
    fn is_worth_following(&self, leader: NodeId) -> bool {
        let at = position(&self.voters, leader);
        self.is_voter() || at.is_none_or(|at| self.connected.contains(at))
    }

    /// Whether a leader of the present epoch would be news.
    fn may_follow(&self) -> bool {
        self.leader().is_none()
    }

    /// Knows of no leader in `epoch`, which is this one (an observer's) or a higher one.
    pub(super) fn detach<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        epoch: Epoch,
        patience: Patience,
    ) {
        let vote = if epoch > self.epoch { None } else { self.vote };
        self.transition(io, epoch, vote, Role::Unattached);
        self.wait_unattached(io, patience);
    }

    /// A voter waits for an election; an observer asks who leads.
    pub(super) fn wait_unattached<L: RaftLog>(&mut self, io: &mut Io<'_, L>, patience: Patience) {
        if self.is_voter() {
            io.set(Timer::Election(patience));
        } else {
            self.ask_for_leader(io);
        }
    }

    pub(super) fn follow<L: RaftLog>(&mut self, io: &mut Io<'_, L>, epoch: Epoch, leader: NodeId) {
        let vote = if epoch > self.epoch { None } else { self.vote };
        let role = Follower { leader, contact: Contact::Untried, pull: Pull::Idle };
        self.transition(io, epoch, vote, Role::Follower(role));
        io.set(Timer::Fetch);
        self.pull(io);
    }

    /// How long to wait after one more lost election.
    pub(super) fn back_off(&mut self) -> Patience {
        let patience = Patience::Backoff(self.attempts);
        self.attempts = (self.attempts + 1).min(MAX_ATTEMPTS);
        patience
    }

    /// A voter that has links to a majority, knows no leader and has not promised its vote to
    /// somebody need not wait: a fresh cluster elects at once.
    pub(super) fn fresh_patience(&self) -> Patience {
        let may_win = self.connected.len() >= self.majority() && self.vote.is_none();
        if may_win { Patience::Fresh } else { Patience::Full }
    }
}
