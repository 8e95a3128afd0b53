//! That the reductions hide nothing: the same bounds, small ones, with and without each.

use std::collections::BTreeSet;

use stateright::Model;

use super::state::{History, State};
use super::suite::CALM;
use super::turn::Turn;
use super::{Bounds, Delivery, QuorumModel, Reductions};
use crate::Guard;
use crate::check::{Budget, Mutated, explore, hunt_within};

const SMALL: Bounds = Bounds { epochs: 1, records: 0, ..CALM };

/// A crash while votes and requests are under way in order.
const CRASH: Bounds = Bounds { crashes: 1, timeouts: 1, delivery: Delivery::InOrder, ..SMALL };

fn with(reductions: Reductions, bounds: Bounds) -> QuorumModel<3> {
    QuorumModel::new(Bounds { reductions, ..bounds })
}

/// Every state within the bounds.
fn visit(model: &QuorumModel<3>) -> BTreeSet<State<3>> {
    let mut seen: BTreeSet<_> = model.init_states().into_iter().collect();
    let mut waiting: Vec<_> = seen.iter().copied().collect();
    let mut actions = Vec::new();
    while let Some(state) = waiting.pop() {
        model.actions(&state, &mut actions);
        let next = actions.drain(..).filter_map(|action| model.next_state(&state, action));
        let next = next.filter(|state| model.within_boundary(state));
        waiting.extend(next.filter(|&state| seen.insert(state)));
    }
    seen
}

fn every_renaming() -> impl Iterator<Item = [usize; 3]> {
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].into_iter()
}

#[test]
fn a_renaming_takes_reachable_states_to_reachable_ones_and_one_of_each_is_visited() {
    let bounds = Bounds { epochs: 2, records: 1, ..SMALL };
    let all = visit(&with(Reductions { symmetry: false, ..Reductions::ALL }, bounds));
    let mut representatives = BTreeSet::new();
    for state in &all {
        let representative = state.representative();
        representatives.insert(representative);
        for places in every_renaming() {
            let renamed = state.renamed(&places);
            assert!(all.contains(&renamed), "{state:?} as {places:?}");
            assert_eq!(renamed.representative(), representative, "{state:?} as {places:?}");
        }
    }
    let visited = explore(&with(Reductions::ALL, bounds)).unique_states;
    assert_eq!(visited, representatives.len());
    assert!(all.len() > 5 * visited, "{} states, {visited} of them different", all.len());
}

#[test]
fn dead_answers_change_nothing() {
    let bounds = Bounds { epochs: 2, ..SMALL };
    let few = Reductions { symmetry: false, ..Reductions::ALL };
    let reduced = with(few, bounds);
    let all = visit(&with(Reductions { dead_answers: false, ..few }, bounds));
    let without_dead = all.iter().map(|state| {
        let mut state = *state;
        Turn::new(&mut state, &reduced).drop_dead();
        state
    });
    let without_dead: BTreeSet<_> = without_dead.collect();
    assert!(without_dead.len() < all.len());
    let never_there = visit(&reduced);
    let missing = without_dead.symmetric_difference(&never_there).next();
    assert!(missing.is_none(), "{} and {}: {missing:?}", without_dead.len(), never_there.len());
}

#[test]
fn what_happens_while_a_node_stores_could_have_happened_before_or_after() {
    let few = Reductions { symmetry: false, ..Reductions::ALL };
    let at_rest = |reductions| -> BTreeSet<_> {
        let all = visit(&with(reductions, CRASH)).into_iter();
        all.filter(|state| state.nodes.iter().all(|node| node.file.pending.is_none())).collect()
    };
    let excluding = at_rest(few);
    let interleaved = at_rest(Reductions { storing_excludes: false, ..few });
    assert!(excluding.is_subset(&interleaved));
    let missing: Vec<_> = interleaved.difference(&excluding).take(1).collect();
    assert!(missing.is_empty(), "{} and {}: {missing:?}", excluding.len(), interleaved.len());
}

#[test]
fn a_slow_disk_without_a_crash_to_come_makes_no_other_history() {
    let calm = Bounds { crashes: 0, ..CRASH };
    let few = Reductions { symmetry: false, ..Reductions::ALL };
    let histories = |reductions| -> BTreeSet<History> {
        visit(&with(reductions, calm)).into_iter().map(|state| state.history).collect()
    };
    let quick = histories(few);
    assert!(quick == histories(Reductions { quick_disks: false, ..few }));
    assert!(quick.len() > 5, "{}", quick.len());
}

#[test]
fn the_verdicts_are_the_same_without_any_reduction() {
    let two_reigns = Bounds { epochs: 2, ..SMALL };
    let rivals = Bounds { delivery: Delivery::InOrder, ..SMALL };
    let cases = [
        (None, SMALL),
        (Some(Guard::SkipLogUpToDate), two_reigns),
        (Some(Guard::CommitOnNack), Bounds { records: 1, ..two_reigns }),
        (Some(Guard::PrevoteIsVote), two_reigns),
        (Some(Guard::MajorityIsHalf), SMALL),
        (Some(Guard::VoteTwice), rivals),
        (Some(Guard::VoteBeforeDurable), Bounds { crashes: 1, ..rivals }),
    ];
    for (guard, bounds) in cases {
        let bounds = Bounds { rules: Mutated(guard), ..bounds };
        let verdict = |reductions| {
            let found = hunt_within(&with(reductions, bounds), &Budget::default());
            assert!(found.complete || found.violation.is_some());
            found.violation.map(|story| story.property)
        };
        assert_eq!(verdict(Reductions::ALL).is_some(), guard.is_some(), "{guard:?}");
        assert_eq!(verdict(Reductions::NONE).is_some(), guard.is_some(), "{guard:?}");
    }
}
