//! The configurations: what is bounded, and how far.

use crate::check::{
    Budget, Checked, Configuration, Fate, Mutated, Mutation, Outcome, Tier, configuration,
    explore_within, hunt_within, subject,
};
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
    /// Whether the bounds allow a deposed leader to ask for an ISR before it hears of it.
    pub expects_stale_leader: bool,
}

/// Two records, three leader epochs, and nothing that goes wrong yet.
const CALM: ReplicaModel = ReplicaModel {
    name: "replica",
    rules: Mutated(None),
    flush: false,
    fetches_in_flight: false,
    max_leader_epoch: LeaderEpoch(2),
    left: Left { appends: 2, resends: 0, fences: 0, silences: 0, clean_stops: 0, lossy_stops: 0 },
    expects_stale_leader: true,
};

/// One fencing, one power failure, what is acknowledged being in the page cache.
pub const PAGE_CACHE: ReplicaModel =
    ReplicaModel { left: Left { fences: 1, lossy_stops: 1, ..CALM.left }, ..CALM };

/// The same with acknowledgements that wait for the disk.
pub const FLUSHED: ReplicaModel = ReplicaModel { name: "replica-flush", flush: true, ..PAGE_CACHE };

/// One process that ends with its log whole and one power failure: the ELR, its election and its
/// losses.
pub const RESTARTS: ReplicaModel = ReplicaModel {
    name: "replica-restarts",
    left: Left { clean_stops: 1, lossy_stops: 1, ..CALM.left },
    expects_stale_leader: false,
    ..CALM
};

/// The same with acknowledgements that wait for the disk.
pub const RESTARTS_FLUSHED: ReplicaModel =
    ReplicaModel { name: "replica-flush-restarts", flush: true, ..RESTARTS };

/// A fencing as well.
pub const STOPS: ReplicaModel = ReplicaModel {
    name: "replica-stops",
    left: Left { fences: 1, ..RESTARTS.left },
    expects_stale_leader: true,
    ..RESTARTS
};

/// The same with acknowledgements that wait for the disk.
pub const STOPS_FLUSHED: ReplicaModel =
    ReplicaModel { name: "replica-flush-stops", flush: true, ..STOPS };

/// A leader that shrinks the ISR on its own account while the controller fences.
pub const SHRINKS: ReplicaModel = ReplicaModel {
    name: "replica-shrinks",
    left: Left { fences: 1, silences: 1, ..CALM.left },
    ..CALM
};

/// Fetches and answers that come late, one for each pair of brokers.
pub const IN_FLIGHT: ReplicaModel = ReplicaModel {
    name: "replica-in-flight",
    fetches_in_flight: true,
    left: Left { fences: 1, ..CALM.left },
    expects_stale_leader: false,
    ..CALM
};

/// An idempotent producer that sends again what it has sent, to whoever leads.
pub const PRODUCER: ReplicaModel = ReplicaModel {
    name: "replica-producer",
    left: Left { resends: 1, fences: 1, ..CALM.left },
    expects_stale_leader: false,
    ..CALM
};

/// Everything at once.
pub const FAULTS: ReplicaModel = ReplicaModel {
    name: "replica-faults",
    left: Left { fences: 1, silences: 1, clean_stops: 1, lossy_stops: 1, ..CALM.left },
    ..CALM
};

impl Checked for ReplicaModel {
    fn name(&self) -> &'static str {
        self.name
    }

    fn bounds(&self) -> String {
        let Left { appends, resends, fences, silences, clean_stops, lossy_stops } = self.left;
        let flush = if self.flush { "disk" } else { "page cache" };
        let fetches = if self.fetches_in_flight { "in flight" } else { "at once" };
        let leader_epochs = self.max_leader_epoch.0 + 1;
        format!(
            "{BROKERS} brokers, 1 partition, min.insync.replicas {MIN_ISR}, {appends} records, \
             {leader_epochs} leader epochs, {fences} fencings, {silences} silent followers, \
             {clean_stops} stops that lose nothing, {lossy_stops} power failures, {resends} resends, \
             fetches {fetches}, acknowledged from the {flush}"
        )
    }

    fn describe_step(&self, before: &State, action: &Action, after: &State) -> String {
        tell::step(before, *action, after)
    }

    fn rule_of(&self, property: &str) -> &'static str {
        tell::rule(property)
    }
}

/// The configurations that must hold, the quick ones first.
pub fn configurations() -> Vec<Configuration> {
    vec![
        configuration!(PRODUCER, Tier::Quick),
        configuration!(IN_FLIGHT, Tier::Quick),
        configuration!(RESTARTS, Tier::Quick),
        configuration!(SHRINKS, Tier::Quick),
        configuration!(PAGE_CACHE, Tier::Quick),
        configuration!(FLUSHED, Tier::Full),
        configuration!(RESTARTS_FLUSHED, Tier::Full),
        configuration!(STOPS, Tier::Full),
        configuration!(STOPS_FLUSHED, Tier::Deep),
        configuration!(FAULTS, Tier::Deep),
    ]
}

/// Aims a configuration at a guard: leader epochs, records and fencings, and what else is given.
pub(super) const fn aim(leader_epochs: i32, appends: u8, fences: u8) -> ReplicaModel {
    ReplicaModel {
        name: "replica",
        max_leader_epoch: LeaderEpoch(leader_epochs - 1),
        left: Left { appends, fences, ..CALM.left },
        ..CALM
    }
}

const ONE_CRASH: ReplicaModel =
    ReplicaModel { left: Left { lossy_stops: 1, ..aim(3, 1, 2).left }, ..aim(3, 1, 2) };

const LATE_FETCH: ReplicaModel = ReplicaModel { fetches_in_flight: true, ..aim(2, 2, 2) };

macro_rules! mutation {
    ($guard:ident, $model:expr) => {
        mutation!($guard, Killed, $model)
    };
    ($guard:ident, $fate:ident, $model:expr) => {{
        const MODEL: ReplicaModel = ReplicaModel { rules: Mutated(Some(Guard::$guard)), ..$model };
        fn hunt(budget: &Budget) -> Outcome {
            // Without a guard epochs may grow without end: only breadth first is an end in sight.
            match Fate::$fate {
                Fate::Killed => hunt_within(&MODEL, budget),
                Fate::Survives => explore_within(&MODEL, budget),
            }
        }
        Mutation {
            guard: Guard::$guard,
            fate: Fate::$fate,
            model: MODEL.name,
            subject: subject!(MODEL),
            hunt,
        }
    }};
}

/// Guards of a partition, each with the configuration that shows whether it is needed.
pub fn mutations() -> Vec<Mutation> {
    vec![
        mutation!(HwOverCommittedIsr, aim(3, 1, 2)),
        mutation!(TruncateToHighWatermark, aim(3, 2, 2)),
        mutation!(HwUnderMinIsr, ONE_CRASH),
        mutation!(FencedJoinsIsr, aim(2, 1, 1)),
        mutation!(SkipPartitionEpoch, aim(3, 1, 2)),
        mutation!(StaleFetchResponse, LATE_FETCH),
        mutation!(JoinBelowHighWatermark, aim(3, 1, 1)),
        mutation!(KeepFollowerState, aim(3, 2, 2)),
        mutation!(SkipSequenceCheck, PRODUCER),
        mutation!(KeepProducerState, PRODUCER),
        mutation!(DuplicateAboveHighWatermark, PRODUCER),
        // Whoever truncated since has an epoch that parts from the leader's: that check suffices.
        mutation!(SkipLeaderEpoch, Survives, IN_FLIGHT),
        mutation!(IgnoreDivergence, aim(2, 2, 1)),
        mutation!(ElectAnyReplica, aim(3, 1, 2)),
    ]
}
