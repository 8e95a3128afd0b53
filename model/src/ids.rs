//! The numbers of the protocol, each with a type of its own so that none is taken for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// `node.id`: 0 to 2^31-1, unique in the cluster whatever the node's roles.
    NodeId(i32)
);
number!(
    /// A position in a log, counted in records from 0. Exclusive where it names an end.
    Offset(i64)
);
number!(
    /// The quorum's epoch (Raft's term), from 0.
    Epoch(i32)
);
number!(
    /// Grows by one with every leader that a partition is given (P2).
    LeaderEpoch(i32)
);
number!(
    /// Grows by one with every change of a partition's registration (P2).
    PartitionEpoch(i32)
);
number!(
    /// A broker's registration, named by the metadata offset of its record (B1). -1: none.
    BrokerEpoch(i64)
);
number!(
    /// An idempotent or transactional producer. -1: none.
    ProducerId(i64)
);
number!(
    /// A producer's epoch; a lower one is fenced (I4).
    ProducerEpoch(i16)
);

impl Offset {
    pub const ZERO: Offset = Offset(0);

    /// The offset `count` records later.
    #[must_use]
    pub fn plus(self, count: i64) -> Offset {
        Offset(self.0 + count)
    }

    /// Records from `earlier` up to here; negative if `earlier` is later.
    pub fn since(self, earlier: Offset) -> i64 {
        self.0 - earlier.0
    }
}

impl Epoch {
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl LeaderEpoch {
    /// No leader epoch is known (Kafka's -1 on the wire).
    pub const UNKNOWN: LeaderEpoch = LeaderEpoch(-1);

    #[must_use]
    pub fn next(self) -> LeaderEpoch {
        LeaderEpoch(self.0 + 1)
    }
}

impl PartitionEpoch {
    #[must_use]
    pub fn next(self) -> PartitionEpoch {
        PartitionEpoch(self.0 + 1)
    }
}

impl BrokerEpoch {
    /// "No broker epoch": in AlterPartition it skips the comparison, at registration it says that
    /// the last stop was not clean.
    pub const NONE: BrokerEpoch = BrokerEpoch(-1);
}

impl ProducerId {
    pub const NONE: ProducerId = ProducerId(-1);
}

macro_rules! uuid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(from = "Uuid", into = "Uuid")]
        pub struct $name(pub u128);

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                $name(u128::from_be_bytes(uuid.0))
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                Uuid(id.0.to_be_bytes())
            }
        }

        impl $name {
            /// The all-zero id, which names nothing.
            pub const ZERO: $name = $name(0);

            pub fn is_zero(self) -> bool {
                self.0 == 0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base64_url(self.0))
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidUuid;

            fn from_str(text: &str) -> Result<Self, InvalidUuid> {
                parse_base64_url(text).map($name)
            }
        }
    };
}

/// The wire form of the ids below: sixteen bytes, as one byte string.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uuid(#[serde(with = "serde_bytes")] [u8; 16]);

uuid!(
    /// A cluster's id.
    ClusterId
);
uuid!(
    /// A topic's id. A name that is deleted and created anew gets another one.
    TopicId
);
uuid!(
    /// One log directory's id, written when the directory was formatted. Part of a voter's
    /// identity: a wiped disk must not vote twice (KIP-853).
    DirectoryId
);
uuid!(
    /// One run of a broker process; chosen anew at every start.
    Incarnation
);

impl TopicId {
    /// The id of the `nth` topic that one decision makes. The controller draws it, and not whoever
    /// asks: a request that arrives once more after its topic was deleted must not bring the id
    /// back. A version 4 UUID, so neither all zero nor the metadata topic's own (1).
    pub const fn drawn(entropy: u64, nth: usize) -> TopicId {
        let seed = entropy.wrapping_add((nth as u64).wrapping_mul(0xd1b5_4a32_d192_ed03));
        let high = mixed(seed.wrapping_add(0x9e37_79b9_7f4a_7c15));
        let low = mixed(seed.wrapping_add(0x3c6e_f372_fe94_f82a));
        let bits = (high as u128) << 64 | low as u128;
        TopicId(bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62)
    }
}

/// One round of SplitMix64: every bit of the outcome depends on every bit of `x`.
const fn mixed(x: u64) -> u64 {
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// Not a 128-bit id in Kafka's 22-character URL-safe base64 form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an id: 22 characters of URL-safe base64 are expected")]
pub struct InvalidUuid(pub String);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Kafka's text form of an id: URL-safe base64 without padding, 22 characters.
fn base64_url(id: u128) -> String {
    let mut text = String::with_capacity(22);
    for index in 0..22 {
        let shift = 122 - 6 * index;
        let six = if shift >= 0 { id >> shift } else { id << -shift };
        text.push(ALPHABET[(six & 63) as usize] as char);
    }
    text
}

fn parse_base64_url(text: &str) -> Result<u128, InvalidUuid> {
    let invalid = || InvalidUuid(text.to_owned());
    if text.len() != 22 {
        return Err(invalid());
    }
    let mut id: u128 = 0;
    for (index, byte) in text.bytes().enumerate() {
        let six = ALPHABET.iter().position(|&c| c == byte).ok_or_else(invalid)? as u128;
        if index < 21 {
            id = (id << 6) | six;
        } else if six & 15 == 0 {
            id = (id << 2) | (six >> 4);
        } else {
            return Err(invalid());
        }
    }
    Ok(id)
}

/// A controller's identity in votes: the same id on another disk is another voter (Q3).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct ReplicaKey {
    pub id: NodeId,
    pub directory: DirectoryId,
}

/// One partition of one topic.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct TopicPartition {
    pub topic: TopicId,
    pub partition: i32,
}

/// An epoch's end in a log: the offset after the last record of `epoch`.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct EpochEnd {
    pub epoch: i32,
    pub end: Offset,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_topic_ids_differ_by_entropy_and_by_place_and_are_of_version_4() {
        let ids = (0..100).flat_map(|entropy| (0..10).map(move |nth| TopicId::drawn(entropy, nth)));
        let ids: std::collections::BTreeSet<TopicId> = ids.collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| id.0 >> 76 & 0xf == 4 && id.0 >> 62 & 0x3 == 2));
    }

    #[test]
    fn an_id_has_the_text_form_that_kafka_prints() {
        let id = ClusterId(0x4d6b_5533_4f45_5642_4e54_6377_4e54_4a45);
        let text = id.to_string();
        assert_eq!(text, "TWtVM09FVkJOVGN3TlRKRQ");
        assert_eq!(text.parse::<ClusterId>(), Ok(id));
        assert!("TWtVM09FVkJOVGN3TlRKRR".parse::<ClusterId>().is_err());
        assert!("short".parse::<ClusterId>().is_err());
    }
}
