//! What replicas say and are, as values of the specification.

use kraft_model::check::Value;
use kraft_model::metadata::AlteredPartition;
use kraft_model::replay::{Extents, LogState};
use kraft_model::replica::{FetchOutcome, FetchPosition, Replica};
use kraft_model::{Offset, Shipped};

use super::{Story, sorted};

impl Story {
    pub fn position(&self, position: &FetchPosition) -> Value {
        Value::record([
            ("leaderEpoch", i64::from(position.leader_epoch.0).into()),
            ("offset", self.at(position.offset)),
            ("lastEpoch", i64::from(position.last_epoch.0).into()),
        ])
    }

    pub fn answer(&self, outcome: &FetchOutcome<Offset>) -> Value {
        match outcome {
            FetchOutcome::Records { high_watermark, .. } => {
                Value::record([("kind", Value::Text("records")), ("hw", self.at(*high_watermark))])
            }
            other => self.refusal(other),
        }
    }

    pub fn fetched(&self, outcome: &FetchOutcome<Extents>) -> Value {
        match outcome {
            FetchOutcome::Records { records, high_watermark, .. } => {
                let mut epochs = Vec::new();
                for batch in &records.batches {
                    let count = self.rank(batch.end) - self.rank(batch.base);
                    epochs.extend((0..count).map(|_| {
                        let epoch = i64::from(batch.epoch.0);
                        Value::record([("epoch", epoch.into()), ("value", 0.into())])
                    }));
                }
                Value::record([
                    ("kind", Value::Text("records")),
                    ("hw", self.at(*high_watermark)),
                    ("records", Value::Sequence(epochs)),
                ])
            }
            other => self.refusal(other),
        }
    }

    fn refusal<B>(&self, outcome: &FetchOutcome<B>) -> Value {
        match outcome {
            FetchOutcome::Diverging(end) => {
                let parting = Value::record([
                    ("epoch", i64::from(end.epoch).into()),
                    ("end", self.at(end.end)),
                ]);
                Value::record([("kind", Value::Text("diverging")), ("parting", parting)])
            }
            FetchOutcome::OutOfRange { end, .. } => {
                Value::record([("kind", Value::Text("out-of-range")), ("end", self.at(*end))])
            }
            _ => Value::kind("refused"),
        }
    }

    /// A replica as the specification's broker has it.
    pub fn looks(&self, machine: &Replica<Shipped>, log: &LogState) -> Value {
        let leading = machine.leading();
        let partition = machine.partition();
        let isr = leading.as_ref().map_or(Value::set([]), |it| self.ids(&it.isr));
        let (kind, asked) = leading.as_ref().map_or(("none", None), |it| it.proposal);
        let proposal = match asked {
            Some(asked) => {
                Value::record([("kind", Value::Text(kind)), ("asked", self.altered(&asked))])
            }
            None => Value::kind(kind),
        };
        let waiting = leading.iter().flat_map(|it| &it.waiting);
        let waiting = Value::set(waiting.map(|end| Value::Int(self.rank(*end) - 1)));
        let progress = sorted(&self.replicas).into_iter().map(|node| {
            let known = machine.follows(node);
            let (end, epoch) =
                known.fetched.map_or((0, -1), |(end, epoch)| (self.rank(end), epoch.0));
            Value::record([
                ("fetched", known.fetched.is_some().into()),
                ("end", end.into()),
                ("epoch", epoch.into()),
                ("over", known.over.into()),
            ])
        });
        let epoch = |epoch: i32| Value::Int(i64::from(epoch));
        Value::record([
            ("end", self.at(log.end)),
            ("lastEpoch", epoch(if log.end > Offset::ZERO { log.last_epoch() } else { -1 })),
            ("flushed", self.at(log.flushed)),
            ("hw", self.at(machine.high_watermark())),
            ("leader", Value::Int(machine.leader().map_or(0, |it| self.id(it)))),
            ("leaderEpoch", epoch(machine.leader_epoch().0)),
            ("partitionEpoch", epoch(leading.map_or(-1, |_| partition.partition_epoch.0))),
            ("isr", isr),
            ("progress", Value::sequence(progress)),
            ("proposal", proposal),
            ("waiting", waiting),
        ])
    }

    pub fn altered(&self, asked: &AlteredPartition) -> Value {
        let epochs = asked.isr.iter().zip(&asked.isr_epochs);
        let epochs = epochs.map(|(&member, epoch)| (self.id(member), Value::Int(epoch.0)));
        Value::record([
            ("leaderEpoch", i64::from(asked.leader_epoch.0).into()),
            ("partitionEpoch", i64::from(asked.partition_epoch.0).into()),
            ("isr", self.ids(&asked.isr)),
            ("epochs", Value::function(epochs)),
        ])
    }
}
