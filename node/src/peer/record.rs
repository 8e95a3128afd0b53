//! Metadata records as the values of the metadata log: CBOR arrays `[kind, version, body]`.
//!
//! A kind's number is Kafka's api key for the record of that name. A snapshot's values are the same
//! records. Golden files hold an example of each; a change of a body is a new version.

use bytes::Bytes;
use kraft_model::inline::Nodes;
use kraft_model::metadata::{PartitionChange, Record};
use kraft_model::{NodeId, Offset, TopicPartition};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::cbor::{self, CborError};
use crate::storage::{BatchError, RecordBatch, Records, values};

/// The version in which every record is written.
const VERSION: u8 = 0;

/// The highest metadata.version whose records this release reads (Kafka's numbering, 4.0-IV3).
pub const NEWEST_METADATA_VERSION: i16 = 25;

/// Why bytes are not a metadata record that this release can replay.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("a metadata record cannot be encoded")]
    Encode(#[source] CborError),
    #[error("a metadata record of kind {kind} cannot be read")]
    Body {
        kind: u16,
        #[source]
        source: CborError,
    },
    #[error("a change of partition names {0} as its leader, which is no node's id")]
    Leader(i32),
    #[error("not a metadata record")]
    Form(#[source] CborError),
    #[error(
        "metadata records of kind {kind} need {}, which this release does not replay",
        needed(*kind)
    )]
    Kind { kind: u16 },
    #[error(
        "version {version} of metadata record kind {kind} needs a metadata.version above \
         {NEWEST_METADATA_VERSION}; run a newer release"
    )]
    Version { kind: u16, version: u8 },
}

/// Why a batch of the metadata log cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableBatch {
    #[error("the metadata batch at offset {0} cannot be read: {1}")]
    Batch(Offset, BatchError),
    #[error("the metadata batch at offset {0} cannot be read: {1}")]
    Record(Offset, RecordError),
}

/// Kafka's kinds that kraft has no use for, with the metadata.version from which they are written.
const FOREIGN: &[(u16, &str, i16)] = &[
    (7, "FenceBroker", 1),
    (8, "UnfenceBroker", 1),
    (10, "DelegationToken", 14),
    (11, "UserScramCredential", 11),
    (14, "ClientQuota", 1),
    (18, "AccessControlEntry", 1),
    (19, "RemoveAccessControlEntry", 1),
    (21, "ZkMigrationState", 8),
    (22, "RemoveUserScramCredential", 11),
    (23, "BeginTransaction", 13),
    (24, "EndTransaction", 13),
    (25, "AbortTransaction", 13),
    (26, "RemoveDelegationToken", 14),
];

fn needed(kind: u16) -> String {
    match FOREIGN.iter().find(|&&(number, ..)| number == kind) {
        Some((_, name, level)) => format!("metadata.version {level} with {name}"),
        None => format!("a metadata.version above {NEWEST_METADATA_VERSION}"),
    }
}

/// [`PartitionChange`] with Kafka's numbers for the leader: nested options are one null in CBOR,
/// and "no leader" must not turn into "as it was".
#[derive(Serialize, Deserialize)]
struct ChangeBody {
    id: TopicPartition,
    replicas: Option<Nodes>,
    isr: Option<Nodes>,
    removing: Option<Nodes>,
    adding: Option<Nodes>,
    leader: i32,
    recovering: Option<bool>,
    elr: Option<Nodes>,
    last_known_elr: Option<Nodes>,
}

const LEADER_UNCHANGED: i32 = -2;
const NO_LEADER: i32 = -1;

/// The bytes of one record.
///
/// # Errors
/// [`RecordError::Encode`], which no record of ours comes to.
pub fn encode(record: &Record) -> Result<Bytes, RecordError> {
    match record {
        Record::RegisterBroker(body) => value(0, body),
        Record::UnregisterBroker { broker, epoch } => value(1, &(broker, epoch)),
        Record::Topic { id, name } => value(2, &(id, name)),
        Record::Partition(body) => value(3, body),
        Record::Config(body) => value(4, body),
        Record::PartitionChange(change) => value(5, &change_body(change)),
        Record::RemoveTopic { id } => value(9, &(id,)),
        Record::FeatureLevel { name, level } => value(12, &(name, level)),
        Record::ProducerIds { broker, epoch, next } => value(15, &(broker, epoch, next)),
        Record::BrokerRegistrationChange(body) => value(17, body),
        Record::NoOp => value(20, &()),
        Record::RegisterController(body) => value(27, body),
        Record::ClearElr { topic } => value(28, &(topic,)),
    }
}

fn value<T: Serialize>(kind: u16, body: &T) -> Result<Bytes, RecordError> {
    cbor::encode(&(kind, VERSION, body)).map_err(RecordError::Encode)
}

/// The metadata records in a batch; none in a control batch.
///
/// # Errors
/// It is no batch, or one of its values is no record ([`decode`]).
pub fn decode_batch(batch: &Records) -> Result<Vec<Record>, UnreadableBatch> {
    let fault = |error| UnreadableBatch::Batch(batch.base, error);
    if RecordBatch::read(&batch.bytes).map_err(fault)?.is_control() {
        return Ok(Vec::new());
    }
    let record = |value: Result<_, _>| {
        let decoded = decode(value.map_err(fault)?);
        decoded.map_err(|error| UnreadableBatch::Record(batch.base, error))
    };
    values(&batch.bytes).map(record).collect()
}

/// The record that is exactly `bytes`.
///
/// # Errors
/// [`RecordError::Kind`] and [`RecordError::Version`] for what a newer release wrote, else damage.
pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
    let (kind, version, _): (u16, u8, IgnoredAny) =
        cbor::decode(bytes).map_err(RecordError::Form)?;
    let known = matches!(kind, 0..=5 | 9 | 12 | 15 | 17 | 20 | 27 | 28);
    if !known {
        return Err(RecordError::Kind { kind });
    }
    if version != VERSION {
        return Err(RecordError::Version { kind, version });
    }
    Ok(match kind {
        0 => Record::RegisterBroker(body(kind, bytes)?),
        1 => {
            let (broker, epoch) = body(kind, bytes)?;
            Record::UnregisterBroker { broker, epoch }
        }
        2 => {
            let (id, name) = body(kind, bytes)?;
            Record::Topic { id, name }
        }
        3 => Record::Partition(body(kind, bytes)?),
        4 => Record::Config(body(kind, bytes)?),
        5 => Record::PartitionChange(change(body(kind, bytes)?)?),
        9 => {
            let (id,) = body(kind, bytes)?;
            Record::RemoveTopic { id }
        }
        12 => {
            let (name, level) = body(kind, bytes)?;
            Record::FeatureLevel { name, level }
        }
        15 => {
            let (broker, epoch, next) = body(kind, bytes)?;
            Record::ProducerIds { broker, epoch, next }
        }
        17 => Record::BrokerRegistrationChange(body(kind, bytes)?),
        20 => {
            let () = body(kind, bytes)?;
            Record::NoOp
        }
        27 => Record::RegisterController(body(kind, bytes)?),
        28 => {
            let (topic,) = body(kind, bytes)?;
            Record::ClearElr { topic }
        }
        _ => return Err(RecordError::Kind { kind }),
    })
}

fn body<T: DeserializeOwned>(kind: u16, bytes: &[u8]) -> Result<T, RecordError> {
    let decoded: Result<(u16, u8, T), CborError> = cbor::decode(bytes);
    decoded.map(|(_, _, body)| body).map_err(|source| RecordError::Body { kind, source })
}

fn change_body(change: &PartitionChange) -> ChangeBody {
    let &PartitionChange {
        id,
        replicas,
        isr,
        removing,
        adding,
        leader,
        recovering,
        elr,
        last_known_elr,
    } = change;
    let leader = match leader {
        None => LEADER_UNCHANGED,
        Some(None) => NO_LEADER,
        Some(Some(NodeId(id))) => id,
    };
    ChangeBody { id, replicas, isr, removing, adding, leader, recovering, elr, last_known_elr }
}

fn change(body: ChangeBody) -> Result<PartitionChange, RecordError> {
    let ChangeBody { id, replicas, isr, removing, adding, leader, recovering, elr, last_known_elr } =
        body;
    let leader = match leader {
        LEADER_UNCHANGED => None,
        NO_LEADER => Some(None),
        id if id >= 0 => Some(Some(NodeId(id))),
        other => return Err(RecordError::Leader(other)),
    };
    Ok(PartitionChange {
        id,
        replicas,
        isr,
        removing,
        adding,
        leader,
        recovering,
        elr,
        last_known_elr,
    })
}
