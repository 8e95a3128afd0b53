//! A counterexample that was kept, walked again: the same steps by the machines as they are now.

use stateright::Path;

use super::search::broken;
use super::{Checked, Step};

/// What became of the steps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// Those that could be taken, told as the machines take them now.
    pub steps: Vec<Step>,
    pub end: End,
    /// Where stateright's Explorer shows the last state, behind its address.
    pub page: String,
}

/// Where the steps lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// A promise does not hold in the last state; what it means, in words.
    Broken { property: &'static str, rule: &'static str },
    /// All steps were taken, and every promise holds.
    Holds,
    /// The model knows no such step in the state that the others led to.
    Impossible,
}

/// Takes the steps that have these actions, as [`Step::action`] writes them, from the first start
/// of `model` that allows the most of them.
pub fn replay<M: Checked>(model: &M, actions: &[String]) -> Replayed {
    let walks = model.init_states().into_iter().map(|start| walk(model, start, actions));
    // Of equals the first: `max_by_key` would take the last.
    let longest = walks.reduce(|one, other| if other.1.len() > one.1.len() { other } else { one });
    let (start, taken) = longest.expect("a model has a start");
    let mut state = start.clone();
    let mut steps = Vec::with_capacity(taken.len());
    for action in &taken {
        let Some(after) = model.next_state(&state, action.clone()) else { break };
        let text = model.describe_step(&state, action, &after);
        steps.push(Step { action: format!("{action:?}"), text });
        state = after;
    }
    let end = match broken(model, &state) {
        _ if taken.len() < actions.len() => End::Impossible,
        Some(property) => End::Broken { property, rule: model.rule_of(property) },
        None => End::Holds,
    };
    let path = Path::from_actions(model, start, &taken).map(|path| path.encode(model));
    let page = format!("/#/steps/{}", path.unwrap_or_default());
    Replayed { steps, end, page }
}

/// The actions that can be taken from `start` on, up to the first that cannot.
fn walk<M: Checked>(model: &M, start: M::State, wanted: &[String]) -> (M::State, Vec<M::Action>) {
    let mut taken = Vec::new();
    let mut state = start.clone();
    for wanted in wanted {
        let mut actions = Vec::new();
        model.actions(&state, &mut actions);
        let found = actions.into_iter().find(|action| format!("{action:?}") == *wanted);
        let Some(action) = found else { break };
        let Some(after) = model.next_state(&state, action.clone()) else { break };
        taken.push(action);
        state = after;
    }
    (start, taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Guard;
    use crate::check::{Budget, Mutation, mutations};

    fn judge() -> Mutation {
        let found = mutations().into_iter().find(|it| it.guard == Guard::JoinBelowHighWatermark);
        found.expect("the guard has a judge")
    }

    #[test]
    fn a_counterexample_breaks_the_same_promise_again() {
        let story = (judge().hunt)(&Budget::default()).violation.expect("the mutation is caught");
        let actions: Vec<_> = story.steps.iter().map(|step| step.action.clone()).collect();
        let again = (judge().subject.replay)(&actions);
        assert_eq!(again.steps, story.steps);
        assert_eq!(again.end, End::Broken { property: story.property, rule: story.rule });
        // A page of the Explorer names the start and every step by its place among the possible ones.
        let places = again.page.rsplit("/#/steps/").next().unwrap_or_default().split('/');
        assert_eq!(places.count(), actions.len() + 1);

        let shorter = (judge().subject.replay)(&actions[..actions.len() - 1]);
        assert_eq!(shorter.end, End::Holds);
    }

    #[test]
    fn a_step_that_does_not_exist_ends_the_walk() {
        let lost = (judge().subject.replay)(&["Sing".to_owned()]);
        assert_eq!((lost.steps.len(), lost.end), (0, End::Impossible));
    }
}
