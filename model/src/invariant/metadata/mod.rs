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

#[cfg(test)]
pub(crate) mod tests;
