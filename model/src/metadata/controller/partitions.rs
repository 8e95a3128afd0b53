//! P3, P7, P8: leaders propose ISRs, operators move replicas and leaders.

use std::collections::BTreeSet;

use crate::metadata::partition::{Brokers, Cause, Election, Refused, alter, reassign, refusal};
use crate::metadata::{
    AlterPartition, AlteredPartition, ElectLeaders, ElectionType, Image, Partition,
    PartitionChange, ReassignPartition, Record, Refusal, Response,
};
use crate::{ErrorCode, Guard, NodeId, Rules, TopicPartition};

use super::scope::{Outcome, Scope};
use super::topics::check_replicas;

impl<R: Rules> Scope<R> {
    pub fn alter_partition(&self, image: &Image, asked: &AlterPartition) -> Outcome {
        if image.epoch(asked.broker) != Some(asked.epoch) {
            return Outcome::none(Response::AlterPartition(Err(ErrorCode::StaleBrokerEpoch)));
        }
        let mut records = Vec::new();
        let mut seen = BTreeSet::new();
        let mut results = Vec::with_capacity(asked.partitions.len());
        for one in &asked.partitions {
            let result = if seen.insert(one.id) {
                self.alter_one(image, asked.broker, one)
            } else {
                Err(ErrorCode::InvalidRequest)
            };
            let answer = result.and_then(|(record, answer)| {
                records.extend(record);
                answer
            });
            results.push((one.id, answer));
        }
        Outcome { records, response: Response::AlterPartition(Ok(results)) }
    }

    /// The record and the answer. When finishing a reassignment takes the leadership from the
    /// sender, the change is made and the sender is told so by an error.
    fn alter_one(
        &self,
        image: &Image,
        sender: NodeId,
        asked: &AlteredPartition,
    ) -> Result<(Option<Record>, Result<(), ErrorCode>), ErrorCode> {
        let topic = image.topic(asked.id.topic).ok_or(ErrorCode::UnknownTopicId)?;
        let before = image.partition(asked.id).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let cause = match alter(before, sender, asked, image, self.rules) {
            Err(ErrorCode::IneligibleReplica) if self.rules.holds(Guard::RefuseWithoutTrace) => {
                let trace = Record::PartitionChange(refusal(asked.id));
                return Ok((Some(trace), Err(ErrorCode::IneligibleReplica)));
            }
            judged => judged?,
        };
        let record = self.change(asked.id, before, cause, self.policy(image, topic), image);
        let moved = match &record {
            Some(Record::PartitionChange(PartitionChange { leader: Some(leader), .. })) => {
                *leader != before.leader
            }
            _ => false,
        };
        Ok((record, if moved { Err(ErrorCode::NewLeaderElected) } else { Ok(()) }))
    }

    pub fn elect_leaders(&self, image: &Image, asked: &ElectLeaders) -> Outcome {
        let mut records = Vec::new();
        let mut results = Vec::new();
        let mut seen = BTreeSet::new();
        for &id in asked.partitions.iter().flatten() {
            let result = if seen.insert(id) {
                self.elect_one(image, id, asked.kind).map(|record| records.push(record))
            } else {
                Err(ErrorCode::InvalidRequest)
            };
            results.push((id, result));
        }
        if asked.partitions.is_none() {
            for (id, _) in image.partitions() {
                match self.elect_one(image, id, asked.kind) {
                    Ok(record) => {
                        records.push(record);
                        results.push((id, Ok(())));
                    }
                    Err(ErrorCode::ElectionNotNeeded) => {}
                    Err(error) => results.push((id, Err(error))),
                }
            }
        }
        Outcome { records, response: Response::ElectLeaders(results) }
    }

    fn elect_one(
        &self,
        image: &Image,
        id: TopicPartition,
        kind: ElectionType,
    ) -> Result<Record, ErrorCode> {
        let unknown = ErrorCode::UnknownTopicOrPartition;
        let topic = image.topic(id.topic).ok_or(unknown)?;
        let partition = image.partition(id).ok_or(unknown)?;
        let preferred = partition.replicas.first().copied();
        let (is_needed, election, unavailable) = match kind {
            ElectionType::Preferred => (
                partition.leader != preferred,
                Election::Preferred,
                ErrorCode::PreferredLeaderNotAvailable,
            ),
            ElectionType::Unclean => (
                partition.leader.is_none(),
                Election::Unclean,
                ErrorCode::EligibleLeadersNotAvailable,
            ),
        };
        if !is_needed {
            return Err(ErrorCode::ElectionNotNeeded);
        }
        let policy = self.policy(image, topic);
        let record =
            self.change(id, partition, Cause::Elect(election), policy, image).ok_or(unavailable)?;
        let leader = match &record {
            Record::PartitionChange(PartitionChange { leader, .. }) => leader.flatten(),
            _ => None,
        };
        let is_elected = match kind {
            ElectionType::Preferred => leader == preferred,
            ElectionType::Unclean => leader.is_some(),
        };
        if is_elected { Ok(record) } else { Err(unavailable) }
    }

    pub fn reassign(&self, image: &Image, partitions: &[ReassignPartition]) -> Outcome {
        let mut records = Vec::new();
        let mut seen = BTreeSet::new();
        let mut results = Vec::with_capacity(partitions.len());
        for asked in partitions {
            let result = if seen.insert(asked.id) {
                self.reassign_one(image, asked).map(|record| records.extend(record))
            } else {
                let message = "The partition is named more than once.";
                Err(Refusal::new(ErrorCode::InvalidRequest, message))
            };
            results.push((asked.id, result));
        }
        Outcome { records, response: Response::ReassignPartitions(results) }
    }

    fn reassign_one(
        &self,
        image: &Image,
        asked: &ReassignPartition,
    ) -> Result<Option<Record>, Refusal> {
        let found = image.topic(asked.id.topic).zip(image.partition(asked.id));
        let (topic, partition) = found.ok_or_else(|| {
            let message = "This server does not host this topic-partition.";
            Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
        })?;
        if let Some(target) = &asked.replicas {
            check_replicas(image, target, None)?;
        }
        let policy = self.policy(image, topic);
        let cause = reassign(partition, asked.replicas, policy, self.rules).map_err(|why| {
            let code = match why {
                Refused::NotInProgress => ErrorCode::NoReassignmentInProgress,
                Refused::TooManyReplicas => ErrorCode::InvalidReplicaAssignment,
                Refused::LosesRecords => ErrorCode::InvalidReplicaAssignment,
            };
            Refusal::new(code, why.to_string())
        })?;
        Ok(self.change(asked.id, partition, cause, policy, image))
    }

    /// P8: gives leadership back to preferred replicas, at most `limit` times.
    pub fn balance(&self, image: &Image, limit: usize) -> Vec<Record> {
        let is_due = |partition: &Partition| {
            let preferred = partition.replicas.first();
            partition.leader.as_ref() != preferred
                && preferred.is_some_and(|it| partition.isr.contains(it) && image.is_active(*it))
        };
        self.elect_some(image, is_due, Election::Preferred, limit)
    }

    /// P8: elects a leader wherever there is none and somebody may lead; uncleanly where the topic
    /// allows it.
    pub fn sweep(&self, image: &Image, limit: usize) -> Vec<Record> {
        self.elect_some(image, |partition| partition.leader.is_none(), Election::Online, limit)
    }

    fn elect_some(
        &self,
        image: &Image,
        is_due: impl Fn(&Partition) -> bool,
        election: Election,
        limit: usize,
    ) -> Vec<Record> {
        let mut records = Vec::new();
        for topic in image.topics.values() {
            let policy = self.policy(image, topic);
            let due = topic.numbered().filter(|(_, partition)| is_due(partition));
            let changes = due.filter_map(|(id, partition)| {
                self.change(id, partition, Cause::Elect(election), policy, image)
            });
            records.extend(changes.take(limit - records.len()));
            if records.len() == limit {
                break;
            }
        }
        records
    }
}
