//! The configurations that must hold: `quorum`, `quorum-prevote`, `quorum-snapshot`,
//! `quorum-reconfig`, small for every commit and large for a release.

use super::mutations::{FOUR_AND_ONE, THREE_AND_TWO};
use super::{Bounds, Delivery, QuorumModel, Reductions};
use crate::check::{Configuration, Mutated, Tier, configuration};

/// Nothing goes wrong but that time passes.
pub(super) const CALM: Bounds = Bounds {
    name: "quorum",
    rules: Mutated(None),
    epochs: 2,
    records: 1,
    crashes: 0,
    timeouts: 2,
    breaks: 0,
    losses: 0,
    duplicates: 0,
    peers_gone: 0,
    resigns: 0,
    snapshots: 0,
    partitions: 0,
    adds: 0,
    removes: 0,
    wipes: 0,
    observers: None,
    prologue: &[],
    candidates: u8::MAX,
    delivery: Delivery::RequestsAtOnce,
    reductions: Reductions::ALL,
    judges_stability: false,
    judges_voter_sets: true,
    judges_electability: false,
};

/// A crash that loses what is not flushed, at any moment of two reigns, and a follower that takes
/// its leader for dead, rightly or not.
const CRASH: Bounds = Bounds { name: "quorum", crashes: 1, peers_gone: 1, ..CALM };

/// Requests that arrive late, and a connection that breaks.
const IN_ORDER: Bounds =
    Bounds { name: "quorum-in-order", breaks: 1, delivery: Delivery::InOrder, ..CALM };

/// A network that keeps no order at all.
const ANY_ORDER: Bounds =
    Bounds { name: "quorum-any-order", epochs: 1, delivery: Delivery::AnyOrder, ..CALM };

/// Three reigns, one of which may end by a resignation, and some majority can always go on.
const FAILOVER: Bounds = Bounds {
    name: "quorum-failover",
    epochs: 3,
    records: 2,
    timeouts: 3,
    resigns: 1,
    judges_electability: true,
    ..CALM
};

/// Three reigns, two records and a lossy crash anywhere.
const WIDE: Bounds =
    Bounds { name: "quorum-wide", epochs: 3, records: 2, timeouts: 3, crashes: 1, ..CALM };

/// A message that is lost and one that comes twice, while all are under way.
const LOSSY: Bounds = Bounds {
    name: "quorum-lossy",
    losses: 1,
    duplicates: 1,
    records: 0,
    delivery: Delivery::InOrder,
    ..CALM
};

/// Everything that a network can do to messages that are all under way at once, and a crash. Some
/// hundred million states by what the parts below have: hours, so the parts are what is run.
const DEEP_NET: Bounds = Bounds {
    name: "quorum-deep-net",
    crashes: 1,
    losses: 1,
    duplicates: 1,
    delivery: Delivery::InOrder,
    ..CALM
};

const DEEP_NET_LOSS: Bounds = Bounds { name: "quorum-deep-net-loss", duplicates: 0, ..DEEP_NET };

const DEEP_NET_TWICE: Bounds = Bounds { name: "quorum-deep-net-twice", losses: 0, ..DEEP_NET };

const DEEP_NET_CALM: Bounds = Bounds { name: "quorum-deep-net-no-crash", crashes: 0, ..DEEP_NET };

/// A network that falls apart in every way, and a node that rejoins: no leader is deposed without
/// need.
pub(super) const PREVOTE: Bounds =
    Bounds { name: "quorum-prevote", partitions: 1, judges_stability: true, ..CALM };

const PREVOTE_FULL: Bounds = Bounds { name: "quorum-prevote-wide", timeouts: 3, ..PREVOTE };

/// A follower that lags, a snapshot in its place, and a crash while it is installed.
pub(super) const SNAPSHOT: Bounds =
    Bounds { name: "quorum-snapshot", epochs: 1, snapshots: 1, crashes: 1, ..CALM };

const SNAPSHOT_FULL: Bounds = Bounds { name: "quorum-snapshot-wide", epochs: 2, ..SNAPSHOT };

/// A voter added and a voter removed in one reign.
pub(super) const RECONFIG: Bounds = Bounds {
    name: "quorum-reconfig",
    epochs: 1,
    records: 0,
    timeouts: 1,
    adds: 1,
    removes: 1,
    observers: Some(1),
    ..CALM
};

/// The same with a crash.
const RECONFIG_FULL: Bounds = Bounds { name: "quorum-reconfig-wide", crashes: 1, ..RECONFIG };

/// Two voters to come, one at a time. Nobody else is elected in it.
const TWO_TO_COME: Bounds = Bounds { epochs: 1, judges_voter_sets: true, ..THREE_AND_TWO };

/// A disk that is lost: its node returns without it, and does not vote as if it still had it.
pub(super) const WIPED: Bounds = Bounds { name: "quorum-wiped", wipes: 1, ..CALM };

pub(in crate::check) fn models() -> Vec<Configuration> {
    vec![
        configuration!(QuorumModel::<3>::new(CRASH), Tier::Quick),
        configuration!(QuorumModel::<3>::new(IN_ORDER), Tier::Quick),
        configuration!(QuorumModel::<3>::new(ANY_ORDER), Tier::Quick),
        configuration!(QuorumModel::<3>::new(FAILOVER), Tier::Quick),
        configuration!(QuorumModel::<3>::new(LOSSY), Tier::Quick),
        configuration!(QuorumModel::<3>::new(WIPED), Tier::Quick),
        configuration!(QuorumModel::<3>::new(PREVOTE), Tier::Quick),
        configuration!(QuorumModel::<3>::new(SNAPSHOT), Tier::Quick),
        configuration!(QuorumModel::<4>::new(RECONFIG), Tier::Quick),
        configuration!(QuorumModel::<3>::new(WIDE), Tier::Full),
        configuration!(QuorumModel::<3>::new(DEEP_NET_LOSS), Tier::Full),
        configuration!(QuorumModel::<3>::new(DEEP_NET_TWICE), Tier::Full),
        configuration!(QuorumModel::<3>::new(DEEP_NET_CALM), Tier::Full),
        configuration!(QuorumModel::<3>::new(DEEP_NET), Tier::Deep),
        configuration!(QuorumModel::<3>::new(PREVOTE_FULL), Tier::Full),
        configuration!(QuorumModel::<3>::new(SNAPSHOT_FULL), Tier::Full),
        configuration!(QuorumModel::<5>::new(FOUR_AND_ONE), Tier::Full),
        configuration!(QuorumModel::<5>::new(TWO_TO_COME), Tier::Full),
        configuration!(QuorumModel::<4>::new(RECONFIG_FULL), Tier::Full),
    ]
}
