//! Counting a model's states as a specification sees them.
//!
//! A [`Projected`] model says what each of its states is in the variables of a TLA+ specification
//! of the same protocol, field by field. If both are right, the projections of all reachable states
//! are the reachable states of the specification, so their number and the depth at which the last
//! of them is found must be equal: that two independent searches, over two independently
//! written sets of rules, agree on millions of states is evidence about both.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::fingerprints::Fingerprints;
use super::{Checked, Value};

/// A model whose states mean states of a specification.
pub trait Projected: Checked {
    /// The specification's variables in this state, by name.
    fn project(&self, state: &Self::State) -> Vec<(&'static str, Value)>;
}

/// What a count came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Count {
    /// States of the model itself.
    pub states: usize,
    /// Different projections.
    pub projections: usize,
    /// States on the longest of the shortest ways to a projection, as TLC counts depth.
    pub depth: usize,
}

/// Visits every state of `model`, level by level, and counts its projections. Each is told to
/// `meet` when it is first seen.
pub fn count<M: Projected>(model: &M, mut meet: impl FnMut(&[(&'static str, Value)])) -> Count {
    let mut seen = Fingerprints::new();
    let mut projections = HashSet::new();
    let mut count = Count { states: 0, projections: 0, depth: 0 };
    let mut level = model.init_states();
    level.iter().for_each(|state| {
        seen.insert(fingerprint(state, 0));
    });
    let mut depth = 0;
    while !level.is_empty() {
        depth += 1;
        count.states += level.len();
        for state in &level {
            let projection = model.project(state);
            if projections.insert((fingerprint(&projection, 1), fingerprint(&projection, 2))) {
                count.depth = depth;
                meet(&projection);
            }
        }
        level = successors(model, &level, &mut seen);
    }
    count.projections = projections.len();
    count
}

fn successors<M: Checked>(model: &M, level: &[M::State], seen: &mut Fingerprints) -> Vec<M::State> {
    let mut next = Vec::new();
    let mut actions = Vec::new();
    for state in level {
        model.actions(state, &mut actions);
        let after = actions.drain(..).filter_map(|action| model.next_state(state, action));
        next.extend(
            after
                .filter(|after| model.within_boundary(after) && seen.insert(fingerprint(after, 0))),
        );
    }
    next
}

/// Two of these, with different salts, make 128 bits.
fn fingerprint(value: &impl Hash, salt: u8) -> u64 {
    let mut hasher = DefaultHasher::new();
    salt.hash(&mut hasher);
    value.hash(&mut hasher);
    hasher.finish()
}
