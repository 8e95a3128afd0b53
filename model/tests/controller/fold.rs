//! K4 over long runs: whatever happens, an image is the fold of the committed records, and a
//! snapshot of it replays to the same image. The cluster judges all invariants after every event.

use std::collections::BTreeSet;

use kraft_model::metadata::{
    ConfigChange, ConfigOp, CreatePartitions, ElectLeaders, ElectionType, Event, Image, NewTopic,
    Partition, PartitionRecord, ReassignPartition, Record, Request, ResourceKind, Timer, TopicRef,
};
use kraft_model::{BrokerEpoch, NodeId, Offset, TopicId, TopicPartition};

use crate::cluster::{Cluster, incarnation, new_topic, nodes};

const BROKERS: i32 = 5;

/// A small deterministic generator (splitmix64): the runs must be the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn broker(&mut self) -> i32 {
        1 + self.roll(BROKERS as u64) as i32
    }

    fn replicas(&mut self) -> Vec<i32> {
        let mut all: Vec<i32> = (1..=BROKERS).collect();
        let count = 1 + self.roll(3) as usize;
        (0..count).map(|_| all.remove(self.roll(all.len() as u64) as usize)).collect()
    }
}

fn fold(log: &[Option<Record>]) -> Image {
    let mut image = Image::default();
    for (offset, record) in (0..).zip(log) {
        match record {
            Some(record) => image.replay(Offset(offset), record).expect("the log is sound"),
            None => image.end = Offset(offset + 1),
        }
    }
    image
}

fn some_partition(cluster: &Cluster, dice: &mut Dice) -> Option<TopicPartition> {
    let count = cluster.image().partitions().count();
    if count == 0 {
        return None;
    }
    let index = dice.roll(count as u64) as usize;
    cluster.image().partitions().nth(index).map(|(id, _)| id)
}

/// A leader proposes a random part of its replicas, often an impossible one.
fn propose(cluster: &mut Cluster, dice: &mut Dice, id: TopicPartition) {
    let Some(&partition) = cluster.image().partition(id) else { return };
    let Some(leader) = partition.leader else { return };
    let mut isr = partition.replicas;
    let grow = dice.roll(3) > 0;
    isr.retain(|&replica| replica == leader || grow || dice.roll(2) == 0);
    if partition.recovering {
        isr = nodes(&[leader.0]);
    }
    let image = cluster.image();
    let epoch = |id| image.broker(id).map_or(BrokerEpoch::NONE, |broker| broker.epoch);
    let asked = kraft_model::metadata::AlteredPartition {
        id,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        isr,
        isr_epochs: isr.iter().map(|&it| epoch(it)).collect(),
        recovering: false,
    };
    let (broker, epoch) = (leader, cluster.epoch_of(leader.0));
    let partitions = vec![asked];
    cluster.send(Request::AlterPartition(kraft_model::metadata::AlterPartition {
        broker,
        epoch,
        partitions,
    }));
}

fn topic_request(dice: &mut Dice, name: String) -> Request {
    match dice.roll(12) {
        0..=6 => {
            let assignments =
                (0..1 + dice.roll(3)).map(|_| nodes(&dice.replicas()).to_vec()).collect();
            let topic = NewTopic { assignments, ..new_topic(&name) };
            Request::CreateTopics { topics: vec![topic], validate_only: false }
        }
        7 => Request::DeleteTopics { topics: vec![TopicRef::Name(name)] },
        8 => {
            let total = 1 + dice.roll(4) as i32;
            let topics = vec![CreatePartitions { topic: name, total, assignments: Vec::new() }];
            Request::CreatePartitions { topics, validate_only: false }
        }
        _ => {
            let value = (1 + dice.roll(3)).to_string();
            let key = ["min.insync.replicas", "retention.ms"][dice.roll(2) as usize];
            let op = if dice.roll(3) == 0 { ConfigOp::Delete } else { ConfigOp::Set(value) };
            let ops = vec![(key.to_owned(), op)];
            let (kind, resource) = match dice.roll(4) {
                0 => (ResourceKind::Broker, String::new()),
                _ => (ResourceKind::Topic, name),
            };
            let changes = vec![ConfigChange { kind, resource, ops, replace: false }];
            Request::AlterConfigs { changes, validate_only: false }
        }
    }
}

fn partition_request(dice: &mut Dice, id: TopicPartition) -> Request {
    match dice.roll(4) {
        0 => {
            let partitions = vec![ReassignPartition { id, replicas: None }];
            Request::ReassignPartitions { partitions }
        }
        1 | 2 => {
            let replicas = Some(nodes(&dice.replicas()));
            Request::ReassignPartitions { partitions: vec![ReassignPartition { id, replicas }] }
        }
        _ => {
            let kind = [ElectionType::Preferred, ElectionType::Unclean][dice.roll(2) as usize];
            Request::ElectLeaders(ElectLeaders { kind, partitions: Some(vec![id]) })
        }
    }
}

/// States of partitions that a run must have come through, or it has shown little.
fn states(image: &Image) -> impl Iterator<Item = &'static str> {
    image.partitions().flat_map(|(_, partition)| {
        let seen = [
            (partition.leader.is_none(), "leaderless"),
            (!partition.elr.is_empty() && partition.leader.is_some(), "eligible beside a leader"),
            (!partition.last_known_elr.is_empty() && partition.elr.is_empty(), "last known only"),
            (partition.recovering, "recovering"),
            (!partition.adding.is_empty(), "reassigning"),
            (partition.isr.len() > 2, "in sync"),
            (partition.leader_epoch.0 > 10, "many elections"),
        ];
        seen.into_iter().filter(|(is_seen, _)| *is_seen).map(|(_, name)| name)
    })
}

fn something_happens(cluster: &mut Cluster, dice: &mut Dice, runs: &mut [u128]) {
    let id = dice.broker();
    let broker = NodeId(id);
    let is_known = cluster.image().broker(broker).is_some();
    let current = incarnation(id, runs[id as usize]);
    match dice.roll(24) {
        0 => {
            runs[id as usize] += 1;
            let mut asked = cluster.registration(id, runs[id as usize]);
            if dice.roll(2) == 0 && is_known {
                asked.previous_epoch = cluster.epoch_of(id);
            }
            cluster.step(Event::Disconnected { broker });
            cluster.send(Request::RegisterBroker(asked));
        }
        1 | 2 | 16.. if is_known => {
            cluster.beat(id, false, false);
        }
        3 if is_known => {
            cluster.beat(id, dice.roll(4) == 0, dice.roll(2) == 0);
        }
        4 => cluster.step(Event::Timeout(Timer::Session(broker))),
        5 if dice.roll(2) == 0 => cluster.step(Event::PeerGone { broker, incarnation: current }),
        6 => cluster.step(Event::Connected { broker, incarnation: current }),
        7 => cluster.step(Event::Timeout(
            [Timer::Balance, Timer::UncleanSweep, Timer::SuspicionWindow][dice.roll(3) as usize],
        )),
        8 if is_known && dice.roll(3) == 0 => {
            let epoch = cluster.epoch_of(id);
            cluster.send(Request::AllocateProducerIds { broker, epoch });
        }
        9 if dice.roll(10) == 0 => {
            cluster.send(Request::UnregisterBroker { broker });
        }
        10 => {
            let number = dice.roll(4);
            let request = topic_request(dice, format!("topic-{number}"));
            cluster.send(request);
        }
        11 => {
            if let Some(id) = some_partition(cluster, dice) {
                let request = partition_request(dice, id);
                cluster.send(request);
            }
        }
        12 if dice.roll(8) == 0 => {
            cluster.lose_leadership();
            cluster.lead();
        }
        _ => {
            if let Some(id) = some_partition(cluster, dice) {
                propose(cluster, dice, id);
            }
        }
    }
    if dice.roll(3) == 0 {
        cluster.commit();
    }
}

#[test]
fn an_image_is_the_fold_of_the_log_and_its_snapshot_is_the_same_image() {
    let mut seen = BTreeSet::new();
    for seed in 0..20 {
        let mut dice = Dice(seed);
        let mut cluster = Cluster::new();
        let mut runs = [1; BROKERS as usize + 1];
        (1..=BROKERS).for_each(|id| cluster.start(id));
        for moment in 0..400 {
            cluster.entropy = dice.roll(u64::MAX);
            something_happens(&mut cluster, &mut dice, &mut runs);
            seen.extend(states(cluster.image()));
            if moment % 20 == 0 {
                let committed = cluster.controller.committed();
                let prefix = &cluster.log[..committed.end.0 as usize];
                assert_eq!(fold(prefix), *committed, "seed {seed}");
                assert_eq!(fold(&cluster.log), *cluster.image(), "seed {seed}");
                let snapshot = Image::load(committed.end, &committed.records());
                assert_eq!(snapshot.as_ref(), Ok(committed), "seed {seed}");
            }
        }
    }
    assert_eq!(seen.len(), 7, "{seen:?}");
}

#[test]
fn a_snapshot_replaces_the_image_of_a_standby() {
    let cluster = Cluster::with_topic(3);
    let image = cluster.controller.committed().clone();
    let mut standby = kraft_model::metadata::Controller::new(
        NodeId(8),
        crate::cluster::CLUSTER,
        Default::default(),
    );
    let mut fx = Vec::new();
    standby.step(Event::Loaded(Box::new(image.clone())), &mut fx);
    assert_eq!(standby.committed(), &image);
    let record = Record::NoOp;
    let (base, end) = (image.end, image.end.plus(1));
    standby.step(Event::Committed { base, records: vec![record], end }, &mut fx);
    assert_eq!(standby.committed().end, end);
}

/// P6: where somebody is in sync an ELR may be given up, and where nobody is it may be all there is.
#[test]
fn an_elr_is_cleared_where_somebody_is_in_sync_and_nowhere_else() {
    let partition = |isr: &[i32], elr: &[i32]| Partition {
        replicas: nodes(&[1, 2, 3]),
        isr: nodes(isr),
        elr: nodes(elr),
        ..Partition::default()
    };
    let before = [partition(&[1], &[2]), partition(&[], &[2]), partition(&[1, 2], &[])];
    let (topic, other) = (TopicId(1), TopicId(2));
    let image = |clear| {
        let mut image = Image::default();
        let mut records = vec![];
        for (id, name) in [(topic, "orders"), (other, "bills")] {
            records.push(Record::Topic { id, name: name.to_owned() });
            records.extend((0..).zip(before).map(|(number, partition)| {
                let id = TopicPartition { topic: id, partition: number };
                Record::Partition(PartitionRecord { id, partition })
            }));
        }
        records.push(clear);
        for (offset, record) in (0..).zip(&records) {
            image.replay(Offset(offset), record).expect("the log is sound");
        }
        image
    };
    let elrs = |image: &Image, topic| -> Vec<usize> {
        image.topics[&topic].partitions.iter().map(|partition| partition.elr.len()).collect()
    };
    let one = image(Record::ClearElr { topic: Some(topic) });
    assert_eq!((elrs(&one, topic), elrs(&one, other)), (vec![0, 1, 0], vec![1, 1, 0]));
    let all = image(Record::ClearElr { topic: None });
    assert_eq!((elrs(&all, topic), elrs(&all, other)), (vec![0, 1, 0], vec![0, 1, 0]));
}
