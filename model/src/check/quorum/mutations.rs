//! For every guard of the quorum the configuration that is aimed at it: the smallest that was found
//! to notice when the guard is gone, or one that explores to completion and must not mind.

use super::suite::{CALM, PREVOTE, RECONFIG, SNAPSHOT, WIPED};
use super::{Action, Bounds, Delivery, QuorumModel, Reductions};
use crate::Guard;
use crate::check::{Fate, Mutated, Mutation, explore_within, hunt_within, subject};
use crate::raft::{Patience, Timer};

macro_rules! mutation {
    ($guard:ident is killed by $bounds:expr) => {
        mutation!($guard is killed among 3 by $bounds)
    };
    ($guard:ident is killed among $nodes:literal by $bounds:expr) => {
        mutation!($guard, Killed, hunt_within, $nodes, $bounds)
    };
    ($guard:ident survives $bounds:expr) => {
        mutation!($guard survives among 3 in $bounds)
    };
    ($guard:ident survives among $nodes:literal in $bounds:expr) => {
        mutation!($guard, Survives, explore_within, $nodes, $bounds)
    };
    ($guard:ident, $fate:ident, $search:ident, $nodes:literal, $bounds:expr) => {{
        const BOUNDS: Bounds = Bounds { rules: Mutated(Some(Guard::$guard)), ..$bounds };
        Mutation {
            guard: Guard::$guard,
            fate: Fate::$fate,
            model: BOUNDS.name,
            subject: subject!(QuorumModel::<$nodes>::new(BOUNDS)),
            hunt: |budget| $search(&QuorumModel::<$nodes>::new(BOUNDS), budget),
        }
    }};
}

/// Raft's figure 8: the first leader returns in the third epoch and commits its old record, and
/// the second returns in the fourth and overwrites it.
const FIGURE_8: Bounds = Bounds { epochs: 4, records: 0, timeouts: 4, ..CALM };

/// Two candidates of one epoch, whose requests cross.
const RIVALS: Bounds = Bounds { epochs: 1, records: 0, delivery: Delivery::InOrder, ..CALM };

/// Three reigns, so that logs can part and meet again.
const THREE_REIGNS: Bounds = Bounds { epochs: 3, timeouts: 3, ..CALM };

/// A vote of one epoch that is late for the next. It is no dead answer without the guard.
const LATE_VOTE: Bounds = Bounds {
    records: 0,
    timeouts: 3,
    delivery: Delivery::InOrder,
    reductions: Reductions { dead_answers: false, ..Reductions::ALL },
    ..CALM
};

const ELECTION: Timer = Timer::Election(Patience::Full);

/// Four voters and a fifth to come. The first leader has added it, on its own disk and the new
/// voter's alone; the second leads the next epoch by the voters of before, of whom nobody has
/// fetched from it yet.
pub(super) const FOUR_AND_ONE: Bounds = Bounds {
    name: "quorum-reconfig-4+1",
    epochs: 3,
    timeouts: 1,
    adds: 0,
    removes: 1,
    prologue: &[
        Action::Timeout(0, ELECTION),
        Action::Settle,
        Action::Ask { at: 4, place: 0 },
        Action::Settle,
        Action::Add { at: 0, voter: 4 },
        Action::Deliver { from: 0, to: 4, at: 0 },
        Action::PeerGone { at: 1, gone: 0 },
        Action::PeerGone { at: 2, gone: 0 },
        Action::PeerGone { at: 3, gone: 0 },
        Action::Timeout(1, ELECTION),
        Action::Deliver { from: 2, to: 1, at: 0 },
        Action::Deliver { from: 3, to: 1, at: 0 },
        Action::Deliver { from: 2, to: 1, at: 0 },
        Action::Deliver { from: 3, to: 1, at: 0 },
    ],
    candidates: 0b00001,
    ..RECONFIG
};

/// Three voters and two to come, both of whom follow. What comes of two sets shall be seen, not
/// that there are two.
pub(super) const THREE_AND_TWO: Bounds = Bounds {
    name: "quorum-reconfig-3+2",
    epochs: 2,
    adds: 2,
    removes: 0,
    peers_gone: 1,
    observers: Some(2),
    prologue: &[
        Action::Timeout(0, ELECTION),
        Action::Settle,
        Action::Ask { at: 3, place: 0 },
        Action::Ask { at: 4, place: 0 },
        Action::Settle,
    ],
    candidates: 0b00010,
    judges_voter_sets: false,
    ..RECONFIG
};

/// One voter is removed, perhaps the leader.
const REMOVAL: Bounds = Bounds { adds: 0, records: 1, ..RECONFIG };

/// The first leader works, and a second takes back what voters it names.
const TAKEN_BACK: Bounds = Bounds {
    adds: 0,
    epochs: 2,
    prologue: &[Action::Timeout(0, ELECTION), Action::Settle],
    peers_gone: 1,
    candidates: 0b00010,
    ..RECONFIG
};

pub(in crate::check) fn mutations() -> Vec<Mutation> {
    let mut all = of_elections();
    all.extend(of_the_log());
    all.extend(of_voters());
    all
}

fn of_elections() -> Vec<Mutation> {
    vec![
        mutation!(VoteBeforeDurable is killed by Bounds { crashes: 1, ..RIVALS }),
        mutation!(VoteTwice is killed by RIVALS),
        mutation!(SkipLogUpToDate is killed by CALM),
        mutation!(CompareLogMemberwise is killed by Bounds { records: 2, judges_electability: true, ..CALM }),
        mutation!(StaleVoteCounts is killed by LATE_VOTE),
        mutation!(MajorityIsHalf is killed by CALM),
        mutation!(PrevoteIsVote is killed by CALM),
        mutation!(PrevoteUnderLiveLeader is killed by PREVOTE),
        mutation!(RestartAsLeader is killed by Bounds { crashes: 1, ..CALM }),
        mutation!(RestartAsCandidate is killed by Bounds { crashes: 1, ..CALM }),
        mutation!(DropPrevote survives Bounds { crashes: 1, ..CALM }),
        mutation!(DropPrevote is killed by PREVOTE),
        mutation!(DropCheckQuorum survives Bounds { crashes: 1, ..CALM }),
        mutation!(DropEndQuorum survives Bounds { crashes: 1, resigns: 1, ..CALM }),
    ]
}

fn of_the_log() -> Vec<Mutation> {
    vec![
        mutation!(CommitOldEpoch is killed by FIGURE_8),
        mutation!(HwAtEpochStart is killed by FIGURE_8),
        mutation!(CountUnflushed is killed by Bounds { crashes: 1, ..CALM }),
        mutation!(AckOwnEnd is killed by CALM),
        mutation!(CommitOnNack is killed by CALM),
        mutation!(IgnoreDivergence is killed by CALM),
        mutation!(TruncateThenAppend is killed by THREE_REIGNS),
        mutation!(HwFromDivergence is killed by Bounds { records: 0, ..THREE_REIGNS }),
        mutation!(HwBeyondOwnEnd is killed by Bounds { epochs: 1, ..CALM }),
        mutation!(HwFalls is killed by CALM),
        mutation!(SnapshotOffByOne is killed by SNAPSHOT),
    ]
}

fn of_voters() -> Vec<Mutation> {
    vec![
        mutation!(VoterWithoutDirectory is killed by WIPED),
        mutation!(CountRemovedLeader is killed among 4 by REMOVAL),
        mutation!(TwoUncommittedVoterSets is killed among 5 by THREE_AND_TWO),
        mutation!(ReconfigureBeforeCommit is killed among 5 by FOUR_AND_ONE),
        mutation!(VotersOnCommit is killed among 4 by RECONFIG),
        mutation!(VotersSurviveTruncation is killed among 4 by TAKEN_BACK),
        mutation!(AddBeforeCaughtUp survives among 4 in RECONFIG),
        mutation!(RemovedLeaderLeads survives among 4 in RECONFIG),
    ]
}
