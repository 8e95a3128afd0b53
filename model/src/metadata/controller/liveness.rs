//! Evidence that a broker's process is gone, and doubt about that evidence.
//!
//! Fencing early is always safe; fencing wrongly costs availability. So a `PeerGone` counts only
//! for the incarnation that is registered, and not for a minute after it turned out to be wrong.
//! When most brokers seem to go at once and not all of them are known to be dead, it is more likely
//! this node's network that failed: then only session timeouts count.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::{Effect, Effects, Image, ShrinkReason, Timer};
use crate::{Incarnation, NodeId, Rules};

use super::active::Active;
use super::scope::Scope;

/// The brokers that are linked to this node, and the process at the other end.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Links(BTreeMap<NodeId, Incarnation>);

impl Links {
    pub fn opened(&mut self, broker: NodeId, incarnation: Incarnation) {
        self.0.insert(broker, incarnation);
    }

    pub fn closed(&mut self, broker: NodeId) {
        self.0.remove(&broker);
    }

    pub fn gone(&mut self, broker: NodeId, incarnation: Incarnation) {
        if self.leads_to(broker, incarnation) {
            self.closed(broker);
        }
    }

    pub fn leads_to(&self, broker: NodeId, incarnation: Incarnation) -> bool {
        self.0.get(&broker) == Some(&incarnation)
    }
}

/// What an active controller makes of links that close.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Suspicion {
    window: Option<Window>,
    /// Fenced because their process was said to be gone.
    fenced: BTreeMap<NodeId, Incarnation>,
    /// That was wrong lately: these are fenced by session timeouts only.
    distrusted: BTreeSet<NodeId>,
}

/// One second, from the first link that closes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Window {
    /// Brokers that were not fenced when it began.
    unfenced: usize,
    /// Their links closed; nothing is known about their processes.
    closed: BTreeSet<NodeId>,
    /// These processes are gone.
    dead: BTreeMap<NodeId, Incarnation>,
}

impl Window {
    /// Whether what is seen is better explained by a failure of this node.
    fn is_doubtful(&self) -> bool {
        2 * (self.closed.len() + self.dead.len()) > self.unfenced && !self.closed.is_empty()
    }
}

impl Suspicion {
    /// The timers that may run on behalf of this state.
    pub fn timers(&self) -> impl Iterator<Item = Timer> {
        let window = self.window.iter().map(|_| Timer::SuspicionWindow);
        window.chain(self.distrusted.iter().map(|&broker| Timer::Distrust(broker)))
    }

    pub fn close_window(&mut self) {
        self.window = None;
    }

    pub fn trust_again(&mut self, broker: NodeId) {
        self.distrusted.remove(&broker);
    }

    /// A heartbeat of a broker that was fenced as gone: if it is the same process, it was not.
    pub fn came_back(&mut self, image: &Image, broker: NodeId, fx: &mut Effects) {
        let Some(said_gone) = self.fenced.remove(&broker) else { return };
        if image.broker(broker).is_some_and(|it| it.incarnation == said_gone) {
            self.distrusted.insert(broker);
            fx.push(Effect::SetTimer(Timer::Distrust(broker)));
        }
    }

    fn window(&mut self, image: &Image, fx: &mut Effects) -> &mut Window {
        self.window.get_or_insert_with(|| {
            fx.push(Effect::SetTimer(Timer::SuspicionWindow));
            let unfenced = image.brokers.values().filter(|broker| !broker.fenced).count();
            Window { unfenced, ..Window::default() }
        })
    }
}

impl Active {
    pub fn peer_gone<R: Rules>(
        &mut self,
        scope: &Scope<R>,
        id: NodeId,
        incarnation: Incarnation,
        fx: &mut Effects,
    ) {
        let registered = self.latest.broker(id).filter(|it| it.incarnation == incarnation);
        let Some(broker) = registered else { return };
        if broker.fenced {
            self.end_session(id, fx);
        } else if !self.suspicion.distrusted.contains(&id) {
            let window = self.suspicion.window(&self.latest, fx);
            window.closed.remove(&id);
            window.dead.insert(id, incarnation);
            self.judge(scope, fx);
        }
    }

    pub fn disconnected(&mut self, id: NodeId, fx: &mut Effects) {
        if self.latest.broker(id).is_some_and(|broker| !broker.fenced) {
            let window = self.suspicion.window(&self.latest, fx);
            if !window.dead.contains_key(&id) {
                window.closed.insert(id);
            }
        }
    }

    /// Only a reconnect: there is less to doubt. The process that answers is alive, which is what a
    /// heartbeat would say: its session starts anew, so that links which break faster than
    /// heartbeats get through fence nobody (B3).
    pub fn connected<R: Rules>(
        &mut self,
        scope: &Scope<R>,
        id: NodeId,
        incarnation: Incarnation,
        fx: &mut Effects,
    ) {
        let registered = self.latest.broker(id).filter(|it| it.incarnation == incarnation);
        if registered.is_some_and(|it| !it.fenced) && self.sessions.contains_key(&id) {
            self.touch(id, fx);
        }
        if let Some(window) = &mut self.suspicion.window
            && window.closed.remove(&id)
        {
            self.judge(scope, fx);
        }
    }

    /// Fences the dead of this window, one after the other, unless the verdict is in doubt.
    fn judge<R: Rules>(&mut self, scope: &Scope<R>, fx: &mut Effects) {
        let Some(window) = self.suspicion.window.as_ref().filter(|it| !it.is_doubtful()) else {
            return;
        };
        for (id, incarnation) in window.dead.clone() {
            let is_due = self
                .latest
                .broker(id)
                .is_some_and(|broker| !broker.fenced && broker.incarnation == incarnation);
            if is_due && !self.suspicion.distrusted.contains(&id) {
                self.end_session(id, fx);
                self.suspicion.fenced.insert(id, incarnation);
                self.fence(scope, id, ShrinkReason::PeerGone, fx);
            }
        }
    }
}
