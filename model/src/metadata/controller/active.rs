//! The part of a controller that exists only while its node leads the quorum (K1 to K3).

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::limits::MAX_RECORDS_PER_BATCH;
use crate::metadata::partition::Cause;
use crate::metadata::{
    Broker, Effect, Effects, Image, Record, Request, RequestId, Response, ShrinkReason, Timer,
};
use crate::{Guard, NodeId, Offset, Rules};

use super::liveness::{Links, Suspicion};
use super::scope::{Outcome, Scope};
use super::{ControllerDefaults, MAX_ELECTIONS_PER_PASS};

/// An active controller's state beside the committed image. All of it is dropped with leadership.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Active {
    /// What is committed, and everything that this controller has appended since.
    pub latest: Image,
    /// Answers that wait for the commit of what they rest on, in that order.
    pub waiting: VecDeque<Waiting>,
    /// Brokers that were heard of within the session timeout (B3).
    pub sessions: BTreeMap<NodeId, Session>,
    pub suspicion: Suspicion,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Waiting {
    /// Due once everything below is committed.
    pub until: Offset,
    id: RequestId,
    response: Response,
}

/// What a broker's heartbeats have told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Session {
    /// The end of the metadata that the broker has replayed.
    pub metadata_offset: Offset,
    /// The end of the metadata when its controlled shutdown began.
    pub shutdown_offset: Option<Offset>,
}

impl Active {
    pub fn new(mut latest: Image, next: Offset) -> Active {
        latest.end = next;
        Active {
            latest,
            waiting: VecDeque::new(),
            sessions: BTreeMap::new(),
            suspicion: Suspicion::default(),
        }
    }

    pub fn hash_state(&self, thorough: bool, hasher: &mut impl Hasher) {
        let Active { latest, waiting, sessions, suspicion } = self;
        (latest.end, waiting, sessions, suspicion).hash(hasher);
        if thorough {
            latest.hash(hasher);
        }
    }

    /// Starts the clocks of a new controller: it gives every broker a full session.
    pub fn arm(&mut self, defaults: &ControllerDefaults, fx: &mut Effects) {
        let end = self.latest.end;
        for broker in self.latest.brokers.values().filter(|broker| !broker.fenced) {
            let shutdown_offset = broker.in_controlled_shutdown.then_some(end);
            let session = Session { shutdown_offset, ..Session::default() };
            self.sessions.insert(broker.id, session);
            fx.push(Effect::SetTimer(Timer::Session(broker.id)));
        }
        if defaults.auto_leader_rebalance {
            fx.push(Effect::SetTimer(Timer::Balance));
        }
        fx.push(Effect::SetTimer(Timer::UncleanSweep));
    }

    /// K1: decides on what is latest, and appends what was decided.
    pub fn operate<R: Rules>(
        &mut self,
        scope: &Scope<R>,
        request: &Request,
        links: &Links,
        fx: &mut Effects,
    ) -> Response {
        let image = &self.latest;
        let Outcome { records, response } = match request {
            Request::RegisterBroker(asked) => return self.register(scope, asked, links, fx),
            Request::Heartbeat(asked) => return self.heartbeat(scope, asked, fx),
            Request::UnregisterBroker { broker } => scope.unregister(image, *broker),
            Request::CreateTopics { topics, validate_only } => {
                scope.create_topics(image, topics, *validate_only)
            }
            Request::DeleteTopics { topics } => scope.delete_topics(image, topics),
            Request::CreatePartitions { topics, validate_only } => {
                scope.create_partitions(image, topics, *validate_only)
            }
            Request::AlterConfigs { changes, validate_only } => {
                scope.alter_configs(image, changes, *validate_only)
            }
            Request::AlterPartition(asked) => scope.alter_partition(image, asked),
            Request::ElectLeaders(asked) => scope.elect_leaders(image, asked),
            Request::ReassignPartitions { partitions } => scope.reassign(image, partitions),
            Request::AllocateProducerIds { broker, epoch } => {
                scope.allocate_producer_ids(image, *broker, *epoch)
            }
        };
        self.append(records, fx);
        if let Response::UnregisterBroker(Ok(())) = response {
            self.unregistered(request, fx);
        }
        response
    }

    /// Appends `records` and replays them at once. More than fit an atomic batch go as several;
    /// those who need atomicity have checked that theirs fit.
    pub fn append(&mut self, mut records: Vec<Record>, fx: &mut Effects) {
        while !records.is_empty() {
            let rest = records.split_off(records.len().min(MAX_RECORDS_PER_BATCH));
            let base = self.latest.end;
            for (index, record) in (0..).zip(&records) {
                if self.latest.replay(base.plus(index), record).is_err() {
                    fx.push(Effect::Violation("the controller's own record does not fit"));
                    return;
                }
            }
            fx.push(Effect::Append { base, records });
            records = rest;
        }
    }

    /// Answers as soon as everything that the answer may have read is committed.
    pub fn answer(
        &mut self,
        id: RequestId,
        response: Response,
        committed: Offset,
        fx: &mut Effects,
    ) {
        let until = self.latest.end;
        if until <= committed {
            fx.push(Effect::Reply { id, response });
        } else {
            self.waiting.push_back(Waiting { until, id, response });
        }
    }

    pub fn release(&mut self, committed: Offset, fx: &mut Effects) {
        let due = self.waiting.partition_point(|waiting| waiting.until <= committed);
        let due = self.waiting.drain(..due);
        fx.extend(due.map(|Waiting { id, response, .. }| Effect::Reply { id, response }));
    }

    /// K2: nobody may take for done what may never be committed.
    pub fn resign(self, fx: &mut Effects) {
        for Waiting { id, .. } in self.waiting {
            fx.push(Effect::Reply { id, response: Response::NotController { leader: None } });
        }
        let sessions = self.sessions.into_keys().map(Timer::Session);
        let timers = sessions.chain(self.suspicion.timers());
        fx.extend(timers.map(Effect::CancelTimer));
        fx.extend([Timer::Balance, Timer::UncleanSweep].map(Effect::CancelTimer));
    }

    fn unregistered(&mut self, request: &Request, fx: &mut Effects) {
        if let Request::UnregisterBroker { broker } = request {
            self.end_session(*broker, fx);
            fx.push(Effect::Fenced { broker: *broker, reason: ShrinkReason::Unregistered });
        }
    }

    /// The broker was heard of: its session starts anew.
    pub fn touch(&mut self, broker: NodeId, fx: &mut Effects) -> &mut Session {
        fx.push(Effect::SetTimer(Timer::Session(broker)));
        self.sessions.entry(broker).or_default()
    }

    pub fn end_session(&mut self, broker: NodeId, fx: &mut Effects) {
        if self.sessions.remove(&broker).is_some() {
            fx.push(Effect::CancelTimer(Timer::Session(broker)));
        }
    }

    pub fn timeout<R: Rules>(&mut self, scope: &Scope<R>, timer: Timer, fx: &mut Effects) {
        match timer {
            Timer::Session(broker) => self.session_expired(scope, broker, fx),
            Timer::Balance => {
                let records = scope.balance(&self.latest, MAX_ELECTIONS_PER_PASS);
                self.append(records, fx);
                fx.push(Effect::SetTimer(Timer::Balance));
            }
            Timer::UncleanSweep => {
                let records = scope.sweep(&self.latest, MAX_ELECTIONS_PER_PASS);
                self.append(records, fx);
                fx.push(Effect::SetTimer(Timer::UncleanSweep));
            }
            Timer::SuspicionWindow => self.suspicion.close_window(),
            Timer::Distrust(broker) => self.suspicion.trust_again(broker),
        }
    }

    /// B3: one broker per event, so that each is decided on what the one before it left
    /// (KAFKA-13173).
    fn session_expired<R: Rules>(&mut self, scope: &Scope<R>, broker: NodeId, fx: &mut Effects) {
        self.sessions.remove(&broker);
        if !scope.rules.holds(Guard::FenceTwoAtOnce) {
            return self.fence_two(scope, broker, fx);
        }
        self.fence(scope, broker, ShrinkReason::SessionTimeout, fx);
    }

    /// What B3 forbids: decides on two brokers by one image.
    fn fence_two<R: Rules>(&mut self, scope: &Scope<R>, broker: NodeId, fx: &mut Effects) {
        let image = &self.latest;
        let is_other = |it: &&Arc<Broker>| !it.fenced && it.id != broker;
        let other = image.brokers.values().find(is_other);
        let both = image.brokers.get(&broker).filter(|it| !it.fenced).into_iter().chain(other);
        let records = both.flat_map(|it| scope.fence(image, it)).collect();
        self.append(records, fx);
    }

    /// Fences a broker that is not fenced yet.
    pub fn fence<R: Rules>(
        &mut self,
        scope: &Scope<R>,
        broker: NodeId,
        reason: ShrinkReason,
        fx: &mut Effects,
    ) {
        let Some(registered) = self.latest.broker(broker).filter(|broker| !broker.fenced) else {
            return;
        };
        let records = scope.fence(&self.latest, registered);
        self.append(records, fx);
        fx.push(Effect::Fenced { broker, reason });
    }
}

impl<R: Rules> Scope<R> {
    /// B4: partition changes first, then the registration.
    pub fn fence(&self, image: &Image, broker: &Broker) -> Vec<Record> {
        let mut records = self.leave_isrs(image, broker.id);
        records.push(broker.change(Some(true), None));
        records
    }

    /// The broker leaves every ISR, and leads nothing any more.
    pub fn leave_isrs(&self, image: &Image, broker: NodeId) -> Vec<Record> {
        self.change_all(image, image, |it| it.isr.contains(&broker), Cause::Left(broker))
    }
}
