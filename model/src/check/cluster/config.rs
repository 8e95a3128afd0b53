//! The configurations: what is bounded, and how far.

use crate::Guard;
use crate::check::{
    Budget, Checked, Configuration, Fate, Mutated, Mutation, Outcome, Tier, configuration,
    explore_within, hunt_within, subject,
};

use super::state::{BROKERS, Left, State};
use super::{
    ACKNOWLEDGED, Action, DEPOSED, ELR_KEPT, FAILOVER_COMMITS, LATER_LEADER, MOVED, REGROWN,
    SENT_AGAIN, STALE_BROKER, STALE_LEADER, Witness, tell,
};

/// One configuration of the model.
#[derive(Clone, Debug)]
pub struct ClusterModel {
    pub name: &'static str,
    pub rules: Mutated,
    pub min_isr: i32,
    /// The partition's replicas at the start.
    pub replicas: &'static [i32],
    /// What an operator asks for, one after the other; `None` calls the move off.
    pub targets: &'static [Option<&'static [i32]>],
    /// What an operator sets min.insync.replicas to, one after the other.
    pub min_isrs: &'static [i32],
    /// Whether a controller may be deposed without hearing of it.
    pub lingers: bool,
    /// Whether every record is of one idempotent producer.
    pub is_idempotent: bool,
    /// Whether the answer to a fetch may be lost after the leader has seen the fetch.
    pub loses_answers: bool,
    /// The one promise that is judged, if not all are.
    pub only: Option<&'static str>,
    pub left: Left,
    pub witnesses: &'static [Witness],
}

pub(super) const NOTHING: Left = Left {
    appends: 1,
    resends: 0,
    fences: 0,
    silences: 0,
    clean_stops: 0,
    kills: 0,
    lossy_stops: 0,
    failovers: 0,
    reassignments: 0,
    configs: 0,
    repeats: 0,
};

const CALM: ClusterModel = ClusterModel {
    name: "cluster",
    rules: Mutated(None),
    min_isr: 2,
    replicas: &[0, 1, 2],
    targets: &[],
    min_isrs: &[],
    lingers: false,
    is_idempotent: false,
    loses_answers: false,
    only: None,
    left: NOTHING,
    witnesses: &[],
};

/// The controller fails over while it fences a broker and decides on ISRs; any replica that is in
/// sync may acknowledge alone.
pub const CLUSTER: ClusterModel = ClusterModel {
    replicas: &[0, 1],
    min_isr: 1,
    lingers: true,
    left: Left { fences: 1, silences: 1, failovers: 1, ..NOTHING },
    witnesses: &[LATER_LEADER, FAILOVER_COMMITS, REGROWN, STALE_LEADER, DEPOSED],
    ..CALM
};

/// The same with three replicas, two of which must hold what is acknowledged.
pub const FAILOVER: ClusterModel =
    ClusterModel { name: "cluster-failover", replicas: &[0, 1, 2], min_isr: 2, ..CLUSTER };

/// The controller fails over twice.
pub const FAILOVERS: ClusterModel = ClusterModel {
    name: "cluster-failovers",
    lingers: false,
    left: Left { fences: 1, failovers: 2, ..NOTHING },
    witnesses: &[LATER_LEADER, FAILOVER_COMMITS, REGROWN],
    ..CALM
};

/// The partition moves from one pair of brokers to another while the controller fails over.
pub const REASSIGN: ClusterModel = ClusterModel {
    name: "cluster-reassign",
    replicas: &[0, 1],
    targets: &[Some(&[2, 0])],
    left: Left { fences: 1, failovers: 1, reassignments: 1, ..NOTHING },
    witnesses: &[LATER_LEADER, MOVED],
    ..CALM
};

/// A move that is called off while a broker is fenced.
pub const CANCEL: ClusterModel = ClusterModel {
    name: "cluster-cancel",
    replicas: &[0, 1],
    targets: &[Some(&[0, 1, 2]), None],
    left: Left { fences: 1, reassignments: 2, ..NOTHING },
    witnesses: &[LATER_LEADER, ELR_KEPT],
    ..CALM
};

/// Brokers stop in order, lose power, and come back.
pub const RESTART: ClusterModel = ClusterModel {
    name: "cluster-restart",
    replicas: &[0, 1],
    left: Left { clean_stops: 1, lossy_stops: 1, ..NOTHING },
    witnesses: &[LATER_LEADER, ELR_KEPT, STALE_BROKER],
    ..CALM
};

/// The same with three replicas.
pub const RESTARTS: ClusterModel =
    ClusterModel { name: "cluster-restarts", replicas: &[0, 1, 2], ..RESTART };

/// A process is killed, and a machine loses power, be it the same one.
pub const KILLS: ClusterModel = ClusterModel {
    name: "cluster-kills",
    left: Left { kills: 1, lossy_stops: 1, ..NOTHING },
    witnesses: &[LATER_LEADER, ELR_KEPT],
    ..RESTART
};

/// A broker loses power while the controller fails over.
pub const CRASHES: ClusterModel = ClusterModel {
    name: "cluster-crashes",
    left: Left { lossy_stops: 1, failovers: 1, ..NOTHING },
    witnesses: &[LATER_LEADER, FAILOVER_COMMITS, REGROWN],
    ..CALM
};

/// A link breaks, and what was sent over it arrives twice.
pub const REPEATS: ClusterModel = ClusterModel {
    name: "cluster-repeats",
    left: Left { fences: 1, silences: 1, repeats: 1, ..NOTHING },
    witnesses: &[LATER_LEADER],
    ..CALM
};

/// The operator asks for another number of replicas that must hold what is acknowledged, while
/// members leave the ISR and come back.
pub const MIN_ISR: ClusterModel = ClusterModel {
    name: "cluster-min-isr",
    replicas: &[0, 1],
    min_isr: 1,
    min_isrs: &[2, 1],
    left: Left { fences: 1, silences: 1, configs: 2, ..NOTHING },
    witnesses: &[LATER_LEADER, ELR_KEPT],
    ..CALM
};

/// An idempotent producer sends again what it has sent, to whoever leads by then: what is known of it
/// came by replication, or was read from the log by a process that started anew.
pub const PRODUCER: ClusterModel = ClusterModel {
    name: "cluster-producer",
    replicas: &[0, 1],
    is_idempotent: true,
    left: Left { appends: 2, resends: 1, fences: 1, kills: 1, ..NOTHING },
    witnesses: &[LATER_LEADER, SENT_AGAIN],
    ..CALM
};

impl Checked for ClusterModel {
    fn name(&self) -> &'static str {
        self.name
    }

    fn bounds(&self) -> String {
        let Left { appends, fences, silences, clean_stops, lossy_stops, .. } = self.left;
        let Left { resends, kills, failovers, reassignments, configs, repeats, .. } = self.left;
        let (min_isr, replicas) = (self.min_isr, self.replicas.len());
        format!(
            "{BROKERS} brokers, 2 controllers, 1 partition on {replicas}, min.insync.replicas \
             {min_isr}, {appends} records, {failovers} controller failovers, {fences} sessions run \
             out, {silences} silent followers, {clean_stops} clean stops, {kills} kills, \
             {lossy_stops} power failures, {reassignments} reassignments, {configs} changes of \
             min.insync.replicas, {repeats} repeated requests, {resends} resends"
        )
    }

    fn describe_step(&self, before: &State, action: &Action, after: &State) -> String {
        tell::step(self, before, *action, after)
    }

    fn rule_of(&self, property: &str) -> &'static str {
        tell::rule(property)
    }
}

/// The configurations that must hold, the quick ones first.
pub fn configurations() -> Vec<Configuration> {
    vec![
        configuration!(CLUSTER, Tier::Quick),
        configuration!(REASSIGN, Tier::Quick),
        configuration!(RESTART, Tier::Quick),
        configuration!(PRODUCER, Tier::Quick),
        configuration!(KILLS, Tier::Quick),
        configuration!(CANCEL, Tier::Quick),
        configuration!(REPEATS, Tier::Quick),
        configuration!(MIN_ISR, Tier::Quick),
        configuration!(FAILOVERS, Tier::Quick),
        configuration!(CRASHES, Tier::Quick),
        configuration!(FAILOVER, Tier::Full),
        configuration!(RESTARTS, Tier::Deep),
    ]
}

/// Aims a configuration at a guard.
pub(super) const fn aim(left: Left) -> ClusterModel {
    ClusterModel { left, ..CALM }
}

const ONE_LOST: Left = Left { lossy_stops: 1, ..NOTHING };
pub(super) const ONE_SILENT: Left = Left { silences: 1, ..NOTHING };
pub(super) const NO_RECORD: Left = Left { appends: 0, ..NOTHING };

/// The finding on Apache Kafka 4.3.1: to one broker, then to two, and the first one stops. What is
/// wrong with the metadata on the way is not looked at: a record must be lost.
const REMOVED_REPLICA: ClusterModel = ClusterModel {
    replicas: &[0, 1],
    targets: &[Some(&[2]), Some(&[2, 0])],
    left: Left { clean_stops: 1, reassignments: 2, ..NOTHING },
    only: Some(ACKNOWLEDGED),
    ..CALM
};

/// Of three replicas one is down, and the one that leads goes.
const TO_ONE_IN_SYNC: ClusterModel = ClusterModel {
    targets: &[Some(&[2, 1])],
    left: Left { fences: 1, lossy_stops: 1, reassignments: 1, ..NOTHING },
    ..CALM
};

const TWO_REPLICAS: ClusterModel = ClusterModel { replicas: &[0, 1], ..CALM };

/// A partition of one replica, whose broker loses power.
const ALONE: ClusterModel = ClusterModel { replicas: &[0], min_isr: 1, left: ONE_LOST, ..CALM };

macro_rules! mutation {
    ($guard:ident, $fate:ident, $hunt:ident, $model:expr) => {{
        const MODEL: ClusterModel = ClusterModel { rules: Mutated(Some(Guard::$guard)), ..$model };
        fn hunt(budget: &Budget) -> Outcome {
            $hunt(&MODEL, budget)
        }
        Mutation {
            guard: Guard::$guard,
            fate: Fate::$fate,
            model: MODEL.name,
            subject: subject!(MODEL),
            hunt,
        }
    }};
    ($guard:ident, $model:expr) => {
        mutation!($guard, Killed, hunt_within, $model)
    };
}

/// A broker that keeps all it has stops in order, and the leader is fenced while it is away.
const BACK_FROM_THE_ELR: ClusterModel =
    ClusterModel { left: Left { clean_stops: 1, fences: 1, ..NOTHING }, ..TWO_REPLICAS };

/// Guards that show only where controllers, metadata and replicas meet, each with the
/// configuration that shows it.
pub fn mutations() -> Vec<Mutation> {
    vec![
        mutation!(ElrOutsideReplicas, REMOVED_REPLICA),
        mutation!(ReassignBelowMinIsr, TO_ONE_IN_SYNC),
        mutation!(SkipPartitionEpoch, aim(Left { fences: 1, ..ONE_SILENT })),
        mutation!(HwOverCommittedIsr, aim(ONE_SILENT)),
        mutation!(
            HwUnderMinIsr,
            ClusterModel { left: Left { fences: 1, ..ONE_SILENT }, ..TWO_REPLICAS }
        ),
        mutation!(
            UncleanKeepsElr,
            ClusterModel { left: Left { fences: 1, ..ONE_LOST }, ..TWO_REPLICAS }
        ),
        mutation!(StaleAlterPartition, aim(Left { fences: 2, silences: 1, ..NO_RECORD })),
        mutation!(GrantBeforeRecord, MIN_ISR),
        mutation!(
            JoinBeforeEpochStart,
            ClusterModel { loses_answers: true, ..aim(Left { fences: 1, ..ONE_SILENT }) }
        ),
        mutation!(AnyBrokerEpochJoins, aim(Left { silences: 1, ..ONE_LOST })),
        mutation!(ElectDeadLastLeader, ALONE),
        mutation!(ReplyBeforeCommit, aim(Left { failovers: 1, ..ONE_SILENT })),
        mutation!(KeepOverlay, aim(Left { failovers: 2, fences: 1, ..NO_RECORD })),
        mutation!(ViewWithoutRegistration, aim(ONE_LOST)),
        mutation!(RefuseWithoutTrace, aim(Left { fences: 1, repeats: 1, ..ONE_SILENT })),
        mutation!(
            AppendUnderMinIsr,
            Survives,
            explore_within,
            aim(Left { fences: 1, ..ONE_SILENT })
        ),
        mutation!(UnfenceAtOnce, Survives, explore_within, BACK_FROM_THE_ELR),
    ]
}
