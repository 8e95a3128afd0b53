//! What this node can tell of the quorum (DescribeQuorum).

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use kraft_model::log::Log;
use kraft_model::raft::Fetch;
use kraft_model::{Offset, ReplicaKey};

use super::QuorumActor;
use crate::peer::{QuorumView, VoterView};
use crate::storage::VoterEndpoint;

/// An observer that has not fetched for so long is not shown any more (Kafka's figure).
const OBSERVER_TIME_MS: i64 = 300_000;

/// When each replica of the metadata log last fetched, for display only.
#[derive(Default)]
pub struct Progress {
    replicas: BTreeMap<ReplicaKey, Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    end: Offset,
    last_fetch_ms: i64,
    last_caught_up_ms: i64,
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as i64
}

impl Progress {
    pub fn fetched(&mut self, fetch: &Fetch, leader_end: Offset) {
        let now = now_ms();
        let seen = self.replicas.entry(fetch.replica).or_insert(Seen {
            end: fetch.offset,
            last_fetch_ms: now,
            last_caught_up_ms: -1,
        });
        seen.end = fetch.offset;
        seen.last_fetch_ms = now;
        if fetch.offset >= leader_end {
            seen.last_caught_up_ms = now;
        }
    }
}

impl QuorumActor {
    pub(super) fn describe(&self) -> QuorumView {
        let leads = self.quorum.is_leader();
        let mut voters: Vec<VoterView> =
            self.quorum.voters().iter().map(|key| self.replica_view(*key, leads)).collect();
        voters.sort_by_key(|voter| voter.id);
        let recent = now_ms() - OBSERVER_TIME_MS;
        let observers = self.progress.replicas.iter();
        let observers = observers.filter(|(_, seen)| leads && seen.last_fetch_ms >= recent);
        let observers = observers.map(|(key, _)| key).filter(|key| !self.votes(**key));
        QuorumView {
            leader: self.quorum.leader(),
            epoch: self.quorum.epoch(),
            high_watermark: self.quorum.high_watermark(),
            voters,
            observers: observers.map(|key| self.replica_view(*key, leads)).collect(),
        }
    }

    /// Whether the replica is a voter. A static one has no directory in the configuration.
    fn votes(&self, key: ReplicaKey) -> bool {
        let mut voters = self.quorum.voters().iter();
        voters.any(|v| *v == key || v.id == key.id && v.directory.is_zero())
    }

    /// Where a replica is reached: the log knows voters, the links everybody.
    fn endpoints(&self, key: ReplicaKey) -> Vec<VoterEndpoint> {
        let named = self.disk.log.voters().iter().find(|voter| voter.key == key);
        if let Some(voter) = named {
            return voter.endpoints.clone();
        }
        if key.id == self.me.id {
            return self.endpoints.clone();
        }
        let Some((true, (host, port))) = self.finding.of(key.id) else { return Vec::new() };
        let name = self.config.controller_listeners.first().cloned().unwrap_or_default();
        vec![VoterEndpoint { name, host: host.clone(), port: *port }]
    }

    fn replica_view(&self, key: ReplicaKey, leads: bool) -> VoterView {
        let unknown = VoterView {
            id: key.id,
            directory: key.directory,
            end: Offset(-1),
            last_fetch_ms: -1,
            last_caught_up_ms: -1,
            controller: key.id == self.me.id && self.config.roles.controller
                || self.is_controller(key.id),
            endpoints: self.endpoints(key),
        };
        if !leads {
            return unknown;
        }
        if key.id == self.me.id {
            let (directory, now) = (self.me.directory, now_ms());
            let end = self.disk.log.end();
            return VoterView {
                directory,
                end,
                last_fetch_ms: now,
                last_caught_up_ms: now,
                ..unknown
            };
        }
        let wanted = |(seen, _): &(&ReplicaKey, &Seen)| {
            seen.id == key.id && (key.directory.is_zero() || seen.directory == key.directory)
        };
        match self.progress.replicas.iter().find(wanted) {
            Some((found, seen)) => VoterView {
                directory: found.directory,
                end: seen.end,
                last_fetch_ms: seen.last_fetch_ms,
                last_caught_up_ms: seen.last_caught_up_ms,
                ..unknown
            },
            None => unknown,
        }
    }
}
