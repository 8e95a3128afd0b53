//! What can be asked of a replica without changing it.

use std::hash::{Hash, Hasher};

use crate::metadata::Partition;
use crate::{EpochEnd, ErrorCode, LeaderEpoch, NodeId, Offset, Rules};

use super::follower::{Asked, Follower};
use super::leader::Leader;
use super::machine::Role;
use super::{DataLog, FetchPosition, Producers, Replica};

/// What a consumer may read here (F2): from `log_start` up to, exclusively, `high_watermark`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Readable {
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub leader_epoch: LeaderEpoch,
}

impl<R: Rules> Replica<R> {
    /// Everything but the rules, for the digest of a trace; of producers and requests that wait
    /// only how many there are, unless it is to be `thorough`.
    pub(crate) fn hash_state(&self, thorough: bool, hasher: &mut impl Hasher) {
        let Replica { rules: _, id, me, view, role, high_watermark, producers, followers } = self;
        (id, me, view, high_watermark, followers).hash(hasher);
        match role {
            Role::Leader(Leader { epoch_start, proposal, waiting: _ }) if !thorough => {
                (epoch_start, proposal).hash(hasher);
            }
            role => role.hash(hasher),
        }
        (producers.len(), self.waiting_requests()).hash(hasher);
        if thorough {
            producers.hash(hasher);
        }
    }

    /// About how much there is to digest.
    pub(crate) fn weight(&self) -> usize {
        self.producers.len() + self.waiting_requests()
    }

    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    pub fn is_follower(&self) -> bool {
        matches!(self.role, Role::Follower(_))
    }

    /// The leader epoch that the replica knows; [`LeaderEpoch::UNKNOWN`] before its first view.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.view.partition.leader_epoch
    }

    pub fn leader(&self) -> Option<NodeId> {
        self.view.partition.leader
    }

    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The ISR that is known to be in force.
    pub fn isr(&self) -> &[NodeId] {
        self.committed_isr()
    }

    /// What the replica knows of its partition.
    pub fn partition(&self) -> &Partition {
        &self.view.partition
    }

    /// The ISR that is asked for and may be in force already (L3), on a leader.
    pub fn asked_isr(&self) -> Option<&[NodeId]> {
        match &self.role {
            Role::Leader(leader) => leader.proposal.asked().map(|asked| &*asked.isr),
            Role::Idle | Role::Follower(_) => None,
        }
    }

    /// How far each follower has fetched in this leader epoch, as the leader knows it; `None` for
    /// one that has not.
    pub fn follower_ends(&self) -> impl Iterator<Item = (NodeId, Option<Offset>)> + '_ {
        self.followers.iter().map(|one| (one.node, one.fetched.then_some(one.end)))
    }

    /// Whom a follower asks, and from where; `None` while it waits.
    pub fn asks(&self) -> Option<(NodeId, FetchPosition)> {
        match &self.role {
            Role::Follower(Follower { leader, asked: Asked::From(position) }) => {
                Some((*leader, *position))
            }
            _ => None,
        }
    }

    /// Leads with a smaller ISR than acks=all needs (UnderMinIsrPartitionCount).
    pub fn is_under_min_isr(&self) -> bool {
        self.is_leader() && !self.has_enough_replicas()
    }

    /// Leads with fewer in-sync replicas than replicas (UnderReplicatedPartitions).
    pub fn is_under_replicated(&self) -> bool {
        self.is_leader() && self.isr().len() < self.view.partition.replicas.len()
    }

    /// Produce requests whose acknowledgement is still to come.
    pub fn waiting_requests(&self) -> usize {
        match &self.role {
            Role::Leader(leader) => leader.waiting.commit.len() + leader.waiting.flush.len(),
            Role::Idle | Role::Follower(_) => 0,
        }
    }

    /// Producer state, for the snapshot files.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// What a consumer that believes in leader epoch `current` may read, from a leader or from a
    /// follower (KIP-392).
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH (the consumer's metadata is old) or
    /// UNKNOWN_LEADER_EPOCH (this broker's is).
    pub fn readable<L: DataLog>(
        &self,
        log: &L,
        current: Option<LeaderEpoch>,
    ) -> Result<Readable, ErrorCode> {
        if matches!(self.role, Role::Idle) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        self.check_epoch(current)?;
        Ok(Readable {
            log_start: log.start(),
            high_watermark: self.high_watermark,
            leader_epoch: self.leader_epoch(),
        })
    }

    /// As [`Replica::readable`], from the leader only and once the high watermark has reached the
    /// start of its epoch: what ListOffsets needs, so that the latest offset never goes back with
    /// a new leader.
    ///
    /// # Errors
    /// As [`Replica::readable`], and OFFSET_NOT_AVAILABLE right after an election.
    pub fn latest<L: DataLog>(
        &self,
        log: &L,
        current: Option<LeaderEpoch>,
    ) -> Result<Readable, ErrorCode> {
        let Role::Leader(leader) = &self.role else { return Err(ErrorCode::NotLeaderOrFollower) };
        let readable = self.readable(log, current)?;
        if readable.high_watermark < leader.epoch_start {
            return Err(ErrorCode::OffsetNotAvailable);
        }
        Ok(readable)
    }

    /// Where a consumer's fetch at `offset` stands: what it may read, and where this log parts from
    /// the consumer's, whose last record before `offset` has `last_epoch` (KIP-595's fetch). A
    /// position between high watermark and end waits: its records may yet be committed.
    ///
    /// # Errors
    /// As [`Replica::readable`], and OFFSET_OUT_OF_RANGE where the logs do not part.
    pub fn consumed<L: DataLog>(
        &self,
        log: &L,
        current: Option<LeaderEpoch>,
        offset: Offset,
        last_epoch: Option<LeaderEpoch>,
    ) -> Result<(Readable, Option<EpochEnd>), ErrorCode> {
        let readable = self.readable(log, current)?;
        let parting = last_epoch.and_then(|epoch| {
            let end = log.end_of_epoch(epoch.0);
            (end.epoch < epoch.0 || end.end < offset).then_some(end)
        });
        if parting.is_none() && (offset < readable.log_start || offset > log.end()) {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        Ok((readable, parting))
    }

    /// F1: up to where an operator may have records deleted; `None` asks for all that is committed.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER on any other than the leader, OFFSET_OUT_OF_RANGE beyond the high
    /// watermark.
    pub fn deletable(&self, before: Option<Offset>) -> Result<Offset, ErrorCode> {
        let before = before.unwrap_or(self.high_watermark);
        if !self.is_leader() {
            Err(ErrorCode::NotLeaderOrFollower)
        } else if before < Offset::ZERO || before > self.high_watermark {
            Err(ErrorCode::OffsetOutOfRange)
        } else {
            Ok(before)
        }
    }

    fn check_epoch(&self, current: Option<LeaderEpoch>) -> Result<(), ErrorCode> {
        match current {
            Some(epoch) if epoch < self.leader_epoch() => Err(ErrorCode::FencedLeaderEpoch),
            Some(epoch) if epoch > self.leader_epoch() => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }
}
