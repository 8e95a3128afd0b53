//! The judge is judged: each property is shown something that breaks it and it alone.

use std::sync::Arc;

use super::*;
use crate::inline::Nodes;
use crate::metadata::{Broker, Topic};
use crate::{DirectoryId, Incarnation, LeaderEpoch, Offset, TopicId};

fn nodes(ids: &[i32]) -> Nodes {
    ids.iter().map(|&id| NodeId(id)).collect()
}

pub(crate) fn sound() -> Partition {
    let (replicas, isr) = (nodes(&[1, 2, 3]), nodes(&[1, 2]));
    Partition { replicas, isr, leader: Some(NodeId(1)), ..Partition::default() }
}

fn broker(id: i32) -> Broker {
    Broker {
        id: NodeId(id),
        epoch: BrokerEpoch(i64::from(id)),
        incarnation: Incarnation(1),
        endpoints: Vec::new(),
        features: Vec::new(),
        rack: None,
        directories: vec![DirectoryId(id as u128)],
        fenced: false,
        in_controlled_shutdown: false,
    }
}

pub(crate) fn image(partition: Partition) -> Image {
    let (id, name): (_, Arc<str>) = (TopicId(1), Arc::from("orders"));
    let topic = Topic { id, name: name.clone(), partitions: vec![partition] };
    Image {
        end: Offset(10),
        brokers: (1..=3).map(|id| (NodeId(id), Arc::new(broker(id)))).collect(),
        topics: [(id, Arc::new(topic))].into(),
        topic_ids: [(name, id)].into(),
        ..Image::default()
    }
}

fn with_broker(edit: impl Fn(&mut Broker)) -> Image {
    let mut image = image(sound());
    let mut second = broker(2);
    edit(&mut second);
    image.brokers.insert(NodeId(2), Arc::new(second));
    image
}

#[test]
fn what_is_sound_breaks_nothing() {
    assert_eq!(broken_by(&sound()), None);
    assert_eq!(broken(&image(sound())), None);
    assert_eq!(broken_between(&image(sound()), &image(sound())), None);
}

/// What breaks each property of a partition, in their order.
pub(crate) fn broken_partitions() -> Vec<Partition> {
    let leaderless = Partition { leader: None, isr: nodes(&[]), ..sound() };
    vec![
        Partition { adding: nodes(&[3, 3]), ..sound() },
        Partition { isr: nodes(&[1, 4]), ..sound() },
        Partition { elr: nodes(&[4]), ..sound() },
        Partition { elr: nodes(&[2]), ..sound() },
        Partition { leader: Some(NodeId(3)), ..sound() },
        Partition { leader: None, ..sound() },
        Partition { last_known_elr: nodes(&[1, 2]), ..leaderless },
        Partition { removing: nodes(&[4]), ..sound() },
        Partition { recovering: true, ..sound() },
    ]
}

/// The same for each property of an image.
pub(crate) fn broken_images() -> Vec<Image> {
    let mut renamed = image(sound());
    renamed.topic_ids = [(Arc::from("other"), TopicId(1))].into();
    vec![
        image(Partition { isr: nodes(&[4]), leader: Some(NodeId(4)), ..sound() }),
        with_broker(|broker| broker.fenced = true),
        image(Partition { elr: nodes(&[3]), ..sound() }),
        with_broker(|broker| broker.epoch = BrokerEpoch(1)),
        with_broker(|broker| broker.directories = vec![DirectoryId(1)]),
        renamed,
    ]
}

/// The same for each property of progress.
pub(crate) fn broken_progress() -> Vec<(Image, Image)> {
    let at = |leader_epoch, partition_epoch| Partition {
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: crate::PartitionEpoch(partition_epoch),
        ..sound()
    };
    let led_by = |leader, epochs| image(Partition { leader: Some(NodeId(leader)), ..epochs });
    let ids = |next_producer_id| Image { next_producer_id, ..image(sound()) };
    vec![
        (image(at(2, 2)), image(at(1, 2))),
        (led_by(1, at(1, 1)), led_by(2, at(1, 2))),
        (image(at(1, 1)), image(Partition { isr: nodes(&[1]), ..at(1, 1) })),
        (with_broker(|_| ()), with_broker(|broker| broker.epoch = BrokerEpoch(0))),
        (ids(1_000), ids(0)),
    ]
}

#[test]
fn every_property_of_a_partition_catches_what_breaks_it() {
    let broken = broken_partitions();
    for ((name, _), partition) in PARTITION.iter().zip(&broken) {
        assert_eq!(broken_by(partition), Some(*name));
    }
    assert_eq!(PARTITION.len(), broken.len());
}

#[test]
fn every_property_of_an_image_catches_what_breaks_it() {
    let images = broken_images();
    for ((name, _), image) in IMAGE.iter().zip(&images) {
        assert_eq!(broken(image), Some(*name));
    }
    assert_eq!(IMAGE.len(), images.len());
}

#[test]
fn every_property_of_progress_catches_what_breaks_it() {
    let steps = broken_progress();
    for ((name, _), (before, after)) in PROGRESS.iter().zip(&steps) {
        assert_eq!(broken_between(before, after), Some(*name));
    }
    assert_eq!(PROGRESS.len(), steps.len());
}

fn led_by(before: Partition, leader: i32) -> Partition {
    Partition { leader: Some(NodeId(leader)), ..before }
}

#[test]
fn an_election_is_sound_only_among_those_who_hold_everything() {
    let was = Partition { elr: nodes(&[3]), ..sound() };
    assert!(
        elected_soundly(&was, &was, &[], &[]) && elected_soundly(&was, &led_by(was, 2), &[], &[])
    );
    assert!(elected_soundly(&was, &led_by(was, 3), &[], &[]));
    let stranger = led_by(was, 4);
    assert!(!elected_soundly(&was, &stranger, &[], &[]));
    assert!(elected_soundly(&was, &stranger, &[NodeId(4)], &[]));
}

#[test]
fn the_last_known_leader_comes_back_recovering_and_only_when_nobody_else_is_left() {
    let none = Nodes::new();
    let left = Partition { isr: none, leader: None, last_known_elr: nodes(&[2]), ..sound() };
    let back = Partition { recovering: true, ..led_by(left, 2) };
    assert!(elected_soundly(&left, &back, &[], &[]));
    assert!(!elected_soundly(&left, &led_by(left, 2), &[], &[]));
    assert!(!elected_soundly(&left, &led_by(back, 1), &[], &[]));
    let with_elr = Partition { elr: nodes(&[1]), ..left };
    assert!(!elected_soundly(&with_elr, &back, &[], &[]));
    assert!(elected_soundly(&with_elr, &back, &[], &[NodeId(1)]));
}

#[test]
fn a_reassignment_is_finished_only_in_sync() {
    let was = Partition { adding: nodes(&[3]), ..sound() };
    let both = sound();
    let one = Partition { isr: nodes(&[1]), ..sound() };
    assert!(finished_in_sync(&was, &both, 2));
    assert!(!finished_in_sync(&was, &one, 2) && finished_in_sync(&was, &was, 3));
}

#[test]
fn who_leaves_a_short_isr_without_a_trace_is_seen() {
    let (before, one) = (sound(), Partition { isr: nodes(&[1]), ..sound() });
    let kept = Partition { elr: nodes(&[2]), ..one };
    assert!(electable_stay(&before, &kept, 2, &[]));
    assert!(!electable_stay(&before, &one, 2, &[]));
    assert!(electable_stay(&before, &one, 1, &[]));
    assert!(electable_stay(&before, &one, 2, &[NodeId(2)]));
}

#[test]
fn holders_that_are_dropped_for_too_few_are_seen() {
    let (before, isr) = (sound(), nodes(&[1]));
    let of = |replicas: &[i32]| Partition { replicas: nodes(replicas), isr, ..sound() };
    assert!(enough_are_left(&before, &of(&[1, 3]), 1));
    assert!(!enough_are_left(&before, &of(&[1, 3]), 2));
    assert!(enough_are_left(&before, &Partition { isr: before.isr, ..of(&[1, 2]) }, 2));
}

#[test]
fn who_stops_while_it_is_needed_is_seen() {
    let fenced = with_broker(|broker| broker.fenced = true);
    let second = BrokerEpoch(2);
    assert!(may_stop(&fenced, NodeId(2), second));
    assert!(!may_stop(&with_broker(|_| {}), NodeId(2), second));
    let leads = Image { brokers: fenced.brokers.clone(), ..image(led_by(sound(), 2)) };
    assert!(!may_stop(&leads, NodeId(2), second));
}

#[test]
fn a_record_moves_the_partition_epoch_by_one_and_the_leader_epoch_by_naming() {
    let at = |leader, own| Partition {
        leader_epoch: LeaderEpoch(leader),
        partition_epoch: crate::PartitionEpoch(own),
        ..sound()
    };
    let was = at(1, 1);
    assert!(epochs_move_by_one(&was, &at(1, 2)) && epochs_move_by_one(&was, &at(2, 2)));
    assert!(!epochs_move_by_one(&was, &at(1, 3)) && !epochs_move_by_one(&was, &was));
    assert!(!epochs_move_by_one(&was, &led_by(at(1, 2), 2)));
}
