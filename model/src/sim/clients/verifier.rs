//! After the faults: a fresh write to every partition is acknowledged and read, and an
//! administrator is served.

use std::collections::BTreeSet;

use crate::TopicPartition;
use crate::metadata::{NewTopic, Request, Response};
use crate::replica::Acks;
use crate::sim::disk::DataRecord;
use crate::sim::profile::MILLIS;

use super::{Common, Hands, Open, Served, Wanted};

#[derive(Debug, Default)]
pub(super) struct Verifier {
    is_begun: bool,
    /// What is still to be written, and what is to be read.
    to_write: BTreeSet<TopicPartition>,
    to_read: BTreeSet<(TopicPartition, i64, u64)>,
    is_topic_due: bool,
}

impl Verifier {
    pub fn begin(&mut self, partitions: impl Iterator<Item = TopicPartition>) {
        self.is_begun = true;
        self.to_write = partitions.collect();
        self.is_topic_due = true;
    }

    pub fn is_done(&self) -> bool {
        self.is_begun && self.to_write.is_empty() && self.to_read.is_empty() && !self.is_topic_due
    }

    pub fn act(&mut self, common: &mut Common, hands: &mut Hands<'_>) {
        common.act_after(hands, 100 * MILLIS);
        if !self.is_begun || self.is_done() {
            return;
        }
        common.refresh(hands);
        if common.open.len() > 1 {
            return;
        }
        let next = self.to_write.first().copied();
        if let Some((id, leader)) = next.and_then(|id| Some((id, common.leader_of(id)?))) {
            let value = hands.judge.new_value(id, None);
            let batch = DataRecord::batch(&[value], None);
            let wanted = Wanted::Produce { id, batch, acks: Acks::All };
            common.ask(hands, leader, wanted, Open::Fresh { id, value });
        }
        let next = self.to_read.first().copied();
        let leader = next.and_then(|(id, ..)| common.leader_of(id));
        if let Some(((id, from, value), leader)) = next.zip(leader) {
            let wanted = Wanted::Read { id, from, epoch: None };
            common.ask(hands, leader, wanted, Open::Fresh { id, value });
        }
        if let Some(broker) = hands.random.pick(hands.brokers).filter(|_| self.is_topic_due) {
            let topic = NewTopic {
                name: "last".to_owned(),
                partitions: Some(1),
                replication_factor: Some(1),
                assignments: Vec::new(),
                configs: Vec::new(),
            };
            let request = Request::CreateTopics { topics: vec![topic], validate_only: false };
            let open = Open::Request(Box::new(request.clone()));
            common.ask(hands, broker, Wanted::Controller(Box::new(request)), open);
        }
    }

    pub fn served(&mut self, open: Open, served: Served) {
        match (open, served) {
            (Open::Fresh { id, value }, Served::Produced(Ok(appended)))
                if self.to_write.remove(&id) =>
            {
                self.to_read.insert((id, appended.base.0, value));
            }
            (Open::Fresh { id, value }, Served::Read(Ok(answer))) => {
                let first = answer.records.first().map(|record| record.value);
                if first == Some(value) {
                    self.to_read.remove(&(id, answer.from, value));
                }
            }
            (Open::Request(_), Served::Controller(Response::CreateTopics(_))) => {
                // Created now, or by an attempt whose answer was lost.
                self.is_topic_due = false;
            }
            _ => {}
        }
    }
}
