//! The quorum actor: steps of its two machines, effects of the quorum machine, and links.

use crate::log::Log;
use crate::metadata;
use crate::raft::{self, Effect, Event};
use crate::sim::disk::Chunk;
use crate::sim::env::{Fact, Happening, Message, Timer};
use crate::sim::profile::MILLIS;
use crate::{Incarnation, NodeId, Rules};

use super::{At, Moment, Work, index};

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
        if is == "Candidate" && was != is {
            self.process.moment = Some(Moment::Stood);
        }
        if is == "Leader" && was != is {
            self.process.moment = Some(Moment::Led);
        }
        effects.into_iter().for_each(|effect| self.run_quorum_effect(effect));
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
            Effect::LeaderKnown { leader, .. } => {
                self.controller_known(leader);
                self.find_voters();
            }
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
            Effect::VotersKnown => self.voters_known(),
            Effect::VotersAnswered { id, result } => self.voters_answered(id, result),
            Effect::Violation(promise) => self.violation(promise),
        }
    }

    pub(super) fn send_quorum(&mut self, to: NodeId, message: raft::Message<Chunk>) {
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
            && !matches!(
                answer.outcome,
                raft::FetchOutcome::Records { .. } | raft::FetchOutcome::Refused(_)
            )
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

    pub(super) fn link_up(&mut self, peer: NodeId, generation: u32, incarnation: Incarnation) {
        self.process.up.insert(peer, (generation, incarnation));
        if self.who.knows_as_controller(peer) {
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
        if self.who.knows_as_controller(peer) {
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
        if self.who.knows_as_controller(peer) {
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
