//! Messages under way: one connection per pair of nodes, whose two directions keep their order.

use crate::inline::InlineVec;
use crate::limits::MAX_VOTERS;
use crate::raft::{
    BeginQuorumEpoch, EndQuorumEpoch, Fetch, FetchOutcome, FetchResponse, Message, Vote,
    VoteResponse,
};
use crate::{DirectoryId, Epoch, EpochEnd, ErrorCode, NodeId, Offset, ReplicaKey};

use super::disk::Run;

/// Nodes of the largest configuration.
pub(super) const MAX_NODES: usize = 4;

/// A message in as few bytes as it has content: identities follow from the connection that it
/// travels on, numbers are small. Packing and unpacking is exact, which a test shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) enum Packet {
    #[default]
    None,
    Vote {
        epoch: u8,
        last_epoch: u8,
        end: u8,
        pre_vote: bool,
    },
    VoteResponse {
        epoch: u8,
        leader: u8,
        granted: bool,
        pre_vote: bool,
        error: u8,
    },
    Begin {
        epoch: u8,
    },
    BeginResponse {
        epoch: u8,
        leader: u8,
    },
    End {
        epoch: u8,
        successors: [u8; MAX_NODES],
    },
    Fetch {
        epoch: u8,
        offset: u8,
        last_epoch: u8,
        high_watermark: u8,
    },
    Records {
        epoch: u8,
        leader: u8,
        offset: u8,
        last_epoch: u8,
        records: Run,
        high_watermark: u8,
    },
    Diverging {
        epoch: u8,
        leader: u8,
        offset: u8,
        last_epoch: u8,
        end_epoch: u8,
        end: u8,
    },
    Refused {
        epoch: u8,
        leader: u8,
        offset: u8,
        last_epoch: u8,
        error: u8,
    },
}

/// The key of the node with this index: ids from 1, one directory each.
pub(super) fn key(index: usize) -> ReplicaKey {
    ReplicaKey { id: id(index), directory: DirectoryId(index as u128 + 1) }
}

pub(super) fn id(index: usize) -> NodeId {
    NodeId(index as i32 + 1)
}

/// The index of the node with this id.
pub(super) fn index(id: NodeId) -> usize {
    id.0 as usize - 1
}

fn pack_id(id: Option<NodeId>) -> u8 {
    id.map_or(0, |id| id.0 as u8)
}

fn unpack_id(packed: u8) -> Option<NodeId> {
    (packed > 0).then_some(NodeId(i32::from(packed)))
}

const ERRORS: [ErrorCode; 5] = [
    ErrorCode::FencedLeaderEpoch,
    ErrorCode::UnknownLeaderEpoch,
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::InvalidVoterKey,
    ErrorCode::InvalidRequest,
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

impl Packet {
    pub(super) fn pack(message: &Message<Run>) -> Packet {
        match message {
            Message::Vote(vote) => Packet::Vote {
                epoch: vote.epoch.0 as u8,
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
            Message::BeginQuorumEpoch(begin) => Packet::Begin { epoch: begin.epoch.0 as u8 },
            Message::BeginQuorumEpochResponse { epoch, leader } => {
                Packet::BeginResponse { epoch: epoch.0 as u8, leader: pack_id(*leader) }
            }
            Message::EndQuorumEpoch(end) => {
                let mut successors = [0; MAX_NODES];
                for (slot, voter) in successors.iter_mut().zip(&end.successors) {
                    *slot = voter.id.0 as u8;
                }
                Packet::End { epoch: end.epoch.0 as u8, successors }
            }
            Message::Fetch(fetch) => Packet::Fetch {
                epoch: fetch.epoch.0 as u8,
                offset: fetch.offset.0 as u8,
                last_epoch: fetch.last_epoch.0 as u8,
                high_watermark: fetch.high_watermark.0 as u8,
            },
            Message::FetchResponse(answer) => Packet::pack_fetched(answer),
            Message::FetchSnapshot(_) | Message::FetchSnapshotResponse(_) => {
                unreachable!("this model takes no snapshots")
            }
        }
    }

    fn pack_fetched(answer: &FetchResponse<Run>) -> Packet {
        let (epoch, leader) = (answer.epoch.0 as u8, pack_id(answer.leader));
        let (offset, last_epoch) = (answer.offset.0 as u8, answer.last_epoch.0 as u8);
        match answer.outcome {
            FetchOutcome::Records { batch, high_watermark } => {
                let records = batch.unwrap_or_default();
                let high_watermark = high_watermark.0 as u8;
                Packet::Records { epoch, leader, offset, last_epoch, records, high_watermark }
            }
            FetchOutcome::Diverging(end) => {
                let (end_epoch, end) = (end.epoch as u8, end.end.0 as u8);
                Packet::Diverging { epoch, leader, offset, last_epoch, end_epoch, end }
            }
            FetchOutcome::Refused(error) => {
                let error = pack_error(Some(error));
                Packet::Refused { epoch, leader, offset, last_epoch, error }
            }
            FetchOutcome::Snapshot(_) => unreachable!("this model takes no snapshots"),
        }
    }

    /// The message again, as it went `from` one node `to` another.
    pub(super) fn unpack(self, from: usize, to: usize) -> Message<Run> {
        match self {
            Packet::None => unreachable!("an empty place is no message"),
            Packet::Vote { epoch: e, last_epoch, end, pre_vote } => Message::Vote(Vote {
                epoch: epoch(e),
                candidate: key(from),
                voter: key(to),
                last_epoch: epoch(last_epoch),
                end: offset(end),
                pre_vote,
            }),
            Packet::VoteResponse { epoch: e, leader, granted, pre_vote, error } => {
                let (epoch, leader, error) = (epoch(e), unpack_id(leader), unpack_error(error));
                Message::VoteResponse(VoteResponse { epoch, leader, granted, pre_vote, error })
            }
            Packet::Begin { epoch: e } => Message::BeginQuorumEpoch(BeginQuorumEpoch {
                epoch: epoch(e),
                leader: id(from),
                voter: key(to),
            }),
            Packet::BeginResponse { epoch: e, leader } => {
                Message::BeginQuorumEpochResponse { epoch: epoch(e), leader: unpack_id(leader) }
            }
            Packet::End { epoch: e, successors } => {
                let named = successors.iter().copied().filter_map(unpack_id);
                let successors: InlineVec<ReplicaKey, MAX_VOTERS> =
                    named.map(|id| key(index(id))).collect();
                Message::EndQuorumEpoch(EndQuorumEpoch {
                    epoch: epoch(e),
                    leader: id(from),
                    successors,
                })
            }
            Packet::Fetch { epoch: e, offset: at, last_epoch, high_watermark } => {
                Message::Fetch(Fetch {
                    epoch: epoch(e),
                    replica: key(from),
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
                records,
                high_watermark,
            } => {
                let batch = (records.len() > 0).then_some(records);
                let high_watermark = offset(high_watermark);
                let outcome = FetchOutcome::Records { batch, high_watermark };
                fetched(e, leader, at, last_epoch, outcome)
            }
            Packet::Diverging { epoch: e, leader, offset: at, last_epoch, end_epoch, end } => {
                let end = EpochEnd { epoch: i32::from(end_epoch), end: offset(end) };
                fetched(e, leader, at, last_epoch, FetchOutcome::Diverging(end))
            }
            Packet::Refused { epoch: e, leader, offset: at, last_epoch, error } => {
                let error = unpack_error(error).expect("a refusal names its error");
                fetched(e, leader, at, last_epoch, FetchOutcome::Refused(error))
            }
        }
    }

    /// The epoch that an answer speaks of; `None` for a request.
    pub(super) fn answer_epoch(self) -> Option<Epoch> {
        match self {
            Packet::VoteResponse { epoch: e, .. }
            | Packet::BeginResponse { epoch: e, .. }
            | Packet::Records { epoch: e, .. }
            | Packet::Diverging { epoch: e, .. }
            | Packet::Refused { epoch: e, .. } => Some(epoch(e)),
            _ => None,
        }
    }

    pub(super) fn is_request(self) -> bool {
        self.answer_epoch().is_none()
    }
}

fn fetched(e: u8, leader: u8, at: u8, last_epoch: u8, outcome: FetchOutcome<Run>) -> Message<Run> {
    let (epoch, last_epoch) = (epoch(e), epoch(last_epoch));
    let (leader, offset) = (unpack_id(leader), offset(at));
    Message::FetchResponse(FetchResponse { epoch, leader, offset, last_epoch, outcome })
}

/// Messages that may be under way at once in all; no configuration comes near.
const UNDER_WAY: usize = 14;

/// One message with the connection that it is on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
struct Letter {
    from: u8,
    to: u8,
    packet: Packet,
}

/// Messages in order of sending for each direction of each connection. The list is kept sorted by
/// direction, so that equal contents are equal lists.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Network {
    letters: InlineVec<Letter, UNDER_WAY>,
}

impl Network {
    pub(super) fn queue(&self, from: usize, to: usize) -> impl Iterator<Item = Packet> + '_ {
        let here = move |letter: &&Letter| (letter.from, letter.to) == (from as u8, to as u8);
        self.letters.iter().filter(here).map(|letter| letter.packet)
    }

    /// Puts a message at the end of its queue.
    ///
    /// # Panics
    /// If the list is full: none of the configurations may cut off a behaviour unseen.
    pub(super) fn send(&mut self, from: usize, to: usize, packet: Packet) {
        let letter = Letter { from: from as u8, to: to as u8, packet };
        self.letters.push(letter);
        let mut at = self.letters.len() - 1;
        while at > 0 {
            let before = self.letters[at - 1];
            if (before.from, before.to) <= (letter.from, letter.to) {
                break;
            }
            self.letters.swap(at - 1, at);
            at -= 1;
        }
    }

    /// Takes out the `nth` message of a queue.
    pub(super) fn take(&mut self, from: usize, to: usize, nth: usize) -> Packet {
        let direction = (from as u8, to as u8);
        let first = self.letters.iter().position(|letter| (letter.from, letter.to) == direction);
        let first = first.expect("a message is taken from where one was seen");
        self.letters.remove(first + nth).packet
    }

    /// Keeps the messages that `keep` says yes to, given sender and receiver.
    pub(super) fn retain(&mut self, keep: impl Fn(usize, usize, Packet) -> bool) {
        let keep = |l: &Letter| keep(usize::from(l.from), usize::from(l.to), l.packet);
        if !self.letters.iter().all(keep) {
            self.letters.retain(keep);
        }
    }

    /// The connection between two nodes breaks, and what was under way on it is lost.
    pub(super) fn break_link(&mut self, a: usize, b: usize) {
        self.retain(|from, to, _| (from, to) != (a, b) && (from, to) != (b, a));
    }

    pub(super) fn any_to(&self, to: usize) -> bool {
        self.letters.iter().any(|letter| usize::from(letter.to) == to)
    }

    /// Takes out all that `from` has sent.
    pub(super) fn take_all_from(&mut self, from: usize) -> Network {
        let mut taken = *self;
        taken.retain(|sender, _, _| sender == from);
        self.retain(|sender, _, _| sender != from);
        taken
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (usize, usize, Packet)> + '_ {
        self.letters.iter().map(|l| (usize::from(l.from), usize::from(l.to), l.packet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::quorum::disk::Record;

    #[test]
    fn a_packet_unpacks_to_the_message_that_was_packed() {
        let batch = Run::one(Offset(3), Record::new(Epoch(2), 1));
        let high_watermark = Offset(3);
        let (epoch, leader) = (Epoch(2), Some(id(1)));
        let (offset, last_epoch, end) = (Offset(3), Epoch(1), Offset(4));
        let outcomes = [
            FetchOutcome::Records { batch: Some(batch), high_watermark },
            FetchOutcome::Records { batch: None, high_watermark },
            FetchOutcome::Diverging(EpochEnd { epoch: 1, end: Offset(2) }),
            FetchOutcome::Refused(ErrorCode::UnknownLeaderEpoch),
        ];
        let answers = outcomes.map(|outcome| {
            Message::FetchResponse(FetchResponse { epoch, leader, offset, last_epoch, outcome })
        });
        let (candidate, voter, replica) = (key(0), key(1), key(0));
        let successors = [key(2), key(1)].into_iter().collect();
        let (granted, pre_vote) = (false, true);
        let error = Some(ErrorCode::FencedLeaderEpoch);
        let others = [
            Message::Vote(Vote { epoch, candidate, voter, last_epoch, end, pre_vote }),
            Message::VoteResponse(VoteResponse { epoch, leader, granted, pre_vote, error }),
            Message::BeginQuorumEpoch(BeginQuorumEpoch { epoch, leader: id(0), voter }),
            Message::BeginQuorumEpochResponse { epoch, leader: None },
            Message::EndQuorumEpoch(EndQuorumEpoch { epoch, leader: id(0), successors }),
            Message::Fetch(Fetch { epoch, replica, offset, last_epoch, high_watermark }),
        ];
        for message in others.into_iter().chain(answers) {
            assert_eq!(Packet::pack(&message).unpack(0, 1), message);
        }
    }

    #[test]
    fn a_network_is_equal_whatever_the_order_of_sending_on_different_connections() {
        let (one, two) = (Packet::Begin { epoch: 1 }, Packet::Begin { epoch: 2 });
        let mut this = Network::default();
        let mut that = Network::default();
        this.send(0, 1, one);
        this.send(1, 0, two);
        that.send(1, 0, two);
        that.send(0, 1, one);
        assert_eq!(this, that);
        that.send(0, 1, two);
        assert_eq!(that.queue(0, 1).collect::<Vec<_>>(), [one, two]);
        assert_eq!(that.take(0, 1, 0), one);
    }
}
