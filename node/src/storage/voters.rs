//! Who votes, on disk: Kafka's control records KRaftVersion and Voters (KIP-853), and the history
//! of the latter in one log.
//!
//! ```text
//! Voters, version 0: version i16 | voters | tags
//! voter:    id i32 | directory uuid | endpoints | supported kraft.version: min i16, max i16, tags | tags
//! endpoint: name | host | port u16 | tags
//! ```
//!
//! Arrays and strings are compact: their length plus one as a varint comes first.

use bytes::BufMut;
use kraft_model::limits::MAX_VOTERS;
use kraft_model::raft::{Voters, VotersRecord};
use kraft_model::{DirectoryId, NodeId, Offset, ReplicaKey};
use serde::{Deserialize, Serialize};

use super::build::records;
use super::records::{BatchError, Records};

/// The level of kraft.version at which voters can be changed.
const KRAFT_VERSION: i16 = 1;

/// The keys of the control records: version 0, then the type.
const KRAFT_VERSION_KEY: [u8; 4] = [0, 0, 0, 5];
const VOTERS_KEY: [u8; 4] = [0, 0, 0, 6];

/// Listeners of one voter: far more than anybody has.
const MAX_ENDPOINTS: usize = 32;

/// A voter and where it is reached.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VoterNode {
    pub key: ReplicaKey,
    pub endpoints: Vec<VoterEndpoint>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VoterEndpoint {
    /// The listener's name.
    pub name: String,
    pub host: String,
    pub port: u16,
}

/// A Voters record with everything that it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct VoterSet {
    pub offset: Offset,
    pub voters: Vec<VoterNode>,
}

impl VoterSet {
    /// What the quorum's machine looks at.
    pub fn keys(&self) -> VotersRecord {
        // Checked when it was read; the machine makes no larger ones.
        let voters: Voters = self.voters.iter().map(|voter| voter.key).take(MAX_VOTERS).collect();
        VotersRecord { offset: self.offset, voters }
    }
}

/// The Voters records of a log, oldest first, and what was in force before it begins.
#[derive(Debug, Default)]
pub(super) struct VoterHistory {
    sets: Vec<VoterSet>,
}

impl VoterHistory {
    /// What was in force before the log's start.
    pub fn begin(&mut self, base: Option<VoterSet>) {
        self.sets = base.into_iter().collect();
    }

    pub fn below(&self, end: Offset) -> Option<&VoterSet> {
        self.sets.iter().rfind(|set| set.offset < end)
    }

    pub fn last(&self) -> Option<&VoterSet> {
        self.sets.last()
    }

    /// The oldest one that is known.
    pub fn first(&self) -> Option<&VoterSet> {
        self.sets.first()
    }

    /// Notes the Voters records among `records`.
    pub fn append(&mut self, records: &Records) -> Result<(), BatchError> {
        self.sets.extend(voters_in(records)?);
        Ok(())
    }

    /// Everything at and above `to` is gone.
    pub fn truncate(&mut self, to: Offset) {
        self.sets.retain(|set| set.offset < to);
    }

    /// The log begins at `start` now: of what is below only the last one matters.
    pub fn forget_below(&mut self, start: Offset) {
        let below = self.sets.partition_point(|set| set.offset < start);
        self.sets.drain(..below.saturating_sub(1));
    }
}

/// The control batch that puts `voters` in force.
pub(super) fn voters_batch(
    base: Offset,
    epoch: i32,
    timestamp_ms: i64,
    voters: &[VoterNode],
) -> Records {
    let value = encode(voters);
    let record = std::iter::once((Some(&VOTERS_KEY[..]), &value[..]));
    Records::build_keyed(base, epoch, timestamp_ms, true, record)
}

/// What a snapshot says of voters, behind its first mark: kraft.version, and who they are.
pub(super) fn membership_batch(
    base: Offset,
    epoch: i32,
    timestamp_ms: i64,
    voters: &[VoterNode],
) -> Records {
    let mut version = Vec::with_capacity(5);
    version.put_i16(0);
    version.put_i16(KRAFT_VERSION);
    version.put_u8(0);
    let value = encode(voters);
    let both = [(Some(&KRAFT_VERSION_KEY[..]), &version[..]), (Some(&VOTERS_KEY[..]), &value[..])];
    Records::build_keyed(base, epoch, timestamp_ms, true, both.into_iter())
}

/// The Voters records in `records`, in order.
pub(super) fn voters_in(batches: &Records) -> Result<Vec<VoterSet>, BatchError> {
    let mut sets = Vec::new();
    for (at, batch) in batches.batches() {
        if !batch.is_control() {
            continue;
        }
        for record in records(&batches.bytes[at..at + batch.size]) {
            let record = record?;
            if record.key == Some(&VOTERS_KEY[..]) {
                let voters = decode(record.value.unwrap_or_default())
                    .ok_or(BatchError::Malformed("a Voters record cannot be read"))?;
                sets.push(VoterSet { offset: record.offset, voters });
            }
        }
    }
    Ok(sets)
}

fn encode(voters: &[VoterNode]) -> Vec<u8> {
    let mut value = Vec::new();
    value.put_i16(0);
    put_length(&mut value, voters.len());
    for voter in voters {
        value.put_i32(voter.key.id.0);
        value.put_u128(voter.key.directory.0);
        put_length(&mut value, voter.endpoints.len());
        for endpoint in &voter.endpoints {
            put_text(&mut value, &endpoint.name);
            put_text(&mut value, &endpoint.host);
            value.put_u16(endpoint.port);
            value.put_u8(0);
        }
        value.put_i16(0);
        value.put_i16(KRAFT_VERSION);
        value.put_u8(0);
        value.put_u8(0);
    }
    value.put_u8(0);
    value
}

fn put_length(value: &mut Vec<u8>, length: usize) {
    let mut left = length + 1;
    while left >= 0x80 {
        value.put_u8(left as u8 | 0x80);
        left >>= 7;
    }
    value.put_u8(left as u8);
}

fn put_text(value: &mut Vec<u8>, text: &str) {
    put_length(value, text.len());
    value.put_slice(text.as_bytes());
}

/// `None` where it is not a Voters record that this release can act upon: one of a later version,
/// of more voters than a quorum can have, or damaged.
fn decode(value: &[u8]) -> Option<Vec<VoterNode>> {
    let mut reader = Reader { rest: value };
    if reader.number::<2>()? != 0 {
        return None;
    }
    let count = reader.length().filter(|&count| count <= MAX_VOTERS)?;
    let mut voters = Vec::with_capacity(count);
    for _ in 0..count {
        let id = NodeId(reader.number::<4>()? as u32 as i32);
        let directory = DirectoryId(u128::from_be_bytes(reader.take(16)?.try_into().ok()?));
        let endpoints = reader.length().filter(|&count| count <= MAX_ENDPOINTS)?;
        let endpoints = (0..endpoints).map(|_| reader.endpoint()).collect::<Option<_>>()?;
        reader.take(4)?;
        reader.skip_tags()?;
        reader.skip_tags()?;
        voters.push(VoterNode { key: ReplicaKey { id, directory }, endpoints });
    }
    reader.skip_tags()?;
    let ids: std::collections::BTreeSet<_> = voters.iter().map(|voter| voter.key.id).collect();
    (reader.rest.is_empty() && ids.len() == voters.len()).then_some(voters)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// A big-endian number of `N` bytes.
    fn number<const N: usize>(&mut self) -> Option<u64> {
        Some(self.take(N)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in (0..28).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// The length of a compact array or string that is not null.
    fn length(&mut self) -> Option<usize> {
        self.varint()?.checked_sub(1)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.length()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    fn endpoint(&mut self) -> Option<VoterEndpoint> {
        let (name, host) = (self.text()?, self.text()?);
        let port = self.number::<2>()? as u16;
        self.skip_tags()?;
        Some(VoterEndpoint { name, host, port })
    }

    /// Fields of later versions, which may be left out.
    fn skip_tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.take(length)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: i32, endpoints: &[(&str, &str, u16)]) -> VoterNode {
        let endpoint = |&(name, host, port): &(&str, &str, u16)| VoterEndpoint {
            name: name.to_owned(),
            host: host.to_owned(),
            port,
        };
        let key = ReplicaKey { id: NodeId(id), directory: DirectoryId(id as u128) };
        VoterNode { key, endpoints: endpoints.iter().map(endpoint).collect() }
    }

    #[test]
    fn the_bytes_of_a_voters_record_are_kafkas() {
        // As Kafka's generated VotersRecord writes them.
        let expected = "0000\
            02\
            00000007\
            00000000000000000000000000000007\
            02\
            0b434f4e54524f4c4c4552\
            0a3132372e302e302e31\
            2385\
            00\
            0000\
            0001\
            00\
            00\
            00";
        let voters = [node(7, &[("CONTROLLER", "127.0.0.1", 9093)])];
        let hex: String = encode(&voters).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        assert_eq!(decode(&encode(&voters)).as_deref(), Some(&voters[..]));
    }

    #[test]
    fn no_cut_and_no_flipped_bit_makes_reading_panic_or_a_cut_record_count() {
        let voters: Vec<_> = (1..=8).map(|id| node(id, &[("A", "h", 1), ("B", "h2", 2)])).collect();
        let bytes = encode(&voters);
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "{end}");
        }
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            if let Some(read) = decode(&flipped) {
                assert!(read.len() <= MAX_VOTERS);
            }
        }
    }

    #[test]
    fn more_voters_than_a_quorum_can_have_are_not_read() {
        let voters: Vec<_> = (1..=9).map(|id| node(id, &[])).collect();
        assert_eq!(decode(&encode(&voters)), None);
        assert_eq!(decode(&encode(&[node(1, &[]), node(1, &[])])), None, "an id stands twice");
    }

    #[test]
    fn the_history_follows_appends_truncations_and_the_logs_start() {
        let mut history = VoterHistory::default();
        history.begin(Some(VoterSet { offset: Offset(-1), voters: vec![node(1, &[])] }));
        for (offset, id) in [(3, 2), (8, 3)] {
            history.append(&voters_batch(Offset(offset), 1, 0, &[node(id, &[])])).expect("ours");
        }
        let voter = |history: &VoterHistory, end| {
            history.below(Offset(end)).map(|set| set.voters[0].key.id.0)
        };
        assert_eq!([0, 3, 4, 8, 9].map(|end| voter(&history, end)), [1, 1, 2, 2, 3].map(Some));
        history.forget_below(Offset(5));
        assert_eq!([3, 4, 9].map(|end| voter(&history, end)), [None, Some(2), Some(3)]);
        history.truncate(Offset(8));
        assert_eq!(voter(&history, 100), Some(2));
    }
}
