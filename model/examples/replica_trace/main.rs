//! Writes what the replicas of one partition did, by the traces of a cluster, as a TLA+ module.
//!
//!     replica_trace DIRECTORY [TOPIC-PARTITION] > ReplicaTraceLog.tla
//!
//! `tla/validate_replica.py` has TLC hold it against the specification. A line for each step of each
//! replica, in the order of time, with what happened, what was said, and what the replica looked
//! like afterwards; and one for each metadata image about the partition that controllers committed.
//!
//! Rules compare offsets and nothing else, so offsets become their ranks among all that the trace
//! names: what lies between two neighbours is one record of the specification, since no batch
//! begins or ends in between.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::process::ExitCode;

use kraft_model::check::Value;
use kraft_model::metadata::Image;
use kraft_model::metadata::Partition;
use kraft_model::metadata::partition::Policy;
use kraft_model::replay::{
    Extents, Input, LogState, Machine, MachineId, Merged, Output, Recorded, Replayed, Start, What,
};
use kraft_model::replica::{Acks, Effect, Event, FetchOutcome, Replica, Timer, View};
use kraft_model::{NodeId, Offset, Shipped, TopicPartition};

#[path = "../shared/lines.rs"]
mod lines;
#[path = "../shared/partition.rs"]
mod partition;
#[path = "../shared/read.rs"]
mod read;
mod values;

use lines::{hand_out, write_lines};
use partition::partition_value;
use read::recordings;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(directory) = arguments.next() else {
        eprintln!("usage: replica_trace DIRECTORY [TOPIC-PARTITION] > ReplicaTraceLog.tla");
        return ExitCode::from(2);
    };
    let recorded = recordings(&directory, |_| true);
    let wanted = arguments.next();
    hand_out(&directory, recorded.and_then(|it| Story::of(it, wanted.as_deref())))
}

/// A step of one replica.
struct Step {
    node: NodeId,
    entry: u64,
    what: What,
    machine: Box<Replica<Shipped>>,
    log: LogState,
}

enum Happened {
    Stepped(Box<Step>),
    /// The committed image of this number, from 1.
    Committed(usize),
}

/// What is known of a produce request until it is answered.
struct Request {
    acks: Acks,
    records: i64,
}

struct Story {
    id: TopicPartition,
    replicas: Vec<NodeId>,
    min_isr: i32,
    flush_before_ack: bool,
    images: Vec<Value>,
    happened: Vec<Happened>,
    ranks: BTreeMap<Offset, i64>,
    requests: HashMap<(NodeId, u64), Request>,
}

impl Story {
    fn of(recordings: Vec<Recorded>, wanted: Option<&str>) -> Result<String, String> {
        let id = partition(&recordings, wanted)?;
        let mut story = Story {
            id,
            replicas: Vec::new(),
            min_isr: 1,
            flush_before_ack: false,
            images: Vec::new(),
            happened: Vec::new(),
            ranks: BTreeMap::new(),
            requests: HashMap::new(),
        };
        let mut seen = Offset::ZERO;
        for replayed in Merged::new(recordings) {
            let Replayed { node, entry, what, after, id, .. } =
                replayed.map_err(|error| error.to_string())?;
            match after {
                Machine::Controller { machine } if machine.committed().end > seen => {
                    seen = machine.committed().end;
                    story.committed(machine.committed())?;
                }
                Machine::Replica { machine, log, .. } if id == MachineId::Partition(story.id) => {
                    let step = Step { node, entry, what, machine, log };
                    story.note_offsets(&step);
                    story.happened.push(Happened::Stepped(Box::new(step)));
                }
                _ => {}
            }
        }
        for (rank, at) in story.ranks.values_mut().enumerate() {
            *at = rank as i64;
        }
        story.module()
    }

    fn committed(&mut self, image: &Image) -> Result<(), String> {
        let Some(partition) = image.partition(self.id) else { return Ok(()) };
        let topic = image.topic(self.id.topic).map_or("", |topic| &topic.name);
        let policy = image.policy(topic, Policy { min_isr: 1, unclean: false });
        let replicas = partition.replicas.to_vec();
        if self.replicas.is_empty() {
            (self.replicas, self.min_isr) = (replicas, policy.min_isr);
        } else if self.replicas != replicas || self.min_isr != policy.min_isr {
            return Err("its replicas or min.insync.replicas change, which is not followed".into());
        }
        let registered = |id: &NodeId| {
            let it = image.broker(*id)?;
            Some((it.epoch.0, it.is_active()))
        };
        let registrations: Vec<_> = sorted(&self.replicas).iter().map(registered).collect();
        let image = self.image(partition, &registrations);
        let known = self.images.iter().position(|known| *known == image);
        let number = known.unwrap_or_else(|| {
            self.images.push(image);
            self.images.len() - 1
        });
        let last = self.happened.iter().rev().find_map(|it| match it {
            Happened::Committed(number) => Some(*number),
            Happened::Stepped(_) => None,
        });
        if last != Some(number + 1) {
            self.happened.push(Happened::Committed(number + 1));
        }
        Ok(())
    }

    fn image(&self, partition: &Partition, registrations: &[Option<(i64, bool)>]) -> Value {
        let registrations = registrations.iter().map(|registration| {
            let (epoch, active) = registration.unwrap_or((-1, false));
            Value::record([("epoch", epoch.into()), ("fenced", (!active).into())])
        });
        Value::record([
            ("partition", partition_value(partition, self.min_isr, |it| self.id(it))),
            ("registration", Value::sequence(registrations)),
        ])
    }

    fn id(&self, node: NodeId) -> i64 {
        sorted(&self.replicas).iter().position(|it| *it == node).map_or(0, |at| at as i64 + 1)
    }

    fn ids(&self, nodes: &[NodeId]) -> Value {
        Value::set(nodes.iter().map(|&it| Value::Int(self.id(it))))
    }

    fn note(&mut self, offset: Offset) {
        self.ranks.insert(offset, 0);
    }

    fn note_offsets(&mut self, step: &Step) {
        let Step { machine, log, what, .. } = step;
        for offset in [Offset::ZERO, log.end, log.flushed, machine.high_watermark()] {
            self.note(offset);
        }
        machine.follower_ends().for_each(|(_, end)| self.note(end.unwrap_or(Offset::ZERO)));
        let waiting = machine.leading().map(|it| it.waiting).unwrap_or_default();
        waiting.into_iter().for_each(|end| self.note(end));
        let What::Stepped { input: Input::Replica(event), output: Output::Replica(fx), .. } = what
        else {
            return;
        };
        match event {
            Event::Fetch(fetch) => self.note(fetch.position.offset),
            Event::Fetched { answer, .. } => {
                self.note(answer.position.offset);
                match &answer.outcome {
                    FetchOutcome::Records { records, high_watermark, .. } => {
                        self.note(*high_watermark);
                        for batch in &records.batches {
                            self.note(batch.base);
                            self.note(batch.end);
                        }
                    }
                    FetchOutcome::Diverging(end) => self.note(end.end),
                    FetchOutcome::OutOfRange { end, .. } => self.note(*end),
                    FetchOutcome::Refused(_) => {}
                }
            }
            _ => {}
        }
        for effect in fx {
            match effect {
                Effect::Fetch { position, .. } => self.note(position.offset),
                Effect::Answer { outcome, .. } => match outcome {
                    FetchOutcome::Records { high_watermark, .. } => self.note(*high_watermark),
                    FetchOutcome::Diverging(end) => self.note(end.end),
                    FetchOutcome::OutOfRange { end, .. } => self.note(*end),
                    FetchOutcome::Refused(_) => {}
                },
                Effect::Reply { result: Ok(appended), .. } => self.note(appended.base),
                _ => {}
            }
        }
    }

    /// An offset in the specification.
    fn rank(&self, offset: Offset) -> i64 {
        self.ranks.get(&offset).copied().unwrap_or(-1)
    }

    fn at(&self, offset: Offset) -> Value {
        self.rank(offset).into()
    }

    fn module(mut self) -> Result<String, String> {
        let mut lines = Vec::new();
        for happened in std::mem::take(&mut self.happened) {
            match happened {
                Happened::Committed(number) => {
                    let number = number as i64;
                    lines.push(format!(r#"[event |-> "Committed", image |-> {number}]"#));
                }
                Happened::Stepped(step) => lines.push(self.line(&step)?),
            }
        }
        let rule = "-".repeat(26);
        let mut text = format!("{rule} MODULE ReplicaTraceLog {rule}\n");
        text.push_str("\\* Written by the example replica_trace from the traces of a cluster.\n");
        text.push_str("EXTENDS Integers, Sequences, TLC\n");
        let replicas = self.replicas.iter().map(|&it| Value::Int(self.id(it)));
        let _ = writeln!(text, "TraceReplicas == {}", Value::sequence(replicas));
        let _ = writeln!(text, "TraceMinIsr == {}", self.min_isr);
        let _ = writeln!(text, "TraceFlushBeforeAck == {}", Value::Bool(self.flush_before_ack));
        let images: Vec<String> = self.images.iter().map(Value::to_string).collect();
        let _ = writeln!(text, "TraceImages == <<\n  {}\n>>", images.join(",\n  "));
        write_lines(&mut text, &lines);
        Ok(text)
    }

    fn line(&mut self, step: &Step) -> Result<String, String> {
        let Step { node, entry, what, machine, log } = step;
        if log.start > Offset::ZERO {
            return Err("its log does not begin at 0, which is not followed".into());
        }
        let mut fields = match what {
            What::Began(Start::Replica { .. }) => vec![("event", Value::Text("Began"))],
            What::Stepped { divergence: Some(divergence), .. } => {
                return Err(format!("entry {entry} of node {node}: {divergence}"));
            }
            What::Stepped { input: Input::Replica(event), output: Output::Replica(fx), .. } => {
                self.stepped(step, event, fx)?
            }
            _ => return Err(format!("entry {entry} of node {node} is of no replica")),
        };
        fields.push(("node", Value::Int(self.id(*node))));
        fields.push(("entry", Value::Int(*entry as i64)));
        fields.push(("after", self.looks(machine, log)));
        Ok(Value::Record(fields.into_iter().collect()).to_string())
    }

    fn stepped(
        &mut self,
        step: &Step,
        event: &Event<Extents>,
        effects: &[Effect],
    ) -> Result<Vec<(&'static str, Value)>, String> {
        let node = step.node;
        let mut fields = match event {
            Event::View(view) => self.viewed(view)?,
            Event::Append { request, batch, acks } => {
                let records = batch.end.0 - batch.base.0;
                self.requests.insert((node, *request), Request { acks: *acks, records });
                let refused = effects.iter().find_map(|effect| match effect {
                    Effect::Reply { request: of, result: Err(error) } if of == request => {
                        Some(error.name())
                    }
                    _ => None,
                });
                vec![
                    ("event", Value::Text("Append")),
                    ("all", (*acks == Acks::All).into()),
                    ("error", Value::Text(refused.unwrap_or(""))),
                ]
            }
            Event::RequestExpired(_) => vec![("event", Value::Text("RequestExpired"))],
            Event::Fetch(fetch) => {
                let answer = effects.iter().find_map(|effect| match effect {
                    Effect::Answer { outcome, .. } => Some(self.answer(outcome)),
                    _ => None,
                });
                vec![
                    ("event", Value::Text("Fetch")),
                    ("from", Value::Int(self.id(fetch.follower))),
                    ("epoch", fetch.broker_epoch.0.into()),
                    ("position", self.position(&fetch.position)),
                    ("answer", answer.ok_or("a fetch without an answer")?),
                ]
            }
            Event::Fetched { leader, answer } => vec![
                ("event", Value::Text("Fetched")),
                ("from", Value::Int(self.id(*leader))),
                ("position", self.position(&answer.position)),
                ("answer", self.fetched(&answer.outcome)),
            ],
            Event::Altered { leader_epoch, partition_epoch, answer } => vec![
                ("event", Value::Text("Altered")),
                ("leaderEpoch", i64::from(leader_epoch.0).into()),
                ("partitionEpoch", i64::from(partition_epoch.0).into()),
                (
                    "error",
                    Value::Text(match answer {
                        None => "none came",
                        Some(Ok(())) => "",
                        Some(Err(error)) => error.name(),
                    }),
                ),
            ],
            Event::Silent(follower) | Event::Timeout(Timer::Lag(follower)) => {
                vec![("event", Value::Text("Silent")), ("from", Value::Int(self.id(*follower)))]
            }
            Event::Timeout(Timer::AlterRetry) => vec![("event", Value::Text("AlterRetry"))],
            Event::Timeout(Timer::FetchRetry) => vec![("event", Value::Text("FetchRetry"))],
            Event::FetchFailed { .. } => vec![("event", Value::Text("FetchFailed"))],
            Event::Flushed(_) => vec![("event", Value::Text("Flushed"))],
            Event::ProducersExpired(_) => vec![("event", Value::Text("ProducersExpired"))],
            Event::StartMoved(_) => {
                return Err("its log's start moves, which is not followed".into());
            }
            Event::Retired => return Err("it is deleted or moved, which is not followed".into()),
        };
        let mut acked = BTreeSet::new();
        let mut asks = Vec::new();
        for effect in effects {
            match effect {
                Effect::Reply { request, result } => {
                    let known = self.requests.remove(&(node, *request));
                    if let (Ok(appended), Some(Request { acks: Acks::All, records })) =
                        (result, known)
                    {
                        acked.insert(self.rank(Offset(appended.base.0 + records)) - 1);
                    }
                }
                Effect::Fetch { leader, position } => asks.push(Value::record([
                    ("leader", Value::Int(self.id(*leader))),
                    ("position", self.position(position)),
                ])),
                Effect::Violation(why) => return Err(format!("a promise is broken: {why}")),
                _ => {}
            }
        }
        fields.push(("acked", Value::set(acked.into_iter().map(Value::Int))));
        fields.push(("asks", Value::sequence(asks)));
        Ok(fields)
    }

    /// Which of the committed images it is; 0 for none of them.
    fn viewed(&mut self, view: &View) -> Result<Vec<(&'static str, Value)>, String> {
        let known = |id: &NodeId| {
            let mut brokers = view.brokers.iter();
            brokers.find(|it| it.0 == *id).map(|it| (it.1.0, it.2))
        };
        let registrations: Vec<_> = sorted(&self.replicas).iter().map(known).collect();
        let image = self.image(&view.partition, &registrations);
        let number = self.images.iter().position(|it| *it == image).map_or(0, |at| at as i64 + 1);
        self.flush_before_ack = view.flush_before_ack;
        if view.min_isr != self.min_isr {
            return Err("min.insync.replicas changes, which is not followed".into());
        }
        Ok(vec![("event", Value::Text("View")), ("image", Value::Int(number))])
    }
}

fn sorted(nodes: &[NodeId]) -> Vec<NodeId> {
    let mut nodes = nodes.to_vec();
    nodes.sort();
    nodes
}

/// The partition of that name; otherwise the first that was placed anywhere.
fn partition(recordings: &[Recorded], wanted: Option<&str>) -> Result<TopicPartition, String> {
    for replayed in Merged::new(recordings.to_vec()) {
        let replayed = replayed.map_err(|error| error.to_string())?;
        let What::Began(Start::Replica { id, topic, .. }) = replayed.what else { continue };
        if wanted.is_none_or(|wanted| *wanted == format!("{topic}-{}", id.partition)) {
            return Ok(id);
        }
    }
    Err("no such partition was placed on any node".to_owned())
}
