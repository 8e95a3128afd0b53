//! A partition's world: three brokers, a controller of this one partition, and what is under way
//! between them.

use std::hash::{Hash, Hasher};

use crate::inline::InlineVec;
use crate::invariant::replica::Held;
use crate::log::Log;
use crate::metadata::partition::{Brokers, Cause, Election, Policy, alter, change, refusal};
use crate::metadata::{AlteredPartition, Partition};
use crate::replica::small_log::{SmallBatch, SmallLog, SmallRecord};
use crate::replica::{DataLog, Fetch, Fetched, Replica, View, high_watermark_to_begin_with};
use crate::{BrokerEpoch, ErrorCode, Guard, NodeId, Offset, Rules, TopicPartition};

use crate::check::Mutated;

use crate::check::shared::{Digest, Shared};

pub const BROKERS: usize = 3;

/// `min.insync.replicas` of the topic.
pub const MIN_ISR: i32 = 2;

/// Records that a history has room for.
pub const RECORDS: usize = 4;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    pub brokers: [Shared<Broker>; BROKERS],
    pub controller: Shared<Controller>,
    /// Fetches by follower and leader: one in flight for each pair, as on a connection.
    pub fetches: [[Option<Shared<Exchange>>; BROKERS]; BROKERS],
    /// AlterPartition requests by sender.
    pub alters: [Option<Shared<Alteration>>; BROKERS],
    pub history: History,
    pub left: Left,
}

/// In one word, of the digests of its parts.
impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let State { brokers, controller, fetches, alters, history, left } = self;
        let mut all = Digest::default();
        brokers.iter().for_each(|broker| broker.hash(&mut all));
        controller.hash(&mut all);
        fetches.as_flattened().iter().for_each(|fetch| Shared::hash_if_some(fetch, &mut all));
        alters.iter().for_each(|alter| Shared::hash_if_some(alter, &mut all));
        history.hash(&mut all);
        left.hash(&mut all);
        state.write_u64(all.finish());
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broker {
    pub stop: Option<Stop>,
    pub replica: Replica<Mutated>,
    pub log: SmallLog,
}

impl Hash for Broker {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Broker { stop, replica, log } = self;
        stop.hash(state);
        replica.hash_what_varies(state);
        log.hash(state);
    }
}

/// How a broker went down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stop {
    /// In order, or killed while the machine stays up: all that was written is there, flushed or
    /// not, and the next registration says so.
    Clean,
    /// By a power failure: what was not flushed may be gone.
    Lossy,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Exchange {
    Asked(Fetch),
    Answered(Fetched<SmallBatch>),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Alteration {
    Asked { sender: BrokerEpoch, asked: AlteredPartition },
    Answered { asked: AlteredPartition, answer: Result<(), ErrorCode> },
}

/// What clients have been told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// By value: the offset under which it was acknowledged.
    pub acknowledged: [Option<u8>; RECORDS],
    /// By offset: the first record that any replica showed there.
    pub shown: InlineVec<SmallRecord, RECORDS>,
    /// A leader's high watermark went back within its epoch.
    pub high_watermark_fell: bool,
}

/// What may still happen: every bound is one of these counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Left {
    pub appends: u8,
    pub resends: u8,
    pub fences: u8,
    pub silences: u8,
    pub clean_stops: u8,
    pub lossy_stops: u8,
}

impl Hash for Left {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Left { appends, resends, fences, silences, clean_stops, lossy_stops } = *self;
        let all = [appends, resends, fences, silences, clean_stops, lossy_stops, 0, 0];
        state.write_u64(u64::from_le_bytes(all));
    }
}

/// The controller of one partition, atomic: its log, which is the quorum's matter, never fails.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Controller {
    pub partition: Partition,
    pub registrations: [Registration; BROKERS],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Registration {
    pub epoch: u8,
    pub fenced: bool,
}

pub fn node(index: usize) -> NodeId {
    NodeId(index as i32)
}

impl Brokers for Controller {
    fn is_active(&self, broker: NodeId) -> bool {
        self.registration(broker).is_some_and(|it| !it.fenced)
    }

    fn epoch(&self, broker: NodeId) -> Option<BrokerEpoch> {
        self.registration(broker).map(|it| BrokerEpoch(i64::from(it.epoch)))
    }
}

impl Controller {
    /// All three replicas in sync, led by the first.
    pub fn new() -> Controller {
        let all = (0..BROKERS).map(node);
        let partition = Partition {
            replicas: all.clone().collect(),
            isr: all.collect(),
            leader: Some(node(0)),
            ..Partition::default()
        };
        let registration = Registration { epoch: 0, fenced: false };
        Controller { partition, registrations: [registration; BROKERS] }
    }

    fn registration(&self, broker: NodeId) -> Option<&Registration> {
        self.registrations.get(usize::try_from(broker.0).ok()?)
    }

    pub fn broker_epoch(&self, broker: usize) -> BrokerEpoch {
        BrokerEpoch(i64::from(self.registrations[broker].epoch))
    }

    /// P4 to P6, by the functions that the controller runs.
    pub fn happen(&mut self, cause: Cause, rules: Mutated) {
        let policy = Policy { min_isr: MIN_ISR, unclean: false };
        let id = TopicPartition::default();
        if let Some(record) = change(id, &self.partition, cause, policy, self, rules) {
            self.partition.apply(&record);
        }
    }

    /// B4: partition changes first, then the registration.
    pub fn fence(&mut self, broker: usize, rules: Mutated) {
        self.happen(Cause::Left(node(broker)), rules);
        self.registrations[broker].fenced = true;
    }

    /// B4: the registration first, then an election if nobody leads.
    pub fn unfence(&mut self, broker: usize, rules: Mutated) {
        self.registrations[broker].fenced = false;
        if self.partition.leader.is_none() {
            self.happen(Cause::Elect(Election::Online), rules);
        }
    }

    /// B1: a new incarnation registers, fenced.
    pub fn register(&mut self, broker: usize, stop: Stop, rules: Mutated) {
        let cause = match stop {
            Stop::Clean => Cause::Left(node(broker)),
            Stop::Lossy => Cause::LostTail(node(broker)),
        };
        self.happen(cause, rules);
        let epoch = self.registrations[broker].epoch + 1;
        self.registrations[broker] = Registration { epoch, fenced: true };
    }

    /// P3, and P4 if it is granted.
    pub fn alter(
        &mut self,
        sender: usize,
        sender_epoch: BrokerEpoch,
        asked: &AlteredPartition,
        rules: Mutated,
    ) -> Result<(), ErrorCode> {
        let granted = if sender_epoch == self.broker_epoch(sender) {
            alter(&self.partition, node(sender), asked, self, rules)
        } else {
            Err(ErrorCode::StaleBrokerEpoch)
        };
        match granted {
            Ok(cause) => self.happen(cause, rules),
            Err(ErrorCode::IneligibleReplica) if rules.holds(Guard::RefuseWithoutTrace) => {
                self.partition.apply(&refusal(TopicPartition::default()));
            }
            Err(_) => {}
        }
        granted.map(|_| ())
    }

    /// The metadata as they are now, for a broker that replays them.
    pub fn view(&self, flush_before_ack: bool) -> View {
        View {
            partition: self.partition,
            min_isr: MIN_ISR,
            brokers: self.brokers().collect(),
            flush_before_ack,
        }
    }

    /// Whether [`Controller::view`] is this one.
    pub fn is_seen_as(&self, view: &View) -> bool {
        view.partition == self.partition && view.brokers.iter().copied().eq(self.brokers())
    }

    fn brokers(&self) -> impl Iterator<Item = (NodeId, BrokerEpoch, bool)> + '_ {
        let broker = |index: usize| {
            (node(index), self.broker_epoch(index), !self.registrations[index].fenced)
        };
        (0..BROKERS).map(broker)
    }
}

impl Broker {
    pub fn new(index: usize, rules: Mutated) -> Broker {
        let log = SmallLog::default();
        Broker { stop: None, replica: fresh(index, rules, Offset::ZERO, &log), log }
    }

    pub fn is_up(&self) -> bool {
        self.stop.is_none()
    }

    /// Ends the process: what it had in memory is gone, but for the checkpointed high watermark.
    pub fn go_down(&mut self, index: usize, stop: Stop, rules: Mutated) {
        let (checkpoint, is_intact) = (self.replica.high_watermark(), stop == Stop::Clean);
        let start = self.log.start();
        let high_watermark = high_watermark_to_begin_with(rules, checkpoint, start, is_intact);
        self.replica = fresh(index, rules, high_watermark, &self.log);
        self.stop = Some(stop);
    }
}

fn fresh(index: usize, rules: Mutated, high_watermark: Offset, log: &SmallLog) -> Replica<Mutated> {
    let producers = log.producers_at(log.end());
    Replica::new(rules, TopicPartition::default(), node(index), high_watermark, producers)
}

impl Held for Broker {
    type Record = SmallRecord;

    fn start(&self) -> Offset {
        self.log.start()
    }

    /// Who has no role shows nothing.
    fn high_watermark(&self) -> Offset {
        let serves = self.replica.is_leader() || self.replica.is_follower();
        if serves { self.replica.high_watermark() } else { Offset::ZERO }
    }

    fn record(&self, offset: Offset) -> Option<SmallRecord> {
        self.log.at(offset)
    }
}

impl Hash for History {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let History { acknowledged, shown, high_watermark_fell } = self;
        let fold = |all: u64, at: &Option<u8>| all << 9 | at.map_or(511, u64::from);
        let acknowledged = acknowledged.iter().fold(0, fold);
        state.write_u64(acknowledged << 1 | u64::from(*high_watermark_fell));
        shown.hash(state);
    }
}

impl History {
    /// Consumers read everything that any broker lets them.
    pub fn read(&mut self, broker: &Broker) {
        let visible = broker.high_watermark();
        while (self.shown.len() as i64) < visible.0 {
            let Some(record) = broker.log.at(Offset(self.shown.len() as i64)) else { return };
            self.shown.push(record);
        }
    }

    pub fn shown(&self) -> impl Iterator<Item = (Offset, SmallRecord)> + '_ {
        (0..).map(Offset).zip(self.shown.iter().copied())
    }
}
