//! What a run is made of beside its nodes: time, chance, the network, and what happens next.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::metadata::{self, AlteredPartition, Image, Request, Response};
use crate::raft::{self, SnapshotId, VoterChange};
use crate::replica::{self, Fetch, FetchOutcome, FetchPosition};
use crate::{
    BrokerEpoch, Epoch, Incarnation, NodeId, Offset, PartitionEpoch, ReplicaKey, TopicPartition,
    broker,
};

use super::clients::{ClientEvent, Served, Wanted};
use super::disk::{Chunk, DataRecord, Run};
use super::faults::{Fault, FaultCounts};
use super::network::Network;
use super::profile::{MILLIS, Micros, Profile};
use super::random::Random;
use super::story::Tale;
use super::world::Down;

/// What nodes say to each other.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Quorum(raft::Message<Chunk>),
    Request { id: u64, request: Box<Request> },
    Reply { id: u64, response: Box<Response> },
    WhoVotes,
    Voters(Vec<NodeId>),
    Fetch { id: TopicPartition, fetch: Fetch },
    Fetched { id: TopicPartition, position: FetchPosition, outcome: FetchOutcome<Run> },
}

/// Every timer of a process. Its slot is the timer with its particulars left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    Quorum(raft::Timer),
    Hold(NodeId),
    Controller(metadata::Timer),
    Broker(broker::Timer),
    Replica(TopicPartition, replica::Timer),
    /// Controllers are asked who votes, until there is a leader.
    Find,
    /// Waiting requests to the controller are looked through.
    Sweep,
    /// Positions that nobody answered are told again.
    FetchAgain,
    Watermarks,
    Checkpoint,
    Silence,
    /// A producer has waited its longest.
    Expire(u64),
}

impl Timer {
    pub fn slot(self) -> Timer {
        match self {
            Timer::Quorum(raft::Timer::Election(_)) => {
                Timer::Quorum(raft::Timer::Election(raft::Patience::Full))
            }
            Timer::Broker(broker::Timer::Heartbeat { .. }) => {
                Timer::Broker(broker::Timer::Heartbeat { soon: false })
            }
            timer => timer,
        }
    }
}

/// What reaches a process.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Started,
    Timer { timer: Timer, stamp: u64 },
    Peer { from: NodeId, generation: u32, message: Message },
    LinkUp { peer: NodeId, generation: u32, incarnation: Incarnation },
    LinkDown { peer: NodeId, generation: u32 },
    Gone { peer: NodeId, incarnation: Incarnation },
    LocalRequest { id: u64, request: Box<Request> },
    LocalReply { id: u64, response: Box<Response> },
    Stored { number: u64, failed: bool },
    Flushed { to: i64, failed: bool },
    SnapshotWritten(SnapshotId),
    DataFlushed { id: TopicPartition, failed: bool },
    Published(Arc<Image>),
    Client { client: usize, ticket: u64, wanted: Box<Wanted> },
    ChangeVoters(VoterChange),
    Stop,
    Exit,
}

/// What happens at some time.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    Process {
        node: usize,
        run: u32,
        input: Input,
    },
    Start {
        node: usize,
        run: u32,
    },
    Resume {
        node: usize,
        pause: u32,
    },
    Dial {
        a: usize,
        b: usize,
    },
    /// Nothing came through from one node to another for as long as a link bears.
    Silent {
        from: usize,
        to: usize,
        generation: u32,
        since: Micros,
    },
    Probe {
        by: usize,
        run: u32,
        peer: usize,
        incarnation: Incarnation,
    },
    Strike(u32),
    Repair(u32),
    /// An administrator looks who should vote.
    ChangeVoters(u32),
    Crash {
        node: usize,
        run: u32,
        down: Down,
        fault: Fault,
    },
    Client {
        client: usize,
        event: ClientEvent,
    },
    Served {
        client: usize,
        ticket: u64,
        served: Box<Served>,
    },
    Look,
}

struct Entry {
    at: Micros,
    number: u64,
    what: Box<Happening>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The heap gives the greatest first, which is to be the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// What the judge is told and could not see in a state.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    Violation(&'static str),
    /// The shell saw a rule broken that only shows while a request is served.
    Broken(&'static str),
    /// A vote has left.
    Granted {
        voter: ReplicaKey,
        epoch: Epoch,
        candidate: NodeId,
    },
    /// A pre-vote has left.
    WouldVote {
        epoch: Epoch,
        candidate: NodeId,
    },
    /// A broker ends because the controller lets it.
    Stops(BrokerEpoch),
    /// A node replayed what is committed, or loaded a snapshot of it.
    Replayed,
    /// A controller decided something on its latest metadata.
    Decided,
    /// A controller granted what a leader asked.
    Altered(Box<AlteredPartition>),
    /// A write with acks=all was acknowledged.
    Acknowledged {
        id: TopicPartition,
        offset: Offset,
        value: u64,
        by: Known,
    },
    /// A consumer was shown these records.
    Shown {
        id: TopicPartition,
        from: Offset,
        records: Vec<DataRecord>,
    },
}

/// By which metadata a leader acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Known {
    pub partition_epoch: PartitionEpoch,
    pub min_isr: usize,
}

pub(super) struct Env {
    pub now: Micros,
    queue: BinaryHeap<Entry>,
    scheduled: u64,
    pub profile: Profile,
    pub network: Network,
    pub chance: Random,
    pub counts: FaultCounts,
    pub tale: Tale,
    /// Partitions whose replica took a step on the node that is at work.
    pub touched: Vec<TopicPartition>,
    pub facts: Vec<Fact>,
    pub digest: u64,
}

impl Env {
    pub fn new(profile: Profile, nodes: usize, chance: Random, tale: Tale) -> Env {
        Env {
            now: 0,
            queue: BinaryHeap::new(),
            scheduled: 0,
            profile,
            network: Network::new(nodes),
            chance,
            counts: FaultCounts::default(),
            tale,
            touched: Vec::new(),
            facts: Vec::new(),
            digest: 0,
        }
    }

    pub fn after(&mut self, delay: Micros, what: Happening) {
        self.at(self.now + delay, what);
    }

    pub fn at(&mut self, at: Micros, what: Happening) {
        self.scheduled += 1;
        self.queue.push(Entry { at, number: self.scheduled, what: Box::new(what) });
    }

    /// The next thing that happens; time moves on to it.
    pub fn next(&mut self) -> Option<Happening> {
        let Entry { at, number, what } = self.queue.pop()?;
        self.now = self.now.max(at);
        self.stir(self.now ^ number.rotate_left(32));
        Some(*what)
    }

    /// Mixes something into the run's digest.
    pub fn stir(&mut self, word: u64) {
        self.digest = (self.digest.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95);
    }

    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        self.tale.tell(now, line);
    }

    /// How long a message is under way.
    pub fn latency(&mut self) -> Micros {
        let usual = self.profile.latency;
        let latency = usual / 2 + self.chance.below(usual + 1);
        if self.chance.per_mille(self.profile.delay) {
            self.counts.count(Fault::Delay);
            return latency + self.chance.between(50, 1_500) * MILLIS;
        }
        latency
    }

    /// How long a write takes to be on disk.
    pub fn disk_time(&mut self) -> Micros {
        let usual = self.profile.disk;
        let time = usual / 2 + self.chance.below(usual + 1);
        if self.chance.per_mille(self.profile.slow_disk) {
            self.counts.count(Fault::SlowDisk);
            return time + self.chance.between(50, 900) * MILLIS;
        }
        time
    }

    /// Sends a message over the link that stands, if one does.
    pub fn send(&mut self, from: usize, to: usize, generation: u32, message: Message) {
        if self.chance.per_mille(self.profile.loss) {
            self.counts.count(Fault::Loss);
            self.tell(|| format!("lost on the way from {} to {}: {message:?}", from + 1, to + 1));
            return;
        }
        // A connection repeats nothing by itself; machines that bear it are given it all the same.
        // What asks the controller is sent again by its shell, and only so.
        // An AlterPartition that is sent again may be overtaken by its first copy's successor.
        let may_repeat = !matches!(message, Message::Request { .. } | Message::Reply { .. });
        let alters = matches!(&message, Message::Request { request, .. }
            if matches!(**request, Request::AlterPartition(_)));
        if alters && self.chance.per_mille(self.profile.repeat_alters) {
            self.counts.count(Fault::LateCopy);
            let late = self.chance.between(20, 1_500) * MILLIS;
            let input =
                Input::Peer { from: NodeId(from as i32 + 1), generation, message: message.clone() };
            let run = self.network.run_of(to);
            self.after(late, Happening::Process { node: to, run, input });
        }
        if may_repeat && self.chance.per_mille(self.profile.duplicate) {
            self.counts.count(Fault::Duplicate);
            self.dispatch(from, to, generation, message.clone(), true);
        }
        let reorder = self.chance.per_mille(self.profile.reorder);
        if reorder {
            self.counts.count(Fault::Reorder);
        }
        self.dispatch(from, to, generation, message, reorder);
    }

    fn dispatch(&mut self, from: usize, to: usize, generation: u32, message: Message, loose: bool) {
        let mut arrival = self.now + self.latency();
        if loose {
            arrival += self.chance.below(20 * self.profile.latency + 1);
        } else {
            arrival = self.network.in_order(from, to, arrival);
        }
        let input = Input::Peer { from: NodeId(from as i32 + 1), generation, message };
        let run = self.network.run_of(to);
        self.at(arrival, Happening::Process { node: to, run, input });
    }
}
