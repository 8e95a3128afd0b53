//! The mutations: for every guard of the controller the configuration that misses it.

use crate::Guard;
use crate::check::{Fate, Mutated, Mutation, explore_within, hunt_within, subject};

use super::config::{CALM, ControllerModel, LIFE, NOTHING};
use super::state::Left;

macro_rules! mutation {
    ($guard:ident, $model:expr, $fate:ident, $hunt:expr) => {{
        const MODEL: ControllerModel =
            ControllerModel { rules: Mutated(Some(Guard::$guard)), ..$model };
        Mutation {
            guard: Guard::$guard,
            fate: Fate::$fate,
            model: MODEL.name,
            subject: subject!(MODEL),
            hunt: |budget| $hunt(&MODEL, budget),
        }
    }};
    (killed $guard:ident, $model:expr) => {
        mutation!($guard, ControllerModel { exact: true, ..$model }, Killed, hunt_within)
    };
    (survives $guard:ident, $model:expr) => {
        mutation!($guard, $model, Survives, explore_within)
    };
}

/// Aims at one guard: one partition on three brokers, and what may happen to it.
pub(super) const fn aim(left: Left) -> ControllerModel {
    ControllerModel { left, ..CALM }
}

/// A partition of brokers 1 and 2, and where it may be moved.
pub(super) const fn move_to(
    targets: &'static [(u8, &'static [i32])],
    left: Left,
) -> ControllerModel {
    ControllerModel { name: "controller-reassign", topics: &[&[&[1, 2]]], targets, left, ..CALM }
}

pub(super) const fn lagging(left: Left) -> ControllerModel {
    ControllerModel { name: "controller-failover", lag: 1, left, ..CALM }
}

const fn with_elr(left: Left) -> ControllerModel {
    ControllerModel { name: "controller-elr", left, ..CALM }
}

/// One fencing after the other.
pub(super) const FENCES: Left = Left { fences: 1, ..NOTHING };
pub(super) const TWO_FENCES: Left = Left { fences: 2, ..NOTHING };
const LOSS: Left = Left { fences: 2, losses: 1, ..NOTHING };
pub(super) const MOVE: Left = Left { reassignments: 1, proposals: 1, ..NOTHING };

/// The second partition has more replicas than the first.
const UNEQUAL: ControllerModel =
    ControllerModel { topics: &[&[&[1, 2, 3], &[1, 2, 3]]], moved: &[(0, &[1])], ..with_elr(LOSS) };

const ALONE: ControllerModel =
    ControllerModel { topics: &[&[&[1, 2]]], min_isr: 1, ..with_elr(LOSS) };

const OTHER_MIN_ISR: ControllerModel =
    ControllerModel { min_isrs: &[1], ..with_elr(Left { configs: 1, ..TWO_FENCES }) };

/// Apache Kafka's own way to lose records, `docs/elr.md`.
pub const KAFKA: ControllerModel = ControllerModel {
    only_losses: true,
    ..move_to(
        &[(0, &[3]), (0, &[3, 1])],
        Left { reassignments: 2, fences: 1, proposals: 1, ..NOTHING },
    )
};

/// Every guard of the controller, with the configuration that shows whether it is needed.
pub fn mutations() -> Vec<Mutation> {
    vec![
        mutation!(killed FencedJoinsIsr, aim(Left { proposals: 2, ..FENCES })),
        mutation!(killed SkipPartitionEpoch, aim(Left { proposals: 1, ..TWO_FENCES })),
        mutation!(killed UncleanKeepsElr, with_elr(Left { fences: 3, ..LOSS })),
        mutation!(killed ElectDeadLastLeader, ALONE),
        mutation!(killed ElectionWipesElr, with_elr(LOSS)),
        mutation!(killed ElrOutsideReplicas, KAFKA),
        mutation!(killed ReassignBelowMinIsr, move_to(&[(0, &[3, 2])], Left { fences: 1, ..MOVE })),
        mutation!(killed CancelBelowMinIsr, move_to(
            &[(0, &[2, 3])],
            Left { fences: 1, losses: 1, cancels: 1, ..MOVE }
        )),
        mutation!(killed TwoMinIsrs, UNEQUAL),
        mutation!(killed ElectAnyReplica, aim(TWO_FENCES)),
        mutation!(killed PreferredFromAnywhere, aim(FENCES)),
        mutation!(killed AnyBrokerEpochJoins, aim(Left { proposals: 1, ..LOSS })),
        mutation!(killed MinIsrKeepsElr, OTHER_MIN_ISR),
        mutation!(killed RemovedStaysInIsr, move_to(&[(0, &[2, 3])], MOVE)),
        mutation!(killed ReplyBeforeCommit, lagging(Left { producers: 1, ..NOTHING })),
        mutation!(killed KeepOverlay, lagging(Left { fences: 1, failovers: 1, ..NOTHING })),
        mutation!(killed ProducerIdsUnrecorded, aim(Left { producers: 2, ..NOTHING })),
        mutation!(killed RestartKeepsIsr, aim(Left { clean_stops: 1, ..NOTHING })),
        mutation!(killed FenceTwoAtOnce, aim(FENCES)),
        mutation!(killed StoppingStaysInIsr, aim(Left { shutdowns: 1, ..NOTHING })),
        mutation!(killed StopWhileLeading, aim(Left { shutdowns: 1, ..NOTHING })),
        mutation!(killed UnregisterKeepsIsr, aim(Left { unregistrations: 1, ..NOTHING })),
        mutation!(killed InactiveInNewIsr, aim(Left { deletions: 1, ..FENCES })),
        mutation!(killed TopicNameTwice, aim(Left { deletions: 1, ..NOTHING })),
        mutation!(survives UnfenceAtOnce, LIFE),
        mutation!(survives BumpOnShrink, LIFE),
        mutation!(survives NewEpochSameProcess, lagging(Left {
            fences: 1,
            registrations: 1,
            proposals: 1,
            failovers: 1,
            ..NOTHING
        })),
    ]
}
