//! Which reassignments may begin or be called off, and when one is complete (P7).

use crate::metadata::partition::{Refused, reassign};
use crate::{Guard, NodeId, Shipped};

use super::{Cause, Policy, SAFE, Without, nodes, story, story_under};

#[test]
fn a_reassignment_completes_only_when_every_target_is_in_sync() {
    let mut story = story(&[1, 2]);
    story.fence(2).reassign(&[3, 2]);
    assert_eq!(story.partition.replicas, nodes(&[3, 2, 1]));
    story.isr(&[1, 3]).is(Some(1), &[1, 3], &[], &[]);
    assert!(story.partition.is_reassigning(), "2 is a target and not in sync");
    story.unfence(2).isr(&[1, 3, 2]).is(Some(3), &[3, 2], &[], &[]);
    assert_eq!(story.partition.replicas, nodes(&[3, 2]));
    assert!(!story.partition.is_reassigning());
}

#[test]
fn without_its_guard_a_reassignment_completes_below_min_isr() {
    let mut story = story_under(Without(Some(Guard::ReassignBelowMinIsr)), &[1, 2]);
    story.fence(2).reassign(&[3, 2]).isr(&[1, 3]);
    assert_eq!((story.partition.isr, story.partition.replicas), (nodes(&[3]), nodes(&[3, 2])));
}

/// The sequence by which Apache Kafka 4.3.1 loses acknowledged records.
#[test]
fn a_replica_that_a_reassignment_removed_is_not_elected_when_it_is_added_anew() {
    let run = |guard| {
        let mut story = story_under(Without(guard), &[1, 2]);
        story.reassign(&[3]).isr(&[1, 2, 3]);
        assert_eq!(story.partition.replicas, nodes(&[3]));
        let elr = story.partition.elr;
        story.reassign(&[3, 1]).fence(3);
        (elr, story.partition.leader)
    };
    assert_eq!(run(None), (nodes(&[]), None), "1 has deleted its log");
    assert_eq!(run(Some(Guard::ElrOutsideReplicas)), (nodes(&[1, 2]), Some(NodeId(1))));
}

#[test]
fn a_cancelled_reassignment_restores_the_replicas() {
    let mut story = story(&[1, 2]);
    story.reassign(&[3, 4]).isr(&[1, 2, 3]);
    let cause = reassign(&story.partition, None, SAFE, Shipped).expect("1 and 2 hold everything");
    story.happens(cause).is(Some(1), &[1, 2], &[], &[]);
    assert_eq!(story.partition.replicas, nodes(&[1, 2]));
    let refused = reassign(&story.partition, None, SAFE, Shipped);
    assert_eq!(refused, Err(Refused::NotInProgress));
}

#[test]
fn a_reassignment_is_not_cancelled_while_the_rest_holds_too_little() {
    let mut story = story(&[1, 2]);
    story.reassign(&[3, 4]).isr(&[1, 3]);
    assert_eq!(reassign(&story.partition, None, SAFE, Shipped), Err(Refused::LosesRecords));
    let other = reassign(&story.partition, Some(nodes(&[5, 1])), SAFE, Shipped);
    assert_eq!(other, Err(Refused::LosesRecords), "3 would be dropped by another target too");
    let unclean = Policy { unclean: true, ..SAFE };
    assert_eq!(reassign(&story.partition, None, unclean, Shipped), Ok(Cause::Cancelled));
}

#[test]
fn target_and_present_replicas_together_fit_one_list() {
    let story = story(&[1, 2, 3, 4, 5]);
    let judge =
        |target: &[i32]| reassign(&story.partition, Some(nodes(target)), SAFE, Shipped).err();
    assert_eq!(judge(&[6, 7, 8, 9, 10]), None, "five to five others");
    assert_eq!(judge(&[6, 7, 8, 9, 10, 11]), Some(Refused::TooManyReplicas));
    assert_eq!(judge(&[1, 7, 8, 9, 10, 11]), None, "who stays counts once");
}

#[test]
fn replicas_that_hold_nothing_may_be_dropped_however_few_hold_everything() {
    let mut story = story(&[1, 2]);
    story.fence(2).unclean_restart(2).is(Some(1), &[1], &[], &[]);
    story.reassign(&[3, 4]).reassign(&[4, 5]);
    assert_eq!(story.partition.replicas, nodes(&[4, 5, 1, 2]), "3 was not in sync");
    assert_eq!(reassign(&story.partition, None, SAFE, Shipped), Ok(Cause::Cancelled));
}

/// What may be dropped is measured by the min.insync.replicas of those who stay.
#[test]
fn one_replica_is_enough_to_go_back_to_where_it_was_alone() {
    let mut story = story(&[1]);
    story.reassign(&[1, 2, 3]).isr(&[1, 2]).is(Some(1), &[1, 2], &[], &[]);
    let cause = reassign(&story.partition, None, SAFE, Shipped).expect("1 holds everything");
    story.happens(cause).is(Some(1), &[1], &[], &[]);
    assert_eq!(story.partition.replicas, nodes(&[1]));
}
