//! Asking the active controller, wherever it is, and answering those who ask this one.

use std::collections::BTreeMap;

use crate::metadata::{AlteredPartition, Request, RequestId, Response};
use crate::sim::clients::Served;
use crate::sim::env::{Happening, Input, Message, Timer};
use crate::sim::profile::{MILLIS, Micros, SECONDS};
use crate::{NodeId, Rules, broker};

use super::{At, index};

/// Who waits for an answer of the controller.
#[derive(Clone, Debug)]
pub(super) enum Asker {
    Registration,
    Heartbeat,
    Alteration(Vec<AlteredPartition>),
    Client { client: usize, ticket: u64 },
}

impl Asker {
    /// As in the node: `lifecycle.rs`, `supervisor/outside.rs`, and an admin client's patience.
    fn patience(&self) -> Micros {
        match self {
            Asker::Registration | Asker::Heartbeat => 1_500 * MILLIS,
            Asker::Alteration(_) => 10 * SECONDS,
            Asker::Client { .. } => 5 * SECONDS,
        }
    }
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    asker: Asker,
    deadline: Micros,
    /// The controller that was asked, if it may still answer.
    asked: Option<NodeId>,
}

#[derive(Debug, Default)]
pub(super) struct Router {
    leader: Option<NodeId>,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

impl Router {
    pub fn is_idle(&self) -> bool {
        self.waiting.values().all(|it| matches!(it.asker, Asker::Heartbeat))
    }
}

/// Where the answers of the controller machine go.
#[derive(Debug, Default)]
pub(super) struct Replies {
    next: RequestId,
    waiting: BTreeMap<RequestId, Whom>,
}

#[derive(Clone, Copy, Debug)]
enum Whom {
    Local(u64),
    Remote { peer: NodeId, generation: u32, id: u64 },
}

impl Replies {
    pub fn local(&mut self, id: u64) -> RequestId {
        self.enter(Whom::Local(id))
    }

    pub fn remote(&mut self, peer: NodeId, generation: u32, id: u64) -> RequestId {
        self.enter(Whom::Remote { peer, generation, id })
    }

    fn enter(&mut self, whom: Whom) -> RequestId {
        self.next += 1;
        self.waiting.insert(self.next, whom);
        self.next
    }
}

impl<R: Rules> At<'_, R> {
    /// Answers whoever asked, on the link on which it did.
    pub(super) fn reply(&mut self, id: RequestId, response: Response) {
        let response = Box::new(response);
        match self.process.replies.waiting.remove(&id) {
            Some(Whom::Local(id)) => self.later(1, Input::LocalReply { id, response }),
            Some(Whom::Remote { peer, generation, id })
                if self.process.up.get(&peer).map(|link| link.0) == Some(generation) =>
            {
                self.send(peer, Message::Reply { id, response });
            }
            // Whoever asked is gone.
            Some(Whom::Remote { .. }) | None => {}
        }
    }

    pub(super) fn ask(&mut self, request: Request, asker: Asker) {
        self.process.router.next += 1;
        let id = self.process.router.next;
        let deadline = self.env.now + asker.patience();
        let waiting = Waiting { request, asker, deadline, asked: None };
        self.process.router.waiting.insert(id, waiting);
        self.send_request(id);
        self.set_once(Timer::Sweep);
    }

    fn send_request(&mut self, id: u64) {
        let Some(leader) = self.process.router.leader else { return };
        let Some(waiting) = self.process.router.waiting.get(&id) else { return };
        let request = Box::new(waiting.request.clone());
        let is_sent = if leader == self.me {
            self.later(1, Input::LocalRequest { id, request });
            true
        } else {
            self.send(leader, Message::Request { id, request })
        };
        if let Some(waiting) = self.process.router.waiting.get_mut(&id).filter(|_| is_sent) {
            waiting.asked = Some(leader);
        }
    }

    fn send_waiting(&mut self) {
        let unsent = self.process.router.waiting.iter().filter(|(_, it)| it.asked.is_none());
        let unsent: Vec<u64> = unsent.map(|(&id, _)| id).collect();
        unsent.into_iter().for_each(|id| self.send_request(id));
    }

    /// Looks for what has expired or can be sent again.
    pub(super) fn sweep(&mut self) {
        let (now, leader) = (self.env.now, self.process.router.leader);
        let expired = self.process.router.waiting.iter().filter(|(_, it)| it.deadline <= now);
        let expired: Vec<u64> = expired.map(|(&id, _)| id).collect();
        for id in expired {
            if let Some(waiting) = self.process.router.waiting.remove(&id) {
                self.hand_over(waiting.asker, Response::NotController { leader });
            }
        }
        self.send_waiting();
        if !self.process.router.waiting.is_empty() {
            self.set(Timer::Sweep);
        }
    }

    pub(super) fn answered(&mut self, id: u64, response: Response) {
        let router = &mut self.process.router;
        if let Response::NotController { leader } = response {
            if let Some(waiting) = router.waiting.get_mut(&id) {
                waiting.asked = None;
            }
            router.leader = leader.or(router.leader);
        } else if let Some(waiting) = router.waiting.remove(&id) {
            self.hand_over(waiting.asker, response);
        }
    }

    fn hand_over(&mut self, asker: Asker, response: Response) {
        match asker {
            Asker::Registration => self.registered(response),
            Asker::Heartbeat => self.heartbeat_answered(response),
            Asker::Alteration(asked) => self.altered(asked, response),
            Asker::Client { client, ticket } => {
                self.serve(client, ticket, Served::Controller(response));
            }
        }
    }

    /// Tells a client, which is as far away as other nodes are.
    pub(super) fn serve(&mut self, client: usize, ticket: u64, served: Served) {
        let latency = self.env.latency();
        let served = Box::new(served);
        self.env.after(latency, Happening::Served { client, ticket, served });
    }

    /// The quorum machine knows another leader, or none.
    pub(super) fn controller_known(&mut self, leader: Option<NodeId>) {
        self.process.router.leader = leader;
        for waiting in self.process.router.waiting.values_mut() {
            waiting.asked = waiting.asked.filter(|&asked| Some(asked) == leader);
        }
        self.send_waiting();
        if self.who.is_broker {
            self.step_broker(broker::Event::Controller(leader));
        }
    }

    pub(super) fn router_link_up(&mut self) {
        self.send_waiting();
    }

    pub(super) fn router_link_down(&mut self, peer: NodeId) {
        debug_assert_ne!(index(peer), index(self.me));
        for waiting in self.process.router.waiting.values_mut() {
            waiting.asked = waiting.asked.filter(|&asked| asked != peer);
        }
        self.send_waiting();
    }
}
