//! The leader: announcing itself, appending, answering fetches, resigning (Q5, Q6, Q9, Q10).

use super::quorum::{Io, Quorum};
use super::role::{Leader, Role};
use super::voters::VoterSet;
use super::{
    BeginQuorumEpoch, Effect, EndQuorumEpoch, Fetch, FetchOutcome, FetchResponse, Message,
    Patience, RaftLog, SnapshotId, Timer, VotersRecord,
};
use crate::inline::InlineVec;
use crate::limits::MAX_VOTERS;
use crate::log::Extent;
use crate::{Epoch, EpochEnd, ErrorCode, Guard, NodeId, Offset, ReplicaKey, Rules};

impl<R: Rules> Quorum<R> {
    /// Q5: appends the record that opens the epoch, then tells everybody.
    pub(super) fn lead<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        let leader = Leader {
            start: io.log.end(),
            ends: self.voters.iter().map(|_| Offset::ZERO).collect(),
            followed: VoterSet::EMPTY,
            heard: VoterSet::EMPTY,
            pending: None,
        };
        self.transition(io, self.epoch, self.vote, Role::Leader(leader));
        self.attempts = 0;
        io.log.append_leader_change(self.epoch, self.me.id);
        if self.voters_at == Some(VotersRecord::BOOTSTRAP) {
            // Who joins later was formatted without it.
            io.log.append_voters(self.epoch, &self.voters);
            self.adopt_voters(io);
        }
        io.push(Effect::Flush);
        self.announce(io);
        if self.needs_others() {
            io.set(Timer::CheckQuorum);
        }
        self.advance_high_watermark(io);
    }

    /// Tells the voters that have not fetched in this epoch who leads it.
    pub(super) fn announce<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        let Role::Leader(leader) = self.role else { return };
        let mut all_follow = true;
        for (at, &voter) in self.voters.iter().enumerate() {
            if voter.id != self.me.id && !leader.followed.contains(at) {
                all_follow = false;
                let begin = BeginQuorumEpoch { epoch: self.epoch, leader: self.me.id, voter };
                io.send(voter.id, Message::BeginQuorumEpoch(begin));
            }
        }
        if !all_follow {
            io.set(Timer::Announce);
        }
    }

    /// Appends the controller's records. It proposes only while it leads and from the log's end on;
    /// anything else was overtaken by a change of leadership, of which it has been told.
    pub(super) fn propose<L: RaftLog>(&mut self, io: &mut Io<'_, L>, batch: L::Batch) {
        if !self.serves() || batch.base() != io.log.end() {
            return;
        }
        io.log.append_as_leader(self.epoch, batch);
        io.push(Effect::Flush);
        io.push(Effect::News);
        self.advance_high_watermark(io);
    }

    /// Whether this node leads and knows it to be safe to act: its epoch's first record is
    /// committed, and with it everything before (KAFKA-15345).
    pub(super) fn serves(&self) -> bool {
        matches!(self.role, Role::Leader(leader) if self.high_watermark > leader.start)
    }

    /// Q6: checks the fetcher's position, answers it, or holds the answer until there is news. Only
    /// a valid fetch moves what is known of the fetcher.
    pub(super) fn answer_fetch<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        from: NodeId,
        fetch: Fetch,
        may_hold: bool,
    ) {
        if fetch.replica.id != from {
            return;
        }
        if let Err(error) = self.admit(fetch.epoch) {
            return self.send_outcome(io, fetch, FetchOutcome::Refused(error));
        }
        match self.position_of(io.log, fetch) {
            Position::Valid => {}
            Position::Diverging(_) if !self.rules.holds(Guard::IgnoreDivergence) => {}
            Position::Diverging(end) => {
                if !self.rules.holds(Guard::CommitOnNack) {
                    self.record_fetch(io, fetch.replica, Some(fetch.offset));
                }
                return self.send_outcome(io, fetch, FetchOutcome::Diverging(end));
            }
            Position::Covered(snapshot) => {
                return self.send_outcome(io, fetch, FetchOutcome::Snapshot(snapshot));
            }
        }
        self.record_fetch(io, fetch.replica, Some(fetch.offset));
        self.observer_fetched(io, fetch.replica, fetch.offset);
        if !self.is_leader() {
            // What it acknowledged was all that this leader waited for before it left (Q12).
            let error = ErrorCode::NotLeaderOrFollower;
            return self.send_outcome(io, fetch, FetchOutcome::Refused(error));
        }
        let high_watermark = self.high_watermark;
        let batch = (fetch.offset < io.log.end()).then(|| io.log.read(fetch.offset));
        if batch.is_some() || high_watermark > fetch.high_watermark || !may_hold {
            self.send_outcome(io, fetch, FetchOutcome::Records { batch, high_watermark });
        } else {
            io.push(Effect::Hold { from, fetch });
        }
    }

    /// Whether a request of `epoch` is for this leader.
    pub(super) fn admit(&self, epoch: Epoch) -> Result<(), ErrorCode> {
        if epoch < self.epoch {
            Err(ErrorCode::FencedLeaderEpoch)
        } else if epoch > self.epoch {
            Err(ErrorCode::UnknownLeaderEpoch)
        } else if !self.is_leader() {
            Err(ErrorCode::NotLeaderOrFollower)
        } else {
            Ok(())
        }
    }

    fn send_outcome<L: RaftLog>(
        &self,
        io: &mut Io<'_, L>,
        fetch: Fetch,
        outcome: FetchOutcome<L::Batch>,
    ) {
        let (epoch, leader) = (self.epoch, self.leader());
        let (offset, last_epoch) = (fetch.offset, fetch.last_epoch);
        let answer = FetchResponse { epoch, leader, offset, last_epoch, outcome };
        io.send(fetch.replica.id, Message::FetchResponse(answer));
    }

    /// Notes that a voter is at work, and how far its log is flushed if the request says so.
    pub(super) fn record_fetch<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        replica: ReplicaKey,
        end: Option<Offset>,
    ) {
        let (at, me, majority) =
            (self.voter_position(replica), self.my_position(), self.majority());
        let (Some(at), Role::Leader(leader)) = (at, &mut self.role) else { return };
        leader.followed.insert(at);
        leader.heard.insert(at);
        if let Some(end) = end {
            leader.ends[at] = end;
        }
        let own = me.map_or(VoterSet::EMPTY, VoterSet::of);
        if (leader.heard | own).len() >= majority {
            leader.heard = VoterSet::EMPTY;
            io.set(Timer::CheckQuorum);
        }
        self.advance_high_watermark(io);
    }

    /// Q7: what a majority of the voters has on disk is committed, once that includes a record of
    /// this epoch.
    pub(super) fn advance_high_watermark<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        let Role::Leader(leader) = self.role else { return };
        let mut ends = leader.ends;
        let only_flushed = self.rules.holds(Guard::CountUnflushed);
        let own = if only_flushed { io.log.flushed() } else { io.log.end() };
        match self.my_position() {
            Some(mine) => ends[mine] = own,
            None if self.rules.holds(Guard::CountRemovedLeader) => {}
            None => ends.push(own),
        }
        ends.sort_unstable_by(|a, b| b.cmp(a));
        let Some(&reached) = ends.get(self.majority() - 1) else { return };
        // A record of an earlier epoch that a majority has may still be overwritten; one of this
        // epoch, and so whatever is below it, may not (KAFKA-12619).
        let own_epoch = if !self.rules.holds(Guard::CommitOldEpoch) {
            true
        } else if !self.rules.holds(Guard::HwAtEpochStart) {
            reached >= leader.start
        } else {
            reached > leader.start
        };
        if !own_epoch || reached <= self.high_watermark {
            return;
        }
        let served = self.serves();
        self.high_watermark = reached;
        io.push(Effect::Committed(reached));
        io.push(Effect::News);
        self.voters_committed(io);
        if self.serves() && !served {
            io.push(Effect::Lead { epoch: self.epoch, start: leader.start.plus(1) });
        }
        self.change_committed(io);
    }

    /// Q9: nobody may need this leader any more.
    pub(super) fn check_quorum_timed_out<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        if self.rules.holds(Guard::DropCheckQuorum) {
            self.resign(io);
        } else if self.is_leader() {
            io.set(Timer::CheckQuorum);
        }
    }

    /// Q10: leads no longer, and tells the voters who is best placed to follow. Who is a voter no
    /// longer follows as well, as an observer (Q12).
    pub(super) fn resign<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        let Role::Leader(leader) = self.role else { return };
        let successors = self.successors(&leader);
        let role = if self.is_voter() { Role::Resigned } else { Role::Unattached };
        self.transition(io, self.epoch, self.vote, role);
        if self.rules.holds(Guard::DropEndQuorum) {
            for voter in self.peers() {
                let end = EndQuorumEpoch { epoch: self.epoch, leader: self.me.id, successors };
                io.send(voter.id, Message::EndQuorumEpoch(end));
            }
        }
        self.wait_unattached(io, Patience::Full);
    }

    /// The other voters, the one with the longest log first.
    fn successors(&self, leader: &Leader) -> InlineVec<ReplicaKey, MAX_VOTERS> {
        let mut order: InlineVec<(Offset, usize), MAX_VOTERS> =
            leader.ends.iter().copied().zip(0..).collect();
        order.sort_by_key(|&(end, at)| (std::cmp::Reverse(end), at));
        let voters = order.iter().map(|&(_, at)| self.voters[at]);
        voters.filter(|voter| voter.id != self.me.id).collect()
    }
}

/// Where a fetcher stands in the leader's log.
enum Position {
    Valid,
    /// The leader's largest epoch not above the fetcher's last, and its end.
    Diverging(EpochEnd),
    /// The log no longer holds what the fetcher needs.
    Covered(SnapshotId),
}

impl<R: Rules> Quorum<R> {
    /// Q6: compares the fetcher's last epoch and its end with where that epoch ends here.
    fn position_of<L: RaftLog>(&self, log: &L, fetch: Fetch) -> Position {
        let start = log.start();
        if let Some(snapshot) = log.snapshot() {
            // At the start itself only the snapshot tells the epoch of what lies below. An empty log
            // it fills faster than all that led to it, even if that is still here.
            let continues = SnapshotId { end: fetch.offset, epoch: fetch.last_epoch } == snapshot;
            if fetch.offset < start || fetch.offset == start && !continues {
                return Position::Covered(snapshot);
            }
        }
        let end = log.end_of_epoch(fetch.last_epoch.0);
        // What lies beyond is the fetcher's own, whatever else is at that offset here.
        let verified = fetch.offset <= end.end || !self.rules.holds(Guard::AckOwnEnd);
        if end.epoch == fetch.last_epoch.0 && verified {
            Position::Valid
        } else {
            Position::Diverging(end)
        }
    }
}
