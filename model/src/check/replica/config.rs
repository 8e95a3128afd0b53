//! The configurations: what is bounded, and how far.

use crate::check::explore_within;
use crate::check::{Budget, Checked, Configuration, Fate, Mutated, Mutation, Outcome, Tier};
use crate::{Guard, LeaderEpoch};

use super::state::{BROKERS, Left, MIN_ISR, State};
use super::{Action, tell};

/// One configuration of the model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaModel {
    pub name: &'static str,
    pub rules: Mutated,
    /// Acknowledge only what is flushed.
    pub flush: bool,
    /// Whether a fetch and its answer take their time, so that they may be late.
    pub fetches_in_flight: bool,
    pub max_leader_epoch: LeaderEpoch,
    pub left: Left,
    /// Whether the bounds are wide enough for every `sometimes` property.
    pub expect_all: bool,
}

pub const BASE: ReplicaModel = ReplicaModel {
    name: "replica",
    rules: Mutated(None),
    flush: false,
    fetches_in_flight: false,
    max_leader_epoch: LeaderEpoch(2),
    left: Left { appends: 2, resends: 0, fences: 2, silences: 0, clean_stops: 0, lossy_stops: 0 },
    expect_all: true,
};

impl Checked for ReplicaModel {
    fn name(&self) -> &'static str {
        self.name
    }

    fn bounds(&self) -> String {
        let left = &self.left;
        format!(
            "{BROKERS} brokers, 1 partition, min.insync.replicas {MIN_ISR}, {} records, {} leader epochs, \
             {} fencings, {} shrinks, {} clean stops, {} lossy crashes, {} resends, {}, {}",
            left.appends,
            self.max_leader_epoch.0 + 1,
            left.fences,
            left.silences,
            left.clean_stops,
            left.lossy_stops,
            left.resends,
            if self.fetches_in_flight { "fetches in flight" } else { "fetches at once" },
            if self.flush {
                "flushed before acknowledging"
            } else {
                "acknowledged from the page cache"
            },
        )
    }

    fn describe_step(&self, before: &State, action: &Action, after: &State) -> String {
        tell::step(before, *action, after)
    }

    fn rule_of(&self, property: &str) -> &'static str {
        tell::rule(property)
    }
}

/// The configurations that must hold.
pub fn configurations() -> Vec<Configuration> {
    Vec::new()
}

pub fn mutations() -> Vec<Mutation> {
    Vec::new()
}
