//! When each follower's fetchers were last heard, by this broker as a whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kraft_model::NodeId;

/// Shared by the router, which hears, and the shards, which ask.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<HashMap<NodeId, Instant>>>);

impl Heard {
    /// `peer` has fetched, or is only now expected to: its silence is counted from `now` on.
    pub fn note(&self, peer: NodeId, now: Instant) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.insert(peer, now);
    }

    /// Who has been silent for `limit`.
    pub fn silent(&self, now: Instant, limit: Duration) -> Vec<NodeId> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_silent = |at: &Instant| now.saturating_duration_since(*at) >= limit;
        heard.iter().filter(|(_, at)| is_silent(at)).map(|(&peer, _)| peer).collect()
    }
}
