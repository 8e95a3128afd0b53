//! The model's states in the variables of `tla/Replication.tla`.
//!
//! | there | here | left out, and why |
//! |---|---|---|
//! | `partition` | the controller's partition, and min.insync.replicas | the order of ISR and ELR: nobody reads it |
//! | `registration` | epoch, fenced | |
//! | `broker[b].process` | how it went down | |
//! | `.log`, `.flushed`, `.hw` | the same | producer state, a function of the log (I1) |
//! | `.view` | what the replica knows of the metadata | the ELR, of which a broker makes no use; but who leads, and in which epoch, while it does not lead |
//! | `.progress` | what a leader knows of followers | end and epoch of one that has not fetched in this epoch |
//! | `.proposal` | the open question to the controller | |
//! | `.waiting` | by offset | the request's number, a function of the record |
//! | `fetches`, `alters` | what is under way | of a refusal all but the error |
//! | `acknowledged`, `shown` | the history | |
//! | `left` | the same | resends: the specification has no idempotent producers |
//!
//! Role, fetch position and epoch start are no variables there: a role follows from the view, the
//! others from log and view. Brokers are 1, 2, 3, and 0 is nobody.

use crate::check::count::Projected;
use crate::check::value::Value;
use crate::log::Log;
use crate::metadata::{AlteredPartition, Partition};
use crate::replica::small_log::SmallRecord;
use crate::replica::{FetchOutcome, FetchPosition};
use crate::{BrokerEpoch, EpochEnd, ErrorCode, NodeId, Offset};

use super::config::ReplicaModel;
use super::state::{Alteration, BROKERS, Broker, Exchange, MIN_ISR, State, Stop, node};

impl Projected for ReplicaModel {
    fn project(&self, state: &State) -> Vec<(&'static str, Value)> {
        let appended = i64::from(self.left.appends);
        let acknowledged = (0..appended).zip(&state.history.acknowledged);
        let acknowledged =
            acknowledged.map(|(value, at)| (value, Value::Int(at.map_or(-1, i64::from))));
        let pairs = |exchanges: &[Option<_>; BROKERS]| Value::sequence(exchanges.iter().map(fetch));
        vec![
            ("acknowledged", Value::function(acknowledged)),
            ("alters", Value::sequence(state.alters.iter().map(|it| alter(it.as_deref())))),
            ("broker", Value::sequence((0..BROKERS).map(|index| broker(&state.brokers[index])))),
            ("fetches", Value::sequence(state.fetches.iter().map(pairs))),
            ("left", left(state)),
            ("partition", partition(&state.controller.partition)),
            ("registration", registration(state)),
            ("shown", records(&state.history.shown)),
        ]
    }
}

fn id(node: NodeId) -> Value {
    Value::Int(i64::from(node.0) + 1)
}

fn leader(node: Option<NodeId>) -> Value {
    node.map_or(Value::Int(0), id)
}

fn ids(nodes: &[NodeId]) -> Value {
    Value::set(nodes.iter().copied().map(id))
}

fn left(state: &State) -> Value {
    let left = &state.left;
    let counter = |value: u8| Value::Int(i64::from(value));
    Value::record([
        ("appends", counter(left.appends)),
        ("fences", counter(left.fences)),
        ("silences", counter(left.silences)),
        ("cleanStops", counter(left.clean_stops)),
        ("lossyStops", counter(left.lossy_stops)),
    ])
}

fn partition(partition: &Partition) -> Value {
    Value::record([
        ("replicas", Value::sequence(partition.replicas.iter().copied().map(id))),
        ("isr", ids(&partition.isr)),
        ("elr", ids(&partition.elr)),
        ("lastKnown", ids(&partition.last_known_elr)),
        ("adding", ids(&partition.adding)),
        ("removing", ids(&partition.removing)),
        ("leader", leader(partition.leader)),
        ("recovering", partition.recovering.into()),
        ("leaderEpoch", i64::from(partition.leader_epoch.0).into()),
        ("partitionEpoch", i64::from(partition.partition_epoch.0).into()),
        ("minIsr", i64::from(MIN_ISR).into()),
    ])
}

fn registered(epoch: i64, fenced: bool) -> Value {
    Value::record([("epoch", epoch.into()), ("fenced", fenced.into())])
}

fn registration(state: &State) -> Value {
    let all = state.controller.registrations.iter();
    Value::sequence(all.map(|it| registered(i64::from(it.epoch), it.fenced)))
}

fn records(records: &[SmallRecord]) -> Value {
    Value::sequence(records.iter().map(|record| {
        let (epoch, value) = (i64::from(record.epoch), i64::from(record.value));
        Value::record([("epoch", epoch.into()), ("value", value.into())])
    }))
}

fn broker(broker: &Broker) -> Value {
    let process = match broker.stop {
        None => "up",
        Some(Stop::Clean) => "stopped",
        Some(Stop::Lossy) => "crashed",
    };
    let replica = &broker.replica;
    let leading = replica.leading();
    let waiting = leading.iter().flat_map(|it| &it.waiting);
    let (kind, asked) = leading.as_ref().map_or(("none", None), |it| it.proposal);
    let proposal = match asked {
        Some(asked) => Value::record([("kind", kind.into()), ("asked", altered(&asked))]),
        None => Value::kind(kind),
    };
    Value::record([
        ("process", process.into()),
        ("log", records(broker.log.records())),
        ("flushed", broker.log.flushed().0.into()),
        ("hw", replica.high_watermark().0.into()),
        ("view", view(broker)),
        ("progress", Value::sequence((0..BROKERS).map(|other| progress(broker, node(other))))),
        ("proposal", proposal),
        ("waiting", Value::set(waiting.map(|end| Value::Int(end.0 - 1)))),
    ])
}

fn view(broker: &Broker) -> Value {
    let replica = &broker.replica;
    let epoch = i64::from(replica.leader_epoch().0);
    let (isr, recovering, partition_epoch, brokers) = match replica.leading() {
        Some(it) => {
            let brokers = it.brokers.iter();
            let brokers = brokers.map(|&(_, epoch, active)| registered(epoch.0, !active));
            let partition_epoch = i64::from(it.partition_epoch.0);
            (ids(&it.isr), it.recovering, partition_epoch, Value::sequence(brokers))
        }
        None => (Value::set([]), false, -1, Value::sequence([])),
    };
    Value::record([
        ("leader", leader(replica.leader())),
        ("leaderEpoch", epoch.into()),
        ("isr", isr),
        ("recovering", recovering.into()),
        ("partitionEpoch", partition_epoch.into()),
        ("brokers", brokers),
    ])
}

fn progress(broker: &Broker, of: NodeId) -> Value {
    let known = broker.replica.follows(of);
    let (end, epoch) = known.fetched.unwrap_or((Offset::ZERO, BrokerEpoch(-1)));
    Value::record([
        ("fetched", known.fetched.is_some().into()),
        ("end", end.0.into()),
        ("epoch", epoch.0.into()),
        ("over", known.over.into()),
    ])
}

fn altered(asked: &AlteredPartition) -> Value {
    let epochs = asked.isr.iter().zip(&asked.isr_epochs);
    let epochs = epochs.map(|(member, epoch)| (i64::from(member.0) + 1, Value::Int(epoch.0)));
    Value::record([
        ("leaderEpoch", i64::from(asked.leader_epoch.0).into()),
        ("partitionEpoch", i64::from(asked.partition_epoch.0).into()),
        ("isr", ids(&asked.isr)),
        ("epochs", Value::function(epochs)),
    ])
}

fn alter(alteration: Option<&Alteration>) -> Value {
    match alteration {
        None => Value::kind("none"),
        Some(Alteration::Asked { sender, asked }) => Value::record([
            ("kind", "asked".into()),
            ("sender", sender.0.into()),
            ("asked", altered(asked)),
        ]),
        Some(Alteration::Answered { asked, answer }) => Value::record([
            ("kind", "answered".into()),
            ("leaderEpoch", i64::from(asked.leader_epoch.0).into()),
            ("partitionEpoch", i64::from(asked.partition_epoch.0).into()),
            ("error", answer.err().map_or("", ErrorCode::name).into()),
        ]),
    }
}

fn position(position: &FetchPosition) -> Value {
    Value::record([
        ("leaderEpoch", i64::from(position.leader_epoch.0).into()),
        ("offset", position.offset.0.into()),
        ("lastEpoch", i64::from(position.last_epoch.0).into()),
    ])
}

fn fetch(exchange: &Option<crate::check::shared::Shared<Exchange>>) -> Value {
    match exchange.as_deref() {
        None => Value::kind("none"),
        Some(Exchange::Asked(fetch)) => Value::record([
            ("kind", "asked".into()),
            ("epoch", fetch.broker_epoch.0.into()),
            ("position", position(&fetch.position)),
        ]),
        Some(Exchange::Answered(answer)) => Value::record([
            ("kind", "answered".into()),
            ("position", position(&answer.position)),
            ("outcome", outcome(&answer.outcome)),
        ]),
    }
}

fn outcome(outcome: &FetchOutcome<crate::replica::small_log::SmallBatch>) -> Value {
    match outcome {
        FetchOutcome::Records { records: batch, high_watermark, .. } => Value::record([
            ("kind", "records".into()),
            ("hw", high_watermark.0.into()),
            ("records", records(&batch.records)),
        ]),
        FetchOutcome::Diverging(EpochEnd { epoch, end }) => {
            let parting =
                Value::record([("epoch", i64::from(*epoch).into()), ("end", end.0.into())]);
            Value::record([("kind", "diverging".into()), ("parting", parting)])
        }
        FetchOutcome::OutOfRange { end, .. } => {
            Value::record([("kind", "out-of-range".into()), ("end", end.0.into())])
        }
        FetchOutcome::Refused(_) => Value::kind("refused"),
    }
}
