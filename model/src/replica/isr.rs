//! Who is in sync: joining, leaving, and asking the controller for it (L1, L3).

use crate::inline::{InlineVec, Nodes};
use crate::metadata::AlteredPartition;
use crate::{BrokerEpoch, ErrorCode, Guard, LeaderEpoch, NodeId, PartitionEpoch, Rules};

use super::leader::Leader;
use super::machine::Role;
use super::progress::{Lag, Progress};
use super::{DataLog, Effect, Effects, Replica, Timer};

/// The one question to the controller that may be open (L3). While an ISR is asked for, nobody
/// knows whether it is in force, so the high watermark counts both.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Proposal {
    None,
    /// On its way.
    Sent(AlteredPartition),
    /// No answer, or one that says nothing: it is sent again when the timer runs out.
    Unanswered(AlteredPartition),
    /// Granted, or refused for what this leader does not know yet: the metadata log will tell.
    Decided(AlteredPartition),
    /// Refused, and nothing changed; asked anew when the timer runs out.
    RolledBack,
}

impl Proposal {
    /// Whether `node` may be in the ISR by it.
    pub fn may_contain(&self, node: NodeId) -> bool {
        self.asked().is_some_and(|asked| asked.isr.contains(&node))
    }

    /// What was asked for and may be in force.
    pub fn asked(&self) -> Option<&AlteredPartition> {
        match self {
            Proposal::Sent(asked) | Proposal::Unanswered(asked) | Proposal::Decided(asked) => {
                Some(asked)
            }
            Proposal::None | Proposal::RolledBack => None,
        }
    }

    pub fn has_timer(&self) -> bool {
        matches!(self, Proposal::Unanswered(_) | Proposal::RolledBack)
    }
}

impl<R: Rules> Replica<R> {
    /// Asks for the ISR as it should be, if that differs from the one in force and no question is
    /// open. An unclean leader says at once that it has recovered (P5).
    pub(super) fn propose_isr<L: DataLog>(&mut self, log: &L, fx: &mut Effects) {
        let Role::Leader(leader) = &self.role else { return };
        if leader.proposal != Proposal::None {
            return;
        }
        let mut isr = *self.committed_isr();
        for follower in self.followers.iter() {
            if follower.lag == Lag::Over && follower.is_behind(log.end()) {
                isr = isr.without(&[follower.node]);
            } else if self.may_join(leader, follower) {
                isr.insert(follower.node);
            }
        }
        isr.insert(self.me);
        if isr == *self.committed_isr() && !self.view.partition.recovering {
            return;
        }
        self.send_proposal(isr, fx);
    }

    fn send_proposal(&mut self, isr: Nodes, fx: &mut Effects) {
        let partition = &self.view.partition;
        let asked = AlteredPartition {
            id: self.id,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            isr,
            isr_epochs: isr
                .iter()
                .map(|&node| self.seen_broker_epoch(node))
                .collect::<InlineVec<_, _>>(),
            recovering: false,
        };
        let Role::Leader(leader) = &mut self.role else { return };
        leader.proposal = Proposal::Sent(asked);
        fx.push(Effect::AlterPartition(asked));
    }

    /// The registration under which a member was found in sync; none for one that is in the ISR
    /// from before this epoch and has not fetched in it.
    fn seen_broker_epoch(&self, node: NodeId) -> BrokerEpoch {
        let of_follower =
            |one: &Progress| (one.node == node && one.fetched).then_some(one.broker_epoch);
        self.followers
            .iter()
            .find_map(of_follower)
            .or_else(|| self.registration(node).filter(|_| node == self.me).map(|(epoch, _)| epoch))
            .unwrap_or(BrokerEpoch::NONE)
    }

    /// L1, all from one state: outside the ISR, has fetched in this epoch, holds all that was
    /// committed and all of earlier epochs, and is active under the registration by which it
    /// fetches.
    pub(super) fn may_join(&self, leader: &Leader, follower: &Progress) -> bool {
        let reached_commit =
            follower.end >= self.high_watermark || !self.rules.holds(Guard::JoinBelowHighWatermark);
        let reached_epoch =
            follower.end >= leader.epoch_start || !self.rules.holds(Guard::JoinBeforeEpochStart);
        follower.fetched
            && reached_commit
            && reached_epoch
            && !self.committed_isr().contains(&follower.node)
            && self.is_eligible(follower)
    }

    fn is_eligible(&self, follower: &Progress) -> bool {
        !self.rules.holds(Guard::FencedJoinsIsr)
            || self.registration(follower.node) == Some((follower.broker_epoch, true))
    }

    /// A broker's epoch and whether it is active (B5).
    fn registration(&self, node: NodeId) -> Option<(BrokerEpoch, bool)> {
        let brokers = self.view.brokers.iter();
        brokers.filter(|broker| broker.0 == node).map(|broker| (broker.1, broker.2)).next()
    }

    /// L3: what the controller decided. No answer puts an ISR in force; only the record does, in its
    /// place in the metadata log. The controller judged by all that stands before that record, and
    /// a leader that ran ahead of it could commit by a min.insync.replicas that no longer holds.
    pub(super) fn on_altered<L: DataLog>(
        &mut self,
        log: &L,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        answer: Option<Result<(), ErrorCode>>,
        fx: &mut Effects,
    ) {
        let partition = &self.view.partition;
        let asked_now =
            (leader_epoch, partition_epoch) == (partition.leader_epoch, partition.partition_epoch);
        let Role::Leader(leader) = &mut self.role else { return };
        let Proposal::Sent(asked) = leader.proposal else { return };
        if !asked_now && self.rules.holds(Guard::StaleAlterPartition) {
            return;
        }
        leader.proposal = match answer {
            Some(Ok(())) if !self.rules.holds(Guard::GrantBeforeRecord) => {
                return self.take_ahead_of_the_record(log, &asked, fx);
            }
            Some(Ok(())) => Proposal::Decided(asked),
            Some(Err(ErrorCode::IneligibleReplica)) => Proposal::RolledBack,
            Some(Err(error)) if metadata_will_tell(error) => Proposal::Decided(asked),
            Some(Err(_)) | None => Proposal::Unanswered(asked),
        };
        if leader.proposal.has_timer() {
            fx.push(Effect::SetTimer(Timer::AlterRetry));
        }
    }

    /// Apache Kafka's way.
    fn take_ahead_of_the_record<L: DataLog>(
        &mut self,
        log: &L,
        granted: &AlteredPartition,
        fx: &mut Effects,
    ) {
        let partition = &mut self.view.partition;
        let before = partition.isr;
        partition.isr = granted.isr;
        partition.partition_epoch = partition.partition_epoch.next();
        partition.recovering = granted.recovering;
        self.isr_settled(log, before, fx);
    }

    /// Another ISR is in force, or the same one under another partition epoch: what was asked
    /// under the old one can no longer be granted.
    pub(super) fn isr_settled<L: DataLog>(&mut self, log: &L, before: Nodes, fx: &mut Effects) {
        let isr = self.view.partition.isr;
        if let Role::Leader(leader) = &mut self.role {
            if leader.proposal.has_timer() {
                fx.push(Effect::CancelTimer(Timer::AlterRetry));
            }
            leader.proposal = Proposal::None;
        }
        if isr != before {
            fx.push(Effect::IsrChanged { shrunk: isr.len() < before.len() });
        }
        for follower in self.followers.iter_mut().filter(|one| !isr.contains(&one.node)) {
            if follower.has_timer() {
                fx.push(Effect::CancelTimer(Timer::Lag(follower.node)));
            }
            follower.lag = Lag::None;
            if before.contains(&follower.node) {
                follower.fetched = false;
            }
        }
        self.watch_lag(log, fx);
        self.propose_isr(log, fx);
        self.settle(log, fx);
    }

    pub(super) fn on_alter_retry<L: DataLog>(&mut self, log: &L, fx: &mut Effects) {
        let Role::Leader(leader) = &mut self.role else { return };
        match leader.proposal {
            Proposal::Unanswered(asked) => {
                leader.proposal = Proposal::Sent(asked);
                fx.push(Effect::AlterPartition(asked));
            }
            Proposal::RolledBack => {
                leader.proposal = Proposal::None;
                self.propose_isr(log, fx);
                self.settle(log, fx);
            }
            Proposal::None | Proposal::Sent(_) | Proposal::Decided(_) => {}
        }
    }

    /// Starts the clock for every ISR member that is behind and has none running.
    pub(super) fn watch_lag<L: DataLog>(&mut self, log: &L, fx: &mut Effects) {
        let (end, isr) = (log.end(), self.view.partition.isr);
        for follower in self.followers.iter_mut() {
            if follower.lag == Lag::None && follower.is_behind(end) && isr.contains(&follower.node)
            {
                follower.lag = Lag::Behind;
                fx.push(Effect::SetTimer(Timer::Lag(follower.node)));
            }
        }
    }

    pub(super) fn on_lag<L: DataLog>(&mut self, log: &L, node: NodeId, fx: &mut Effects) {
        let Some(follower) = self.followers.iter_mut().find(|one| one.node == node) else { return };
        match follower.lag {
            Lag::Behind => {
                follower.lag = Lag::Over;
                self.propose_isr(log, fx);
            }
            Lag::CaughtUp => {
                follower.lag = Lag::None;
                self.watch_lag(log, fx);
            }
            Lag::None | Lag::Over => {}
        }
    }

    pub(super) fn on_silent<L: DataLog>(&mut self, log: &L, node: NodeId, fx: &mut Effects) {
        let (end, in_isr) = (log.end(), self.committed_isr().contains(&node));
        let Some(follower) = self.followers.iter_mut().find(|one| one.node == node) else { return };
        if !in_isr || !follower.is_behind(end) {
            return;
        }
        if follower.has_timer() {
            fx.push(Effect::CancelTimer(Timer::Lag(node)));
        }
        follower.lag = Lag::Over;
        self.propose_isr(log, fx);
    }
}

/// Answers after which asking again is useless: the controller has seen a newer partition than
/// this leader has.
fn metadata_will_tell(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::FencedLeaderEpoch
            | ErrorCode::InvalidUpdateVersion
            | ErrorCode::InvalidRequest
            | ErrorCode::NewLeaderElected
            | ErrorCode::UnknownTopicId
            | ErrorCode::UnknownTopicOrPartition
    )
}
