//! A small cluster at one moment: the quorum's abstraction, three brokers, and what is between them.

use std::hash::{Hash, Hasher};
use std::ops::Deref;

use crate::check::Mutated;
use crate::check::shared::Shared;
use crate::inline::InlineVec;
use crate::invariant::replica::Held;
use crate::log::Log;
use crate::metadata::{
    AlteredPartition, BrokerHeartbeat, Controller, Image, Partition, Record, RequestId,
};
use crate::replica::small_log::{SmallLog, SmallRecord};
use crate::replica::{Replica, View};
use crate::{BrokerEpoch, ErrorCode, NodeId, Offset, TopicId, TopicPartition};

pub const BROKERS: usize = 3;

/// Records that a history has room for.
pub const RECORDS: usize = 4;

/// The one partition.
pub const ID: TopicPartition = TopicPartition { topic: TopicId::drawn(0, 0), partition: 0 };

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    pub quorum: Quorum,
    pub brokers: [Shared<Broker>; BROKERS],
    /// AlterPartition requests by sender.
    pub alters: [Option<Shared<Alteration>>; BROKERS],
    /// A copy of one that was sent again, still on its way.
    pub late: Option<Shared<Late>>,
    pub history: History,
    pub left: Left,
}

/// What the `quorum` model shows a quorum to be: a committed prefix that all agree on, and what
/// its leader has appended since.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Quorum {
    pub controllers: [Shared<Controller<Mutated>>; 2],
    /// Whose node leads the quorum.
    pub active: u8,
    /// The other one led before, and has not heard yet that it does not any more.
    pub lingers: bool,
    /// Batches of the leader that are not committed, in order.
    pub pending: Vec<Shared<Batch>>,
    /// The images that some broker has still to replay, after each committed batch. The last one
    /// is all that is committed.
    pub published: Vec<Shared<Published>>,
    pub found: Found,
}

/// A batch of metadata records.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Batch {
    pub base: Offset,
    pub records: Vec<Record>,
}

/// An image, and what it says of the partition to those who replicate it.
#[derive(Clone, Debug)]
pub struct Published {
    pub image: Image,
    pub view: Option<View>,
}

impl Published {
    pub fn new(image: Image) -> Published {
        let view = image.replica_view(ID, 1, false);
        Published { image, view }
    }
}

impl Deref for Published {
    type Target = Image;

    fn deref(&self) -> &Image {
        &self.image
    }
}

/// The view follows from the image.
impl PartialEq for Published {
    fn eq(&self, other: &Published) -> bool {
        self.image == other.image
    }
}

impl Eq for Published {}

impl Hash for Published {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.image.hash(state);
    }
}

/// What the present controller found when it took over from another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Found {
    pub shrunk_isr: bool,
    pub reassignment: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Broker {
    pub stop: Option<Stop>,
    /// How often the process has been started: its incarnation.
    pub run: u8,
    pub lifecycle: crate::broker::Broker,
    /// What the shell takes for its registration: requests carry it.
    pub registration: BrokerEpoch,
    /// The registration under which the log that it found was written, until it has its own.
    pub previous_epoch: BrokerEpoch,
    pub call: Option<Call>,
    /// What it has replayed.
    pub seen: Shared<Published>,
    pub replica: Option<Replica<Mutated>>,
    /// The partition's log, if there is one.
    pub disk: Option<SmallLog>,
    /// The high watermark that was found beside the log at the start.
    pub checkpoint: Offset,
}

/// How a broker went down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stop {
    /// In order, or killed while the machine stays up: all that was written under this registration
    /// is there, and the next one says so.
    Clean(BrokerEpoch),
    /// By a power failure: what was not flushed may be gone.
    Lossy,
}

impl Stop {
    /// The registration that was noted with the log, if all of it is there.
    pub fn previous_epoch(self) -> BrokerEpoch {
        match self {
            Stop::Clean(epoch) => epoch,
            Stop::Lossy => BrokerEpoch::NONE,
        }
    }
}

/// What the broker machine has asked the controller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    Register,
    Heartbeat(BrokerHeartbeat),
    /// Decided on; the answer waits for a commit.
    Held {
        id: RequestId,
        registers: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Alteration {
    Asked {
        run: u8,
        sender: BrokerEpoch,
        asked: AlteredPartition,
    },
    /// Decided on; the answer waits for a commit.
    Held {
        id: RequestId,
        asked: AlteredPartition,
    },
    Answered {
        asked: AlteredPartition,
        answer: Result<(), ErrorCode>,
    },
}

/// A copy of an AlterPartition that nobody waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Late {
    pub from: u8,
    pub sender: BrokerEpoch,
    pub asked: AlteredPartition,
}

/// What clients have been told, and which promises were broken on the way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct History {
    /// By value: the offset under which it was acknowledged.
    pub acknowledged: [Option<u8>; RECORDS],
    /// By offset: the first record that any replica showed there.
    pub shown: InlineVec<SmallRecord, RECORDS>,
    /// A leader's high watermark went back within its epoch.
    pub high_watermark_fell: bool,
    /// The first invariant of the metadata that what is committed breaks.
    pub metadata: Option<&'static str>,
    /// A machine found a promise broken.
    pub violation: Option<&'static str>,
}

/// What may still happen: every bound is one of these counters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Left {
    pub appends: u8,
    /// Records that their producer sends once more.
    pub resends: u8,
    /// Sessions of living brokers that run out.
    pub fences: u8,
    /// Followers that a leader finds silent.
    pub silences: u8,
    pub clean_stops: u8,
    /// Processes that are killed: what they wrote is with the kernel.
    pub kills: u8,
    pub lossy_stops: u8,
    /// Changes of the quorum's leader.
    pub failovers: u8,
    pub reassignments: u8,
    /// Changes of min.insync.replicas.
    pub configs: u8,
    /// AlterPartitions that are sent again while the first copy may still arrive.
    pub repeats: u8,
}

pub fn node(index: usize) -> NodeId {
    NodeId(index as i32)
}

impl Quorum {
    /// The image of all that is committed.
    pub fn newest(&self) -> &Shared<Published> {
        self.published.last().expect("an image is published from the start")
    }

    pub fn controller(&self) -> &Controller<Mutated> {
        &self.controllers[usize::from(self.active)]
    }
}

impl State {
    /// The partition as it is committed.
    pub fn partition(&self) -> &Partition {
        partition(self.quorum.newest())
    }
}

pub fn partition(image: &Image) -> &Partition {
    image.partition(ID).expect("the topic is there from the start")
}

impl Broker {
    pub fn is_up(&self) -> bool {
        self.stop.is_none()
    }

    pub fn leads(&self) -> bool {
        self.replica.as_ref().is_some_and(Replica::is_leader)
    }

    /// Records that a power failure may take.
    pub fn unflushed(&self) -> u8 {
        self.disk.map_or(0, |log| log.end().since(log.flushed()) as u8)
    }

    /// Whether it would come into an election's choice with the disk that it has now: the
    /// registration that the metadata know is the one under which it runs, or under which it
    /// stopped in order. Any other gives way to a new registration before it can lead.
    pub fn is_as_registered(&self, registered: Option<BrokerEpoch>) -> bool {
        let own = match self.stop {
            None => self.registration,
            Some(stop) => stop.previous_epoch(),
        };
        own != BrokerEpoch::NONE && registered == Some(own)
    }
}

impl Held for Broker {
    type Record = SmallRecord;

    fn start(&self) -> Offset {
        self.disk.map_or(Offset::ZERO, |log| log.start())
    }

    /// Who has no role shows nothing.
    fn high_watermark(&self) -> Offset {
        let serves = self.replica.as_ref().filter(|it| it.is_leader() || it.is_follower());
        serves.map_or(Offset::ZERO, Replica::high_watermark)
    }

    fn record(&self, offset: Offset) -> Option<SmallRecord> {
        self.disk.as_ref()?.at(offset)
    }
}

impl History {
    /// Consumers read everything that any broker lets them.
    pub fn read(&mut self, broker: &Broker) {
        let visible = broker.high_watermark();
        while (self.shown.len() as i64) < visible.0 {
            let Some(record) = broker.record(Offset(self.shown.len() as i64)) else { return };
            self.shown.push(record);
        }
    }

    pub fn shown(&self) -> impl Iterator<Item = (Offset, SmallRecord)> + '_ {
        (0..).map(Offset).zip(self.shown.iter().copied())
    }
}
