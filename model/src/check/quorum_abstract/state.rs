//! The state and its projection onto the variables of `tla/QuorumAbstract.tla`.

use std::hash::{Hash, Hasher};

use crate::check::Mutated;
use crate::invariant::quorum as invariant;
use crate::raft::{Quorum, Standing};
use crate::{DirectoryId, Epoch, NodeId, Offset, ReplicaKey};

use super::log::{FlushedLog, Record};

/// Voters of the largest configuration.
pub(super) const MAX_NODES: usize = 4;

/// Epochs that the history has room for, 0 included.
pub(super) const EPOCHS: usize = 6;

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

/// Everything. Two states are the same if what [`Projection`] and [`History`] say is.
#[derive(Clone, Copy, Debug)]
pub struct State<const N: usize> {
    pub(super) nodes: [Node; N],
    pub(super) history: History,
    pub(super) broken: Option<Broken>,
}

/// A voter: its machine and its log, both on disk as soon as they change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) standing: Standing,
    pub(super) log: FlushedLog,
    /// The request of its last candidacy. It follows from the rest while the candidacy lasts and
    /// means nothing afterwards.
    pub(super) poll: Poll,
    pub(super) shown: Projection,
}

/// What a candidate sends to every other voter alike.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Poll {
    pub(super) epoch: Epoch,
    pub(super) last_epoch: Epoch,
    pub(super) end: Offset,
    pub(super) pre_vote: bool,
}

/// A voter as `QuorumAbstract.tla` has it, field by field of its variable `node`; with the field
/// `log`, which is [`Node::log`].
///
/// Left out of the machine's standing, because they decide only how long a timer runs or whether
/// one runs, and here every timer may run out at any time: `attempts`, `connected`, `heard`, and
/// whether a follower's contact is untried or lost. Left out as well: `pull` (a follower may always
/// ask again), `ask_next` (an observer's), and the start of the epoch, which the log tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Projection {
    /// `epoch`.
    pub(super) epoch: u8,
    /// `vote`: the id, 0 for `None`.
    pub(super) vote: u8,
    /// `role`: its first letter.
    pub(super) role: u8,
    /// `leader`: the id, 0 for `None`.
    pub(super) leader: u8,
    /// `fetched`.
    pub(super) fetched: bool,
    /// `granted`: ids, as bits from 0 on.
    pub(super) granted: u8,
    /// `refused`.
    pub(super) refused: u8,
    /// `hw`.
    pub(super) high_watermark: u8,
    /// `ends`: -1 for `Unknown`; a leader's own is 0, and all are -1 on the others.
    pub(super) ends: [i8; MAX_NODES],
}

impl Projection {
    pub(super) fn of(machine: &Quorum<Mutated>) -> Self {
        let leads = machine.is_leader();
        let (granted, refused) = machine.tally();
        let end = |at: usize| match machine.fetched_end(at) {
            _ if leads && id(at) == machine.me().id => 0,
            Some(end) => end.0 as i8,
            None => -1,
        };
        Projection {
            epoch: machine.epoch().0 as u8,
            vote: machine.vote().map_or(0, |key| key.id.0 as u8),
            role: machine.role().as_bytes()[0],
            leader: machine.leader().map_or(0, |id| id.0 as u8),
            fetched: machine.has_fetched(),
            granted,
            refused,
            high_watermark: machine.high_watermark().0 as u8,
            ends: if leads { std::array::from_fn(end) } else { [-1; MAX_NODES] },
        }
    }

    /// All fields, packed.
    fn words(&self) -> [u64; 2] {
        let Projection { epoch, vote, role, leader, fetched, granted, refused, .. } = *self;
        let [a, b, c, d] = self.ends.map(|end| end as u8);
        [
            u64::from_le_bytes([epoch, vote, role, leader, u8::from(fetched), granted, refused, 0]),
            u64::from_le_bytes([self.high_watermark, a, b, c, d, 0, 0, 0]),
        ]
    }

    pub(super) fn leads(&self) -> bool {
        self.role == b'L'
    }

    pub(super) fn follows(&self) -> bool {
        self.role == b'F'
    }

    /// Prospective or Candidate.
    pub(super) fn stands(&self) -> bool {
        matches!(self.role, b'P' | b'C')
    }

    pub(super) fn promise(&self) -> (Epoch, Option<NodeId>) {
        let vote = (self.vote > 0).then_some(NodeId(i32::from(self.vote)));
        (Epoch(i32::from(self.epoch)), vote)
    }

    fn role_name(&self) -> &'static str {
        let roles = ["Unattached", "Prospective", "Candidate", "Leader", "Follower", "Resigned"];
        roles.into_iter().find(|name| name.as_bytes()[0] == self.role).unwrap_or_default()
    }
}

/// The other variables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct History {
    /// `proposed`.
    pub(super) proposed: u8,
    /// `led`: for each epoch the ids, as bits from 0 on.
    pub(super) led: [u8; EPOCHS],
    /// `committed`.
    pub(super) committed: FlushedLog,
}

/// A promise whose breach shows in a step, not in a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Broken {
    VoteChanged,
    HighWatermarkFell,
    CommittedChanged,
    /// The machine itself noticed.
    Noticed,
}

impl<const N: usize> PartialEq for State<N> {
    fn eq(&self, other: &Self) -> bool {
        let seen = |node: &Node| (node.shown, node.log);
        self.nodes.each_ref().map(seen) == other.nodes.each_ref().map(seen)
            && (self.history, self.broken) == (other.history, other.broken)
    }
}

impl<const N: usize> Eq for State<N> {}

/// By the word: eight fields at a time.
impl<const N: usize> Hash for State<N> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for node in &self.nodes {
            let [one, other] = node.shown.words();
            hasher.write_u64(one);
            hasher.write_u64(other);
            node.log.hash(hasher);
        }
        let History { proposed, led: [a, b, c, d, e, f], committed } = self.history;
        let broken = self.broken.map_or(0, |broken| broken as u8 + 1);
        hasher.write_u64(u64::from_le_bytes([proposed, a, b, c, d, e, f, broken]));
        committed.hash(hasher);
    }
}

impl<const N: usize> State<N> {
    pub(super) fn view(&self, at: usize) -> invariant::Replica<'_, Record> {
        let Node { log, shown, .. } = &self.nodes[at];
        invariant::Replica {
            epoch: Epoch(i32::from(shown.epoch)),
            leads: shown.leads(),
            log: log.as_slice(),
            flushed: log.as_slice().len(),
            high_watermark: usize::from(shown.high_watermark),
        }
    }

    pub(super) fn committed(&self) -> invariant::Committed<'_, Record> {
        let log = self.history.committed.as_slice();
        let epoch = log.last().map_or(0, invariant::Entry::epoch);
        invariant::Committed { log, epoch: Epoch(epoch) }
    }

    /// The state as one line of TLA+ values, in an order of its own that `tla/counts.py` brings
    /// TLC's dump into as well.
    pub fn line(&self) -> String {
        let sequence = |log: &FlushedLog| {
            let records = log.as_slice().iter().map(|record| record.to_string());
            records.collect::<Vec<_>>().join("")
        };
        let mut line = String::new();
        for Node { shown, log, .. } in &self.nodes {
            let Projection { epoch, vote, leader, fetched, granted, refused, .. } = shown;
            let ends = &shown.ends[..N];
            line.push_str(&format!(
                "{} {epoch} {vote} {leader} {fetched} {granted:03b} {refused:03b} {} {ends:?} {}; ",
                shown.role_name(),
                shown.high_watermark,
                sequence(log),
            ));
        }
        let History { proposed, led, committed } = &self.history;
        line.push_str(&format!("{proposed} {led:?} {}", sequence(committed)));
        line
    }
}
