//! B1 to B5: registering, heartbeats, sessions, controlled shutdown.

use kraft_model::metadata::{
    BrokerHeartbeat, ConfigChange, ConfigOp, ElectLeaders, ElectionType, Event, HeartbeatReply,
    METADATA_VERSION_FEATURE, Record, Request, ResourceKind, Response, ShrinkReason, Timer,
};
use kraft_model::{BrokerEpoch, ClusterId, DirectoryId, ErrorCode, NodeId, Offset};

use crate::cluster::{Cluster, incarnation};

#[test]
fn a_broker_is_registered_fenced_under_the_offset_of_its_record() {
    let mut cluster = Cluster::new();
    let offset = cluster.end().0;
    let epoch = cluster.register(cluster.registration(1, 1)).expect("it is registered");
    assert_eq!(epoch, BrokerEpoch(offset));
    assert!(cluster.image().broker(NodeId(1)).is_some_and(|broker| broker.fenced));
    assert!(cluster.timers.contains(&Timer::Session(NodeId(1))));
}

#[test]
fn a_registration_that_does_not_fit_the_cluster_is_refused() {
    let mut cluster = Cluster::new();
    cluster.start(1);
    let good = cluster.registration(2, 1);
    let mut refused = |edit: &dyn Fn(&mut kraft_model::metadata::BrokerRegistration)| {
        let mut asked = good.clone();
        edit(&mut asked);
        cluster.register(asked).map_err(|refusal| refusal.code)
    };
    let invalid = Err(ErrorCode::InvalidRegistration);
    assert_eq!(refused(&|it| it.cluster = ClusterId(8)), Err(ErrorCode::InconsistentClusterId));
    assert_eq!(refused(&|it| it.directories.clear()), invalid);
    assert_eq!(refused(&|it| it.directories.push(DirectoryId(3))), invalid);
    assert_eq!(refused(&|it| it.directories = vec![DirectoryId(2)]), invalid, "1 owns it");
    assert_eq!(refused(&|it| it.endpoints.clear()), invalid);
    assert_eq!(refused(&|it| it.features.clear()), Err(ErrorCode::UnsupportedVersion));
    assert_eq!(refused(&|it| it.features[0].2 = 24), Err(ErrorCode::UnsupportedVersion));
    assert!(refused(&|_| {}).is_ok());
}

#[test]
fn a_feature_must_be_known_to_a_broker_only_where_it_is_on() {
    for (level, refused) in [(0, None), (1, Some(ErrorCode::UnsupportedVersion))] {
        let mut cluster = Cluster::new();
        cluster.lose_leadership();
        let name = "group.version".to_owned();
        cluster.log.push(Some(Record::FeatureLevel { name, level }));
        cluster.lead();
        let asked = cluster.registration(1, 1);
        assert!(asked.features.iter().all(|(name, ..)| name == METADATA_VERSION_FEATURE));
        assert_eq!(cluster.register(asked).err().map(|refusal| refusal.code), refused);
    }
}

#[test]
fn a_second_process_is_refused_while_the_first_is_linked_or_on_another_disk() {
    let mut cluster = Cluster::with_topic(3);
    cluster.step(Event::Connected { broker: NodeId(1), incarnation: incarnation(1, 1) });
    let duplicate = Some(ErrorCode::DuplicateBrokerRegistration);
    let code = |result: Result<_, kraft_model::metadata::Refusal>| result.err().map(|it| it.code);
    let second = cluster.registration(1, 2);
    assert_eq!(code(cluster.register(second.clone())), duplicate);

    cluster.step(Event::Disconnected { broker: NodeId(1) });
    let mut elsewhere = second.clone();
    elsewhere.directories = vec![DirectoryId(77)];
    assert_eq!(code(cluster.register(elsewhere.clone())), duplicate);
    assert_eq!(code(cluster.register(second)), None, "the same disk, and no link");

    cluster.expire(1);
    assert_eq!(code(cluster.register(elsewhere)), None, "its session is over");
}

#[test]
fn the_same_process_registers_again_under_its_epoch() {
    let mut cluster = Cluster::with_topic(2);
    let epoch = cluster.epoch_of(1);
    let mut again = cluster.registration(1, 1);
    again.endpoints[0].port = 9999;
    assert_eq!(cluster.register(again), Ok(epoch));
    assert!(cluster.is_active(1));
    let endpoint = cluster.image().endpoint(NodeId(1), "PLAINTEXT").expect("it has a listener");
    assert_eq!(endpoint.port, 9999);
    cluster.is(Some(1), &[1, 2], &[], &[]);
}

#[test]
fn an_orderly_restart_keeps_the_place_in_the_elr_and_an_unclean_one_does_not() {
    for (is_clean, elr) in [(true, vec![2]), (false, vec![])] {
        let mut cluster = Cluster::with_topic(2);
        cluster.expire(2);
        cluster.is(Some(1), &[1], &[2], &[]);
        let mut next = cluster.registration(2, 2);
        if is_clean {
            next.previous_epoch = cluster.epoch_of(2);
        }
        cluster.register(next).expect("it is registered");
        cluster.is(Some(1), &[1], &elr, &[]);
    }
}

#[test]
fn an_unclean_restart_is_told_where_it_takes_a_broker_out_of_something() {
    let unclean = vec![(NodeId(2), ShrinkReason::UncleanRestart)];
    for (is_clean, told) in [(false, unclean), (true, vec![])] {
        let mut cluster = Cluster::with_topic(2);
        let mut next = cluster.registration(2, 2);
        if is_clean {
            next.previous_epoch = cluster.epoch_of(2);
        }
        cluster.register(next).expect("it is registered");
        assert!(!cluster.partition().isr.contains(&NodeId(2)));
        assert_eq!(cluster.fenced, told);
    }
    let mut cluster = Cluster::with_topic(2);
    cluster.start(3);
    cluster.restart(3, 2);
    assert_eq!(cluster.fenced, [], "3 has no replicas");
}

#[test]
fn a_damaged_or_wiped_broker_is_not_even_the_last_known_leader() {
    for is_wiped in [true, false] {
        let mut cluster = Cluster::with_topic(1);
        cluster.expire(1);
        cluster.is(None, &[], &[1], &[1]);
        let mut next = cluster.registration(1, 2);
        next.previous_epoch = cluster.epoch_of(1);
        if is_wiped {
            next.directories = vec![DirectoryId(77)];
        } else {
            next.damaged = true;
        }
        cluster.register(next).expect("it is registered");
        cluster.beat(1, false, false);
        assert!(cluster.is_active(1));
        cluster.is(None, &[], &[], &[]);
    }
}

#[test]
fn a_broker_is_unfenced_once_it_has_replayed_its_registration() {
    let mut cluster = Cluster::new();
    let epoch = cluster.register(cluster.registration(1, 1)).expect("it is registered");
    let mut beat = BrokerHeartbeat {
        broker: NodeId(1),
        epoch,
        metadata_offset: Offset(epoch.0),
        want_fence: false,
        want_shutdown: false,
    };
    let early = cluster.ask(Request::Heartbeat(beat));
    let waiting = HeartbeatReply { is_caught_up: false, fenced: true, should_shut_down: false };
    assert_eq!(early, Response::Heartbeat(Ok(waiting)));
    beat.metadata_offset = Offset(epoch.0 + 1);
    let caught_up = cluster.ask(Request::Heartbeat(beat));
    let active = HeartbeatReply { is_caught_up: true, fenced: false, should_shut_down: false };
    assert_eq!(caught_up, Response::Heartbeat(Ok(active)));

    beat.epoch = BrokerEpoch(epoch.0 - 1);
    let Response::Heartbeat(Err(stale)) = cluster.ask(Request::Heartbeat(beat)) else {
        panic!("another epoch is refused")
    };
    assert_eq!(stale.code, ErrorCode::StaleBrokerEpoch);
}

#[test]
fn heartbeats_follow_the_table() {
    let reply =
        |fenced, should_shut_down| HeartbeatReply { is_caught_up: true, fenced, should_shut_down };
    let mut cluster = Cluster::with_topic(2);
    assert_eq!(cluster.beat(2, true, false), reply(true, false), "unfenced, wants a fence");
    assert_eq!(cluster.beat(2, true, false), reply(true, false), "fenced, stays fenced");
    assert_eq!(cluster.beat(2, false, true), reply(true, true), "fenced: may stop at once");
    assert_eq!(cluster.beat(2, false, false), reply(false, false), "fenced, wants to work");
    assert_eq!(cluster.beat(2, false, true), reply(true, true), "it leads nothing: may stop");
    assert_eq!(cluster.beat(1, true, true), reply(true, true), "in a hurry: fenced and gone");
    cluster.is(None, &[], &[2, 1], &[1]);
}

#[test]
fn a_session_that_runs_out_fences_one_broker() {
    let mut cluster = Cluster::with_topic(3);
    cluster.expire(1);
    assert!(!cluster.is_active(1) && cluster.is_active(2) && cluster.is_active(3));
    assert_eq!(cluster.fenced, [(NodeId(1), ShrinkReason::SessionTimeout)]);
    cluster.is(Some(2), &[2, 3], &[], &[]);
}

#[test]
fn a_controlled_shutdown_hands_over_and_waits_until_the_others_know() {
    let mut cluster = Cluster::with_topic(3);
    let first = cluster.beat(1, false, true);
    assert!(!first.should_shut_down && !first.fenced);
    cluster.is(Some(2), &[2, 3], &[], &[]);
    assert!(!cluster.is_active(1), "a stopping broker leads nothing and joins no ISR");
    assert!(!cluster.beat(1, false, true).should_shut_down, "2 and 3 have not replayed it");
    cluster.beat(2, false, false);
    assert!(!cluster.beat(1, false, true).should_shut_down, "3 has not replayed it");
    cluster.beat(3, false, false);
    let last = cluster.beat(1, false, true);
    assert!(last.should_shut_down && last.fenced);
}

/// A heartbeat from before it stopped may arrive late, and brings a broker back that was told to go.
#[test]
fn a_broker_that_stops_a_second_time_waits_for_the_others_once_more() {
    let mut cluster = Cluster::with_topic(2);
    cluster.beat(1, false, true);
    cluster.beat(2, false, false);
    assert!(cluster.beat(1, false, true).should_shut_down);

    assert!(!cluster.beat(1, false, false).fenced);
    assert_eq!(cluster.propose(&[2, 1]), Ok(()));
    let preferred = ElectLeaders { kind: ElectionType::Preferred, partitions: None };
    cluster.ask(Request::ElectLeaders(preferred));
    cluster.is(Some(1), &[2, 1], &[], &[]);

    assert!(!cluster.beat(1, false, true).should_shut_down);
    cluster.is(Some(2), &[2], &[1], &[]);
    assert!(!cluster.beat(1, false, true).should_shut_down, "2 has not replayed that it leads");
    cluster.beat(2, false, false);
    assert!(cluster.beat(1, false, true).should_shut_down);
}

/// One that went on waiting for what is newer would wait for as long as anything is written.
#[test]
fn a_controlled_shutdown_waits_for_nothing_that_came_after_it() {
    let mut cluster = Cluster::with_topic(2);
    cluster.beat(1, false, true);
    let knows_it = cluster.controller.committed().end;
    cluster.create("later", &[&[2]]).expect("the topic is created");
    assert!(!cluster.beat(1, false, true).should_shut_down);
    let beat = BrokerHeartbeat {
        broker: NodeId(2),
        epoch: cluster.epoch_of(2),
        metadata_offset: knows_it,
        want_fence: false,
        want_shutdown: false,
    };
    cluster.ask(Request::Heartbeat(beat));
    assert!(cluster.beat(1, false, true).should_shut_down);
}

/// P8: an election that was allowed meanwhile is the sweep's, for which others must not do it.
#[test]
fn what_happens_to_a_broker_changes_only_partitions_to_which_it_is_something() {
    let mut cluster = Cluster::with_topic(3);
    cluster.start(4);
    (1..=3).for_each(|id| cluster.expire(id));
    cluster.beat(1, false, false);
    let allowed = ("unclean.leader.election.enable".to_owned(), ConfigOp::Set("true".to_owned()));
    let (kind, resource) = (ResourceKind::Topic, "orders".to_owned());
    let change = ConfigChange { kind, resource, ops: vec![allowed], replace: false };
    cluster.ask(Request::AlterConfigs { changes: vec![change], validate_only: false });
    let waits = |cluster: &Cluster| cluster.is(None, &[], &[2, 3], &[3]);

    cluster.restart(4, 2);
    waits(&cluster);
    cluster.expire(4);
    waits(&cluster);
    cluster.ask(Request::UnregisterBroker { broker: NodeId(4) });
    waits(&cluster);
}

#[test]
fn an_unregistered_broker_is_waited_for_no_longer() {
    let mut cluster = Cluster::with_topic(2);
    cluster.ask(Request::UnregisterBroker { broker: NodeId(1) });
    cluster.is(Some(2), &[2], &[], &[]);
    assert!(!cluster.timers.contains(&Timer::Session(NodeId(1))), "its session is over");
    assert_eq!(cluster.fenced, [(NodeId(1), ShrinkReason::Unregistered)]);
}

#[test]
fn an_unregistered_broker_leaves_isr_elr_and_memory() {
    let mut cluster = Cluster::with_topic(2);
    cluster.expire(2);
    cluster.expire(1);
    cluster.is(None, &[], &[2, 1], &[1]);
    let unregister = |broker| Request::UnregisterBroker { broker: NodeId(broker) };
    assert_eq!(cluster.ask(unregister(1)), Response::UnregisterBroker(Ok(())));
    cluster.is(None, &[], &[2], &[]);
    let Response::UnregisterBroker(Err(refusal)) = cluster.ask(unregister(1)) else {
        panic!("it is registered no more")
    };
    assert_eq!(refusal.code, ErrorCode::BrokerIdNotRegistered);
}

#[test]
fn producer_id_blocks_are_disjoint_and_checked_against_the_broker_epoch() {
    let mut cluster = Cluster::with_topic(1);
    let (broker, epoch) = (NodeId(1), cluster.epoch_of(1));
    let mut allocate = |broker, epoch| cluster.ask(Request::AllocateProducerIds { broker, epoch });
    assert_eq!(allocate(broker, epoch), Response::AllocateProducerIds(Ok(0)));
    assert_eq!(allocate(broker, epoch), Response::AllocateProducerIds(Ok(1_000)));
    let stale = Response::AllocateProducerIds(Err(ErrorCode::StaleBrokerEpoch));
    assert_eq!(allocate(broker, BrokerEpoch(epoch.0 - 1)), stale);
}
