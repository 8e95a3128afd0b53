//! The controllers over an abstract quorum: what they append, what is committed, who leads.

use std::cell::RefCell;
use std::rc::Rc;

use crate::check::Mutated;
use crate::check::memo::Memo;
use crate::check::shared::Shared;
use crate::invariant::metadata::{broken, broken_between};
use crate::metadata::config::MIN_INSYNC_REPLICAS;
use crate::metadata::{
    AlterPartition, ConfigChange, ConfigOp, Controller, Effect, Effects, Event, ReassignPartition,
    Request, RequestId, ResourceKind, Response, Timer,
};
use crate::{Epoch, NodeId, Offset};

use super::config::ClusterModel;
use super::state::{Batch, Call, Found, ID, Published, State, node, partition};

/// Which controller a request reaches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum To {
    Active,
    /// The one that leads no more and does not know it.
    Deposed,
}

/// What is published, what a controller has committed since, and what is wrong with that.
type Publications = Memo<Published, Shared<Controller<Mutated>>, Option<&'static str>>;

thread_local! {
    static STEPS: RefCell<Memo<Controller<Mutated>, Event, Rc<Effects>>> =
        RefCell::new(Memo::new(9));
    static PUBLICATIONS: RefCell<Publications> = RefCell::new(Memo::new(9));
}

impl ClusterModel {
    /// Something happens to the active controller.
    pub(super) fn control(&self, state: &mut State, event: Event) {
        let active = usize::from(state.quorum.active);
        self.step_controller(state, active, event);
        if self.commits_at_once(state) {
            while !state.quorum.pending.is_empty() {
                self.commit(state);
            }
        }
    }

    /// With no failover left, what is appended will be committed, and nobody waits for it: that an
    /// answer is late, or that a broker lags, has steps of its own.
    pub(super) fn commits_at_once(&self, state: &State) -> bool {
        state.left.failovers == 0
    }

    /// A request to either controller. One that was deposed can still answer what changes nothing;
    /// what it appends is never committed, so that it never answers that, and whoever asked does
    /// as if it had not: the callers see to it.
    pub(super) fn request(&self, state: &mut State, to: To, id: RequestId, request: Request) {
        let event = Event::Request { id, request, entropy: 0 };
        match to {
            To::Active => self.control(state, event),
            To::Deposed => {
                let deposed = usize::from(1 - state.quorum.active);
                let mut machine = Controller::clone(&state.quorum.controllers[deposed]);
                let mut fx = Effects::new();
                machine.step(event, &mut fx);
                for effect in fx {
                    if let Effect::Reply { id, response } = effect {
                        self.answer(state, id, response);
                    }
                }
            }
        }
    }

    fn step_controller(&self, state: &mut State, index: usize, event: Event) {
        let fx = STEPS.with_borrow_mut(|steps| {
            steps.step(&mut state.quorum.controllers[index], event, |controller, event| {
                let mut fx = Effects::new();
                controller.step(event, &mut fx);
                Rc::new(fx)
            })
        });
        for effect in fx.iter() {
            match effect {
                Effect::Append { base, records } => {
                    let batch = Batch { base: *base, records: records.clone() };
                    state.quorum.pending.push(Shared::new(batch));
                }
                Effect::Reply { id, response } => self.answer(state, *id, response.clone()),
                Effect::Violation(promise) => state.history.violation = Some(promise),
                Effect::SetTimer(_)
                | Effect::CancelTimer(_)
                | Effect::Fenced { .. }
                | Effect::Published(_) => {}
            }
        }
    }

    /// The first batch that waits is committed.
    pub(super) fn commit(&self, state: &mut State) {
        let batch = state.quorum.pending.remove(0);
        let Batch { base, records } = &*batch;
        let end = base.plus(records.len() as i64);
        self.committed(state, Event::Committed { base: *base, records: records.clone(), end });
    }

    /// Both controllers replay it, unless one does not follow the other yet.
    fn committed(&self, state: &mut State, event: Event) {
        let active = usize::from(state.quorum.active);
        if !state.quorum.lingers {
            self.step_controller(state, 1 - active, event.clone());
        }
        self.step_controller(state, active, event);
        let mut newest = state.quorum.newest().clone();
        let controller = state.quorum.controllers[active].clone();
        let found = PUBLICATIONS.with_borrow_mut(|publications| {
            publications.step(&mut newest, controller, |newest, controller| {
                let image = controller.committed().clone();
                let found = broken(&image).or_else(|| broken_between(newest, &image));
                *newest = Published::new(image);
                found
            })
        });
        state.history.metadata = state.history.metadata.or(found);
        state.quorum.published.push(newest);
    }

    /// Another node leads: the first `kept` batches of those that waited are in its log, the others
    /// are gone. It has committed the record of its own with which an epoch begins before its
    /// controller is active (Q5).
    pub(super) fn fail_over(&self, state: &mut State, kept: u8, lingers: bool) {
        state.left.failovers -= 1;
        self.hear(state);
        let kept: Vec<_> = state.quorum.pending.drain(..).take(usize::from(kept)).collect();
        let old = usize::from(state.quorum.active);
        state.quorum.active = 1 - state.quorum.active;
        state.quorum.lingers = lingers;
        if !lingers {
            self.step_controller(state, old, Event::LostLeadership);
        }
        for batch in kept {
            let Batch { base, records } = &*batch;
            let end = base.plus(records.len() as i64);
            self.committed(state, Event::Committed { base: *base, records: records.clone(), end });
        }
        let end = state.quorum.newest().end;
        let (base, next) = (end, end.plus(1));
        self.committed(state, Event::Committed { base, records: Vec::new(), end: next });
        self.step_controller(state, 1 - old, Event::Lead { epoch: Epoch::default(), next });
        let now = partition(state.quorum.newest());
        state.quorum.found = Found {
            shrunk_isr: now.isr.len() < now.replicas.len(),
            reassignment: now.is_reassigning(),
        };
    }

    /// The deposed controller hears of its successor, and replays what it missed.
    pub(super) fn hear(&self, state: &mut State) {
        if !std::mem::take(&mut state.quorum.lingers) {
            return;
        }
        let deposed = usize::from(1 - state.quorum.active);
        self.step_controller(state, deposed, Event::LostLeadership);
        // What it has replayed cannot be unsaid: it only goes on from there.
        let image = state.quorum.newest().image.clone();
        self.step_controller(state, deposed, Event::Loaded(Box::new(image)));
    }

    /// A session runs out.
    pub(super) fn expire(&self, state: &mut State, broker: usize) {
        state.left.fences -= 1;
        self.control(state, Event::Timeout(Timer::Session(node(broker))));
    }

    /// The process of a broker is gone for certain.
    pub(super) fn gone(&self, state: &mut State, broker: usize) {
        let registered = state.quorum.controller().latest().broker(node(broker));
        let Some(incarnation) = registered.map(|it| it.incarnation) else { return };
        let broker = node(broker);
        self.control(state, Event::PeerGone { broker, incarnation });
        self.control(state, Event::Timeout(Timer::SuspicionWindow));
    }

    /// An operator asks for the next assignment of the configuration's list.
    pub(super) fn reassign(&self, state: &mut State) {
        let done = self.left.reassignments - state.left.reassignments;
        state.left.reassignments -= 1;
        let target = self.targets[usize::from(done)];
        let replicas = target.map(|target| target.iter().map(|&id| NodeId(id)).collect());
        let partitions = vec![ReassignPartition { id: ID, replicas }];
        self.request(state, To::Active, OPERATOR, Request::ReassignPartitions { partitions });
    }

    pub(super) fn configure(&self, state: &mut State) {
        let value = self.next_min_isr(state).to_string();
        state.left.configs -= 1;
        let change = ConfigChange {
            kind: ResourceKind::Broker,
            resource: String::new(),
            ops: vec![(MIN_INSYNC_REPLICAS.to_owned(), ConfigOp::Set(value))],
            replace: false,
        };
        let request = Request::AlterConfigs { changes: vec![change], validate_only: false };
        self.request(state, To::Active, OPERATOR, request);
    }

    /// What the operator asks for next.
    pub(super) fn next_min_isr(&self, state: &State) -> i32 {
        self.min_isrs[usize::from(self.left.configs - state.left.configs)]
    }

    /// An answer finds its way to whoever still waits for it.
    fn answer(&self, state: &mut State, id: RequestId, response: Response) {
        let from = (id & 7) as usize;
        if id & ALTER != 0 {
            self.alteration_decided(state, from, id, response);
        } else if id & CALL != 0
            && let Some(Call::Held { id: held, registers }) = state.brokers[from].call
            && held == id
        {
            self.called_back(state, from, registers, response);
        }
    }
}

const ALTER: RequestId = 8;
const CALL: RequestId = 16;
/// Whoever asks under this id does not wait for the answer.
pub(super) const OPERATOR: RequestId = 32;

/// Names a request of this run of a broker.
pub(super) fn alter_id(broker: usize, run: u8) -> RequestId {
    broker as u64 | ALTER | u64::from(run) << 8
}

pub(super) fn call_id(broker: usize, run: u8) -> RequestId {
    broker as u64 | CALL | u64::from(run) << 8
}

pub(super) fn alter_request(
    broker: usize,
    epoch: crate::BrokerEpoch,
    asked: crate::metadata::AlteredPartition,
) -> Request {
    let partitions = vec![asked];
    Request::AlterPartition(AlterPartition { broker: node(broker), epoch, partitions })
}

/// Nothing has happened yet.
pub(super) const START: Offset = Offset::ZERO;
