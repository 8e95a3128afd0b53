//! What can be asked of a replica without changing it.

use crate::{ErrorCode, LeaderEpoch, NodeId, Offset, Rules};

use super::machine::Role;
use super::{DataLog, Producers, Replica};

/// What a consumer may read here (F2): from `log_start` up to, exclusively, `high_watermark`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Readable {
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub leader_epoch: LeaderEpoch,
}

impl<R: Rules> Replica<R> {
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

    /// Forgets producers that are idle since before then; see [`Producers::expire`].
    pub fn expire_producers(&mut self, before_timestamp: i64) {
        self.producers.expire(before_timestamp);
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

    fn check_epoch(&self, current: Option<LeaderEpoch>) -> Result<(), ErrorCode> {
        match current {
            Some(epoch) if epoch < self.leader_epoch() => Err(ErrorCode::FencedLeaderEpoch),
            Some(epoch) if epoch > self.leader_epoch() => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }
}
