//! P4 to P7: one thing that happened to a partition becomes one change record.
//!
//! The order is fixed: what happened is entered, a reassignment that is now complete is finished,
//! the ELR follows, then comes the election, and last what only follows from its outcome.

use crate::inline::Nodes;
use crate::metadata::{Partition, PartitionChange, effective_min_isr};
use crate::{Guard, NodeId, Rules, TopicPartition};

use super::{Brokers, Policy};

/// What happened to a partition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// The leader's proposal, which [`super::alter`] has accepted (P3).
    Altered { isr: Nodes, recovering: bool },
    /// A broker is fenced or stops: it leaves the ISR, but what it holds it still holds.
    Left(NodeId),
    /// A broker restarted after an unclean stop, and may have lost what was not flushed (B1): it
    /// leaves the ISR and the ELR. It may still be the last known leader, whose log is the best
    /// that is left when everything went down at once (P6).
    LostTail(NodeId),
    /// A broker's log is gone: another disk, damage, or no such broker any more. It is nothing that
    /// could be elected cleanly, not even as the last known leader.
    LostLog(NodeId),
    /// A look at who should lead, because somebody came back or was asked for.
    Elect(Election),
    /// A reassignment to these replicas begins, which [`super::reassign`] has allowed (P7).
    Reassigned { target: Nodes },
    /// The reassignment is called off, which [`super::reassign`] has allowed (P7).
    Cancelled,
}

/// Which replicas an election may choose, and in which order (P5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Election {
    /// The present leader if it may lead, else the first replica that may.
    Online,
    /// The first replica if it may lead, else as above.
    Preferred,
    /// As `Online`; when nobody may lead, the first replica that is alive. Loses records.
    Unclean,
}

/// The record that `cause` calls for, or `None` when nothing changes.
pub fn change<R: Rules>(
    id: TopicPartition,
    partition: &Partition,
    cause: Cause,
    policy: Policy,
    brokers: &impl Brokers,
    rules: R,
) -> Option<PartitionChange> {
    let mut draft = Draft::new(partition, cause, policy, brokers, rules);
    draft.enter(cause);
    draft.finish_reassignment();
    draft.update_elr();
    draft.elect();
    draft.remember_last_leader();
    let change = draft.record(id);
    (!change.is_empty()).then_some(change)
}

/// A change under construction: the partition before, and as it shall be.
struct Draft<'a, B, R> {
    before: &'a Partition,
    after: Partition,
    /// The broker that goes with this change: the image may still call it active.
    leaving: Option<NodeId>,
    /// Whoever of the ISR and ELR holds no longer what it held.
    lossy: Option<NodeId>,
    /// The broker whose log is gone altogether.
    gone: Option<NodeId>,
    election: Election,
    /// Nothing happened but that somebody looks who should lead.
    is_look: bool,
    policy: Policy,
    brokers: &'a B,
    rules: R,
}

/// Who shall lead, and on which ground.
enum Winner {
    Clean(NodeId),
    /// Records may be lost: the ISR starts anew with this replica.
    Unclean(NodeId),
    Nobody,
}

impl<'a, B: Brokers, R: Rules> Draft<'a, B, R> {
    fn new(before: &'a Partition, cause: Cause, policy: Policy, brokers: &'a B, rules: R) -> Self {
        let leaving = match cause {
            Cause::Left(broker) | Cause::LostTail(broker) | Cause::LostLog(broker) => Some(broker),
            _ => None,
        };
        let lossy = match cause {
            Cause::LostTail(broker) | Cause::LostLog(broker)
                if rules.holds(Guard::UncleanKeepsElr) =>
            {
                Some(broker)
            }
            _ => None,
        };
        let gone = match cause {
            Cause::LostLog(broker) => Some(broker),
            _ => None,
        };
        let election = match cause {
            Cause::Elect(asked) if asked != Election::Online => asked,
            _ if policy.unclean => Election::Unclean,
            _ => Election::Online,
        };
        let (after, is_look) = (*before, matches!(cause, Cause::Elect(_)));
        Draft { before, after, leaving, lossy, gone, election, is_look, policy, brokers, rules }
    }

    fn enter(&mut self, cause: Cause) {
        let after = &mut self.after;
        match cause {
            Cause::Altered { isr, recovering } => {
                after.isr = isr;
                after.recovering = recovering;
            }
            Cause::Left(broker) | Cause::LostTail(broker) => {
                after.isr.retain(|&member| member != broker);
            }
            Cause::LostLog(broker) => {
                after.isr.retain(|&member| member != broker);
                after.last_known_elr.retain(|&member| member != broker);
            }
            Cause::Elect(_) => {}
            Cause::Reassigned { target } => enter_target(after, target),
            Cause::Cancelled => {
                let added = after.adding;
                after.replicas = after.replicas.without(&added);
                after.isr = after.isr.without(&added);
                after.adding.clear();
                after.removing.clear();
            }
        }
    }

    /// P7: done when every target replica is in the ISR. That many are never fewer than the
    /// effective min.insync.replicas of the target list, so a reassignment cannot leave a record
    /// on fewer replicas than it was acknowledged with. Kafka asks only for those that were added
    /// (KAFKA-19975) and so completes below min.insync.replicas.
    fn finish_reassignment(&mut self) {
        if !self.after.is_reassigning() {
            return;
        }
        let removing = self.after.removing;
        let target = self.after.replicas.without(&removing);
        let isr = self.after.isr.without(&removing);
        let complete = if self.rules.holds(Guard::ReassignBelowMinIsr) {
            !target.is_empty() && target.is_subset(&isr)
        } else {
            !isr.is_empty() && self.after.adding.is_subset(&isr)
        };
        if complete {
            self.after.replicas = target;
            if self.rules.holds(Guard::RemovedStaysInIsr) {
                self.after.isr = isr;
            }
            self.after.adding.clear();
            self.after.removing.clear();
        }
    }

    /// P6: who left the ISR while it is below min.insync.replicas holds all that is committed,
    /// because nothing is committed until the ISR is large enough again. Cut to the replicas: who
    /// is none deletes its log, and must not be elected when it is added anew.
    fn update_elr(&mut self) {
        let mut holders = self.before.elr;
        self.before.isr.iter().for_each(|&member| holders.insert(member));
        holders.retain(|member| !self.after.isr.contains(member) && self.lossy != Some(*member));
        self.after.elr = holders;
        if !self.keeps_removed_replicas() {
            self.after.elr = self.after.elr.intersect(&self.after.replicas);
            self.after.last_known_elr = self.after.last_known_elr.intersect(&self.after.replicas);
        }
        if !self.rules.holds(Guard::ElectionWipesElr) && self.is_look {
            self.after.elr.clear();
        }
        self.clear_elr_if_large_enough();
    }

    /// Kafka's rule, which loses acknowledged records.
    fn keeps_removed_replicas(&self) -> bool {
        !self.rules.holds(Guard::ElrOutsideReplicas)
    }

    fn clear_elr_if_large_enough(&mut self) {
        if self.after.isr.len() >= self.min_isr() {
            self.after.elr.clear();
            self.after.last_known_elr.clear();
        }
    }

    /// The same figure by which the leader's broker holds its high watermark back (L2). Kafka takes
    /// the replica count of another partition of the topic. That is a fault by itself, and it is
    /// what lets a removed replica stay in the ELR of a partition that has fewer replicas now.
    fn min_isr(&self) -> usize {
        if self.keeps_removed_replicas() {
            return self.policy.min_isr.max(1) as usize;
        }
        effective_min_isr(self.policy.min_isr, &self.after)
    }

    fn elect(&mut self) {
        let winner = self.winner();
        let after = &mut self.after;
        match winner {
            Winner::Nobody => after.leader = None,
            Winner::Clean(leader) => {
                after.leader = Some(leader);
                if !after.isr.contains(&leader) {
                    after.isr = Nodes::from_iter([leader]);
                    after.elr.retain(|&member| member != leader);
                }
            }
            Winner::Unclean(leader) => {
                after.leader = Some(leader);
                after.isr = Nodes::from_iter([leader]);
                after.elr.clear();
                after.recovering = true;
            }
        }
        self.clear_elr_if_large_enough();
    }

    fn winner(&self) -> Winner {
        let replicas = &self.after.replicas;
        let preferred = replicas.first().copied();
        if self.election == Election::Preferred
            && let Some(leader) = preferred.filter(|&first| self.is_preferable(first))
        {
            return Winner::Clean(leader);
        }
        if let Some(leader) = self.before.leader.filter(|&leader| self.is_electable(leader)) {
            return Winner::Clean(leader);
        }
        if let Some(&leader) = replicas.iter().find(|&&replica| self.is_electable(replica)) {
            return Winner::Clean(leader);
        }
        if let Some(leader) = self.last_known_leader() {
            return Winner::Unclean(leader);
        }
        match replicas.iter().find(|&&replica| self.is_alive(replica)) {
            Some(&leader) if self.election == Election::Unclean => Winner::Unclean(leader),
            _ => Winner::Nobody,
        }
    }

    fn is_preferable(&self, replica: NodeId) -> bool {
        let is_enough = !self.rules.holds(Guard::PreferredFromAnywhere) && self.is_alive(replica);
        self.is_electable(replica) || is_enough
    }

    /// P5: alive, and in the ISR, or in the ELR when the ISR is empty.
    fn is_electable(&self, replica: NodeId) -> bool {
        let after = &self.after;
        let holds_everything = after.isr.contains(&replica)
            || (after.isr.is_empty() && after.elr.contains(&replica))
            || (!self.rules.holds(Guard::ElectAnyReplica) && after.replicas.contains(&replica));
        holds_everything && after.replicas.contains(&replica) && self.is_alive(replica)
    }

    /// P6: only when nobody is left who surely holds everything, only if alone in the list, and
    /// only alive (KAFKA-19522).
    fn last_known_leader(&self) -> Option<NodeId> {
        let after = &self.after;
        let [last] = *after.last_known_elr else { return None };
        let needed = after.isr.is_empty() && after.elr.is_empty();
        let alive = self.is_alive(last) || !self.rules.holds(Guard::ElectDeadLastLeader);
        (needed && alive).then_some(last)
    }

    fn is_alive(&self, replica: NodeId) -> bool {
        self.leaving != Some(replica) && self.brokers.is_active(replica)
    }

    /// P6: remembered once, when it loses the leadership to nobody, which is when the ISR empties;
    /// forgotten as soon as somebody leads. A leader whose log is gone is not worth remembering.
    fn remember_last_leader(&mut self) {
        let after = &mut self.after;
        if after.leader.is_some() {
            after.last_known_elr.clear();
        } else if let Some(leader) = self.before.leader
            && after.replicas.contains(&leader)
            && self.gone != Some(leader)
        {
            after.last_known_elr = Nodes::from_iter([leader]);
        }
    }

    /// What differs. The leader is named, and its epoch grows by that, also when a replica left the
    /// list, so that its fetches and those who still follow it are fenced.
    fn record(&self, id: TopicPartition) -> PartitionChange {
        let (before, after) = (self.before, &self.after);
        let shrank = !before.isr.is_subset(&after.isr) && !self.rules.holds(Guard::BumpOnShrink);
        let replica_left = !before.replicas.is_subset(&after.replicas) || shrank;
        PartitionChange {
            id,
            replicas: differing(before.replicas, after.replicas),
            isr: differing(before.isr, after.isr),
            removing: differing(before.removing, after.removing),
            adding: differing(before.adding, after.adding),
            leader: (replica_left || before.leader != after.leader).then_some(after.leader),
            recovering: differing(before.recovering, after.recovering),
            elr: differing(before.elr, after.elr),
            last_known_elr: differing(before.last_known_elr, after.last_known_elr),
        }
    }
}

/// While a reassignment runs the list is the target, then those that go once it is complete. Those
/// that an earlier one was adding and this one does not want go at once.
fn enter_target(partition: &mut Partition, target: Nodes) {
    let abandoned = partition.adding.without(&target);
    let original = partition.replicas.without(&partition.adding);
    partition.isr = partition.isr.without(&abandoned);
    partition.removing = original.without(&target);
    partition.adding = target.without(&original);
    partition.replicas = target;
    partition.removing.iter().for_each(|&replica| partition.replicas.push(replica));
}

fn differing<T: PartialEq>(before: T, after: T) -> Option<T> {
    (before != after).then_some(after)
}
