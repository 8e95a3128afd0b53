//! Stories of one partition: each test reads as what happens to it, step by step.

mod alter;
mod reassign;

use std::collections::BTreeMap;

use crate::inline::Nodes;
use crate::metadata::Partition;
use crate::{BrokerEpoch, Guard, NodeId, Rules, Shipped, TopicPartition};

use super::{Brokers, Cause, Election, Policy, change};

const SAFE: Policy = Policy { min_isr: 2, unclean: false };

/// Registered brokers, and whether they are active.
#[derive(Default)]
struct Fleet(BTreeMap<NodeId, bool>);

impl Brokers for Fleet {
    fn is_active(&self, broker: NodeId) -> bool {
        self.0.get(&broker).copied().unwrap_or(false)
    }

    fn epoch(&self, broker: NodeId) -> Option<BrokerEpoch> {
        self.0.contains_key(&broker).then_some(BrokerEpoch(i64::from(broker.0)))
    }
}

/// One partition and its brokers, under shipped rules unless a mutation is named.
struct Story<R = Shipped> {
    partition: Partition,
    fleet: Fleet,
    policy: Policy,
    rules: R,
}

/// The rules with one guard removed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Without(Option<Guard>);

impl Rules for Without {
    fn holds(self, guard: Guard) -> bool {
        self.0 != Some(guard)
    }
}

fn nodes(ids: &[i32]) -> Nodes {
    ids.iter().map(|&id| NodeId(id)).collect()
}

fn story(replicas: &[i32]) -> Story {
    story_under(Shipped, replicas)
}

fn story_under<R: Rules>(rules: R, replicas: &[i32]) -> Story<R> {
    let partition = Partition {
        replicas: nodes(replicas),
        isr: nodes(replicas),
        leader: Some(NodeId(replicas[0])),
        ..Default::default()
    };
    let fleet = Fleet((1..=5).map(|id| (NodeId(id), true)).collect());
    Story { partition, fleet, policy: SAFE, rules }
}

impl<R: Rules> Story<R> {
    fn happens(&mut self, cause: Cause) -> &mut Self {
        let id = TopicPartition::default();
        let change = change(id, &self.partition, cause, self.policy, &self.fleet, self.rules);
        if let Some(change) = change {
            self.partition.apply(&change);
        }
        self
    }

    fn fence(&mut self, id: i32) -> &mut Self {
        self.happens(Cause::Left(NodeId(id)));
        self.fleet.0.insert(NodeId(id), false);
        self
    }

    /// Back as the same process, or after an orderly stop: nothing was lost.
    fn unfence(&mut self, id: i32) -> &mut Self {
        self.fleet.0.insert(NodeId(id), true);
        self.happens(Cause::Elect(Election::Online))
    }

    fn unclean_restart(&mut self, id: i32) -> &mut Self {
        self.fleet.0.insert(NodeId(id), false);
        self.happens(Cause::LostTail(NodeId(id))).unfence(id)
    }

    fn isr(&mut self, isr: &[i32]) -> &mut Self {
        let recovering = false;
        self.happens(Cause::Altered { isr: nodes(isr), recovering })
    }

    fn reassign(&mut self, target: &[i32]) -> &mut Self {
        let cause = super::reassign(&self.partition, Some(nodes(target)), self.policy, self.rules);
        self.happens(cause.expect("the reassignment is allowed"))
    }

    fn is(&self, leader: Option<i32>, isr: &[i32], elr: &[i32], last: &[i32]) -> &Self {
        let Partition { leader: now, isr: isr_now, elr: elr_now, last_known_elr, .. } =
            self.partition;
        let found = (now.map(|leader| leader.0), isr_now, elr_now, last_known_elr);
        assert_eq!(found, (leader, nodes(isr), nodes(elr), nodes(last)));
        self
    }
}

#[test]
fn a_follower_that_is_fenced_leaves_the_isr_without_an_election() {
    let mut story = story(&[1, 2, 3]);
    story.fence(3).is(Some(1), &[1, 2], &[], &[]);
    assert_eq!(story.partition.leader_epoch.0, 0, "shrinking alone bumps no leader epoch");
    assert_eq!(story.partition.partition_epoch.0, 1);
}

#[test]
fn a_fenced_leader_is_followed_by_the_first_member_in_replica_order() {
    let mut story = story(&[1, 2, 3]);
    story.fence(1).is(Some(2), &[2, 3], &[], &[]);
    assert_eq!(story.partition.leader_epoch.0, 1);
    story.unfence(1).is(Some(2), &[2, 3], &[], &[]);
}

#[test]
fn nothing_that_changes_nothing_writes_a_record() {
    let story = story(&[1, 2, 3]);
    let id = TopicPartition::default();
    for cause in [Cause::Left(NodeId(5)), Cause::Elect(Election::Preferred)] {
        assert_eq!(change(id, &story.partition, cause, SAFE, &story.fleet, Shipped), None);
    }
}

#[test]
fn below_min_isr_those_who_leave_become_eligible_and_are_elected_when_they_return() {
    let mut story = story(&[1, 2, 3]);
    story.fence(3).fence(2).is(Some(1), &[1], &[2], &[]);
    story.fence(1).is(None, &[], &[2, 1], &[1]);
    story.unfence(3).is(None, &[], &[2, 1], &[1]);
    story.unfence(2).is(Some(2), &[2], &[1], &[]);
    story.isr(&[2, 3]).is(Some(2), &[2, 3], &[], &[]);
}

#[test]
fn an_unclean_restart_leaves_isr_and_elr() {
    let mut story = story(&[1, 2, 3]);
    story.fence(3).fence(2).unclean_restart(2).is(Some(1), &[1], &[], &[]);
    story.unclean_restart(1).is(Some(1), &[1], &[], &[]);
    assert!(story.partition.recovering, "the last known leader is elected as unclean");
}

#[test]
fn without_its_guard_an_unclean_replica_stays_eligible() {
    let mut story = story_under(Without(Some(Guard::UncleanKeepsElr)), &[1, 2, 3]);
    story.fence(3).fence(2).unclean_restart(2).is(Some(1), &[1], &[2], &[]);
}

#[test]
fn after_everything_was_killed_the_last_leader_leads_in_every_order_of_return() {
    for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        let mut story = story(&[1, 2, 3]);
        story.fence(1).fence(2).fence(3).is(None, &[], &[2, 3], &[3]);
        for id in order {
            story.unclean_restart(id);
        }
        story.is(Some(3), &[3], &[], &[]);
        assert!(story.partition.recovering);
    }
}

#[test]
fn with_a_broker_missing_only_the_last_leader_is_elected_and_only_if_nobody_is_eligible() {
    for missing in [1, 2, 3] {
        for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
            let mut story = story(&[1, 2, 3]);
            story.fence(1).fence(2).fence(3);
            for id in order.into_iter().filter(|&id| id != missing) {
                story.unclean_restart(id);
            }
            match missing {
                1 => story.is(Some(3), &[3], &[], &[]),
                // 2 was fenced while eligible: its log may be whole, so the others wait for it.
                2 => story.is(None, &[], &[2], &[3]),
                _ => story.is(None, &[], &[3], &[3]),
            };
            story.unclean_restart(missing).is(Some(3), &[3], &[], &[]);
        }
    }
}

#[test]
fn without_its_guard_a_dead_last_leader_is_elected() {
    let run = |rules| {
        let mut story = story_under(Without(rules), &[1, 2]);
        story.fence(2).fence(1);
        story.happens(Cause::LostTail(NodeId(1))).happens(Cause::LostTail(NodeId(2)));
        story.partition.leader
    };
    assert_eq!(run(None), None);
    assert_eq!(run(Some(Guard::ElectDeadLastLeader)), Some(NodeId(1)));
}

#[test]
fn a_wiped_last_leader_is_not_elected() {
    let mut story = story(&[1]);
    story.fence(1).is(None, &[], &[1], &[1]);
    story.happens(Cause::LostLog(NodeId(1))).unfence(1).is(None, &[], &[], &[]);
}

#[test]
fn an_unclean_election_happens_only_where_it_is_allowed_or_asked_for() {
    let mut story = story(&[1, 2, 3]);
    story.fence(3).fence(2).fence(1).unfence(3).is(None, &[], &[2, 1], &[1]);
    story.happens(Cause::Elect(Election::Unclean)).is(Some(3), &[3], &[], &[]);
    assert!(story.partition.recovering);

    let mut allowed = story_under(Shipped, &[1, 2, 3]);
    allowed.policy.unclean = true;
    allowed.fence(3).fence(2).fence(1).unfence(3).is(Some(3), &[3], &[], &[]);
}

#[test]
fn a_preferred_election_moves_the_leader_to_the_first_replica_in_sync() {
    let mut story = story(&[1, 2, 3]);
    story.fence(1).unfence(1).happens(Cause::Elect(Election::Preferred));
    story.is(Some(2), &[2, 3], &[], &[]);
    story.isr(&[2, 3, 1]).happens(Cause::Elect(Election::Preferred));
    story.is(Some(1), &[2, 3, 1], &[], &[]);
}

#[test]
fn without_its_guard_any_replica_is_elected() {
    let mut story = story_under(Without(Some(Guard::ElectAnyReplica)), &[1, 2, 3]);
    story.isr(&[1]).fence(1).is(Some(2), &[2], &[3, 1], &[]);
}

#[test]
fn a_leader_epoch_grows_when_a_replica_leaves_the_list() {
    let mut story = story(&[1, 2, 3]);
    story.reassign(&[1, 2]).is(Some(1), &[1, 2], &[], &[]);
    assert_eq!(story.partition.leader_epoch.0, 1, "broker 3's fetches are fenced by it");
}

#[test]
fn one_min_isr_counts_the_replicas_of_this_partition() {
    let run = |rules| {
        let mut story = story_under(Without(rules), &[1, 2]);
        story.policy.min_isr = 3;
        story.isr(&[1, 2]).fence(2).unfence(2).isr(&[1, 2]);
        story.fence(1).partition.elr
    };
    assert_eq!(run(None), nodes(&[1]));
    let mut large = story_under(Without(Some(Guard::TwoMinIsrs)), &[1, 2]);
    large.policy.min_isr = 3;
    large.reassign(&[1]).is(Some(1), &[1], &[], &[]);
    large.reassign(&[1, 2]).isr(&[1, 2]).fence(2).is(Some(1), &[1], &[2], &[]);
    large.unfence(2).reassign(&[1, 2]).is(Some(1), &[1], &[2], &[]);
}
