//! P7: may a reassignment begin, or be called off?

use crate::inline::Nodes;
use crate::limits::MAX_REPLICAS;
use crate::metadata::{Partition, effective_min_isr};
use crate::{Guard, Rules};

use super::{Cause, Policy};

/// Why a reassignment cannot begin or be called off now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Refused {
    #[error("no reassignment of this partition is in progress")]
    NotInProgress,
    #[error("target and present replicas together are more than {MAX_REPLICAS}")]
    TooManyReplicas,
    #[error(
        "the replicas that would stay have fewer than min.insync.replicas members that hold all \
         acknowledged records; let the reassignment finish, or wait until more are in sync"
    )]
    LosesRecords,
}

/// A reassignment to `target`, or back to where the running one began if there is none.
///
/// Brokers that are being added may be dropped only while enough others hold everything:
/// a record may have been acknowledged by an ISR of which they were a part.
/// `unclean.leader.election.enable` overrides that.
pub fn reassign<R: Rules>(
    partition: &Partition,
    target: Option<Nodes>,
    policy: Policy,
    rules: R,
) -> Result<Cause, Refused> {
    match target {
        None if !partition.is_reassigning() => Err(Refused::NotInProgress),
        None => {
            check_dropped(partition, partition.adding, policy, rules)?;
            Ok(Cause::Cancelled)
        }
        Some(target) => {
            let original = partition.replicas.without(&partition.adding);
            if target.len() + original.without(&target).len() > MAX_REPLICAS {
                return Err(Refused::TooManyReplicas);
            }
            check_dropped(partition, partition.adding.without(&target), policy, rules)?;
            Ok(Cause::Reassigned { target })
        }
    }
}

fn check_dropped<R: Rules>(
    partition: &Partition,
    dropped: Nodes,
    policy: Policy,
    rules: R,
) -> Result<(), Refused> {
    let rest = Partition { replicas: partition.replicas.without(&dropped), ..*partition };
    let (isr, elr) = (partition.isr.without(&dropped), partition.elr.without(&dropped));
    let holders = isr.len() + elr.len();
    let unharmed = holders == partition.isr.len() + partition.elr.len();
    let enough = if rules.holds(Guard::CancelBelowMinIsr) {
        holders >= effective_min_isr(policy.min_isr, &rest)
    } else {
        !isr.is_empty()
    };
    if unharmed || enough || policy.unclean { Ok(()) } else { Err(Refused::LosesRecords) }
}
