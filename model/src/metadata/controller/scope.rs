//! What every operation has at hand.

use crate::limits::PRODUCER_ID_BLOCK;
use crate::metadata::partition::{Brokers, Cause, Policy, change};
use crate::metadata::{Image, Partition, Record, Refusal, Response, Topic};
use crate::{BrokerEpoch, ClusterId, ErrorCode, Guard, NodeId, Rules, TopicPartition};

use super::ControllerDefaults;

/// What an operation decided: state changes only by `records`; `response` is due once they, or all
/// that the operation read, are committed (K1).
pub(super) struct Outcome {
    pub records: Vec<Record>,
    pub response: Response,
}

/// The fixed surroundings of an operation.
pub(super) struct Scope<R> {
    pub cluster: ClusterId,
    pub defaults: ControllerDefaults,
    pub rules: R,
    /// Randomness for this operation.
    pub entropy: u64,
}

impl<R: Rules> Scope<R> {
    /// A topic's policy; the node's configuration where neither topic nor cluster say anything.
    pub fn policy(&self, image: &Image, topic: &Topic) -> Policy {
        let default = Policy {
            min_isr: self.defaults.min_insync_replicas,
            unclean: self.defaults.unclean_leader_election,
        };
        let policy = image.policy(&topic.name, default);
        let first = topic.partitions.first().map_or(1, |it| it.replicas.len() as i32);
        if self.rules.holds(Guard::TwoMinIsrs) {
            policy
        } else {
            Policy { min_isr: policy.min_isr.min(first), ..policy }
        }
    }

    /// The records of what `cause` does to every partition that `affected` picks. Others are only
    /// looked at.
    pub fn change_all(
        &self,
        image: &Image,
        brokers: &impl Brokers,
        affected: impl Fn(&Partition) -> bool,
        cause: Cause,
    ) -> Vec<Record> {
        let mut records = Vec::new();
        for topic in image.topics.values() {
            let mut affected = topic.numbered().filter(|(_, it)| affected(it)).peekable();
            if affected.peek().is_some() {
                let policy = self.policy(image, topic);
                records.extend(affected.filter_map(|(id, partition)| {
                    self.change(id, partition, cause, policy, brokers)
                }));
            }
        }
        records
    }

    pub fn change(
        &self,
        id: TopicPartition,
        partition: &Partition,
        cause: Cause,
        policy: Policy,
        brokers: &impl Brokers,
    ) -> Option<Record> {
        change(id, partition, cause, policy, brokers, self.rules).map(Record::PartitionChange)
    }

    /// B4: leave the ISR and the ELR, then go. Whatever the broker held is of no use any more.
    pub fn unregister(&self, image: &Image, broker: NodeId) -> Outcome {
        let Some(epoch) = image.epoch(broker) else {
            let message = format!("Broker ID {broker} is not currently registered");
            let refusal = Refusal::new(ErrorCode::BrokerIdNotRegistered, message);
            return Outcome::none(Response::UnregisterBroker(Err(refusal)));
        };
        let depends =
            |it: &Partition| it.depends_on(broker) && self.rules.holds(Guard::UnregisterKeepsIsr);
        let mut records = self.change_all(image, image, depends, Cause::LostLog(broker));
        records.push(Record::UnregisterBroker { broker, epoch });
        Outcome { records, response: Response::UnregisterBroker(Ok(())) }
    }

    /// K6.
    pub fn allocate_producer_ids(
        &self,
        image: &Image,
        broker: NodeId,
        epoch: BrokerEpoch,
    ) -> Outcome {
        let first = image.next_producer_id;
        let result = match (image.epoch(broker), first.checked_add(PRODUCER_ID_BLOCK)) {
            (None, _) => Err(ErrorCode::BrokerIdNotRegistered),
            (Some(registered), _) if registered != epoch => Err(ErrorCode::StaleBrokerEpoch),
            (_, None) => Err(ErrorCode::UnknownServerError),
            (_, Some(next)) => Ok(next),
        };
        let records = result.iter().map(|&next| Record::ProducerIds { broker, epoch, next });
        let is_recorded = self.rules.holds(Guard::ProducerIdsUnrecorded);
        Outcome {
            records: records.filter(|_| is_recorded).collect(),
            response: Response::AllocateProducerIds(result.map(|_| first)),
        }
    }
}

impl Outcome {
    /// An answer without any change.
    pub fn none(response: Response) -> Outcome {
        Outcome { records: Vec::new(), response }
    }
}

impl Partition {
    /// Whether the broker is anything to this partition beyond one of its replicas.
    pub(super) fn depends_on(&self, broker: NodeId) -> bool {
        [&self.isr, &self.elr, &self.last_known_elr].iter().any(|nodes| nodes.contains(&broker))
    }
}

/// The image's brokers, with one of them active by a record that is about to be written.
pub(super) struct Unfencing<'a> {
    pub image: &'a Image,
    pub broker: NodeId,
}

impl Brokers for Unfencing<'_> {
    fn is_active(&self, broker: NodeId) -> bool {
        broker == self.broker || self.image.is_active(broker)
    }

    fn epoch(&self, broker: NodeId) -> Option<BrokerEpoch> {
        self.image.epoch(broker)
    }
}
