//! How far an exploration has come, for whoever waits for it.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Shared between an exploration, which sets it, and a progress display, which reads it.
#[derive(Debug, Default)]
pub struct Gauge {
    states: AtomicUsize,
    depth: AtomicUsize,
}

impl Gauge {
    pub(super) fn set(&self, states: usize, depth: usize) {
        self.states.store(states, Ordering::Relaxed);
        self.depth.store(depth, Ordering::Relaxed);
    }

    /// Distinct states so far.
    pub fn states(&self) -> usize {
        self.states.load(Ordering::Relaxed)
    }

    /// Steps of the longest way that was gone so far.
    pub fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }
}
