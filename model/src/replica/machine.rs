//! The replica: which role it has in which epoch, and what passes from one role to the next.

use crate::inline::{InlineVec, Nodes};
use crate::limits::MAX_REPLICAS;
use crate::metadata::{Partition, effective_min_isr};
use crate::{ErrorCode, Guard, LeaderEpoch, NodeId, Offset, PartitionEpoch, Rules, TopicPartition};

use super::follower::Follower;
use super::leader::Leader;
use super::progress::Progress;
use super::{DataLog, Effect, Effects, Event, Producers, Timer, View};

/// One partition on one broker.
///
/// | role | it is so while the view | it leaves with |
/// |---|---|---|
/// | `Idle` | names no leader, or does not count this broker among the replicas | |
/// | `Leader` | names this broker as leader | waiting requests failed with NOT_LEADER_OR_FOLLOWER |
/// | `Follower` | names another leader | `StopFetching` |
///
/// A view moves the replica on only if neither its leader epoch nor its partition epoch is behind
/// what the replica knows. The metadata log is all that it goes by: an answer of the controller puts
/// nothing in force.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Replica<R> {
    pub(super) rules: R,
    pub(super) id: TopicPartition,
    pub(super) me: NodeId,
    pub(super) view: View,
    pub(super) role: Role,
    pub(super) high_watermark: Offset,
    pub(super) producers: Producers,
    /// One for each other replica while this one leads, else empty.
    pub(super) followers: InlineVec<Progress, MAX_REPLICAS>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Role {
    Idle,
    Leader(Leader),
    Follower(Follower),
}

/// The high watermark that a replica begins with (L6). The checkpoint speaks of the records that
/// the log held when it was written. Where the last stop may have lost what was not flushed, it may
/// have lost a truncation too: then other records stand there, and showing them to consumers would
/// be wrong. The leader says soon enough what is committed.
pub fn high_watermark_to_begin_with<R: Rules>(
    rules: R,
    checkpoint: Offset,
    log_start: Offset,
    is_intact: bool,
) -> Offset {
    if is_intact || !rules.holds(Guard::TrustCheckpoint) { checkpoint } else { log_start }
}

/// What followers and consumers that wait for news would see.
type Mark = (Offset, Offset, Offset, LeaderEpoch, Option<NodeId>);

impl<R: Rules> Replica<R> {
    /// A replica that knows of no metadata yet. `high_watermark` is what
    /// [`high_watermark_to_begin_with`] says, and `producers` what the log means ([`DataLog::producers_at`] its end).
    pub fn new(
        rules: R,
        id: TopicPartition,
        me: NodeId,
        high_watermark: Offset,
        producers: Producers,
    ) -> Replica<R> {
        let partition = Partition {
            leader_epoch: LeaderEpoch::UNKNOWN,
            partition_epoch: PartitionEpoch(-1),
            ..Partition::default()
        };
        let view =
            View { partition, min_isr: 1, brokers: InlineVec::new(), flush_before_ack: false };
        Replica {
            rules,
            id,
            me,
            view,
            role: Role::Idle,
            high_watermark,
            producers,
            followers: InlineVec::new(),
        }
    }

    /// Takes in what happened; appends to `fx` what is to be done about it.
    pub fn step<L: DataLog>(&mut self, log: &mut L, event: Event<L::Batch>, fx: &mut Effects) {
        let before = self.mark(log);
        match event {
            Event::View(view) => self.on_view(log, *view, fx),
            Event::Append { request, batch, acks } => {
                self.on_append(log, request, batch, acks, fx);
            }
            Event::RequestExpired(request) => self.on_request_expired(request, fx),
            Event::Fetch(fetch) => self.on_fetch(log, fetch, fx),
            Event::Fetched { leader, answer } => self.on_fetched(log, leader, answer, fx),
            Event::FetchFailed { leader, position } => {
                self.on_fetch_failed(leader, position, fx);
            }
            Event::Altered { leader_epoch, partition_epoch, answer } => {
                self.on_altered(log, leader_epoch, partition_epoch, answer, fx);
            }
            Event::Silent(follower) => self.on_silent(log, follower, fx),
            Event::Timeout(Timer::Lag(follower)) => self.on_lag(log, follower, fx),
            Event::Timeout(Timer::AlterRetry) => self.on_alter_retry(log, fx),
            Event::Timeout(Timer::FetchRetry) => self.on_fetch_retry(log, fx),
            Event::Flushed(_) => self.on_flushed(log, fx),
            Event::ProducersExpired(before) => self.producers.expire(before),
            Event::Retired => {
                self.rest(fx);
                fx.push(Effect::News);
            }
            Event::StartMoved(start) => {
                self.high_watermark = self.high_watermark.max(start);
                fx.push(Effect::News);
            }
        }
        if self.mark(log) != before {
            fx.push(Effect::News);
        }
    }

    fn mark<L: DataLog>(&self, log: &L) -> Mark {
        let partition = &self.view.partition;
        (log.start(), log.end(), self.high_watermark, partition.leader_epoch, partition.leader)
    }

    fn on_view<L: DataLog>(&mut self, log: &mut L, view: View, fx: &mut Effects) {
        let before = self.view.partition;
        let late = view.partition.leader_epoch < before.leader_epoch
            || view.partition.partition_epoch < before.partition_epoch;
        self.view = View { partition: if late { before } else { view.partition }, ..view };
        let partition = self.view.partition;
        let new_epoch = partition.leader_epoch > before.leader_epoch;
        match (partition.leader, &self.role) {
            _ if !partition.replicas.contains(&self.me) => self.rest(fx),
            (None, _) => self.rest(fx),
            (Some(leader), Role::Leader(_)) if leader == self.me && !new_epoch => {
                self.on_partition_changed(log, &before, fx);
            }
            (Some(leader), _) if leader == self.me => self.lead(log, fx),
            (Some(leader), Role::Follower(now)) if now.leader == leader && !new_epoch => {
                // The flush policy may have changed under a fetch that waits for it.
                self.ask_unless_asked(log, fx);
            }
            (Some(leader), _) => self.follow(log, leader, fx),
        }
    }

    /// Leads a new epoch (L5). Requests that waited under this broker's last epoch wait on: their
    /// records are still in its log.
    fn lead<L: DataLog>(&mut self, log: &mut L, fx: &mut Effects) {
        let waiting = match std::mem::replace(&mut self.role, Role::Idle) {
            Role::Leader(before) => {
                before.cancel_timers(&self.followers, fx);
                before.waiting
            }
            Role::Follower(before) => {
                before.stop(fx);
                Default::default()
            }
            Role::Idle => Default::default(),
        };
        if self.rules.holds(Guard::KeepFollowerState) {
            self.followers.clear();
        }
        self.role = Role::Leader(Leader::new(log.end(), waiting));
        self.fit_high_watermark(log);
        self.fit_followers();
        fx.push(Effect::Became { leader: true, epoch: self.view.partition.leader_epoch });
        self.watch_lag(log, fx);
        self.propose_isr(log, fx);
        self.settle(log, fx);
    }

    fn follow<L: DataLog>(&mut self, log: &mut L, leader: NodeId, fx: &mut Effects) {
        self.stop_leading(fx);
        self.fit_high_watermark(log);
        if let Role::Follower(before) = &self.role {
            before.cancel_timer(fx);
        }
        self.role = Role::Follower(Follower::new(leader));
        fx.push(Effect::Became { leader: false, epoch: self.view.partition.leader_epoch });
        if !self.rules.holds(Guard::TruncateToHighWatermark) {
            self.truncate(log, self.high_watermark, fx);
        }
        self.ask(log, fx);
    }

    /// No leader, or no replica of this partition any more.
    fn rest(&mut self, fx: &mut Effects) {
        self.stop_leading(fx);
        if let Role::Follower(before) = &self.role {
            before.stop(fx);
        }
        self.role = Role::Idle;
    }

    fn stop_leading(&mut self, fx: &mut Effects) {
        let Role::Leader(leader) = &mut self.role else { return };
        leader.waiting.fail(ErrorCode::NotLeaderOrFollower, fx);
        leader.cancel_timers(&self.followers, fx);
        self.role = Role::Idle;
        if self.rules.holds(Guard::KeepFollowerState) {
            self.followers.clear();
        }
    }

    /// A checkpoint may be older than the log's start, and newer than a log that lost its end.
    fn fit_high_watermark<L: DataLog>(&mut self, log: &L) {
        self.high_watermark = self.high_watermark.min(log.end()).max(log.start());
    }

    /// One entry for each other replica: what is known of those that stay, nothing of new ones.
    pub(super) fn fit_followers(&mut self) {
        let known = self.followers;
        let others = self.view.partition.replicas.without(&[self.me]);
        let find = |node| known.iter().find(|follower| follower.node == node).copied();
        self.followers =
            others.iter().map(|&node| find(node).unwrap_or(Progress::new(node))).collect();
    }

    /// |ISR| that producers with acks=all and the high watermark need (L2, P7).
    pub(super) fn min_isr(&self) -> usize {
        effective_min_isr(self.view.min_isr, &self.view.partition)
    }

    pub(super) fn committed_isr(&self) -> &Nodes {
        &self.view.partition.isr
    }

    pub(super) fn has_enough_replicas(&self) -> bool {
        self.committed_isr().len() >= self.min_isr()
    }
}
