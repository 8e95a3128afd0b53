//! What clients, leaders and followers do, and what leaders ask of the controller.

use std::cell::RefCell;
use std::rc::Rc;

use crate::LeaderEpoch;
use crate::check::memo::Memo;
use crate::check::shared::Shared;
use crate::invariant::replica::leader_stands;
use crate::metadata::{RequestId, Response};
use crate::replica::small_log::SmallBatch;
use crate::replica::{Acks, Effect, Effects, Event, Fetch, FetchOutcome, Fetched};

use super::config::ClusterModel;
use super::quorum::{OPERATOR, To, alter_id, alter_request};
use super::state::{Alteration, Broker, Late, State, node};

thread_local! {
    static STEPS: RefCell<Memo<Broker, Event<SmallBatch>, Rc<Effects>>> =
        RefCell::new(Memo::new(9));
}

impl ClusterModel {
    fn batch(&self, value: u8) -> SmallBatch {
        SmallBatch::new(value, self.is_idempotent.then_some((1, value)))
    }

    pub(super) fn append(&self, state: &mut State, leader: usize) {
        let value = self.left.appends - state.left.appends;
        state.left.appends -= 1;
        let (request, batch) = (u64::from(value), self.batch(value));
        self.step(state, leader, Event::Append { request, batch, acks: Acks::All });
    }

    pub(super) fn resend(&self, state: &mut State, leader: usize) {
        let value = self.left.appends - state.left.appends - 1;
        state.left.resends -= 1;
        let (request, batch) = (u64::from(value), self.batch(value));
        self.step(state, leader, Event::Append { request, batch, acks: Acks::All });
    }

    /// A fetch and its answer, with nothing in between, unless the answer is lost.
    pub(super) fn fetch(&self, state: &mut State, index: usize, lost: bool) {
        let broker = &state.brokers[index];
        let broker_epoch = broker.registration;
        let wanted = broker.replica.as_ref().and_then(|replica| replica.wanted_fetch());
        let Some((leader, position)) = wanted else { return };
        let fetch = Fetch { follower: node(index), broker_epoch, position };
        let at = leader.0 as usize;
        let effects = self.step(state, at, Event::Fetch(fetch));
        let answered = effects.iter().find_map(answer);
        let (Some(outcome), Some(log), false) = (answered, state.brokers[at].disk, lost) else {
            return;
        };
        // It says nothing that asking again would not.
        if matches!(outcome, FetchOutcome::Refused(_)) {
            return;
        }
        let outcome = outcome.map(&mut |from| log.read(*from));
        self.step(state, index, Event::Fetched { leader, answer: Fetched { position, outcome } });
    }

    pub(super) fn find_silent(&self, state: &mut State, leader: usize, follower: usize) {
        let before = state.brokers[leader].replica.clone();
        self.step(state, leader, Event::Silent(node(follower)));
        if state.brokers[leader].replica != before {
            state.left.silences -= 1;
        }
    }

    /// A controller decides on an AlterPartition that has arrived.
    pub(super) fn decide(&self, state: &mut State, index: usize, to: To) {
        let Some(&Alteration::Asked { run, sender, asked }) = state.alters[index].as_deref() else {
            return;
        };
        let id = alter_id(index, run);
        let before = (to == To::Deposed).then(|| state.clone());
        state.alters[index] = Some(Shared::new(Alteration::Held { id, asked }));
        self.request(state, to, id, alter_request(index, sender, asked));
        if let Some(before) = before.filter(|_| self.is_held(state, index, id)) {
            *state = before;
        } else if state.brokers[index].run != run || !state.brokers[index].is_up() {
            // Nobody waits for the answer.
            state.alters[index] = None;
        }
    }

    fn is_held(&self, state: &State, index: usize, wanted: RequestId) -> bool {
        matches!(state.alters[index].as_deref(), Some(Alteration::Held { id, .. }) if *id == wanted)
    }

    /// The copy of an AlterPartition that was sent again arrives after all.
    pub(super) fn decide_late(&self, state: &mut State) {
        let Some(late) = state.late.take() else { return };
        let Late { from, sender, asked } = *late;
        let request = alter_request(usize::from(from), sender, asked);
        self.request(state, To::Active, OPERATOR, request);
    }

    /// The answer to an AlterPartition is due. A request that failed as a whole is sent again (L3):
    /// all that the timer in between does is wait.
    pub(super) fn alteration_decided(
        &self,
        state: &mut State,
        index: usize,
        id: RequestId,
        response: Response,
    ) {
        let Some(&Alteration::Held { id: held, asked }) = state.alters[index].as_deref() else {
            return;
        };
        if held != id {
            return;
        }
        let answers = match response {
            Response::AlterPartition(Ok(answers)) => answers,
            _ => Vec::new(),
        };
        state.alters[index] =
            answers.first().map(|&(_, answer)| Shared::new(Alteration::Answered { asked, answer }));
    }

    /// The sender hears the decision.
    pub(super) fn learn(&self, state: &mut State, index: usize) {
        let Some(&Alteration::Answered { asked, answer }) = state.alters[index].as_deref() else {
            return;
        };
        state.alters[index] = None;
        let event = Event::Altered {
            leader_epoch: asked.leader_epoch,
            partition_epoch: asked.partition_epoch,
            answer: Some(answer),
        };
        self.step(state, index, event);
    }

    /// The link breaks, and the request is sent again; the first copy is lost, or late, or has been
    /// decided on already.
    pub(super) fn repeat(&self, state: &mut State, index: usize) {
        state.left.repeats -= 1;
        if let Some(&Alteration::Asked { sender, asked, .. }) = state.alters[index].as_deref() {
            let late = Late { from: index as u8, sender, asked };
            state.late = Some(Shared::new(late));
        }
        state.alters[index] = None;
    }

    /// Steps one broker's replica and lets the clients see what comes of it.
    pub(super) fn step(
        &self,
        state: &mut State,
        index: usize,
        event: Event<SmallBatch>,
    ) -> Rc<Effects> {
        let State { brokers, history, .. } = state;
        let before = leadership(&brokers[index]);
        let effects = STEPS.with_borrow_mut(|steps| {
            steps.step(&mut brokers[index], event, |Broker { replica, disk, .. }, event| {
                let mut effects = Effects::new();
                if let (Some(replica), Some(log)) = (replica, disk) {
                    replica.step(log, event, &mut effects);
                    replica.forget_what_is_idle(true);
                }
                Rc::new(effects)
            })
        });
        let broker = &brokers[index];
        history.high_watermark_fell |= !leader_stands(before, leadership(broker));
        history.read(broker);
        for effect in effects.iter() {
            match effect {
                Effect::Reply { request, result: Ok(appended) } => {
                    if let Some(slot) = history.acknowledged.get_mut(*request as usize) {
                        *slot = Some(appended.base.0 as u8);
                    }
                }
                Effect::Violation(promise) => history.violation = Some(promise),
                _ => {}
            }
        }
        effects
    }

    /// Puts on its way what a leader wants to ask and has a free connection for.
    pub(super) fn send_what_waits(&self, state: &mut State) {
        for index in 0..state.brokers.len() {
            if state.alters[index].is_some() {
                continue;
            }
            let Broker { run, registration, ref replica, .. } = *state.brokers[index];
            if let Some(asked) = replica.as_ref().and_then(|replica| replica.wanted_alteration()) {
                let request = Alteration::Asked { run, sender: registration, asked };
                state.alters[index] = Some(Shared::new(request));
            }
        }
    }
}

fn answer(effect: &Effect) -> Option<&FetchOutcome<crate::Offset>> {
    match effect {
        Effect::Answer { outcome, .. } => Some(outcome),
        _ => None,
    }
}

/// The epoch that the broker leads, if it leads one, and its high watermark.
fn leadership(broker: &Broker) -> (Option<LeaderEpoch>, crate::Offset) {
    let Some(replica) = &broker.replica else { return (None, crate::Offset::ZERO) };
    (replica.is_leader().then(|| replica.leader_epoch()), replica.high_watermark())
}
