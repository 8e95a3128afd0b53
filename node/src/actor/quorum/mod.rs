//! The quorum actor: one node's end of the metadata log.
//!
//! ```text
//!   links, timers, flushes ──▶ Quorum::step ──▶ effects ──▶ disk, links, timers
//!                                  │  ▲ Propose
//!                        Committed ▼  │ Append
//!   requests of brokers ──▶ Controller::step ──▶ replies;   image ──▶ published to the broker
//! ```
//!
//! A broker that is no controller runs both machines as well: the quorum machine as an observer, and
//! the controller machine standing by, which only replays. This file holds the actor and its loop; the effects of either machine
//! are run in [`raft_effects`] and [`controller_effects`].

mod controller_effects;
mod describe;
mod disk;
mod finding;
mod outbox;
mod raft_effects;
mod replay;
mod replies;
mod voters;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use actix::{Actor, Context, Handler, Message};
use kraft_model::log::Log;
use kraft_model::metadata::{self, Controller, Image};
use kraft_model::raft::{self, Quorum, RaftLog};
use kraft_model::replay::{RecordedLog, Start, Track};
use kraft_model::{ClusterId, Epoch, Incarnation, NodeId, Offset, ReplicaKey, Shipped};
use tracing::{error, info};

use super::Timers;
use super::promises::{self, QuorumStands};
use crate::config::{NodeConfig, Roles};
use crate::limits;
use crate::peer::{LinkId, Links, QuorumView};
use crate::storage::{MetadataLog, Records, VoterEndpoint};
use crate::trace::Recorder;
use disk::Disk;
pub use finding::FINDING;
use finding::Finding;
use outbox::Outbox;
use replies::Replies;
pub use voters::Asked;
use voters::Changes;

/// Who learns of what the quorum actor finds out.
pub trait Listener: 'static {
    /// The committed metadata was replayed up to `image.end`.
    fn published(&mut self, image: Arc<Image>);

    /// The active controller, as far as this node knows, in this epoch.
    fn controller(&mut self, leader: Option<NodeId>, epoch: Epoch);

    /// A promise is broken or the disk cannot be trusted: the process must stop.
    fn fatal(&mut self, reason: String);
}

/// What the quorum actor is made of.
pub struct Parts {
    pub config: Arc<NodeConfig>,
    pub cluster: ClusterId,
    pub me: ReplicaKey,
    pub log: MetadataLog,
    pub stored: raft::StoredState,
    /// Where other controllers reach this one; none on a broker.
    pub endpoints: Vec<VoterEndpoint>,
    pub links: Links,
    pub listener: Box<dyn Listener>,
    pub recorder: Recorder,
}

pub struct QuorumActor {
    config: Arc<NodeConfig>,
    me: ReplicaKey,
    quorum: Quorum<Shipped>,
    disk: Disk,
    /// On a node without the controller role too: it keeps the image, and is never active.
    controller: Controller<Shipped>,
    promises: promises::Metadata,
    recorder: Recorder,
    tracks: Tracks,
    /// Committed and replayed up to here.
    replayed: Offset,
    replayed_epoch: Epoch,
    /// Bytes replayed since the last snapshot.
    unsnapshotted: u64,
    links: Links,
    outbox: Outbox,
    listener: Box<dyn Listener>,
    timers: Timers<raft_effects::TimerKey>,
    controller_timers: Timers<metadata::Timer>,
    held: HashMap<NodeId, raft::Fetch>,
    replies: Replies,
    progress: describe::Progress,
    /// The links that are up.
    up: HashMap<LinkId, NodeId>,
    finding: Finding,
    changes: Changes,
    /// Where other controllers reach this one.
    endpoints: Vec<VoterEndpoint>,
    /// What the controller has appended and the quorum has yet to, in order and before all else.
    proposals: VecDeque<Records>,
    work: VecDeque<Work>,
    snapshot_in_progress: bool,
    stopped: bool,
}

/// The two machines in the trace, if there is one.
struct Tracks {
    quorum: Option<Track>,
    controller: Option<Track>,
}

/// One event for one of the two machines.
enum Work {
    Quorum(raft::Event<Records>),
    Controller(metadata::Event),
}

impl QuorumActor {
    pub fn new(parts: Parts) -> QuorumActor {
        let Parts { config, cluster, me, log, stored, endpoints, links, listener, mut recorder } =
            parts;
        let voters: Vec<ReplicaKey> = config
            .voters
            .iter()
            .map(|voter| ReplicaKey {
                id: voter.id,
                directory: voter.directory.unwrap_or_default(),
            })
            .collect();
        let quorum = Quorum::new(Shipped, me, &voters, stored, &log);
        let defaults = controller_effects::defaults(&config);
        let controller = Controller::new(me.id, cluster, defaults);
        let tracks = Tracks {
            quorum: recorder.begin(|| Start::Quorum {
                me,
                voters,
                stored,
                log: log.state(),
                record: log.voters_below(log.end()),
            }),
            controller: recorder.begin(|| Start::Controller { me: me.id, cluster, defaults }),
        };
        QuorumActor {
            me,
            quorum,
            disk: Disk::new(log),
            controller,
            promises: promises::Metadata::default(),
            recorder,
            tracks,
            replayed: Offset::ZERO,
            replayed_epoch: Epoch::default(),
            unsnapshotted: 0,
            links,
            outbox: Outbox::default(),
            listener,
            timers: Timers::default(),
            controller_timers: Timers::default(),
            held: HashMap::new(),
            replies: Replies::default(),
            progress: describe::Progress::default(),
            up: HashMap::new(),
            finding: Finding::default(),
            changes: Changes::default(),
            endpoints,
            proposals: VecDeque::new(),
            work: VecDeque::new(),
            snapshot_in_progress: false,
            stopped: false,
            config,
        }
    }

    /// Steps the machines until neither has anything to do.
    fn run(&mut self, first: Work, context: &mut Context<Self>) {
        if self.stopped {
            return;
        }
        self.work.push_back(first);
        while let Some(work) = self.next_work() {
            match work {
                Work::Quorum(event) => self.step_quorum(event, context),
                Work::Controller(event) => self.step_controller(event, context),
            }
            if let Some(failure) = self.disk.log.failure() {
                let reason = format!("the metadata log cannot be written: {failure}");
                return self.fatal(reason);
            }
        }
        self.disk.start_writes(context);
    }

    fn next_work(&mut self) -> Option<Work> {
        let proposal = self.proposals.pop_front().map(raft::Event::Propose).map(Work::Quorum);
        proposal.or_else(|| self.work.pop_front())
    }

    fn step_quorum(&mut self, event: raft::Event<Records>, context: &mut Context<Self>) {
        let mut effects = Vec::new();
        let before = QuorumStands::of(&self.quorum);
        let log = &mut self.disk.log;
        self.recorder.quorum(&mut self.tracks.quorum, &mut self.quorum, log, event, &mut effects);
        if !self.write_trace() {
            return;
        }
        // A log that failed may not hold what the machine has appended; it stops the process as well.
        let broken = before.broken(QuorumStands::of(&self.quorum), self.disk.log.end());
        if let Some(promise) = broken.filter(|_| self.disk.log.failure().is_none()) {
            return self.fatal(format!("a promise of the quorum is broken: {promise}"));
        }
        for effect in effects {
            self.run_quorum_effect(effect, context);
        }
    }

    fn step_controller(&mut self, event: metadata::Event, context: &mut Context<Self>) {
        let mut effects = Vec::new();
        self.promises.expect(&event);
        let (track, controller) = (&mut self.tracks.controller, &mut self.controller);
        self.recorder.controller(track, controller, event, &mut effects);
        if !self.write_trace() {
            return;
        }
        if let Some(promise) = self.promises.broken(self.controller.committed()) {
            return self.fatal(format!("a promise of the metadata is broken: {promise}"));
        }
        for effect in effects {
            self.run_controller_effect(effect, context);
        }
    }

    /// A step is in the trace before anything leaves that it says; whether it is.
    fn write_trace(&mut self) -> bool {
        match self.recorder.write() {
            Ok(()) => true,
            Err(error) => {
                self.fatal(format!("the trace cannot be written: {error}"));
                false
            }
        }
    }

    fn fatal(&mut self, reason: String) {
        error!("{reason}");
        self.stopped = true;
        self.work.clear();
        self.proposals.clear();
        self.listener.fatal(reason);
    }
}

impl Actor for QuorumActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(limits::QUORUM_MAILBOX);
        if let Err(failure) = self.load_snapshot(context) {
            return self.fatal(format!("the metadata snapshot cannot be loaded: {failure}"));
        }
        info!(node = %self.me.id, end = %kraft_model::log::Log::end(&self.disk.log), "quorum starts");
        self.dial_voters();
        self.run(Work::Quorum(raft::Event::Started), context);
        self.find_voters(context);
    }
}

/// What reaches the quorum actor from outside.
#[derive(Message)]
#[rtype(result = "()")]
pub enum Input {
    /// A message of the quorum from another node.
    Peer {
        peer: NodeId,
        link: LinkId,
        message: raft::Message<Records>,
    },
    /// A broker's request to the controller over a link; answered on it.
    RemoteRequest {
        link: LinkId,
        id: u64,
        request: metadata::Request,
    },
    /// A request of this very process.
    LocalRequest {
        request: metadata::Request,
        answer: tokio::sync::oneshot::Sender<metadata::Response>,
    },
    LinkUp {
        peer: NodeId,
        link: LinkId,
        incarnation: Incarnation,
        roles: Roles,
        /// Where it says that it is reached.
        endpoint: (String, u16),
    },
    LinkDown {
        peer: NodeId,
        link: LinkId,
    },
    Gone {
        peer: NodeId,
        incarnation: Incarnation,
    },
    Describe(tokio::sync::oneshot::Sender<QuorumView>),
    DescribeRemote {
        link: LinkId,
        id: u64,
    },
    /// Somebody wants the voters changed.
    ChangeVoters {
        asked: Asked,
        change: raft::VoterChange,
        endpoints: Vec<VoterEndpoint>,
    },
    /// A controller that was asked who votes has answered.
    ToldOfVoters(QuorumView),
    /// An orderly stop: resign, so that another controller takes over at once.
    Resign,
}

impl Handler<Input> for QuorumActor {
    type Result = ();

    fn handle(&mut self, input: Input, context: &mut Self::Context) {
        match input {
            Input::Peer { peer, link, message } => self.received(peer, link, message, context),
            Input::RemoteRequest { link, id, request } => {
                let id = self.replies.remote(link, id);
                self.request(id, request, context);
            }
            Input::LocalRequest { request, answer } => {
                let id = self.replies.local(answer);
                self.request(id, request, context);
            }
            Input::LinkUp { peer, link, incarnation, roles, endpoint } => {
                self.finding.met(peer, roles.controller, endpoint);
                self.link_up(peer, link, incarnation, context);
            }
            Input::LinkDown { peer, link } => self.link_down(peer, link, context),
            Input::Gone { peer, incarnation } => self.gone(peer, incarnation, context),
            Input::Describe(answer) => {
                // The asker may have given up waiting; that is its business.
                let _ = answer.send(self.describe());
            }
            Input::DescribeRemote { link, id } => {
                let view = self.describe();
                replies::send(
                    &self.links,
                    link,
                    crate::peer::Message::QuorumDescribed { id, view },
                );
            }
            Input::ChangeVoters { asked, change, endpoints } => {
                self.change_voters(asked, change, endpoints, context);
            }
            Input::ToldOfVoters(view) => self.told_of_voters(&view, context),
            Input::Resign => self.run(Work::Quorum(raft::Event::Resign), context),
        }
    }
}
