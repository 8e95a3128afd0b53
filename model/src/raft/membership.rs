//! Who votes: what the last Voters record in the log says, committed or not (Q12).
//!
//! The set follows the log at every append, truncation and snapshot. Whatever is kept by a voter's
//! position moves with it, and a node may find itself a voter, or one no longer.

use super::quorum::{Io, Quorum};
use super::role::{Contact, Follower, Leader, Role, Tally};
use super::voters::{VoterSet, Voters};
use super::{Effect, Patience, RaftLog, Timer};
use crate::{Guard, NodeId, Offset, Rules};

impl<R: Rules> Quorum<R> {
    /// Brings the voters in line with the log, which has just changed.
    pub(super) fn adopt_voters<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        // A set that waited for its commit would be two steps behind where the next one is.
        let on_append = self.rules.holds(Guard::VotersOnCommit);
        let below = if on_append { io.log.end() } else { self.high_watermark };
        let record = io.log.voters_below(below);
        let voters = record.map_or(self.configured, |record| record.voters);
        let at = record.map(|record| record.offset);
        if (at, voters) == (self.voters_at, self.voters) {
            return;
        }
        let voted = self.is_voter();
        let before = std::mem::replace(&mut self.voters, voters);
        self.voters_at = at;
        self.move_positions(&before);
        self.change_duties(io, voted);
        io.push(Effect::VotersKnown);
    }

    /// The high watermark moved.
    pub(super) fn voters_committed<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        if !self.rules.holds(Guard::VotersOnCommit) {
            self.adopt_voters(io);
        }
    }

    /// The log was cut back, and the set with it (Q8).
    pub(super) fn voters_truncated<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        if self.rules.holds(Guard::VotersSurviveTruncation) {
            self.adopt_voters(io);
        }
    }

    /// Whatever counts voters by position counts the same ones again.
    fn move_positions(&mut self, before: &Voters) {
        let now = self.voters;
        let moved = |set: VoterSet| set.moved(before, &now);
        self.connected = moved(self.connected);
        if let Some(mine) = self.my_position() {
            self.connected.insert(mine);
        }
        self.ask_next = 0;
        match &mut self.role {
            Role::Candidate { tally } | Role::Prospective { tally, .. } => {
                *tally = Tally { granted: moved(tally.granted), refused: moved(tally.refused) };
            }
            Role::Leader(leader) => {
                *leader = Leader {
                    ends: now.iter().map(|voter| leader.end_of(before, voter)).collect(),
                    followed: moved(leader.followed),
                    heard: moved(leader.heard),
                    ..*leader
                };
            }
            Role::Unattached | Role::Follower(_) | Role::Resigned => {}
        }
    }

    /// Voters stand for election where observers ask for a leader; a leader that is a voter no
    /// longer leads on until that is committed.
    fn change_duties<L: RaftLog>(&mut self, io: &mut Io<'_, L>, voted: bool) {
        let votes = self.is_voter();
        match self.role {
            Role::Leader(_) => {
                if self.needs_others() {
                    io.set(Timer::CheckQuorum);
                } else {
                    io.cancel(Timer::CheckQuorum);
                }
                io.set(Timer::Announce);
            }
            Role::Unattached if votes && !voted => {
                io.cancel(Timer::Retry);
                io.set(Timer::Election(Patience::Full));
            }
            Role::Follower(Follower { contact: Contact::Lost, .. })
            | Role::Unattached
            | Role::Prospective { .. }
            | Role::Candidate { .. }
            | Role::Resigned
                if voted && !votes =>
            {
                io.cancel(Timer::Election(Patience::Full));
                self.detach(io, self.epoch, Patience::Full);
            }
            _ => {}
        }
    }

    /// Whether a leader can do nothing without others (Q9).
    pub(super) fn needs_others(&self) -> bool {
        self.majority() > usize::from(self.is_voter())
    }

    /// Whom an observer may ask who leads: the voters that it knows, and a controller beyond them,
    /// since they may all have been replaced.
    pub(super) fn informants(&self) -> impl Iterator<Item = NodeId> + use<R> {
        self.peers().map(|voter| voter.id).chain(self.guide)
    }

    /// Q12: the set is in force, and below the high watermark.
    pub(super) fn voters_are_committed(&self) -> bool {
        self.voters_at.is_some_and(|at| at < self.high_watermark)
    }
}

impl Leader {
    /// How far the log of a voter is flushed that had its place in the set `before`, or had none.
    fn end_of(&self, before: &Voters, voter: &crate::ReplicaKey) -> Offset {
        let at = before.iter().position(|other| other == voter);
        at.map_or(Offset::ZERO, |at| self.ends[at])
    }
}
