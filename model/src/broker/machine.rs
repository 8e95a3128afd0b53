//! Registration, heartbeats, and the way out.

use crate::metadata::{BrokerHeartbeat, HeartbeatReply};
use crate::{BrokerEpoch, ErrorCode, NodeId, Offset};

use super::{Effect, Effects, Event, Timer};

/// How often a registration may be refused because an earlier run's session is still valid, before
/// it must be another process that uses this id: with a retry each half a second, three times the
/// default session.
const DUPLICATES: u8 = 60;

/// A broker's standing with the controllers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Broker {
    me: NodeId,
    state: State,
    /// Storage is recovered and listeners are bound; nothing is asked before.
    ready: bool,
    controller: Option<NodeId>,
    epoch: Option<BrokerEpoch>,
    metadata_end: Offset,
    /// The metadata that the last heartbeat spoke of.
    pub(super) told_end: Offset,
    /// The one request that is on its way.
    open: Option<Request>,
    /// The timer that decides when to ask next, if nothing is on its way.
    pub(super) timer: Option<Timer>,
    /// Something happened while a request was on its way that the next one is to tell at once.
    has_news: bool,
    serving: bool,
    /// The metadata show this running broker fenced, and it has answered to that.
    known_fenced: bool,
    want_fence: bool,
    pub(super) want_shutdown: bool,
    duplicates: u8,
}

/// | state | the controllers' side | leaves when |
/// |---|---|---|
/// | `Starting` | not registered (any more) | registered |
/// | `Recovering` | fenced, catching up | unfenced |
/// | `Running` | unfenced, or fenced for a while | the registration is void, or a stop is wanted |
/// | `ControlledShutdown` | leaders move away | granted, or out of time |
/// | `Stopped` | | never |
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    Starting,
    Recovering,
    Running,
    ControlledShutdown,
    Stopped,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Request {
    Register,
    Heartbeat,
}

impl Broker {
    pub fn new(me: NodeId) -> Broker {
        Broker {
            me,
            state: State::Starting,
            ready: false,
            controller: None,
            epoch: None,
            metadata_end: Offset::ZERO,
            told_end: Offset::ZERO,
            open: None,
            timer: None,
            has_news: false,
            serving: false,
            known_fenced: false,
            want_fence: false,
            want_shutdown: false,
            duplicates: 0,
        }
    }

    /// For metrics and logs.
    pub fn state(&self) -> State {
        match self.state {
            State::Recovering | State::Running if self.want_shutdown => State::ControlledShutdown,
            state => state,
        }
    }

    /// The registration in force, if there is one.
    pub fn epoch(&self) -> Option<BrokerEpoch> {
        self.epoch
    }

    /// Takes in what happened; appends to `fx` what is to be done about it.
    pub fn step(&mut self, event: Event, fx: &mut Effects) {
        if self.state == State::Stopped {
            return;
        }
        match event {
            Event::Started => {
                self.ready = true;
                self.ask(fx);
            }
            Event::Controller(controller) => self.on_controller(controller, fx),
            Event::Registered(answer) => {
                if self.take_open(Request::Register, fx) {
                    self.on_registered(answer, fx);
                }
            }
            Event::HeartbeatAnswered(answer) => {
                if self.take_open(Request::Heartbeat, fx) {
                    self.on_heartbeat_answered(answer, fx);
                }
            }
            Event::Metadata { end, fenced } => self.on_metadata(end, fenced, fx),
            Event::Stop => self.on_stop(fx),
            Event::StorageFailed => {
                self.want_fence = true;
                self.tell_at_once(fx);
            }
            Event::Timeout(timer) => self.on_timeout(timer, fx),
        }
    }

    /// A request to another controller than the present one is not waited for.
    fn on_controller(&mut self, controller: Option<NodeId>, fx: &mut Effects) {
        if self.controller == controller {
            return;
        }
        self.controller = controller;
        if self.open.take().is_some() {
            fx.push(Effect::CancelTimer(Timer::Answer));
        }
        self.ask(fx);
    }

    fn on_registered(&mut self, answer: Option<Result<BrokerEpoch, ErrorCode>>, fx: &mut Effects) {
        match answer {
            Some(Ok(epoch)) => {
                self.duplicates = 0;
                self.epoch = Some(epoch);
                self.state = State::Recovering;
                fx.push(Effect::Registered(epoch));
                self.ask(fx);
            }
            Some(Err(ErrorCode::DuplicateBrokerRegistration)) if self.duplicates < DUPLICATES => {
                // The session of this broker's last run has to end first (B1).
                self.duplicates += 1;
                self.wait(Timer::Retry, fx);
            }
            Some(Err(error)) if is_final(error) => {
                self.stop_with(Effect::Refused(error), fx);
            }
            Some(Err(_)) | None => self.wait(Timer::Retry, fx),
        }
    }

    fn on_heartbeat_answered(
        &mut self,
        answer: Option<Result<HeartbeatReply, ErrorCode>>,
        fx: &mut Effects,
    ) {
        match answer {
            Some(Ok(reply)) => self.on_heartbeat_reply(reply, fx),
            Some(Err(ErrorCode::StaleBrokerEpoch | ErrorCode::BrokerIdNotRegistered)) => {
                // Fenced for long, or unregistered: the same process may register again.
                self.epoch = None;
                self.state = State::Starting;
                self.ask(fx);
            }
            Some(Err(_)) | None => self.wait(Timer::Retry, fx),
        }
    }

    fn on_heartbeat_reply(&mut self, reply: HeartbeatReply, fx: &mut Effects) {
        if let Some(epoch) = self.epoch.filter(|_| reply.should_shut_down && self.want_shutdown) {
            return self.stop_with(Effect::Exit(epoch), fx);
        }
        // Until then its partitions are not all known here, however sure the controller is.
        if !reply.fenced && self.has_replayed_registration() {
            self.run(fx);
        }
        let wants_out = self.want_fence || self.want_shutdown;
        let soon = (reply.fenced && !self.want_fence) || self.want_shutdown;
        if std::mem::take(&mut self.has_news) || (self.is_news() && !wants_out) {
            self.ask(fx);
        } else {
            self.wait(Timer::Heartbeat { soon }, fx);
        }
    }

    /// While the broker is fenced, the controller waits for it to have replayed its own
    /// registration (B2); that it has, is told at once.
    fn on_metadata(&mut self, end: Offset, fenced: Option<bool>, fx: &mut Effects) {
        self.metadata_end = end;
        match (self.state, fenced) {
            (State::Recovering, Some(false)) => self.run(fx),
            (State::Recovering, _) if self.is_news() && self.open.is_none() => self.ask(fx),
            (State::Running, Some(true)) if !self.want_fence && !self.known_fenced => {
                // Fenced without having asked for it: show that it lives.
                self.known_fenced = true;
                self.tell_at_once(fx);
            }
            _ => {}
        }
        if fenced == Some(false) {
            self.known_fenced = false;
        }
    }

    /// Whether the registration was replayed since the last heartbeat.
    fn is_news(&self) -> bool {
        self.state == State::Recovering
            && self.has_replayed_registration()
            && self.epoch.is_some_and(|epoch| self.told_end.0 <= epoch.0)
    }

    /// The registration's record lies at its epoch.
    fn has_replayed_registration(&self) -> bool {
        self.epoch.is_some_and(|epoch| self.metadata_end.0 > epoch.0)
    }

    fn run(&mut self, fx: &mut Effects) {
        self.state = State::Running;
        if !self.serving {
            self.serving = true;
            fx.push(Effect::Serve);
        }
    }

    /// A controlled shutdown, if there is a registration to take leave of.
    fn on_stop(&mut self, fx: &mut Effects) {
        if self.want_shutdown {
            return;
        }
        self.want_shutdown = true;
        if self.epoch.is_none() {
            return self.stop_with(Effect::Abandon, fx);
        }
        fx.push(Effect::SetTimer(Timer::Shutdown));
        self.tell_at_once(fx);
    }

    fn on_timeout(&mut self, timer: Timer, fx: &mut Effects) {
        match timer {
            Timer::Shutdown if self.want_shutdown => self.stop_with(Effect::Abandon, fx),
            Timer::Answer if self.open.take().is_some() => self.wait(Timer::Retry, fx),
            Timer::Retry | Timer::Heartbeat { .. } if self.timer == Some(timer) => {
                self.timer = None;
                self.ask(fx);
            }
            _ => {}
        }
    }

    fn tell_at_once(&mut self, fx: &mut Effects) {
        if self.open.is_some() {
            self.has_news = true;
        } else {
            self.ask(fx);
        }
    }

    /// Sends what is due to the active controller; without one, whoever becomes active is asked.
    fn ask(&mut self, fx: &mut Effects) {
        if let Some(timer) = self.timer.take() {
            fx.push(Effect::CancelTimer(timer));
        }
        if !self.ready || self.controller.is_none() || self.open.is_some() {
            return;
        }
        self.has_news = false;
        match self.epoch {
            None => {
                self.open = Some(Request::Register);
                fx.push(Effect::Register);
            }
            Some(epoch) => {
                self.open = Some(Request::Heartbeat);
                self.told_end = self.metadata_end;
                fx.push(Effect::Heartbeat(BrokerHeartbeat {
                    broker: self.me,
                    epoch,
                    metadata_offset: self.metadata_end,
                    want_fence: self.want_fence,
                    want_shutdown: self.want_shutdown,
                }));
            }
        }
        fx.push(Effect::SetTimer(Timer::Answer));
    }

    fn wait(&mut self, timer: Timer, fx: &mut Effects) {
        self.timer = Some(timer);
        fx.push(Effect::SetTimer(timer));
    }

    /// Whether the answer is one to `request`, which is then no longer open.
    fn take_open(&mut self, request: Request, fx: &mut Effects) -> bool {
        let is_open = self.open == Some(request);
        if is_open {
            self.open = None;
            fx.push(Effect::CancelTimer(Timer::Answer));
        }
        is_open
    }

    fn stop_with(&mut self, last: Effect, fx: &mut Effects) {
        let request = self.open.take().map(|_| Timer::Answer);
        let shutdown = self.want_shutdown.then_some(Timer::Shutdown);
        for timer in [request, self.timer.take(), shutdown].into_iter().flatten() {
            fx.push(Effect::CancelTimer(timer));
        }
        self.state = State::Stopped;
        fx.push(last);
    }
}

/// Answers to a registration that another attempt would only get again.
fn is_final(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::DuplicateBrokerRegistration
            | ErrorCode::InconsistentClusterId
            | ErrorCode::InvalidRegistration
            | ErrorCode::InvalidRequest
            | ErrorCode::InvalidConfig
            | ErrorCode::UnsupportedVersion
    )
}
