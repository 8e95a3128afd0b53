//! An abstract judge of data: which replicas hold every acknowledged record?
//!
//! Leaders acknowledge whenever they may. That is the worst that can happen: since every electable
//! replica holds everything, or else the judge has spoken already, an acknowledgement only leaves
//! fewer holders, namely the largest ISR that may be in force. Brokers act on what is committed at
//! once; that they learn of it late is the `cluster` model's matter.

use crate::check::Mutated;
use crate::invariant::replica::electable;
use crate::metadata::{Controller, Image, Partition, effective_min_isr};
use crate::{NodeId, TopicId, TopicPartition};

use super::config::ControllerModel;
use super::judge::{HOLDS, LOST, Verdict};
use super::state::{BROKERS, Happened, State, index, node};

/// Brokers as bits.
type Brokers = u8;

/// What is known of one partition's logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Data {
    /// The topic that this is about; zero while there is none.
    topic: TopicId,
    /// Who holds every acknowledged record.
    complete: Brokers,
    /// Something was acknowledged.
    acknowledged: bool,
    /// Holders that have stopped uncleanly since the last acknowledgement. Some have lost what they
    /// had not flushed; that the others have not, nobody can tell.
    unclean: Brokers,
    /// How many may: min.insync.replicas, the lowest since the last acknowledgement, less one.
    tolerated: u8,
    /// An operator has asked for the unclean election that is under way.
    unclean_asked: bool,
}

impl Data {
    pub fn is_complete(&self, broker: usize) -> bool {
        self.complete & bit(broker) != 0
    }

    /// Who holds every acknowledged record, by id; nobody while there are none.
    pub fn holders(&self) -> Vec<NodeId> {
        let all = (0..BROKERS).filter(|&it| self.acknowledged && self.is_complete(it));
        all.map(node).collect()
    }

    pub fn ask_unclean(&mut self, asked: bool) {
        self.unclean_asked = asked;
    }

    /// The broker's log is what its leader has acknowledged.
    pub fn catch_up(&mut self, broker: usize, leader: usize) {
        if self.is_complete(leader) {
            self.complete |= bit(broker);
        }
    }

    /// The broker stops, and does not say that all of its log is on disk.
    pub fn stop_uncleanly(&mut self, broker: usize, loses: bool) {
        if self.acknowledged && self.is_complete(broker) {
            self.unclean |= bit(broker);
            self.complete &= if loses { !bit(broker) } else { Brokers::MAX };
        }
    }

    /// Nothing is promised any more.
    fn is_excused(&self) -> bool {
        self.unclean_asked || self.unclean.count_ones() > u32::from(self.tolerated)
    }

    /// Starts from what a leader has, whatever that is.
    fn restart(&mut self, leader: usize) {
        self.complete = bit(leader);
        (self.unclean, self.acknowledged, self.unclean_asked) = (0, false, false);
    }

    /// A partition as it is committed. A broker that is no replica deletes its log.
    fn see(&mut self, id: TopicPartition, partition: &Partition) {
        let replicas = bits(&partition.replicas);
        if self.topic != id.topic {
            *self = Data { topic: id.topic, ..Data::default() };
        }
        self.complete &= replicas;
        if !self.acknowledged {
            self.complete = replicas;
        }
    }

    fn promise_at_most(&mut self, min_isr: usize) {
        self.tolerated = self.tolerated.min(min_isr as u8 - 1);
    }

    /// Every member of the largest ISR that may be in force holds what is acknowledged.
    fn acknowledge(&mut self, isr: Brokers, min_isr: usize) {
        self.complete = isr;
        self.acknowledged = true;
        self.unclean = 0;
        self.tolerated = min_isr as u8 - 1;
    }
}

fn bit(broker: usize) -> Brokers {
    1 << broker
}

fn bits(nodes: &[NodeId]) -> Brokers {
    nodes.iter().fold(0, |all, &node| all | bit(index(node)))
}

/// Lets every leader acknowledge what it may, and judges those who have come to lead.
pub fn settle(
    model: &ControllerModel,
    state: &mut State,
    touched: Option<&Controller<Mutated>>,
) -> Verdict {
    let untouched = state.machine.clone();
    let image = touched.unwrap_or(&untouched).committed();
    for at in 0..model.partitions() {
        let found = model.id(image, at).and_then(|id| Some((id, image.partition(id)?)));
        let Some((id, partition)) = found else {
            state.data[at] = Data::default();
            continue;
        };
        state.data[at].see(id, partition);
        let min_isr = effective_min_isr(model.min_isr(image, at), partition);
        state.data[at].promise_at_most(min_isr);
        judge(model, state, image, at, partition)?;
        let leader = partition.leader.map(index);
        if let Some(leader) = leader.filter(|&leader| state.acts(image, leader)) {
            lead(state, image, at, leader, partition, min_isr);
        }
    }
    Ok(())
}

/// Who may be elected, and whose process could lead, holds everything.
fn judge(
    model: &ControllerModel,
    state: &State,
    image: &Image,
    at: usize,
    partition: &Partition,
) -> Verdict {
    let data = &state.data[at];
    let misses = |node: NodeId| state.acts(image, index(node)) && !data.is_complete(index(node));
    match () {
        () if data.is_excused() => Ok(()),
        () if partition.leader.is_some_and(misses) => Err(LOST),
        () if model.only_losses => Ok(()),
        () if electable(partition).iter().any(|&node| misses(node)) => Err(HOLDS),
        () => Ok(()),
    }
}

fn lead(
    state: &mut State,
    image: &Image,
    at: usize,
    leader: usize,
    partition: &Partition,
    min_isr: usize,
) {
    let data = &mut state.data[at];
    if !data.is_complete(leader) || data.unclean_asked {
        data.restart(leader);
    }
    let has_lost = data.unclean & !data.complete != 0;
    let isr = largest_isr(state, at, leader, partition);
    let all_fetch = (0..BROKERS).filter(|&it| isr & bit(it) != 0).all(|it| state.acts(image, it));
    if partition.isr.len() >= min_isr && all_fetch {
        state.data[at].acknowledge(isr, min_isr);
        if has_lost {
            state.happened(Happened::Lost);
        }
    }
}

/// L2: the ISR in force, and the one that the leader has asked for.
fn largest_isr(state: &State, at: usize, leader: usize, partition: &Partition) -> Brokers {
    let proposals = state.proposals.iter().filter(|it| {
        usize::from(it.partition) == at
            && usize::from(it.sender) == leader
            && it.leader_epoch == partition.leader_epoch
            && it.partition_epoch == partition.partition_epoch
    });
    proposals.fold(bits(&partition.isr), |all, it| all | bits(&it.isr))
}
