//! The controllers' decisions about one partition as a behaviour of `tla/Controller.tla`.
//!
//! An entry of the specification's log is the image after one batch, of the partition and the
//! registrations; batches that change neither are none of its. Broker ids, incarnations, epochs and
//! offsets become the specification's small numbers: brokers 1, 2, ... by id, incarnations counted
//! for each broker, offsets the index of the entry.

use std::collections::BTreeMap;

use kraft_model::check::Value;
use kraft_model::metadata::partition::{Brokers, Policy};
use kraft_model::metadata::{
    AlterPartition, BrokerHeartbeat, BrokerRegistration, Effect, ElectionType, Event, Image,
    Record, Request, Timer,
};
use kraft_model::replay::{Input, Machine, Output, Replayed, What};
use kraft_model::{BrokerEpoch, Epoch, Incarnation, NodeId, Offset, TopicPartition};

use super::partition::partition_value;

/// A batch that the active controller appended, as far as the specification sees it.
struct Entry {
    base: Offset,
    records: Vec<Record>,
}

/// What one step was about, before its records say what came of it.
struct Cause {
    action: &'static str,
    broker: Option<NodeId>,
    target: Option<Vec<NodeId>>,
}

pub struct Controllers {
    wanted: Option<String>,
    partition: Option<TopicPartition>,
    constants: Vec<String>,
    lines: Vec<Value>,
    /// The active controller: its epoch, node and run.
    active: Option<(Epoch, NodeId, Incarnation)>,
    /// That one has lost its office, and nobody has it yet.
    has_lost: bool,
    /// What the active controller has decided so far.
    image: Image,
    entries: Vec<Entry>,
    committed: usize,
    seen: BTreeMap<NodeId, usize>,
    stopping: BTreeMap<NodeId, bool>,
    /// Runs of brokers, counted for each; the brokers of the behaviour are those that have any.
    runs: BTreeMap<NodeId, Vec<Incarnation>>,
    /// The specification's epochs of registrations.
    epochs: BTreeMap<(NodeId, BrokerEpoch), i64>,
}

impl Controllers {
    pub fn new(wanted: Option<&str>) -> Controllers {
        Controllers {
            wanted: wanted.map(str::to_owned),
            partition: None,
            constants: Vec::new(),
            lines: Vec::new(),
            active: None,
            has_lost: false,
            image: Image::default(),
            entries: Vec::new(),
            committed: 0,
            seen: BTreeMap::new(),
            stopping: BTreeMap::new(),
            runs: BTreeMap::new(),
            epochs: BTreeMap::new(),
        }
    }

    pub fn behaviour(self) -> Result<Vec<String>, String> {
        if self.partition.is_none() {
            return Err("the trace holds no creation of such a partition".to_owned());
        }
        let lines = self.lines.iter().map(Value::to_string);
        Ok(self.constants.into_iter().chain(lines).collect())
    }

    pub fn take(&mut self, replayed: &Replayed) {
        let What::Stepped { input, output, .. } = &replayed.what else { return };
        let (Input::Controller(event), Output::Controller(effects)) = (input, output) else {
            return;
        };
        let Machine::Controller { machine } = &replayed.after else { return };
        match event {
            Event::Lead { epoch, next } if self.is_newer(*epoch) => {
                self.active = Some((*epoch, replayed.node, replayed.incarnation));
                self.has_lost = false;
                self.fail_over(*next);
                self.image = machine.committed().clone();
            }
            Event::Committed { base, records, .. } => self.commit(*base, records),
            _ => {}
        }
        let is_by_active = self
            .active
            .is_some_and(|(_, node, run)| (node, run) == (replayed.node, replayed.incarnation));
        self.has_lost |= is_by_active && matches!(event, Event::LostLeadership);
        if is_by_active && !self.has_lost {
            let cause = self.cause(event);
            let wrote = self.lines.len();
            for effect in effects {
                if let Effect::Append { base, records } = effect {
                    self.append(*base, records, &cause);
                }
            }
            if cause.action == "Decide" && self.lines.len() == wrote {
                self.say("Reject", cause.broker, []);
            }
        }
    }

    fn is_newer(&self, epoch: Epoch) -> bool {
        self.active.is_none_or(|(known, ..)| known < epoch)
    }

    /// The offset below `next` is the new leader's own control record; what lies from there on was
    /// the old one's, and is lost.
    fn fail_over(&mut self, next: Offset) {
        let kept = self.entries.iter().take_while(|it| it.end() < next).count();
        if self.partition.is_some() {
            self.say("FailOver", None, [("kept", Value::Int(kept as i64 + 1))]);
            self.entries.truncate(kept);
        }
    }

    /// Only what is in force: a deposed controller's records at these offsets are others.
    fn commit(&mut self, base: Offset, records: &[Record]) {
        while let Some(entry) = self.entries.get(self.committed) {
            let from = usize::try_from(entry.base.0 - base.0).ok();
            let there = from.and_then(|from| records.get(from..from + entry.records.len()));
            if there != Some(&entry.records[..]) {
                return;
            }
            self.committed += 1;
            self.say("Commit", None, []);
        }
    }

    /// What the event asks for; says first what it tells of brokers.
    fn cause(&mut self, event: &Event) -> Cause {
        let simple = |action, broker| Cause { action, broker, target: None };
        match event {
            Event::Request { request, .. } => match request {
                Request::RegisterBroker(asked) => {
                    self.started(asked);
                    simple("Register", Some(asked.broker))
                }
                Request::Heartbeat(asked) => {
                    self.heard(asked);
                    simple("Heartbeat", Some(asked.broker))
                }
                Request::AlterPartition(asked) => self.asked(asked),
                Request::UnregisterBroker { broker } => simple("Unregister", Some(*broker)),
                Request::ElectLeaders(asked) => match asked.kind {
                    ElectionType::Preferred => simple("Balance", None),
                    ElectionType::Unclean => simple("ElectUncleanly", None),
                },
                Request::ReassignPartitions { partitions } => {
                    let asked = partitions.iter().find(|one| Some(one.id) == self.partition);
                    let target = asked.and_then(|one| one.replicas).map(|it| it.to_vec());
                    let action = if target.is_some() { "Reassign" } else { "Cancel" };
                    Cause { action, broker: None, target }
                }
                Request::AlterConfigs { .. } => simple("SetMinIsr", None),
                _ => simple("Other", None),
            },
            Event::Timeout(Timer::Balance) => simple("Balance", None),
            Event::Timeout(Timer::UncleanSweep) => simple("Sweep", None),
            Event::Timeout(_) | Event::PeerGone { .. } => simple("Fence", None),
            Event::Connected { .. } | Event::Disconnected { .. } => simple("Fence", None),
            _ => simple("Other", None),
        }
    }

    fn started(&mut self, asked: &BrokerRegistration) {
        let runs = self.runs.entry(asked.broker).or_default();
        if runs.contains(&asked.incarnation) {
            return;
        }
        runs.push(asked.incarnation);
        self.stopping.remove(&asked.broker);
        let clean = self.image.epoch(asked.broker) == Some(asked.previous_epoch);
        self.say("Start", Some(asked.broker), [("clean", clean.into())]);
    }

    fn heard(&mut self, asked: &BrokerHeartbeat) {
        let below = self.entries.iter().take_while(|it| it.end() <= asked.metadata_offset).count();
        let upto = below.min(self.committed);
        if self.seen.get(&asked.broker).copied().unwrap_or(0) < upto {
            self.seen.insert(asked.broker, upto);
            self.say("Replay", Some(asked.broker), [("upTo", Value::Int(upto as i64 + 1))]);
        }
        if asked.want_shutdown && self.stopping.insert(asked.broker, true).is_none() {
            self.say("WantStop", Some(asked.broker), []);
        }
    }

    fn asked(&mut self, asked: &AlterPartition) -> Cause {
        let one = asked.partitions.iter().find(|one| Some(one.id) == self.partition);
        let Some(one) = one else { return Cause { action: "Other", broker: None, target: None } };
        let epochs = one.isr.iter().zip(&one.isr_epochs);
        let epochs = epochs.map(|(&member, &epoch)| (self.id(member), self.epoch(member, epoch)));
        let what = Value::record([
            ("leaderEpoch", i64::from(one.leader_epoch.0).into()),
            ("partitionEpoch", i64::from(one.partition_epoch.0).into()),
            ("isr", self.ids(&one.isr)),
            ("epochs", Value::function(epochs)),
        ]);
        let epoch = self.epoch(asked.broker, asked.epoch);
        self.say("Ask", Some(asked.broker), [("asked", what), ("epoch", epoch)]);
        Cause { action: "Decide", broker: Some(asked.broker), target: None }
    }

    fn append(&mut self, base: Offset, records: &[Record], cause: &Cause) {
        let before = self.described();
        for (offset, record) in (base.0..).zip(records) {
            if self.image.replay(Offset(offset), record).is_err() {
                eprintln!("a record of the trace does not fit the image: {record:?}");
            }
            self.created(record);
        }
        if self.partition.is_none() {
            return;
        }
        for (offset, record) in (base.0..).zip(records) {
            if let Record::RegisterBroker(it) = record
                && it.epoch.is_none()
            {
                let index = self.entries.len() as i64 + 2;
                self.epochs.insert((it.broker, BrokerEpoch(offset)), index);
            }
        }
        let after = self.described();
        if before.is_none() {
            self.begin();
        } else if before != after {
            self.entries.push(Entry { base, records: records.to_vec() });
            self.wrote(records, cause, after);
        }
    }

    fn wrote(&mut self, records: &[Record], cause: &Cause, image: Option<Value>) {
        let changed = records.iter().find_map(|record| match record {
            Record::BrokerRegistrationChange(change) => Some(*change),
            _ => None,
        });
        let action = match (cause.action, changed) {
            ("Heartbeat", Some(change)) if change.fenced == Some(false) => "Unfence",
            ("Heartbeat", Some(change)) if change.fenced == Some(true) => {
                let stops = self.stopping.contains_key(&change.broker);
                if stops { "FinishShutdown" } else { "Fence" }
            }
            ("Heartbeat", _) => "BeginShutdown",
            (action, _) => action,
        };
        let broker = cause.broker.or(changed.map(|change| change.broker));
        if action == "Unregister" {
            // An operator says so of a broker that will not come back; how it ended is not seen.
            self.say("Gone", broker, []);
        }
        let mut fields = vec![("image", image.unwrap_or(Value::Int(0)))];
        if let Some(target) = &cause.target {
            fields.push(("target", Value::sequence(target.iter().map(|&it| self.id(it).into()))));
        }
        self.say(action, broker, fields);
    }

    fn say(
        &mut self,
        action: &'static str,
        broker: Option<NodeId>,
        fields: impl IntoIterator<Item = (&'static str, Value)>,
    ) {
        if self.partition.is_none() {
            return;
        }
        let broker = broker.map(|it| ("broker", Value::Int(self.id(it))));
        let head = [("action", Value::Text(action))];
        self.lines.push(Value::Record(head.into_iter().chain(broker).chain(fields).collect()));
    }

    fn created(&mut self, record: &Record) {
        if let Record::Partition(created) = record
            && self.partition.is_none()
        {
            let Some(topic) = self.image.topic(created.id.topic) else { return };
            let name = format!("{}-{}", topic.name, created.id.partition);
            if self.wanted.as_ref().is_none_or(|wanted| *wanted == name) {
                self.partition = Some(created.id);
            }
        }
    }

    /// The specification's first state, in which the partition exists.
    fn begin(&mut self) {
        let registered = self.image.brokers.values();
        self.runs = registered.map(|it| (it.id, vec![it.incarnation])).collect();
        for broker in self.image.brokers.values() {
            let number = self.id(broker.id);
            self.epochs.insert((broker.id, broker.epoch), -1 - number);
        }
        let policy = self.policy();
        let image = self.described().unwrap_or(Value::Int(0));
        let brokers: Vec<NodeId> = self.runs.keys().copied().collect();
        let brokers = self.ids(&brokers);
        self.constants = vec![
            format!("MinIsr == {}", policy.min_isr),
            format!("Unclean == {}", Value::Bool(policy.unclean)),
            format!("Brokers == {brokers}"),
            format!("Image == {image}"),
        ];
        self.entries.clear();
        self.committed = 0;
    }

    /// The image in the specification's variables, once there is a partition.
    fn described(&self) -> Option<Value> {
        let partition = self.image.partition(self.partition?)?;
        let registrations = self.runs.keys().map(|&id| self.registration(id));
        Some(Value::record([
            ("partition", partition_value(partition, self.policy().min_isr, |it| self.id(it))),
            ("registration", Value::sequence(registrations)),
        ]))
    }

    fn policy(&self) -> Policy {
        let default = Policy { min_isr: 1, unclean: false };
        let id = self.partition.and_then(|id| self.image.topic(id.topic));
        id.map_or(default, |topic| self.image.policy(&topic.name, default))
    }

    fn registration(&self, id: NodeId) -> Value {
        let (incarnation, epoch, fenced, stopping) = match self.image.broker(id) {
            Some(it) => {
                let run = self.runs[&id].iter().position(|run| *run == it.incarnation);
                let incarnation = run.map_or(0, |run| run as i64 + 1);
                (incarnation, self.epoch(id, it.epoch), it.fenced, it.in_controlled_shutdown)
            }
            None => (0, Value::Int(0), true, false),
        };
        Value::record([
            ("incarnation", incarnation.into()),
            ("epoch", epoch),
            ("fenced", fenced.into()),
            ("stopping", stopping.into()),
        ])
    }

    fn id(&self, broker: NodeId) -> i64 {
        self.runs.keys().position(|known| *known == broker).map_or(0, |at| at as i64 + 1)
    }

    fn ids(&self, brokers: &[NodeId]) -> Value {
        Value::set(brokers.iter().map(|&it| Value::Int(self.id(it))))
    }

    fn epoch(&self, broker: NodeId, epoch: BrokerEpoch) -> Value {
        let unknown = if epoch == BrokerEpoch::NONE { -1 } else { -1_000 };
        Value::Int(self.epochs.get(&(broker, epoch)).copied().unwrap_or(unknown))
    }
}

impl Entry {
    fn end(&self) -> Offset {
        Offset(self.base.0 + self.records.len() as i64)
    }
}
