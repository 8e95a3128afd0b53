//! Images of one log, one after the other, and as much of them as each batch can have made a
//! difference to: a running node, and whoever folds a long log, judge every image at the cost of what
//! has changed and not of all that there is.

use std::collections::BTreeSet;

use crate::TopicId;
use crate::metadata::{Image, Record, ResourceKind, Touched, touched};

/// A walk from one image to the next. What an operation decides beyond a full batch is in the next one
/// (K1), and a controller may fail over between the two: each batch is judged by itself.
#[derive(Debug, Default)]
pub struct Steps {
    /// The image that was judged last.
    before: Image,
}

impl Steps {
    /// Begins at an image that somebody else has judged.
    pub fn from(image: Image) -> Steps {
        Steps { before: image }
    }

    /// A batch has led to `after`: what is to be judged of the image before it and of this one.
    pub fn follow(&mut self, records: &[Record], after: &Image) -> (Image, Image) {
        changed(std::mem::replace(&mut self.before, after.clone()), records, after)
    }
}

/// As much of both images as `records` can have made a difference to: a topic is judged by itself, by
/// its own and the cluster's configuration, and by who is active.
fn changed(before: Image, records: &[Record], after: &Image) -> (Image, Image) {
    let mut topics = BTreeSet::new();
    for record in records {
        match touched(record) {
            Touched::Nothing | Touched::BrokerConfig(_) => {}
            Touched::Partition(id) => {
                topics.insert(id.topic);
            }
            Touched::Topic(id) => {
                topics.insert(id);
            }
            Touched::TopicConfig(name) => {
                topics.extend([&before, after].iter().filter_map(|it| it.topic_ids.get(name)));
            }
            Touched::Broker(_) | Touched::Everything => return (before, after.clone()),
        }
    }
    // Whoever had or has the name of one of them is one of them.
    let named = |id: &TopicId| [&before, after].into_iter().find_map(|it| it.topic(*id));
    let names: BTreeSet<_> = topics.iter().filter_map(named).map(|it| it.name.clone()).collect();
    let known =
        |it: &Image| names.iter().filter_map(|name| it.topic_ids.get(name).copied()).collect();
    topics.extend::<Vec<TopicId>>(known(&before));
    topics.extend::<Vec<TopicId>>(known(after));
    let part = |image: &Image| {
        let mut part = Image {
            end: image.end,
            brokers: image.brokers.clone(),
            next_producer_id: image.next_producer_id,
            ..Image::default()
        };
        let found = topics.iter().filter_map(|id| image.topics.get_key_value(id));
        part.topics.extend(found.map(|(id, topic)| (*id, topic.clone())));
        let found = names.iter().filter_map(|name| image.topic_ids.get_key_value(name));
        part.topic_ids.extend(found.map(|(name, id)| (name.clone(), *id)));
        let keys = names.iter().map(|name| (ResourceKind::Topic, name.to_string()));
        for key in keys.chain([(ResourceKind::Broker, String::new())]) {
            part.configs.extend(image.configs.get(&key).map(|it| (key, it.clone())));
        }
        part
    };
    (part(&before), part(after))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::invariant::metadata::tests::{broken_images, broken_progress, image, sound};
    use crate::invariant::metadata::{IMAGE, PROGRESS, broken, broken_between};
    use crate::metadata::config::MIN_INSYNC_REPLICAS;
    use crate::metadata::{
        BrokerRegistrationChange, ConfigRecord, Partition, PartitionChange, Topic,
    };
    use crate::{BrokerEpoch, NodeId, TopicPartition};

    /// Records of each kind that make the images of the tests what they are.
    fn of_partition() -> Record {
        let id = TopicPartition { topic: TopicId(1), partition: 0 };
        Record::PartitionChange(PartitionChange { id, ..Default::default() })
    }

    fn of_broker() -> Record {
        Record::BrokerRegistrationChange(BrokerRegistrationChange {
            broker: NodeId(2),
            epoch: BrokerEpoch(2),
            fenced: None,
            in_controlled_shutdown: None,
        })
    }

    fn of_topic() -> Record {
        Record::Topic { id: TopicId(1), name: "orders".to_owned() }
    }

    /// An image with so many topics that nothing is wrong with, beside those of `image`.
    fn among_others(mut image: Image) -> Image {
        for number in 100..110 {
            let (id, name): (_, Arc<str>) = (TopicId(number), Arc::from(format!("t{number}")));
            let topic = Topic { id, name: name.clone(), partitions: vec![sound()] };
            image.topics.insert(id, Arc::new(topic));
            image.topic_ids.insert(name, id);
        }
        image
    }

    #[test]
    fn what_a_batch_breaks_of_an_image_is_in_the_part_that_it_touches() {
        let records = [of_partition, of_broker, of_partition, of_broker, of_broker, of_topic];
        let images = broken_images();
        assert_eq!((IMAGE.len(), images.len()), (records.len(), records.len()));
        for (((name, _), found), record) in IMAGE.iter().zip(images).zip(records) {
            let mut steps = Steps::from(among_others(image(sound())));
            let (_, part) = steps.follow(&[record()], &among_others(found));
            assert_eq!(broken(&part), Some(*name));
        }
    }

    #[test]
    fn a_step_back_is_in_the_part_that_a_batch_touches() {
        let producers =
            || Record::ProducerIds { broker: NodeId(1), epoch: BrokerEpoch(1), next: 0 };
        let records = [of_partition, of_partition, of_partition, of_broker, producers];
        let found = broken_progress();
        assert_eq!((PROGRESS.len(), found.len()), (records.len(), records.len()));
        for (((name, _), (was, is)), record) in PROGRESS.iter().zip(found).zip(records) {
            let mut steps = Steps::from(among_others(was));
            let (was, is) = steps.follow(&[record()], &among_others(is));
            assert_eq!(broken_between(&was, &is), Some(*name));
        }
    }

    #[test]
    fn a_batch_is_judged_by_the_topics_that_it_touches_alone() {
        let all = among_others(image(sound()));
        let (was, is) = Steps::from(all.clone()).follow(&[of_partition()], &all);
        assert_eq!((was.topics.len(), is.topics.len(), is.topic_ids.len()), (1, 1, 1));
        assert_eq!((broken(&is), broken_between(&was, &is)), (None, None));
        let (_, is) = Steps::from(all.clone()).follow(&[of_broker()], &all);
        assert_eq!(is, all, "who is active concerns every partition");
    }

    #[test]
    fn a_second_topic_of_a_name_is_seen() {
        let before = among_others(image(sound()));
        let mut after = before.clone();
        let (id, name): (_, Arc<str>) = (TopicId(7), Arc::from("orders"));
        after.topics.insert(id, Arc::new(Topic { id, name: name.clone(), partitions: vec![] }));
        after.topic_ids.insert(name, id);
        let record = Record::Topic { id, name: "orders".to_owned() };
        let (_, part) = Steps::from(before).follow(&[record], &after);
        assert_eq!(broken(&part), Some("topic names and ids are one to one"));
    }

    #[test]
    fn a_topics_and_the_clusters_configuration_go_with_it() {
        let elr = [NodeId(3)].into_iter().collect();
        let mut all = among_others(image(Partition { elr, ..sound() }));
        let config = |kind, resource: &str, value: &str| ConfigRecord {
            kind,
            resource: resource.to_owned(),
            name: MIN_INSYNC_REPLICAS.to_owned(),
            value: Some(value.to_owned()),
        };
        let sets =
            [config(ResourceKind::Topic, "orders", "3"), config(ResourceKind::Broker, "", "3")];
        for set in sets {
            let mut after = all.clone();
            let record = Record::Config(set);
            after.replay(after.end, &record).expect("configuration fits");
            let (_, is) = Steps::from(all.clone()).follow(&[record], &after);
            assert_eq!(broken(&is), None, "an ELR beside a short ISR");
            let (_, is) = Steps::from(after.clone()).follow(&[of_partition()], &after);
            assert_eq!(broken(&is), None, "whichever record it is");
        }
        all.configs.clear();
        let (_, is) = Steps::from(all.clone()).follow(&[of_partition()], &all);
        assert_eq!(broken(&is), Some("an ISR of min.insync.replicas leaves no ELR"));
    }
}
