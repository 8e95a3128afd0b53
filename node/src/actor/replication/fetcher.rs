//! A follower's side: one fetcher for each leader that this shard's partitions follow.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use kraft_model::replica::FetchPosition;
use kraft_model::{BrokerEpoch, NodeId, TopicPartition};

use crate::limits::REFUSED_FETCH_BACKOFF;
use crate::peer::{PartitionFetch, ReplicaFetch};

/// All fetchers of one shard.
pub(crate) struct Fetchers {
    shard: u32,
    max_wait: Duration,
    max_bytes: u32,
    by_leader: HashMap<NodeId, Fetcher>,
    /// Whom each partition follows.
    leader_of: HashMap<TopicPartition, NodeId>,
    /// Positions that were refused, and when to offer them again.
    retries: BTreeSet<(Instant, TopicPartition)>,
}

#[derive(Default)]
struct Fetcher {
    linked: bool,
    /// The sequence of the next request; 0 begins a session.
    next: u64,
    positions: HashMap<TopicPartition, Standing>,
    dirty: Vec<TopicPartition>,
    forgotten: Vec<TopicPartition>,
    /// When the leader must hear again, if only to know that this broker lives.
    due: Option<Instant>,
}

struct Standing {
    position: FetchPosition,
    /// In [`Fetcher::dirty`].
    dirty: bool,
    /// The leader has answered this position and will say no more about it.
    spent: bool,
    retry_at: Option<Instant>,
}

impl Fetchers {
    pub fn new(shard: u32, max_wait: Duration, max_bytes: u32) -> Fetchers {
        Fetchers {
            shard,
            max_wait,
            max_bytes,
            by_leader: HashMap::new(),
            leader_of: HashMap::new(),
            retries: BTreeSet::new(),
        }
    }

    /// Follows `leader` from `position` on, in place of whatever was followed before. Returns
    /// whether a link to the leader has to be asked for.
    pub fn fetch(
        &mut self,
        leader: NodeId,
        id: TopicPartition,
        position: FetchPosition,
    ) -> bool {
        if self.leader_of.get(&id).is_some_and(|&before| before != leader) {
            self.stop(id);
        }
        self.leader_of.insert(id, leader);
        let fetcher = self.by_leader.entry(leader).or_default();
        let wants_link = fetcher.positions.is_empty() && !fetcher.linked;
        match fetcher.positions.get_mut(&id) {
            Some(standing) if standing.position == position && !standing.spent => {}
            Some(standing) => {
                let refused_again = standing.position == position && standing.retry_at.is_some();
                standing.position = position;
                if !refused_again {
                    cancel_retry(&mut self.retries, standing, id);
                    fetcher.mark(id);
                }
            }
            None => {
                let standing = Standing { position, dirty: false, spent: false, retry_at: None };
                fetcher.positions.insert(id, standing);
                fetcher.mark(id);
            }
        }
        wants_link
    }

    /// The leader has answered `position`: unless only watermarks moved, it says no more until it
    /// hears another one.
    pub fn answered(&mut self, leader: NodeId, id: TopicPartition, position: FetchPosition) {
        let fetcher = self.by_leader.get_mut(&leader);
        if let Some(standing) = fetcher.and_then(|fetcher| fetcher.positions.get_mut(&id))
            && standing.position == position
            && !standing.dirty
        {
            standing.spent = true;
        }
    }

    /// Offers the present position again after a while: the leader refused it, or what it sent was
    /// damaged.
    pub fn retry_later(&mut self, leader: NodeId, id: TopicPartition, now: Instant) {
        let fetcher = self.by_leader.get_mut(&leader);
        if let Some(standing) = fetcher.and_then(|fetcher| fetcher.positions.get_mut(&id))
            && !standing.dirty
            && standing.retry_at.is_none()
        {
            let at = now + REFUSED_FETCH_BACKOFF;
            standing.spent = true;
            standing.retry_at = Some(at);
            self.retries.insert((at, id));
        }
    }

    /// Whether the position stands answered and no other one has taken its place.
    pub fn is_spent(&self, leader: NodeId, id: TopicPartition) -> bool {
        let fetcher = self.by_leader.get(&leader);
        fetcher.and_then(|fetcher| fetcher.positions.get(&id)).is_some_and(|standing| standing.spent)
    }

    pub fn stop(&mut self, id: TopicPartition) {
        let Some(leader) = self.leader_of.remove(&id) else { return };
        let Some(fetcher) = self.by_leader.get_mut(&leader) else { return };
        let Some(mut standing) = fetcher.positions.remove(&id) else { return };
        cancel_retry(&mut self.retries, &mut standing, id);
        // What the leader was never told of needs no taking back; a spare word does no harm.
        if fetcher.linked && fetcher.next > 0 {
            fetcher.forgotten.push(id);
        }
    }

    /// A link to `leader` stands: begin a session.
    pub fn link_up(&mut self, leader: NodeId) {
        let fetcher = self.by_leader.entry(leader).or_default();
        fetcher.linked = true;
        fetcher.begin_anew();
    }

    /// Positions are kept for the next link.
    pub fn link_down(&mut self, leader: NodeId) {
        if let Some(fetcher) = self.by_leader.get_mut(&leader) {
            fetcher.linked = false;
            fetcher.due = None;
            if fetcher.positions.is_empty() {
                self.by_leader.remove(&leader);
            }
        }
    }

    /// The leader does not know the session that request `sequence` belongs to.
    pub fn unknown_session(&mut self, leader: NodeId, sequence: u64) {
        if let Some(fetcher) = self.by_leader.get_mut(&leader)
            && sequence < fetcher.next
        {
            fetcher.begin_anew();
        }
    }

    /// The request could not be sent (the link's queue is full): begin anew after a while.
    pub fn unsent(&mut self, leader: NodeId, now: Instant) {
        if let Some(fetcher) = self.by_leader.get_mut(&leader) {
            fetcher.begin_anew();
            fetcher.due = Some(now + REFUSED_FETCH_BACKOFF);
        }
    }

    /// What the leaders have to be told now.
    pub fn requests(
        &mut self,
        now: Instant,
        broker_epoch: BrokerEpoch,
    ) -> Vec<(NodeId, ReplicaFetch)> {
        self.wake_retries(now);
        let (shard, max_wait, max_bytes) = (self.shard, self.max_wait, self.max_bytes);
        let mut requests = Vec::new();
        for (&leader, fetcher) in &mut self.by_leader {
            if !fetcher.has_request(now) {
                continue;
            }
            let (sequence, partitions, forgotten) = fetcher.take_request();
            fetcher.due = (!fetcher.positions.is_empty()).then_some(now + max_wait);
            requests.push((
                leader,
                ReplicaFetch {
                    fetcher: shard,
                    sequence,
                    broker_epoch,
                    max_wait_ms: max_wait.as_millis() as u32,
                    max_bytes,
                    partitions,
                    forgotten,
                },
            ));
        }
        requests
    }

    /// When [`Fetchers::requests`] has something again by the passing of time alone.
    pub fn next_due(&self) -> Option<Instant> {
        let keep_alive = self.by_leader.values().filter_map(|fetcher| fetcher.due).min();
        let retry = self.retries.first().map(|&(at, _)| at);
        keep_alive.into_iter().chain(retry).min()
    }

    /// The leaders that are followed and to which no link stands.
    pub fn unlinked(&self) -> impl Iterator<Item = NodeId> + '_ {
        let is_unlinked = |fetcher: &Fetcher| !fetcher.linked && !fetcher.positions.is_empty();
        self.by_leader
            .iter()
            .filter(move |(_, fetcher)| is_unlinked(fetcher))
            .map(|(&leader, _)| leader)
    }

    fn wake_retries(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.retries.first()
            && at <= now
        {
            self.retries.pop_first();
            let Some(leader) = self.leader_of.get(&id) else { continue };
            let Some(fetcher) = self.by_leader.get_mut(leader) else { continue };
            fetcher.mark(id);
        }
    }
}

fn cancel_retry(
    retries: &mut BTreeSet<(Instant, TopicPartition)>,
    standing: &mut Standing,
    id: TopicPartition,
) {
    if let Some(at) = standing.retry_at.take() {
        retries.remove(&(at, id));
    }
}

impl Fetcher {
    fn mark(&mut self, id: TopicPartition) {
        if let Some(standing) = self.positions.get_mut(&id) {
            standing.retry_at = None;
            standing.spent = false;
            if !standing.dirty {
                standing.dirty = true;
                self.dirty.push(id);
            }
        }
    }

    fn begin_anew(&mut self) {
        self.next = 0;
        self.forgotten.clear();
        self.dirty.clear();
        self.due = None;
        for (&id, standing) in &mut self.positions {
            standing.dirty = true;
            self.dirty.push(id);
        }
    }

    fn has_request(&self, now: Instant) -> bool {
        if !self.linked {
            return false;
        }
        let is_due = self.due.is_some_and(|due| due <= now);
        if self.next == 0 {
            // A session begins when there is something to fetch, and not before its back-off.
            return !self.dirty.is_empty() && (self.due.is_none() || is_due);
        }
        is_due || !self.dirty.is_empty() || !self.forgotten.is_empty()
    }

    fn take_request(&mut self) -> (u64, Vec<PartitionFetch>, Vec<TopicPartition>) {
        let mut partitions = Vec::with_capacity(self.dirty.len());
        for id in self.dirty.drain(..) {
            if let Some(standing) = self.positions.get_mut(&id)
                && standing.dirty
            {
                standing.dirty = false;
                standing.spent = false;
                partitions.push(PartitionFetch { id, position: standing.position });
            }
        }
        let sequence = self.next;
        self.next += 1;
        (sequence, partitions, std::mem::take(&mut self.forgotten))
    }
}
