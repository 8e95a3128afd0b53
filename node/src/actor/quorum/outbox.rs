//! Messages of the quorum on their way out, held back until what they promise is on disk (Q2).

use std::collections::{HashMap, VecDeque};

use kraft_model::NodeId;
use kraft_model::raft::{Gate, Message};

use crate::peer::{self, LinkId, Links};
use crate::storage::Records;

/// Sends in order per gate; remembers on which link each peer asks.
#[derive(Default)]
pub struct Outbox {
    /// Messages that wait for the store with this number.
    gated: VecDeque<(u64, NodeId, Message<Records>)>,
    asked_on: HashMap<NodeId, LinkId>,
}

impl Outbox {
    /// Answers to `peer` go out on `link` from now on.
    pub fn asked(&mut self, peer: NodeId, link: LinkId) {
        self.asked_on.insert(peer, link);
    }

    pub fn link_down(&mut self, peer: NodeId, link: LinkId) {
        if self.asked_on.get(&peer) == Some(&link) {
            self.asked_on.remove(&peer);
        }
    }

    /// Sends now, or once the store numbered `store` is done if `gate` says so.
    pub fn send(
        &mut self,
        links: &Links,
        to: NodeId,
        message: Message<Records>,
        gate: Gate,
        store: Option<u64>,
    ) {
        match (gate, store) {
            (Gate::Stored, Some(number)) => self.gated.push_back((number, to, message)),
            _ => self.deliver(links, to, message),
        }
    }

    /// The store numbered `store` is durable, and all before it.
    pub fn stored(&mut self, links: &Links, store: u64) {
        while self.gated.front().is_some_and(|(number, ..)| *number <= store) {
            if let Some((_, to, message)) = self.gated.pop_front() {
                self.deliver(links, to, message);
            }
        }
    }

    /// A message may be lost; the machines ask again.
    fn deliver(&self, links: &Links, to: NodeId, message: Message<Records>) {
        let is_answer = matches!(
            message,
            Message::VoteResponse(_)
                | Message::BeginQuorumEpochResponse { .. }
                | Message::FetchResponse(_)
                | Message::FetchSnapshotResponse(_)
        );
        let message = peer::Message::Quorum(message);
        match self.asked_on.get(&to) {
            Some(&link) if is_answer => super::replies::send(links, link, message),
            _ => {
                if let Err(error) = links.send(to, message) {
                    tracing::trace!(%to, %error, "a message of the quorum was not sent");
                }
            }
        }
    }
}
