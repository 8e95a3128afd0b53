//! Votes and pre-votes, asked for and answered (Q3, Q4).

use super::quorum::{Io, Quorum};
use super::role::{Contact, Follower, Pull, Role, Tally};
use super::voters::{VoterSet, position};
use super::{Effect, Gate, Message, Patience, RaftLog, Timer, Vote, VoteResponse};
use crate::{Epoch, ErrorCode, Guard, NodeId, ReplicaKey, Rules};

/// Asking.
impl<R: Rules> Quorum<R> {
    pub(super) fn election_timed_out<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        if !self.is_voter() {
            return;
        }
        match self.role {
            Role::Unattached | Role::Resigned | Role::Candidate { .. } => {
                self.become_prospective(io, None);
            }
            Role::Follower(Follower { leader, contact: Contact::Lost, .. }) => {
                self.become_prospective(io, Some(leader));
            }
            Role::Prospective { .. } => self.lose_prospects(io),
            Role::Leader(_) | Role::Follower(_) => {}
        }
    }

    /// Q4: asks first whether a majority would vote, so that a node that was cut off does not
    /// depose a working leader. Stores nothing.
    pub(super) fn become_prospective<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        leader: Option<NodeId>,
    ) {
        let tally = self.own_vote();
        self.transition(io, self.epoch, self.vote, Role::Prospective { tally, leader });
        if !self.rules.holds(Guard::DropPrevote) {
            return self.stand(io, tally);
        }
        io.set(Timer::Election(Patience::Full));
        self.ask_for_votes(io, true);
        if tally.granted.len() >= self.majority() {
            self.stand(io, tally);
        }
    }

    /// Becomes Candidate, which only a Prospective may; `prospects` are the pre-votes. With a
    /// damaged log it does not, however many would vote: asking around told it who leads.
    fn stand<L: RaftLog>(&mut self, io: &mut Io<'_, L>, prospects: Tally) {
        if io.log.is_damaged() {
            return self.lose_prospects(io);
        }
        // A granted pre-vote is no vote: the tally begins with the candidate's own.
        let holds = self.rules.holds(Guard::PrevoteIsVote);
        let tally = if holds { self.own_vote() } else { prospects };
        let epoch = self.epoch.next();
        self.transition(io, epoch, Some(self.me), Role::Candidate { tally });
        io.set(Timer::Election(Patience::Full));
        self.ask_for_votes(io, false);
        if tally.granted.len() >= self.majority() {
            self.lead(io);
        }
    }

    pub(super) fn own_vote(&self) -> Tally {
        let granted = self.my_position().map_or(VoterSet::EMPTY, VoterSet::of);
        Tally { granted, refused: VoterSet::EMPTY }
    }

    fn ask_for_votes<L: RaftLog>(&self, io: &mut Io<'_, L>, pre_vote: bool) {
        let (last_epoch, end) = (Epoch(io.log.last_epoch()), io.log.end());
        for voter in self.peers() {
            let (epoch, candidate) = (self.epoch, self.me);
            let vote = Vote { epoch, candidate, voter, last_epoch, end, pre_vote };
            io.send(voter.id, Message::Vote(vote));
        }
    }

    pub(super) fn vote_answered<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        from: NodeId,
        answer: VoteResponse,
    ) {
        let Some(voter) = position(&self.voters, from) else { return };
        if answer.epoch > self.epoch {
            return self.learn(io, answer.epoch, answer.leader);
        }
        let stale = answer.epoch < self.epoch && self.rules.holds(Guard::StaleVoteCounts);
        if stale || answer.error.is_some() {
            return;
        }
        match &mut self.role {
            Role::Prospective { tally, .. } if answer.pre_vote => {
                tally.count(voter, answer.granted);
                let tally = *tally;
                self.judge_prospects(io, tally, answer);
            }
            Role::Candidate { tally } if !answer.pre_vote => {
                tally.count(voter, answer.granted);
                let tally = *tally;
                self.judge_candidacy(io, tally);
            }
            _ => self.learn(io, answer.epoch, answer.leader),
        }
    }

    fn judge_prospects<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        tally: Tally,
        answer: VoteResponse,
    ) {
        if tally.granted.len() >= self.majority() {
            self.stand(io, tally);
        } else if !answer.granted && answer.leader.is_some_and(|leader| leader != self.me.id) {
            // Somebody is in touch with a leader of this very epoch: no election is needed.
            match self.leader() {
                Some(_) => self.lose_prospects(io),
                None => self.learn(io, answer.epoch, answer.leader),
            }
        } else if self.lost(tally) {
            self.lose_prospects(io);
        }
    }

    fn judge_candidacy<L: RaftLog>(&mut self, io: &mut Io<'_, L>, tally: Tally) {
        if tally.granted.len() >= self.majority() {
            self.lead(io);
        } else if self.is_hopeless(tally) {
            let patience = self.back_off();
            io.set(Timer::Election(patience));
        }
    }

    /// Whether too few are left who could still vote for it: the others have refused, or no link to
    /// them stands. Two of three that stood at the same moment, when the leader died, would else
    /// wait for an answer of the dead. Only how soon it tries again depends on it.
    fn is_hopeless(&self, tally: Tally) -> bool {
        let mut possible = self.connected | tally.granted;
        (0..self.voters.len())
            .filter(|&at| tally.refused.contains(at))
            .for_each(|at| possible.remove(at));
        possible.len() < self.majority()
    }

    /// Whether those who have not refused are too few.
    fn lost(&self, tally: Tally) -> bool {
        self.voters.len() - tally.refused.len() < self.majority()
    }

    /// Q4: back to the leader that is known, or to waiting for one. The election timer keeps
    /// running: the leader may be gone indeed, and the others not have noticed yet.
    fn lose_prospects<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        let Role::Prospective { leader, .. } = self.role else { return };
        let patience = self.back_off();
        match leader {
            Some(leader) => {
                let role = Follower { leader, contact: Contact::Lost, pull: Pull::Idle };
                self.transition(io, self.epoch, self.vote, Role::Follower(role));
                io.set(Timer::Election(patience));
                io.set(Timer::Fetch);
                self.pull(io);
            }
            None => self.detach(io, self.epoch, patience),
        }
    }
}

impl Tally {
    fn count(&mut self, voter: usize, granted: bool) {
        if granted {
            self.granted.insert(voter);
            self.refused.remove(voter);
        } else if !self.granted.contains(voter) {
            self.refused.insert(voter);
        }
    }
}

/// Answering.
impl<R: Rules> Quorum<R> {
    pub(super) fn vote_asked<L: RaftLog>(&mut self, io: &mut Io<'_, L>, from: NodeId, vote: Vote) {
        let answer = self.consider(io, from, vote);
        let (granted, error) = match answer {
            Ok(granted) => (granted, None),
            Err(error) => (false, Some(error)),
        };
        let (epoch, leader) = (self.epoch, self.leader());
        let response = VoteResponse { epoch, leader, granted, pre_vote: vote.pre_vote, error };
        // Q2: a vote that is not on disk could be given twice.
        let durable = self.rules.holds(Guard::VoteBeforeDurable);
        let gate = if durable { Gate::Stored } else { Gate::None };
        io.push(Effect::Send { to: from, message: Message::VoteResponse(response), gate });
    }

    /// Q3: whether the vote is granted, or why it was not looked at.
    fn consider<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        from: NodeId,
        vote: Vote,
    ) -> Result<bool, ErrorCode> {
        if vote.epoch < self.epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        // The candidate's log says who votes: it may name voters that are not known here yet, this
        // node among them, and one that was removed loses to those whose logs say so (KIP-853).
        if vote.candidate.id != from || !self.speaks_for(self.me, vote.voter) {
            return Err(ErrorCode::InvalidVoterKey);
        }
        let past_own_log = if vote.pre_vote {
            vote.last_epoch <= vote.epoch
        } else {
            vote.last_epoch < vote.epoch
        };
        if !past_own_log {
            return Err(ErrorCode::InvalidRequest);
        }
        if vote.epoch > self.epoch {
            self.detach(io, vote.epoch, Patience::Full);
        }
        let granted =
            if vote.pre_vote { self.would_vote(io, vote) } else { self.may_vote(io, vote) };
        if granted && !vote.pre_vote {
            self.record_vote(io, vote.candidate);
        }
        Ok(granted)
    }

    /// Q4: changes nothing, and is refused while a leader is at work.
    fn would_vote<L: RaftLog>(&self, io: &Io<'_, L>, vote: Vote) -> bool {
        let led = match self.role {
            Role::Leader(_) => true,
            Role::Follower(follower) => {
                follower.contact == Contact::Fetched
                    && self.rules.holds(Guard::PrevoteUnderLiveLeader)
            }
            _ => false,
        };
        !led && !io.log.is_damaged() && self.is_up_to_date(io, vote)
    }

    /// Q3: one vote an epoch, none where the epoch has a leader, and only to a log that misses
    /// nothing of this one.
    fn may_vote<L: RaftLog>(&self, io: &Io<'_, L>, vote: Vote) -> bool {
        match self.vote {
            _ if io.log.is_damaged() => false,
            Some(voted) if self.same_candidate(voted, vote.candidate) => true,
            Some(_) if self.rules.holds(Guard::VoteTwice) => false,
            _ => self.leader().is_none() && self.is_up_to_date(io, vote),
        }
    }

    fn same_candidate(&self, voted: ReplicaKey, candidate: ReplicaKey) -> bool {
        let by_id_only = !self.rules.holds(Guard::VoterWithoutDirectory);
        voted == candidate || by_id_only && voted.id == candidate.id
    }

    fn is_up_to_date<L: RaftLog>(&self, io: &Io<'_, L>, vote: Vote) -> bool {
        let (last_epoch, end) = (Epoch(io.log.last_epoch()), io.log.end());
        if !self.rules.holds(Guard::SkipLogUpToDate) {
            true
        } else if self.rules.holds(Guard::CompareLogMemberwise) {
            (vote.last_epoch, vote.end) >= (last_epoch, end)
        } else {
            vote.last_epoch >= last_epoch && vote.end >= end
        }
    }

    fn record_vote<L: RaftLog>(&mut self, io: &mut Io<'_, L>, candidate: ReplicaKey) {
        if self.vote == Some(candidate) {
            return;
        }
        // Whoever gives its vote away waits for the outcome.
        let role = match self.role {
            Role::Prospective { .. } => Role::Unattached,
            role => role,
        };
        self.transition(io, self.epoch, Some(candidate), role);
        self.wait_for_outcome(io);
    }

    /// Voters may stand themselves, if nobody wins; observers ask.
    fn wait_for_outcome<L: RaftLog>(&self, io: &mut Io<'_, L>) {
        let timer = if self.is_voter() { Timer::Election(Patience::Full) } else { Timer::Retry };
        io.set(timer);
    }
}
