//! A message as a packet, and back.

use crate::inline::InlineVec;
use crate::raft::{
    BeginQuorumEpoch, EndQuorumEpoch, Fetch, FetchOutcome, FetchResponse, FetchSnapshot,
    FetchSnapshotResponse, Message, SnapshotId, Vote, VoteResponse,
};
use crate::{Epoch, EpochEnd, ErrorCode, NodeId, Offset, ReplicaKey};

use super::keys::{SmallKey, id, key_of};
use super::packet::Packet;
use super::record::{Record, Run};

fn pack_key(key: ReplicaKey) -> SmallKey {
    key.directory.0 as u8
}

fn pack_id(id: Option<NodeId>) -> u8 {
    id.map_or(0, |id| id.0 as u8)
}

fn unpack_id(packed: u8) -> Option<NodeId> {
    (packed > 0).then_some(NodeId(i32::from(packed)))
}

const ERRORS: [ErrorCode; 6] = [
    ErrorCode::FencedLeaderEpoch,
    ErrorCode::UnknownLeaderEpoch,
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::InvalidVoterKey,
    ErrorCode::InvalidRequest,
    ErrorCode::SnapshotNotFound,
];

fn pack_error(error: Option<ErrorCode>) -> u8 {
    error.map_or(0, |error| {
        let at = ERRORS.iter().position(|&known| known == error);
        at.expect("an error that the quorum answers with") as u8 + 1
    })
}

pub(super) fn unpack_error(packed: u8) -> Option<ErrorCode> {
    (packed > 0).then(|| ERRORS[usize::from(packed) - 1])
}

fn epoch(packed: u8) -> Epoch {
    Epoch(i32::from(packed))
}

fn offset(packed: u8) -> Offset {
    Offset(i64::from(packed))
}

fn snapshot(end: u8, end_epoch: u8) -> SnapshotId {
    SnapshotId { end: offset(end), epoch: epoch(end_epoch) }
}

/// The record of a run of at most one.
fn only(run: Run) -> Record {
    debug_assert!(run.len() <= 1, "a modelled log is read record by record");
    run.as_slice().first().copied().unwrap_or_default()
}
impl Packet {
    pub(super) fn pack(message: &Message<Run>) -> Packet {
        match message {
            Message::Vote(vote) => Packet::Vote {
                epoch: vote.epoch.0 as u8,
                candidate: pack_key(vote.candidate),
                voter: pack_key(vote.voter),
                last_epoch: vote.last_epoch.0 as u8,
                end: vote.end.0 as u8,
                pre_vote: vote.pre_vote,
            },
            Message::VoteResponse(answer) => Packet::VoteResponse {
                epoch: answer.epoch.0 as u8,
                leader: pack_id(answer.leader),
                granted: answer.granted,
                pre_vote: answer.pre_vote,
                error: pack_error(answer.error),
            },
            Message::BeginQuorumEpoch(begin) => {
                Packet::Begin { epoch: begin.epoch.0 as u8, voter: pack_key(begin.voter) }
            }
            Message::BeginQuorumEpochResponse { epoch, leader } => {
                Packet::BeginResponse { epoch: epoch.0 as u8, leader: pack_id(*leader) }
            }
            Message::EndQuorumEpoch(end) => Packet::End { epoch: end.epoch.0 as u8 },
            Message::Fetch(fetch) => Packet::Fetch {
                epoch: fetch.epoch.0 as u8,
                replica: pack_key(fetch.replica),
                offset: fetch.offset.0 as u8,
                last_epoch: fetch.last_epoch.0 as u8,
                high_watermark: fetch.high_watermark.0 as u8,
            },
            Message::FetchResponse(answer) => Packet::pack_fetched(answer),
            Message::FetchSnapshot(fetch) => Packet::FetchSnapshot {
                epoch: fetch.epoch.0 as u8,
                replica: pack_key(fetch.replica),
                end: fetch.snapshot.end.0 as u8,
                end_epoch: fetch.snapshot.epoch.0 as u8,
                position: fetch.position as u8,
            },
            Message::FetchSnapshotResponse(answer) => {
                let chunk = answer.chunk.as_ref();
                Packet::Chunk {
                    epoch: answer.epoch.0 as u8,
                    leader: pack_id(answer.leader),
                    end: answer.snapshot.end.0 as u8,
                    end_epoch: answer.snapshot.epoch.0 as u8,
                    position: answer.position as u8,
                    record: chunk.map_or(Record::default(), |&(run, _)| only(run)),
                    last: chunk.is_ok_and(|&(_, last)| last),
                    error: pack_error(chunk.err().copied()),
                }
            }
        }
    }

    fn pack_fetched(answer: &FetchResponse<Run>) -> Packet {
        let (epoch, leader) = (answer.epoch.0 as u8, pack_id(answer.leader));
        let (offset, last_epoch) = (answer.offset.0 as u8, answer.last_epoch.0 as u8);
        match answer.outcome {
            FetchOutcome::Records { batch, high_watermark } => {
                let record = batch.map_or(Record::default(), only);
                let high_watermark = high_watermark.0 as u8;
                Packet::Records { epoch, leader, offset, last_epoch, record, high_watermark }
            }
            FetchOutcome::Diverging(end) => {
                let (end_epoch, end) = (end.epoch as u8, end.end.0 as u8);
                Packet::Diverging { epoch, leader, offset, last_epoch, end_epoch, end }
            }
            FetchOutcome::Snapshot(snapshot) => {
                let (end, end_epoch) = (snapshot.end.0 as u8, snapshot.epoch.0 as u8);
                Packet::Offer { epoch, leader, offset, last_epoch, end, end_epoch }
            }
            FetchOutcome::Refused(error) => {
                let error = pack_error(Some(error));
                Packet::Refused { epoch, leader, offset, last_epoch, error }
            }
        }
    }

    /// The message again, as it was sent by the node with the index `from`, which knows its leader.
    pub(super) fn unpack(self, from: usize) -> Message<Run> {
        match self {
            Packet::None => unreachable!("an empty place is no message"),
            Packet::Vote { epoch: e, candidate, voter, last_epoch, end, pre_vote } => {
                Message::Vote(Vote {
                    epoch: epoch(e),
                    candidate: key_of(candidate),
                    voter: key_of(voter),
                    last_epoch: epoch(last_epoch),
                    end: offset(end),
                    pre_vote,
                })
            }
            Packet::VoteResponse { epoch: e, leader, granted, pre_vote, error } => {
                let (epoch, leader, error) = (epoch(e), unpack_id(leader), unpack_error(error));
                Message::VoteResponse(VoteResponse { epoch, leader, granted, pre_vote, error })
            }
            Packet::Begin { epoch: e, voter } => Message::BeginQuorumEpoch(BeginQuorumEpoch {
                epoch: epoch(e),
                leader: id(from),
                voter: key_of(voter),
            }),
            Packet::BeginResponse { epoch: e, leader } => {
                Message::BeginQuorumEpochResponse { epoch: epoch(e), leader: unpack_id(leader) }
            }
            Packet::End { epoch: e } => Message::EndQuorumEpoch(EndQuorumEpoch {
                epoch: epoch(e),
                leader: id(from),
                successors: InlineVec::new(),
            }),
            Packet::Fetch { epoch: e, replica, offset: at, last_epoch, high_watermark } => {
                Message::Fetch(Fetch {
                    epoch: epoch(e),
                    replica: key_of(replica),
                    offset: offset(at),
                    last_epoch: epoch(last_epoch),
                    high_watermark: offset(high_watermark),
                })
            }
            Packet::Records {
                epoch: e,
                leader,
                offset: at,
                last_epoch,
                record,
                high_watermark,
            } => {
                let batch = (!record.is_none()).then(|| Run::one(offset(at), record));
                let high_watermark = offset(high_watermark);
                let outcome = FetchOutcome::Records { batch, high_watermark };
                fetched(e, leader, at, last_epoch, outcome)
            }
            Packet::Diverging { epoch: e, leader, offset: at, last_epoch, end_epoch, end } => {
                let end = EpochEnd { epoch: i32::from(end_epoch), end: offset(end) };
                fetched(e, leader, at, last_epoch, FetchOutcome::Diverging(end))
            }
            Packet::Offer { epoch: e, leader, offset: at, last_epoch, end, end_epoch } => {
                let outcome = FetchOutcome::Snapshot(snapshot(end, end_epoch));
                fetched(e, leader, at, last_epoch, outcome)
            }
            Packet::Refused { epoch: e, leader, offset: at, last_epoch, error } => {
                let error = unpack_error(error).expect("a refusal names its error");
                fetched(e, leader, at, last_epoch, FetchOutcome::Refused(error))
            }
            Packet::FetchSnapshot { epoch: e, replica, end, end_epoch, position } => {
                Message::FetchSnapshot(FetchSnapshot {
                    epoch: epoch(e),
                    replica: key_of(replica),
                    snapshot: snapshot(end, end_epoch),
                    position: u64::from(position),
                })
            }
            Packet::Chunk { epoch: e, leader, end, end_epoch, position, record, last, error } => {
                let chunk = match unpack_error(error) {
                    Some(error) => Err(error),
                    None => Ok((Run::one(offset(position), record), last)),
                };
                let (epoch, leader) = (epoch(e), unpack_id(leader));
                let position = u64::from(position);
                let snapshot = snapshot(end, end_epoch);
                let answer = FetchSnapshotResponse { epoch, leader, snapshot, position, chunk };
                Message::FetchSnapshotResponse(answer)
            }
        }
    }

    /// What kind of answer this is, 0 for a request.
    pub(super) fn answer_kind(self) -> u8 {
        match self {
            Packet::VoteResponse { .. } => 1,
            Packet::BeginResponse { .. } => 2,
            Packet::Records { .. }
            | Packet::Diverging { .. }
            | Packet::Offer { .. }
            | Packet::Refused { .. } => 3,
            Packet::Chunk { .. } => 4,
            _ => 0,
        }
    }
}

fn fetched(e: u8, leader: u8, at: u8, last_epoch: u8, outcome: FetchOutcome<Run>) -> Message<Run> {
    let (epoch, last_epoch) = (epoch(e), epoch(last_epoch));
    let (leader, offset) = (unpack_id(leader), offset(at));
    Message::FetchResponse(FetchResponse { epoch, leader, offset, last_epoch, outcome })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::quorum::keys::key;

    #[test]
    fn a_packet_unpacks_to_the_message_that_was_packed() {
        let record = Record::data(Epoch(2), 1);
        let batch = Run::one(Offset(3), record);
        let high_watermark = Offset(3);
        let (epoch, leader) = (Epoch(2), Some(id(1)));
        let (offset, last_epoch, end) = (Offset(3), Epoch(1), Offset(4));
        let snapshot = SnapshotId { end: Offset(4), epoch: Epoch(1) };
        let outcomes = [
            FetchOutcome::Records { batch: Some(batch), high_watermark },
            FetchOutcome::Records { batch: None, high_watermark },
            FetchOutcome::Diverging(EpochEnd { epoch: 1, end: Offset(2) }),
            FetchOutcome::Snapshot(snapshot),
            FetchOutcome::Refused(ErrorCode::UnknownLeaderEpoch),
        ];
        let answers = outcomes.map(|outcome| {
            Message::FetchResponse(FetchResponse { epoch, leader, offset, last_epoch, outcome })
        });
        let (candidate, voter, replica) = (key(0), key_of(2 + 16), key(0));
        let (granted, pre_vote, position) = (false, true, 3);
        let error = Some(ErrorCode::FencedLeaderEpoch);
        let chunk = Ok((batch, true));
        let successors = InlineVec::new();
        let others = [
            Message::Vote(Vote { epoch, candidate, voter, last_epoch, end, pre_vote }),
            Message::VoteResponse(VoteResponse { epoch, leader, granted, pre_vote, error }),
            Message::BeginQuorumEpoch(BeginQuorumEpoch { epoch, leader: id(0), voter }),
            Message::BeginQuorumEpochResponse { epoch, leader: None },
            Message::EndQuorumEpoch(EndQuorumEpoch { epoch, leader: id(0), successors }),
            Message::Fetch(Fetch { epoch, replica, offset, last_epoch, high_watermark }),
            Message::FetchSnapshot(FetchSnapshot { epoch, replica, snapshot, position }),
            Message::FetchSnapshotResponse(FetchSnapshotResponse {
                epoch,
                leader,
                snapshot,
                position,
                chunk,
            }),
        ];
        let mut all: Vec<_> = others.into_iter().chain(answers).collect();
        for message in &all {
            assert_eq!(&Packet::pack(message).unpack(0), message);
        }
        all.dedup();
        let mut bits: Vec<_> = all.iter().map(|message| Packet::pack(message).bits()).collect();
        bits.sort_unstable();
        bits.dedup();
        assert_eq!(bits.len(), all.len(), "no two messages are one number");
    }
}
