//! The shard's actor: takes what has arrived, works on it, sends what has gathered.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use actix::{Actor, ActorContext, AsyncContext, Context, SpawnHandle, StreamHandler};
use futures_util::stream;
use kraft_model::metadata::Image;
use kraft_model::replica::{Effects, Event};
use kraft_model::{BrokerEpoch, NodeId, TopicPartition};
use tokio::sync::mpsc::UnboundedReceiver;

use super::alter::Alterations;
use super::command::Command;
use super::consume::HeldFetches;
use super::disks::{Disks, FoundLog};
use super::flush::Flushes;
use super::handle::{Envelope, ShardHandle};
use super::maintain::Maintenance;
use super::metrics::{Metrics, add};
use super::outside::Outside;
use super::produce::Produces;
use super::slot::Slot;
use super::timers::Timers;
use crate::actor::replication::{Fetchers, Heard, Router, Sessions};
use crate::config::NodeConfig;
use crate::limits::COMMANDS_PER_TURN;
use crate::trace::Recorder;

/// Many partitions on one thread.
pub(super) struct Shard {
    pub me: NodeId,
    pub config: Arc<NodeConfig>,
    pub outside: Outside,
    pub handle: ShardHandle,
    pub disks: Arc<Disks>,
    pub metrics: Arc<Metrics>,
    pub router: Arc<Router>,
    pub heard: Heard,
    /// The registration under which this broker fetches and proposes; -1 before the first.
    pub registration: Arc<AtomicI64>,

    pub image: Arc<Image>,
    pub slots: HashMap<TopicPartition, Slot>,
    pub recorder: Recorder,
    /// Logs that were found at the start and that no metadata has asked for yet.
    pub found: HashMap<TopicPartition, FoundLog>,

    pub produces: Produces,
    pub held: HeldFetches,
    pub sessions: Sessions,
    pub fetchers: Fetchers,
    pub alterations: Alterations,
    pub flushes: Flushes,
    pub timers: Timers,
    pub maintenance: Maintenance,
    pub watermarks_moved: BTreeSet<TopicPartition>,
    pub watermarks_at: Option<Instant>,
    pub silence_at: Instant,
    pub silent_told: HashMap<NodeId, Instant>,

    /// The turn's time.
    pub now: Instant,
    /// Kept between steps for its memory.
    pub effects: Effects,
    pub wake: Option<(Instant, SpawnHandle)>,
    pub commands: Option<UnboundedReceiver<Envelope>>,
}

impl Actor for Shard {
    type Context = Context<Shard>;

    fn started(&mut self, context: &mut Context<Shard>) {
        let Some(mut commands) = self.commands.take() else { return };
        // Everything that has arrived by now is one turn.
        context.add_stream(stream::poll_fn(move |waker| {
            let mut turn = Vec::new();
            let polled = commands.poll_recv_many(waker, &mut turn, COMMANDS_PER_TURN);
            polled.map(|count| (count > 0).then_some(turn))
        }));
        self.set_wake(context);
    }
}

impl StreamHandler<Vec<Envelope>> for Shard {
    fn handle(&mut self, turn: Vec<Envelope>, context: &mut Context<Shard>) {
        self.now = Instant::now();
        for envelope in turn {
            if let Command::Shutdown(done) = envelope.command {
                self.shut_down(done);
                context.stop();
                return;
            }
            self.work_on(envelope.command);
        }
        self.end_turn(context);
    }
}

impl Shard {
    pub fn broker_epoch(&self) -> BrokerEpoch {
        BrokerEpoch(self.registration.load(Ordering::Acquire))
    }

    fn work_on(&mut self, command: Command) {
        match command {
            Command::Publish(publication) => self.apply(publication),
            Command::Append(part) => self.append(part),
            Command::Fetch(part) => self.fetch(part),
            Command::CutShort(number) => self.cut_short(number),
            Command::ListOffset(question) => self.list_offset(question),
            Command::EndOfEpoch(question) => self.end_of_epoch(question),
            Command::DeleteRecords(question) => self.delete_records(question),
            Command::LogDirs(answer) => self.log_dirs(answer),
            Command::ReplicaFetch(part) => self.replica_fetch(part),
            Command::Fetched { leader, partitions } => self.fetched(leader, partitions),
            Command::UnknownSession { leader, sequence } => {
                self.fetchers.unknown_session(leader, sequence);
            }
            Command::LinkUp(peer) => {
                self.sessions.drop_peer(peer);
                self.fetchers.link_up(peer);
            }
            Command::LinkDown(peer) => {
                self.sessions.drop_peer(peer);
                self.fetchers.link_down(peer);
            }
            Command::Read { follower, id, position, outcome } => {
                self.said_to_follower(follower, id, position, outcome);
            }
            Command::Altered { asked, response } => self.altered(asked, response),
            Command::Flushed { group, named } => self.flushed(group, named),
            Command::DropStrays => self.drop_strays(),
            // Taken out before: it ends the turn.
            Command::Shutdown(_) => {}
        }
    }

    /// Sends what the turn has gathered, and sees to it that the next one comes in time.
    fn end_turn(&mut self, context: &mut Context<Shard>) {
        add(&self.metrics.turns, 1);
        self.work_on_time();
        self.lower_marks();
        self.send_answers();
        self.send_fetches();
        self.wake_fetches();
        self.send_alterations();
        self.start_flush();
        self.set_wake(context);
    }

    /// What is due by the passing of time.
    fn work_on_time(&mut self) {
        let now = self.now;
        for (id, timer) in self.timers.due(now) {
            self.step(id, Event::Timeout(timer));
        }
        self.expire_produces(now);
        self.expire_fetches(now);
        self.look_for_silence();
        self.maintain();
    }

    fn set_wake(&mut self, context: &mut Context<Shard>) {
        let due = [
            self.timers.next_due(),
            self.produces.next_due(),
            self.held.next_due(),
            self.fetchers.next_due(),
            self.watermarks_at,
            self.maintenance.next_due(!self.watermarks_moved.is_empty()),
            (!self.slots.is_empty()).then_some(self.silence_at),
        ];
        let Some(next) = due.into_iter().flatten().min() else { return };
        match self.wake {
            Some((at, _)) if at <= next => return,
            Some((_, handle)) => {
                context.cancel_future(handle);
            }
            None => {}
        }
        // The turn may have been a long one: its own time is no measure for the wait.
        let wait = next.saturating_duration_since(Instant::now());
        let handle = context.run_later(wait, |shard, context| {
            shard.wake = None;
            shard.now = Instant::now();
            shard.end_turn(context);
        });
        self.wake = Some((next, handle));
    }
}
