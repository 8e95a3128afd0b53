//! Messages as frames: record batches leave the message, and an index stays in their place.

use bytes::{Bytes, BytesMut};
use kraft_model::metadata::{Request, Response};
use kraft_model::raft::{VoterChange, VoterChangeError};
use kraft_model::replica::{self, FetchPosition};
use kraft_model::{Offset, TopicPartition, raft};
use serde::{Deserialize, Serialize};
use tokio_util::codec::{Decoder, Encoder};

use super::frame::{FrameCodec, FrameError, Incoming, Kind, Outgoing};
use super::message::{FetchedPartition, Message, QuorumView, ReplicaFetch, ReplicaFetched};
use crate::storage::{BatchError, RecordBatch, Records, VoterEndpoint};

/// Where the records are: the number of the attachment.
type Attached = u32;

/// [`ReplicaFetched`] without its records.
#[derive(Serialize, Deserialize)]
struct FetchedHeader {
    fetcher: u32,
    sequence: u64,
    unknown_session: bool,
    partitions: Vec<(TopicPartition, FetchPosition, replica::FetchOutcome<Option<Attached>>)>,
}

/// The bytes of `message` as one frame.
///
/// # Errors
/// If it is larger than a peer would take.
pub fn encode_message(message: Message) -> Result<Bytes, FrameError> {
    let mut bytes = BytesMut::new();
    FrameCodec::link().encode(frame(message)?, &mut bytes)?;
    Ok(bytes.freeze())
}

/// The message that is exactly `bytes`: what arrives on a link, for fuzzing.
///
/// # Errors
/// Everything for which a link is closed.
pub fn decode_frame(bytes: &[u8]) -> Result<Message, FrameError> {
    let mut buffer = BytesMut::from(bytes);
    let frame = FrameCodec::link().decode(&mut buffer)?;
    match frame.filter(|_| buffer.is_empty()) {
        Some(frame) => message(&frame),
        None => Err(FrameError::Short { length: bytes.len() }),
    }
}

pub(super) fn frame(message: Message) -> Result<Outgoing, FrameError> {
    let mut attachments = Vec::new();
    match message {
        Message::Quorum(message) => {
            let body = without_records(message, &mut attachments);
            Outgoing::new(Kind::Quorum, &body, attachments)
        }
        Message::Controller { id, request } => {
            Outgoing::new(Kind::Controller, &(id, request), attachments)
        }
        Message::ControllerReply { id, response } => {
            Outgoing::new(Kind::ControllerReply, &(id, response), attachments)
        }
        Message::ReplicaFetch(fetch) => Outgoing::new(Kind::ReplicaFetch, &fetch, attachments),
        Message::ReplicaFetched(fetched) => {
            let body = fetched_header(fetched, &mut attachments);
            Outgoing::new(Kind::ReplicaFetched, &body, attachments)
        }
        Message::DescribeQuorum { id } => Outgoing::new(Kind::DescribeQuorum, &id, attachments),
        Message::QuorumDescribed { id, view } => {
            Outgoing::new(Kind::QuorumDescribed, &(id, view), attachments)
        }
        Message::ChangeVoters { id, change, endpoints } => {
            Outgoing::new(Kind::ChangeVoters, &(id, change, endpoints), attachments)
        }
        Message::VotersChanged { id, result } => {
            Outgoing::new(Kind::VotersChanged, &(id, result), attachments)
        }
        Message::Ping => Outgoing::new(Kind::Ping, &(), attachments),
        Message::Pong => Outgoing::new(Kind::Pong, &(), attachments),
    }
}

pub(super) fn message(frame: &Incoming) -> Result<Message, FrameError> {
    match frame.kind {
        Kind::Quorum => {
            let (body, attachments) = frame.read::<raft::Message<Attached>>()?;
            let mut attachments = Attachments::new(attachments);
            let message = with_records(body, &mut attachments)?;
            attachments.done(Message::Quorum(message))
        }
        Kind::Controller => {
            let (id, request) = plain::<(u64, Request)>(frame)?;
            Ok(Message::Controller { id, request })
        }
        Kind::ControllerReply => {
            let (id, response) = plain::<(u64, Response)>(frame)?;
            Ok(Message::ControllerReply { id, response })
        }
        Kind::ReplicaFetch => plain::<ReplicaFetch>(frame).map(Message::ReplicaFetch),
        Kind::ReplicaFetched => {
            let (body, attachments) = frame.read::<FetchedHeader>()?;
            let mut attachments = Attachments::new(attachments);
            let fetched = fetched(body, &mut attachments)?;
            attachments.done(Message::ReplicaFetched(fetched))
        }
        Kind::DescribeQuorum => plain(frame).map(|id| Message::DescribeQuorum { id }),
        Kind::QuorumDescribed => {
            let (id, view) = plain::<(u64, QuorumView)>(frame)?;
            Ok(Message::QuorumDescribed { id, view })
        }
        Kind::ChangeVoters => {
            let (id, change, endpoints) = plain::<(u64, VoterChange, Vec<VoterEndpoint>)>(frame)?;
            Ok(Message::ChangeVoters { id, change, endpoints })
        }
        Kind::VotersChanged => {
            let (id, result) = plain::<(u64, Result<(), VoterChangeError>)>(frame)?;
            Ok(Message::VotersChanged { id, result })
        }
        Kind::Ping => plain(frame).map(|()| Message::Ping),
        Kind::Pong => plain(frame).map(|()| Message::Pong),
        kind @ (Kind::Hello | Kind::Refusal | Kind::Ready) => Err(FrameError::Unexpected(kind)),
    }
}

/// The body of a kind that has no attachments.
pub(super) fn plain<T: serde::de::DeserializeOwned>(frame: &Incoming) -> Result<T, FrameError> {
    let (body, attachments) = frame.read()?;
    Attachments::new(attachments).done(body)
}

/// Puts the records of one place aside. None at all and an empty batch are the same to a receiver.
fn put(records: Option<Records>, attachments: &mut Vec<Bytes>) -> Option<Attached> {
    records.filter(|records| !records.bytes.is_empty()).map(|records| {
        attachments.push(records.bytes);
        (attachments.len() - 1) as Attached
    })
}

fn without_records(
    message: raft::Message<Records>,
    attachments: &mut Vec<Bytes>,
) -> raft::Message<Attached> {
    use raft::Message as M;
    match message {
        M::Vote(vote) => M::Vote(vote),
        M::VoteResponse(response) => M::VoteResponse(response),
        M::BeginQuorumEpoch(begin) => M::BeginQuorumEpoch(begin),
        M::BeginQuorumEpochResponse { epoch, leader } => {
            M::BeginQuorumEpochResponse { epoch, leader }
        }
        M::EndQuorumEpoch(end) => M::EndQuorumEpoch(end),
        M::Fetch(fetch) => M::Fetch(fetch),
        M::FetchSnapshot(fetch) => M::FetchSnapshot(fetch),
        M::FetchResponse(response) => {
            use raft::FetchOutcome as O;
            let outcome = match response.outcome {
                O::Records { batch, high_watermark } => {
                    O::Records { batch: put(batch, attachments), high_watermark }
                }
                O::Diverging(end) => O::Diverging(end),
                O::Snapshot(id) => O::Snapshot(id),
                O::Refused(error) => O::Refused(error),
            };
            let raft::FetchResponse { epoch, leader, offset, last_epoch, .. } = response;
            M::FetchResponse(raft::FetchResponse { epoch, leader, offset, last_epoch, outcome })
        }
        M::FetchSnapshotResponse(response) => {
            let chunk = response.chunk.map(|(records, last)| {
                attachments.push(records.bytes);
                ((attachments.len() - 1) as Attached, last)
            });
            let raft::FetchSnapshotResponse { epoch, leader, snapshot, position, .. } = response;
            M::FetchSnapshotResponse(raft::FetchSnapshotResponse {
                epoch,
                leader,
                snapshot,
                position,
                chunk,
            })
        }
    }
}

fn with_records(
    message: raft::Message<Attached>,
    attachments: &mut Attachments,
) -> Result<raft::Message<Records>, FrameError> {
    use raft::Message as M;
    Ok(match message {
        M::Vote(vote) => M::Vote(vote),
        M::VoteResponse(response) => M::VoteResponse(response),
        M::BeginQuorumEpoch(begin) => M::BeginQuorumEpoch(begin),
        M::BeginQuorumEpochResponse { epoch, leader } => {
            M::BeginQuorumEpochResponse { epoch, leader }
        }
        M::EndQuorumEpoch(end) => M::EndQuorumEpoch(end),
        M::Fetch(fetch) => M::Fetch(fetch),
        M::FetchSnapshot(fetch) => M::FetchSnapshot(fetch),
        M::FetchResponse(response) => {
            use raft::FetchOutcome as O;
            let outcome = match response.outcome {
                O::Records { batch, high_watermark } => {
                    O::Records { batch: attachments.optional(batch)?, high_watermark }
                }
                O::Diverging(end) => O::Diverging(end),
                O::Snapshot(id) => O::Snapshot(id),
                O::Refused(error) => O::Refused(error),
            };
            let raft::FetchResponse { epoch, leader, offset, last_epoch, .. } = response;
            M::FetchResponse(raft::FetchResponse { epoch, leader, offset, last_epoch, outcome })
        }
        M::FetchSnapshotResponse(response) => {
            let raft::FetchSnapshotResponse { epoch, leader, snapshot, position, chunk } = response;
            let chunk = match chunk {
                Ok((index, last)) => Ok((attachments.chunk(index, snapshot, position)?, last)),
                Err(error) => Err(error),
            };
            M::FetchSnapshotResponse(raft::FetchSnapshotResponse {
                epoch,
                leader,
                snapshot,
                position,
                chunk,
            })
        }
    })
}

fn fetched_header(fetched: ReplicaFetched, attachments: &mut Vec<Bytes>) -> FetchedHeader {
    use replica::FetchOutcome as O;
    let ReplicaFetched { fetcher, sequence, unknown_session, partitions } = fetched;
    let header = |FetchedPartition { id, position, outcome }: FetchedPartition| {
        let outcome = match outcome {
            O::Records { records, high_watermark, log_start } => {
                O::Records { records: put(records, attachments), high_watermark, log_start }
            }
            O::Diverging(end) => O::Diverging(end),
            O::OutOfRange { log_start, end } => O::OutOfRange { log_start, end },
            O::Refused(error) => O::Refused(error),
        };
        (id, position, outcome)
    };
    let partitions = partitions.into_iter().map(header).collect();
    FetchedHeader { fetcher, sequence, unknown_session, partitions }
}

fn fetched(
    header: FetchedHeader,
    attachments: &mut Attachments,
) -> Result<ReplicaFetched, FrameError> {
    use replica::FetchOutcome as O;
    let FetchedHeader { fetcher, sequence, unknown_session, partitions } = header;
    let mut with_records = |(id, position, outcome)| {
        let outcome = match outcome {
            O::Records { records, high_watermark, log_start } => {
                O::Records { records: attachments.optional(records)?, high_watermark, log_start }
            }
            O::Diverging(end) => O::Diverging(end),
            O::OutOfRange { log_start, end } => O::OutOfRange { log_start, end },
            O::Refused(error) => O::Refused(error),
        };
        Ok(FetchedPartition { id, position, outcome })
    };
    let partitions =
        partitions.into_iter().map(&mut with_records).collect::<Result<_, FrameError>>()?;
    Ok(ReplicaFetched { fetcher, sequence, unknown_session, partitions })
}

/// A frame's attachments, each to be taken once and in order.
struct Attachments {
    all: Vec<Bytes>,
    taken: usize,
}

impl Attachments {
    fn new(all: Vec<Bytes>) -> Attachments {
        Attachments { all, taken: 0 }
    }

    fn take(&mut self, index: Attached) -> Result<Bytes, FrameError> {
        let have = self.all.iter().map(Bytes::len).sum();
        let bytes = self.all.get(index as usize).filter(|_| index as usize == self.taken);
        let bytes = bytes.cloned().ok_or(FrameError::Attachments { have })?;
        self.taken += 1;
        Ok(bytes)
    }

    fn optional(&mut self, index: Option<Attached>) -> Result<Option<Records>, FrameError> {
        let Some(index) = index else { return Ok(None) };
        let bytes = self.take(index)?;
        let index = index as usize;
        records(bytes).map(Some).map_err(|source| FrameError::Batch { index, source })
    }

    /// A piece of a snapshot's file: it may begin and end inside a batch, so nothing is read of it
    /// here. Its extent counts bytes of the file; whoever has all pieces reads the batches.
    fn chunk(
        &mut self,
        index: Attached,
        of: raft::SnapshotId,
        position: u64,
    ) -> Result<Records, FrameError> {
        let bytes = self.take(index)?;
        let base = i64::try_from(position).map_or(Offset(-1), Offset);
        let end = base.plus(bytes.len() as i64);
        Ok(Records { bytes, base, end, last_epoch: of.epoch.0 })
    }

    fn done<T>(self, value: T) -> Result<T, FrameError> {
        let have = self.all.iter().map(Bytes::len).sum();
        if self.taken == self.all.len() { Ok(value) } else { Err(FrameError::Attachments { have }) }
    }
}

/// What a peer sent, its extent read from the batches themselves. Checksums are left to whoever
/// appends.
fn records(bytes: Bytes) -> Result<Records, BatchError> {
    let first = checked_batch(&bytes)?;
    let (mut last, mut at) = (first, first.size);
    while at < bytes.len() {
        let next = checked_batch(&bytes[at..])?;
        if next.base < last.end() {
            return Err(BatchError::Malformed("the batches are not in offset order"));
        }
        at += next.size;
        last = next;
    }
    Ok(Records { bytes, base: first.base, end: last.end(), last_epoch: last.leader_epoch.0 })
}

fn checked_batch(bytes: &[u8]) -> Result<RecordBatch, BatchError> {
    let batch = RecordBatch::read(bytes)?;
    // Room for the offset delta, so that the end is a number too.
    if batch.base < Offset::ZERO || batch.base.0 > i64::MAX - (1 << 32) {
        return Err(BatchError::Malformed("the base offset is impossible"));
    }
    Ok(batch)
}
