//! The configurations of the `quorum` model that must hold, and those aimed at mutations.

use super::{Bounds, Delivery, QuorumModel};
use crate::Guard;
use crate::check::{
    Checked, Configuration, Fate, Mutated, Mutation, Tier, explore_within, hunt_within,
};

/// Nothing goes wrong but that time passes.
const CALM: Bounds = Bounds {
    name: "quorum",
    rules: Mutated(None),
    epochs: 2,
    records: 1,
    crashes: 0,
    timeouts: 2,
    breaks: 0,
    peers_gone: 0,
    resigns: 0,
    losses: 0,
    duplicates: 0,
    snapshots: 0,
    partitions: 0,
    adds: 0,
    removes: 0,
    wipes: 0,
    observers: None,
    prologue: &[],
    candidates: u8::MAX,
    delivery: Delivery::RequestsAtOnce,
    symmetric: false,
    judges_stability: false,
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

/// Three reigns, one of which may end by a resignation.
const FAILOVER: Bounds =
    Bounds { name: "quorum-failover", epochs: 3, records: 2, timeouts: 3, resigns: 1, ..CALM };

/// The crash again, with more elections around it.
const CRASH_FULL: Bounds =
    Bounds { name: "quorum-crash", epochs: 3, records: 2, timeouts: 3, crashes: 1, ..CALM };

macro_rules! configuration {
    ($tier:ident, $bounds:expr) => {{
        const BOUNDS: Bounds = $bounds;
        Configuration {
            name: BOUNDS.name,
            tier: Tier::$tier,
            bounds: || QuorumModel::<3>::new(BOUNDS).bounds(),
            explore: |budget| explore_within(&QuorumModel::<3>::new(BOUNDS), budget),
        }
    }};
}

pub(in crate::check) fn models() -> Vec<Configuration> {
    vec![
        configuration!(Quick, CRASH),
        configuration!(Quick, IN_ORDER),
        configuration!(Quick, ANY_ORDER),
        configuration!(Quick, FAILOVER),
        configuration!(Full, CRASH_FULL),
    ]
}

macro_rules! mutation {
    ($guard:ident is killed by $bounds:expr) => {
        mutation!($guard, Killed, hunt_within, $bounds)
    };
    ($guard:ident survives $bounds:expr) => {
        mutation!($guard, Survives, explore_within, $bounds)
    };
    ($guard:ident, $fate:ident, $search:ident, $bounds:expr) => {{
        const BOUNDS: Bounds = Bounds { rules: Mutated(Some(Guard::$guard)), ..$bounds };
        Mutation {
            guard: Guard::$guard,
            fate: Fate::$fate,
            model: BOUNDS.name,
            bounds: || QuorumModel::<3>::new(BOUNDS).bounds(),
            hunt: |budget| $search(&QuorumModel::<3>::new(BOUNDS), budget),
        }
    }};
}

/// Raft's figure 8: the first leader returns in the third epoch and commits its old record, and
/// the second returns in the fourth and overwrites it.
const FIGURE_8: Bounds = Bounds { epochs: 4, records: 0, timeouts: 4, ..CALM };

/// Two candidates of one epoch, whose requests cross.
const RIVALS: Bounds = Bounds { epochs: 1, records: 0, delivery: Delivery::InOrder, ..CALM };

pub(in crate::check) fn mutations() -> Vec<Mutation> {
    vec![
        mutation!(VoteBeforeDurable is killed by Bounds { crashes: 1, ..RIVALS }),
        mutation!(VoteTwice is killed by RIVALS),
        mutation!(SkipLogUpToDate is killed by CALM),
        mutation!(CommitOldEpoch is killed by FIGURE_8),
        mutation!(HwAtEpochStart is killed by FIGURE_8),
        mutation!(RestartAsLeader is killed by Bounds { crashes: 1, ..CALM }),
        mutation!(CountUnflushed is killed by Bounds { crashes: 1, ..CALM }),
        mutation!(CommitOnNack is killed by Bounds { timeouts: 3, ..CALM }),
        mutation!(IgnoreDivergence is killed by Bounds { timeouts: 3, ..CALM }),
        mutation!(MajorityIsHalf is killed by CALM),
        mutation!(PrevoteIsVote is killed by CALM),
        mutation!(DropPrevote survives CALM),
        mutation!(DropCheckQuorum survives CALM),
        mutation!(DropEndQuorum survives Bounds { resigns: 1, ..CALM }),
    ]
}
