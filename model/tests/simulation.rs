//! The simulator: whole clusters hold under faults, and it notices what it must.
#![cfg(feature = "check")]

use kraft_model::check::Mutated;
use kraft_model::sim::{Fault, FaultCounts, Setup, hunt, run, seed_of, shrink};
use kraft_model::{Guard, Shipped};

const SEEDS: u64 = 120;
const STEPS: u64 = 6_000;

#[test]
fn clusters_keep_their_promises_under_faults_and_recover_from_them() {
    let mut faults = FaultCounts::default();
    let (mut acknowledged, mut shown) = (0, 0);
    for seed in 0..SEEDS {
        let outcome = run(&Setup::new(seed, STEPS), Shipped);
        if let Some(broken) = &outcome.broken {
            panic!(
                "seed {seed}: {} ({}); kraft sim --seed {seed} --steps {STEPS}",
                broken.property, broken.how
            );
        }
        assert!(outcome.steps >= STEPS && outcome.committed > 0, "seed {seed} did nothing");
        faults.add(&outcome.faults);
        acknowledged += outcome.acknowledged;
        shown += outcome.shown;
    }
    for &fault in Fault::ALL {
        assert!(faults.of(fault) > 0, "{} never happened", fault.name());
    }
    assert!(acknowledged > 10 * SEEDS && shown > 10 * SEEDS, "{acknowledged}, {shown}");
}

#[test]
fn a_seed_is_the_same_run_every_time_and_another_seed_another() {
    let digest = |seed| run(&Setup::new(seed, 3_000), Shipped).digest;
    for seed in 0..8 {
        assert_eq!(digest(seed), digest(seed));
        assert_ne!(digest(seed), digest(seed + 100));
    }
    let told = Setup { is_told: true, ..Setup::new(3, 3_000) };
    let outcome = run(&told, Shipped);
    assert_eq!(outcome.digest, digest(3), "telling a run changes nothing of it");
    assert!(!outcome.tale.is_empty());
}

/// A few of each family that fall within seconds; `kraft sim --mutate all` hunts the rest.
#[test]
fn a_guard_that_is_gone_is_missed() {
    let guards = [
        Guard::SkipLogUpToDate,
        Guard::CountUnflushed,
        Guard::VoteTwice,
        Guard::FencedJoinsIsr,
        Guard::HwUnderMinIsr,
        Guard::JoinBelowHighWatermark,
        Guard::TruncateToHighWatermark,
        Guard::SkipSequenceCheck,
        Guard::ElectAnyReplica,
    ];
    for guard in guards {
        let hunt = hunt(guard, 0, STEPS, |seeds| seeds < 500);
        assert!(hunt.found.is_some(), "{} survives {} seeds", guard.name(), hunt.seeds);
    }
}

#[test]
fn a_failing_seed_shrinks_to_a_shorter_run_that_fails_alike() {
    let guard = Guard::HwUnderMinIsr;
    let rules = Mutated(Some(guard));
    let found = hunt(guard, 0, STEPS, |seeds| seeds < 500).found.expect("the guard is missed");
    let setup = seed_of(guard, found.seed, STEPS);
    let shrunk = shrink(&setup, rules, 60).expect("it fails");
    let property =
        |outcome: &kraft_model::sim::Outcome| outcome.broken.as_ref().map(|it| it.property);
    assert_eq!(property(&shrunk.outcome), property(&found));
    let without = &shrunk.setup.without;
    assert!(shrunk.outcome.steps <= found.steps);
    assert!(!without.kinds.is_empty() || !without.strikes.is_empty(), "nothing was left out");
    assert_eq!(run(&shrunk.setup, rules).digest, shrunk.outcome.digest);
    assert!(shrunk.outcome.tale.last().is_some_and(|line| line.contains("broken")));
}
