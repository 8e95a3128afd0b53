//! The broker machine's shell: registration, heartbeats and the orderly stop.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle};
use kraft_model::broker::{Broker, Effect, Effects, Event, Timer};
use kraft_model::metadata::{BrokerRegistration, Request, Response};
use kraft_model::replay::{Start, Track};
use kraft_model::{BrokerEpoch, NodeId, Offset};
use tracing::{error, info, warn};

use super::Timers;
use super::controller_client::ControllerClient;
use crate::config::NodeConfig;
use crate::trace::Recorder;

/// Who learns what becomes of the broker.
pub trait Listener: 'static {
    /// Registered under this epoch: fetches and AlterPartitions carry it.
    fn registered(&mut self, epoch: BrokerEpoch);
    /// Unfenced: clients may be served.
    fn serve(&mut self);
    /// The stop is granted (with the epoch for the clean-shutdown file), or was not in time.
    fn exit(&mut self, clean: Option<BrokerEpoch>);
    /// The controller refuses this broker for good.
    fn refused(&mut self, reason: String);
    /// The process must stop.
    fn fatal(&mut self, reason: String);
}

pub struct Lifecycle {
    config: Arc<NodeConfig>,
    machine: Broker,
    recorder: Recorder,
    track: Option<Track>,
    registration: BrokerRegistration,
    controller: ControllerClient,
    listener: Box<dyn Listener>,
    timers: Timers<TimerKey>,
    /// The question to the controller that is open.
    asking: Option<SpawnHandle>,
    /// Why the controller last turned the broker away.
    refusal: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum TimerKey {
    Heartbeat,
    Retry,
    Answer,
    Shutdown,
}

/// How long a request to the controller may take before it is asked anew.
const ANSWER: Duration = Duration::from_millis(1_500);
/// Between attempts to register, and between heartbeats while something is about to change.
const SOON: Duration = Duration::from_millis(15);

impl Lifecycle {
    pub fn new(
        config: Arc<NodeConfig>,
        registration: BrokerRegistration,
        controller: ControllerClient,
        listener: Box<dyn Listener>,
        mut recorder: Recorder,
    ) -> Lifecycle {
        let me = config.node_id;
        Lifecycle {
            machine: Broker::new(me),
            track: recorder.begin(|| Start::Broker { me }),
            recorder,
            config,
            registration,
            controller,
            listener,
            timers: Timers::default(),
            asking: None,
            refusal: String::new(),
        }
    }

    fn step(&mut self, event: Event, context: &mut Context<Self>) {
        let mut effects = Effects::new();
        self.recorder.broker(&mut self.track, &mut self.machine, event, &mut effects);
        if let Err(error) = self.recorder.write() {
            return self.listener.fatal(format!("the trace cannot be written: {error}"));
        }
        effects.into_iter().for_each(|effect| self.run(effect, context));
    }

    fn run(&mut self, effect: Effect, context: &mut Context<Self>) {
        match effect {
            Effect::Register => self.register(context),
            Effect::Heartbeat(heartbeat) => {
                self.ask(Request::Heartbeat(heartbeat), context, |_, response| match response {
                    Response::Heartbeat(answer) => {
                        Event::HeartbeatAnswered(Some(answer.map_err(|refusal| refusal.code)))
                    }
                    _ => Event::HeartbeatAnswered(None),
                });
            }
            Effect::SetTimer(timer) => self.set_timer(timer, context),
            Effect::CancelTimer(timer) => self.timers.cancel(context, key(timer)),
            Effect::Registered(epoch) => {
                info!(%epoch, "registered with the controller");
                self.listener.registered(epoch);
            }
            Effect::Serve => {
                info!("unfenced: serves clients");
                self.listener.serve();
            }
            Effect::Exit(epoch) => self.listener.exit(Some(epoch)),
            Effect::Abandon => {
                warn!("the controller did not grant the stop in time");
                self.listener.exit(None);
            }
            Effect::Refused(code) => {
                error!(%code, "the controller refuses this broker: {}", self.refusal);
                self.listener.refused(format!("{code}: {}", self.refusal));
            }
        }
    }

    fn register(&mut self, context: &mut Context<Self>) {
        let request = Request::RegisterBroker(self.registration.clone());
        self.ask(request, context, |actor, response| {
            let answer = match response {
                Response::RegisterBroker(Ok(epoch)) => Some(Ok(epoch)),
                Response::RegisterBroker(Err(refusal)) => {
                    warn!(code = %refusal.code, "not registered: {}", refusal.message);
                    actor.refusal = refusal.message;
                    Some(Err(refusal.code))
                }
                _ => None,
            };
            Event::Registered(answer)
        });
    }

    /// The machine waits for one answer at a time: what was asked before is given up, and not sent to
    /// the next controller.
    fn ask(
        &mut self,
        request: Request,
        context: &mut Context<Self>,
        event: impl FnOnce(&mut Self, Response) -> Event + 'static,
    ) {
        let asked = self.controller_answer(request);
        let then = |response, actor: &mut Self, context: &mut Context<Self>| {
            let event = event(actor, response);
            actor.step(event, context);
        };
        let asking = context.spawn(actix::fut::wrap_future::<_, Self>(asked).map(then));
        if let Some(before) = self.asking.replace(asking) {
            context.cancel_future(before);
        }
    }

    fn controller_answer(&self, request: Request) -> impl Future<Output = Response> + use<> {
        let controller = self.controller.clone();
        async move { controller.request(request, ANSWER).await }
    }

    fn set_timer(&mut self, timer: Timer, context: &mut Context<Self>) {
        let after = match timer {
            Timer::Heartbeat { soon: true } | Timer::Retry => SOON,
            Timer::Heartbeat { soon: false } => self.config.broker_heartbeat_interval,
            Timer::Answer => ANSWER,
            Timer::Shutdown => self.config.controlled_shutdown_timeout,
        };
        let slot = key(timer);
        self.timers.set(context, slot, after, move |actor, context| {
            actor.timers.fired(slot);
            actor.step(Event::Timeout(timer), context);
        });
    }
}

fn key(timer: Timer) -> TimerKey {
    match timer {
        Timer::Heartbeat { .. } => TimerKey::Heartbeat,
        Timer::Retry => TimerKey::Retry,
        Timer::Answer => TimerKey::Answer,
        Timer::Shutdown => TimerKey::Shutdown,
    }
}

impl Actor for Lifecycle {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.step(Event::Started, context);
    }
}

/// What the broker machine learns from the rest of the process.
#[derive(Message)]
#[rtype(result = "()")]
pub enum Input {
    Controller(Option<NodeId>),
    Metadata { end: Offset, fenced: Option<bool> },
    Stop,
    StorageFailed,
}

impl Handler<Input> for Lifecycle {
    type Result = ();

    fn handle(&mut self, input: Input, context: &mut Self::Context) {
        let event = match input {
            Input::Controller(leader) => Event::Controller(leader),
            Input::Metadata { end, fenced } => Event::Metadata { end, fenced },
            Input::Stop => Event::Stop,
            Input::StorageFailed => Event::StorageFailed,
        };
        self.step(event, context);
    }
}
