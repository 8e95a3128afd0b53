//! The machine: its state, how it restarts, and which file handles which event.

use std::hash::{Hash, Hasher};

use super::role::{Contact, Follower, Leader, Pull, Role};
use super::snapshot::is_covered;
use super::voters::{VoterSet, Voters, position, same_voter};
use super::{Effect, Effects, Event, Gate, Message, Patience, RaftLog, StoredState, Timer};
use crate::inline::InlineVec;
use crate::limits::MAX_VOTERS;
use crate::{Epoch, Guard, NodeId, Offset, ReplicaKey, Rules};

/// One node of the controller quorum, voter or observer.
///
/// Flat and `Copy`: sets of voters are bits, and the log is not in here but lent to each step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Quorum<R> {
    pub(super) rules: R,
    pub(super) me: ReplicaKey,
    /// The voters of a static quorum; in force while the log says nothing of voters.
    pub(super) configured: Voters,
    /// The voters in force: those of the log's last Voters record, committed or not (Q12).
    pub(super) voters: Voters,
    /// Where that record stands; `None` if the voters are the configured ones.
    pub(super) voters_at: Option<Offset>,
    pub(super) epoch: Epoch,
    /// Whom this node voted for in `epoch`.
    pub(super) vote: Option<ReplicaKey>,
    pub(super) role: Role,
    /// Everything below is committed. Not stored: after a restart it begins at the log's start.
    pub(super) high_watermark: Offset,
    /// Voters that this node has a link to, itself included if it is one.
    pub(super) connected: VoterSet,
    /// Elections lost in a row; says how long to wait before the next.
    pub(super) attempts: u8,
    /// Whom an observer without a leader asks next, by its place among those that it may ask.
    pub(super) ask_next: u8,
    /// A controller that is none of the known voters, and to which there is a link: an observer
    /// that knows no voters, or only old ones, asks it who leads.
    pub(super) guide: Option<NodeId>,
}

/// What a step works with: the log, and where its effects go.
pub(super) struct Io<'a, L: RaftLog> {
    pub(super) log: &'a mut L,
    pub(super) fx: &'a mut Effects<L::Batch>,
}

impl<L: RaftLog> Io<'_, L> {
    pub(super) fn push(&mut self, effect: Effect<L::Batch>) {
        self.fx.push(effect);
    }

    /// Sends once epoch and vote are on disk: every message speaks for an epoch (Q2).
    pub(super) fn send(&mut self, to: NodeId, message: Message<L::Batch>) {
        self.push(Effect::Send { to, message, gate: Gate::Stored });
    }

    pub(super) fn set(&mut self, timer: Timer) {
        self.push(Effect::SetTimer(timer));
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        self.push(Effect::CancelTimer(timer));
    }
}

impl<R: Rules> Quorum<R> {
    /// The node as it restarts with what its disk held (Q2). The first event must be
    /// [`Event::Started`].
    ///
    /// The `voters` are those of a static quorum, and none in a dynamic one: whatever the log says
    /// of voters goes before. A voter whose directory is zero is a static one: any directory speaks
    /// for its id. A node that is none of the voters is an observer.
    ///
    /// # Panics
    /// With more than [`MAX_VOTERS`] voters, which the configuration does not let through.
    pub fn new(
        rules: R,
        me: ReplicaKey,
        voters: &[ReplicaKey],
        stored: StoredState,
        log: &impl RaftLog,
    ) -> Self {
        let configured = Voters::try_from_slice(voters).expect("at most MAX_VOTERS voters");
        let record = log.voters_below(log.end());
        let mut quorum = Quorum {
            rules,
            me,
            configured,
            voters: record.map_or(configured, |record| record.voters),
            voters_at: record.map(|record| record.offset),
            epoch: stored.epoch,
            vote: stored.vote,
            role: Role::Unattached,
            high_watermark: log.start(),
            connected: VoterSet::EMPTY,
            attempts: 0,
            ask_next: 0,
            guide: None,
        };
        if let Some(mine) = quorum.my_position() {
            quorum.connected.insert(mine);
        }
        quorum.restart(stored, Epoch(log.last_epoch()));
        quorum
    }

    /// Everything but the rules, for the digest of a trace.
    pub(crate) fn hash_state(&self, hasher: &mut impl Hasher) {
        // Field by field, so that a new one cannot be forgotten.
        let Quorum {
            rules: _,
            me,
            configured,
            voters,
            voters_at,
            epoch,
            vote,
            role,
            high_watermark,
            connected,
            attempts,
            ask_next,
            guide,
        } = self;
        (me, configured, voters, voters_at).hash(hasher);
        (epoch, vote, role, high_watermark).hash(hasher);
        (connected, attempts, ask_next, guide).hash(hasher);
    }

    /// Q2: what the node was decides what it may be now.
    ///
    /// A candidate does not stand on in its epoch, as Kafka's does. Votes that it was given before
    /// may still be under way, and they were given to the log that it had then, whose end the
    /// crash may have taken; it waits for the next epoch, its vote spent.
    fn restart(&mut self, stored: StoredState, log_epoch: Epoch) {
        if stored.epoch < log_epoch {
            self.epoch = log_epoch;
            self.vote = None;
            return;
        }
        let voted_for_self = stored.vote == Some(self.me);
        let led = stored.leader == Some(self.me.id)
            // Only the winner of an epoch has its records while it remembers no leader of it.
            || voted_for_self && stored.leader.is_none() && log_epoch == stored.epoch;
        self.role = match stored.leader {
            _ if self.is_voter() && led => Role::Resigned,
            None if voted_for_self && !self.rules.holds(Guard::RestartAsCandidate) => {
                Role::Candidate { tally: self.own_vote() }
            }
            Some(leader) if leader != self.me.id => {
                Role::Follower(Follower { leader, contact: Contact::Untried, pull: Pull::Idle })
            }
            _ => Role::Unattached,
        };
    }

    /// Takes one event and appends what is to be done to `fx`.
    pub fn step<L: RaftLog>(
        &mut self,
        log: &mut L,
        event: Event<L::Batch>,
        fx: &mut Effects<L::Batch>,
    ) {
        let io = &mut Io { log, fx };
        match event {
            Event::Started => self.started(io),
            Event::Timeout(timer) => self.timed_out(io, timer),
            Event::Received { from, message } => self.received(io, from, message),
            Event::HoldExpired { from, fetch } => self.answer_fetch(io, from, fetch, false),
            Event::Flushed(_) => self.flushed(io),
            Event::Connected(node) => self.link_up(io, node),
            Event::Disconnected(node) => self.link_down(io, node),
            Event::PeerGone(node) => self.peer_gone(io, node),
            Event::Propose(batch) => self.propose(io, batch),
            Event::SnapshotWritten(snapshot) => self.snapshot_written(io, snapshot),
            Event::SnapshotInstalled(snapshot) => self.snapshot_installed(io, snapshot),
            Event::ChangeVoters { id, change } => self.change_voters(io, id, change),
            Event::Resign => self.resign(io),
        }
    }

    fn started<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        if !is_covered(io.log) {
            return io.push(Effect::Violation("the log's beginning is gone and in no snapshot"));
        }
        let (leader, epoch) = (self.leader(), self.epoch);
        io.push(Effect::LeaderKnown { leader, epoch });
        if self.high_watermark > Offset::ZERO {
            io.push(Effect::Committed(self.high_watermark));
        }
        match self.role {
            Role::Unattached => self.wait_unattached(io, self.fresh_patience()),
            Role::Follower(_) => {
                io.set(Timer::Fetch);
                self.pull(io);
            }
            Role::Resigned if !self.rules.holds(Guard::RestartAsLeader) => self.lead(io),
            _ => io.set(Timer::Election(Patience::Full)),
        }
    }

    fn timed_out<L: RaftLog>(&mut self, io: &mut Io<'_, L>, timer: Timer) {
        match timer {
            Timer::Election(_) => self.election_timed_out(io),
            Timer::Fetch => self.fetch_timed_out(io),
            Timer::CheckQuorum => self.check_quorum_timed_out(io),
            Timer::Announce => self.announce(io),
            Timer::Retry => self.retry(io),
            Timer::VoterChange => self.change_timed_out(io),
        }
    }

    fn received<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        from: NodeId,
        message: Message<L::Batch>,
    ) {
        match message {
            Message::Vote(vote) => self.vote_asked(io, from, vote),
            Message::VoteResponse(answer) => self.vote_answered(io, from, answer),
            Message::BeginQuorumEpoch(begin) => self.epoch_begun(io, from, begin),
            Message::BeginQuorumEpochResponse { epoch, leader } => self.learn(io, epoch, leader),
            Message::EndQuorumEpoch(end) => self.epoch_ended(io, from, &end),
            Message::Fetch(fetch) => self.answer_fetch(io, from, fetch, true),
            Message::FetchResponse(answer) => self.fetched(io, from, answer),
            Message::FetchSnapshot(fetch) => self.answer_snapshot_fetch(io, from, fetch),
            Message::FetchSnapshotResponse(answer) => self.snapshot_fetched(io, from, answer),
        }
    }

    fn flushed<L: RaftLog>(&mut self, io: &mut Io<'_, L>) {
        match self.role {
            Role::Leader(_) => self.advance_high_watermark(io),
            Role::Follower(Follower { pull: Pull::Flushing, .. })
                if io.log.flushed() >= io.log.end() =>
            {
                self.pull(io);
            }
            _ => {}
        }
    }
}

/// What the shell may read.
impl<R: Rules> Quorum<R> {
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The leader of this epoch, if it is known; this node itself if it leads.
    pub fn leader(&self) -> Option<NodeId> {
        match self.role {
            Role::Leader(_) => Some(self.me.id),
            Role::Follower(follower) => Some(follower.leader),
            Role::Prospective { leader, .. } => leader,
            Role::Unattached | Role::Candidate { .. } | Role::Resigned => None,
        }
    }

    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// `Unattached`, `Prospective`, `Candidate`, `Leader`, `Follower` or `Resigned`.
    pub fn role(&self) -> &'static str {
        self.role.name()
    }

    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    pub fn me(&self) -> ReplicaKey {
        self.me
    }

    /// The voters in force, committed or not (Q12).
    pub fn voters(&self) -> &[ReplicaKey] {
        &self.voters
    }

    /// The offset of the record that says so; `None` in a static quorum.
    pub fn voters_at(&self) -> Option<Offset> {
        self.voters_at
    }

    pub fn is_voter(&self) -> bool {
        self.my_position().is_some()
    }

    /// Whom this node voted for in its epoch.
    pub fn vote(&self) -> Option<ReplicaKey> {
        self.vote
    }

    /// Whether this node follows a leader that has answered it, and so refuses pre-votes (Q4).
    pub fn has_fetched(&self) -> bool {
        matches!(self.role, Role::Follower(Follower { contact: Contact::Fetched, .. }))
    }

    /// The offset of this epoch's first record, on the leader.
    pub fn epoch_start(&self) -> Option<Offset> {
        match self.role {
            Role::Leader(leader) => Some(leader.start),
            _ => None,
        }
    }

    /// How far each voter's log is flushed as the leader knows it; empty on all others.
    pub fn voter_ends(&self, log: &impl RaftLog) -> InlineVec<(NodeId, Offset), MAX_VOTERS> {
        let Role::Leader(Leader { ends, .. }) = self.role else { return InlineVec::new() };
        let known = self.voters.iter().zip(ends.iter());
        known
            .map(|(v, &end)| (v.id, if v.id == self.me.id { log.flushed() } else { end }))
            .collect()
    }
}

/// Questions that several roles ask.
impl<R: Rules> Quorum<R> {
    pub(super) fn my_position(&self) -> Option<usize> {
        self.voter_position(self.me)
    }

    /// The position of the voter that `key` speaks for.
    pub(super) fn voter_position(&self, key: ReplicaKey) -> Option<usize> {
        position(&self.voters, key.id).filter(|&at| self.speaks_for(key, self.voters[at]))
    }

    /// Whether the node with this key is this voter: another disk is another voter (Q3).
    pub(super) fn speaks_for(&self, key: ReplicaKey, voter: ReplicaKey) -> bool {
        let by_id_only = !self.rules.holds(Guard::VoterWithoutDirectory);
        same_voter(voter, key) || by_id_only && voter.id == key.id
    }

    /// More than half of the voters (Q5, Q7).
    pub(super) fn majority(&self) -> usize {
        let half = self.voters.len() / 2;
        if self.rules.holds(Guard::MajorityIsHalf) { half + 1 } else { half.max(1) }
    }

    /// All voters but this node.
    pub(super) fn peers(&self) -> impl Iterator<Item = ReplicaKey> + use<R> {
        let (voters, me) = (self.voters, self.me.id);
        (0..voters.len()).map(move |at| voters[at]).filter(move |voter| voter.id != me)
    }
}
