//! A follower's side: one fetcher for each leader that this shard's partitions follow.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kraft_model::replica::FetchPosition;
use kraft_model::{BrokerEpoch, NodeId, TopicPartition};

use crate::limits::LINK_FULL_BACKOFF;
use crate::peer::{PartitionFetch, ReplicaFetch};

/// All fetchers of one shard.
pub(crate) struct Fetchers {
    shard: u32,
    max_wait: Duration,
    max_bytes: u32,
    by_leader: HashMap<NodeId, Fetcher>,
    /// Whom each partition follows.
    leader_of: HashMap<TopicPartition, NodeId>,
}

#[derive(Default)]
struct Fetcher {
    linked: bool,
    /// The sequence of the next request; 0 begins a session.
    next: u64,
    positions: HashMap<TopicPartition, Standing>,
    /// Partitions whose position the leader has to hear.
    dirty: Vec<TopicPartition>,
    forgotten: Vec<TopicPartition>,
    /// When the leader must hear again, if only to know that this broker lives.
    due: Option<Instant>,
}

struct Standing {
    position: FetchPosition,
    /// In [`Fetcher::dirty`].
    is_dirty: bool,
    /// The leader has answered this position and will say no more about it; the machine will take
    /// another one.
    is_spent: bool,
}

impl Fetchers {
    pub fn new(shard: u32, max_wait: Duration, max_bytes: usize) -> Fetchers {
        Fetchers {
            shard,
            max_wait,
            max_bytes: u32::try_from(max_bytes).unwrap_or(u32::MAX),
            by_leader: HashMap::new(),
            leader_of: HashMap::new(),
        }
    }

    /// Follows `leader` from `position` on, in place of whatever was followed before. Returns
    /// whether a link to the leader has to be asked for.
    pub fn fetch(&mut self, leader: NodeId, id: TopicPartition, position: FetchPosition) -> bool {
        if self.leader_of.get(&id).is_some_and(|&before| before != leader) {
            self.stop(id);
        }
        self.leader_of.insert(id, leader);
        let fetcher = self.by_leader.entry(leader).or_default();
        let wants_link = fetcher.positions.is_empty() && !fetcher.linked;
        let standing = fetcher.positions.entry(id).or_insert(Standing {
            position,
            is_dirty: false,
            is_spent: true,
        });
        if standing.position != position || standing.is_spent {
            standing.position = position;
            standing.is_spent = false;
            if !standing.is_dirty {
                standing.is_dirty = true;
                fetcher.dirty.push(id);
            }
        }
        wants_link
    }

    /// The leader has answered `position` with more than watermarks: it says no more until it hears
    /// another one.
    pub fn answered(&mut self, leader: NodeId, id: TopicPartition, position: FetchPosition) {
        let fetcher = self.by_leader.get_mut(&leader);
        if let Some(standing) = fetcher.and_then(|fetcher| fetcher.positions.get_mut(&id))
            && standing.position == position
            && !standing.is_dirty
        {
            standing.is_spent = true;
        }
    }

    pub fn stop(&mut self, id: TopicPartition) {
        let Some(leader) = self.leader_of.remove(&id) else { return };
        let Some(fetcher) = self.by_leader.get_mut(&leader) else { return };
        // What the leader was never told of needs no taking back; a spare word does no harm.
        if fetcher.positions.remove(&id).is_some() && fetcher.linked && fetcher.next > 0 {
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
            fetcher.due = Some(now + LINK_FULL_BACKOFF);
        }
    }

    /// What the leaders have to be told now.
    pub fn requests(
        &mut self,
        now: Instant,
        broker_epoch: BrokerEpoch,
    ) -> Vec<(NodeId, ReplicaFetch)> {
        let mut requests = Vec::new();
        for (&leader, fetcher) in &mut self.by_leader {
            if !fetcher.has_request(now) {
                continue;
            }
            let (sequence, partitions, forgotten) = fetcher.take_request();
            // A session without partitions rests.
            fetcher.due = (!fetcher.positions.is_empty()).then_some(now + self.max_wait);
            requests.push((
                leader,
                ReplicaFetch {
                    fetcher: self.shard,
                    sequence,
                    broker_epoch,
                    max_wait_ms: self.max_wait.as_millis() as u32,
                    max_bytes: self.max_bytes,
                    partitions,
                    forgotten,
                },
            ));
        }
        requests
    }

    /// When [`Fetchers::requests`] has something again by the passing of time alone.
    pub fn next_due(&self) -> Option<Instant> {
        self.by_leader.values().filter_map(|fetcher| fetcher.due).min()
    }

    /// The leaders that are followed and to which no link stands.
    pub fn unlinked(&self) -> Vec<NodeId> {
        let is_unlinked = |fetcher: &Fetcher| !fetcher.linked && !fetcher.positions.is_empty();
        let unlinked = self.by_leader.iter().filter(|(_, fetcher)| is_unlinked(fetcher));
        unlinked.map(|(&leader, _)| leader).collect()
    }
}

impl Fetcher {
    fn begin_anew(&mut self) {
        self.next = 0;
        self.forgotten.clear();
        self.dirty.clear();
        self.due = None;
        for (&id, standing) in &mut self.positions {
            standing.is_dirty = !standing.is_spent;
            if standing.is_dirty {
                self.dirty.push(id);
            }
        }
    }

    fn has_request(&self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        match self.linked {
            false => false,
            // A session begins when there is something to fetch, and not before its back-off.
            true if self.next == 0 => !self.dirty.is_empty() && (self.due.is_none() || is_due),
            true => is_due || !self.dirty.is_empty() || !self.forgotten.is_empty(),
        }
    }

    fn take_request(&mut self) -> (u64, Vec<PartitionFetch>, Vec<TopicPartition>) {
        let mut partitions = Vec::with_capacity(self.dirty.len());
        for id in self.dirty.drain(..) {
            if let Some(standing) = self.positions.get_mut(&id)
                && standing.is_dirty
            {
                standing.is_dirty = false;
                partitions.push(PartitionFetch { id, position: standing.position });
            }
        }
        let sequence = self.next;
        self.next += 1;
        (sequence, partitions, std::mem::take(&mut self.forgotten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kraft_model::{LeaderEpoch, Offset};

    const LEADER: NodeId = NodeId(2);
    const WAIT: Duration = Duration::from_millis(500);

    fn id(partition: i32) -> TopicPartition {
        TopicPartition { partition, ..Default::default() }
    }

    fn at(offset: i64) -> FetchPosition {
        FetchPosition {
            leader_epoch: LeaderEpoch(1),
            offset: Offset(offset),
            last_epoch: LeaderEpoch(1),
            log_start: Offset::ZERO,
        }
    }

    fn linked() -> (Fetchers, Instant) {
        let mut fetchers = Fetchers::new(0, WAIT, 1 << 20);
        assert!(fetchers.fetch(LEADER, id(0), at(0)), "the first partition asks for a link");
        fetchers.fetch(LEADER, id(1), at(0));
        fetchers.link_up(LEADER);
        (fetchers, Instant::now())
    }

    fn told(fetchers: &mut Fetchers, now: Instant) -> Option<(u64, usize, usize)> {
        let requests = fetchers.requests(now, BrokerEpoch(1));
        assert!(requests.len() <= 1);
        let (_, request) = requests.into_iter().next()?;
        Some((request.sequence, request.partitions.len(), request.forgotten.len()))
    }

    #[test]
    fn a_session_tells_all_positions_once_and_then_what_moved() {
        let (mut fetchers, now) = linked();
        assert_eq!(told(&mut fetchers, now), Some((0, 2, 0)));
        assert_eq!(told(&mut fetchers, now), None, "nothing moved");
        fetchers.answered(LEADER, id(0), at(0));
        fetchers.fetch(LEADER, id(0), at(3));
        assert_eq!(told(&mut fetchers, now), Some((1, 1, 0)));
        fetchers.fetch(LEADER, id(0), at(3));
        assert_eq!(told(&mut fetchers, now), None, "it stands where it stood, unanswered");
    }

    #[test]
    fn an_idle_session_says_one_empty_word_each_wait() {
        let (mut fetchers, now) = linked();
        told(&mut fetchers, now);
        assert_eq!(fetchers.next_due(), Some(now + WAIT));
        assert_eq!(told(&mut fetchers, now + WAIT / 2), None);
        assert_eq!(told(&mut fetchers, now + WAIT), Some((1, 0, 0)));
        fetchers.stop(id(0));
        fetchers.stop(id(1));
        assert_eq!(told(&mut fetchers, now + WAIT), Some((2, 0, 2)));
        assert_eq!(fetchers.next_due(), None, "nothing is followed, so nothing is said");
    }

    #[test]
    fn an_unknown_session_begins_anew_but_not_for_an_old_answer() {
        let (mut fetchers, now) = linked();
        told(&mut fetchers, now);
        fetchers.unknown_session(LEADER, 7);
        assert_eq!(told(&mut fetchers, now), None, "no such request was sent in this session");
        fetchers.unknown_session(LEADER, 0);
        assert_eq!(told(&mut fetchers, now), Some((0, 2, 0)));
    }

    #[test]
    fn another_leader_takes_a_partition_from_the_first_one() {
        let (mut fetchers, now) = linked();
        told(&mut fetchers, now);
        fetchers.link_up(NodeId(3));
        fetchers.fetch(NodeId(3), id(0), at(0));
        let requests = fetchers.requests(now, BrokerEpoch(1));
        let of = |leader| requests.iter().find(|(to, _)| *to == leader).map(|(_, r)| r);
        assert_eq!(of(LEADER).expect("is told").forgotten, vec![id(0)]);
        assert_eq!(of(NodeId(3)).expect("is asked").partitions.len(), 1);
    }
}
