//! A producer: unique values, idempotent with retries as a rule, otherwise each value once.

use std::collections::{BTreeMap, VecDeque};

use crate::metadata::Response;
use crate::replica::Acks;
use crate::sim::disk::DataRecord;
use crate::sim::env::Happening;
use crate::sim::profile::MILLIS;
use crate::{ErrorCode, TopicPartition};

use super::{ClientEvent, Common, Hands, Open, Served, Wanted};

/// A batch on its way.
#[derive(Clone, Debug)]
struct Pending {
    /// Of its first record.
    sequence: i32,
    values: Vec<u64>,
    /// The request that carries it now.
    is_sent: bool,
}

/// What goes to one partition, in order.
#[derive(Debug, Default)]
struct Lane {
    next: i32,
    queue: VecDeque<Pending>,
    /// It is looked at again soon.
    is_waiting: bool,
}

#[derive(Debug)]
pub(super) struct Producer {
    is_idempotent: bool,
    id: Option<i64>,
    is_asking: bool,
    lanes: BTreeMap<TopicPartition, Lane>,
}

/// Batches that wait for one partition at most.
const QUEUE: usize = 6;

/// Records in a batch at most.
const BATCH: i32 = 3;

impl Producer {
    pub fn new(is_idempotent: bool) -> Producer {
        Producer { is_idempotent, id: None, is_asking: false, lanes: BTreeMap::new() }
    }

    pub fn is_done(&self) -> bool {
        self.lanes.values().all(|lane| lane.queue.is_empty())
    }

    pub fn act(&mut self, common: &mut Common, hands: &mut Hands<'_>) {
        common.act_after(hands, hands.env.profile.write_every);
        if common.image.is_none() || hands.random.per_mille(15) {
            common.refresh(hands);
        }
        if self.is_idempotent && self.id.is_none() {
            return self.ask_for_id(common, hands);
        }
        if common.is_draining {
            return;
        }
        let Some(id) = common.any_partition(hands) else { return };
        let lane = self.lanes.entry(id).or_default();
        if lane.queue.len() < QUEUE {
            let first = lane.next;
            lane.next += 1 + hands.random.below(BATCH as u64) as i32;
            let produced = |sequence| self.id.map(|producer| (producer, sequence));
            let values = (first..lane.next).map(|it| hands.judge.new_value(id, produced(it)));
            let values = values.collect();
            lane.queue.push_back(Pending { sequence: first, values, is_sent: false });
        }
        self.pump(common, hands, id);
    }

    fn ask_for_id(&mut self, common: &mut Common, hands: &mut Hands<'_>) {
        if !self.is_asking
            && let Some(broker) = hands.random.pick(hands.brokers)
        {
            self.is_asking = true;
            common.ask(hands, broker, Wanted::ProducerId, Open::ProducerId);
        }
    }

    /// Sends what may be under way together. Nothing follows a producer's first record in a
    /// partition before that is acknowledged: without a state any sequence is accepted (I3).
    fn pump(&mut self, common: &mut Common, hands: &mut Hands<'_>, id: TopicPartition) {
        let Some(leader) = common.leader_of(id) else {
            return self.retry_later(common, hands, id);
        };
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| !lane.is_waiting) else { return };
        let is_first = lane.queue.front().is_some_and(|first| first.sequence == 0);
        let most = match self.is_idempotent && !is_first {
            true => hands.env.profile.in_flight,
            false => 1,
        };
        let acks = if self.is_idempotent || hands.random.per_mille(850) {
            Acks::All
        } else {
            Acks::Leader
        };
        for pending in lane.queue.iter_mut().take(most).filter(|pending| !pending.is_sent) {
            pending.is_sent = true;
            let sequence = pending.sequence;
            let produced = self.id.map(|producer| (producer, sequence));
            let batch = DataRecord::batch(&pending.values, produced);
            let wanted = Wanted::Produce { id, batch, acks };
            common.ask(hands, leader, wanted, Open::Batch { id, sequence });
        }
    }

    pub fn again(&mut self, common: &mut Common, hands: &mut Hands<'_>, id: TopicPartition) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.is_waiting = false;
        }
        let is_gone = common.image.as_ref().is_some_and(|image| image.partition(id).is_none());
        if is_gone {
            // The topic is deleted: nobody will ever answer.
            self.lanes.remove(&id);
        } else {
            self.pump(common, hands, id);
        }
    }

    fn retry_later(&mut self, common: &mut Common, hands: &mut Hands<'_>, id: TopicPartition) {
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| !lane.is_waiting) else { return };
        lane.is_waiting = true;
        common.refresh(hands);
        let wait = 80 * MILLIS + hands.random.below(300 * MILLIS);
        let event = ClientEvent::Again(id);
        hands.env.after(wait, Happening::Client { client: common.at, event });
    }

    pub fn unanswered(&mut self, common: &mut Common, hands: &mut Hands<'_>, open: Open) {
        match open {
            Open::ProducerId => self.is_asking = false,
            Open::Batch { id, sequence } => {
                self.failed(common, hands, (id, sequence), ErrorCode::RequestTimedOut);
            }
            _ => {}
        }
    }

    pub fn served(
        &mut self,
        common: &mut Common,
        hands: &mut Hands<'_>,
        open: Open,
        served: Served,
    ) {
        match (open, served) {
            (Open::ProducerId, Served::Controller(response)) => {
                self.is_asking = false;
                if let Response::AllocateProducerIds(Ok(first)) = response {
                    hands.judge.producer_ids_allocated(first);
                    self.id = Some(first);
                }
            }
            (Open::Batch { id, sequence }, Served::Produced(Ok(_))) => {
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.queue.retain(|pending| pending.sequence != sequence);
                }
                self.pump(common, hands, id);
            }
            (Open::Batch { id, sequence }, Served::Produced(Err(error))) => {
                self.failed(common, hands, (id, sequence), error);
            }
            _ => {}
        }
    }

    fn failed(
        &mut self,
        common: &mut Common,
        hands: &mut Hands<'_>,
        (id, sequence): (TopicPartition, i32),
        error: ErrorCode,
    ) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let is_first = lane.queue.front().is_some_and(|first| first.sequence == sequence);
        let Some(pending) = lane.queue.iter_mut().find(|one| one.sequence == sequence) else {
            return;
        };
        pending.is_sent = false;
        if !self.is_idempotent {
            if error == ErrorCode::NotEnoughReplicas {
                pending.values.iter().for_each(|&value| hands.judge.refused(value));
            }
            // Whether it was written nobody knows; sent again it might be there twice.
            lane.queue.retain(|pending| pending.sequence != sequence);
        } else if error == ErrorCode::OutOfOrderSequenceNumber && is_first {
            // The leader has lost what went before: a new producer begins.
            self.id = None;
            self.lanes.clear();
            return;
        }
        self.retry_later(common, hands, id);
    }
}
