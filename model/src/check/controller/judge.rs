//! What must hold of the controller, and the judgement of every step by it.

use crate::invariant::metadata as promise;
use crate::metadata::{Image, Partition, Record};
use crate::{NodeId, TopicPartition};

use super::state::Happened;

/// Nothing, or the promise that a step broke.
pub type Verdict = Result<(), &'static str>;

pub const FOLD: &str = "the committed image is the fold of what is committed";
pub const SNAPSHOT: &str = "a snapshot replays to the image that it was taken of";
pub const REVERTS: &str = "after losing leadership nothing is left but what is committed";
pub const RELEASED: &str = "an answer waits for the commit of what it rests on";
pub const UNBROKEN: &str = "the controller finds no promise of its own broken";
pub const ELECTED: &str = "only ISR or ELR members are elected unless it was asked for";
pub const FINISHED: &str = "a reassignment finishes with min.insync.replicas in sync";
pub const NEXT_EPOCH: &str = "every record of a partition moves its epochs by one";
pub const BLOCKS: &str = "no producer id is handed out twice";
pub const STOPS: &str = "who is told to stop is fenced, and leads nothing";
pub const LOST: &str = "no leader misses an acknowledged record";
pub const HOLDS: &str = "every electable replica holds every acknowledged record";

/// Every promise of this model's own, with the rule behind it.
pub const OWN: &[(&str, &str)] = &[
    (FOLD, "K4: the image is a function of the committed records, in their order"),
    (SNAPSHOT, "K4: the records of a snapshot fold into the image that they were made of"),
    (REVERTS, "K2: what is not committed when leadership is lost may never be"),
    (RELEASED, "K1, K2: an answer is out only when all that the decision read is committed"),
    (UNBROKEN, "K1: what the controller appends fits the metadata before it"),
    (ELECTED, "P5: eligible is who is in the ISR, or in the ELR when the ISR is empty"),
    (FINISHED, "P7: a reassignment is complete only with min.insync.replicas members in the ISR"),
    (NEXT_EPOCH, "P2: the partition epoch grows by one with every record, the leader's by naming"),
    (BLOCKS, "K6: blocks are disjoint, because each one's end is in the metadata before it is out"),
    (STOPS, "B2, B4: leaders move first; then the broker is fenced, and may go"),
    (HOLDS, "P5, P6: a member of the ISR, or of the ELR when that is empty, holds everything"),
    (
        LOST,
        "P5, P6, P7: an acknowledged record survives while fewer than min.insync.replicas of its \
         holders stop uncleanly, and nobody leads who does not hold it",
    ),
];

/// Every promise by name, in the order in which a state names a broken one.
pub fn promises() -> impl Iterator<Item = &'static str> {
    let own = OWN.iter().map(|&(name, _)| name);
    let partition = promise::PARTITION.iter().map(|&(name, _)| name);
    let image = promise::IMAGE.iter().map(|&(name, _)| name);
    let progress = promise::PROGRESS.iter().map(|&(name, _)| name);
    own.chain(partition).chain(image).chain(progress)
}

pub fn rule(name: &str) -> &'static str {
    match OWN.iter().find(|(own, _)| *own == name) {
        Some((_, rule)) => rule,
        None if promise::PARTITION.iter().any(|(of, _)| *of == name) => {
            "P3 to P7: a partition's registration is sound after every change"
        }
        None if promise::IMAGE.iter().any(|(of, _)| *of == name) => {
            "B1, B4, B5, P1, P6: registrations and partitions agree after every batch of records"
        }
        None => "P2, B1, K6: epochs and blocks only grow",
    }
}

/// What is asked for, as far as it makes a difference to what may come of it.
#[derive(Clone, Debug, Default)]
pub struct Asking {
    /// A leader's ISR, of which a member may come to lead at once.
    pub joined: Vec<NodeId>,
    /// Whose log may be gone, because it begins anew.
    pub lost: Vec<NodeId>,
    /// An election that loses records.
    pub may_lose: bool,
    /// The end of a reassignment without its completion.
    pub cancels: bool,
}

/// What one decision did to the latest image.
pub fn judge_decision(before: &Image, after: &Image, asking: &Asking) -> Verdict {
    for (id, is) in after.partitions() {
        promise::broken_by(is).map_or(Ok(()), Err)?;
        let Some(was) = before.partition(id) else { continue };
        let is_sound = promise::elected_soundly(was, is, &asking.joined, &asking.lost);
        if !asking.may_lose && !is_sound {
            return Err(ELECTED);
        }
        let may_finish = was.is_reassigning() && !asking.cancels;
        if may_finish && !promise::finished_in_sync(was, is, min_isr(after, id)) {
            return Err(FINISHED);
        }
    }
    promise::broken(after).map_or(Ok(()), Err)?;
    promise::broken_between(before, after).map_or(Ok(()), Err)
}

fn min_isr(image: &Image, id: TopicPartition) -> i32 {
    let default = crate::metadata::partition::Policy { min_isr: 1, unclean: false };
    image.topic(id.topic).map_or(1, |topic| image.policy(&topic.name, default).min_isr)
}

/// Folds a committed record into the judge's image.
pub fn fold(image: &mut Image, offset: crate::Offset, record: &Record) -> Verdict {
    let changed = match record {
        Record::PartitionChange(change) => image.partition(change.id).copied(),
        _ => None,
    };
    image.replay(offset, record).map_err(|_| UNBROKEN)?;
    match (changed, record) {
        (Some(was), Record::PartitionChange(change)) => {
            judge_record(&was, image.partition(change.id))
        }
        _ => Ok(()),
    }
}

/// What one record did to a partition.
pub fn judge_record(was: &Partition, is: Option<&Partition>) -> Verdict {
    if is.is_some_and(|is| promise::epochs_move_by_one(was, is)) { Ok(()) } else { Err(NEXT_EPOCH) }
}

/// What a step brought about, as a set of [`Happened`].
pub fn notice(was: &Image, is: &Image, asking: &Asking) -> u16 {
    let Asking { may_lose, cancels, .. } = *asking;
    let partitions = is.partitions().filter_map(|(id, is)| Some((was.partition(id)?, is)));
    let noticed = partitions.filter(|(was, is)| was != is).flat_map(|(was, is)| {
        let came = is.leader.filter(|_| was.leader != is.leader);
        let led_before = |nodes: &[NodeId]| came.is_some_and(|leader| nodes.contains(&leader));
        let ended = was.is_reassigning() && !is.is_reassigning();
        let grew = is.isr.len() > was.isr.len() && !was.isr.is_empty();
        let cleared = !was.elr.is_empty() && is.elr.is_empty();
        [
            (grew && !was.is_reassigning(), Happened::Grew),
            (led_before(&was.elr), Happened::ElectedFromElr),
            (led_before(&was.last_known_elr) && !may_lose, Happened::ElectedLast),
            (came.is_some() && may_lose, Happened::ElectedUncleanly),
            (ended && !cancels, Happened::Reassigned),
            (ended && cancels, Happened::Cancelled),
            (cleared && was.isr == is.isr, Happened::ElrCleared),
        ]
    });
    noticed.filter(|(it, _)| *it).fold(0, |all, (_, what)| all | what.bit())
}
