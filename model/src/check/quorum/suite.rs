//! The configurations of the `quorum` model that must hold, and those aimed at mutations.

use super::{Bounds, Delivery, QuorumModel};
use crate::Guard;
use crate::check::{
    Budget, Checked, Configuration, Fate, Mutated, Mutation, Outcome, Tier, explore_within,
};

const WIDE: Bounds = Bounds {
    rules: Mutated(None),
    epochs: 2,
    records: 1,
    crashes: 1,
    timeouts: 3,
    breaks: 0,
    peers_gone: 0,
    resigns: 0,
    delivery: Delivery::RequestsAtOnce,
};

pub(in crate::check) fn models() -> Vec<Configuration> {
    vec![]
}

pub(in crate::check) fn mutations() -> Vec<Mutation> {
    vec![]
}
