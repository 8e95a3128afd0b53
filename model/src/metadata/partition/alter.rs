//! P3: may a leader have the ISR that it proposes?

use crate::metadata::{AlteredPartition, Partition, PartitionChange};
use crate::{BrokerEpoch, ErrorCode, Guard, NodeId, Rules, TopicPartition};

use super::{Brokers, Cause};

/// Judges `sender`'s proposal; the first check that fails decides the error. That the sender is
/// registered under the epoch that it names, and that the partition exists, the caller has checked.
pub fn alter<R: Rules>(
    partition: &Partition,
    sender: NodeId,
    asked: &AlteredPartition,
    brokers: &impl Brokers,
    rules: R,
) -> Result<Cause, ErrorCode> {
    check_epochs(partition, sender, asked, rules)?;
    check_shape(partition, sender, asked)?;
    check_members(asked, brokers, rules)?;
    Ok(Cause::Altered { isr: asked.isr, recovering: asked.recovering })
}

/// The record of a refusal for an ineligible member. It changes nothing but the partition epoch, and
/// so voids every copy of the proposal that is still on its way: its sender no longer counts the
/// member, and a copy that arrives when the member is eligible again must not be granted. Refusals
/// for other reasons need no trace: the sender goes on counting what it asked for until it sees
/// newer metadata.
pub fn refusal(id: TopicPartition) -> PartitionChange {
    PartitionChange { id, ..PartitionChange::default() }
}

/// An epoch ahead of ours means that the sender has seen a newer controller's metadata: it should
/// look for that one.
fn check_epochs<R: Rules>(
    partition: &Partition,
    sender: NodeId,
    asked: &AlteredPartition,
    rules: R,
) -> Result<(), ErrorCode> {
    if asked.leader_epoch > partition.leader_epoch
        || asked.partition_epoch > partition.partition_epoch
    {
        return Err(ErrorCode::NotController);
    }
    if asked.leader_epoch < partition.leader_epoch {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    if partition.leader != Some(sender) {
        return Err(ErrorCode::InvalidRequest);
    }
    if asked.partition_epoch < partition.partition_epoch && rules.holds(Guard::SkipPartitionEpoch) {
        return Err(ErrorCode::InvalidUpdateVersion);
    }
    Ok(())
}

fn check_shape(
    partition: &Partition,
    sender: NodeId,
    asked: &AlteredPartition,
) -> Result<(), ErrorCode> {
    let is_unique =
        asked.isr.iter().enumerate().all(|(at, member)| !asked.isr[..at].contains(member));
    let is_valid = is_unique
        && asked.isr.is_subset(&partition.replicas)
        && asked.isr.contains(&sender)
        && asked.isr_epochs.len() == asked.isr.len()
        && !(asked.recovering && asked.isr.len() > 1)
        && (!asked.recovering || partition.recovering);
    if is_valid { Ok(()) } else { Err(ErrorCode::InvalidRequest) }
}

/// A member must be alive, and still the registration whose fetches the leader has seen (KIP-903).
fn check_members<R: Rules>(
    asked: &AlteredPartition,
    brokers: &impl Brokers,
    rules: R,
) -> Result<(), ErrorCode> {
    let is_eligible = |member: NodeId, seen: BrokerEpoch| {
        let same = seen == BrokerEpoch::NONE
            || brokers.epoch(member) == Some(seen)
            || !rules.holds(Guard::AnyBrokerEpochJoins);
        same && (brokers.is_active(member) || !rules.holds(Guard::FencedJoinsIsr))
    };
    let mut members = asked.isr.iter().zip(&asked.isr_epochs);
    if members.all(|(&member, &seen)| is_eligible(member, seen)) {
        Ok(())
    } else {
        Err(ErrorCode::IneligibleReplica)
    }
}
