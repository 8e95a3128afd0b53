//! A broker's process: how it registers, stays alive, replays the metadata, and ends.

use std::cell::RefCell;
use std::rc::Rc;

use crate::broker::{Effect, Effects, Event, Timer};
use crate::check::Mutated;
use crate::check::memo::Memo;
use crate::check::shared::Shared;
use crate::metadata::{
    BrokerRegistration, Endpoint, METADATA_VERSION, METADATA_VERSION_FEATURE, Request, Response,
    SecurityProtocol,
};
use crate::replica;
use crate::replica::small_log::SmallLog;
use crate::replica::{DataLog, Replica, View, high_watermark_to_begin_with};
use crate::{BrokerEpoch, ClusterId, DirectoryId, Incarnation, NodeId, Offset};

use super::config::ClusterModel;
use super::quorum::{To, call_id};
use super::state::{Alteration, Broker, Call, ID, Published, State, Stop, node};

/// The controllers' answers come whichever of them gives them; to the machine they are one.
const CONTROLLER: NodeId = NodeId(100);

pub const CLUSTER: ClusterId = ClusterId(1);

thread_local! {
    static STEPS: RefCell<Memo<Broker, Event, Rc<Effects>>> = RefCell::new(Memo::new(9));
}

impl Broker {
    /// A broker that was never started.
    pub fn new(index: usize, image: Shared<Published>) -> Broker {
        Broker {
            stop: Some(Stop::Lossy),
            run: 0,
            lifecycle: crate::broker::Broker::new(node(index)),
            registration: BrokerEpoch::NONE,
            previous_epoch: BrokerEpoch::NONE,
            call: None,
            seen: image,
            replica: None,
            disk: None,
            checkpoint: Offset::ZERO,
        }
    }

    /// Ends the process: what it had in memory is gone.
    fn end(&mut self, index: usize, stop: Stop, rules: Mutated) {
        let checkpoint = self.replica.as_ref().map_or(self.checkpoint, Replica::high_watermark);
        let is_intact = matches!(stop, Stop::Clean(_));
        let checkpoint = high_watermark_to_begin_with(rules, checkpoint, Offset::ZERO, is_intact);
        let Broker { run, ref seen, disk, .. } = *self;
        let seen = seen.clone();
        *self = Broker { stop: Some(stop), run, disk, checkpoint, ..Broker::new(index, seen) };
    }
}

impl ClusterModel {
    pub(super) fn start(&self, state: &mut State, index: usize) {
        state.brokers[index].change(|broker| {
            let Some(stop) = broker.stop.take() else { return };
            broker.previous_epoch = stop.previous_epoch();
            broker.run += 1;
        });
        self.live(state, index, Event::Controller(Some(CONTROLLER)));
        self.live(state, index, Event::Started);
        self.publish(state, index);
    }

    /// Steps the broker machine and does what it wants done.
    fn live(&self, state: &mut State, index: usize, event: Event) {
        let fx = STEPS.with_borrow_mut(|steps| {
            steps.step(&mut state.brokers[index], event, |broker, event| {
                let mut fx = Effects::new();
                broker.lifecycle.step(event, &mut fx);
                broker.lifecycle.forget_what_is_idle();
                Rc::new(fx)
            })
        });
        for effect in fx.iter().cloned() {
            let set = |broker: &mut Broker| match effect {
                Effect::Register => broker.call = Some(Call::Register),
                Effect::Heartbeat(heartbeat) => broker.call = Some(Call::Heartbeat(heartbeat)),
                Effect::Registered(epoch) => {
                    broker.registration = epoch;
                    broker.previous_epoch = BrokerEpoch::NONE;
                }
                // The metadata is complete: a log that it has not asked for is deleted.
                Effect::Serve if broker.replica.is_none() => broker.disk = None,
                _ => {}
            };
            state.brokers[index].change(set);
            match effect {
                Effect::Registered(_) => self.publish(state, index),
                Effect::Exit(epoch) => {
                    let flush = |broker: &mut Broker| broker.disk.as_mut().map(SmallLog::flush);
                    state.brokers[index].change(flush);
                    self.stop(state, index, Stop::Clean(epoch));
                }
                // Without the file of a clean stop; what is in the page cache stays there.
                Effect::Abandon => self.stop(state, index, Stop::Lossy),
                Effect::Refused(_) => state.history.violation = Some("a broker is turned away"),
                _ => {}
            }
        }
    }

    /// Sends what the broker machine has to say, or lets its timer run out and sends that; the
    /// controller decides on it in the same moment.
    pub(super) fn call(&self, state: &mut State, index: usize, to: To) {
        let before = (to == To::Deposed).then(|| state.clone());
        self.call_controller(state, index, to);
        if let Some(before) = before
            && matches!(state.brokers[index].call, Some(Call::Held { .. }))
        {
            *state = before;
        }
    }

    fn call_controller(&self, state: &mut State, index: usize, to: To) {
        if let (None, Some(timer)) =
            (state.brokers[index].call, state.brokers[index].lifecycle.waits_for())
        {
            self.live(state, index, Event::Timeout(timer));
        }
        let Broker { run, call, previous_epoch, .. } = *state.brokers[index];
        let (request, registers) = match call {
            Some(Call::Register) => {
                (Request::RegisterBroker(registration(index, run, previous_epoch)), true)
            }
            Some(Call::Heartbeat(heartbeat)) => (Request::Heartbeat(heartbeat), false),
            Some(Call::Held { .. }) | None => return,
        };
        let id = call_id(index, run);
        state.brokers[index].change(|broker| broker.call = Some(Call::Held { id, registers }));
        self.request(state, to, id, request);
    }

    /// The controller has answered.
    pub(super) fn called_back(
        &self,
        state: &mut State,
        index: usize,
        registers: bool,
        response: Response,
    ) {
        state.brokers[index].change(|broker| broker.call = None);
        let event = match response {
            Response::RegisterBroker(answer) => {
                Event::Registered(Some(answer.map_err(|refusal| refusal.code)))
            }
            Response::Heartbeat(answer) => {
                Event::HeartbeatAnswered(Some(answer.map_err(|refusal| refusal.code)))
            }
            _ if registers => Event::Registered(None),
            _ => Event::HeartbeatAnswered(None),
        };
        self.live(state, index, event);
    }

    /// The broker replays the next batch of the metadata.
    pub(super) fn replay(&self, state: &mut State, index: usize) {
        let Some(image) = next_image(state, index).cloned() else { return };
        state.brokers[index].change(|broker| broker.seen = image);
        self.publish(state, index);
    }

    /// Tells replica and broker machine of the image, as far as it concerns them. The replica's
    /// log comes and goes with the metadata.
    fn publish(&self, state: &mut State, index: usize) {
        let (me, image) = (node(index), state.brokers[index].seen.clone());
        let registration = state.brokers[index].registration;
        if image.speaks_to(self.rules, me, registration) {
            match view(&image, index) {
                Some(view) => {
                    if state.brokers[index].replica.is_none() {
                        state.brokers[index].change(|broker| self.place(broker, index));
                    }
                    self.step(state, index, replica::Event::View(Box::new(*view)));
                }
                None if state.brokers[index].replica.is_some() => {
                    state.brokers[index].change(|broker| {
                        (broker.replica, broker.disk) = (None, None);
                    });
                }
                None => {}
            }
        }
        let own = image.broker(me).filter(|broker| broker.epoch == registration);
        let fenced = own.map(|broker| broker.fenced);
        self.live(state, index, Event::Metadata { end: image.end, fenced });
    }

    /// A replica begins with the log that was found, or with an empty one.
    fn place(&self, broker: &mut Broker, index: usize) {
        if broker.disk.is_none() {
            broker.checkpoint = Offset::ZERO;
        }
        let log = *broker.disk.get_or_insert_with(SmallLog::default);
        let checkpoint = std::mem::take(&mut broker.checkpoint);
        let producers = log.producers_at(crate::log::Log::end(&log));
        broker.replica = Some(Replica::new(self.rules, ID, node(index), checkpoint, producers));
    }

    /// Whether replaying the image would make a difference to the broker's replica.
    fn would_notice(&self, broker: &Broker, index: usize, image: &Published) -> bool {
        if !broker.is_up() || !image.speaks_to(self.rules, node(index), broker.registration) {
            return false;
        }
        match (&broker.replica, view(image, index)) {
            (None, None) => false,
            (Some(replica), Some(view)) => replica.would_notice(view),
            (None, Some(_)) | (Some(_), None) => true,
        }
    }

    /// Brokers replay at once what their replicas would not notice, and what a process that is
    /// down will never act on.
    pub(super) fn replay_what_is_nothing(&self, state: &mut State) {
        for index in 0..state.brokers.len() {
            while let Some(image) = next_image(state, index).cloned() {
                let broker = &state.brokers[index];
                if self.would_notice(broker, index, &image) {
                    break;
                }
                if broker.is_up() {
                    self.replay(state, index);
                } else {
                    let newest = state.quorum.newest().clone();
                    state.brokers[index].change(|broker| broker.seen = newest);
                }
            }
        }
        let replayed = state.brokers.iter().map(|broker| broker.seen.end).min();
        let newest = state.quorum.newest().end;
        let is_due = |image: &Shared<Published>| {
            image.end == newest || replayed.is_some_and(|end| image.end > end)
        };
        if !state.quorum.published.iter().all(is_due) {
            state.quorum.published.retain(is_due);
        }
    }

    /// An orderly stop is wanted.
    pub(super) fn leave(&self, state: &mut State, index: usize) {
        state.left.clean_stops -= 1;
        self.live(state, index, Event::Stop);
    }

    /// The process is killed; the machine stays up.
    pub(super) fn kill(&self, state: &mut State, index: usize) {
        state.left.kills -= 1;
        let Broker { registration, previous_epoch, .. } = *state.brokers[index];
        let noted = if registration == BrokerEpoch::NONE { previous_epoch } else { registration };
        let whole = noted != BrokerEpoch::NONE;
        self.stop(state, index, if whole { Stop::Clean(noted) } else { Stop::Lossy });
    }

    /// The machine loses power, whether the process runs or not.
    pub(super) fn crash(&self, state: &mut State, index: usize, kept: u8) {
        state.left.lossy_stops -= 1;
        state.brokers[index].change(|broker| {
            if let Some(log) = &mut broker.disk {
                log.lose_tail(kept);
            }
        });
        self.stop(state, index, Stop::Lossy);
    }

    /// The process ends; an AlterPartition that has left may still arrive.
    fn stop(&self, state: &mut State, index: usize, stop: Stop) {
        state.brokers[index].change(|broker| broker.end(index, stop, self.rules));
        if !matches!(state.alters[index].as_deref(), Some(Alteration::Asked { .. })) {
            state.alters[index] = None;
        }
    }

    /// Whether a heartbeat now could be more than a sign of life.
    pub(super) fn has_something_to_say(&self, state: &State, index: usize) -> bool {
        let broker = &state.brokers[index];
        match broker.call {
            Some(Call::Held { .. }) => return false,
            Some(_) => return true,
            None => {}
        }
        let waits =
            matches!(broker.lifecycle.waits_for(), Some(Timer::Heartbeat { .. } | Timer::Retry));
        let latest = state.quorum.controller().latest();
        let is_fenced = latest.broker(node(index)).is_none_or(|it| it.fenced);
        let somebody_stops =
            || latest.brokers.values().any(|it| it.in_controlled_shutdown && !it.fenced);
        let unregistered = broker.lifecycle.epoch().is_none();
        waits
            && (is_fenced || unregistered || broker.lifecycle.wants_shutdown() || somebody_stops())
    }
}

/// What the image says of the partition to a broker that holds a replica by it.
fn view(image: &Published, index: usize) -> Option<&View> {
    image.view.as_ref().filter(|view| view.partition.replicas.contains(&node(index)))
}

pub(super) fn next_image(state: &State, index: usize) -> Option<&Shared<Published>> {
    let seen = state.brokers[index].seen.end;
    state.quorum.published.iter().find(|image| image.end > seen)
}

fn registration(index: usize, run: u8, previous_epoch: BrokerEpoch) -> BrokerRegistration {
    let endpoint = Endpoint {
        listener: String::new(),
        host: String::new(),
        port: 0,
        protocol: SecurityProtocol::Plaintext,
    };
    BrokerRegistration {
        cluster: CLUSTER,
        broker: node(index),
        incarnation: Incarnation(u128::from(run)),
        endpoints: vec![endpoint],
        features: vec![(METADATA_VERSION_FEATURE.to_owned(), 1, METADATA_VERSION)],
        rack: None,
        directories: vec![DirectoryId(index as u128 + 1)],
        previous_epoch,
        damaged: false,
    }
}
