//! Which links are up, and with whom. Only look-ups and small changes happen under its lock.

use std::collections::{BTreeMap, BTreeSet};

use kraft_model::{Incarnation, NodeId};
use tokio::sync::watch;

use super::handshake::Hello;
use super::link::Queue;
use super::links::LinkId;

#[derive(Default)]
pub(super) struct Table {
    /// Peers that this node keeps dialled, and where.
    wanted: BTreeMap<NodeId, watch::Sender<(String, u16)>>,
    links: BTreeMap<LinkId, Up>,
    /// The incarnation that was last found gone, so that it is told once.
    gone: BTreeMap<NodeId, Incarnation>,
    probed: BTreeSet<(NodeId, Incarnation)>,
    next: u64,
    closed: bool,
}

/// A link that is up. Dropping it ends the link: its queue is the only one.
struct Up {
    hello: Hello,
    dialled: bool,
    queue: Queue,
}

impl Table {
    /// A receiver if there is a new peer to dial; `None` if it is dialled already (its endpoint
    /// may have moved, then its link is dialled anew).
    pub fn want(
        &mut self,
        peer: NodeId,
        endpoint: (String, u16),
    ) -> Option<watch::Receiver<(String, u16)>> {
        if self.closed {
            return None;
        }
        if let Some(wanted) = self.wanted.get(&peer) {
            let moved = wanted.send_if_modified(|current| {
                let moved = *current != endpoint;
                *current = endpoint;
                moved
            });
            if moved {
                self.links.retain(|_, up| up.hello.node != peer || !up.dialled);
            }
            return None;
        }
        let (sender, receiver) = watch::channel(endpoint);
        self.wanted.insert(peer, sender);
        Some(receiver)
    }

    pub fn forget(&mut self, peer: NodeId) {
        self.wanted.remove(&peer);
        self.links.retain(|_, up| up.hello.node != peer || !up.dialled);
    }

    pub fn close(&mut self) {
        self.closed = true;
        self.wanted.clear();
        self.links.clear();
    }

    /// Whether a node that says this may have a link beside those that are up.
    pub fn admit(&self, hello: &Hello) -> Result<(), String> {
        let other = |up: &&Up| up.hello.node == hello.node && up.hello.directory != hello.directory;
        match self.links.values().find(other) {
            Some(up) => Err(format!(
                "node.id {} is in use by a node with directory id {}; this one has {}",
                hello.node, up.hello.directory, hello.directory
            )),
            None => Ok(()),
        }
    }

    /// Enters a link that has come up. It replaces what stood in its place: links of earlier
    /// incarnations, and an older one in the same direction. `None` if no link is wanted.
    pub fn enter(&mut self, hello: Hello, dialled: bool, queue: Queue) -> Option<LinkId> {
        if self.closed || (dialled && !self.wanted.contains_key(&hello.node)) {
            return None;
        }
        self.links.retain(|_, up| {
            up.hello.node != hello.node
                || (up.hello.incarnation == hello.incarnation && up.dialled != dialled)
        });
        if self.gone.get(&hello.node) == Some(&hello.incarnation) {
            self.gone.remove(&hello.node);
        }
        self.next += 1;
        let id = LinkId(self.next);
        self.links.insert(id, Up { hello, dialled, queue });
        Some(id)
    }

    pub fn remove(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    pub fn queue(&self, link: LinkId) -> Option<Queue> {
        self.links.get(&link).map(|up| up.queue.clone())
    }

    /// The queue towards a peer; the link that this node dialled, if there are two.
    pub fn queue_to(&self, peer: NodeId) -> Option<Queue> {
        let links = self.links.values().filter(|up| up.hello.node == peer);
        links.max_by_key(|up| up.dialled).map(|up| up.queue.clone())
    }

    /// Where to ask after a peer: where it is dialled, else where it says it can be reached.
    pub fn endpoint(&self, hello: &Hello) -> (String, u16) {
        let wanted = self.wanted.get(&hello.node).map(|wanted| wanted.borrow().clone());
        wanted.unwrap_or_else(|| hello.endpoint.clone())
    }

    /// Whether it is worth asking what became of this incarnation, which no link speaks for. What
    /// was told once is not asked again by itself, but is for whoever wants it `anew`: a new
    /// controller inherits no verdict.
    pub fn begin_probe(&mut self, peer: NodeId, incarnation: Incarnation, anew: bool) -> bool {
        !self.closed
            && !self.is_up(peer, incarnation)
            && (anew || self.gone.get(&peer) != Some(&incarnation))
            && self.probed.insert((peer, incarnation))
    }

    /// Whether the incarnation is to be told gone: not if a link has come back meanwhile.
    pub fn end_probe(&mut self, peer: NodeId, incarnation: Incarnation, gone: bool) -> bool {
        self.probed.remove(&(peer, incarnation));
        let tell = gone && !self.closed && !self.is_up(peer, incarnation);
        if tell {
            self.gone.insert(peer, incarnation);
        }
        tell
    }

    /// Whether another incarnation of the peer has taken the place of this one.
    pub fn is_replaced(&self, peer: NodeId, incarnation: Incarnation) -> bool {
        let mut hellos = self.links.values().map(|up| &up.hello);
        hellos.any(|hello| hello.node == peer && hello.incarnation != incarnation)
    }

    fn is_up(&self, peer: NodeId, incarnation: Incarnation) -> bool {
        let mut hellos = self.links.values().map(|up| &up.hello);
        hellos.any(|hello| hello.node == peer && hello.incarnation == incarnation)
    }
}
