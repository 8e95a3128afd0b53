//! A machine's timers on an actor's clock: one per key, replaced when set again.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, SpawnHandle};

/// The armed timers of one actor.
#[derive(Debug)]
pub struct Timers<K> {
    armed: HashMap<K, SpawnHandle>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers { armed: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash + 'static> Timers<K> {
    /// Arms `key` for `after` from now, instead of what it was armed for.
    pub fn set<A>(
        &mut self,
        context: &mut Context<A>,
        key: K,
        after: Duration,
        fire: impl FnOnce(&mut A, &mut Context<A>) + 'static,
    ) where
        A: Actor<Context = Context<A>>,
    {
        let handle = context.run_later(after, fire);
        if let Some(previous) = self.armed.insert(key, handle) {
            context.cancel_future(previous);
        }
    }

    pub fn cancel<A>(&mut self, context: &mut Context<A>, key: K)
    where
        A: Actor<Context = Context<A>>,
    {
        if let Some(handle) = self.armed.remove(&key) {
            context.cancel_future(handle);
        }
    }

    /// A timer ran out; it is armed no longer.
    pub fn fired(&mut self, key: K) {
        self.armed.remove(&key);
    }
}
