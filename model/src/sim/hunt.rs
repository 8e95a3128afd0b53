//! Seeded bugs: with one guard gone, some seed must show it.

use crate::check::{Fate, Mutated};
use crate::{Guard, Shipped};

use super::{Aim, Outcome, Setup, run};

/// What became of one guard's removal.
#[derive(Clone, Debug)]
pub struct Hunt {
    pub guard: Guard,
    /// Seeds that were run, the last of which found it if one did.
    pub seeds: u64,
    pub steps: u64,
    pub found: Option<Outcome>,
}

/// What a guard's seeds are drawn for, three times of four: where the one thing happens often that
/// shows its removal.
fn aim_of(guard: Guard) -> Aim {
    use Guard::*;
    match guard {
        CommitOldEpoch | HwAtEpochStart | CompareLogMemberwise | StaleVoteCounts
        | RestartAsCandidate | TruncateThenAppend => Aim::Elections,
        VoteBeforeDurable
        | SkipLogUpToDate
        | RestartAsLeader
        | CountUnflushed
        | AckOwnEnd
        | CommitOnNack
        | MajorityIsHalf
        | PrevoteIsVote
        | PrevoteUnderLiveLeader
        | SnapshotOffByOne
        | DropPrevote
        | DropEndQuorum
        | IgnoreDivergence
        | HwFromDivergence
        | HwBeyondOwnEnd
        | HwFalls
        | VoteTwice => Aim::Quorum,
        CountRemovedLeader
        | ReconfigureBeforeCommit
        | TwoUncommittedVoterSets
        | VotersOnCommit
        | VotersSurviveTruncation
        | AddBeforeCaughtUp
        | RemovedLeaderLeads
        | DropCheckQuorum => Aim::Voters,
        VoterWithoutDirectory => Aim::Disks,
        TrustCheckpoint => Aim::Truncations,
        TwoMinIsrs | CancelBelowMinIsr => Aim::Moves,
        UncleanKeepsElr | ElectDeadLastLeader | ElrOutsideReplicas | ReassignBelowMinIsr
        | UnfenceAtOnce | ElectAnyReplica | FencedJoinsIsr | StopWhileLeading
        | UnregisterKeepsIsr | TopicNameTwice | NewEpochSameProcess => Aim::Metadata,
        KeepFollowerState | StaleAlterPartition | RefuseWithoutTrace | BumpOnShrink
        | SkipLeaderEpoch => Aim::Leaders,
        AnyBrokerEpochJoins | ViewWithoutRegistration => Aim::Restarts,
        RefuseBeginInside => Aim::Wide,
        _ => Aim::Partitions,
    }
}

/// What must become of a guard's removal; `None` would say that a simulation cannot tell, and there is
/// no such guard now.
pub fn fate_of(guard: Guard) -> Option<Fate> {
    use Guard::*;
    Some(match guard {
        // Followers find out by themselves, later.
        DropEndQuorum => Fate::Survives,
        // A voter that is far behind delays commits, and its majority is a majority all the same.
        AddBeforeCaughtUp => Fate::Survives,
        // It leads by the votes of others, none of which is its own.
        RemovedLeaderLeads => Fate::Survives,
        // The broker itself acts on no metadata from before its registration (L6).
        UnfenceAtOnce => Fate::Survives,
        // Another registration of a process costs it nothing but a round of asking.
        NewEpochSameProcess => Fate::Survives,
        // One more leader epoch than is needed.
        BumpOnShrink => Fate::Survives,
        _ => Fate::Killed,
    })
}

/// The setup of a hunt's seed; also that of a replay.
pub fn seed_of(guard: Guard, seed: u64, steps: u64) -> Setup {
    let aim = if seed.is_multiple_of(4) { Aim::Wide } else { aim_of(guard) };
    Setup { aim, ..Setup::new(seed, steps) }
}

/// Runs a setup without a guard. What breaks under the shipped rules as well says nothing about the
/// guard, and convicts nobody: the second outcome is then theirs.
pub fn try_without(guard: Guard, setup: &Setup) -> (Outcome, Option<Outcome>) {
    let outcome = run(setup, Mutated(Some(guard)));
    let shipped = outcome.broken.is_some().then(|| run(setup, Shipped));
    (outcome, shipped.filter(|shipped| shipped.broken.is_some()))
}

/// Runs seeds without the guard until one breaks a promise that the shipped rules keep, or `go_on`
/// says that it is enough.
pub fn hunt(guard: Guard, first: u64, steps: u64, mut go_on: impl FnMut(u64) -> bool) -> Hunt {
    let mut hunt = Hunt { guard, seeds: 0, steps: 0, found: None };
    while hunt.found.is_none() && go_on(hunt.seeds) {
        let setup = seed_of(guard, first + hunt.seeds, steps);
        let (outcome, shipped) = try_without(guard, &setup);
        hunt.seeds += 1;
        hunt.steps += outcome.steps;
        hunt.found = (outcome.broken.is_some() && shipped.is_none()).then_some(outcome);
    }
    hunt
}
