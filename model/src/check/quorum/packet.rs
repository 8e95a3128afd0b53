//! Messages in as few bytes as they have content.

use std::hash::{Hash, Hasher};

use crate::Epoch;

use super::keys::SmallKey;
use super::record::Record;

/// A message without what follows from the connection that it travels on: who sent it. Packing and
/// unpacking is exact, which a test shows, but for the order of successors in EndQuorumEpoch: it
/// decides how long a timer runs, and no timer of this model has a length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) enum Packet {
    #[default]
    None,
    Vote {
        epoch: u8,
        candidate: SmallKey,
        voter: SmallKey,
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
        voter: SmallKey,
    },
    BeginResponse {
        epoch: u8,
        leader: u8,
    },
    End {
        epoch: u8,
    },
    Fetch {
        epoch: u8,
        replica: SmallKey,
        offset: u8,
        last_epoch: u8,
        high_watermark: u8,
    },
    Records {
        epoch: u8,
        leader: u8,
        offset: u8,
        last_epoch: u8,
        /// The one record that follows `offset`, if there is one.
        record: Record,
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
    /// Fetch this snapshot first.
    Offer {
        epoch: u8,
        leader: u8,
        offset: u8,
        last_epoch: u8,
        end: u8,
        end_epoch: u8,
    },
    Refused {
        epoch: u8,
        leader: u8,
        offset: u8,
        last_epoch: u8,
        error: u8,
    },
    FetchSnapshot {
        epoch: u8,
        replica: SmallKey,
        end: u8,
        end_epoch: u8,
        position: u8,
    },
    Chunk {
        epoch: u8,
        leader: u8,
        end: u8,
        end_epoch: u8,
        position: u8,
        /// The one record at `position`, none if there is an error.
        record: Record,
        last: bool,
        error: u8,
    },
}
impl Packet {
    /// The epoch that an answer speaks of; `None` for a request.
    pub(super) fn answer_epoch(self) -> Option<Epoch> {
        match self {
            Packet::VoteResponse { epoch: e, .. }
            | Packet::BeginResponse { epoch: e, .. }
            | Packet::Records { epoch: e, .. }
            | Packet::Diverging { epoch: e, .. }
            | Packet::Offer { epoch: e, .. }
            | Packet::Refused { epoch: e, .. }
            | Packet::Chunk { epoch: e, .. } => Some(Epoch(i32::from(e))),
            _ => None,
        }
    }

    pub(super) fn is_request(self) -> bool {
        self.answer_epoch().is_none()
    }

    /// The message when the node with the id `at + 1` has the id `places[at] + 1`.
    pub(super) fn renamed(mut self, places: &[usize]) -> Self {
        let move_id = |id: &mut u8| {
            if *id > 0 {
                *id = places[usize::from(*id) - 1] as u8 + 1;
            }
        };
        let move_key = |key: &mut SmallKey| {
            *key = (*key & !15) | (places[usize::from(*key & 15) - 1] as u8 + 1);
        };
        match &mut self {
            Packet::None | Packet::End { .. } => {}
            Packet::Vote { candidate, voter, .. } => {
                move_key(candidate);
                move_key(voter);
            }
            Packet::Begin { voter: key, .. }
            | Packet::Fetch { replica: key, .. }
            | Packet::FetchSnapshot { replica: key, .. } => move_key(key),
            Packet::VoteResponse { leader, .. }
            | Packet::BeginResponse { leader, .. }
            | Packet::Diverging { leader, .. }
            | Packet::Offer { leader, .. }
            | Packet::Refused { leader, .. } => move_id(leader),
            Packet::Records { leader, record, .. } | Packet::Chunk { leader, record, .. } => {
                move_id(leader);
                *record = record.renamed(places);
            }
        }
        self
    }

    /// The whole message as one number.
    pub(super) fn bits(self) -> u128 {
        let number = |kind: u8, rest: &[u8]| {
            rest.iter().fold(u128::from(kind), |bits, &byte| bits << 8 | u128::from(byte))
        };
        match self {
            Packet::None => 0,
            Packet::Vote { epoch, candidate, voter, last_epoch, end, pre_vote } => {
                number(1, &[epoch, candidate, voter, last_epoch, end, u8::from(pre_vote)])
            }
            Packet::VoteResponse { epoch, leader, granted, pre_vote, error } => {
                number(2, &[epoch, leader, u8::from(granted), u8::from(pre_vote), error])
            }
            Packet::Begin { epoch, voter } => number(3, &[epoch, voter]),
            Packet::BeginResponse { epoch, leader } => number(4, &[epoch, leader]),
            Packet::End { epoch } => number(5, &[epoch]),
            Packet::Fetch { epoch, replica, offset, last_epoch, high_watermark } => {
                number(6, &[epoch, replica, offset, last_epoch, high_watermark])
            }
            Packet::Records { epoch, leader, offset, last_epoch, record, high_watermark } => {
                let [high, low] = record.bits().to_be_bytes();
                number(7, &[epoch, leader, offset, last_epoch, high, low, high_watermark])
            }
            Packet::Diverging { epoch, leader, offset, last_epoch, end_epoch, end } => {
                number(8, &[epoch, leader, offset, last_epoch, end_epoch, end])
            }
            Packet::Offer { epoch, leader, offset, last_epoch, end, end_epoch } => {
                number(9, &[epoch, leader, offset, last_epoch, end, end_epoch])
            }
            Packet::Refused { epoch, leader, offset, last_epoch, error } => {
                number(10, &[epoch, leader, offset, last_epoch, error])
            }
            Packet::FetchSnapshot { epoch, replica, end, end_epoch, position } => {
                number(11, &[epoch, replica, end, end_epoch, position])
            }
            Packet::Chunk { epoch, leader, end, end_epoch, position, record, last, error } => {
                let [high, low] = record.bits().to_be_bytes();
                let (ends, said) = ([epoch, leader, end, end_epoch], [u8::from(last), error]);
                number(12, &[ends.as_slice(), &[position, high, low], &said].concat())
            }
        }
    }
}

/// In one word instead of many.
impl Hash for Packet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.bits());
    }
}
