//! A leader's side, within one shard: what each follower's fetcher stands at, and what to say next.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use kraft_model::replica::{Fetch, FetchOutcome, FetchPosition};
use kraft_model::{BrokerEpoch, NodeId, Offset, TopicPartition};

use crate::peer::{FetchedPartition, PartitionFetch, ReplicaFetched};
use crate::storage::Records;

/// One fetcher of one follower.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SessionKey {
    pub peer: NodeId,
    pub fetcher: u32,
}

/// What one request says to one shard.
#[derive(Debug)]
pub(crate) struct SessionPart {
    pub key: SessionKey,
    pub sequence: u64,
    pub begins: bool,
    pub broker_epoch: BrokerEpoch,
    pub max_bytes: u32,
    pub partitions: Vec<PartitionFetch>,
    pub forgotten: Vec<TopicPartition>,
}

/// All sessions with partitions on one shard.
#[derive(Default)]
pub(crate) struct Sessions {
    by_key: HashMap<SessionKey, Session>,
    /// Which session fetches a partition for which follower.
    watchers: HashMap<TopicPartition, Vec<SessionKey>>,
    /// Sessions with something in `ready` or `said`.
    active: Vec<SessionKey>,
    /// Watermarks that are to be told soon, unless records carry them first.
    later: Vec<(SessionKey, TopicPartition)>,
}

struct Session {
    sequence: u64,
    broker_epoch: BrokerEpoch,
    max_bytes: usize,
    /// Bytes said to positions that no newer one has replaced yet.
    outstanding: usize,
    partitions: HashMap<TopicPartition, Watch>,
    ready: VecDeque<TopicPartition>,
    said: Vec<FetchedPartition>,
    is_active: bool,
}

/// One partition as one follower fetches it.
struct Watch {
    position: FetchPosition,
    /// The position has been answered; another must come before more is said.
    spent: bool,
    /// In [`Session::ready`].
    is_ready: bool,
    /// In [`Sessions::later`].
    is_later: bool,
    /// The watermarks that the follower was last told, and those that it should be told.
    told: (Offset, Offset),
    due: (Offset, Offset),
    bytes: usize,
}

/// Before anything was told.
const NOTHING: (Offset, Offset) = (Offset(-1), Offset(-1));

impl Sessions {
    /// Takes in the frame of a request: its session and what is no longer fetched. The positions
    /// follow one by one ([`Sessions::place`]).
    pub fn open(&mut self, part: &SessionPart) {
        if part.begins {
            self.close(part.key);
        }
        let session = self.by_key.entry(part.key).or_insert_with(|| Session {
            sequence: part.sequence,
            broker_epoch: part.broker_epoch,
            max_bytes: part.max_bytes as usize,
            outstanding: 0,
            partitions: HashMap::new(),
            ready: VecDeque::new(),
            said: Vec::new(),
            is_active: false,
        });
        session.sequence = part.sequence;
        session.broker_epoch = part.broker_epoch;
        session.max_bytes = part.max_bytes as usize;
        for &id in &part.forgotten {
            if let Some(watch) = session.partitions.remove(&id) {
                session.outstanding -= watch.bytes;
                unwatch(&mut self.watchers, id, part.key);
            }
        }
        if !part.forgotten.is_empty() {
            // What they had taken of the session's room is free for those that wait for it.
            self.activate(part.key);
        }
    }

    /// The follower stands at `position` now. The fetch that its leader's replica is to see.
    pub fn place(&mut self, key: SessionKey, fetch: PartitionFetch) -> Option<Fetch> {
        let session = self.by_key.get_mut(&key)?;
        let PartitionFetch { id, position } = fetch;
        match session.partitions.get_mut(&id) {
            Some(watch) => {
                session.outstanding -= std::mem::take(&mut watch.bytes);
                watch.position = position;
                watch.spent = false;
            }
            None => {
                session.partitions.insert(id, Watch::at(position));
                self.watchers.entry(id).or_default().push(key);
            }
        }
        // Room has come back: what waited for it can go on.
        self.activate(key);
        let broker_epoch = self.by_key.get(&key)?.broker_epoch;
        Some(Fetch { follower: key.peer, broker_epoch, position })
    }

    /// Something moved in a partition: whoever has an unspent position there is to be looked at.
    pub fn news(&mut self, id: TopicPartition) {
        let mut index = 0;
        while let Some(&key) = self.watchers.get(&id).and_then(|keys| keys.get(index)) {
            self.make_ready(key, id);
            index += 1;
        }
    }

    /// Ends every session of `peer`.
    pub fn drop_peer(&mut self, peer: NodeId) {
        let keys: Vec<_> = self.by_key.keys().filter(|key| key.peer == peer).copied().collect();
        keys.into_iter().for_each(|key| self.close(key));
    }

    /// The next held fetch that should be looked at again, while its session has room for bytes.
    pub fn next_ready(&mut self) -> Option<(TopicPartition, Fetch)> {
        for &key in &self.active {
            let Some(session) = self.by_key.get_mut(&key) else { continue };
            while session.has_room()
                && let Some(id) = session.ready.pop_front()
            {
                let Some(watch) = session.partitions.get_mut(&id) else { continue };
                watch.is_ready = false;
                if watch.spent {
                    continue;
                }
                let (broker_epoch, position) = (session.broker_epoch, watch.position);
                return Some((id, Fetch { follower: key.peer, broker_epoch, position }));
            }
        }
        None
    }

    /// Bytes that may be read for `follower` from this partition now; 0 if it has to wait, and it
    /// is then looked at again when there is room.
    pub fn room(&mut self, follower: NodeId, id: TopicPartition) -> usize {
        let Some(key) = self.key_of(follower, id) else { return 0 };
        let Some(session) = self.by_key.get(&key) else { return 0 };
        if session.has_room() {
            return session.max_bytes - session.outstanding;
        }
        self.make_ready(key, id);
        0
    }

    /// Says something that spends the position.
    pub fn say(
        &mut self,
        follower: NodeId,
        id: TopicPartition,
        position: FetchPosition,
        outcome: FetchOutcome<Option<Records>>,
    ) {
        let Some(key) = self.key_of(follower, id) else { return };
        let Some(session) = self.by_key.get_mut(&key) else { return };
        let Some(watch) = session.partitions.get_mut(&id) else { return };
        if watch.position != position {
            return;
        }
        session.outstanding -= std::mem::take(&mut watch.bytes);
        if let FetchOutcome::Records { records, high_watermark, log_start } = &outcome {
            watch.told = (*high_watermark, *log_start);
            watch.due = watch.told;
            watch.bytes = records.as_ref().map_or(0, |records| records.bytes.len());
        }
        session.outstanding += watch.bytes;
        watch.spent = true;
        session.said.push(FetchedPartition { id, position, outcome });
        self.activate(key);
    }

    /// A read for `follower` is under way: the position is spent, its answer comes through
    /// [`Sessions::say`].
    pub fn reading(&mut self, follower: NodeId, id: TopicPartition, bytes: usize) {
        let Some(key) = self.key_of(follower, id) else { return };
        let Some(session) = self.by_key.get_mut(&key) else { return };
        if let Some(watch) = session.partitions.get_mut(&id) {
            session.outstanding = session.outstanding - watch.bytes + bytes;
            watch.bytes = bytes;
            watch.spent = true;
        }
    }

    /// The follower has all records; if it does not know these watermarks, it is told soon. Returns
    /// whether that is so.
    pub fn say_later(
        &mut self,
        follower: NodeId,
        id: TopicPartition,
        high_watermark: Offset,
        log_start: Offset,
    ) -> bool {
        let Some(key) = self.key_of(follower, id) else { return false };
        let watch = self.by_key.get_mut(&key).and_then(|session| session.partitions.get_mut(&id));
        let Some(watch) = watch else { return false };
        watch.due = (high_watermark, log_start);
        if watch.due == watch.told {
            return false;
        }
        if !watch.is_later {
            watch.is_later = true;
            self.later.push((key, id));
        }
        true
    }

    /// Says the watermarks that were put off and that nothing has carried since.
    pub fn say_watermarks(&mut self) {
        for (key, id) in std::mem::take(&mut self.later) {
            let Some(session) = self.by_key.get_mut(&key) else { continue };
            let Some(watch) = session.partitions.get_mut(&id) else { continue };
            watch.is_later = false;
            if watch.spent || watch.due == watch.told {
                continue;
            }
            watch.told = watch.due;
            let (high_watermark, log_start) = watch.due;
            let outcome = FetchOutcome::Records { records: None, high_watermark, log_start };
            session.said.push(FetchedPartition { id, position: watch.position, outcome });
            self.activate(key);
        }
    }

    /// What the followers have to be told now, by follower.
    pub fn take_answers(&mut self) -> Vec<(NodeId, ReplicaFetched)> {
        let mut answers = Vec::new();
        for key in std::mem::take(&mut self.active) {
            let Some(session) = self.by_key.get_mut(&key) else { continue };
            session.is_active = false;
            if !session.said.is_empty() {
                answers.push((
                    key.peer,
                    ReplicaFetched {
                        fetcher: key.fetcher,
                        sequence: session.sequence,
                        unknown_session: false,
                        partitions: std::mem::take(&mut session.said),
                    },
                ));
            }
        }
        answers
    }

    /// An answer could not be sent: the session has a hole. The follower is told at its next
    /// request that the session is unknown.
    pub fn close(&mut self, key: SessionKey) {
        if let Some(session) = self.by_key.remove(&key) {
            session.partitions.keys().for_each(|&id| unwatch(&mut self.watchers, id, key));
        }
    }

    fn make_ready(&mut self, key: SessionKey, id: TopicPartition) {
        let Some(session) = self.by_key.get_mut(&key) else { return };
        let Some(watch) = session.partitions.get_mut(&id) else { return };
        if !watch.spent && !watch.is_ready {
            watch.is_ready = true;
            session.ready.push_back(id);
            self.activate(key);
        }
    }

    fn activate(&mut self, key: SessionKey) {
        if let Some(session) = self.by_key.get_mut(&key)
            && !session.is_active
        {
            session.is_active = true;
            self.active.push(key);
        }
    }

    fn key_of(&self, follower: NodeId, id: TopicPartition) -> Option<SessionKey> {
        self.watchers.get(&id)?.iter().find(|key| key.peer == follower).copied()
    }
}

impl Session {
    fn has_room(&self) -> bool {
        self.outstanding < self.max_bytes
    }
}

impl Watch {
    fn at(position: FetchPosition) -> Watch {
        Watch {
            position,
            spent: false,
            is_ready: false,
            is_later: false,
            told: NOTHING,
            due: NOTHING,
            bytes: 0,
        }
    }
}

fn unwatch(
    watchers: &mut HashMap<TopicPartition, Vec<SessionKey>>,
    id: TopicPartition,
    key: SessionKey,
) {
    if let Some(keys) = watchers.get_mut(&id) {
        keys.retain(|&watcher| watcher != key);
        if keys.is_empty() {
            watchers.remove(&id);
        }
    }
}
