//! The leader: appends, answers fetches, moves the high watermark, acknowledges.

use crate::inline::InlineVec;
use crate::limits::MAX_REPLICAS;
use crate::log::Extent;
use crate::metadata::Partition;
use crate::{ErrorCode, Guard, LeaderEpoch, Offset, Rules};

use super::isr::Proposal;
use super::machine::Role;
use super::producers::Standing;
use super::progress::Progress;
use super::waiting::Waiting;
use super::{
    Acks, Appended, BatchHeader, DataLog, Effect, Effects, Fetch, FetchOutcome, Replica, RequestId,
    Timer,
};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Leader {
    /// The log's end when the epoch began; all below is of earlier epochs.
    pub epoch_start: Offset,
    pub proposal: Proposal,
    pub waiting: Acknowledgements,
}

/// Requests that wait, by what they wait for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Acknowledgements {
    /// acks=all: until the high watermark has passed.
    pub commit: Waiting,
    /// acks=1 where acknowledging waits for the disk.
    pub flush: Waiting,
}

impl Acknowledgements {
    pub fn fail(&mut self, error: ErrorCode, fx: &mut Effects) {
        self.commit.fail(error, fx);
        self.flush.fail(error, fx);
    }
}

impl Leader {
    pub fn new(epoch_start: Offset, waiting: Acknowledgements) -> Leader {
        Leader { epoch_start, proposal: Proposal::None, waiting }
    }

    pub fn cancel_timers(&self, followers: &InlineVec<Progress, MAX_REPLICAS>, fx: &mut Effects) {
        for follower in followers.iter().filter(|follower| follower.has_timer()) {
            fx.push(Effect::CancelTimer(Timer::Lag(follower.node)));
        }
        if self.proposal.has_timer() {
            fx.push(Effect::CancelTimer(Timer::AlterRetry));
        }
    }
}

/// What became of a batch: where it is and where it ends.
struct Written {
    appended: Appended,
    end: Offset,
}

impl<R: Rules> Replica<R> {
    pub(super) fn on_append<L: DataLog>(
        &mut self,
        log: &mut L,
        request: RequestId,
        batch: L::Batch,
        acks: Acks,
        fx: &mut Effects,
    ) {
        let before = log.end();
        match self.write(log, batch, acks) {
            Ok(written) => self.acknowledge(log, request, written, acks, fx),
            Err(error) => fx.push(Effect::Reply { request, result: Err(error) }),
        }
        if log.end() != before {
            if self.view.flush_before_ack {
                fx.push(Effect::Flush);
            }
            self.watch_lag(log, fx);
            self.settle(log, fx);
        }
    }

    /// I5, I3, I4, I2 in this order, then the append.
    fn write<L: DataLog>(
        &mut self,
        log: &mut L,
        batch: L::Batch,
        acks: Acks,
    ) -> Result<Written, ErrorCode> {
        if !self.is_leader() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        if acks == Acks::All
            && !self.has_enough_replicas()
            && self.rules.holds(Guard::AppendUnderMinIsr)
        {
            return Err(ErrorCode::NotEnoughReplicas);
        }
        let producer = L::headers(&batch).next().and_then(|header| header.producer);
        let log_start = log.start();
        if let Some(producer) = &producer
            && let Standing::Duplicate(original) = self.producers.check(self.rules, producer)?
        {
            let appended = Appended { base: original.base, log_start, duplicate: true };
            return Ok(Written { appended, end: original.end });
        }
        let (base, epoch) = (log.end(), self.leader_epoch());
        log.append_as_leader(epoch, batch);
        let end = log.end();
        self.producers.replay(&BatchHeader { base, end, epoch, producer });
        Ok(Written { appended: Appended { base, log_start, duplicate: false }, end })
    }

    fn acknowledge<L: DataLog>(
        &mut self,
        log: &L,
        request: RequestId,
        written: Written,
        acks: Acks,
        fx: &mut Effects,
    ) {
        let (own_end, high_watermark) = (self.own_end(log), self.high_watermark);
        let Written { appended, end } = written;
        // I2: a duplicate too is acknowledged only where the original would be.
        let waits = !appended.duplicate || self.rules.holds(Guard::DuplicateAboveHighWatermark);
        let Role::Leader(leader) = &mut self.role else { return };
        match acks {
            Acks::All if end > high_watermark && waits => {
                leader.waiting.commit.push(request, end, appended);
            }
            Acks::Leader if end > own_end => leader.waiting.flush.push(request, end, appended),
            // Whoever wants no acknowledgement is answered for the shell, which ends its connection
            // where the batch was refused.
            Acks::All | Acks::Leader | Acks::None => {
                fx.push(Effect::Reply { request, result: Ok(appended) });
            }
        }
    }

    /// The client gives up. Its record stays, and may yet be committed.
    pub(super) fn on_request_expired(&mut self, request: RequestId, fx: &mut Effects) {
        let enough = self.has_enough_replicas();
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.waiting.commit.remove(request) || leader.waiting.flush.remove(request) {
            let error = if enough {
                ErrorCode::RequestTimedOut
            } else {
                ErrorCode::NotEnoughReplicasAfterAppend
            };
            fx.push(Effect::Reply { request, result: Err(error) });
        }
    }

    pub(super) fn on_fetch<L: DataLog>(&mut self, log: &mut L, fetch: Fetch, fx: &mut Effects) {
        let outcome = match self.refuse_fetch(log, &fetch) {
            Some(refusal) => refusal,
            None => {
                self.observe_fetch(log, &fetch, fx);
                FetchOutcome::Records {
                    records: fetch.position.offset,
                    high_watermark: self.high_watermark,
                    log_start: log.start(),
                }
            }
        };
        let Fetch { follower, position, .. } = fetch;
        fx.push(Effect::Answer { follower, position, outcome });
    }

    /// L4, F1: why the fetch is not answered with records, if it is not.
    fn refuse_fetch<L: DataLog>(&self, log: &L, fetch: &Fetch) -> Option<FetchOutcome<Offset>> {
        let position = &fetch.position;
        let refused = |error| Some(FetchOutcome::Refused(error));
        if !self.is_leader() {
            return refused(ErrorCode::NotLeaderOrFollower);
        }
        if position.leader_epoch < self.leader_epoch() && self.rules.holds(Guard::SkipLeaderEpoch) {
            return refused(ErrorCode::FencedLeaderEpoch);
        }
        if position.leader_epoch > self.leader_epoch() {
            return refused(ErrorCode::UnknownLeaderEpoch);
        }
        let Some(follower) = self.follower(fetch.follower) else {
            // It may know of an assignment that has not come here yet.
            return refused(ErrorCode::UnknownLeaderEpoch);
        };
        if follower.fetched && fetch.broker_epoch < follower.broker_epoch {
            return refused(ErrorCode::StaleBrokerEpoch);
        }
        if position.last_epoch != LeaderEpoch::UNKNOWN && self.rules.holds(Guard::IgnoreDivergence)
        {
            let parting = log.end_of_epoch(position.last_epoch.0);
            if parting.epoch < position.last_epoch.0 || parting.end < position.offset {
                return Some(FetchOutcome::Diverging(parting));
            }
        }
        if position.offset < log.start() || position.offset > log.end() {
            return Some(FetchOutcome::OutOfRange { log_start: log.start(), end: log.end() });
        }
        None
    }

    /// A valid fetch says that the follower holds everything below its position. One that says
    /// nothing new, as most that were held for news, costs no more than this.
    fn observe_fetch<L: DataLog>(&mut self, log: &L, fetch: &Fetch, fx: &mut Effects) {
        let end = log.end();
        let Some(follower) = self.followers.iter_mut().find(|one| one.node == fetch.follower)
        else {
            return;
        };
        if follower.observe(fetch.position.offset, fetch.broker_epoch, end) {
            self.propose_isr(log, fx);
            self.settle(log, fx);
        }
    }

    /// The leader's flushed end moved.
    pub(super) fn on_flushed<L: DataLog>(&mut self, log: &mut L, fx: &mut Effects) {
        if self.is_leader() {
            self.settle(log, fx);
        } else {
            self.ask_unless_asked(log, fx);
        }
    }

    /// The partition changed within this leader epoch, or a broker of it did.
    pub(super) fn on_partition_changed<L: DataLog>(
        &mut self,
        log: &L,
        before: &Partition,
        fx: &mut Effects,
    ) {
        if self.view.partition.partition_epoch > before.partition_epoch {
            self.fit_followers();
            self.isr_settled(log, before.isr, fx);
        } else {
            self.propose_isr(log, fx);
            self.settle(log, fx);
        }
    }

    /// Moves the high watermark as far as it may go and answers who waited for it.
    pub(super) fn settle<L: DataLog>(&mut self, log: &L, fx: &mut Effects) {
        let own_end = self.own_end(log);
        let enough = self.has_enough_replicas() || !self.rules.holds(Guard::AppendUnderMinIsr);
        self.high_watermark = self.next_high_watermark(own_end);
        let Role::Leader(leader) = &mut self.role else { return };
        let error = (!enough).then_some(ErrorCode::NotEnoughReplicasAfterAppend);
        leader.waiting.commit.release(self.high_watermark, error, fx);
        leader.waiting.flush.release(own_end, None, fx);
    }

    /// L2: what the whole maximal ISR holds, and nothing while the ISR is too small: a record that
    /// was committed by fewer than min.insync.replicas could be lost with them.
    fn next_high_watermark(&self, own_end: Offset) -> Offset {
        let now = self.high_watermark;
        if !self.has_enough_replicas() && self.rules.holds(Guard::HwUnderMinIsr) {
            return now;
        }
        let holders = self.followers.iter().filter(|follower| self.holds_back(follower));
        holders
            .map(|follower| if follower.fetched { follower.end } else { now })
            .fold(own_end, Offset::min)
            .max(now)
    }

    /// Whether the high watermark waits for this follower: it is in the ISR, or may be by now, or
    /// would be asked for if no question were open.
    fn holds_back(&self, follower: &Progress) -> bool {
        let Role::Leader(leader) = &self.role else { return true };
        self.committed_isr().contains(&follower.node)
            || (self.rules.holds(Guard::HwOverCommittedIsr)
                && (leader.proposal.may_contain(follower.node) || self.may_join(leader, follower)))
    }

    /// The leader's own share of what is safe.
    fn own_end<L: DataLog>(&self, log: &L) -> Offset {
        if self.view.flush_before_ack { log.flushed().min(log.end()) } else { log.end() }
    }

    fn follower(&self, node: crate::NodeId) -> Option<&Progress> {
        self.followers.iter().find(|follower| follower.node == node)
    }
}

/// Nothing to read.
pub(super) fn is_empty<B: Extent>(records: &B) -> bool {
    records.end() <= records.base()
}
