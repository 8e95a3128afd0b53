//! P3 to P8 through the controller: proposals, failover, elections, reassignments.

use kraft_model::metadata::{
    AlterPartition, ConfigChange, ConfigOp, ElectLeaders, ElectionType, Event, Request,
    ResourceKind, Response, Timer,
};
use kraft_model::{BrokerEpoch, ErrorCode, NodeId, TopicPartition};

use crate::cluster::{Cluster, TOPIC, nodes};

const ORDERS: TopicPartition = TopicPartition { topic: TOPIC, partition: 0 };

fn elect(cluster: &mut Cluster, kind: ElectionType) -> Result<(), ErrorCode> {
    let asked = ElectLeaders { kind, partitions: Some(vec![ORDERS]) };
    match cluster.ask(Request::ElectLeaders(asked)) {
        Response::ElectLeaders(results) => results[0].1,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_leader_shrinks_and_grows_its_isr() {
    let mut cluster = Cluster::with_topic(3);
    for (isr, epoch) in [(&[1, 2][..], 1), (&[1, 2, 3], 2)] {
        assert_eq!(cluster.propose(isr), Ok(()));
        let partition = cluster.partition();
        assert_eq!((partition.isr, partition.partition_epoch.0), (nodes(isr), epoch));
    }
    assert_eq!(cluster.propose(&[1, 2, 3]), Ok(()));
    assert_eq!(cluster.partition().partition_epoch.0, 2, "nothing new writes no record");
}

#[test]
fn a_proposal_from_an_old_registration_is_stale_as_a_whole() {
    let mut cluster = Cluster::with_topic(2);
    let mut asked = cluster.proposal(&[1]);
    asked.epoch = BrokerEpoch(asked.epoch.0 - 1);
    let stale = Response::AlterPartition(Err(ErrorCode::StaleBrokerEpoch));
    assert_eq!(cluster.ask(Request::AlterPartition(asked)), stale);
}

#[test]
fn a_proposal_for_a_partition_that_does_not_exist_says_which_part_is_unknown() {
    let mut cluster = Cluster::with_topic(2);
    let mut asked = cluster.proposal(&[1, 2]);
    asked.partitions[0].id.partition = 1;
    assert_eq!(cluster.alter(asked.clone()), Err(ErrorCode::UnknownTopicOrPartition));
    asked.partitions[0].id.topic.0 += 1;
    assert_eq!(cluster.alter(asked), Err(ErrorCode::UnknownTopicId));
}

#[test]
fn a_proposal_made_before_a_fence_does_not_bring_the_fenced_broker_back() {
    let mut cluster = Cluster::with_topic(3);
    let before = cluster.proposal(&[1, 2, 3]);
    cluster.expire(3);
    assert_eq!(cluster.alter(before), Err(ErrorCode::InvalidUpdateVersion));
    let fresh = cluster.propose(&[1, 2, 3]);
    assert_eq!(fresh, Err(ErrorCode::IneligibleReplica));
}

#[test]
fn a_refused_proposal_that_arrives_once_more_is_not_granted_when_its_member_is_back() {
    let mut cluster = Cluster::with_topic(3);
    assert_eq!(cluster.propose(&[1, 2]), Ok(()));
    cluster.expire(3);
    let asked = cluster.proposal(&[1, 2, 3]);
    assert_eq!(cluster.alter(asked.clone()), Err(ErrorCode::IneligibleReplica));
    // From here on the leader commits without broker 3.
    cluster.beat(3, false, false);
    assert!(cluster.is_active(3));
    assert_eq!(cluster.alter(asked), Err(ErrorCode::InvalidUpdateVersion));
    cluster.is(Some(1), &[1, 2], &[], &[]);
    assert_eq!(cluster.propose(&[1, 2, 3]), Ok(()));
}

#[test]
fn one_request_cannot_alter_a_partition_twice() {
    let mut cluster = Cluster::with_topic(3);
    let mut asked = cluster.proposal(&[1, 2]);
    asked.partitions.extend(cluster.proposal(&[1]).partitions);
    let Response::AlterPartition(Ok(results)) = cluster.ask(Request::AlterPartition(asked)) else {
        panic!("the request as a whole is sound")
    };
    assert_eq!(results[1].1, Err(ErrorCode::InvalidRequest));
    cluster.is(Some(1), &[1, 2], &[], &[]);
}

#[test]
fn after_everything_was_killed_the_last_leader_leads_whoever_returns_first() {
    for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        let mut cluster = Cluster::with_topic(3);
        [1, 2, 3].iter().for_each(|&id| cluster.expire(id));
        cluster.is(None, &[], &[2, 3], &[3]);
        for id in order {
            cluster.restart(id, 2);
        }
        cluster.is(Some(3), &[3], &[], &[]);
        assert!(cluster.partition().recovering);
        assert_eq!(cluster.propose(&[3]), Ok(()));
        assert!(!cluster.partition().recovering);
        assert_eq!(cluster.propose(&[3, 1]), Ok(()));
        assert_eq!(cluster.partition().isr, nodes(&[3, 1]));
    }
}

#[test]
fn all_brokers_that_restart_before_anybody_fenced_them_recover_too() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let mut cluster = Cluster::with_topic(3);
        order.iter().for_each(|&id| cluster.restart(id, 2));
        assert!(cluster.partition().leader.is_some());
    }
}

#[test]
fn a_preferred_leader_gets_its_place_back_when_asked_or_when_the_timer_says() {
    for by_timer in [false, true] {
        let mut cluster = Cluster::with_topic(3);
        cluster.expire(1);
        cluster.beat(1, false, false);
        let unavailable = Err(ErrorCode::PreferredLeaderNotAvailable);
        assert_eq!(elect(&mut cluster, ElectionType::Preferred), unavailable);
        assert_eq!(cluster.propose(&[2, 3, 1]), Ok(()));
        if by_timer {
            cluster.step(Event::Timeout(Timer::Balance));
        } else {
            assert_eq!(elect(&mut cluster, ElectionType::Preferred), Ok(()));
        }
        cluster.is(Some(1), &[2, 3, 1], &[], &[]);
        let unneeded = Err(ErrorCode::ElectionNotNeeded);
        assert_eq!(elect(&mut cluster, ElectionType::Preferred), unneeded);
    }
}

#[test]
fn an_unclean_election_is_made_when_asked_for_and_somebody_lives() {
    let mut cluster = Cluster::with_topic(3);
    assert_eq!(elect(&mut cluster, ElectionType::Unclean), Err(ErrorCode::ElectionNotNeeded));
    [3, 2, 1].iter().for_each(|&id| cluster.expire(id));
    let unavailable = Err(ErrorCode::EligibleLeadersNotAvailable);
    assert_eq!(elect(&mut cluster, ElectionType::Unclean), unavailable);
    cluster.beat(3, false, false);
    cluster.is(None, &[], &[2, 1], &[1]);
    assert_eq!(elect(&mut cluster, ElectionType::Unclean), Ok(()));
    cluster.is(Some(3), &[3], &[], &[]);
}

#[test]
fn a_reassignment_that_moves_the_leader_tells_the_proposer() {
    let mut cluster = Cluster::with_topic(2);
    cluster.start(3);
    assert_eq!(cluster.reassign(Some(&[3, 2])), Ok(()));
    let partition = cluster.partition();
    assert_eq!((partition.replicas, partition.adding), (nodes(&[3, 2, 1]), nodes(&[3])));
    let done = cluster.propose(&[1, 2, 3]);
    assert_eq!(done, Err(ErrorCode::NewLeaderElected));
    assert_eq!(cluster.partition().replicas, nodes(&[3, 2]));
    cluster.is(Some(3), &[2, 3], &[], &[]);
}

#[test]
fn a_reassignment_is_refused_where_it_makes_no_sense() {
    let mut cluster = Cluster::with_topic(2);
    let invalid = Err(ErrorCode::InvalidReplicaAssignment);
    assert_eq!(cluster.reassign(None), Err(ErrorCode::NoReassignmentInProgress));
    assert_eq!(cluster.reassign(Some(&[1, 7])), invalid, "7 is not registered");
    assert_eq!(cluster.reassign(Some(&[1, 1])), invalid);
    assert_eq!(cluster.reassign(Some(&[])), invalid);
}

#[test]
fn a_cancelled_reassignment_leaves_the_partition_as_it_was() {
    let mut cluster = Cluster::with_topic(2);
    [3, 4].iter().for_each(|&id| cluster.start(id));
    assert_eq!(cluster.reassign(Some(&[3, 4])), Ok(()));
    assert_eq!(cluster.propose(&[1, 2, 3]), Ok(()));
    assert_eq!(cluster.reassign(None), Ok(()));
    let partition = cluster.partition();
    assert!(!partition.is_reassigning());
    assert_eq!(partition.replicas, nodes(&[1, 2]));
    cluster.is(Some(1), &[1, 2], &[], &[]);
}

/// Apache Kafka 4.3.1 elects broker 1 here, with a log that it deleted long ago.
#[test]
fn a_removed_replica_that_is_added_again_is_not_eligible_before_it_is_in_sync() {
    let mut cluster = Cluster::new();
    (1..=3).for_each(|id| cluster.start(id));
    cluster.create("orders", &[&[2, 3], &[1, 2]]).expect("the topic is created");
    let id = TopicPartition { topic: TOPIC, partition: 1 };
    let reassign = |cluster: &mut Cluster, target: &[i32]| {
        let one = kraft_model::metadata::ReassignPartition { id, replicas: Some(nodes(target)) };
        cluster.ask(Request::ReassignPartitions { partitions: vec![one] });
    };
    reassign(&mut cluster, &[3]);
    let partition = cluster.partition_at(1);
    let mut asked: AlterPartition = cluster.proposal(&[1, 2, 3]);
    (asked.broker, asked.epoch) = (NodeId(1), cluster.epoch_of(1));
    asked.partitions[0].id = id;
    asked.partitions[0].leader_epoch = partition.leader_epoch;
    asked.partitions[0].partition_epoch = partition.partition_epoch;
    assert_eq!(cluster.alter(asked), Err(ErrorCode::NewLeaderElected));
    assert_eq!(cluster.partition_at(1).elr, nodes(&[]));
    reassign(&mut cluster, &[3, 1]);
    cluster.beat(3, true, true);
    let partition = cluster.partition_at(1);
    assert_eq!((partition.leader, partition.isr, partition.elr), (None, nodes(&[]), nodes(&[3])));
}

#[test]
fn ten_thousand_partitions_change_in_batches_that_fit() {
    let mut cluster = Cluster::new();
    (1..=3).for_each(|id| cluster.start(id));
    let assignments: Vec<&[i32]> = vec![&[1, 2, 3]; 5_000];
    cluster.create("orders", &assignments).expect("the topic is created");
    cluster.create("more", &assignments).expect("the topic is created");

    let mut asked = cluster.proposal(&[1, 2]);
    asked.partitions = vec![asked.partitions[0]; 3_000];
    for (number, one) in (0..).zip(&mut asked.partitions) {
        one.id.partition = number;
    }
    let Response::AlterPartition(Ok(results)) = cluster.ask(Request::AlterPartition(asked)) else {
        panic!("the request as a whole is sound")
    };
    assert!(results.len() == 3_000 && results.iter().all(|(_, it)| it.is_ok()));

    cluster.expire(1);
    let leads = |id: i32| {
        let leader = Some(NodeId(id));
        cluster.image().partitions().filter(|(_, it)| it.leader == leader).count()
    };
    assert_eq!((leads(1), leads(2)), (0, 10_000));
    assert_eq!(cluster.batches[cluster.batches.len() - 2..], [10_000, 1]);
}

#[test]
fn a_sweep_elects_uncleanly_where_the_topic_allows_it_and_nobody_else_is_left() {
    let mut cluster = Cluster::with_topic(3);
    (1..=3).for_each(|id| cluster.expire(id));
    cluster.is(None, &[], &[2, 3], &[3]);
    cluster.beat(1, false, false);
    let sweep = |cluster: &mut Cluster| {
        cluster.timers.remove(&Timer::UncleanSweep);
        cluster.step(Event::Timeout(Timer::UncleanSweep));
        cluster.commit();
        assert!(cluster.timers.contains(&Timer::UncleanSweep), "it comes again");
    };
    sweep(&mut cluster);
    cluster.is(None, &[], &[2, 3], &[3]);
    let allowed = ("unclean.leader.election.enable".to_owned(), ConfigOp::Set("true".to_owned()));
    let (kind, resource) = (ResourceKind::Topic, "orders".to_owned());
    let change = ConfigChange { kind, resource, ops: vec![allowed], replace: false };
    cluster.ask(Request::AlterConfigs { changes: vec![change], validate_only: false });
    sweep(&mut cluster);
    cluster.is(Some(1), &[1], &[], &[]);
}
