//! Answers of the controller: judged when they are out, and heard by those who asked.

use crate::metadata::Response;
use crate::{BrokerEpoch, ErrorCode};

use super::act::Turn;
use super::judge;
use super::state::{Asked, Happened, Process, Stop, node};

impl Turn<'_> {
    pub fn reply(&mut self, asked: Asked, response: Response) {
        let found = self.state.pending.iter().position(|pending| pending.asked == asked);
        let Some(at) = found else { return self.break_promise(Err(judge::RELEASED)) };
        let batches = self.state.pending.remove(at).batches;
        let is_due = match batches {
            u8::MAX => self.tail.is_empty(),
            batches => batches == 0,
        };
        if !is_due && !matches!(response, Response::NotController { .. }) {
            self.break_promise(Err(judge::RELEASED));
        }
        self.hear(asked, response);
    }

    /// What the asker makes of the answer.
    fn hear(&mut self, asked: Asked, response: Response) {
        match (asked, response) {
            (Asked::Register(broker), Response::RegisterBroker(result)) => match result {
                Ok(epoch) => self.hear_of_registration(usize::from(broker), epoch),
                Err(refusal) if refusal.code == ErrorCode::DuplicateBrokerRegistration => {
                    self.state.happened(Happened::Duplicate);
                }
                Err(_) => {}
            },
            (Asked::Beat(broker), Response::Heartbeat(Ok(reply))) if reply.should_shut_down => {
                self.exit(usize::from(broker));
            }
            (Asked::Producer(_), Response::AllocateProducerIds(Ok(first))) => {
                if first < self.state.producer_ids {
                    self.break_promise(Err(judge::BLOCKS));
                }
                self.state.producer_ids = first + crate::limits::PRODUCER_ID_BLOCK;
            }
            (Asked::Alter { partition, sender }, response) => {
                self.hear_of_isr(partition, sender, &response);
            }
            _ => {}
        }
    }

    /// An answer to an earlier process of the broker is for nobody.
    fn hear_of_registration(&mut self, broker: usize, epoch: BrokerEpoch) {
        let registered = self.machine().committed().broker(node(broker));
        let incarnation = self.state.processes[broker].incarnation(broker);
        if registered.is_some_and(|it| it.incarnation == incarnation) {
            let process = &mut self.state.processes[broker];
            // How it stopped before decides nothing any more.
            (process.epoch, process.stop) = (epoch, Stop::Clean);
        }
    }

    fn hear_of_isr(&mut self, partition: u8, sender: u8, response: &Response) {
        let proposals = &mut self.state.proposals;
        let decided = proposals
            .iter()
            .position(|it| it.decided && (it.partition, it.sender) == (partition, sender));
        let Some(at) = decided else { return };
        match response {
            Response::NotController { .. } => proposals[at].decided = false,
            Response::AlterPartition(result) => {
                proposals.remove(at);
                let error = match result {
                    Ok(results) => results.first().and_then(|(_, result)| result.err()),
                    Err(error) => Some(*error),
                };
                match error {
                    Some(ErrorCode::FencedLeaderEpoch | ErrorCode::InvalidUpdateVersion) => {
                        self.state.happened(Happened::StaleRefused);
                    }
                    Some(ErrorCode::IneligibleReplica) => {
                        self.state.happened(Happened::IneligibleRefused);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// The broker was told that it may stop, and does.
    fn exit(&mut self, broker: usize) {
        let process = self.state.processes[broker];
        if !process.up || !process.stopping {
            return;
        }
        let image = self.machine().committed();
        let registered = image.broker(node(broker)).filter(|it| it.epoch == process.epoch);
        let leads = || image.partitions().any(|(_, it)| it.leader == Some(node(broker)));
        let is_free = registered.is_none_or(|it| it.fenced && !leads());
        self.state.processes[broker] =
            Process { up: false, stopping: false, stop: Stop::Clean, ..process };
        self.state.happened(Happened::ShutDown);
        if !is_free {
            self.break_promise(Err(judge::STOPS));
        }
    }
}

impl Asked {
    pub fn id(self) -> u64 {
        match self {
            Asked::Operator => 0,
            Asked::Register(broker) => 1 + u64::from(broker),
            Asked::Beat(broker) => 10 + u64::from(broker),
            Asked::Producer(broker) => 20 + u64::from(broker),
            Asked::Alter { partition, sender } => {
                100 + 10 * u64::from(partition) + u64::from(sender)
            }
        }
    }

    pub fn of(id: u64) -> Asked {
        let at = (id % 10) as u8;
        match id {
            0 => Asked::Operator,
            1..10 => Asked::Register(at - 1),
            10..20 => Asked::Beat(at),
            20..30 => Asked::Producer(at),
            _ => Asked::Alter { partition: ((id - 100) / 10) as u8, sender: at },
        }
    }
}
