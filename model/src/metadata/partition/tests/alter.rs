//! Which of a leader's proposals are accepted (P3).

use crate::inline::InlineVec;
use crate::metadata::AlteredPartition;
use crate::metadata::partition::alter;
use crate::{BrokerEpoch, ErrorCode, Guard, NodeId, Shipped, TopicPartition};

use super::{Cause, Election, Story, Without, nodes, story};

fn proposal(story: &Story, isr: &[i32]) -> AlteredPartition {
    AlteredPartition {
        id: TopicPartition::default(),
        leader_epoch: story.partition.leader_epoch,
        partition_epoch: story.partition.partition_epoch,
        isr: nodes(isr),
        isr_epochs: isr.iter().map(|&id| BrokerEpoch(i64::from(id))).collect(),
        recovering: false,
    }
}

#[test]
fn a_proposal_is_refused_by_the_first_check_that_fails() {
    let mut story = story(&[1, 2, 3]);
    story.fence(1).unfence(1);
    let judge = |edit: &dyn Fn(&mut AlteredPartition), sender| {
        let mut asked = proposal(&story, &[2, 3, 1]);
        edit(&mut asked);
        alter(&story.partition, NodeId(sender), &asked, &story.fleet, Shipped).err()
    };
    assert_eq!(judge(&|_| {}, 2), None);
    assert_eq!(judge(&|p| p.leader_epoch.0 += 1, 1), Some(ErrorCode::NotController));
    assert_eq!(judge(&|p| p.partition_epoch.0 += 1, 1), Some(ErrorCode::NotController));
    let behind = |p: &mut AlteredPartition| {
        p.leader_epoch.0 -= 1;
        p.partition_epoch.0 -= 1;
    };
    assert_eq!(judge(&behind, 1), Some(ErrorCode::FencedLeaderEpoch));
    let sender = |p: &mut AlteredPartition| p.partition_epoch.0 -= 1;
    assert_eq!(judge(&sender, 1), Some(ErrorCode::InvalidRequest));
    assert_eq!(judge(&sender, 2), Some(ErrorCode::InvalidUpdateVersion));
    assert_eq!(judge(&|p| p.isr = nodes(&[2, 3, 3]), 2), Some(ErrorCode::InvalidRequest));
    assert_eq!(judge(&|p| p.isr = nodes(&[2, 3, 4]), 2), Some(ErrorCode::InvalidRequest));
    assert_eq!(judge(&|p| p.isr = nodes(&[1, 3, 1]), 2), Some(ErrorCode::InvalidRequest));
    assert_eq!(judge(&|p| p.recovering = true, 2), Some(ErrorCode::InvalidRequest));
    assert_eq!(judge(&|p| p.isr_epochs[2].0 += 1, 2), Some(ErrorCode::IneligibleReplica));
    assert_eq!(judge(&|p| p.isr_epochs[2] = BrokerEpoch::NONE, 2), None);
    assert_eq!(judge(&|p| p.isr_epochs = InlineVec::new(), 2), Some(ErrorCode::InvalidRequest));
}

#[test]
fn a_fenced_broker_joins_no_isr() {
    let mut story = story(&[1, 2, 3]);
    story.fence(3);
    let asked = proposal(&story, &[1, 2, 3]);
    let judge =
        |guard| alter(&story.partition, NodeId(1), &asked, &story.fleet, Without(guard)).err();
    assert_eq!(judge(None), Some(ErrorCode::IneligibleReplica));
    assert_eq!(judge(Some(Guard::FencedJoinsIsr)), None);
}

#[test]
fn who_recovers_stays_alone_in_the_isr_until_it_says_that_it_has() {
    let mut story = story(&[1, 2, 3]);
    story.fence(3).fence(2).fence(1).unfence(3).happens(Cause::Elect(Election::Unclean));
    story.unfence(2).is(Some(3), &[3], &[], &[]);
    assert!(story.partition.recovering);
    let judge = |isr: &[i32], recovering| {
        let asked = AlteredPartition { recovering, ..proposal(&story, isr) };
        alter(&story.partition, NodeId(3), &asked, &story.fleet, Shipped).err()
    };
    assert_eq!(judge(&[3], true), None, "nothing new");
    assert_eq!(judge(&[3, 2], true), Some(ErrorCode::InvalidRequest));
    assert_eq!(judge(&[3], false), None);
    assert_eq!(judge(&[3, 2], false), None, "it has recovered, and another has caught up");
}
