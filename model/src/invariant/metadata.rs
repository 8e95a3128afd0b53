//! What always holds of the metadata: of a partition by itself, of an image after a batch of
//! records, and between an image and a later one.

use std::collections::BTreeSet;

use crate::metadata::partition::{Brokers, Policy};
use crate::metadata::{Image, Partition, effective_min_isr};
use crate::{BrokerEpoch, NodeId, TopicPartition};

/// A property of one partition's registration, by name.
pub type PartitionInvariant = (&'static str, fn(&Partition) -> bool);

/// A property of an image, by name.
pub type ImageInvariant = (&'static str, fn(&Image) -> bool);

/// A property of an image and any later one of the same log, by name.
pub type Progress = (&'static str, fn(&Image, &Image) -> bool);

pub const PARTITION: &[PartitionInvariant] = &[
    ("the replica lists name nobody twice", names_nobody_twice),
    ("the ISR is within the replicas", isr_within_replicas),
    ("the ELR is within the replicas", elr_within_replicas),
    ("ISR and ELR are disjoint", isr_and_elr_disjoint),
    ("the leader is in the ISR", leader_in_isr),
    ("somebody leads where somebody is in sync", led_where_in_sync),
    ("the last known leader is one replica, while nobody leads", last_known_while_leaderless),
    ("a reassignment moves replicas of the partition", reassigns_its_replicas),
    ("who recovers is alone in the ISR", recovers_alone),
];

pub const IMAGE: &[ImageInvariant] = &[
    ("every partition is sound by itself", partitions_sound),
    ("the ISR holds active brokers only", isr_active),
    ("an ISR of min.insync.replicas leaves no ELR", no_elr_above_min_isr),
    ("broker epochs are unique and below the end", broker_epochs_unique),
    ("no two brokers share a directory", directories_unique),
    ("topic names and ids are one to one", topic_names_one_to_one),
];

pub const PROGRESS: &[Progress] = &[
    ("a partition's epochs do not go back", partition_epochs_grow),
    ("another leader has another leader epoch", leader_epoch_names_leader),
    ("another registration has another partition epoch", partition_epoch_names_state),
    ("a broker's epoch does not go back", broker_epochs_grow),
    ("producer ids are not handed out twice", producer_ids_grow),
];

/// The first property that `image` breaks.
pub fn broken(image: &Image) -> Option<&'static str> {
    IMAGE.iter().find(|(_, holds)| !holds(image)).map(|&(name, _)| name)
}

/// The first property that the step from `before` to `after` breaks.
pub fn broken_between(before: &Image, after: &Image) -> Option<&'static str> {
    PROGRESS.iter().find(|(_, holds)| !holds(before, after)).map(|&(name, _)| name)
}

/// The first property that `partition` breaks by itself.
pub fn broken_by(partition: &Partition) -> Option<&'static str> {
    PARTITION.iter().find(|(_, holds)| !holds(partition)).map(|&(name, _)| name)
}

pub fn names_nobody_twice(partition: &Partition) -> bool {
    let Partition { replicas, isr, elr, adding, removing, .. } = partition;
    let is_set =
        |nodes: &[NodeId]| nodes.iter().enumerate().all(|(at, node)| !nodes[..at].contains(node));
    [replicas, isr, elr, adding, removing].iter().all(|nodes| is_set(nodes))
}

pub fn isr_within_replicas(partition: &Partition) -> bool {
    partition.isr.is_subset(&partition.replicas)
}

pub fn elr_within_replicas(partition: &Partition) -> bool {
    partition.elr.is_subset(&partition.replicas)
}

pub fn isr_and_elr_disjoint(partition: &Partition) -> bool {
    partition.isr.iter().all(|member| !partition.elr.contains(member))
}

pub fn leader_in_isr(partition: &Partition) -> bool {
    partition.leader.is_none_or(|leader| partition.isr.contains(&leader))
}

pub fn led_where_in_sync(partition: &Partition) -> bool {
    partition.isr.is_empty() || partition.leader.is_some()
}

pub fn last_known_while_leaderless(partition: &Partition) -> bool {
    let last = &partition.last_known_elr;
    last.is_empty()
        || (last.len() == 1 && last.is_subset(&partition.replicas) && partition.leader.is_none())
}

pub fn reassigns_its_replicas(partition: &Partition) -> bool {
    let Partition { replicas, adding, removing, .. } = partition;
    adding.is_subset(replicas)
        && removing.is_subset(replicas)
        && adding.iter().all(|replica| !removing.contains(replica))
        && removing.len() < replicas.len().max(1)
}

pub fn recovers_alone(partition: &Partition) -> bool {
    !partition.recovering || partition.isr.len() <= 1
}

pub fn partitions_sound(image: &Image) -> bool {
    image.partitions().all(|(_, partition)| broken_by(partition).is_none())
}

/// B5. With the leader in the ISR this holds of leaders as well.
pub fn isr_active(image: &Image) -> bool {
    image.partitions().all(|(_, partition)| partition.isr.iter().all(|&id| image.is_active(id)))
}

/// P6.
pub fn no_elr_above_min_isr(image: &Image) -> bool {
    image.topics.values().all(|topic| {
        let configured = image.policy(&topic.name, Policy { min_isr: 1, unclean: false }).min_isr;
        topic.partitions.iter().all(|partition| {
            let min_isr = effective_min_isr(configured, partition);
            partition.elr.is_empty() || partition.isr.len() < min_isr
        })
    })
}

pub fn broker_epochs_unique(image: &Image) -> bool {
    let epochs: BTreeSet<_> = image.brokers.values().map(|broker| broker.epoch).collect();
    epochs.len() == image.brokers.len() && epochs.iter().all(|epoch| epoch.0 < image.end.0)
}

pub fn directories_unique(image: &Image) -> bool {
    let all = || image.brokers.values().flat_map(|broker| &broker.directories);
    all().collect::<BTreeSet<_>>().len() == all().count()
}

pub fn topic_names_one_to_one(image: &Image) -> bool {
    image.topics.len() == image.topic_ids.len()
        && image
            .topics
            .iter()
            .all(|(id, topic)| topic.id == *id && image.topic_ids.get(&topic.name) == Some(id))
}

/// Partitions that are in both images, as they were and as they are.
fn common<'a>(
    before: &'a Image,
    after: &'a Image,
) -> impl Iterator<Item = (&'a Partition, &'a Partition)> {
    let later = |(id, was): (TopicPartition, &'a Partition)| Some((was, after.partition(id)?));
    before.partitions().filter_map(later)
}

pub fn partition_epochs_grow(before: &Image, after: &Image) -> bool {
    common(before, after).all(|(was, is)| {
        was.leader_epoch <= is.leader_epoch && was.partition_epoch <= is.partition_epoch
    })
}

pub fn leader_epoch_names_leader(before: &Image, after: &Image) -> bool {
    common(before, after)
        .all(|(was, is)| was.leader == is.leader || was.leader_epoch < is.leader_epoch)
}

/// Clearing an ELR after another min.insync.replicas is the one change without a record of the
/// partition's own.
pub fn partition_epoch_names_state(before: &Image, after: &Image) -> bool {
    common(before, after).all(|(was, is)| {
        let same = Partition { elr: is.elr, ..*was } == *is;
        same || was.partition_epoch < is.partition_epoch
    })
}

pub fn broker_epochs_grow(before: &Image, after: &Image) -> bool {
    before.brokers.iter().all(|(&id, was)| after.epoch(id).is_none_or(|epoch| was.epoch <= epoch))
}

pub fn producer_ids_grow(before: &Image, after: &Image) -> bool {
    before.next_producer_id <= after.next_producer_id
}

/// P5, of one change of a partition that nobody asked to be unclean: who begins to lead was in the
/// ISR or the ELR, or is in the ISR that the change brings (`joined`). Where neither has anybody
/// left but for whom the change is about because it `lost` its log, the last known leader may come
/// back, and says that it recovers.
pub fn elected_soundly(
    before: &Partition,
    after: &Partition,
    joined: &[NodeId],
    lost: &[NodeId],
) -> bool {
    let Some(leader) = after.leader.filter(|_| before.leader != after.leader) else { return true };
    let holds = [&before.isr[..], &before.elr[..], joined].iter().any(|it| it.contains(&leader));
    let nobody_does = before.isr.is_subset(lost) && before.elr.is_subset(lost);
    holds || (nobody_does && before.last_known_elr[..] == [leader] && after.recovering)
}

/// P7, of one change of a partition that does not call a reassignment off.
pub fn finished_in_sync(before: &Partition, after: &Partition, min_isr: i32) -> bool {
    let finishes = before.is_reassigning() && !after.is_reassigning();
    !finishes || after.isr.len() >= effective_min_isr(min_isr, after)
}

/// P6, of one change while the ISR is below min.insync.replicas: whoever was electable stays so, but for
/// those who `lost` their log or are replicas no longer. An unclean leader begins anew.
pub fn electable_stay(
    before: &Partition,
    after: &Partition,
    min_isr: i32,
    lost: &[NodeId],
) -> bool {
    let is_short = after.isr.len() < effective_min_isr(min_isr, after);
    let stays = |node: &NodeId| after.isr.contains(node) || after.elr.contains(node);
    let mut held = before.isr.iter().chain(before.elr.iter());
    let answers = |node: &NodeId| after.replicas.contains(node) && !lost.contains(node);
    !is_short || after.recovering || held.all(|node| !answers(node) || stays(node))
}

/// P7, of one change: replicas that hold everything are dropped only if min.insync.replicas others do
/// as well.
pub fn enough_are_left(before: &Partition, after: &Partition, min_isr: i32) -> bool {
    let is_electable = |node: &NodeId| before.isr.contains(node) || before.elr.contains(node);
    let dropped = before.replicas.without(&after.replicas);
    let rest = Partition { replicas: before.replicas.without(&dropped), ..*after };
    let left = after.isr.len() + after.elr.len();
    !dropped.iter().any(is_electable) || left >= effective_min_isr(min_isr, &rest)
}

/// B2, B4: a broker that is told to stop is fenced, or registered no longer, and leads nothing.
pub fn may_stop(image: &Image, broker: NodeId, epoch: BrokerEpoch) -> bool {
    let registered = image.brokers.get(&broker).filter(|it| it.epoch == epoch);
    let leads = |partition: &Partition| partition.leader == Some(broker);
    registered.is_none_or(|it| it.fenced)
        && (registered.is_none() || !image.partitions().any(|(_, partition)| leads(partition)))
}

/// P2, of one record.
pub fn epochs_move_by_one(before: &Partition, after: &Partition) -> bool {
    let leader_epoch = after.leader_epoch.0 - before.leader_epoch.0;
    after.partition_epoch == before.partition_epoch.next()
        && (leader_epoch == 1 || (leader_epoch == 0 && before.leader == after.leader))
}

/// The judge is judged: each property is shown something that breaks it and it alone.
#[cfg(test)]
pub(crate) mod tests {
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
            elected_soundly(&was, &was, &[], &[])
                && elected_soundly(&was, &led_by(was, 2), &[], &[])
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
}
