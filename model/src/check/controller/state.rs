//! The controller's world: one machine that is active, the end of its log that is not committed
//! yet, three broker processes, and what is under way between them.

use crate::check::Mutated;
use crate::check::shared::Shared;
use crate::inline::{InlineVec, Nodes};
use crate::metadata::{AlteredPartition, Controller, Image, Record, Timer};
use crate::{
    BrokerEpoch, DirectoryId, Incarnation, LeaderEpoch, NodeId, Offset, PartitionEpoch,
    TopicPartition,
};

use super::data::Data;

pub const BROKERS: usize = 3;

/// Partitions that a configuration may have.
pub const PARTITIONS: usize = 2;

/// AlterPartition requests in the network, and answers that wait, at once.
pub const IN_FLIGHT: usize = 4;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// The active controller. A standby replays what is committed and decides nothing, so that it
    /// is a function of the committed image; it comes to be when it takes over.
    pub machine: Shared<Controller<Mutated>>,
    /// What the active controller has appended and the quorum has not committed.
    pub tail: Shared<Vec<Batch>>,
    pub timers: Timers,
    pub processes: [Process; BROKERS],
    pub proposals: InlineVec<Proposal, IN_FLIGHT>,
    pub pending: InlineVec<Pending, IN_FLIGHT>,
    pub data: [Data; PARTITIONS],
    /// The end of the last block of producer ids that a broker was given.
    pub producer_ids: i64,
    pub left: Left,
    /// What the last step brought about: a set of [`Happened`].
    pub just: u16,
    /// The promise that was broken, by its place in the list of promises.
    pub broken: Option<u8>,
}

/// Records that become committed together.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Batch {
    pub base: Offset,
    pub records: Vec<Record>,
}

/// Which of the controller's timers run; all others always do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Timers {
    pub sessions: [bool; BROKERS],
    pub distrust: [bool; BROKERS],
    pub window: bool,
}

/// A broker's process and its disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Process {
    pub up: bool,
    /// Counts its starts, and so names its incarnation.
    pub run: u8,
    /// Counts its disks.
    pub disk: u8,
    /// Under what it knows to be registered; after an orderly stop, what it wrote down.
    pub epoch: BrokerEpoch,
    /// How it came to be down last.
    pub stop: Stop,
    /// It wants to stop, and asks for it.
    pub stopping: bool,
}

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stop {
    /// In order, or killed while the machine stays up: it comes back with all that it wrote, and
    /// says so.
    Clean,
    /// With its machine: all that it wrote happens to be on disk, but nobody can say so.
    Lucky,
    /// By a power failure, which takes what was not flushed.
    Lossy,
    /// It comes back with another disk.
    NewDisk,
}

/// An AlterPartition request of one partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Proposal {
    pub partition: u8,
    pub sender: u8,
    /// The controller has decided on it, and its answer waits for the commit.
    pub decided: bool,
    pub id: TopicPartition,
    pub sender_epoch: BrokerEpoch,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub isr: Nodes,
    /// The registration of whom it adds; of the others it says nothing.
    pub joiner: Option<(NodeId, BrokerEpoch)>,
}

/// A request whose answer is not out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Pending {
    pub asked: Asked,
    /// Batches that must be committed before.
    pub batches: u8,
}

/// What was asked, as far as the asker minds the answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Asked {
    #[default]
    Operator,
    Register(u8),
    Beat(u8),
    Producer(u8),
    Alter {
        partition: u8,
        sender: u8,
    },
}

/// What may still happen: every bound is one of these counters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Left {
    pub fences: u8,
    pub clean_stops: u8,
    pub outages: u8,
    pub losses: u8,
    pub new_disks: u8,
    pub shutdowns: u8,
    pub registrations: u8,
    pub unregistrations: u8,
    pub proposals: u8,
    pub unclean: u8,
    pub reassignments: u8,
    pub cancels: u8,
    pub deletions: u8,
    pub configs: u8,
    pub producers: u8,
    pub failovers: u8,
    pub closed_links: u8,
}

macro_rules! happened {
    ($($name:ident = $text:literal,)*) => {
        /// What a state space must reach for its promises to mean anything.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Happened { $($name,)* }

        impl Happened {
            pub const ALL: &'static [(Happened, &'static str)] =
                &[$((Happened::$name, $text),)*];
        }
    };
}

happened! {
    Grew = "an ISR shrank and grew again",
    ElectedFromElr = "a leader is elected from the ELR",
    ElectedLast = "the last known leader is elected",
    ElectedUncleanly = "an unclean election is made because it was asked for",
    Reassigned = "a reassignment finishes",
    Cancelled = "a reassignment is called off",
    ShutDown = "a controlled shutdown completes",
    TailDropped = "a failover drops an uncommitted tail",
    TailKept = "a failover keeps an uncommitted tail",
    StaleRefused = "a stale proposal is refused",
    IneligibleRefused = "a proposal with a member that is not eligible is refused",
    ElrCleared = "another min.insync.replicas clears an ELR",
    Lost = "a replica loses acknowledged records and the partition does not",
    Duplicate = "a second process of a living broker is refused",
    NewTopic = "a topic's name is used anew",
    Doubted = "most brokers seem gone and are not fenced for it",
}

impl Happened {
    pub fn bit(self) -> u16 {
        1 << self as u16
    }
}

pub fn node(index: usize) -> NodeId {
    NodeId(index as i32 + 1)
}

pub fn index(node: NodeId) -> usize {
    (node.0 - 1) as usize
}

impl State {
    pub fn committed(&self) -> &Image {
        self.machine.committed()
    }

    /// Whether the broker's process is the one that is registered, knows so, and replicates.
    pub fn acts(&self, image: &Image, broker: usize) -> bool {
        let process = &self.processes[broker];
        let registered = image.broker(node(broker));
        process.up
            && registered.is_some_and(|it| {
                it.epoch == process.epoch && it.incarnation == process.incarnation(broker)
            })
    }

    pub fn happened(&mut self, what: Happened) {
        self.just |= what.bit();
    }

    /// A broker that waits for an answer asks nothing else meanwhile.
    pub fn waits(&self, asked: Asked) -> bool {
        self.pending.iter().any(|pending| pending.asked == asked)
    }
}

impl Process {
    pub fn incarnation(&self, broker: usize) -> Incarnation {
        Incarnation(broker as u128 * 100 + u128::from(self.run))
    }

    pub fn directory(&self, broker: usize) -> DirectoryId {
        DirectoryId(broker as u128 * 100 + u128::from(self.disk) + 1)
    }
}

impl Proposal {
    pub fn request(&self) -> AlteredPartition {
        let epoch = |member: &NodeId| match self.joiner {
            Some((joiner, epoch)) if joiner == *member => epoch,
            _ => BrokerEpoch::NONE,
        };
        AlteredPartition {
            id: self.id,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            isr: self.isr,
            isr_epochs: self.isr.iter().map(epoch).collect(),
            recovering: false,
        }
    }
}

impl Timers {
    pub fn set(&mut self, timer: Timer, runs: bool) {
        match timer {
            Timer::Session(broker) => self.sessions[index(broker)] = runs,
            Timer::Distrust(broker) => self.distrust[index(broker)] = runs,
            Timer::SuspicionWindow => self.window = runs,
            Timer::Balance | Timer::UncleanSweep => {}
        }
    }
}
