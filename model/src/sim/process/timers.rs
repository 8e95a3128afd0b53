//! A process's timers: one a slot, replaced when set again; and how long each runs.

use std::collections::BTreeMap;

use crate::raft::Patience;
use crate::sim::env::{Input, Timer};
use crate::sim::profile::{MILLIS, Micros, SECONDS};
use crate::{Rules, broker, metadata, raft, replica};

use super::At;

#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    armed: BTreeMap<Timer, u64>,
    stamps: u64,
}

impl Timers {
    fn arm(&mut self, timer: Timer) -> u64 {
        self.stamps += 1;
        self.armed.insert(timer.slot(), self.stamps);
        self.stamps
    }

    pub fn cancel(&mut self, timer: Timer) {
        self.armed.remove(&timer.slot());
    }

    pub fn is_armed(&self, timer: Timer) -> bool {
        self.armed.contains_key(&timer.slot())
    }

    /// Whether the timer that ran out is still the one that is armed; it is so no longer.
    pub fn fired(&mut self, timer: Timer, stamp: u64) -> bool {
        let is_current = self.armed.get(&timer.slot()) == Some(&stamp);
        if is_current {
            self.armed.remove(&timer.slot());
        }
        is_current
    }

    /// Whatever is armed of one partition.
    pub fn forget(&mut self, id: crate::TopicPartition) {
        self.armed.retain(|timer, _| !matches!(timer, Timer::Replica(of, _) if *of == id));
    }
}

/// As in `node/src/actor/quorum/raft_effects.rs`.
const RANK_STEP: Micros = 30 * MILLIS;
const RETRY: Micros = 20 * MILLIS;
const FRESH: Micros = 50 * MILLIS;
/// How long a fetch of the quorum is held.
const HOLD: Micros = 500 * MILLIS;

impl<R: Rules> At<'_, R> {
    /// Arms a timer for as long as it takes by this node's clock.
    pub(super) fn set(&mut self, timer: Timer) {
        let after = self.length(timer) * self.process.clock / 1_000;
        let stamp = self.process.timers.arm(timer);
        self.later(after.max(1), Input::Timer { timer, stamp });
    }

    pub(super) fn set_once(&mut self, timer: Timer) {
        if !self.process.timers.is_armed(timer) {
            self.set(timer);
        }
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        self.process.timers.cancel(timer);
    }

    fn jitter(&mut self, most: Micros) -> Micros {
        self.env.chance.below(most + 1)
    }

    fn length(&mut self, timer: Timer) -> Micros {
        match timer {
            Timer::Quorum(timer) => self.quorum_length(timer),
            Timer::Hold(_) => HOLD.min(self.env.profile.fetch / 2),
            Timer::Controller(metadata::Timer::Session(_)) => self.env.profile.session,
            // Five minutes in the node; a run of some minutes shall see it.
            Timer::Controller(metadata::Timer::Balance | metadata::Timer::UncleanSweep) => {
                20 * SECONDS
            }
            Timer::Controller(metadata::Timer::SuspicionWindow) => SECONDS,
            Timer::Controller(metadata::Timer::Distrust(_)) => 60 * SECONDS,
            Timer::Broker(broker::Timer::Heartbeat { soon: true } | broker::Timer::Retry) => {
                // 15 ms in the node, which would fill a run with nothing else.
                60 * MILLIS
            }
            Timer::Broker(broker::Timer::Heartbeat { soon: false }) => {
                (self.env.profile.session / 4).max(200 * MILLIS)
            }
            Timer::Broker(broker::Timer::Answer) => 1_500 * MILLIS,
            Timer::Broker(broker::Timer::Shutdown) => 10 * SECONDS,
            Timer::Replica(_, replica::Timer::Lag(_)) => self.env.profile.lag,
            Timer::Replica(_, replica::Timer::AlterRetry) => 100 * MILLIS,
            Timer::Replica(_, replica::Timer::FetchRetry) => 200 * MILLIS,
            Timer::Find => 400 * MILLIS,
            Timer::Sweep => 100 * MILLIS,
            Timer::FetchAgain => (self.env.profile.lag / 2).clamp(100 * MILLIS, 500 * MILLIS),
            Timer::Watermarks => 5 * MILLIS,
            Timer::Checkpoint => 2 * SECONDS,
            Timer::Silence => self.env.profile.lag / 4,
            Timer::Expire(_) => 1_200 * MILLIS,
        }
    }

    fn quorum_length(&mut self, timer: raft::Timer) -> Micros {
        let (election, fetch) = (self.env.profile.election, self.env.profile.fetch);
        match timer {
            raft::Timer::Election(Patience::Full) => election + self.jitter(election),
            raft::Timer::Election(Patience::Fresh) => self.jitter(FRESH),
            raft::Timer::Election(Patience::Ranked(rank)) => {
                RANK_STEP * u64::from(rank) + self.jitter(RANK_STEP)
            }
            raft::Timer::Election(Patience::Backoff(tries)) => {
                self.jitter((FRESH << tries.min(8)).min(election))
            }
            raft::Timer::Fetch => fetch,
            raft::Timer::CheckQuorum => fetch + fetch / 2,
            raft::Timer::Announce => fetch / 4,
            raft::Timer::VoterChange => 5 * fetch,
            raft::Timer::Retry => RETRY + self.jitter(RETRY),
        }
    }

    pub(super) fn timed_out(&mut self, timer: Timer) {
        match timer {
            Timer::Quorum(timer) => self.step_quorum(raft::Event::Timeout(timer)),
            Timer::Hold(from) => self.hold_expired(from),
            Timer::Controller(timer) => self.step_controller(metadata::Event::Timeout(timer)),
            Timer::Broker(timer) => self.step_broker(broker::Event::Timeout(timer)),
            Timer::Replica(id, timer) => self.step_replica(id, replica::Event::Timeout(timer)),
            Timer::Find => self.ask_around(),
            Timer::Sweep => self.sweep(),
            Timer::FetchAgain => self.fetch_again(),
            Timer::Watermarks => self.say_watermarks(),
            Timer::Checkpoint => self.checkpoint(),
            Timer::Silence => self.look_for_silence(),
            Timer::Expire(request) => self.expire(request),
        }
    }
}
