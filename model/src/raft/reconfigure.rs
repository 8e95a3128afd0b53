//! Changing the voters, one at a time: the leader's side (Q12, KIP-853).
//!
//! ```text
//!   ChangeVoters ──▶ CatchingUp ──▶ Committing ──▶ answered; a leader that removed itself leaves
//!        │         (only to add)  (by the new set)
//!        └──▶ refused
//! ```
//!
//! Two sets of which one has a voter more than the other have no disjoint majorities. Everything
//! here sees to it that no two sets are in force that are further apart.

use serde::{Deserialize, Serialize};

use super::quorum::{Io, Quorum};
use super::role::Role;
use super::voters::{Voters, position};
use super::{Effect, RaftLog, Timer};
use crate::{ErrorCode, Guard, Offset, ReplicaKey, Rules};

/// A change that is wanted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum VoterChange {
    /// This observer shall vote.
    Add(ReplicaKey),
    Remove(ReplicaKey),
    /// This voter is reached elsewhere; who votes stays as it is.
    Update(ReplicaKey),
}

/// Why the voters were not changed, or are not known to be.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Serialize,
    Deserialize,
    thiserror::Error,
)]
pub enum VoterChangeError {
    #[error("this node does not lead the quorum")]
    NotLeader,
    #[error("another voter change is under way: ask again when it is done")]
    ChangePending,
    #[error("the leader has just been elected and its epoch is not committed yet: ask again")]
    EpochNotCommitted,
    #[error(
        "the quorum is a static one (kraft.version 0): its voters are those of \
         controller.quorum.voters on every node"
    )]
    Static,
    #[error("the last voter change is not committed yet: ask again when a majority has it")]
    SetNotCommitted,
    #[error("a voter is a node and its directory, and no directory was named")]
    NoDirectory,
    #[error("a voter with this node id is there already: remove it first")]
    Duplicate,
    #[error("there are as many voters as a quorum can have")]
    Full,
    #[error("no voter has this node id and directory id")]
    NotFound,
    #[error("it is the last voter, and a quorum without voters can never elect a leader")]
    Last,
    #[error("the new voter did not catch up with the leader's log in time")]
    Lagging,
    #[error("the change was not committed in time; it may still be")]
    NotCommitted,
    #[error("this node lost its leadership before the change was committed; it may still be")]
    LostLeadership,
    /// Said by the shell, which knows what process it is: the machine sees a replica like others.
    #[error("that node is no controller: it could be elected and could not act")]
    NoController,
}

impl VoterChangeError {
    /// Kafka's error for it (KIP-853).
    pub fn code(self) -> ErrorCode {
        match self {
            VoterChangeError::NotLeader | VoterChangeError::LostLeadership => {
                ErrorCode::NotLeaderOrFollower
            }
            VoterChangeError::ChangePending
            | VoterChangeError::EpochNotCommitted
            | VoterChangeError::SetNotCommitted
            | VoterChangeError::Lagging
            | VoterChangeError::NotCommitted => ErrorCode::RequestTimedOut,
            VoterChangeError::Static => ErrorCode::UnsupportedVersion,
            VoterChangeError::Duplicate => ErrorCode::DuplicateVoter,
            VoterChangeError::NotFound => ErrorCode::VoterNotFound,
            VoterChangeError::NoDirectory
            | VoterChangeError::NoController
            | VoterChangeError::Full
            | VoterChangeError::Last => ErrorCode::InvalidRequest,
        }
    }
}

/// The one change that a leader is at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Pending {
    pub(super) id: u64,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Stage {
    /// The new voter has yet to fetch everything below `target`: a voter that is far behind would
    /// make commits wait for it.
    CatchingUp { voter: ReplicaKey, target: Offset },
    /// The Voters record at this offset is on its way to a majority of the voters that it names.
    Committing(Offset),
}

impl<R: Rules> Quorum<R> {
    pub(super) fn change_voters<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        id: u64,
        change: VoterChange,
    ) {
        let begun = self.may_change(io.log).and_then(|()| self.apply(io, id, change));
        if let Err(error) = begun {
            io.push(Effect::VotersAnswered { id, result: Err(error) });
        }
    }

    /// What must be so before any change.
    fn may_change(&self, log: &impl RaftLog) -> Result<(), VoterChangeError> {
        let Role::Leader(leader) = self.role else { return Err(VoterChangeError::NotLeader) };
        let one_at_a_time = self.rules.holds(Guard::TwoUncommittedVoterSets);
        if leader.pending.is_some() && one_at_a_time {
            return Err(VoterChangeError::ChangePending);
        }
        // A set that an earlier leader appended may be in force elsewhere until a record of this
        // epoch is committed, which fences it.
        if !self.serves() && self.rules.holds(Guard::ReconfigureBeforeCommit) {
            return Err(VoterChangeError::EpochNotCommitted);
        }
        if log.voters_below(log.end()).is_none() {
            return Err(VoterChangeError::Static);
        }
        if !self.voters_are_committed() && one_at_a_time {
            return Err(VoterChangeError::SetNotCommitted);
        }
        Ok(())
    }

    /// Makes a set of it that differs from the present one in one voter at most.
    fn apply<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        id: u64,
        change: VoterChange,
    ) -> Result<(), VoterChangeError> {
        match change {
            VoterChange::Add(voter) => self.begin_adding(io, id, voter),
            VoterChange::Remove(voter) => {
                let at = self.voter_position(voter).ok_or(VoterChangeError::NotFound)?;
                if self.voters.len() == 1 {
                    return Err(VoterChangeError::Last);
                }
                let mut voters = self.voters;
                voters.remove(at);
                self.begin_committing(io, id, &voters);
                Ok(())
            }
            VoterChange::Update(voter) => {
                self.voter_position(voter).ok_or(VoterChangeError::NotFound)?;
                let voters = self.voters;
                self.begin_committing(io, id, &voters);
                Ok(())
            }
        }
    }

    fn begin_adding<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        id: u64,
        voter: ReplicaKey,
    ) -> Result<(), VoterChangeError> {
        if voter.directory.is_zero() {
            return Err(VoterChangeError::NoDirectory);
        }
        if position(&self.voters, voter.id).is_some() {
            return Err(VoterChangeError::Duplicate);
        }
        let mut voters = self.voters;
        voters.try_push(voter).map_err(|_| VoterChangeError::Full)?;
        if !self.rules.holds(Guard::AddBeforeCaughtUp) {
            self.begin_committing(io, id, &voters);
            return Ok(());
        }
        self.set_pending(
            io,
            Pending { id, stage: Stage::CatchingUp { voter, target: io.log.end() } },
        );
        // It may be waiting for news at the log's end.
        io.push(Effect::News);
        Ok(())
    }

    /// A replica that is no voter has everything below `end`.
    pub(super) fn observer_fetched<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        replica: ReplicaKey,
        end: Offset,
    ) {
        let Role::Leader(leader) = self.role else { return };
        let Some(Pending { id, stage: Stage::CatchingUp { voter, target } }) = leader.pending
        else {
            return;
        };
        if replica == voter && end >= target {
            let mut voters = self.voters;
            voters.push(voter);
            self.begin_committing(io, id, &voters);
        }
    }

    /// Appends the new set, which is in force from here on: its own majority commits it.
    fn begin_committing<L: RaftLog>(&mut self, io: &mut Io<'_, L>, id: u64, voters: &Voters) {
        self.set_pending(io, Pending { id, stage: Stage::Committing(io.log.end()) });
        io.log.append_voters(self.epoch, voters);
        io.push(Effect::Flush);
        io.push(Effect::News);
        self.adopt_voters(io);
        self.advance_high_watermark(io);
    }

    fn set_pending<L: RaftLog>(&mut self, io: &mut Io<'_, L>, pending: Pending) {
        if let Role::Leader(leader) = &mut self.role {
            leader.pending = Some(pending);
            io.set(Timer::VoterChange);
        }
    }

    /// The high watermark moved: answers a change that is committed, and leaves if that was this
    /// leader's own removal.
    pub(super) fn change_committed<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        let Role::Leader(leader) = self.role else { return };
        if let Some(Pending { stage: Stage::Committing(at), .. }) = leader.pending
            && at < self.high_watermark
        {
            self.end_change(io, Ok(()));
        }
        let removed = !self.is_voter() && self.voters_are_committed();
        if removed && self.rules.holds(Guard::RemovedLeaderLeads) {
            self.resign(io);
        }
    }

    pub(super) fn change_timed_out<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        let Role::Leader(leader) = self.role else { return };
        match leader.pending {
            Some(Pending { stage: Stage::CatchingUp { .. }, .. }) => {
                self.end_change(io, Err(VoterChangeError::Lagging));
            }
            Some(_) => self.end_change(io, Err(VoterChangeError::NotCommitted)),
            None => {}
        }
    }

    /// Answers the change that is under way, if one is.
    pub(super) fn end_change<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        result: Result<(), VoterChangeError>,
    ) {
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(Pending { id, .. }) = leader.pending.take() {
            io.cancel(Timer::VoterChange);
            io.push(Effect::VotersAnswered { id, result });
        }
    }
}
