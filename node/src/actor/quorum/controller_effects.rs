//! Running the controller machine's effects.

use std::time::Duration;

use actix::Context;
use kraft_model::metadata::{ControllerDefaults, Effect, Event, Image, Request, RequestId, Timer};
use tracing::{debug, warn};

use super::{QuorumActor, Work};
use crate::config::NodeConfig;
use crate::peer::record;
use crate::storage::Records;

/// Losing a majority of the brokers within this time makes a controller doubt itself.
const SUSPICION_WINDOW: Duration = Duration::from_secs(1);
/// How long PeerGone counts for nothing after a broker turned out to be alive.
const DISTRUST: Duration = Duration::from_secs(60);
/// How often leadership is moved back to preferred replicas, and unclean elections are looked for.
const SWEEP: Duration = Duration::from_secs(300);

/// What the controller machine takes from the configuration.
pub fn defaults(config: &NodeConfig) -> ControllerDefaults {
    let topic = |key: &str| config.topic_defaults.get(key).map(String::as_str);
    let own = ControllerDefaults::default();
    ControllerDefaults {
        num_partitions: config.num_partitions,
        default_replication_factor: config.default_replication_factor,
        min_insync_replicas: topic("min.insync.replicas")
            .and_then(|value| value.parse().ok())
            .unwrap_or(own.min_insync_replicas),
        unclean_leader_election: topic("unclean.leader.election.enable") == Some("true"),
        ..own
    }
}

impl QuorumActor {
    pub(super) fn request(&mut self, id: RequestId, request: Request, context: &mut Context<Self>) {
        let event = Event::Request { id, request, entropy: fastrand::u64(..) };
        self.run(Work::Controller(event), context);
    }

    pub(super) fn run_controller_effect(&mut self, effect: Effect, context: &mut Context<Self>) {
        match effect {
            Effect::Append { base, records } => self.propose(base, &records),
            Effect::Reply { id, response } => self.replies.answer(id, response, &self.links),
            Effect::SetTimer(timer) => self.set_controller_timer(timer, context),
            Effect::CancelTimer(timer) => self.controller_timers.cancel(context, timer),
            Effect::Fenced { broker, reason } => {
                warn!(%broker, ?reason, "broker is fenced or leaves its ISRs");
            }
            Effect::Published(end) => debug!(%end, "metadata replayed"),
            Effect::Violation(promise) => {
                self.fatal(format!("a promise of the controller is broken: {promise}"));
            }
        }
    }

    fn propose(&mut self, base: kraft_model::Offset, records: &[kraft_model::metadata::Record]) {
        let values: Result<Vec<_>, _> = records.iter().map(record::encode).collect();
        match values {
            Ok(values) => {
                let epoch = self.quorum.epoch();
                let now = super::describe::now_ms();
                let values = values.iter().map(|value: &bytes::Bytes| &value[..]);
                let batch = Records::build(base, epoch.0, now, false, values);
                self.proposals.push_back(batch);
            }
            Err(error) => self.fatal(format!("a metadata record cannot be encoded: {error}")),
        }
    }

    fn set_controller_timer(&mut self, timer: Timer, context: &mut Context<Self>) {
        let after = match timer {
            Timer::Session(_) => self.config.broker_session_timeout,
            Timer::Balance | Timer::UncleanSweep => SWEEP,
            Timer::SuspicionWindow => SUSPICION_WINDOW,
            Timer::Distrust(_) => DISTRUST,
        };
        self.controller_timers.set(context, timer, after, move |actor, context| {
            actor.controller_timers.fired(timer);
            actor.run(Work::Controller(Event::Timeout(timer)), context);
        });
    }

    /// The image that this node has replayed.
    pub(super) fn committed(&self) -> &Image {
        self.controller.committed()
    }

    /// Dials every unfenced broker that has no link to this node: whoever died while there was no
    /// controller is found at once, and not after its session.
    pub(super) fn meet_brokers(&mut self) {
        let me = self.me.id;
        let brokers: Vec<_> = self
            .committed()
            .brokers
            .values()
            .filter(|broker| broker.id != me && !broker.fenced && !self.is_up(broker.id))
            .cloned()
            .collect();
        for broker in brokers {
            let inter_broker = &self.config.inter_broker_listener;
            if let Some(endpoint) = broker.endpoints.iter().find(|e| e.listener == *inter_broker) {
                let address = (endpoint.host.clone(), endpoint.port);
                self.links.probe(broker.id, address, broker.incarnation);
            }
        }
    }
}
