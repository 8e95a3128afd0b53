//! The metadata's promises: the committed records fold into images that are sound, each and one after
//! the other, and into those that snapshots have.

use kraft_model::Offset;
use kraft_model::invariant::metadata::{IMAGE, PROGRESS};
use kraft_model::invariant::quorum::snapshot_is_a_fold;
use kraft_model::invariant::steps::Steps;
use kraft_model::metadata::{Image, Record};
use kraft_node::peer::record::decode_batch;
use kraft_node::storage::MetadataBatch;

use super::report::{Report, Row};
use super::sight::Seen;

const FITS: &str = "a committed record fits the metadata before it";
const FOLD: &str = "an image is the fold of what is committed";

pub fn rows() -> Vec<Row> {
    let of_images = IMAGE.iter().map(|(name, _)| (*name, "images"));
    let of_steps = PROGRESS.iter().map(|(name, _)| (*name, "steps"));
    [(FITS, "records"), (FOLD, "snapshots")].into_iter().chain(of_images).chain(of_steps).collect()
}

/// The image at a snapshot's end, and whose snapshot it is.
pub type Placed<'a> = (i32, &'a Image);

/// A committed prefix, to be folded: what a node's oldest snapshot says, if its log does not go back to
/// the first record, and the batches that follow.
#[derive(Clone, Debug)]
pub struct Prefix<'a> {
    node: i32,
    base: Image,
    batches: &'a [MetadataBatch],
    end: Offset,
}

impl<'a> Prefix<'a> {
    /// What `seen` has below `end`; `None` where its log begins behind all of its snapshots.
    pub fn of(seen: &'a Seen, end: Offset) -> Option<Prefix<'a>> {
        let base = match seen.log.start {
            Offset::ZERO => Image::default(),
            start => seen.snapshots.iter().find(|(id, _)| id.end >= start)?.1.clone(),
        };
        Some(Prefix { node: seen.witness.id, base, batches: &seen.log.batches, end })
    }

    /// The image at its end; every other one is shown to `visit` with the records that led to it.
    ///
    /// # Errors
    /// The story of a record that cannot be read, or does not fit.
    pub fn fold(self, mut visit: impl FnMut(&Image, &[Record])) -> Result<Image, String> {
        let Prefix { node, base: mut image, batches, end } = self;
        visit(&image, &[]);
        for batch in batches {
            let head = batch.head;
            if head.base < image.end || head.end > end {
                continue;
            }
            let story = |problem: String| format!("node {node} at offset {}: {problem}", head.base);
            let records = decode_batch(&batch.records).map_err(|it| story(it.to_string()))?;
            for (index, record) in (0..).zip(&records) {
                let replayed = image.replay(head.base.plus(index), record);
                replayed.map_err(|error| story(format!("{error}: {record:?}")))?;
            }
            image.end = head.end;
            visit(&image, &records);
        }
        Ok(image)
    }
}

/// Folds the prefix, judges every image on the way, and compares those that a snapshot has as well.
pub fn judge(prefix: Prefix<'_>, snapshots: &[Placed<'_>], report: &mut Report) {
    let node = prefix.node;
    let mut steps: Option<Steps> = None;
    let folded = prefix.fold(|image, records| {
        match &mut steps {
            None => {
                if image.end > Offset::ZERO {
                    judge_image(node, image, report);
                }
                steps = Some(Steps::from(image.clone()));
            }
            Some(steps) if !records.is_empty() => {
                report.judge(FITS, records.len() as u64, None);
                let (before, after) = steps.follow(records, image);
                judge_step(node, &before, &after, report);
            }
            Some(_) => {}
        }
        for (owner, placed) in snapshots.iter().filter(|(_, placed)| placed.end == image.end) {
            let same =
                snapshot_is_a_fold(std::slice::from_ref(*placed), std::slice::from_ref(image));
            report.judge(FOLD, 1, (!same).then(|| differ(*owner, placed, node, image)));
        }
    });
    match folded {
        Ok(image) => judge_image(node, &image, report),
        Err(story) => report.judge(FITS, 1, Some(story)),
    }
}

/// The whole image, at the end.
fn judge_image(node: i32, image: &Image, report: &mut Report) {
    for (name, holds) in IMAGE {
        report.judge(name, 1, (!holds(image)).then(|| where_broken(node, image, name)));
    }
}

/// As much of both images as the step can have changed.
fn judge_step(node: i32, before: &Image, after: &Image, report: &mut Report) {
    judge_image(node, after, report);
    for (name, holds) in PROGRESS {
        let story = || {
            let (was, is) = (before.end, after.end);
            format!("node {node} at offset {was}: between the images that end at {was} and at {is}")
        };
        report.judge(name, 1, (!holds(before, after)).then(story));
    }
}

/// Which partitions break the property by themselves, if it is one that can be looked at so.
fn where_broken(node: i32, image: &Image, name: &str) -> String {
    let holds = IMAGE.iter().find(|(other, _)| *other == name).map(|(_, holds)| holds);
    let alone = |topic: &std::sync::Arc<kraft_model::metadata::Topic>| Image {
        topics: [(topic.id, topic.clone())].into(),
        topic_ids: [(topic.name.clone(), topic.id)].into(),
        ..image.clone()
    };
    let culprits = image.topics.values().filter(|topic| holds.is_some_and(|it| !it(&alone(topic))));
    let culprits: Vec<String> =
        culprits.take(3).map(|topic| format!("{}: {:?}", topic.name, topic.partitions)).collect();
    let at = image.end.0 - 1;
    format!("node {node} at offset {at}: in the image that ends there; {}", culprits.join("; "))
}

fn differ(owner: i32, placed: &Image, node: i32, image: &Image) -> String {
    let end = image.end;
    let (theirs, ours) = (placed.records(), image.records());
    let missing = ours.iter().find(|record| !theirs.contains(record));
    let added = theirs.iter().find(|record| !ours.contains(record));
    format!(
        "the snapshot of node {owner} at offset {end} is not what the log of node {node} comes to: it \
         has {added:?} instead of {missing:?}"
    )
}

#[cfg(test)]
mod tests;
