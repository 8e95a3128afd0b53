//! Many recordings as one story: all entries of all nodes in the order of time.

use super::{Recorded, Replay, Replayed, RunError};
use crate::{Rules, Shipped};

/// The entries of several recordings, from one machine with one monotonic clock, in the order in
/// which they happened. An entry that was caused by another node's comes after it: a step is
/// stamped before anything that it says can leave.
#[derive(Clone, Debug)]
pub struct Merged<R = Shipped> {
    /// Each with its next entry.
    replays: Vec<(Replay<R>, Option<Next<R>>)>,
}

type Next<R> = Result<Replayed<R>, RunError>;

impl Merged<Shipped> {
    /// With the rules as shipped.
    pub fn new(recordings: impl IntoIterator<Item = Recorded>) -> Merged<Shipped> {
        Merged::with_rules(recordings, Shipped)
    }
}

impl<R: Rules> Merged<R> {
    pub fn with_rules(recordings: impl IntoIterator<Item = Recorded>, rules: R) -> Merged<R> {
        let replays = recordings.into_iter().map(|recorded| {
            let mut replay = Replay::with_rules(recorded, rules);
            let first = replay.next();
            (replay, first)
        });
        Merged { replays: replays.collect() }
    }

    /// The recordings as far as they were run; each is one entry ahead of what was handed out.
    pub fn replays(&self) -> impl Iterator<Item = &Replay<R>> {
        self.replays.iter().map(|(replay, _)| replay)
    }
}

impl<R: Rules> Iterator for Merged<R> {
    type Item = Next<R>;

    fn next(&mut self) -> Option<Self::Item> {
        // Damage comes first: what lies behind it has no time.
        let time = |next: &Option<Next<R>>| match next {
            Some(Ok(replayed)) => Some(replayed.at),
            Some(Err(_)) => Some(0),
            None => None,
        };
        let due = self.replays.iter_mut().filter(|(_, next)| next.is_some());
        let (replay, next) = due.min_by_key(|(_, next)| time(next))?;
        let found = next.take();
        *next = replay.next();
        found
    }
}
