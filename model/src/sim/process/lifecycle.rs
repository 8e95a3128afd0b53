//! The broker machine's shell: registration, heartbeats and the orderly stop.

use std::sync::Arc;

use crate::broker::{Broker, Effect, Event};
use crate::metadata::{
    BrokerRegistration, Endpoint, Image, METADATA_VERSION, METADATA_VERSION_FEATURE, Request,
    Response, SecurityProtocol,
};
use crate::raft;
use crate::sim::env::{Fact, Input, Timer};
use crate::sim::profile::MILLIS;
use crate::{BrokerEpoch, DirectoryId, Incarnation, NodeId, Rules};

use super::router::Asker;
use super::{At, End};

#[derive(Debug)]
pub(super) struct Lifecycle {
    machine: Broker,
    registration: BrokerRegistration,
}

impl Lifecycle {
    pub fn new(
        me: NodeId,
        incarnation: Incarnation,
        directory: DirectoryId,
        previous: Option<BrokerEpoch>,
        damaged: bool,
    ) -> Lifecycle {
        let endpoint = Endpoint {
            listener: "PLAINTEXT".to_owned(),
            host: format!("node-{me}"),
            port: 9092,
            protocol: SecurityProtocol::Plaintext,
        };
        let registration = BrokerRegistration {
            cluster: crate::sim::world::CLUSTER,
            broker: me,
            incarnation,
            endpoints: vec![endpoint],
            features: vec![(METADATA_VERSION_FEATURE.to_owned(), 1, METADATA_VERSION)],
            rack: None,
            directories: vec![directory],
            previous_epoch: previous.unwrap_or(BrokerEpoch::NONE),
            damaged,
        };
        Lifecycle { machine: Broker::new(me), registration }
    }
}

/// What an orderly stop still waits for once it may leave.
const FAREWELL: u64 = 60 * MILLIS;

impl<R: Rules> At<'_, R> {
    pub(super) fn step_broker(&mut self, event: Event) {
        let Some(lifecycle) = &mut self.process.lifecycle else { return };
        let mut effects = Vec::new();
        lifecycle.machine.step(event, &mut effects);
        effects.into_iter().for_each(|effect| self.run_broker_effect(effect));
    }

    fn run_broker_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Register => {
                let Some(lifecycle) = &self.process.lifecycle else { return };
                let registration = lifecycle.registration.clone();
                self.ask(Request::RegisterBroker(registration), Asker::Registration);
            }
            Effect::Heartbeat(heartbeat) => {
                self.ask(Request::Heartbeat(heartbeat), Asker::Heartbeat);
            }
            Effect::SetTimer(timer) => self.set(Timer::Broker(timer)),
            Effect::CancelTimer(timer) => self.cancel(Timer::Broker(timer)),
            Effect::Registered(epoch) => {
                self.tell(|| format!("is registered under epoch {epoch}"));
                self.disk.session = Some(epoch);
                let Some(partitions) = &mut self.process.partitions else { return };
                partitions.registration = epoch;
                let image = Arc::clone(&partitions.image);
                self.later(1, Input::Published(image));
            }
            Effect::Serve => self.drop_strays(),
            Effect::Exit(epoch) => {
                self.env.facts.push(Fact::Stops(epoch));
                self.leave(Some(epoch));
            }
            Effect::Abandon => self.leave(None),
            Effect::Refused(code) => {
                self.tell(|| format!("is refused: {code}"));
                self.fatal("the controller refuses this broker");
            }
        }
    }

    pub(super) fn registered(&mut self, response: Response) {
        let answer = match response {
            Response::RegisterBroker(answer) => Some(answer.map_err(|refusal| refusal.code)),
            _ => None,
        };
        self.step_broker(Event::Registered(answer));
    }

    pub(super) fn heartbeat_answered(&mut self, response: Response) {
        let answer = match response {
            Response::Heartbeat(answer) => Some(answer.map_err(|refusal| refusal.code)),
            _ => None,
        };
        self.step_broker(Event::HeartbeatAnswered(answer));
    }

    /// The metadata was replayed up to the image's end.
    pub(super) fn published(&mut self, image: Arc<Image>) {
        let Some(partitions) = &mut self.process.partitions else { return };
        let epoch = partitions.registration;
        // A second look at an image does not undo a newer one that came in between.
        let is_old = image.end < partitions.image.end;
        let image = if is_old { Arc::clone(&partitions.image) } else { image };
        let me = image.brokers.get(&self.me);
        let fenced = me.filter(|broker| broker.epoch == epoch).map(|broker| broker.fenced);
        let end = image.end;
        partitions.image = Arc::clone(&image);
        self.publish_to_shards(image);
        self.step_broker(Event::Metadata { end, fenced });
    }

    /// SIGTERM.
    pub(super) fn stop(&mut self) {
        self.tell(|| "is told to stop".to_owned());
        match self.who.is_broker {
            true => self.step_broker(Event::Stop),
            false => self.farewell(),
        }
    }

    fn leave(&mut self, clean: Option<BrokerEpoch>) {
        self.flush_all_data();
        let is_whole = self.process.partitions.as_ref().is_some_and(|it| !it.is_offline());
        self.disk.clean_stop = clean.filter(|_| is_whole);
        self.tell(|| format!("leaves, clean: {}", clean.is_some()));
        self.farewell();
    }

    /// The last thing before the process ends in order: the quorum's leader resigns.
    fn farewell(&mut self) {
        self.step_quorum(raft::Event::Resign);
        if self.process.end != Some(End::Orderly) {
            self.later(FAREWELL, Input::Exit);
        }
    }
}
