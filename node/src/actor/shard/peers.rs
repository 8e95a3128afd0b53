//! What other brokers say, on its way to the shards.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};

use kraft_model::NodeId;

use super::command::Command;
use super::partitions::Partitions;
use crate::actor::replication::Routed;
use crate::peer::{LinkId, Message, PartitionFetch, ReplicaFetch, ReplicaFetched};

impl Partitions {
    /// A follower's request came from `peer`.
    pub fn on_replica_fetch(&self, peer: NodeId, request: ReplicaFetch) {
        let (fetcher, sequence) = (request.fetcher, request.sequence);
        let shards = &self.0.shards;
        let of = |id| self.shard_of(id);
        let mut is_known = true;
        match self.0.router.route(peer, request, shards.len(), of) {
            Routed::Parts(parts) => {
                for (shard, part) in shards.iter().zip(parts) {
                    let Some(part) = part else { continue };
                    let bytes = part.partitions.len() * size_of::<PartitionFetch>();
                    is_known &= shard.try_send(Command::ReplicaFetch(part), bytes).is_ok();
                }
            }
            Routed::Unknown => is_known = false,
        }
        if !is_known {
            self.0.router.end(peer, fetcher);
            let partitions = Vec::new();
            let answer = ReplicaFetched { fetcher, sequence, unknown_session: true, partitions };
            // A full link is about to be closed or drained; the follower's next word tells again.
            let _ = self.0.outside.peers.send(peer, Message::ReplicaFetched(answer));
        }
    }

    /// The leader `peer` has answered.
    pub fn on_replica_fetched(&self, peer: NodeId, answer: ReplicaFetched) {
        let Some(shard) = self.0.shards.get(answer.fetcher as usize) else {
            tracing::warn!(%peer, fetcher = answer.fetcher, "an answer for a fetcher that is none");
            return;
        };
        let ReplicaFetched { sequence, unknown_session, partitions, .. } = answer;
        if unknown_session {
            shard.deliver(Command::UnknownSession { leader: peer, sequence });
        } else {
            shard.deliver(Command::Fetched { leader: peer, partitions });
        }
    }

    /// A link to `peer` stands; it takes the place of an older one whose end is told later.
    pub fn on_link_up(&self, peer: NodeId, link: LinkId) {
        self.links().insert(peer, link);
        self.0.router.link_down(peer);
        self.0.shards.iter().for_each(|shard| shard.deliver(Command::LinkUp(peer)));
    }

    /// The link is gone; nothing happens if another one has taken its place.
    pub fn on_link_down(&self, peer: NodeId, link: LinkId) {
        let mut links = self.links();
        if links.get(&peer) != Some(&link) {
            return;
        }
        links.remove(&peer);
        drop(links);
        self.0.router.link_down(peer);
        self.0.shards.iter().for_each(|shard| shard.deliver(Command::LinkDown(peer)));
    }

    fn links(&self) -> MutexGuard<'_, HashMap<NodeId, LinkId>> {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
