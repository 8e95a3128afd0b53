//! The quorum actor: effects of the quorum machine, its disk, and replaying what is committed.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::log::{Extent, Log};
use crate::metadata::{self, Image};
use crate::raft::{self, Effect, Event, Gate, SnapshotId, StoredState};
use crate::sim::disk::{Chunk, MetaBatch, Snapshot};
use crate::sim::env::{Fact, Happening, Input, Message, Timer};
use crate::sim::profile::MILLIS;
use crate::{Epoch, Incarnation, NodeId, Offset, Rules};

use super::{At, Moment, Work, index};

/// Writes under way, and messages that wait for them (Q2).
#[derive(Debug, Default)]
pub(super) struct Writes {
    flush_wanted: bool,
    /// Where the log ended when the flush began, lowered by truncations since.
    flushing: Option<i64>,
    truncated: bool,
    store_wanted: Option<StoredState>,
    stores_asked: u64,
    stores_done: u64,
    gated: VecDeque<(u64, NodeId, raft::Message<Chunk>)>,
}

impl<R: Rules> At<'_, R> {
    pub(super) fn started(&mut self) {
        self.load_snapshot();
        self.step_quorum(Event::Started);
        if self.who.is_broker {
            self.set(Timer::FetchAgain);
            self.set(Timer::Checkpoint);
            self.set(Timer::Silence);
            self.step_broker(crate::broker::Event::Started);
        }
    }

    /// Steps the machines until neither has anything to do.
    fn run_machines(&mut self, first: Work) {
        if self.process.end.is_some() {
            return;
        }
        self.process.work.push_back(first);
        while let Some(work) = self.next_work() {
            match work {
                Work::Quorum(event) => self.quorum_event(event),
                Work::Controller(event) => self.controller_event(event),
            }
            if self.disk.metadata.failed {
                return self.fatal("the metadata log cannot be written");
            }
        }
    }

    /// The controller's decisions come first: they begin where the log ends now.
    fn next_work(&mut self) -> Option<Work> {
        let proposal = self.process.proposals.pop_front();
        let proposal = proposal.map(|batch| Work::Quorum(Event::Propose(batch)));
        proposal.or_else(|| self.process.work.pop_front())
    }

    pub(super) fn step_quorum(&mut self, event: Event<Chunk>) {
        self.run_machines(Work::Quorum(event));
    }

    pub(super) fn step_controller(&mut self, event: metadata::Event) {
        self.run_machines(Work::Controller(event));
    }

    fn quorum_event(&mut self, event: Event<Chunk>) {
        let mut effects = Vec::new();
        let (was, end) = (self.process.quorum.role(), self.disk.metadata.end());
        self.process.quorum.step(&mut self.disk.metadata, event, &mut effects);
        self.note_truncation(end);
        let is = self.process.quorum.role();
        if was != is {
            let epoch = self.process.quorum.epoch();
            self.tell(|| format!("{is} in epoch {epoch} (was {was})"));
        }
        if is == "Leader" && was != is {
            self.process.moment = Some(Moment::Led);
        }
        effects.into_iter().for_each(|effect| self.run_quorum_effect(effect));
    }

    fn note_truncation(&mut self, before: Offset) {
        let end = self.disk.metadata.end();
        if end < before {
            self.tell(|| format!("cuts its metadata log from {before} to {end}"));
            self.process.writes.truncated = true;
            if let Some(to) = &mut self.process.writes.flushing {
                *to = (*to).min(end.0);
            }
        }
    }

    fn run_quorum_effect(&mut self, effect: Effect<Chunk>) {
        match effect {
            Effect::Store(state) => {
                self.process.writes.stores_asked += 1;
                self.process.writes.store_wanted = Some(state);
            }
            Effect::Send { to, message, gate } => self.send_gated(to, message, gate),
            Effect::Flush => self.process.writes.flush_wanted = true,
            Effect::Hold { from, fetch } => {
                if self.process.held.insert(from, fetch).is_none() {
                    self.set(Timer::Hold(from));
                }
            }
            Effect::News => self.present_held_again(),
            Effect::SetTimer(timer) => self.set(Timer::Quorum(timer)),
            Effect::CancelTimer(timer) => self.cancel(Timer::Quorum(timer)),
            Effect::LeaderKnown { leader, .. } => self.controller_known(leader),
            Effect::Lead { epoch, .. } => {
                let next = self.disk.metadata.end();
                self.tell(|| format!("the controller here is active in epoch {epoch}"));
                let event = metadata::Event::Lead { epoch, next };
                self.process.work.push_back(Work::Controller(event));
                self.meet_brokers();
            }
            Effect::LostLeadership { .. } => {
                self.process.work.push_back(Work::Controller(metadata::Event::LostLeadership));
            }
            Effect::Committed(end) => self.replay_committed(end),
            Effect::StoreSnapshotChunk { snapshot, position, bytes, last } => {
                self.store_chunk(snapshot, position, bytes, last);
            }
            // The simulated quorums are static ones: nobody asks for other voters.
            Effect::VotersKnown | Effect::VotersAnswered { .. } => {}
            Effect::Violation(promise) => self.violation(promise),
        }
    }

    fn send_gated(&mut self, to: NodeId, message: raft::Message<Chunk>, gate: Gate) {
        let writes = &mut self.process.writes;
        if gate == Gate::Stored && writes.stores_asked > writes.stores_done {
            writes.gated.push_back((writes.stores_asked, to, message));
        } else {
            self.send_quorum(to, message);
        }
    }

    fn send_quorum(&mut self, to: NodeId, message: raft::Message<Chunk>) {
        if let raft::Message::VoteResponse(answer) = &message
            && answer.granted
            && !answer.pre_vote
        {
            let (voter, epoch) = (self.process.quorum.me(), answer.epoch);
            self.process.moment = Some(Moment::Voted);
            self.env.facts.push(Fact::Granted { voter, epoch, candidate: to });
            self.tell(|| format!("votes for {to} in epoch {epoch}"));
        }
        self.send(to, Message::Quorum(message));
    }

    /// There is news: every held fetch is looked at as if it had just arrived.
    fn present_held_again(&mut self) {
        for (from, fetch) in std::mem::take(&mut self.process.held) {
            self.cancel(Timer::Hold(from));
            let message = raft::Message::Fetch(fetch);
            self.process.work.push_back(Work::Quorum(Event::Received { from, message }));
        }
    }

    pub(super) fn hold_expired(&mut self, from: NodeId) {
        if let Some(fetch) = self.process.held.remove(&from) {
            self.step_quorum(Event::HoldExpired { from, fetch });
        }
    }

    pub(super) fn quorum_message(&mut self, from: NodeId, message: raft::Message<Chunk>) {
        if let raft::Message::FetchResponse(answer) = &message
            && !matches!(answer.outcome, raft::FetchOutcome::Records { .. })
        {
            let (outcome, end) = (answer.outcome.clone(), self.disk.metadata.end());
            self.tell(|| format!("its log ends at {end}, {from} answers: {outcome:?}"));
        }
        if let raft::Message::Fetch(_) = &message {
            self.process.held.remove(&from);
            self.cancel(Timer::Hold(from));
        }
        self.step_quorum(Event::Received { from, message });
    }

    fn is_voter(&self, node: NodeId) -> bool {
        self.who.voters.iter().any(|voter| voter.id == node)
    }

    pub(super) fn link_up(&mut self, peer: NodeId, generation: u32, incarnation: Incarnation) {
        self.process.up.insert(peer, (generation, incarnation));
        if self.is_voter(peer) {
            self.step_quorum(Event::Connected(peer));
        }
        self.step_controller(metadata::Event::Connected { broker: peer, incarnation });
        self.router_link_up();
        self.fetch_from(peer);
    }

    pub(super) fn link_down(&mut self, peer: NodeId, generation: u32) {
        let Some(&(current, incarnation)) = self.process.up.get(&peer) else { return };
        if current != generation {
            return;
        }
        self.process.up.remove(&peer);
        self.process.held.remove(&peer);
        self.cancel(Timer::Hold(peer));
        if self.is_voter(peer) {
            self.step_quorum(Event::Disconnected(peer));
        }
        self.step_controller(metadata::Event::Disconnected { broker: peer });
        self.router_link_down(peer);
        self.replication_link_down(peer);
        self.probe(peer, incarnation);
    }

    /// Dials back: is the process gone, or only the link?
    fn probe(&mut self, peer: NodeId, incarnation: Incarnation) {
        let apart = 25 * MILLIS + self.env.chance.below(35 * MILLIS);
        let (by, run, peer) = (index(self.me), self.run, index(peer));
        self.env.after(apart, Happening::Probe { by, run, peer, incarnation });
    }

    pub(super) fn gone(&mut self, peer: NodeId, incarnation: Incarnation) {
        self.tell(|| format!("takes the process of node {peer} for gone"));
        if self.is_voter(peer) {
            self.step_quorum(Event::PeerGone(peer));
            // The evidence is of the process that ended; its successor's link may be up already.
            if self.process.is_linked(peer) {
                self.step_quorum(Event::Connected(peer));
            }
        }
        self.step_controller(metadata::Event::PeerGone { broker: peer, incarnation });
    }

    /// Dials every unfenced broker that has no link to this node.
    fn meet_brokers(&mut self) {
        let brokers: Vec<_> = self
            .process
            .committed()
            .brokers
            .values()
            .filter(|broker| broker.id != self.me && !broker.fenced)
            .filter(|broker| !self.process.is_linked(broker.id))
            .map(|broker| (broker.id, broker.incarnation))
            .collect();
        brokers.into_iter().for_each(|(id, incarnation)| self.probe(id, incarnation));
    }
}

/// The disk.
impl<R: Rules> At<'_, R> {
    /// Starts whatever is wanted and not already under way.
    pub(super) fn start_writes(&mut self) {
        let writes = &mut self.process.writes;
        if self.disk.storing.is_none()
            && let Some(state) = writes.store_wanted.take()
        {
            let number = writes.stores_asked;
            self.disk.storing = Some(state);
            let (time, failed) = (self.env.disk_time(), self.metadata_fails());
            self.later(time, Input::Stored { number, failed });
        }
        let writes = &mut self.process.writes;
        if writes.flushing.is_none() && std::mem::take(&mut writes.flush_wanted) {
            let log = &self.disk.metadata;
            if log.flushed() < log.end() {
                let to = log.end().0;
                (writes.flushing, writes.truncated) = (Some(to), false);
                self.process.moment.get_or_insert(Moment::Appended);
                let (time, failed) = (self.env.disk_time(), self.metadata_fails());
                self.later(time, Input::Flushed { to, failed });
            }
        }
    }

    fn metadata_fails(&mut self) -> bool {
        std::mem::take(&mut self.disk.fail_metadata)
    }

    pub(super) fn stored(&mut self, number: u64, failed: bool) {
        if failed {
            return self.fatal("epoch and vote cannot be stored");
        }
        if let Some(state) = self.disk.storing.take() {
            self.disk.stored = state;
        }
        self.process.writes.stores_done = number;
        let is_due = |(asked, ..): &(u64, NodeId, _)| *asked <= number;
        while self.process.writes.gated.front().is_some_and(is_due) {
            if let Some((_, to, message)) = self.process.writes.gated.pop_front() {
                self.send_quorum(to, message);
            }
        }
    }

    pub(super) fn flushed(&mut self, _: i64, failed: bool) {
        let Some(to) = self.process.writes.flushing.take() else { return };
        if failed {
            // After a failed fsync nobody knows what is on the disk: never try again.
            return self.fatal("the metadata log cannot be flushed");
        }
        let undisturbed = !self.process.writes.truncated;
        self.disk.metadata.flushed_up_to(to, undisturbed);
        let flushed = self.disk.metadata.flushed();
        if self.disk.metadata.damaged.is_some_and(|former| flushed.0 >= former) {
            self.disk.metadata.damaged = None;
            self.tell(|| "has its damaged metadata log whole again".to_owned());
        }
        self.step_quorum(Event::Flushed(flushed));
    }
}

/// Replaying, and snapshots in both directions (K4, Q11).
impl<R: Rules> At<'_, R> {
    fn replay_committed(&mut self, end: Offset) {
        let due: Vec<Arc<MetaBatch>> = self
            .disk
            .metadata
            .from(self.process.replayed.0)
            .take_while(|batch| batch.base < end.0)
            .cloned()
            .collect();
        for batch in due {
            self.replay(&batch);
        }
        if self.process.replayed < end {
            self.fatal("the metadata log ends before what is committed");
        }
        self.snapshot_if_due();
    }

    fn replay(&mut self, batch: &MetaBatch) {
        let (base, end) = (Offset(batch.base), Offset(batch.end()));
        if self.process.controller.is_some() {
            let records = batch.records.clone();
            self.controller_event(metadata::Event::Committed { base, records, end });
        } else {
            let image = &mut self.process.image;
            for (index, record) in (0..).zip(&batch.records) {
                if image.replay(base.plus(index), record).is_err() {
                    return self
                        .violation("a committed record does not fit the metadata before it");
                }
            }
            image.end = end;
        }
        self.process.replayed = end;
        self.process.replayed_epoch = Epoch(batch.epoch);
        self.process.unsnapshotted += 1;
        self.env.facts.push(Fact::Replayed);
        self.publish();
    }

    fn load_snapshot(&mut self) {
        let Some(snapshot) = self.disk.metadata.snapshot_content().cloned() else { return };
        let Ok(image) = Image::load(snapshot.id.end, &snapshot.records) else {
            return self.violation("a snapshot does not load");
        };
        self.process.replayed = snapshot.id.end;
        self.process.replayed_epoch = snapshot.id.epoch;
        match &self.process.controller {
            Some(_) => self.controller_event(metadata::Event::Loaded(Box::new(image))),
            None => self.process.image = image,
        }
        self.env.facts.push(Fact::Replayed);
        self.publish();
    }

    fn store_chunk(&mut self, snapshot: SnapshotId, position: u64, bytes: Chunk, last: bool) {
        let expected = match self.process.fetched {
            Some((of, stored)) if of == snapshot && position > 0 => stored,
            _ => 0,
        };
        if position != expected {
            return self.fatal("a snapshot's chunks do not follow one another");
        }
        self.process.fetched = Some((snapshot, bytes.end().0.max(0) as u64));
        if let (true, Some(content)) = (last, bytes.snapshot) {
            self.tell(|| format!("has fetched the snapshot at {}", snapshot.end));
            self.disk.metadata.snapshot_stored(content);
            self.process.work.push_back(Work::Quorum(Event::SnapshotInstalled(snapshot)));
            self.load_snapshot();
        }
    }

    fn snapshot_if_due(&mut self) {
        let due = self.process.unsnapshotted >= self.env.profile.snapshot_batches;
        if !due || self.process.is_writing_snapshot || self.process.end.is_some() {
            return;
        }
        self.process.is_writing_snapshot = true;
        self.process.unsnapshotted = 0;
        let (end, epoch) = (self.process.replayed, self.process.replayed_epoch);
        let id = SnapshotId { end, epoch };
        let snapshot = Snapshot { id, records: self.process.committed().records() };
        // Kept with the process until it is written: a crash before that leaves nothing.
        self.process.writing = Some(Arc::new(snapshot));
        let time = self.env.disk_time();
        self.later(time, Input::SnapshotWritten(id));
    }

    pub(super) fn snapshot_written(&mut self, id: SnapshotId) {
        self.process.is_writing_snapshot = false;
        if let Some(snapshot) = self.process.writing.take() {
            self.disk.metadata.snapshot_stored(snapshot);
            self.step_quorum(Event::SnapshotWritten(id));
        }
    }

    /// Tells the broker's part of this process, which lags as its mailboxes do.
    fn publish(&mut self) {
        if !self.who.is_broker {
            return;
        }
        let image = Arc::new(self.process.committed().clone());
        let lag = self.metadata_lag();
        let at = (self.env.now + lag).max(self.process.published_at + 1);
        self.process.published_at = at;
        self.later(at - self.env.now, Input::Published(image));
    }

    fn metadata_lag(&mut self) -> u64 {
        use crate::sim::faults::Fault;
        if self.env.chance.per_mille(self.env.profile.metadata_lag) {
            self.env.counts.count(Fault::MetadataLag);
            return self.env.chance.between(20, 1_500) * MILLIS;
        }
        self.env.chance.below(300)
    }
}
