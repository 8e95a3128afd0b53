//! Asking the active controller, wherever it is: in this process or over a link.
//!
//! Requests wait while no controller is known, and are sent again when the one that was asked lost
//! its office or its link. A creation that is sent twice is not done twice: the topic's id was
//! chosen before the first attempt.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, MessageResult, SpawnHandle,
};
use kraft_model::NodeId;
use kraft_model::metadata::{Request, Response};
use kraft_model::raft::{VoterChange, VoterChangeError};
use tokio::sync::oneshot;

use super::post;
use super::quorum::{Asked, Input, QuorumActor};
use crate::limits::CONTROLLER_REQUESTS;
use crate::peer::{self, Links, QuorumView};
use crate::storage::VoterEndpoint;

/// A handle for asking the active controller, from any thread.
#[derive(Clone)]
pub struct ControllerClient {
    router: Addr<Router>,
}

impl ControllerClient {
    pub fn new(router: Addr<Router>) -> ControllerClient {
        ControllerClient { router }
    }

    /// Asks, for as long as `timeout` says; [`Response::NotController`] when the time is up. What is
    /// dropped before that is not asked of another controller any more.
    pub async fn request(&self, request: Request, timeout: Duration) -> Response {
        let nobody = Response::NotController { leader: None };
        match self.router.send(Ask { request, timeout }).await {
            Ok(answered) => answered.await.unwrap_or(nobody),
            Err(_) => nobody,
        }
    }

    /// The quorum as its leader sees it; `None` if there is none or it does not answer in time.
    pub async fn describe(&self, timeout: Duration) -> Option<QuorumView> {
        let described = self.router.send(Describe).await.ok()?;
        tokio::time::timeout(timeout, described).await.ok()?.ok()
    }

    /// Asks the quorum's leader for a voter change, once: asked again, one that was made would look
    /// like one that cannot be.
    pub async fn change_voters(
        &self,
        change: VoterChange,
        endpoints: Vec<VoterEndpoint>,
        timeout: Duration,
    ) -> Changed {
        let Ok(asked) = self.router.send(ChangeVoters { change, endpoints }).await else {
            return Err(VoterChangeError::NotLeader);
        };
        match tokio::time::timeout(timeout, asked).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(VoterChangeError::LostLeadership),
            Err(_) => Err(VoterChangeError::NotCommitted),
        }
    }
}

/// Keeps the requests of this process until they are answered.
pub struct Router {
    me: NodeId,
    links: Links,
    quorum: Option<Addr<QuorumActor>>,
    leader: Option<NodeId>,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    describing: BTreeMap<u64, oneshot::Sender<QuorumView>>,
    changing: BTreeMap<u64, (NodeId, oneshot::Sender<Changed>)>,
    sweep: Option<SpawnHandle>,
}

struct Waiting {
    request: Request,
    answer: oneshot::Sender<Response>,
    deadline: Instant,
    /// The controller that was asked, if it may still answer.
    asked: Option<NodeId>,
}

/// How soon a request that was turned away is sent again, and expired ones are looked for.
const SWEEP: Duration = Duration::from_millis(20);

impl Router {
    pub fn new(me: NodeId, links: Links) -> Router {
        Router {
            me,
            links,
            quorum: None,
            leader: None,
            next: 0,
            waiting: BTreeMap::new(),
            describing: BTreeMap::new(),
            changing: BTreeMap::new(),
            sweep: None,
        }
    }

    fn send_waiting(&mut self, context: &mut Context<Self>) {
        self.waiting.retain(|_, waiting| !waiting.answer.is_closed());
        let unsent: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.asked.is_none())
            .map(|(&id, _)| id)
            .collect();
        unsent.into_iter().for_each(|id| self.send(id, context));
    }

    fn send(&mut self, id: u64, context: &mut Context<Self>) {
        let Some(leader) = self.leader else { return };
        let Some(waiting) = self.waiting.get_mut(&id) else { return };
        let request = waiting.request.clone();
        if leader == self.me {
            let Some(quorum) = &self.quorum else { return };
            let (answer, answered) = oneshot::channel();
            post(quorum, Input::LocalRequest { request, answer });
            waiting.asked = Some(leader);
            let router = context.address();
            actix_rt::spawn(async move {
                if let Ok(response) = answered.await {
                    post(&router, Answered { id, response });
                }
            });
        } else if self.links.send(leader, peer::Message::Controller { id, request }).is_ok() {
            waiting.asked = Some(leader);
        }
    }

    /// While anything waits, looks now and then for what has expired or can be sent again.
    fn keep_sweeping(&mut self, context: &mut Context<Self>) {
        if self.waiting.is_empty() || self.sweep.is_some() {
            return;
        }
        self.sweep = Some(context.run_later(SWEEP, |router, context| {
            router.sweep = None;
            let now = Instant::now();
            let expired: Vec<u64> = router
                .waiting
                .iter()
                .filter(|(_, waiting)| waiting.deadline <= now)
                .map(|(&id, _)| id)
                .collect();
            let leader = router.leader;
            for id in expired {
                if let Some(waiting) = router.waiting.remove(&id) {
                    drop(waiting.answer.send(Response::NotController { leader }));
                }
            }
            router.send_waiting(context);
            router.keep_sweeping(context);
        }));
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(CONTROLLER_REQUESTS);
    }
}

#[derive(Message)]
#[rtype(result = "Answer")]
struct Ask {
    request: Request,
    timeout: Duration,
}

type Answer = oneshot::Receiver<Response>;

impl Handler<Ask> for Router {
    type Result = MessageResult<Ask>;

    fn handle(&mut self, ask: Ask, context: &mut Self::Context) -> Self::Result {
        let leader = self.leader;
        let (answer, answered) = oneshot::channel();
        if self.waiting.len() >= CONTROLLER_REQUESTS {
            drop(answer.send(Response::NotController { leader }));
            return MessageResult(answered);
        }
        self.next += 1;
        let id = self.next;
        let deadline = Instant::now() + ask.timeout;
        self.waiting.insert(id, Waiting { request: ask.request, answer, deadline, asked: None });
        self.send(id, context);
        self.keep_sweeping(context);
        MessageResult(answered)
    }
}

/// The answer to the request with this id has come.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Answered {
    pub id: u64,
    pub response: Response,
}

impl Handler<Answered> for Router {
    type Result = ();

    fn handle(&mut self, answered: Answered, _: &mut Self::Context) {
        if let Response::NotController { leader } = answered.response {
            if let Some(waiting) = self.waiting.get_mut(&answered.id) {
                waiting.asked = None;
            }
            self.leader = leader.or(self.leader);
        } else if let Some(waiting) = self.waiting.remove(&answered.id) {
            // Whoever asked may have stopped waiting.
            drop(waiting.answer.send(answered.response));
        }
    }
}

#[derive(Message)]
#[rtype(result = "DescribeAnswer")]
struct Describe;

type DescribeAnswer = oneshot::Receiver<QuorumView>;

impl Handler<Describe> for Router {
    type Result = MessageResult<Describe>;

    fn handle(&mut self, _: Describe, _: &mut Self::Context) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        self.describing.retain(|_, waiting| !waiting.is_closed());
        match (self.leader, &self.quorum) {
            (Some(leader), Some(quorum)) if leader == self.me => {
                post(quorum, Input::Describe(answer));
            }
            (Some(leader), _) => {
                self.next += 1;
                let id = self.next;
                if self.links.send(leader, peer::Message::DescribeQuorum { id }).is_ok() {
                    self.describing.insert(id, answer);
                }
            }
            (None, _) => {}
        }
        MessageResult(answered)
    }
}

/// The answer to a description that was asked of another node.
#[derive(Message)]
#[rtype(result = "()")]
pub struct QuorumDescribed {
    pub id: u64,
    pub view: QuorumView,
}

impl Handler<QuorumDescribed> for Router {
    type Result = ();

    fn handle(&mut self, described: QuorumDescribed, _: &mut Self::Context) {
        if let Some(answer) = self.describing.remove(&described.id) {
            // Whoever asked may have stopped waiting.
            drop(answer.send(described.view));
        }
    }
}

/// What became of a voter change.
pub type Changed = Result<(), VoterChangeError>;

#[derive(Message)]
#[rtype(result = "ChangeAnswer")]
struct ChangeVoters {
    change: VoterChange,
    endpoints: Vec<VoterEndpoint>,
}

type ChangeAnswer = oneshot::Receiver<Changed>;

impl Handler<ChangeVoters> for Router {
    type Result = MessageResult<ChangeVoters>;

    fn handle(&mut self, asked: ChangeVoters, _: &mut Self::Context) -> Self::Result {
        let ChangeVoters { change, endpoints } = asked;
        let (answer, answered) = oneshot::channel();
        self.changing.retain(|_, (_, waiting)| !waiting.is_closed());
        match (self.leader, &self.quorum) {
            (Some(leader), Some(quorum)) if leader == self.me => {
                let asked = Asked::Local(answer);
                post(quorum, Input::ChangeVoters { asked, change, endpoints });
            }
            (Some(leader), _) => {
                self.next += 1;
                let id = self.next;
                let message = peer::Message::ChangeVoters { id, change, endpoints };
                if self.links.send(leader, message).is_ok() {
                    self.changing.insert(id, (leader, answer));
                } else {
                    tell(answer, Err(VoterChangeError::NotLeader));
                }
            }
            (None, _) => tell(answer, Err(VoterChangeError::NotLeader)),
        }
        MessageResult(answered)
    }
}

fn tell(answer: oneshot::Sender<Changed>, result: Changed) {
    // Whoever asked may have stopped waiting.
    let _ = answer.send(result);
}

/// The answer to a voter change that was asked of another node.
#[derive(Message)]
#[rtype(result = "()")]
pub struct VotersChanged {
    pub id: u64,
    pub result: Changed,
}

impl Handler<VotersChanged> for Router {
    type Result = ();

    fn handle(&mut self, changed: VotersChanged, _: &mut Self::Context) {
        if let Some((_, answer)) = self.changing.remove(&changed.id) {
            tell(answer, changed.result);
        }
    }
}

/// What the router has to know of the cluster.
#[derive(Message)]
#[rtype(result = "()")]
pub enum News {
    /// The quorum actor of this process, for the time when it leads.
    Quorum(Addr<QuorumActor>),
    Leader(Option<NodeId>),
    LinkUp(NodeId),
    LinkDown(NodeId),
    Stop,
}

impl Handler<News> for Router {
    type Result = ();

    fn handle(&mut self, news: News, context: &mut Self::Context) {
        match news {
            News::Quorum(quorum) => self.quorum = Some(quorum),
            News::Leader(leader) => {
                self.leader = leader;
                for waiting in self.waiting.values_mut() {
                    waiting.asked = waiting.asked.filter(|&asked| Some(asked) == leader);
                }
            }
            News::LinkUp(_) => {}
            News::LinkDown(peer) => {
                for waiting in self.waiting.values_mut() {
                    waiting.asked = waiting.asked.filter(|&asked| asked != peer);
                }
                // Nobody will tell any more what became of these.
                self.changing.retain(|_, (asked, _)| *asked != peer);
            }
            News::Stop => return context.stop(),
        }
        self.send_waiting(context);
    }
}
