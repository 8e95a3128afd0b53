use std::sync::Arc;

use kraft_model::metadata::{
    Broker, BrokerRegistrationChange, Partition, PartitionRecord, Record, RegisterBroker,
};
use kraft_model::{BrokerEpoch, DirectoryId, Incarnation, NodeId, TopicId, TopicPartition};
use kraft_node::peer::record::encode;
use kraft_node::storage::{BatchView, RecordBatch, Records};

use super::*;
use crate::verify::report::Verdict;

const ID: TopicPartition = TopicPartition { topic: TopicId(1), partition: 0 };

fn register(id: i32) -> Record {
    Record::RegisterBroker(RegisterBroker {
        broker: NodeId(id),
        epoch: None,
        incarnation: Incarnation(id as u128),
        endpoints: Vec::new(),
        features: Vec::new(),
        rack: None,
        directories: vec![DirectoryId(id as u128)],
        fenced: false,
        in_controlled_shutdown: false,
    })
}

fn fence(id: i32, epoch: i64) -> Record {
    Record::BrokerRegistrationChange(BrokerRegistrationChange {
        broker: NodeId(id),
        epoch: BrokerEpoch(epoch),
        fenced: Some(true),
        in_controlled_shutdown: None,
    })
}

/// Two brokers, and a topic that both are in sync for.
fn sound() -> Vec<Vec<Record>> {
    let both = [NodeId(1), NodeId(2)].into_iter().collect();
    let partition =
        Partition { replicas: both, isr: both, leader: Some(NodeId(1)), ..Partition::default() };
    vec![
        vec![register(1)],
        vec![register(2)],
        vec![
            Record::Topic { id: ID.topic, name: "orders".to_owned() },
            Record::Partition(PartitionRecord { id: ID, partition }),
        ],
    ]
}

fn batches(content: &[Vec<Record>]) -> Vec<MetadataBatch> {
    let mut end = Offset::ZERO;
    let batch = |records: &Vec<Record>| {
        let values: Vec<_> = records.iter().map(|it| encode(it).expect("encodes")).collect();
        let records = Records::build(end, 1, 0, false, values.iter().map(|value| &value[..]));
        end = records.end;
        let head = RecordBatch::read(&records.bytes).expect("a batch");
        MetadataBatch { head: BatchView::from(&head), records }
    };
    content.iter().map(batch).collect()
}

fn prefix(batches: &[MetadataBatch]) -> Prefix<'_> {
    let end = batches.last().map_or(Offset::ZERO, |last| last.head.end);
    Prefix { node: 1, base: Image::default(), batches, end }
}

fn judged(content: &[Vec<Record>], snapshots: &[Placed<'_>]) -> Report {
    let mut report = Report::about(&[("metadata", rows())]);
    judge(prefix(&batches(content)), snapshots, &mut report);
    report
}

fn broken(report: &Report) -> Vec<(&'static str, &str)> {
    let broken = report.promises.iter().filter(|row| row.verdict == Verdict::Broken);
    broken.map(|row| (row.promise, &row.stories[0][..])).collect()
}

fn folded(content: &[Vec<Record>]) -> Image {
    prefix(&batches(content)).fold(|_, _| ()).expect("it folds")
}

#[test]
fn what_is_sound_holds_and_counts_its_images_and_snapshots() {
    let content = sound();
    let (early, late) = (folded(&content[..1]), folded(&content));
    let report = judged(&content, &[(2, &early), (3, &late)]);
    for row in &report.promises {
        assert_eq!(row.verdict, Verdict::Holds, "{}: {:?}", row.promise, row.stories);
    }
    let counts = |name| report.promises.iter().find(|row| row.promise == name).map(|it| it.judged);
    let images = counts("every partition is sound by itself");
    assert_eq!([counts(FITS), counts(FOLD), images], [Some(4), Some(2), Some(4)]);
}

#[test]
fn a_fenced_member_of_an_isr_is_seen_where_it_came_to_be() {
    let mut content = sound();
    content.extend([vec![fence(2, 1)], vec![register(3)]]);
    let report = judged(&content, &[]);
    let broken = broken(&report);
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert_eq!(broken[0].0, "the ISR holds active brokers only");
    assert!(broken[0].1.starts_with("node 1 at offset 4: ") && broken[0].1.contains("orders"));
}

/// The image of what is sound, with something wrong about it.
fn edited(edit: impl Fn(&mut Image)) -> Image {
    let mut image = folded(&sound());
    edit(&mut image);
    image
}

fn with_partition(edit: impl Fn(&mut Partition)) -> Image {
    edited(|image| {
        let topic = image.topics.get_mut(&ID.topic).expect("orders is there");
        edit(&mut Arc::make_mut(topic).partitions[0]);
    })
}

fn with_broker(edit: impl Fn(&mut Broker)) -> Image {
    edited(|image| {
        let broker = image.brokers.get_mut(&NodeId(2)).expect("broker 2 is there");
        edit(Arc::make_mut(broker));
    })
}

fn broken_by(before: &Image, after: &Image) -> Vec<&'static str> {
    let mut report = Report::about(&[("metadata", rows())]);
    judge_step(1, before, after, &mut report);
    broken(&report).iter().map(|(name, _)| *name).collect()
}

#[test]
fn each_property_of_an_image_has_its_row() {
    let three = [NodeId(1), NodeId(2), NodeId(3)].into_iter().collect();
    let spare = [NodeId(3)].into_iter().collect();
    let wrong = [
        with_partition(|it| it.leader = None),
        with_broker(|it| it.fenced = true),
        with_partition(|it| (it.replicas, it.elr) = (three, spare)),
        with_broker(|it| it.epoch = BrokerEpoch(0)),
        with_broker(|it| it.directories = vec![DirectoryId(1)]),
        edited(|image| image.topic_ids = [(Arc::from("other"), ID.topic)].into()),
    ];
    assert_eq!(wrong.len(), IMAGE.len());
    for ((name, _), image) in IMAGE.iter().zip(&wrong) {
        assert_eq!(broken_by(image, image), [*name]);
    }
}

#[test]
fn each_property_of_a_step_has_its_row() {
    let epochs = |leader, own| {
        with_partition(|it| (it.leader_epoch.0, it.partition_epoch.0) = (leader, own))
    };
    let led_by_two = |leader, own| {
        let mut image = epochs(leader, own);
        let topic = image.topics.get_mut(&ID.topic).expect("orders is there");
        Arc::make_mut(topic).partitions[0].leader = Some(NodeId(2));
        image
    };
    let steps = [
        (epochs(2, 2), epochs(1, 2)),
        (epochs(1, 1), led_by_two(1, 2)),
        (
            epochs(1, 1),
            with_partition(|it| {
                (it.leader_epoch.0, it.partition_epoch.0) = (1, 1);
                it.isr = [NodeId(1)].into_iter().collect();
            }),
        ),
        (with_broker(|it| it.epoch = BrokerEpoch(3)), folded(&sound())),
        (edited(|image| image.next_producer_id = 1_000), folded(&sound())),
    ];
    assert_eq!(steps.len(), PROGRESS.len());
    for ((name, _), (before, after)) in PROGRESS.iter().zip(&steps) {
        // A step back is a change under the same epoch as well.
        assert_eq!(broken_by(before, after).first(), Some(name));
    }
}

#[test]
fn a_record_that_does_not_fit_is_seen() {
    let mut content = sound();
    content.push(vec![fence(7, 1)]);
    let report = judged(&content, &[]);
    assert_eq!(broken(&report)[0].0, FITS);
    assert!(broken(&report)[0].1.starts_with("node 1 at offset 4: broker 7"), "{}", report.text());
}

#[test]
fn a_snapshot_of_something_else_is_seen() {
    let content = sound();
    let mut other = folded(&content);
    other.brokers.remove(&NodeId(2));
    let report = judged(&content, &[(3, &other)]);
    let broken = broken(&report);
    assert_eq!(broken[0].0, FOLD);
    for part in ["node 3 at offset 4", "node 1", "RegisterBroker"] {
        assert!(broken[0].1.contains(part), "{part} in {}", broken[0].1);
    }
}
