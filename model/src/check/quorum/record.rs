//! Records in two bytes, and runs of them.

use std::hash::{Hash, Hasher};

use crate::log::Extent;
use crate::raft::Voters;
use crate::{Epoch, NodeId, Offset};

use super::keys::{MAX_NODES, SmallKey, key_of};

/// Records that a run has room for; every configuration stays below.
pub(super) const CAPACITY: usize = 8;

/// One record: its epoch, what kind it is, and what it says. 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Record(u16);

const DATA: u16 = 1;
const LEADER_CHANGE: u16 = 2;
const VOTERS: u16 = 3;

impl Record {
    fn new(epoch: Epoch, kind: u16, payload: u8) -> Self {
        Record((epoch.0 as u16) << 12 | kind << 8 | u16::from(payload))
    }

    pub(super) fn data(epoch: Epoch, payload: u8) -> Self {
        Record::new(epoch, DATA, payload)
    }

    pub(super) fn leader_change(epoch: Epoch, leader: NodeId) -> Self {
        Record::new(epoch, LEADER_CHANGE, leader.0 as u8)
    }

    pub(super) fn voters(epoch: Epoch, voters: VoterMask) -> Self {
        Record::new(epoch, VOTERS, voters.0)
    }

    pub(super) fn epoch(self) -> i32 {
        i32::from(self.0 >> 12)
    }

    fn kind(self) -> u16 {
        self.0 >> 8 & 15
    }

    fn payload(self) -> u8 {
        self.0 as u8
    }

    /// Whether the controller wrote it, not the quorum itself.
    pub(super) fn is_data(self) -> bool {
        self.kind() == DATA
    }

    /// The id of the leader whose epoch this record opens.
    pub(super) fn leader(self) -> Option<u8> {
        (self.kind() == LEADER_CHANGE).then_some(self.payload())
    }

    /// The voters from here on.
    pub(super) fn voter_mask(self) -> Option<VoterMask> {
        (self.kind() == VOTERS).then(|| VoterMask(self.payload()))
    }

    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }

    pub(super) fn bits(self) -> u16 {
        self.0
    }

    /// The record when the node with the id `at + 1` has the id `places[at] + 1`.
    pub(super) fn renamed(self, places: &[usize]) -> Self {
        let payload = match self.kind() {
            LEADER_CHANGE => places[usize::from(self.payload()) - 1] as u8 + 1,
            VOTERS => VoterMask(self.payload()).renamed(places).0,
            _ => return self,
        };
        Record(self.0 & !0xff | u16::from(payload))
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (epoch, payload) = (self.epoch(), self.payload());
        match self.kind() {
            DATA => write!(f, "r{payload}@{epoch}"),
            LEADER_CHANGE => write!(f, "lead{payload}@{epoch}"),
            VOTERS => write!(f, "{:?}@{epoch}", VoterMask(payload)),
            _ => f.write_str("none"),
        }
    }
}

impl crate::invariant::quorum::Entry for Record {
    fn epoch(&self) -> i32 {
        Record::epoch(*self)
    }
}

/// A set of voters: a bit for each of the [`MAX_NODES`] nodes, and in the three bits above the id of
/// the one member whose disk is its second, if there is one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct VoterMask(u8);

const _: () = assert!(MAX_NODES == 5, "five bits for the nodes, three for an id");

impl VoterMask {
    /// The first `count` nodes.
    pub(super) fn first(count: usize) -> Self {
        VoterMask((1 << count) - 1)
    }

    /// The voters with these directories, 0 for none.
    pub(super) fn of(directories: impl IntoIterator<Item = SmallKey>) -> Self {
        let present = directories.into_iter().filter(|&key| key > 0);
        present.fold(VoterMask(0), |VoterMask(mask), key| {
            let (id, second) = (key & 15, key > 15);
            VoterMask(mask | 1 << (id - 1) | if second { id << MAX_NODES } else { 0 })
        })
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn contains(self, at: usize) -> bool {
        self.0 & 1 << at != 0
    }

    pub(super) fn members(self) -> impl Iterator<Item = usize> + Clone {
        (0..MAX_NODES).filter(move |&at| self.contains(at))
    }

    pub(super) fn voters(self) -> Voters {
        let second = self.0 >> MAX_NODES;
        let key = |at: usize| {
            let id = at as u8 + 1;
            key_of(if id == second { 16 | id } else { id })
        };
        let mut voters: Voters = self.members().map(key).collect();
        // The machines keep them in the order of their directories, see `raft::Standing`.
        voters.sort_unstable_by_key(|voter| voter.directory);
        voters
    }

    pub(super) fn renamed(self, places: &[usize]) -> Self {
        VoterMask::of(self.voters().iter().map(|voter| {
            let key = voter.directory.0 as u8;
            key & !15 | (places[usize::from(key & 15) - 1] as u8 + 1)
        }))
    }
}

impl std::fmt::Debug for VoterMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("voters")?;
        self.members().try_for_each(|at| write!(f, "{}{}", if at > 0 { "+" } else { "" }, at + 1))
    }
}

/// Consecutive records. Beyond the length everything is zero, so that equal runs are equal bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Run {
    base: u8,
    len: u8,
    records: [Record; CAPACITY],
}

impl Run {
    pub(super) fn empty(base: Offset) -> Self {
        Run { base: base.0 as u8, ..Run::default() }
    }

    pub(super) fn one(base: Offset, record: Record) -> Self {
        let mut run = Run::empty(base);
        run.push(record);
        run
    }

    pub(super) fn as_slice(&self) -> &[Record] {
        &self.records[..usize::from(self.len)]
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(super) fn base_small(&self) -> u8 {
        self.base
    }

    pub(super) fn end_small(&self) -> u8 {
        self.base + self.len
    }

    pub(super) fn at(&self, offset: Offset) -> Option<Record> {
        let at = usize::try_from(offset.0 - i64::from(self.base)).ok()?;
        self.as_slice().get(at).copied()
    }

    pub(super) fn push(&mut self, record: Record) {
        self.records[usize::from(self.len)] = record;
        self.len += 1;
    }

    /// Keeps the first `len` records.
    pub(super) fn cut(&mut self, len: usize) {
        self.records[len..].fill(Record::default());
        self.len = len as u8;
    }

    /// Drops the records before `start`, which is not after the end.
    pub(super) fn advance(&mut self, start: Offset) {
        let gone = usize::try_from(start.0 - i64::from(self.base)).unwrap_or(0);
        let mut kept = Run::empty(Offset(i64::from(self.base) + gone as i64));
        self.as_slice()[gone..].iter().for_each(|&record| kept.push(record));
        *self = kept;
    }

    pub(super) fn prefix(mut self, len: usize) -> Self {
        self.cut(len);
        self
    }

    pub(super) fn renamed(mut self, places: &[usize]) -> Self {
        let len = self.len();
        self.records[..len].iter_mut().for_each(|record| *record = record.renamed(places));
        self
    }
}

/// In three words instead of ten.
impl Hash for Run {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let pack = |half: &[Record]| {
            half.iter().fold(0, |bits, record| bits << 16 | u64::from(record.bits()))
        };
        let (front, back) = self.records.split_at(CAPACITY / 2);
        state.write_u64(pack(front));
        state.write_u64(pack(back));
        state.write_u16(u16::from(self.base) << 8 | u16::from(self.len));
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

impl Extent for Run {
    fn base(&self) -> Offset {
        Offset(i64::from(self.base))
    }

    fn end(&self) -> Offset {
        Offset(i64::from(self.end_small()))
    }

    fn last_epoch(&self) -> i32 {
        self.as_slice().last().map_or(0, |record| record.epoch())
    }
}
