//! A leader's side, before the shards: which sessions exist, and which shard each position is for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use kraft_model::{NodeId, TopicPartition};

use super::heard::Heard;
use super::session::{SessionKey, SessionPart};
use crate::limits::FETCHERS_PER_PEER;
use crate::peer::ReplicaFetch;

/// Shared by all links. It knows no positions, only how far each session has counted.
pub(crate) struct Router {
    heard: Heard,
    /// The sequence that is expected next.
    sessions: Mutex<HashMap<SessionKey, u64>>,
}

/// What to do with a follower's request.
pub(crate) enum Routed {
    /// One part for each shard in order; `None`: it has nothing to hear.
    Parts(Vec<Option<SessionPart>>),
    /// The request belongs to no session that is known: tell the follower.
    Unknown,
}

impl Router {
    pub fn new(heard: Heard) -> Router {
        Router { heard, sessions: Mutex::default() }
    }

    /// Splits a request of `peer` into parts for `shards` shards; `shard_of` names the one that a
    /// partition lives on.
    pub fn route(
        &self,
        peer: NodeId,
        request: ReplicaFetch,
        shards: usize,
        shard_of: impl Fn(TopicPartition) -> usize,
    ) -> Routed {
        let key = SessionKey { peer, fetcher: request.fetcher };
        if !self.advance(key, request.sequence) {
            return Routed::Unknown;
        }
        self.heard.note(peer, Instant::now());
        let begins = request.sequence == 0;
        let part = || SessionPart {
            key,
            sequence: request.sequence,
            begins,
            broker_epoch: request.broker_epoch,
            max_bytes: request.max_bytes,
            partitions: Vec::new(),
            forgotten: Vec::new(),
        };
        // A session that begins ends its predecessor on every shard.
        let mut parts: Vec<_> = (0..shards).map(|_| begins.then(part)).collect();
        for fetch in request.partitions {
            parts[shard_of(fetch.id)].get_or_insert_with(part).partitions.push(fetch);
        }
        for id in request.forgotten {
            parts[shard_of(id)].get_or_insert_with(part).forgotten.push(id);
        }
        Routed::Parts(parts)
    }

    /// The link to `peer` is gone, and all its sessions with it.
    pub fn link_down(&self, peer: NodeId) {
        self.lock().retain(|key, _| key.peer != peer);
    }

    /// Part of a request could not be handed on: the session has a hole and must begin anew.
    pub fn end(&self, peer: NodeId, fetcher: u32) {
        self.lock().remove(&SessionKey { peer, fetcher });
    }

    fn advance(&self, key: SessionKey, sequence: u64) -> bool {
        let mut sessions = self.lock();
        if sequence == 0 {
            let of_peer = sessions.keys().filter(|known| known.peer == key.peer).count();
            if of_peer >= FETCHERS_PER_PEER && !sessions.contains_key(&key) {
                return false;
            }
            sessions.insert(key, 1);
            return true;
        }
        match sessions.get_mut(&key) {
            Some(expected) if *expected == sequence => {
                *expected += 1;
                true
            }
            _ => {
                sessions.remove(&key);
                false
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionKey, u64>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
