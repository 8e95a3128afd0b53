//! An administrator: creates, grows, configures, moves and deletes topics.

use std::sync::Arc;

use crate::inline::Nodes;
use crate::metadata::{
    ConfigChange, ConfigOp, CreatePartitions, ElectLeaders, ElectionType, Image, NewTopic,
    ReassignPartition, Request, ResourceKind, Response, TopicRef,
};
use crate::{NodeId, TopicPartition};

use crate::sim::faults::Fault;

use super::{Common, Hands, Open, Served, Wanted};

#[derive(Debug, Default)]
pub(super) struct Admin {
    /// Topics asked for so far; each gets the next number for its id and name.
    topics: u32,
}

/// Requests under way at most.
const OPEN: usize = 3;

impl Admin {
    pub fn act(&mut self, common: &mut Common, hands: &mut Hands<'_>) {
        let is_young = self.topics < hands.env.profile.topics as u32;
        let mean = hands.env.profile.admin_every;
        common.act_after(hands, if is_young { mean.min(200_000) } else { mean });
        common.refresh(hands);
        if common.is_draining || common.open.len() > OPEN {
            return;
        }
        let Some(broker) = hands.random.pick(hands.brokers) else { return };
        let image = common.image.clone();
        if is_young && image.as_ref().is_some_and(|image| image.active_brokers().count() > 0) {
            let request = self.create_topic(hands);
            return self.send(common, hands, broker, request);
        }
        let Some(image) = image else { return };
        if hands.random.per_mille(120) {
            return self.delete_records(common, hands, &image);
        }
        if hands.random.per_mille(hands.env.profile.unregister) {
            let brokers: Vec<NodeId> = image.brokers.keys().copied().collect();
            let Some(gone) = hands.random.pick(&brokers) else { return };
            hands.env.counts.count(Fault::Unregister);
            return self.send(common, hands, broker, Request::UnregisterBroker { broker: gone });
        }
        if let Some(request) = self.choose(hands, &image) {
            self.send(common, hands, broker, request);
        }
    }

    fn send(&self, common: &mut Common, hands: &mut Hands<'_>, broker: NodeId, request: Request) {
        hands.env.tell(|| format!("the administrator asks node {broker}: {request:?}"));
        let open = Open::Request(Box::new(request.clone()));
        common.ask(hands, broker, Wanted::Controller(Box::new(request)), open);
    }

    fn choose(&mut self, hands: &mut Hands<'_>, image: &Arc<Image>) -> Option<Request> {
        let partitions: Vec<_> = image.partitions().map(|(id, _)| id).collect();
        let id = hands.random.pick(&partitions)?;
        let topic = image.topic(id.topic)?;
        let name = topic.name.to_string();
        Some(match hands.random.below(100) {
            0..2 => named_alike(self.create_topic(hands), name),
            2..8 if image.topics.len() < 5 => self.create_topic(hands),
            8..13 if image.topics.len() > 1 => {
                Request::DeleteTopics { topics: vec![TopicRef::Name(name)] }
            }
            13..20 if topic.partitions.len() < 4 => {
                let total = topic.partitions.len() as i32 + 1;
                let topics = vec![CreatePartitions { topic: name, total, assignments: Vec::new() }];
                Request::CreatePartitions { topics, validate_only: false }
            }
            20..32 => self.set_min_insync(hands, name),
            32..68 => reassign(hands, image, id)?,
            68..76 => {
                let partitions = vec![ReassignPartition { id, replicas: None }];
                Request::ReassignPartitions { partitions }
            }
            76..97 => {
                let kind = ElectionType::Preferred;
                Request::ElectLeaders(ElectLeaders { kind, partitions: Some(vec![id]) })
            }
            _ if hands.env.profile.unclean_sweep => {
                let kind = ElectionType::Unclean;
                Request::ElectLeaders(ElectLeaders { kind, partitions: Some(vec![id]) })
            }
            _ => return None,
        })
    }

    fn create_topic(&mut self, hands: &mut Hands<'_>) -> Request {
        self.topics += 1;
        let number = self.topics;
        let profile = &hands.env.profile;
        let (partitions, replication) = (profile.partitions, profile.replication);
        let min_insync = match hands.random.per_mille(300) {
            true => hands.random.between(1, replication as u64),
            false => hands.env.profile.min_insync as u64,
        };
        let topic = NewTopic {
            name: format!("t{number}"),
            partitions: Some(partitions as i32),
            replication_factor: Some(replication as i16),
            assignments: Vec::new(),
            configs: vec![("min.insync.replicas".to_owned(), min_insync.to_string())],
        };
        Request::CreateTopics { topics: vec![topic], validate_only: false }
    }

    fn set_min_insync(&self, hands: &mut Hands<'_>, topic: String) -> Request {
        // Now and then more than there are replicas: then all of them count.
        let value = hands.random.between(1, hands.env.profile.replication as u64 + 1);
        let op = ConfigOp::Set(value.to_string());
        let change = ConfigChange {
            kind: ResourceKind::Topic,
            resource: topic,
            ops: vec![("min.insync.replicas".to_owned(), op)],
            replace: false,
        };
        Request::AlterConfigs { changes: vec![change], validate_only: false }
    }

    fn delete_records(&self, common: &mut Common, hands: &mut Hands<'_>, image: &Image) {
        let led: Vec<_> = image
            .partitions()
            .filter_map(|(id, partition)| Some((id, partition.leader?)))
            .collect();
        let Some((id, leader)) = hands.random.pick(&led) else { return };
        let before = hands.judge.promised_end(id);
        let before = hands.random.below(before.max(0) as u64 + 1) as i64;
        common.ask(hands, leader, Wanted::DeleteRecords { id, before }, Open::Delete);
    }

    pub fn unanswered(&mut self, common: &mut Common, hands: &mut Hands<'_>) {
        common.refresh(hands);
    }

    pub fn served(&mut self, _: &mut Common, hands: &mut Hands<'_>, open: Open, served: &Served) {
        if let (Open::Request(request), Served::Controller(response)) = (open, served)
            && !matches!(response, Response::NotController { .. })
        {
            hands.judge.administered(&request, response);
        }
    }
}

/// The request to create a topic, under a name that is taken.
fn named_alike(request: Request, name: String) -> Request {
    let Request::CreateTopics { mut topics, validate_only } = request else { return request };
    topics.iter_mut().for_each(|topic| topic.name.clone_from(&name));
    Request::CreateTopics { topics, validate_only }
}

/// Other replicas for a partition: one more, one fewer, or others altogether.
fn reassign(hands: &mut Hands<'_>, image: &Image, id: TopicPartition) -> Option<Request> {
    let partition = image.partition(id)?;
    let mut brokers: Vec<NodeId> = image.brokers.keys().copied().collect();
    let now = partition.replicas.without(&partition.removing).len();
    let wanted = match hands.random.below(4) {
        0 => now + 1,
        1 => now.saturating_sub(1).max(1),
        _ => now,
    };
    let mut target = Nodes::new();
    while target.len() < wanted.min(brokers.len() + target.len()) && !brokers.is_empty() {
        let at = hands.random.index(brokers.len());
        target.push(brokers.swap_remove(at));
    }
    let partitions = vec![ReassignPartition { id, replicas: Some(target) }];
    Some(Request::ReassignPartitions { partitions })
}
