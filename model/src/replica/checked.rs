//! What a checker's shell asks of a replica in place of remembering its effects: a smaller state.

use std::hash::{Hash, Hasher};

use crate::inline::Nodes;
use crate::metadata::{AlteredPartition, Partition};
use crate::{NodeId, Offset, PartitionEpoch, Rules};

use super::follower::Asked;
use super::isr::Proposal;
use super::machine::Role;
use super::progress::{Lag, Progress};
use super::{FetchPosition, Replica, View};

impl<R: Rules> Replica<R> {
    /// Whom the replica follows, and from where it asks.
    pub(crate) fn wanted_fetch(&self) -> Option<(NodeId, FetchPosition)> {
        match &self.role {
            Role::Follower(follower) => match follower.asked {
                Asked::From(position) => Some((follower.leader, position)),
                Asked::WaitsForFlush | Asked::Refused => None,
            },
            Role::Idle | Role::Leader(_) => None,
        }
    }

    /// What it has asked the controller and still wants to know.
    pub(crate) fn wanted_alteration(&self) -> Option<AlteredPartition> {
        match &self.role {
            Role::Leader(leader) => match leader.proposal {
                Proposal::Sent(asked) => Some(asked),
                _ => None,
            },
            Role::Idle | Role::Follower(_) => None,
        }
    }

    /// What it has asked and takes for decided, so that it waits for the metadata.
    pub(crate) fn decided_alteration(&self) -> Option<AlteredPartition> {
        match &self.role {
            Role::Leader(leader) => match leader.proposal {
                Proposal::Decided(asked) => Some(asked),
                _ => None,
            },
            Role::Idle | Role::Follower(_) => None,
        }
    }

    /// Whether this leader takes `node` for a possible member of the ISR: the maximal ISR (L2).
    pub(crate) fn may_be_in_sync(&self, node: NodeId) -> bool {
        let proposed = match &self.role {
            Role::Leader(leader) => leader.proposal.may_contain(node),
            Role::Idle | Role::Follower(_) => false,
        };
        proposed || self.committed_isr().contains(&node)
    }

    /// The followers whose position this leader takes for known.
    pub(crate) fn known_followers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.followers.iter().filter(|follower| follower.fetched).map(|follower| follower.node)
    }

    pub(crate) fn is_rolled_back(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.proposal == Proposal::RolledBack)
    }

    /// Drops what makes no difference to the model, so that states that behave alike are equal:
    ///
    /// * what only decides whether a lag timer that runs out counts, since the model lets a
    ///   follower be found silent whenever it is behind, which allows all that a timer can do;
    /// * in a view, what only a leader reads: the ISR, the partition epoch and the other brokers.
    ///   Leaders change with the leader epoch, and with that everything is replayed again. Whether
    ///   it is in the ISR itself a follower reads for one thing, to notice that a promise is broken:
    ///   a model that listens `keeps_membership`.
    pub(crate) fn forget_what_is_idle(&mut self, keeps_membership: bool) {
        for follower in self.followers.iter_mut() {
            follower.leader_end = Offset::ZERO;
            if follower.lag != Lag::Over {
                follower.lag = Lag::None;
            }
        }
        if !self.is_leader() {
            let Partition { replicas, leader, leader_epoch, isr, .. } = self.view.partition;
            let isr = if keeps_membership { isr.intersect(&[self.me]) } else { Nodes::new() };
            let partition_epoch = PartitionEpoch(-1);
            self.view.partition = Partition {
                replicas,
                leader,
                leader_epoch,
                partition_epoch,
                isr,
                ..Partition::default()
            };
            self.view.brokers.clear();
        }
    }

    /// Feeds everything that differs between states of one model to `state`, several small numbers in
    /// a word: what the replica is of, and under which rules, is the same in all of them. Every field
    /// is named, so that a new one cannot be forgotten.
    pub(crate) fn hash_what_varies<H: Hasher>(&self, state: &mut H) {
        let Replica { rules: _, id: _, me: _, view, role, high_watermark, producers, followers } =
            self;
        let View { partition, min_isr, brokers, flush_before_ack } = view;
        hash_partition(partition, state);
        let flush = i32::from(*flush_before_ack);
        state.write_u64(pair(*min_isr, brokers.len() as i32 * 2 + flush));
        for (node, epoch, is_active) in brokers {
            state.write_u64(pair(node.0, i32::from(*is_active)));
            state.write_u64(epoch.0 as u64);
        }
        role.hash(state);
        state.write_u64(high_watermark.0 as u64);
        state.write_u64(pair(followers.len() as i32, producers.len() as i32));
        for Progress { node, fetched, end, broker_epoch, leader_end, lag } in followers {
            state.write_u64(pair(node.0, *lag as i32 * 2 + i32::from(*fetched)));
            state.write_u64(end.0 as u64);
            state.write_u64(broker_epoch.0 as u64);
            state.write_u64(leader_end.0 as u64);
        }
        producers.entries().for_each(|entry| entry.hash(state));
    }

    /// The metadata that it goes by.
    pub(crate) fn known(&self) -> &View {
        &self.view
    }

    /// Whether replaying `view` would make a difference.
    pub(crate) fn would_notice(&self, view: &View) -> bool {
        if self.is_leader() {
            self.view != *view
        } else {
            self.leader_epoch() != view.partition.leader_epoch
        }
    }
}

fn hash_partition<H: Hasher>(partition: &Partition, state: &mut H) {
    let Partition {
        replicas,
        isr,
        elr,
        last_known_elr,
        removing,
        adding,
        leader,
        recovering,
        leader_epoch,
        partition_epoch,
    } = partition;
    let lists = [replicas, isr, elr, last_known_elr, removing, adding];
    let lengths = lists.iter().fold(0, |all, list| all << 8 | list.len() as u64);
    state.write_u64(lengths << 1 | u64::from(*recovering));
    state.write_u64(pair(leader_epoch.0, partition_epoch.0));
    state.write_u64(leader.map_or(u64::MAX, |leader| pair(leader.0, 0)));
    lists.iter().flat_map(|list| list.iter()).for_each(|node| state.write_u32(node.0 as u32));
}

fn pair(low: i32, high: i32) -> u64 {
    u64::from(low as u32) | u64::from(high as u32) << 32
}
