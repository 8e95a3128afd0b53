//! The abstract quorum: as many states as its specification has, and judged by the same promises.
#![cfg(feature = "check")]

use kraft_model::Guard;
use kraft_model::check::quorum_abstract::{Bounds, QuorumAbstract};
use kraft_model::check::{Mutated, counterexample, explore};

fn model(epochs: u8, records: u8, without: Option<Guard>) -> QuorumAbstract<3> {
    QuorumAbstract::new(Bounds { epochs, records, rules: Mutated(without) })
}

/// `tla/quorum_counts.py` shows that TLC counts as many; this pins the number where no Java is.
#[test]
fn the_abstract_quorum_holds_and_has_the_states_of_its_specification() {
    let outcome = explore(&model(1, 1, None));
    assert!(outcome.holds(), "{outcome:?}");
    assert_eq!(outcome.unique_states, 130_667);
}

#[test]
fn the_abstract_quorum_notices_that_a_guard_is_gone() {
    for (guard, epochs) in
        [(Guard::SkipLogUpToDate, 2), (Guard::VoteTwice, 1), (Guard::IgnoreDivergence, 2)]
    {
        assert!(counterexample(&model(epochs, 0, Some(guard))).is_some(), "{guard:?}");
    }
}
