//! Replication as a shard does it: followers' positions in, records out, and the other way round.

use std::time::{Duration, Instant};

use kraft_model::replica::{Event, FetchOutcome, FetchPosition, Fetched};
use kraft_model::{ErrorCode, NodeId, Offset, TopicPartition};

use super::actor::Shard;
use super::command::{Command, Read};
use super::metrics::add;
use super::slot::Slot;
use crate::actor::replication::{SessionPart, verify};
use crate::peer::{FetchedPartition, Message};
use crate::storage::{ReadPlan, Records};

/// How long a follower that has all records may wait for a new high watermark: records carry it
/// along, so under load hardly any message is for it alone.
const WATERMARK_DELAY: Duration = Duration::from_millis(5);

impl Shard {
    /// A follower's positions.
    pub(super) fn replica_fetch(&mut self, part: SessionPart) {
        self.sessions.open(&part);
        for fetch in part.partitions {
            if let Some(seen) = self.sessions.place(part.key, fetch) {
                self.step(fetch.id, Event::Fetch(seen));
            }
        }
    }

    /// The replica's answer to a follower's position: said now, read for, or held until there is
    /// news.
    pub(super) fn answer_follower(
        &mut self,
        id: TopicPartition,
        follower: NodeId,
        position: FetchPosition,
        outcome: FetchOutcome<Offset>,
    ) {
        let (from, high_watermark, log_start) = match outcome {
            FetchOutcome::Records { records, high_watermark, log_start } => {
                (records, high_watermark, log_start)
            }
            FetchOutcome::Diverging(end) => {
                return self.sessions.say(follower, id, position, FetchOutcome::Diverging(end));
            }
            FetchOutcome::OutOfRange { log_start, end } => {
                let outcome = FetchOutcome::OutOfRange { log_start, end };
                return self.sessions.say(follower, id, position, outcome);
            }
            FetchOutcome::Refused(error) => {
                return self.sessions.say(follower, id, position, FetchOutcome::Refused(error));
            }
        };
        let Some(slot) = self.slots.get(&id) else { return };
        if from >= slot.end() {
            if self.sessions.say_later(follower, id, high_watermark, log_start) {
                self.watermarks_at.get_or_insert(self.now + WATERMARK_DELAY);
            }
            return;
        }
        let room = self.sessions.room(follower, id).min(self.config.replica_fetch_max_bytes);
        if room == 0 {
            return;
        }
        let plan = match slot.read(from, room, slot.end()) {
            Ok(plan) => plan,
            Err(error) => {
                return self.sessions.say(follower, id, position, FetchOutcome::Refused(error));
            }
        };
        let read = move |plan: ReadPlan| read(plan, high_watermark, log_start);
        if plan.is_tail() {
            let outcome = read(plan);
            self.said_to_follower(follower, id, position, outcome);
        } else {
            self.sessions.reading(follower, id, room);
            let handle = self.handle.clone();
            drop(tokio::task::spawn_blocking(move || {
                let outcome = read(plan);
                handle.deliver(Command::Read { follower, id, position, outcome });
            }));
        }
    }

    pub(super) fn said_to_follower(
        &mut self,
        follower: NodeId,
        id: TopicPartition,
        position: FetchPosition,
        outcome: Read,
    ) {
        if let FetchOutcome::Records { records: Some(records), .. } = &outcome {
            add(&self.metrics.replication_bytes_out, records.bytes.len());
        }
        self.sessions.say(follower, id, position, outcome);
    }

    /// What a leader sent.
    pub(super) fn fetched(&mut self, leader: NodeId, partitions: Vec<FetchedPartition>) {
        for FetchedPartition { id, position, outcome } in partitions {
            self.fetched_one(leader, id, position, outcome);
        }
    }

    fn fetched_one(
        &mut self,
        leader: NodeId,
        id: TopicPartition,
        position: FetchPosition,
        outcome: Read,
    ) {
        let outcome = match outcome {
            FetchOutcome::Records { records: Some(records), high_watermark, log_start } => {
                self.fetchers.answered(leader, id, position);
                match verify(&records) {
                    Ok(()) => {
                        add(&self.metrics.replication_bytes_in, records.bytes.len());
                        FetchOutcome::Records { records, high_watermark, log_start }
                    }
                    Err(error) => {
                        tracing::warn!(?id, %leader, %error, "records arrived damaged");
                        FetchOutcome::Refused(ErrorCode::CorruptMessage)
                    }
                }
            }
            FetchOutcome::Records { records: None, high_watermark, log_start } => {
                // The machine's form of "nothing" is an empty batch.
                let at = self.slots.get(&id).map_or(Offset::ZERO, Slot::end);
                let records = Records::empty(at, -1);
                FetchOutcome::Records { records, high_watermark, log_start }
            }
            FetchOutcome::Diverging(end) => {
                self.fetchers.answered(leader, id, position);
                FetchOutcome::Diverging(end)
            }
            FetchOutcome::OutOfRange { log_start, end } => {
                self.fetchers.answered(leader, id, position);
                FetchOutcome::OutOfRange { log_start, end }
            }
            FetchOutcome::Refused(error) => {
                self.fetchers.answered(leader, id, position);
                FetchOutcome::Refused(error)
            }
        };
        self.step(id, Event::Fetched { leader, answer: Fetched { position, outcome } });
    }

    /// Looks again at followers that wait, and sends what was said during this turn.
    pub(super) fn send_answers(&mut self) {
        if self.watermarks_at.is_some_and(|at| at <= self.now) {
            self.watermarks_at = None;
            self.sessions.say_watermarks();
        }
        while let Some((id, fetch)) = self.sessions.next_ready() {
            self.step(id, Event::Fetch(fetch));
        }
        self.write_trace();
        for (peer, answer) in self.sessions.take_answers() {
            add(&self.metrics.peer_messages, 1);
            let fetcher = answer.fetcher;
            if self.outside.peers.send(peer, Message::ReplicaFetched(answer)).is_err() {
                tracing::debug!(%peer, fetcher, "a follower's answer was not sent; its session ends");
                self.sessions.close(crate::actor::replication::SessionKey { peer, fetcher });
                self.router.end(peer, fetcher);
            }
        }
    }

    /// Tells leaders which positions moved during this turn.
    pub(super) fn send_fetches(&mut self) {
        for (leader, request) in self.fetchers.requests(self.now, self.broker_epoch()) {
            add(&self.metrics.peer_messages, 1);
            if self.outside.peers.send(leader, Message::ReplicaFetch(request)).is_err() {
                self.fetchers.unsent(leader, self.now);
            }
        }
    }

    /// Asks for links to the leaders that have none; where they are says the metadata.
    pub(super) fn ensure_links(&mut self) {
        self.fetchers.unlinked().into_iter().for_each(|leader| self.ensure_link(leader));
    }

    pub(super) fn ensure_link(&mut self, leader: NodeId) {
        let Some(broker) = self.image.brokers.get(&leader) else { return };
        let listener = &self.config.inter_broker_listener;
        match broker.endpoints.iter().find(|endpoint| endpoint.listener == *listener) {
            Some(endpoint) => self.outside.peers.ensure(leader, endpoint),
            None => tracing::warn!(%leader, listener, "a leader has no endpoint of this listener"),
        }
    }

    /// Followers that have been silent for `replica.lag.time.max.ms`, told once for each such time.
    pub(super) fn look_for_silence(&mut self) {
        let limit = self.config.replica_lag_time_max;
        if self.now < self.silence_at {
            return;
        }
        self.silence_at = self.now + limit / 4;
        for peer in self.heard.silent(self.now, limit) {
            let told = self.silent_told.get(&peer);
            if told.is_some_and(|at: &Instant| self.now.saturating_duration_since(*at) < limit) {
                continue;
            }
            self.silent_told.insert(peer, self.now);
            let led: Vec<_> = self.slots.iter().filter(|(_, slot)| slot.leads_with(peer)).collect();
            let led: Vec<TopicPartition> = led.into_iter().map(|(&id, _)| id).collect();
            led.into_iter().for_each(|id| self.step(id, Event::Silent(peer)));
        }
    }
}

/// Reads for a follower; runs where waiting is allowed.
fn read(plan: ReadPlan, high_watermark: Offset, log_start: Offset) -> Read {
    let bytes = match plan.run() {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::warn!(%error, "a read for a follower failed");
            return FetchOutcome::Refused(ErrorCode::KafkaStorageError);
        }
    };
    if bytes.is_empty() {
        // A truncation took them meanwhile; the follower is told to ask again.
        return FetchOutcome::Refused(ErrorCode::OffsetNotAvailable);
    }
    match Records::parse_unverified(bytes) {
        Ok(records) => FetchOutcome::Records { records: Some(records), high_watermark, log_start },
        Err(error) => {
            tracing::error!(%error, "a log holds what is no record batch");
            FetchOutcome::Refused(ErrorCode::KafkaStorageError)
        }
    }
}
