//! Running the quorum machine's effects, and turning what arrives into its events.

use std::time::Duration;

use actix::Context;
use kraft_model::raft::{Effect, Event, Message, Patience, Timer};
use kraft_model::{Incarnation, NodeId, metadata};
use tracing::{info, warn};

use super::{QuorumActor, Work};
use crate::peer::LinkId;
use crate::storage::Records;

/// One timer per kind, whatever patience an election timer was set with; and the one that ends the
/// longest wait of held fetches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TimerKey {
    Election,
    Fetch,
    CheckQuorum,
    Announce,
    Retry,
    VoterChange,
    Hold(NodeId),
}

fn key(timer: Timer) -> TimerKey {
    match timer {
        Timer::Election(_) => TimerKey::Election,
        Timer::Fetch => TimerKey::Fetch,
        Timer::CheckQuorum => TimerKey::CheckQuorum,
        Timer::Announce => TimerKey::Announce,
        Timer::Retry => TimerKey::Retry,
        Timer::VoterChange => TimerKey::VoterChange,
    }
}

/// A voter of this rank waits this much longer than the one before it.
const RANK_STEP: Duration = Duration::from_millis(30);
/// How soon a request that was refused or unanswered is sent again.
const RETRY: Duration = Duration::from_millis(20);
/// How long a voter of a fresh cluster waits at most before its first pre-vote.
const FRESH: Duration = Duration::from_millis(50);

/// Anything between nothing and `most`.
fn jitter(most: Duration) -> Duration {
    most.mul_f64(fastrand::f64())
}

impl QuorumActor {
    pub(super) fn run_quorum_effect(
        &mut self,
        effect: Effect<Records>,
        context: &mut Context<Self>,
    ) {
        match effect {
            Effect::Store(state) => self.disk.store(state),
            Effect::Send { to, message, gate } => {
                let store = self.disk.unfinished_store();
                self.outbox.send(&self.links, to, message, gate, store);
            }
            Effect::Flush => self.disk.flush(),
            Effect::Hold { from, fetch } => self.hold(from, fetch, context),
            Effect::News => self.present_held_again(context),
            Effect::SetTimer(timer) => self.set_timer(timer, context),
            Effect::CancelTimer(timer) => self.timers.cancel(context, key(timer)),
            Effect::LeaderKnown { leader, epoch } => {
                info!(leader = ?leader, %epoch, "leader of the quorum");
                self.listener.controller(leader, epoch);
            }
            Effect::Lead { epoch, start } => self.lead(epoch, start),
            Effect::LostLeadership { epoch } => {
                info!(%epoch, "leads the quorum no longer");
                self.work.push_back(Work::Controller(metadata::Event::LostLeadership));
            }
            // Nobody can ask this shell for a voter change yet.
            Effect::VotersKnown | Effect::VotersAnswered { .. } => {}
            Effect::Committed(end) => self.replay_committed(end, context),
            Effect::StoreSnapshotChunk { snapshot, position, bytes, last } => {
                self.store_snapshot_chunk(snapshot, position, &bytes, last, context);
            }
            Effect::Violation(promise) => {
                self.fatal(format!("a promise of the quorum is broken: {promise}"));
            }
        }
    }

    fn lead(&mut self, epoch: kraft_model::Epoch, start: kraft_model::Offset) {
        info!(%epoch, %start, "leads the quorum: the controller here is active");
        let next = kraft_model::log::Log::end(&self.disk.log);
        self.work.push_back(Work::Controller(metadata::Event::Lead { epoch, next }));
        // A new controller inherits no verdict about brokers: it asks for itself.
        self.meet_brokers();
    }

    fn set_timer(&mut self, timer: Timer, context: &mut Context<Self>) {
        let election = self.config.quorum_election_timeout;
        let fetch = self.config.quorum_fetch_timeout;
        let after = match timer {
            Timer::Election(Patience::Full) => election + jitter(election),
            Timer::Election(Patience::Fresh) => jitter(FRESH),
            Timer::Election(Patience::Ranked(rank)) => {
                RANK_STEP * u32::from(rank) + jitter(RANK_STEP)
            }
            Timer::Election(Patience::Backoff(tries)) => {
                jitter((FRESH * 2_u32.saturating_pow(u32::from(tries.min(8)))).min(election))
            }
            Timer::Fetch => fetch,
            Timer::CheckQuorum => fetch.mul_f64(1.5),
            Timer::Announce => fetch / 4,
            Timer::Retry => RETRY + jitter(RETRY),
            Timer::VoterChange => fetch * 5,
        };
        let slot = key(timer);
        self.timers.set(context, slot, after, move |actor, context| {
            actor.timers.fired(slot);
            actor.run(Work::Quorum(Event::Timeout(timer)), context);
        });
    }

    fn hold(&mut self, from: NodeId, fetch: kraft_model::raft::Fetch, context: &mut Context<Self>) {
        let fresh = self.held.insert(from, fetch).is_none();
        if fresh {
            let slot = TimerKey::Hold(from);
            let wait = self.config.quorum_fetch_max_wait;
            self.timers.set(context, slot, wait, move |actor, context| {
                actor.timers.fired(slot);
                if let Some(fetch) = actor.held.remove(&from) {
                    actor.run(Work::Quorum(Event::HoldExpired { from, fetch }), context);
                }
            });
        }
    }

    /// There is news: every held fetch is looked at as if it had just arrived.
    fn present_held_again(&mut self, context: &mut Context<Self>) {
        for (from, fetch) in std::mem::take(&mut self.held) {
            self.timers.cancel(context, TimerKey::Hold(from));
            let message = Message::Fetch(fetch);
            self.work.push_back(Work::Quorum(Event::Received { from, message }));
        }
    }

    pub(super) fn received(
        &mut self,
        peer: NodeId,
        link: LinkId,
        message: Message<Records>,
        context: &mut Context<Self>,
    ) {
        match &message {
            Message::Vote(_) | Message::BeginQuorumEpoch(_) | Message::EndQuorumEpoch(_) => {
                self.outbox.asked(peer, link);
            }
            Message::FetchSnapshot(_) => self.outbox.asked(peer, link),
            Message::Fetch(fetch) => {
                self.outbox.asked(peer, link);
                self.held.remove(&peer);
                self.timers.cancel(context, TimerKey::Hold(peer));
                self.progress.fetched(fetch, kraft_model::log::Log::end(&self.disk.log));
            }
            _ => {}
        }
        self.run(Work::Quorum(Event::Received { from: peer, message }), context);
    }

    pub(super) fn link_up(
        &mut self,
        peer: NodeId,
        link: LinkId,
        incarnation: Incarnation,
        context: &mut Context<Self>,
    ) {
        self.up.insert(link, peer);
        if self.is_voter(peer) {
            self.run(Work::Quorum(Event::Connected(peer)), context);
        }
        let event = metadata::Event::Connected { broker: peer, incarnation };
        self.run(Work::Controller(event), context);
    }

    pub(super) fn link_down(&mut self, peer: NodeId, link: LinkId, context: &mut Context<Self>) {
        self.up.remove(&link);
        self.outbox.link_down(peer, link);
        if self.is_up(peer) {
            return;
        }
        if self.is_voter(peer) {
            self.run(Work::Quorum(Event::Disconnected(peer)), context);
        }
        self.run(Work::Controller(metadata::Event::Disconnected { broker: peer }), context);
    }

    /// Whether any link with `peer` is up, whoever dialled it.
    pub(super) fn is_up(&self, peer: NodeId) -> bool {
        self.up.values().any(|&other| other == peer)
    }

    pub(super) fn gone(
        &mut self,
        peer: NodeId,
        incarnation: Incarnation,
        context: &mut Context<Self>,
    ) {
        warn!(%peer, %incarnation, "the process is gone: its port refuses connections");
        if self.is_voter(peer) {
            self.run(Work::Quorum(Event::PeerGone(peer)), context);
            // The evidence is of the process that ended; its successor's link may be up already.
            if self.is_up(peer) {
                self.run(Work::Quorum(Event::Connected(peer)), context);
            }
        }
        let event = metadata::Event::PeerGone { broker: peer, incarnation };
        self.run(Work::Controller(event), context);
    }

    pub(super) fn is_voter(&self, node: NodeId) -> bool {
        self.config.voters.iter().any(|voter| voter.id == node)
    }
}
