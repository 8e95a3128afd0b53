//! Which replicas of which partitions are looked at, up to which high watermark, and whose verdict counts.
//!
//! ```text
//! image ──▶ high watermarks ──▶ logs ──▶ image again
//! ```
//!
//! A verdict counts for a partition whose registration is the same in both images: whoever may be elected
//! by it might all the while. What moved on meanwhile is looked at again, a few times.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kraft_model::invariant::replica::{electable, isr_is_active};
use kraft_model::metadata::{Image, Partition};
use kraft_model::{NodeId, Offset, TopicPartition};
use kraft_node::storage::Depth;

use super::data::{ACTIVE, Judged, Subject};
use super::homes::{Homes, homes, replica};
use super::metadata::Prefix;
use super::quorum::reference;
use super::report::Report;
use super::sight::{Known, Place, Sight, look};
use super::watermarks::high_watermarks;
use crate::report::Failure;

/// How often what has moved on is looked at again, and how late at the latest.
const ROUNDS: usize = 4;
const LONGEST: Duration = Duration::from_secs(10);

const MOVED: &str = "moved on while it was looked at: its leader or its ISR changed";

/// A partition, or why nothing was found out about it this time.
type Found = Result<Judged, String>;

/// Judges the data of the partitions in the image that `sight` comes to.
pub async fn judge(
    place: Place<'_>,
    depth: Depth,
    sight: &Sight,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut running = sight.running.clone();
    let mut before = match image(sight) {
        Ok(image) => image,
        Err(why) => {
            report.cannot_judge("partitions", why);
            return Ok(());
        }
    };
    let mut left: Vec<TopicPartition> = before.partitions().map(|(id, _)| id).collect();
    let mut unjudged = BTreeMap::new();
    let began = Instant::now();
    for _ in 0..ROUNDS {
        let found = round(place, depth, &before, &running, &left).await;
        let sight = look(place).await?;
        let after = match image(&sight) {
            Ok(image) => image,
            Err(why) => {
                unjudged.extend(left.iter().map(|id| (*id, why.clone())));
                break;
            }
        };
        left.clear();
        for (id, found) in found {
            let is_same = before.partition(id).is_some_and(|was| stands(was, after.partition(id)));
            match found {
                Ok(judged) if is_same => {
                    unjudged.remove(&id);
                    judged.add_to(report);
                }
                _ if after.partition(id).is_none() => {
                    unjudged.remove(&id);
                }
                Ok(_) => {
                    unjudged.insert(id, MOVED.to_owned());
                    left.push(id);
                }
                Err(why) => {
                    unjudged.insert(id, why);
                    left.push(id);
                }
            }
        }
        (before, running) = (after, sight.running);
        if left.is_empty() || began.elapsed() > LONGEST {
            break;
        }
    }
    for (id, why) in unjudged {
        report.cannot_judge(name(&before, id), why);
    }
    judge_active(&before, report);
    Ok(())
}

/// The registration has not changed: nobody began to lead, and nobody came to the ISR or left it.
fn stands(was: &Partition, is: Option<&Partition>) -> bool {
    is.is_some_and(|is| was.partition_epoch == is.partition_epoch)
}

fn judge_active(image: &Image, report: &mut Report) {
    for (id, partition) in image.partitions() {
        let story = || format!("{}: its ISR is {:?}", name(image, id), partition.isr);
        report.judge(ACTIVE, 1, (!isr_is_active(partition, image)).then(story));
    }
}

fn name(image: &Image, id: TopicPartition) -> String {
    match image.topic(id.topic) {
        Some(topic) => format!("{}-{}", topic.name, id.partition),
        None => format!("{}-{}", id.topic, id.partition),
    }
}

/// The image of what is committed, or what everything committed is below.
fn image(sight: &Sight) -> Result<Image, String> {
    let end = match &sight.known {
        Known::Committed { end, .. } | Known::Settled(end) => *end,
        Known::Unknown(why) => return Err(why.clone()),
    };
    let nowhere = || format!("no metadata log that could be read reaches {end}");
    let of = reference(&sight.witnesses(), &sight.voters(end), end).ok_or_else(nowhere)?;
    let seen = sight.nodes.iter().find(|seen| seen.witness.id == of.id).ok_or_else(nowhere)?;
    let prefix = Prefix::of(seen, end).ok_or_else(nowhere)?;
    prefix.fold(|_, _| ()).map_err(|story| format!("the metadata cannot be replayed: {story}"))
}

/// Looks at the replicas of these partitions.
async fn round(
    place: Place<'_>,
    depth: Depth,
    image: &Image,
    running: &[i32],
    wanted: &[TopicPartition],
) -> Vec<(TopicPartition, Found)> {
    let homes = homes(place, running);
    let high_watermarks = high_watermarks(image, &homes, wanted).await;
    let looked = wanted.iter().map(|id| {
        let high_watermark = high_watermarks.get(id).cloned();
        let unknown = || Err("its leader does not tell its high watermark".to_owned());
        let found = high_watermark.unwrap_or_else(unknown).and_then(|high_watermark| {
            let subject = subject(image, &homes, *id, high_watermark, depth)?;
            subject.judge().map_err(|(node, error)| format!("node {node}: {error}"))
        });
        (*id, found)
    });
    looked.collect()
}

fn subject(
    image: &Image,
    homes: &Homes<'_>,
    id: TopicPartition,
    high_watermark: Offset,
    depth: Depth,
) -> Result<Subject, String> {
    let gone = || MOVED.to_owned();
    let (topic, partition) = image.topic(id.topic).zip(image.partition(id)).ok_or_else(gone)?;
    let mut members: Vec<NodeId> = electable(partition).to_vec();
    members.sort_by_key(|member| Some(*member) != partition.leader);
    if members.is_empty() {
        return Err("nobody is left who may be elected".to_owned());
    }
    let of_topic = |member: &NodeId| replica(homes, *member, &topic.name, id, depth);
    let (mut replicas, mut unjudged) = (Vec::new(), Vec::new());
    for member in &members {
        match of_topic(member) {
            Ok(replica) => replicas.push(replica),
            Err(why) => unjudged.push(why),
        }
    }
    if replicas.is_empty() {
        return Err(unjudged.join("; "));
    }
    Ok(Subject { name: name(image, id), high_watermark, replicas, unjudged })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kraft_model::TopicId;
    use kraft_model::metadata::Topic;

    use super::super::data::rows;
    use super::*;

    #[test]
    fn a_member_that_is_not_active_is_seen_and_named() {
        let isr = [NodeId(4)].into_iter().collect();
        let partitions = vec![Partition { replicas: isr, isr, ..Partition::default() }];
        let (id, name) = (TopicId(1), Arc::from("orders"));
        let mut image = Image::default();
        image.topics.insert(id, Arc::new(Topic { id, name, partitions }));
        let mut report = Report::about(&[("data", rows())]);
        judge_active(&image, &mut report);
        assert!(report.is_broken());
        assert!(report.text().contains("orders-0: its ISR is [4]"), "{}", report.text());
    }

    #[test]
    fn a_verdict_counts_only_for_the_registration_that_it_was_found_under() {
        let at = |epoch| Partition {
            partition_epoch: kraft_model::PartitionEpoch(epoch),
            ..Partition::default()
        };
        assert!(stands(&at(3), Some(&at(3))));
        assert!(!stands(&at(3), Some(&at(4))) && !stands(&at(3), None));
    }
}
