//! The quorum model: its configurations hold, and it notices when a guard is taken out.
#![cfg(feature = "check")]

use kraft_model::check::{Budget, Fate, Mutation, Tier, models, mutations};

fn of_quorum(name: &str) -> bool {
    name.starts_with("quorum")
}

#[test]
fn every_quick_configuration_holds_to_completion_and_none_is_vacuous() {
    for configuration in models() {
        if !of_quorum(configuration.name) || configuration.tier != Tier::Quick {
            continue;
        }
        let outcome = (configuration.explore)(&Budget::default());
        println!(
            "{}: {} states, depth {}, {:.1} s",
            configuration.name, outcome.unique_states, outcome.max_depth, outcome.seconds
        );
        if let Some(story) = &outcome.violation {
            panic!("{story}");
        }
        assert!(outcome.holds(), "{outcome:?}");
    }
}

fn quorum_mutations(fate: Fate) -> impl Iterator<Item = Mutation> {
    mutations().into_iter().filter(move |m| of_quorum(m.model) && m.fate == fate)
}

#[test]
fn every_guard_that_safety_needs_is_missed_when_it_is_gone() {
    for mutation in quorum_mutations(Fate::Killed) {
        let outcome = (mutation.hunt)(&Budget::default());
        let name = mutation.guard.name();
        let Some(story) = outcome.violation else {
            panic!("{name} survives {} states of {}", outcome.unique_states, outcome.bounds)
        };
        println!(
            "{name}: '{}' breaks in {} steps, {} states, {:.1} s",
            story.property,
            story.steps.len(),
            outcome.unique_states,
            outcome.seconds
        );
        assert!(story.steps.len() < 25, "{story}");
        assert!(!story.rule.is_empty());
    }
}

#[test]
fn a_guard_of_availability_alone_is_not_missed() {
    for mutation in quorum_mutations(Fate::Survives) {
        let outcome = (mutation.hunt)(&Budget::default());
        if let Some(story) = &outcome.violation {
            panic!("{} is wrongly condemned:\n{story}", mutation.guard.name());
        }
        assert!(outcome.complete, "{outcome:?}");
    }
}

#[test]
fn a_counterexample_tells_who_did_what_and_which_rule_it_breaks() {
    let restart = quorum_mutations(Fate::Killed).find(|m| m.guard.name() == "restart-as-leader");
    let story = restart.and_then(|m| (m.hunt)(&Budget::default()).violation).map(|s| s.to_string());
    let story = story.unwrap_or_default();
    assert!(story.contains("crashes and restarts with the log"), "{story}");
    assert!(story.contains("broken: logs match"), "{story}");
    assert!(story.contains("an offset and an epoch name one record"), "{story}");
}
