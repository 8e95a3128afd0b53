//! Finding the controllers of a dynamic quorum: voters by what the log says of them, the rest by
//! asking around (KIP-853).
//!
//! ```text
//!   Voters record ──▶ dial                       whoever is named there
//!   no leader, or no link to it:
//!     bootstrap servers ──▶ who are you? ──▶ dial
//!     controllers that are linked ──▶ who votes? ──▶ dial
//! ```
//!
//! The quorum's machine does the rest: it asks whom it has a link to who leads.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context};
use kraft_model::NodeId;
use kraft_model::raft::Event;
use tracing::{debug, info};

use super::raft_effects::TimerKey;
use super::{QuorumActor, Work};
use crate::config::NodeConfig;
use crate::peer::{self, QuorumView};
use crate::storage::VoterEndpoint;

/// The id of the quorum's own question who votes; the questions of others begin at 1.
pub const FINDING: u64 = 0;

/// The first and the longest wait between two rounds of asking.
const ROUNDS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Who knows voters leaves them so long to elect a leader before it asks around.
const ELECTION_TIME: Duration = Duration::from_millis(500);

/// What is known of other nodes beside the log.
#[derive(Default)]
pub struct Finding {
    /// Where the log's last Voters record has each voter.
    named: BTreeMap<NodeId, (String, u16)>,
    /// Everybody that there ever was a link to: whether it is a controller, and where it is.
    met: HashMap<NodeId, (bool, (String, u16))>,
    /// A round is under way or due.
    asking: bool,
    rounds: u32,
}

impl Finding {
    pub fn met(&mut self, peer: NodeId, controller: bool, endpoint: (String, u16)) {
        self.met.insert(peer, (controller, endpoint));
    }

    /// Where `peer` says it is reached, and whether it is a controller.
    pub fn of(&self, peer: NodeId) -> Option<&(bool, (String, u16))> {
        self.met.get(&peer)
    }
}

/// The endpoint of a voter that this node can dial.
fn dialable(config: &NodeConfig, endpoints: &[VoterEndpoint]) -> Option<(String, u16)> {
    let ours = |at: &&VoterEndpoint| config.controller_listeners.contains(&at.name);
    let at = endpoints.iter().find(ours).or(endpoints.first())?;
    Some((at.host.clone(), at.port))
}

impl QuorumActor {
    /// Whether `peer` takes part in the quorum, as a voter or as one that may become one.
    pub(super) fn is_controller(&self, peer: NodeId) -> bool {
        self.config.voters.iter().any(|voter| voter.id == peer)
            || self.finding.met.get(&peer).is_some_and(|(controller, _)| *controller)
    }

    /// Keeps links to everybody that the log names as a voter. An endpoint that was found to be
    /// another one since stays until the log says something new.
    pub(super) fn dial_voters(&mut self) {
        for voter in self.disk.log.voters() {
            let Some(endpoint) = dialable(&self.config, &voter.endpoints) else { continue };
            let id = voter.key.id;
            if id != self.me.id && self.finding.named.get(&id) != Some(&endpoint) {
                self.links.ensure(id, endpoint.clone());
                self.finding.named.insert(id, endpoint);
            }
        }
    }

    /// Whoever was removed for good is not dialled any more, unless it is a broker as well.
    pub(super) fn forget_removed(&mut self) {
        let committed = self.quorum.voters_at() < Some(self.quorum.high_watermark());
        if !committed || self.quorum.voters_at().is_none() {
            return;
        }
        let (voters, leader) = (self.quorum.voters(), self.quorum.leader());
        let brokers = &self.committed().brokers;
        let removed = |id: &NodeId| {
            voters.iter().all(|v| v.id != *id) && leader != Some(*id) && !brokers.contains_key(id)
        };
        let gone: Vec<NodeId> = self.finding.named.keys().copied().filter(removed).collect();
        for id in gone {
            self.finding.named.remove(&id);
            self.links.forget(id);
        }
    }

    /// Asks around until there is a leader and a link to it.
    pub(super) fn find_voters(&mut self, context: &mut Context<Self>) {
        if self.config.bootstrap_servers.is_empty() || self.finding.asking || self.has_leader() {
            return;
        }
        self.finding.asking = true;
        self.finding.rounds = 0;
        let knows_nobody = self.quorum.voters().is_empty();
        let first = if knows_nobody { Duration::ZERO } else { ELECTION_TIME };
        self.next_round(first, context);
    }

    fn has_leader(&self) -> bool {
        let leader = self.quorum.leader();
        leader.is_some_and(|leader| leader == self.me.id || self.is_up(leader))
    }

    fn next_round(&mut self, after: Duration, context: &mut Context<Self>) {
        self.timers.set(context, TimerKey::Find, after, |actor, context| {
            actor.timers.fired(TimerKey::Find);
            if actor.has_leader() {
                actor.finding.asking = false;
                return;
            }
            actor.ask_around(context);
            let (shortest, longest) = ROUNDS;
            let wait = shortest * 2_u32.saturating_pow(actor.finding.rounds.min(8));
            actor.finding.rounds += 1;
            actor.next_round(wait.min(longest), context);
        });
    }

    fn ask_around(&mut self, context: &mut Context<Self>) {
        for peer in self.up.values().filter(|&&peer| self.is_controller(peer)) {
            // Whoever does not answer is asked again in the next round.
            let _ = self.links.send(*peer, peer::Message::DescribeQuorum { id: FINDING });
        }
        for (host, port) in self.config.bootstrap_servers.clone() {
            let ask = async move { peer::identify((&host, port)).await };
            context.spawn(actix::fut::wrap_future::<_, Self>(ask).map(|answer, actor, _| {
                match answer {
                    Ok(hello) => actor.found(&hello),
                    Err(error) => debug!(%error, "a bootstrap server does not answer"),
                }
            }));
        }
    }

    /// Somebody answers at a bootstrap server's address.
    fn found(&mut self, hello: &peer::Hello) {
        let ours = hello.cluster == self.links.local().cluster && hello.controller;
        if ours && hello.node != self.me.id && !self.is_up(hello.node) {
            self.links.ensure(hello.node, hello.endpoint.clone());
        }
    }

    /// A controller says who votes. It is hearsay, which is good enough to dial, or to ask who leads
    /// where a link stands already: two observers that know nobody would ask each other for ever.
    pub(super) fn told_of_voters(&mut self, view: &QuorumView, context: &mut Context<Self>) {
        let me = self.me.id;
        for voter in view.voters.iter().filter(|voter| voter.id != me) {
            if self.is_up(voter.id) {
                self.run(Work::Quorum(Event::Connected(voter.id)), context);
            } else if let Some(endpoint) = dialable(&self.config, &voter.endpoints) {
                info!(voter = %voter.id, host = %endpoint.0, port = endpoint.1, "told of a voter");
                self.links.ensure(voter.id, endpoint);
            }
        }
    }
}
