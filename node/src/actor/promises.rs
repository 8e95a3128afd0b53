//! Debug builds hold the machines to their promises while they run: the functions of
//! `model/src/invariant` that the checkers call look at every step here too, and a process that has
//! broken one stops (`Stop::Fatal`). A release build has none of it.

use kraft_model::invariant::metadata::{broken, broken_between};
use kraft_model::invariant::quorum::{
    high_watermark_rises, promises_kept, reaches_what_is_committed,
};
use kraft_model::invariant::replica::leader_stands;
use kraft_model::invariant::steps::Steps;
use kraft_model::metadata::{Event, Image, Record};
use kraft_model::raft::Quorum;
use kraft_model::replica::Replica;
use kraft_model::{Epoch, LeaderEpoch, NodeId, Offset, Shipped};

/// A constant: what hangs on it is not there in a release build.
const LOOKS: bool = cfg!(debug_assertions);

/// What the metadata that this node replays has promised.
#[derive(Debug, Default)]
pub struct Metadata {
    steps: Steps,
    next: Next,
}

/// What the controller's machine is about to do to the committed image.
#[derive(Debug, Default)]
enum Next {
    #[default]
    Nothing,
    Replace,
    Replay(Vec<Record>),
}

impl Metadata {
    /// Before a step of the controller's machine.
    pub fn expect(&mut self, event: &Event) {
        self.next = match event {
            Event::Committed { records, .. } if LOOKS => Next::Replay(records.clone()),
            Event::Loaded(_) if LOOKS => Next::Replace,
            _ => Next::Nothing,
        };
    }

    /// After it: the promise that `image`, the committed one, breaks. Of a batch only what it has
    /// changed is judged, so that replaying a long log costs no more for it.
    pub fn broken(&mut self, image: &Image) -> Option<&'static str> {
        match std::mem::take(&mut self.next) {
            Next::Nothing => None,
            Next::Replace => {
                self.steps = Steps::from(image.clone());
                broken(image)
            }
            Next::Replay(records) => {
                let (before, after) = self.steps.follow(&records, image);
                broken(&after).or_else(|| broken_between(&before, &after))
            }
        }
    }
}

/// What a node of the quorum has promised up to some step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuorumStands {
    vote: (Epoch, Option<NodeId>),
    high_watermark: Offset,
}

impl QuorumStands {
    pub fn of(quorum: &Quorum<Shipped>) -> QuorumStands {
        QuorumStands {
            vote: (quorum.epoch(), quorum.vote().map(|vote| vote.id)),
            high_watermark: quorum.high_watermark(),
        }
    }

    /// The promise that is broken now that the node stands as `after` and its log ends at `end`.
    pub fn broken(self, after: QuorumStands, end: Offset) -> Option<&'static str> {
        let watermark = |it: QuorumStands| usize::try_from(it.high_watermark.0).unwrap_or_default();
        if !LOOKS {
            None
        } else if !promises_kept(self.vote, after.vote) {
            Some("epochs never fall, and a vote is given once in an epoch")
        } else if !high_watermark_rises(watermark(self), watermark(after)) {
            Some("the high watermark never falls")
        } else if !reaches_what_is_committed(end, after.high_watermark) {
            Some("a node takes nothing for committed that its log does not reach")
        } else {
            None
        }
    }
}

/// What a replica has promised up to some step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicaStands {
    led_in: Option<LeaderEpoch>,
    high_watermark: Offset,
}

impl ReplicaStands {
    pub fn of(replica: &Replica<Shipped>) -> ReplicaStands {
        ReplicaStands {
            led_in: replica.is_leader().then(|| replica.leader_epoch()),
            high_watermark: replica.high_watermark(),
        }
    }

    /// The promise that is broken now that the replica stands as `after`.
    pub fn broken(self, after: ReplicaStands) -> Option<&'static str> {
        let stands =
            leader_stands((self.led_in, self.high_watermark), (after.led_in, after.high_watermark));
        (LOOKS && !stands).then_some("a leader's high watermark does not go back")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kraft_model::metadata::{Partition, PartitionChange, Topic};
    use kraft_model::{PartitionEpoch, TopicId, TopicPartition};

    use super::*;

    const ID: TopicPartition = TopicPartition { topic: TopicId(1), partition: 0 };

    fn image(end: i64, partitions: Vec<Partition>) -> Image {
        let (id, name): (_, Arc<str>) = (ID.topic, Arc::from("orders"));
        let topic = Topic { id, name: name.clone(), partitions };
        Image {
            end: Offset(end),
            topics: [(id, Arc::new(topic))].into(),
            topic_ids: [(name, id)].into(),
            ..Image::default()
        }
    }

    /// Of a partition without a leader, which is sound.
    fn at(partition_epoch: i32) -> Partition {
        let replicas = [NodeId(1), NodeId(2)].into_iter().collect();
        let partition_epoch = PartitionEpoch(partition_epoch);
        Partition { replicas, partition_epoch, ..Partition::default() }
    }

    fn change() -> Event {
        let change = PartitionChange { id: ID, ..PartitionChange::default() };
        let records = vec![Record::PartitionChange(change)];
        Event::Committed { base: Offset(4), records, end: Offset(5) }
    }

    fn loaded(image: &Image) -> Metadata {
        let mut promises = Metadata::default();
        promises.expect(&Event::Loaded(Box::new(image.clone())));
        assert_eq!(promises.broken(image), None);
        promises
    }

    #[test]
    fn a_broken_image_has_a_reason_however_it_came_about() {
        let led_by_a_stranger = Partition { leader: Some(NodeId(3)), ..at(2) };
        let wrong = image(5, vec![led_by_a_stranger]);
        let reason = Some("every partition is sound by itself");
        let mut promises = Metadata::default();
        promises.expect(&Event::Loaded(Box::new(wrong.clone())));
        assert_eq!(promises.broken(&wrong), reason);
        let mut promises = loaded(&image(4, vec![at(1)]));
        promises.expect(&change());
        assert_eq!(promises.broken(&wrong), reason);
    }

    #[test]
    fn an_image_that_goes_back_has_a_reason() {
        let mut promises = loaded(&image(4, vec![at(2)]));
        promises.expect(&change());
        let reason = Some("a partition's epochs do not go back");
        assert_eq!(promises.broken(&image(5, vec![at(1)])), reason);
    }

    #[test]
    fn what_does_not_touch_the_committed_image_is_not_looked_at() {
        let mut promises = loaded(&image(4, vec![at(2)]));
        promises.expect(&Event::LostLeadership);
        assert_eq!(promises.broken(&image(5, vec![at(1)])), None);
    }

    #[test]
    fn a_quorum_that_goes_back_on_its_word_has_a_reason() {
        let stands = |epoch, vote: Option<i32>, high_watermark| QuorumStands {
            vote: (Epoch(epoch), vote.map(NodeId)),
            high_watermark: Offset(high_watermark),
        };
        let before = stands(2, Some(1), 5);
        let broken = |after, end| before.broken(after, Offset(end));
        assert_eq!(broken(stands(2, Some(1), 6), 6), None);
        assert_eq!(broken(stands(3, None, 5), 5), None);
        let broken_as = |after, end, reason: &str| {
            assert!(broken(after, end).is_some_and(|it| it.starts_with(reason)), "{after:?}");
        };
        broken_as(stands(1, None, 5), 5, "epochs never fall");
        broken_as(stands(2, Some(2), 5), 5, "epochs never fall, and a vote");
        broken_as(stands(2, Some(1), 4), 5, "the high watermark");
        broken_as(stands(2, Some(1), 6), 5, "a node takes nothing for committed");
    }

    #[test]
    fn a_leader_whose_high_watermark_falls_has_a_reason() {
        let stands = |led_in: Option<i32>, high_watermark| ReplicaStands {
            led_in: led_in.map(LeaderEpoch),
            high_watermark: Offset(high_watermark),
        };
        assert!(stands(Some(1), 5).broken(stands(Some(1), 4)).is_some());
        assert_eq!(stands(Some(1), 5).broken(stands(Some(2), 4)), None);
        assert_eq!(stands(None, 5).broken(stands(None, 4)), None);
    }
}
