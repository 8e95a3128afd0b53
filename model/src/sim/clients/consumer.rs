//! A consumer: reads a partition in order, from its leader or a follower, then another one.

use crate::sim::profile::MILLIS;
use crate::{ErrorCode, NodeId, TopicPartition};

use super::{Common, Hands, Open, Served, Wanted};

#[derive(Debug, Default)]
pub(super) struct Consumer {
    reading: Option<(TopicPartition, i64)>,
    /// A poll is under way.
    is_polling: bool,
    polls: u32,
}

/// After so many polls another partition has its turn.
const POLLS: u32 = 25;

impl Consumer {
    pub fn act(&mut self, common: &mut Common, hands: &mut Hands<'_>) {
        common.act_after(hands, 120 * MILLIS);
        if common.image.is_none() || hands.random.per_mille(100) {
            common.refresh(hands);
        }
        self.polls += 1;
        if self.reading.is_none() || self.polls.is_multiple_of(POLLS) {
            self.reading = common.any_partition(hands).map(|id| (id, 0));
        }
        let Some((id, from)) = self.reading.filter(|_| !self.is_polling) else { return };
        let Some(broker) = self.choose(common, hands, id) else { return };
        self.is_polling = true;
        let wanted = Wanted::Read { id, from, epoch: None };
        common.ask(hands, broker, wanted, Open::Read);
    }

    /// Mostly the leader; a follower now and then (KIP-392).
    fn choose(&self, common: &Common, hands: &mut Hands<'_>, id: TopicPartition) -> Option<NodeId> {
        let partition = common.image.as_ref()?.partition(id)?;
        match hands.random.per_mille(300) {
            true => hands.random.pick(&partition.replicas),
            false => partition.leader,
        }
    }

    pub fn unanswered(&mut self, common: &mut Common, hands: &mut Hands<'_>) {
        self.is_polling = false;
        common.refresh(hands);
    }

    pub fn served(&mut self, common: &mut Common, hands: &mut Hands<'_>, served: Served) {
        self.is_polling = false;
        let Some((id, from)) = self.reading else { return };
        match served {
            Served::Read(Ok(answer)) if answer.from == from => {
                self.reading = Some((id, from + answer.records.len() as i64));
                debug_assert!(answer.log_start <= from && answer.high_watermark >= 0);
            }
            Served::Read(Err(ErrorCode::OffsetOutOfRange)) => {
                // Deleted below, or lost above: begin at what is there.
                self.reading = Some((id, hands.judge.lowest_offset(id)));
                common.refresh(hands);
            }
            Served::Read(Err(_)) => common.refresh(hands),
            _ => {}
        }
    }
}
