//! ISR changes on their way to the controller: those of one turn together, one request in flight.

use std::collections::BTreeMap;

use kraft_model::metadata::{AlterPartition, AlteredPartition, Request, Response};
use kraft_model::replica::Event;
use kraft_model::{BrokerEpoch, ErrorCode, NodeId, TopicPartition};

use super::actor::Shard;
use super::command::Command;

#[derive(Default)]
pub(super) struct Alterations {
    /// The newest proposal of each partition; an older one has been given up by its machine.
    waiting: BTreeMap<TopicPartition, AlteredPartition>,
    in_flight: bool,
}

impl Alterations {
    pub fn propose(&mut self, proposal: AlteredPartition) {
        self.waiting.insert(proposal.id, proposal);
    }

    pub fn forget(&mut self, id: TopicPartition) {
        self.waiting.remove(&id);
    }

    /// The next request, unless one is in flight.
    fn take(&mut self, broker: NodeId, epoch: BrokerEpoch) -> Option<AlterPartition> {
        if self.in_flight || self.waiting.is_empty() {
            return None;
        }
        self.in_flight = true;
        let partitions = std::mem::take(&mut self.waiting).into_values().collect();
        Some(AlterPartition { broker, epoch, partitions })
    }
}

impl Shard {
    /// Sends what was proposed during this turn.
    pub(super) fn send_alterations(&mut self) {
        let Some(request) = self.alterations.take(self.me, self.broker_epoch()) else { return };
        let asked = request.partitions.clone();
        let answer = self.outside.controller.request(Request::AlterPartition(request));
        let handle = self.handle.clone();
        actix::spawn(async move {
            let response = answer.await;
            handle.deliver(Command::Altered { asked, response });
        });
    }

    /// Hands each partition its answer; a request that failed as a whole has none (L3).
    pub(super) fn altered(&mut self, asked: Vec<AlteredPartition>, response: Response) {
        self.alterations.in_flight = false;
        let answers: BTreeMap<TopicPartition, Result<(), ErrorCode>> = match response {
            Response::AlterPartition(Ok(answers)) => answers.into_iter().collect(),
            _ => BTreeMap::new(),
        };
        for AlteredPartition { id, leader_epoch, partition_epoch, .. } in asked {
            let answer = answers.get(&id).copied();
            self.step(id, Event::Altered { leader_epoch, partition_epoch, answer });
        }
    }
}
