//! What is promised of a partition's records, of the replicas of it that may be elected.

use kraft_model::Offset;
use kraft_model::invariant::replica::{Held, agree_below_high_watermark, holds_promised};
use kraft_node::storage::{BatchView, DataView, StorageError};

use super::report::{Report, Row, by_content};

pub const HELD: &str = "who may be elected holds everything below the high watermark";
pub const AGREE: &str = "logs agree below the high watermark";
pub const ACTIVE: &str = "a fenced or stopping broker is in no ISR";

pub fn rows() -> Vec<Row> {
    vec![(HELD, "records"), (AGREE, "pairs of logs"), (ACTIVE, "partitions")]
}

/// Offsets that are judged at once: what bounds the memory that a partition takes.
const WINDOW: i64 = 1_000_000;

/// A partition whose replicas are looked at.
#[derive(Debug)]
pub struct Subject {
    /// As people name it: `orders-0`.
    pub name: String,
    pub high_watermark: Offset,
    /// Who may be elected, the leader first.
    pub replicas: Vec<Replica>,
    /// Why others who may be are not looked at.
    pub unjudged: Vec<String>,
}

#[derive(Debug)]
pub struct Replica {
    pub node: i32,
    /// `None` where the node has no log of the partition.
    pub log: Option<DataView>,
    /// The batches of the present window.
    batches: Vec<BatchView>,
    /// It was told already that this one lacks something.
    is_told: bool,
}

/// What came of a partition.
#[derive(Debug, Default)]
pub struct Judged {
    pub records: u64,
    pub pairs: u64,
    pub batches: u64,
    pub not_held: Vec<String>,
    pub not_agreed: Vec<String>,
    pub damage: Vec<String>,
    /// The partition's name, and why some of its replicas were not looked at.
    pub unjudged: Vec<(String, String)>,
}

/// What stands at an offset: a batch, by what tells it from every other one. Where nobody has
/// anything that somebody should, nothing that is there can be it.
#[derive(Clone, Copy, Debug)]
enum Record {
    In { base: Offset, epoch: i32, crc: u32 },
    Lost,
}

impl PartialEq for Record {
    fn eq(&self, other: &Record) -> bool {
        match (self, other) {
            (
                Record::In { base, epoch, crc },
                Record::In { base: other, epoch: its_epoch, crc: its_crc },
            ) => (base, epoch, crc) == (other, its_epoch, its_crc),
            _ => false,
        }
    }
}

/// A replica as the promises see it.
#[derive(Clone, Copy, Debug)]
struct View<'a> {
    start: Offset,
    high_watermark: Offset,
    batches: &'a [BatchView],
}

impl View<'_> {
    fn batch(&self, offset: Offset) -> Option<&BatchView> {
        let at = self.batches.partition_point(|batch| batch.end <= offset);
        self.batches.get(at).filter(|batch| batch.base <= offset)
    }
}

impl Held for View<'_> {
    type Record = Record;

    fn start(&self) -> Offset {
        self.start
    }

    fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    fn record(&self, offset: Offset) -> Option<Record> {
        let &BatchView { base, epoch, crc, .. } = self.batch(offset)?;
        Some(Record::In { base, epoch, crc })
    }
}

/// A view on the scale of all places at which any log has a border: between two of them nothing changes
/// in any log, so that one look stands for all offsets there.
#[derive(Clone, Copy, Debug)]
struct Scaled<'a> {
    view: View<'a>,
    scale: &'a [Offset],
}

impl Scaled<'_> {
    fn places_below(&self, offset: Offset) -> Offset {
        Offset(self.scale.partition_point(|place| *place < offset) as i64)
    }
}

impl Held for Scaled<'_> {
    type Record = Record;

    fn start(&self) -> Offset {
        self.places_below(self.view.start)
    }

    fn high_watermark(&self) -> Offset {
        self.places_below(self.view.high_watermark)
    }

    fn record(&self, place: Offset) -> Option<Record> {
        self.view.record(*self.scale.get(usize::try_from(place.0).ok()?)?)
    }
}

impl Replica {
    pub fn new(node: i32, log: Option<DataView>) -> Replica {
        Replica { node, log, batches: Vec::new(), is_told: false }
    }

    fn start(&self) -> Offset {
        self.log.as_ref().map_or(Offset::ZERO, DataView::start)
    }

    /// Takes up what there is below `to`; how many batches that were.
    fn read_below(&mut self, to: Offset) -> Result<u64, StorageError> {
        let Some(log) = &mut self.log else { return Ok(0) };
        let read = log.read_below(to)?;
        let count = read.len() as u64;
        self.batches.extend(read);
        Ok(count)
    }

    /// Its log takes nothing for committed that it does not reach, whatever others do.
    fn view(&self, high_watermark: Offset) -> View<'_> {
        let end = self.log.as_ref().map_or(Offset::ZERO, DataView::end);
        let high_watermark = high_watermark.min(end);
        View { start: self.start(), high_watermark, batches: &self.batches }
    }

    fn content(&self, at: Offset) -> String {
        let view = self.view(Offset(i64::MAX));
        match (view.batch(at), &self.log) {
            (Some(BatchView { base, end, epoch, crc }), _) => {
                format!(
                    "the batch from {base} to {} of epoch {epoch}, checksum {crc:#010x}",
                    end.0 - 1
                )
            }
            (None, None) => "no log of it".to_owned(),
            (None, Some(log)) if at < log.start() => format!("the log begins at {}", log.start()),
            (None, Some(log)) => match log.stop() {
                Some(stop) => stop.to_string(),
                None => "nothing".to_owned(),
            },
        }
    }
}

impl Subject {
    /// Judges all that is below the high watermark, window by window.
    ///
    /// # Errors
    /// A log cannot be read: whose, and why.
    pub fn judge(mut self) -> Result<Judged, (i32, StorageError)> {
        let mut judged = Judged::default();
        let starts = self.replicas.iter().map(Replica::start);
        let mut from = starts.min().unwrap_or(self.high_watermark);
        while from < self.high_watermark {
            let to = from.plus(WINDOW).min(self.high_watermark);
            for replica in &mut self.replicas {
                let read = replica.read_below(to);
                judged.batches += read.map_err(|error| (replica.node, error))?;
            }
            let scale = self.scale(from, to);
            self.judge_holders(from, to, &scale, &mut judged);
            self.judge_pairs(to, &scale, &mut judged);
            for replica in &mut self.replicas {
                replica.batches.retain(|batch| batch.end > to);
            }
            from = to;
        }
        let is_there = |it: &&Replica| it.log.is_some() && it.start() < self.high_watermark;
        let logs = self.replicas.iter().filter(is_there).count() as u64;
        judged.pairs = logs * logs.saturating_sub(1) / 2;
        judged.damage = self.damage();
        let unjudged = self.unjudged.into_iter();
        judged.unjudged = unjudged.map(|why| (self.name.clone(), why)).collect();
        Ok(judged)
    }

    fn judge_holders(&mut self, from: Offset, to: Offset, scale: &[Offset], judged: &mut Judged) {
        let promised = self.promised(scale);
        for at in 0..self.replicas.len() {
            let replica = &self.replicas[at];
            let view = replica.view(to);
            judged.records += to.since(from.max(view.start)).max(0) as u64;
            if replica.is_told || holds_promised(&view, promised.iter().copied()) {
                continue;
            }
            let lacks = |(offset, record): &&(Offset, Record)| {
                *offset >= view.start && view.record(*offset) != Some(*record)
            };
            let lost = promised.iter().find(lacks).map_or(from, |(offset, _)| *offset);
            let node = replica.node;
            judged.not_held.push(format!("node {node} lacks {}", self.story(lost)));
            self.replicas[at].is_told = true;
        }
    }

    fn judge_pairs(&mut self, to: Offset, scale: &[Offset], judged: &mut Judged) {
        let mut stories = Vec::new();
        let there = || self.replicas.iter().filter(|replica| replica.log.is_some());
        for (at, one) in there().enumerate() {
            for other in there().take(at) {
                let one = Scaled { view: one.view(to), scale };
                let other = Scaled { view: other.view(to), scale };
                if agree_below_high_watermark(&one, &other) {
                    continue;
                }
                let differs = |place: &Offset| one.record(*place) != other.record(*place);
                let places = (one.start().max(other.start()).0..scale.len() as i64).map(Offset);
                let place = places.into_iter().find(differs).unwrap_or_default();
                stories.extend(scale.get(place.0 as usize).map(|offset| self.story(*offset)));
            }
        }
        // The first difference says it; what follows from it has it as well.
        if judged.not_agreed.is_empty() {
            stories.dedup();
            judged.not_agreed = stories;
        }
    }

    fn damage(&self) -> Vec<String> {
        let stop = |replica: &Replica| {
            let stop = replica.log.as_ref()?.stop().filter(|stop| stop.is_damage)?;
            Some(format!("node {}, {}: {stop}", replica.node, self.name))
        };
        self.replicas.iter().filter_map(stop).collect()
    }

    /// Every place in the window at which a batch of any log begins, or its log goes on without one.
    fn scale(&self, from: Offset, to: Offset) -> Vec<Offset> {
        let batches = self.replicas.iter().flat_map(|replica| &replica.batches);
        let borders = batches.flat_map(|batch| [batch.base, batch.end]);
        let starts = self.replicas.iter().map(Replica::start);
        let places = borders.chain(starts).chain([from]);
        let mut scale: Vec<_> = places.filter(|place| (from..to).contains(place)).collect();
        scale.sort_unstable();
        scale.dedup();
        scale
    }

    /// What was promised at these places is what most of those have there who should have anything; of
    /// as many, what the leader has. Where nobody has, it is lost.
    fn promised(&self, scale: &[Offset]) -> Vec<(Offset, Record)> {
        let at = |&place: &Offset| {
            let due = self.replicas.iter().filter(|replica| replica.start() <= place);
            let found: Vec<_> =
                due.clone().filter_map(|it| it.view(Offset(i64::MAX)).record(place)).collect();
            let votes = |record: &Record| found.iter().filter(|other| *other == record).count();
            // The last one of the greatest is taken; the leader is first.
            let most = found.iter().rev().max_by_key(|record| votes(record)).copied();
            (place, most.unwrap_or(Record::Lost))
        };
        scale.iter().map(at).collect()
    }

    fn story(&self, offset: Offset) -> String {
        let contents = self.replicas.iter().map(|replica| (replica.node, replica.content(offset)));
        let contents = by_content(contents);
        let Subject { name, high_watermark, .. } = self;
        format!("{name} at offset {offset}, below the high watermark {high_watermark}: {contents}")
    }
}

impl Judged {
    pub fn add_to(self, report: &mut Report) {
        report.judge(HELD, self.records, self.not_held);
        report.judge(AGREE, self.pairs, self.not_agreed);
        report.judge(super::WHOLE, self.batches, self.damage);
        for (what, why) in self.unjudged {
            report.cannot_judge(what, why);
        }
    }
}

#[cfg(test)]
mod tests;
