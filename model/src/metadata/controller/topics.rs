//! P1: topics and partitions come and go.

use std::collections::BTreeSet;

use crate::inline::Nodes;
use crate::limits::{
    MAX_PARTITIONS_PER_TOPIC, MAX_RECORDS_PER_BATCH, MAX_REPLICAS, MAX_TOPIC_NAME,
};
use crate::metadata::METADATA_TOPIC;
use crate::metadata::partition::Brokers;
use crate::metadata::{
    ConfigRecord, CreatePartitions, Image, NewTopic, Partition, PartitionRecord, Record, Refusal,
    ResourceKind, Response, TopicCreated, TopicDeleted, TopicRef,
};
use crate::{ErrorCode, Guard, NodeId, Rules, TopicId, TopicPartition};

use super::configs::check_topic_config;
use super::placement::Placer;
use super::scope::{Outcome, Scope};

impl<R: Rules> Scope<R> {
    /// Each topic's records are in the one batch, so that no topic is ever seen by halves.
    pub fn create_topics(
        &self,
        image: &Image,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Outcome {
        let mut records = Vec::new();
        let mut placer = Placer::new(image, self.entropy);
        let mut created = BTreeSet::new();
        let mut results = Vec::with_capacity(topics.len());
        let repeated = repeated(topics.iter().map(|topic| topic.name.as_str()));
        for (nth, topic) in topics.iter().enumerate() {
            let id = TopicId::drawn(self.entropy, nth);
            let result = if repeated.contains(topic.name.as_str()) {
                refuse(ErrorCode::InvalidRequest, "Duplicate topic name.")
            } else if image.topic(id).is_some() {
                refuse(ErrorCode::UnknownServerError, "The topic id that was drawn is taken.")
            } else {
                self.check_name(image, &created, &topic.name)
                    .and_then(|()| self.create_topic(image, id, topic, &mut placer))
                    .and_then(|(new, answer)| {
                        fit(&mut records, new, MAX_RECORDS_PER_BATCH).map(|()| answer)
                    })
            };
            if result.is_ok() {
                created.insert(topic.name.as_str());
            }
            results.push((topic.name.clone(), result));
        }
        if validate_only {
            records.clear();
        }
        Outcome { records, response: Response::CreateTopics(results) }
    }

    fn create_topic(
        &self,
        image: &Image,
        id: TopicId,
        topic: &NewTopic,
        placer: &mut Placer,
    ) -> Result<(Vec<Record>, TopicCreated), Refusal> {
        let replicas = if topic.assignments.is_empty() {
            let partitions = topic.partitions.filter(|&it| it != -1);
            let factor = topic.replication_factor.filter(|&it| it != -1);
            let partitions = partitions.unwrap_or(self.defaults.num_partitions);
            check_count(partitions)?;
            placer.place(partitions, factor.unwrap_or(self.defaults.default_replication_factor))?
        } else {
            check_manual(image, topic)?
        };
        for (name, value) in &topic.configs {
            check_topic_config(name, value)?;
        }
        let mut records = vec![Record::Topic { id, name: topic.name.clone() }];
        records.extend(topic.configs.iter().map(|(name, value)| {
            Record::Config(ConfigRecord {
                kind: ResourceKind::Topic,
                resource: topic.name.clone(),
                name: name.clone(),
                value: Some(value.clone()),
            })
        }));
        let answer = TopicCreated {
            id,
            partitions: replicas.len() as i32,
            replication_factor: replicas.first().map_or(0, |nodes| nodes.len() as i16),
            configs: topic.configs.clone(),
        };
        records.extend(self.new_partitions(image, id, 0, &replicas)?);
        Ok((records, answer))
    }

    pub fn delete_topics(&self, image: &Image, topics: &[TopicRef]) -> Outcome {
        let mut records = Vec::new();
        let mut results: Vec<TopicDeleted> = Vec::with_capacity(topics.len());
        let mut deleted = BTreeSet::new();
        for topic in topics {
            let result = find(image, topic).and_then(|(id, name)| {
                if !deleted.insert(id) {
                    return refuse(ErrorCode::InvalidRequest, "The topic is named twice.");
                }
                let new = vec![Record::RemoveTopic { id }];
                fit(&mut records, new, MAX_RECORDS_PER_BATCH).map(|()| (id, name))
            });
            results.push((topic.clone(), result));
        }
        Outcome { records, response: Response::DeleteTopics(results) }
    }

    pub fn create_partitions(
        &self,
        image: &Image,
        topics: &[CreatePartitions],
        validate_only: bool,
    ) -> Outcome {
        let mut records = Vec::new();
        let mut placer = Placer::new(image, self.entropy);
        let mut results = Vec::with_capacity(topics.len());
        let repeated = repeated(topics.iter().map(|asked| asked.topic.as_str()));
        for asked in topics {
            let result = if repeated.contains(asked.topic.as_str()) {
                refuse(ErrorCode::InvalidRequest, "Duplicate topic name.")
            } else {
                self.more_partitions(image, asked, &mut placer)
                    .and_then(|new| fit(&mut records, new, MAX_RECORDS_PER_BATCH))
            };
            results.push((asked.topic.clone(), result));
        }
        if validate_only {
            records.clear();
        }
        Outcome { records, response: Response::CreatePartitions(results) }
    }

    fn check_name(
        &self,
        image: &Image,
        created: &BTreeSet<&str>,
        name: &str,
    ) -> Result<(), Refusal> {
        let is_taken = image.topic_ids.contains_key(name);
        if is_taken && self.rules.holds(Guard::TopicNameTwice) {
            return refuse(
                ErrorCode::TopicAlreadyExists,
                format!("Topic '{name}' already exists."),
            );
        }
        let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let fault = if name.is_empty() {
            "the empty string is not allowed".to_owned()
        } else if name == "." || name == ".." {
            "'.' and '..' are not allowed".to_owned()
        } else if name == METADATA_TOPIC {
            format!("'{name}' is the log of the cluster's metadata")
        } else if name.len() > MAX_TOPIC_NAME {
            format!("the length of '{name}' is longer than the max allowed length {MAX_TOPIC_NAME}")
        } else if !name.chars().all(is_legal) {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' \
             and '-'"
            )
        } else {
            return check_collision(image, created, name);
        };
        refuse(ErrorCode::InvalidTopic, format!("Topic name is invalid: {fault}"))
    }

    fn more_partitions(
        &self,
        image: &Image,
        asked: &CreatePartitions,
        placer: &mut Placer,
    ) -> Result<Vec<Record>, Refusal> {
        let (id, _) = find(image, &TopicRef::Name(asked.topic.clone()))?;
        let Some(topic) = image.topic(id) else {
            return refuse(ErrorCode::UnknownTopicOrPartition, "The topic does not exist.");
        };
        let present = topic.partitions.len() as i32;
        let additional = asked.total.saturating_sub(present);
        if additional <= 0 {
            let message = if additional == 0 {
                format!("Topic already has {present} partition(s).")
            } else {
                let (name, total) = (&asked.topic, asked.total);
                format!(
                    "The topic {name} currently has {present} partition(s); {total} would not be an \
                 increase."
                )
            };
            return refuse(ErrorCode::InvalidPartitions, message);
        }
        check_count(asked.total)?;
        let factor = topic
            .partitions
            .first()
            .map_or(1, |partition| partition.replicas.without(&partition.removing).len());
        let assignments = if asked.assignments.is_empty() {
            placer.place(additional, factor as i16)?
        } else if asked.assignments.len() != additional as usize {
            let message = format!(
                "Attempted to add {additional} additional partition(s), but only {} assignment(s) \
             were specified.",
                asked.assignments.len()
            );
            return refuse(ErrorCode::InvalidReplicaAssignment, message);
        } else {
            let check = |replicas: &Vec<NodeId>| check_replicas(image, replicas, Some(factor));
            asked.assignments.iter().map(check).collect::<Result<_, _>>()?
        };
        self.new_partitions(image, id, present, &assignments)
    }

    /// P1: in sync are the replicas that are active; the first of them leads.
    fn new_partitions(
        &self,
        image: &Image,
        topic: TopicId,
        first: i32,
        assignments: &[Nodes],
    ) -> Result<Vec<Record>, Refusal> {
        let may_be_in_sync =
            |id: NodeId| image.is_active(id) || !self.rules.holds(Guard::InactiveInNewIsr);
        let new = |(number, &replicas): (i32, &Nodes)| {
            let mut isr = replicas;
            isr.retain(|&replica| may_be_in_sync(replica));
            let Some(&leader) = isr.first() else {
                let message = format!(
                    "All brokers specified in the manual partition assignment for partition {number} \
                 are fenced or in controlled shutdown."
                );
                return refuse(ErrorCode::InvalidReplicaAssignment, message);
            };
            let partition =
                Partition { replicas, isr, leader: Some(leader), ..Partition::default() };
            let id = TopicPartition { topic, partition: number };
            Ok(Record::Partition(PartitionRecord { id, partition }))
        };
        (first..).zip(assignments).map(new).collect()
    }
}

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, message))
}

/// What occurs more than once.
pub(super) fn repeated<T: Ord + Copy>(all: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut once = BTreeSet::new();
    all.filter(|&item| !once.insert(item)).collect()
}

/// Adds `new` whole, or not at all when the request's batch would grow larger than `room` (K1).
pub(super) fn fit(records: &mut Vec<Record>, new: Vec<Record>, room: usize) -> Result<(), Refusal> {
    if records.len() + new.len() > room {
        let message = format!(
            "The request asks for more than {room} changes at once. Ask again with fewer of them"
        );
        return refuse(ErrorCode::PolicyViolation, message);
    }
    records.extend(new);
    Ok(())
}

/// Metrics write `.` as `_`: two topics that differ only there would share theirs.
fn check_collision(image: &Image, created: &BTreeSet<&str>, name: &str) -> Result<(), Refusal> {
    if !name.contains(['.', '_']) {
        return Ok(());
    }
    let collides = |other: &str| {
        other.len() == name.len()
            && other
                .bytes()
                .zip(name.bytes())
                .all(|(a, b)| a == b || (matches!(a, b'.' | b'_') && matches!(b, b'.' | b'_')))
    };
    let mut names = image.topic_ids.keys().map(|it| &**it).chain(created.iter().copied());
    match names.find(|other| collides(other)) {
        Some(other) => {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            refuse(ErrorCode::InvalidTopic, message)
        }
        None => Ok(()),
    }
}

fn check_count(partitions: i32) -> Result<(), Refusal> {
    if (1..=MAX_PARTITIONS_PER_TOPIC).contains(&partitions) {
        return Ok(());
    }
    let message = format!(
        "Number of partitions was set to {partitions}; it must be between 1 and \
         {MAX_PARTITIONS_PER_TOPIC}."
    );
    refuse(ErrorCode::InvalidPartitions, message)
}

/// A manual assignment says both numbers by itself.
fn check_manual(image: &Image, topic: &NewTopic) -> Result<Vec<Nodes>, Refusal> {
    let is_said = topic.partitions.is_some_and(|it| it != -1)
        || topic.replication_factor.is_some_and(|it| it != -1);
    if is_said {
        let message = "A manual partition assignment was specified, but numPartitions and \
                       replicationFactor were not both left to it (-1).";
        return refuse(ErrorCode::InvalidRequest, message);
    }
    check_count(i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX))?;
    let factor = topic.assignments.first().map_or(0, Vec::len);
    topic.assignments.iter().map(|replicas| check_replicas(image, replicas, Some(factor))).collect()
}

/// P7, P1: named brokers that are registered, each once, and as many as the topic's others.
pub(super) fn check_replicas(
    image: &Image,
    replicas: &[NodeId],
    factor: Option<usize>,
) -> Result<Nodes, Refusal> {
    let invalid = |message: String| refuse(ErrorCode::InvalidReplicaAssignment, message);
    if replicas.is_empty() {
        return invalid("The manual partition assignment includes an empty replica list.".into());
    }
    if let Some(unknown) = replicas.iter().find(|&&id| image.broker(id).is_none()) {
        let message = "The manual partition assignment includes broker";
        return invalid(format!("{message} {unknown}, but no such broker is registered."));
    }
    let is_twice = |(at, id): (usize, &NodeId)| replicas[..at].contains(id);
    if replicas.iter().enumerate().any(is_twice) {
        return invalid("The manual partition assignment includes a broker more than once.".into());
    }
    if let Some(factor) = factor.filter(|&factor| factor != replicas.len()) {
        return invalid(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this \
             is not consistent with other partitions, which have {factor} replica(s).",
            replicas.len()
        ));
    }
    Nodes::try_from_slice(replicas)
        .or_else(|_| invalid(format!("A partition can have {MAX_REPLICAS} replicas at most.")))
}

fn find(image: &Image, topic: &TopicRef) -> Result<(TopicId, String), Refusal> {
    let found = match topic {
        TopicRef::Name(name) => image.topic_named(name),
        TopicRef::Id(id) => image.topic(*id),
    };
    match (found, topic) {
        (Some(topic), _) => Ok((topic.id, topic.name.to_string())),
        (None, TopicRef::Name(_)) => refuse(
            ErrorCode::UnknownTopicOrPartition,
            "This server does not host this topic-partition.",
        ),
        (None, TopicRef::Id(_)) => {
            refuse(ErrorCode::UnknownTopicId, "This server does not host this topic ID.")
        }
    }
}
