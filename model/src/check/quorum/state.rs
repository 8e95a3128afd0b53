//! The state of the modelled quorum.

use crate::check::Mutated;
use crate::invariant::quorum as invariant;
use crate::raft::{Quorum, Standing, Timer};
use crate::{Epoch, NodeId};

use super::QuorumModel;
use super::disk::{DiskLog, QuorumFile};
use super::keys::{MAX_NODES, SmallKey, key_of};
use super::network::Network;
use super::packet::Packet;
use super::record::{Record, Run, VoterMask};

/// Epochs that the history has room for, 0 included.
const EPOCHS: usize = 6;

/// Everything: nodes with their disks, what is under way, what was spent, what was promised.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct State<const N: usize> {
    pub(super) nodes: [Node<N>; N],
    pub(super) network: Network,
    /// Messages that wait for their sender's quorum-state file to be on disk.
    pub(super) outbox: Network,
    pub(super) cut: Cut,
    pub(super) spent: Spent,
    pub(super) history: History,
    pub(super) broken: Option<Broken>,
    /// How many nodes are alike: they are the first, and vote from the start.
    pub(super) alike: u8,
}

/// A process and its disk. A crash leaves `log` and `file`, as far as they got, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Node<const N: usize> {
    pub(super) standing: Standing,
    pub(super) log: DiskLog,
    pub(super) file: QuorumFile,
    /// The fetch that is held for each node, [`Packet::None`] if there is none.
    pub(super) held: [Packet; N],
    pub(super) timers: Timers,
    pub(super) flushing: bool,
    /// Was told to act as controller, and not to stop since.
    pub(super) active: bool,
    /// The disk was wiped, and is another one now.
    pub(super) wiped: bool,
}

/// Which timers run, one bit for each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct Timers(u8);

/// How much of each bound is used up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct Spent {
    pub(super) crashes: u8,
    pub(super) timeouts: u8,
    pub(super) breaks: u8,
    pub(super) losses: u8,
    pub(super) duplicates: u8,
    pub(super) peers_gone: u8,
    pub(super) resigns: u8,
    pub(super) records: u8,
    pub(super) snapshots: u8,
    pub(super) partitions: u8,
    pub(super) adds: u8,
    pub(super) removes: u8,
    pub(super) wipes: u8,
    /// Given steps that were taken.
    pub(super) prologue: u8,
}

/// The directions in which nothing arrives: a bit for each sender and receiver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct Cut(u32);

/// What must never be forgotten, though nodes may forget it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct History {
    /// Who led each epoch, by id, 0 for nobody.
    pub(super) leaders: [u8; EPOCHS],
    /// The highest vote that each node let others know of: its epoch, and for whom.
    pub(super) votes: [(u8, SmallKey); MAX_NODES],
    pub(super) committed: Run,
    /// The highest epoch in which a leader advanced it.
    pub(super) committed_in: u8,
    /// The voters by whom it was committed last.
    pub(super) committed_by: VoterMask,
    pub(super) loyalty: Loyalty,
}

/// Who is in touch with the leader of its epoch. Kept only where stable leadership is judged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct Loyalty {
    /// Nodes that have heard from their leader since they last had a timeout or took it for gone,
    /// and leaders that have had no reason to stop; a bit for each.
    pub(super) now: u8,
    /// For each node that asks for pre-votes, who has been loyal ever since it began to ask.
    pub(super) since_asked: [u8; MAX_NODES],
}

/// A promise whose breach shows in a step, not in a state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Broken {
    TwoLeaders,
    VoteChanged,
    HighWatermarkFell,
    LeadershipUnstable,
    LeaderLoadedSnapshot,
    /// The machine itself noticed.
    Noticed,
}

impl History {
    pub(super) fn new() -> Self {
        History {
            leaders: [0; EPOCHS],
            votes: [(0, 0); MAX_NODES],
            committed: Run::default(),
            committed_in: 0,
            committed_by: VoterMask::default(),
            loyalty: Loyalty::default(),
        }
    }

    pub(super) fn committed(&self) -> invariant::Committed<'_, Record> {
        let epoch = Epoch(i32::from(self.committed_in));
        invariant::Committed { log: self.committed.as_slice(), epoch }
    }

    /// The voters of the last committed record that says who votes.
    pub(super) fn committed_voters(&self) -> Option<VoterMask> {
        self.committed.as_slice().iter().rev().find_map(|record| record.voter_mask())
    }

    pub(super) fn leader_of(&self, epoch: Epoch) -> Option<NodeId> {
        let id = self.leaders[epoch.0 as usize];
        (id > 0).then_some(NodeId(i32::from(id)))
    }
}

/// A vote as an invariant sees it.
pub(super) fn vote((epoch, key): (u8, SmallKey)) -> (Epoch, Option<NodeId>) {
    (Epoch(i32::from(epoch)), (key > 0).then(|| key_of(key).id))
}

impl Timers {
    fn bit(timer: Timer) -> u8 {
        match timer {
            // One timer, whatever its length.
            Timer::Election(_) => 1,
            Timer::Fetch => 2,
            Timer::CheckQuorum => 4,
            Timer::Announce => 8,
            Timer::Retry => 16,
            Timer::VoterChange => 32,
        }
    }

    pub(super) fn runs(self, timer: Timer) -> bool {
        self.0 & Timers::bit(timer) != 0
    }

    pub(super) fn set(&mut self, timer: Timer) {
        self.0 |= Timers::bit(timer);
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.0 &= !Timers::bit(timer);
    }

    pub(super) fn bits(self) -> u8 {
        self.0
    }
}

impl Cut {
    fn bit(from: usize, to: usize) -> u32 {
        1 << (from * MAX_NODES + to)
    }

    pub(super) fn add(&mut self, from: usize, to: usize) {
        self.0 |= Cut::bit(from, to);
    }

    pub(super) fn separates(self, from: usize, to: usize) -> bool {
        self.0 & Cut::bit(from, to) != 0
    }

    pub(super) fn renamed(self, places: &[usize]) -> Self {
        let mut renamed = Cut::default();
        for (from, &new_from) in places.iter().enumerate() {
            for (to, &new_to) in places.iter().enumerate() {
                if self.separates(from, to) {
                    renamed.add(new_from, new_to);
                }
            }
        }
        renamed
    }
}

impl<const N: usize> Node<N> {
    /// The process as it starts on what its disk holds.
    pub(super) fn boot(
        model: &QuorumModel<N>,
        at: usize,
        wiped: bool,
        log: DiskLog,
        file: QuorumFile,
    ) -> Self {
        let born = model.born(at, wiped);
        let stored = file.stored.unpack();
        let machine = Quorum::new(model.bounds.rules, born.me(), &model.configured, stored, &log);
        Node {
            standing: machine.standing(),
            log,
            file,
            held: [Packet::None; N],
            timers: Timers::default(),
            flushing: false,
            active: false,
            wiped,
        }
    }

    /// The voters that this node goes by.
    pub(super) fn voters(&self) -> VoterMask {
        VoterMask::of(self.standing.voters())
    }
}

impl<const N: usize> State<N> {
    pub(super) fn machine(&self, model: &QuorumModel<N>, at: usize) -> Quorum<Mutated> {
        let node = &self.nodes[at];
        model.born(at, node.wiped).with(node.standing)
    }
}
