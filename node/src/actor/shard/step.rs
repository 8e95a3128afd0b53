//! One event through one replica's machine, and its effects.

use kraft_model::TopicPartition;
use kraft_model::log::Log;
use kraft_model::replica::{Effect, Event, Timer};

use super::actor::Shard;
use super::metrics::{add, shift};
use super::slot::Slot;
use crate::actor::promises::ReplicaStands;
use crate::limits::{ALTER_PARTITION_BACKOFF, REFUSED_FETCH_BACKOFF};
use crate::storage::Records;

impl Shard {
    /// Steps a partition's replica, if the partition is here and its disk works.
    pub(super) fn step(&mut self, id: TopicPartition, event: Event<Records>) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if slot.is_offline {
            return;
        }
        let mut effects = std::mem::take(&mut self.effects);
        let Slot { track, replica, log, .. } = slot;
        let before = ReplicaStands::of(replica);
        let (start, flushed) = (log.start(), log.flushed());
        self.recorder.replica(track, replica, log, event, &mut effects);
        if log.start() < start || log.flushed() < flushed {
            self.maintenance.fell(id);
        }
        // What the machine concluded from an append that is not there must not leave, nor what a
        // broken promise has led to.
        if let Some(failure) = log.failure() {
            let cause = failure.to_string();
            effects.clear();
            self.fail(id, &cause);
        } else if let Some(promise) = before.broken(ReplicaStands::of(replica)) {
            effects.clear();
            effects.push(Effect::Violation(promise));
        }
        for effect in effects.drain(..) {
            self.run(id, effect);
        }
        self.effects = effects;
        if self.recorder.is_full() {
            self.write_trace();
        }
    }

    /// Before anything leaves that rests on the steps so far, they are in the trace.
    pub(super) fn write_trace(&mut self) {
        if let Err(error) = self.recorder.write() {
            tracing::error!(%error, "the trace has a gap");
            self.outside.broker.violation("the trace cannot be written");
        }
    }

    pub(super) fn run(&mut self, id: TopicPartition, effect: Effect) {
        match effect {
            Effect::Reply { request, result } => self.produces.reply(request, result),
            Effect::Answer { follower, position, outcome } => {
                self.answer_follower(id, follower, position, outcome);
            }
            Effect::Fetch { leader, position } => {
                if self.fetchers.fetch(leader, id, position) {
                    self.ensure_link(leader);
                }
            }
            Effect::StopFetching => self.fetchers.stop(id),
            Effect::AlterPartition(proposal) => self.alterations.propose(proposal),
            Effect::News => {
                self.sessions.news(id);
                self.held.news(id);
                self.watermarks_moved.insert(id);
            }
            Effect::Flush => self.flushes.want(id),
            Effect::Truncated(to) => tracing::info!(?id, %to, "truncated"),
            Effect::SetTimer(timer) => {
                let after = match timer {
                    Timer::Lag(_) => self.config.replica_lag_time_max,
                    Timer::AlterRetry => ALTER_PARTITION_BACKOFF,
                    Timer::FetchRetry => REFUSED_FETCH_BACKOFF,
                };
                self.timers.set(id, timer, self.now, after);
            }
            Effect::CancelTimer(timer) => self.timers.cancel(id, timer),
            Effect::Became { leader, epoch } => {
                tracing::debug!(?id, leader, %epoch, "a new role");
                self.expect_followers(id, leader);
            }
            Effect::IsrChanged { shrunk: true } => add(&self.metrics.isr_shrinks, 1),
            Effect::IsrChanged { shrunk: false } => add(&self.metrics.isr_expands, 1),
            Effect::Violation(what) => {
                tracing::error!(?id, what, "a promise is broken");
                self.outside.broker.violation(what);
            }
        }
    }

    /// A new leader hears of its followers only from now on, so that their silence begins now.
    fn expect_followers(&mut self, id: TopicPartition, leads: bool) {
        if let Some(slot) = self.slots.get(&id)
            && leads
        {
            let followers = slot.partition.replicas.iter().filter(|&&replica| replica != self.me);
            followers.for_each(|&follower| self.heard.note(follower, self.now));
        }
    }

    /// The partition's disk failed: nothing that rests on it is said any more.
    pub(super) fn fail(&mut self, id: TopicPartition, cause: &str) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if slot.is_offline {
            return;
        }
        tracing::error!(?id, cause, "the partition goes offline: its log cannot be written");
        slot.is_offline = true;
        self.flushes.failed();
        shift(&self.metrics.offline, false, true);
        let directory = slot.directory.clone();
        self.fetchers.stop(id);
        self.alterations.forget(id);
        self.timers.forget(id);
        self.flushes.forget(id);
        self.held.news(id);
        self.refuse_produces(id, kraft_model::ErrorCode::KafkaStorageError);
        self.outside.broker.storage_failed(&directory, cause);
    }
}
