//! A process: the machines of one node and a shell that does what the node's actors do.
//!
//! ```text
//!   Input ──▶ quorum ─┬─ Quorum::step      ──▶ disk, links, timers
//!                     └─ Controller::step  ──▶ proposals, replies
//!         ──▶ router (asks the controller) ◀── lifecycle (broker::Broker), partitions (Replica)
//! ```
//!
//! It gathers events and runs effects, and decides nothing: `node/src/actor` is its original, file
//! by file. What the node leaves to the operating system is chance here: how long things take, and
//! whether they work.

mod controller;
mod lifecycle;
mod partitions;
mod produce;
mod quorum;
mod replay;
mod replication;
mod router;
mod timers;
mod voters;
mod writes;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::log::Log;
use crate::metadata::{self, Controller, Image};
use crate::raft::{self, Quorum, VoterChange, Voters};
use crate::replica::high_watermark_to_begin_with;
use crate::{Epoch, Incarnation, NodeId, Offset, ReplicaKey, Rules};

use super::disk::{Chunk, Disk, Snapshot};
use super::env::{self, Env, Fact, Input, Message};
use lifecycle::Lifecycle;
use partitions::Partitions;
pub(super) use partitions::name;
use router::{Replies, Router};
use timers::Timers;
use writes::Writes;

/// What a node is, whatever process runs on it.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub id: NodeId,
    pub is_controller: bool,
    pub is_broker: bool,
    /// The voters of a static quorum, by the configuration.
    pub voters: Vec<ReplicaKey>,
    /// Those that this node's first log was formatted with, in a dynamic quorum.
    pub formatted: Option<Voters>,
    /// Nodes up to this one are controllers, voters or not.
    pub last_controller: NodeId,
}

impl Identity {
    pub fn knows_as_controller(&self, node: NodeId) -> bool {
        node <= self.last_controller
    }
}

/// One event for one of the two machines of the quorum actor.
enum Work {
    Quorum(raft::Event<Chunk>),
    Controller(metadata::Event),
}

/// How a process ends by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// It cannot go on: whoever runs it starts it again.
    Fatal(&'static str),
    Orderly,
}

pub(super) struct Process<R: Rules> {
    pub incarnation: Incarnation,
    pub quorum: Quorum<R>,
    pub controller: Option<Controller<R>>,
    /// What a node without the controller role has replayed.
    image: Image,
    /// Committed and replayed up to here.
    pub replayed: Offset,
    replayed_epoch: Epoch,
    unsnapshotted: usize,
    is_writing_snapshot: bool,
    writing: Option<Arc<Snapshot>>,
    published_at: u64,
    /// How much of which snapshot was fetched.
    fetched: Option<(raft::SnapshotId, u64)>,
    work: VecDeque<Work>,
    /// What the controller has decided, in its order: before all other work.
    proposals: VecDeque<Chunk>,
    writes: Writes,
    /// Changes of the voters that were asked for here and not answered yet.
    changes: BTreeMap<u64, VoterChange>,
    held: BTreeMap<NodeId, raft::Fetch>,
    /// The links that stand, by their generation.
    up: BTreeMap<NodeId, (u32, Incarnation)>,
    timers: Timers,
    replies: Replies,
    router: Router,
    lifecycle: Option<Lifecycle>,
    pub partitions: Option<Partitions<R>>,
    pub end: Option<End>,
    /// A vote, a record or leadership was given away just now: a moment for an ambush.
    pub moment: Option<Moment>,
    /// The clock's speed, in per mille.
    clock: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    Voted,
    Stood,
    Led,
    Appended,
    TookRecords,
    BecameLeader,
}

/// A process at work: everything that a step may touch.
pub(super) struct At<'a, R: Rules> {
    pub me: NodeId,
    pub who: &'a Identity,
    pub run: u32,
    pub process: &'a mut Process<R>,
    pub disk: &'a mut Disk,
    pub env: &'a mut Env,
}

/// What a process is started with.
pub(super) struct Start<R> {
    pub rules: R,
    pub incarnation: Incarnation,
    pub defaults: metadata::ControllerDefaults,
    pub is_damaged: bool,
    pub clock: u64,
}

impl<R: Rules> Process<R> {
    /// Whether this timer of the quorum runs, however long.
    pub fn waits(&self, timer: raft::Timer) -> bool {
        self.timers.is_armed(env::Timer::Quorum(timer))
    }

    pub fn start(who: &Identity, start: Start<R>, disk: &mut Disk) -> Process<R> {
        let me = ReplicaKey { id: who.id, directory: disk.directory };
        let quorum = Quorum::new(start.rules, me, &who.voters, disk.stored, &disk.metadata);
        let cluster = super::world::CLUSTER;
        let controller = who
            .is_controller
            .then(|| Controller::with_rules(who.id, cluster, start.defaults, start.rules));
        let previous = disk.clean_stop.take().filter(|_| who.is_broker).or(disk.session);
        for file in disk.data.values_mut() {
            let (checkpoint, log_start) = (Offset(file.high_watermark), file.log.start());
            let is_intact = previous.is_some();
            let begin = high_watermark_to_begin_with(start.rules, checkpoint, log_start, is_intact);
            file.high_watermark = begin.0;
        }
        let lifecycle = who.is_broker.then(|| {
            Lifecycle::new(who.id, start.incarnation, disk.directory, previous, start.is_damaged)
        });
        Process {
            incarnation: start.incarnation,
            quorum,
            controller,
            image: Image::default(),
            replayed: Offset::ZERO,
            replayed_epoch: Epoch::default(),
            unsnapshotted: 0,
            is_writing_snapshot: false,
            writing: None,
            published_at: 0,
            fetched: None,
            work: VecDeque::new(),
            proposals: VecDeque::new(),
            writes: Writes::default(),
            changes: BTreeMap::new(),
            held: BTreeMap::new(),
            up: BTreeMap::new(),
            timers: Timers::default(),
            replies: Replies::default(),
            router: Router::default(),
            lifecycle,
            partitions: who.is_broker.then(|| Partitions::new(start.rules)),
            end: None,
            moment: None,
            clock: start.clock,
        }
    }

    /// The image that this node has replayed.
    pub fn committed(&self) -> &Image {
        match &self.controller {
            Some(controller) => controller.committed(),
            None => &self.image,
        }
    }

    /// What its shards were told of last.
    pub fn seen(&self) -> Option<&Arc<Image>> {
        self.partitions.as_ref().map(|partitions| &partitions.image)
    }

    pub fn is_linked(&self, peer: NodeId) -> bool {
        self.up.contains_key(&peer)
    }

    pub fn waits_for_nothing(&self) -> bool {
        let is_idle = |partitions: &Partitions<R>| partitions.is_idle();
        self.router.is_idle() && self.partitions.as_ref().is_none_or(is_idle)
    }
}

impl<R: Rules> At<'_, R> {
    pub fn handle(&mut self, input: Input) {
        match input {
            Input::Started => self.started(),
            Input::Timer { timer, stamp } => {
                if self.process.timers.fired(timer, stamp) {
                    self.timed_out(timer);
                }
            }
            Input::Peer { from, generation, message } => self.received(from, generation, message),
            Input::LinkUp { peer, generation, incarnation } => {
                self.link_up(peer, generation, incarnation);
            }
            Input::LinkDown { peer, generation } => self.link_down(peer, generation),
            Input::Gone { peer, incarnation } => self.gone(peer, incarnation),
            Input::LocalRequest { id, request } => {
                let id = self.process.replies.local(id);
                self.requested(id, *request);
            }
            Input::LocalReply { id, response } => self.answered(id, *response),
            Input::Stored { number, failed } => self.stored(number, failed),
            Input::Flushed { to, failed } => self.flushed(to, failed),
            Input::SnapshotWritten(id) => self.snapshot_written(id),
            Input::DataFlushed { id, failed } => self.data_flushed(id, failed),
            Input::Published(image) => self.published(image),
            Input::Client { client, ticket, wanted } => self.client_asks(client, ticket, *wanted),
            Input::ChangeVoters(change) => self.change_voters(change),
            Input::Stop => self.stop(),
            Input::Exit => self.process.end = Some(End::Orderly),
        }
        self.finish_turn();
        if self.process.end.is_none() {
            self.start_writes();
        }
    }

    fn received(&mut self, from: NodeId, generation: u32, message: Message) {
        if self.process.up.get(&from).map(|link| link.0) != Some(generation) {
            return;
        }
        match message {
            Message::Quorum(message) => self.quorum_message(from, message),
            Message::WhoVotes => {
                let voters = self.process.quorum.voters().iter().map(|voter| voter.id).collect();
                self.send(from, Message::Voters(voters));
            }
            Message::Voters(voters) => self.told_of_voters(&voters),
            Message::Request { id, request } => {
                let id = self.process.replies.remote(from, generation, id);
                self.requested(id, *request);
            }
            Message::Reply { id, response } => self.answered(id, *response),
            Message::Fetch { id, fetch } => self.follower_asks(from, id, fetch),
            Message::Fetched { id, position, outcome } => {
                self.leader_answers(from, id, position, outcome);
            }
        }
    }

    /// Sends over the link that stands; without one the message is lost, and the machines ask again.
    fn send(&mut self, to: NodeId, message: Message) -> bool {
        let Some(&(generation, _)) = self.process.up.get(&to) else { return false };
        self.env.send(index(self.me), index(to), generation, message);
        true
    }

    /// Something happens to this very process, after a while.
    fn later(&mut self, delay: u64, input: Input) {
        let (node, run) = (index(self.me), self.run);
        self.env.after(delay, super::env::Happening::Process { node, run, input });
    }

    fn fatal(&mut self, reason: &'static str) {
        self.env.tell(|| format!("the process stops: {reason}"));
        self.process.work.clear();
        self.process.proposals.clear();
        self.process.end = Some(End::Fatal(reason));
    }

    fn violation(&mut self, promise: &'static str) {
        self.env.facts.push(Fact::Violation(promise));
        self.fatal(promise);
    }

    /// Told with this node's name before it.
    fn tell(&mut self, line: impl FnOnce() -> String) {
        let me = self.me;
        self.env.tell(|| format!("node {me}: {}", line()));
    }
}

/// A node's place in the world.
pub(super) fn index(node: NodeId) -> usize {
    (node.0 - 1).max(0) as usize
}
