//! What each action does.

use std::cell::RefCell;
use std::rc::Rc;

use crate::invariant::replica::leader_stands;
use crate::log::{Extent, Log};
use crate::replica::small_log::SmallBatch;
use crate::replica::{Acks, Effect, Effects, Event, Fetch, FetchOutcome, Fetched, Timer};
use crate::{LeaderEpoch, Offset};

use super::config::ReplicaModel;
use super::list::Action;
use super::state::{Alteration, BROKERS, Broker, Controller, Exchange, History, State, Stop, node};
use crate::check::memo::Memo;
use crate::check::shared::Shared;

/// What a broker is told.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Told {
    Event(Event<SmallBatch>),
    /// The metadata as they are, and whether it acknowledges from the disk.
    Metadata(Shared<Controller>, bool),
}

thread_local! {
    static STEPS: RefCell<Memo<Broker, Told, Rc<Effects>>> = RefCell::new(Memo::new(9));
}

impl ReplicaModel {
    pub(super) fn initial(&self) -> State {
        let rules = self.rules;
        let mut state = State {
            brokers: std::array::from_fn(|index| Shared::new(Broker::new(index, rules))),
            controller: Shared::new(Controller::new()),
            fetches: Default::default(),
            alters: Default::default(),
            history: History::default(),
            left: self.left,
        };
        (0..BROKERS).for_each(|index| self.replay(&mut state, index));
        self.send_what_waits(&mut state);
        state
    }

    pub(super) fn act(&self, state: &mut State, action: Action) {
        match action {
            Action::Append { leader } => self.append(state, usize::from(leader)),
            Action::Resend { leader } => self.resend(state, usize::from(leader)),
            Action::Replay { broker } => self.replay(state, usize::from(broker)),
            Action::Fetch { follower, leader } => {
                self.fetch(state, usize::from(follower), usize::from(leader));
            }
            Action::Serve { follower, leader } => {
                self.serve(state, usize::from(follower), usize::from(leader));
            }
            Action::Take { follower, leader } => {
                self.take(state, usize::from(follower), usize::from(leader));
            }
            Action::LoseFetch { follower, leader } => {
                state.fetches[usize::from(follower)][usize::from(leader)] = None;
            }
            Action::Decide { leader } => self.decide(state, usize::from(leader)),
            Action::Learn { leader } => self.learn(state, usize::from(leader)),
            Action::LoseAlter { leader } => state.alters[usize::from(leader)] = None,
            Action::RetryAlter { leader } => {
                self.step(state, usize::from(leader), Event::Timeout(Timer::AlterRetry));
            }
            Action::Silent { leader, follower } => {
                self.find_silent(state, usize::from(leader), usize::from(follower));
            }
            Action::Flush { broker } => {
                let index = usize::from(broker);
                state.brokers[index].change(|broker| broker.log.flush());
                let end = state.brokers[index].log.end();
                self.step(state, index, Event::Flushed(end));
            }
            Action::Fence { broker } => {
                state.left.fences -= 1;
                state.controller.change(|it| it.fence(usize::from(broker), self.rules));
            }
            Action::Unfence { broker } => {
                state.controller.change(|it| it.unfence(usize::from(broker), self.rules));
            }
            Action::Stop { broker } => {
                state.left.clean_stops -= 1;
                self.go_down(state, usize::from(broker), Stop::Clean);
            }
            Action::Crash { broker, kept } => {
                state.left.lossy_stops -= 1;
                state.brokers[usize::from(broker)].change(|broker| broker.log.lose_tail(kept));
                self.go_down(state, usize::from(broker), Stop::Lossy);
            }
            Action::Restart { broker } => self.restart(state, usize::from(broker)),
        }
    }

    /// Every record is of one producer if the model has one that resends.
    fn batch(&self, value: u8) -> SmallBatch {
        SmallBatch::new(value, (self.left.resends > 0).then_some((1, value)))
    }

    fn append(&self, state: &mut State, leader: usize) {
        let value = self.left.appends - state.left.appends;
        state.left.appends -= 1;
        let (request, batch) = (u64::from(value), self.batch(value));
        self.step(state, leader, Event::Append { request, batch, acks: Acks::All });
    }

    fn resend(&self, state: &mut State, leader: usize) {
        let value = self.left.appends - state.left.appends - 1;
        state.left.resends -= 1;
        let (request, batch) = (u64::from(value), self.batch(value));
        self.step(state, leader, Event::Append { request, batch, acks: Acks::All });
    }

    fn replay(&self, state: &mut State, index: usize) {
        let metadata = Told::Metadata(state.controller.clone(), self.flush);
        self.tell(state, index, metadata);
    }

    /// A fetch and its answer, with nothing in between.
    fn fetch(&self, state: &mut State, follower: usize, leader: usize) {
        let Some((_, fetch)) = self.wanted(state, follower) else { return };
        if let Some(answer) = self.answer(state, &fetch, leader) {
            self.step(state, follower, Event::Fetched { leader: node(leader), answer });
        }
    }

    fn serve(&self, state: &mut State, follower: usize, leader: usize) {
        let Some(&Exchange::Asked(fetch)) = state.fetches[follower][leader].as_deref() else {
            return;
        };
        if let Some(answer) = self.answer(state, &fetch, leader) {
            state.fetches[follower][leader] = Some(Shared::new(Exchange::Answered(answer)));
        } else if !self.is_wanted(state, &fetch, leader as u8) {
            state.fetches[follower][leader] = None;
        }
    }

    /// What the leader answers, if it says anything.
    fn answer(
        &self,
        state: &mut State,
        fetch: &Fetch,
        leader: usize,
    ) -> Option<Fetched<SmallBatch>> {
        let effects = self.step(state, leader, Event::Fetch(*fetch));
        let outcome = effects.iter().find_map(|effect| match effect {
            Effect::Answer { outcome, .. } => Some(outcome),
            _ => None,
        })?;
        let log = &state.brokers[leader].log;
        let outcome = outcome.map(&mut |from| log.read(*from));
        let known = state.brokers[fetch.follower.0 as usize].replica.high_watermark();
        let position = fetch.position;
        says_something(&outcome, known).then_some(Fetched { position, outcome })
    }

    fn take(&self, state: &mut State, follower: usize, leader: usize) {
        let exchange = state.fetches[follower][leader].take();
        if let Some(Exchange::Answered(answer)) = exchange.as_deref() {
            let answer = answer.clone();
            self.step(state, follower, Event::Fetched { leader: node(leader), answer });
        }
    }

    fn decide(&self, state: &mut State, leader: usize) {
        let Some(&Alteration::Asked { sender, asked }) = state.alters[leader].as_deref() else {
            return;
        };
        let decide = |it: &mut Controller| it.alter(leader, sender, &asked, self.rules);
        let answer = state.controller.change(decide);
        let answered = Shared::new(Alteration::Answered { asked, answer });
        state.alters[leader] = state.brokers[leader].is_up().then_some(answered);
    }

    fn learn(&self, state: &mut State, leader: usize) {
        let Some(&Alteration::Answered { asked, answer }) = state.alters[leader].as_deref() else {
            return;
        };
        state.alters[leader] = None;
        let event = Event::Altered {
            leader_epoch: asked.leader_epoch,
            partition_epoch: asked.partition_epoch,
            answer: Some(answer),
        };
        self.step(state, leader, event);
    }

    fn find_silent(&self, state: &mut State, leader: usize, follower: usize) {
        let before = state.brokers[leader].replica.clone();
        self.step(state, leader, Event::Silent(node(follower)));
        if state.brokers[leader].replica != before {
            state.left.silences -= 1;
        }
    }

    /// Connections break; an AlterPartition that has left may still arrive.
    fn go_down(&self, state: &mut State, index: usize, stop: Stop) {
        state.brokers[index].change(|broker| broker.go_down(index, stop, self.rules));
        if matches!(state.alters[index].as_deref(), Some(Alteration::Answered { .. })) {
            state.alters[index] = None;
        }
        for other in 0..BROKERS {
            state.fetches[index][other] = None;
            state.fetches[other][index] = None;
        }
    }

    /// B1: the broker registers, and acts on no metadata that are older than that.
    fn restart(&self, state: &mut State, index: usize) {
        let Some(stop) = state.brokers[index].stop else { return };
        state.brokers[index].change(|broker| broker.stop = None);
        state.alters[index] = None;
        state.controller.change(|it| it.register(index, stop, self.rules));
        self.replay(state, index);
    }

    /// Steps one broker's replica and lets the clients see what comes of it.
    fn step(&self, state: &mut State, index: usize, event: Event<SmallBatch>) -> Rc<Effects> {
        self.tell(state, index, Told::Event(event))
    }

    fn tell(&self, state: &mut State, index: usize, told: Told) -> Rc<Effects> {
        let State { brokers, history, .. } = state;
        let before = leadership(&brokers[index]);
        let effects = STEPS.with_borrow_mut(|steps| {
            steps.step(&mut brokers[index], told, |Broker { replica, log, .. }, told| {
                let event = match told {
                    Told::Event(event) => event,
                    Told::Metadata(now, flush) => Event::View(Box::new(now.view(flush))),
                };
                let mut effects = Effects::new();
                replica.step(log, event, &mut effects);
                replica.forget_what_is_idle(false);
                Rc::new(effects)
            })
        });
        let broker = &brokers[index];
        history.high_watermark_fell |= !leader_stands(before, leadership(broker));
        history.read(broker);
        for effect in effects.iter() {
            if let Effect::Reply { request, result: Ok(appended) } = effect
                && let Some(slot) = history.acknowledged.get_mut(*request as usize)
            {
                *slot = Some(appended.base.0 as u8);
            }
        }
        effects
    }

    /// Puts on its way what a broker wants to ask and has a free connection for.
    pub(super) fn send_what_waits(&self, state: &mut State) {
        for index in 0..BROKERS {
            if self.fetches_in_flight {
                self.ask(state, index);
            }
            if state.alters[index].is_none()
                && let Some(asked) = state.brokers[index].replica.wanted_alteration()
            {
                let sender = state.controller.broker_epoch(index);
                let request = Alteration::Asked { sender, asked };
                state.alters[index] = Some(Shared::new(request));
            }
        }
    }

    /// Sends the follower's fetch, if it has one and none is on its way to that leader.
    fn ask(&self, state: &mut State, index: usize) {
        let Some((leader, fetch)) = self.wanted(state, index) else { return };
        state.fetches[index][leader].get_or_insert_with(|| Shared::new(Exchange::Asked(fetch)));
    }

    /// Whom a follower asks, and what.
    fn wanted(&self, state: &State, index: usize) -> Option<(usize, Fetch)> {
        let (leader, position) = state.brokers[index].replica.wanted_fetch()?;
        let broker_epoch = state.controller.broker_epoch(index);
        Some((leader.0 as usize, Fetch { follower: node(index), broker_epoch, position }))
    }

    /// Whether the follower still waits for the answer to this fetch.
    pub(super) fn is_wanted(&self, state: &State, fetch: &Fetch, leader: u8) -> bool {
        let follower = &state.brokers[fetch.follower.0 as usize];
        follower.replica.wanted_fetch() == Some((node(usize::from(leader)), fetch.position))
    }
}

/// The epoch that the broker leads, if it leads one, and its high watermark.
fn leadership(Broker { replica, .. }: &Broker) -> (Option<LeaderEpoch>, Offset) {
    (replica.is_leader().then(|| replica.leader_epoch()), replica.high_watermark())
}

/// A refusal says nothing that asking again would not; a held fetch waits for records or a higher
/// high watermark.
fn says_something(outcome: &FetchOutcome<SmallBatch>, known: Offset) -> bool {
    match outcome {
        FetchOutcome::Records { records, high_watermark, .. } => {
            records.end() > records.base() || *high_watermark > known
        }
        FetchOutcome::Diverging(_) | FetchOutcome::OutOfRange { .. } => true,
        FetchOutcome::Refused(_) => false,
    }
}
