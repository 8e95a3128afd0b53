//! Followers and observers: pulling the leader's log, and losing the leader (Q8, Q10).

use super::quorum::{Io, Quorum};
use super::role::{Contact, Follower, Pull, Role};
use super::voters::{position, same_voter};
use super::{
    BeginQuorumEpoch, Effect, EndQuorumEpoch, Fetch, FetchOutcome, FetchResponse, Message,
    Patience, RaftLog, Timer,
};
use crate::log::Extent;
use crate::{Epoch, EpochEnd, ErrorCode, Guard, NodeId, Offset, Rules};

/// Fetching.
impl<R: Rules> Quorum<R> {
    /// Sends the next fetch, or sees to it first that what it would acknowledge is on disk.
    pub(super) fn pull<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        let behind = io.log.flushed() < io.log.end() && self.rules.holds(Guard::CountUnflushed);
        let fetch = self.next_fetch(io.log);
        let Role::Follower(follower) = &mut self.role else { return };
        if behind {
            if follower.pull != Pull::Flushing {
                io.push(Effect::Flush);
            }
            follower.pull = Pull::Flushing;
        } else {
            follower.pull = Pull::Fetching;
            io.send(follower.leader, Message::Fetch(fetch));
        }
    }

    pub(super) fn next_fetch(&self, log: &impl RaftLog) -> Fetch {
        Fetch {
            epoch: self.epoch,
            replica: self.me,
            offset: log.end(),
            last_epoch: Epoch(log.last_epoch()),
            high_watermark: self.high_watermark,
        }
    }

    pub(super) fn fetched<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        from: NodeId,
        answer: FetchResponse<L::Batch>,
    ) {
        if answer.epoch != self.epoch || self.leader().is_none() {
            return self.learn(io, answer.epoch, answer.leader);
        }
        let asked = (answer.offset, answer.last_epoch);
        let stands = (io.log.end(), Epoch(io.log.last_epoch()));
        match self.role {
            // An answer to an older fetch says nothing about where the log ends now.
            Role::Follower(Follower { leader, pull: Pull::Fetching, .. })
                if leader == from && asked == stands => {}
            _ => return,
        }
        match answer.outcome {
            FetchOutcome::Refused(error) => self.refused(io, error),
            FetchOutcome::Diverging(end) => {
                self.in_touch(io);
                self.diverged(io, end);
            }
            FetchOutcome::Snapshot(snapshot) => {
                self.in_touch(io);
                self.begin_snapshot(io, snapshot);
            }
            FetchOutcome::Records { batch, high_watermark } => {
                self.in_touch(io);
                self.take_records(io, batch, high_watermark);
            }
        }
    }

    /// The leader is alive: starts its time anew, and refuses pre-votes from now on (Q4).
    pub(super) fn in_touch<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        let Role::Follower(follower) = &mut self.role else { return };
        if follower.contact == Contact::Lost {
            io.cancel(Timer::Election(Patience::Full));
        }
        follower.contact = Contact::Fetched;
        self.attempts = 0;
        io.set(Timer::Fetch);
    }

    fn take_records<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        batch: Option<L::Batch>,
        high_watermark: Offset,
    ) {
        if let Some(batch) = batch {
            let fits = batch.base() == io.log.end()
                && batch.end() > batch.base()
                && batch.last_epoch() <= self.epoch.0;
            if !fits {
                return self.ask_again_later(io);
            }
            io.log.append(batch);
            self.adopt_voters(io);
        }
        let own_end = self.rules.holds(Guard::HwBeyondOwnEnd).then(|| io.log.end());
        self.commit_up_to(io, own_end.unwrap_or(high_watermark).min(high_watermark));
        self.pull(io);
        if io.log.flushed() < io.log.end() && !self.rules.holds(Guard::CountUnflushed) {
            io.push(Effect::Flush);
        }
    }

    pub(super) fn commit_up_to<L: RaftLog>(&mut self, io: &mut Io<'_, L>, offset: Offset) {
        let rises = offset > self.high_watermark || !self.rules.holds(Guard::HwFalls);
        if rises && offset != self.high_watermark {
            self.high_watermark = offset;
            io.push(Effect::Committed(offset));
            self.voters_committed(io);
        }
    }

    /// Q8: drops what the leader does not have, and takes no high watermark from such an answer
    /// (KAFKA-14704). The voters fall back with the log.
    fn diverged<L: RaftLog>(&mut self, io: &mut Io<'_, L>, leaders: EpochEnd) {
        let own = io.log.end_of_epoch(leaders.epoch);
        let mut to = leaders.end.min(own.end);
        if !self.rules.holds(Guard::HwFromDivergence) {
            self.commit_up_to(io, leaders.end.min(io.log.end()));
        }
        if !self.rules.holds(Guard::TruncateThenAppend) {
            // What the leader has as well goes too, and comes again.
            to = self.high_watermark;
        }
        if to < self.high_watermark {
            return io.push(Effect::Violation(
                "the leader's log parts from this one below the high watermark",
            ));
        }
        if to >= io.log.end() {
            // Nothing to drop: the answer makes no sense, and taking it would go round in circles.
            return self.ask_again_later(io);
        }
        io.log.truncate(to);
        self.voters_truncated(io);
        self.pull(io);
    }

    fn refused<L: RaftLog>(&mut self, io: &mut Io<'_, L>, error: ErrorCode) {
        self.ask_again_later(io);
        // Who once led an epoch and says that it does not will not lead it again.
        if error == ErrorCode::NotLeaderOrFollower {
            self.lose_leader(io, None);
        }
    }

    pub(super) fn ask_again_later<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        if let Role::Follower(follower) = &mut self.role {
            follower.pull = Pull::Idle;
            io.set(Timer::Retry);
        }
    }

    pub(super) fn retry<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        match self.role {
            Role::Follower(Follower { pull: Pull::Idle, .. }) => self.pull(io),
            Role::Unattached if !self.is_voter() => self.ask_for_leader(io),
            _ => {}
        }
    }
}

/// Being told who leads, and who does no longer.
impl<R: Rules> Quorum<R> {
    pub(super) fn epoch_begun<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        from: NodeId,
        begin: BeginQuorumEpoch,
    ) {
        if begin.leader != from || !self.speaks_for(self.me, begin.voter) {
            return;
        }
        let other = self.leader().filter(|&leader| leader != from);
        if begin.epoch == self.epoch && other.is_some() {
            return io.push(Effect::Violation("two nodes lead one epoch"));
        }
        self.learn(io, begin.epoch, Some(begin.leader));
        let (epoch, leader) = (self.epoch, self.leader());
        io.send(from, Message::BeginQuorumEpochResponse { epoch, leader });
    }

    /// Q10: the leader has resigned; who has the longest log stands first.
    pub(super) fn epoch_ended<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        from: NodeId,
        end: &EndQuorumEpoch,
    ) {
        if end.leader != from || end.epoch < self.epoch {
            return;
        }
        let rank = end.successors.iter().position(|&voter| same_voter(voter, self.me));
        let rank = rank.map(|rank| rank as u8);
        if end.epoch > self.epoch {
            self.detach(io, end.epoch, ranked(rank));
        } else if self.leader() == Some(from) {
            self.lose_leader(io, rank);
        }
    }

    /// The leader is gone or has resigned: as if nothing had been fetched from it, pre-votes are
    /// granted, and after a time that is short for the best placed this voter stands itself. An
    /// observer asks around.
    fn lose_leader<L: RaftLog>(&mut self, io: &mut Io<'_, L>, rank: Option<u8>) {
        let voter = self.is_voter();
        let rank = rank.or_else(|| self.rank_after_leader());
        let Role::Follower(follower) = &mut self.role else { return };
        if !voter {
            return self.detach(io, self.epoch, Patience::Full);
        }
        if follower.contact != Contact::Lost {
            follower.contact = Contact::Lost;
            io.set(Timer::Election(ranked(rank)));
        }
    }

    /// Without the leader's word on it, the voters stand in the order of the configuration.
    fn rank_after_leader(&self) -> Option<u8> {
        let leader = self.leader();
        let mut others = self.voters.iter().filter(|voter| Some(voter.id) != leader);
        others.position(|voter| voter.id == self.me.id).map(|rank| rank as u8)
    }

    pub(super) fn fetch_timed_out<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        let Role::Follower(Follower { leader, .. }) = self.role else { return };
        if self.is_voter() {
            self.become_prospective(io, Some(leader));
        } else {
            self.detach(io, self.epoch, Patience::Full);
        }
    }
}

/// Links and the processes behind them.
impl<R: Rules> Quorum<R> {
    pub(super) fn link_up<L: RaftLog>(&mut self, io: &mut Io<'_, L>, node: NodeId) {
        let at = position(&self.voters, node);
        let before = self.connected.len();
        match at {
            Some(at) => self.connected.insert(at),
            None => self.guide = Some(node),
        }
        let majority_now = before < self.majority() && self.connected.len() >= self.majority();
        match self.role {
            Role::Unattached if majority_now && self.is_voter() => {
                io.set(Timer::Election(self.fresh_patience()));
            }
            Role::Unattached if !self.is_voter() => {
                let next = self.informants().position(|informant| informant == node);
                self.ask_next = next.unwrap_or(0) as u8;
                self.ask_for_leader(io);
            }
            // Whatever was asked over an earlier link is lost.
            Role::Follower(Follower { leader, pull, .. })
                if leader == node
                    && !matches!(pull, Pull::Flushing | Pull::InstallingSnapshot(_)) =>
            {
                self.pull(io);
            }
            Role::Leader(leader) if at.is_some_and(|at| !leader.followed.contains(at)) => {
                self.announce(io);
            }
            _ => {}
        }
    }

    /// What was under way on the link is lost; the shell brings up another one.
    pub(super) fn link_down<L: RaftLog>(&mut self, io: &mut Io<'_, L>, node: NodeId) {
        if let Some(at) = position(&self.voters, node)
            && node != self.me.id
        {
            self.connected.remove(at);
        }
        self.guide = self.guide.filter(|&guide| guide != node);
        match self.role {
            Role::Follower(Follower {
                leader,
                pull: Pull::Fetching | Pull::FetchingSnapshot { .. },
                ..
            }) if leader == node => self.ask_again_later(io),
            _ => {}
        }
    }

    pub(super) fn peer_gone<L: RaftLog>(&mut self, io: &mut Io<'_, L>, node: NodeId) {
        self.link_down(io, node);
        if self.leader() == Some(node) {
            self.lose_leader(io, None);
        }
    }

    /// An observer without a leader asks one after the other; any answer names the leader that is
    /// known there.
    pub(super) fn ask_for_leader<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        let all = self.informants().count();
        let Some(id) = self.informants().nth(usize::from(self.ask_next)) else {
            self.ask_next = 0;
            return if all > 0 {
                io.set(Timer::Retry)
            };
        };
        self.ask_next = (self.ask_next + 1) % all as u8;
        io.send(id, Message::Fetch(self.next_fetch(io.log)));
        io.set(Timer::Retry);
    }
}

fn ranked(rank: Option<u8>) -> Patience {
    rank.map_or(Patience::Full, Patience::Ranked)
}
