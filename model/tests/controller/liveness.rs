//! Evidence that brokers are gone, and what the controller makes of it.

use kraft_model::metadata::{Event, ShrinkReason, Timer};
use kraft_model::{Incarnation, NodeId};

use crate::cluster::{Cluster, incarnation};

fn gone(cluster: &mut Cluster, id: i32) {
    cluster.step(Event::Disconnected { broker: NodeId(id) });
    confirm(cluster, id);
}

fn confirm(cluster: &mut Cluster, id: i32) {
    let incarnation = incarnation(id, 1);
    cluster.step(Event::PeerGone { broker: NodeId(id), incarnation });
    cluster.commit();
}

fn close_window(cluster: &mut Cluster) {
    assert!(cluster.timers.remove(&Timer::SuspicionWindow), "the window is open");
    cluster.step(Event::Timeout(Timer::SuspicionWindow));
}

#[test]
fn a_process_that_is_gone_is_fenced_at_once() {
    let mut cluster = Cluster::with_topic(3);
    gone(&mut cluster, 1);
    cluster.is(Some(2), &[2, 3], &[], &[]);
    assert_eq!(cluster.fenced, [(NodeId(1), ShrinkReason::PeerGone)]);
    assert!(!cluster.timers.contains(&Timer::Session(NodeId(1))));
}

#[test]
fn a_closed_link_alone_fences_nobody() {
    let mut cluster = Cluster::with_topic(3);
    (1..=3).for_each(|id| cluster.step(Event::Disconnected { broker: NodeId(id) }));
    assert!((1..=3).all(|id| cluster.is_active(id)));
}

#[test]
fn a_link_that_stands_again_is_a_sign_of_life_of_the_same_process_alone() {
    let mut cluster = Cluster::with_topic(3);
    let session = Timer::Session(NodeId(1));
    for (incarnation, renewed) in [(Incarnation(5), false), (incarnation(1, 1), true)] {
        cluster.timers.remove(&session);
        cluster.step(Event::Disconnected { broker: NodeId(1) });
        cluster.step(Event::Connected { broker: NodeId(1), incarnation });
        assert_eq!(cluster.timers.contains(&session), renewed);
    }
}

#[test]
fn evidence_about_another_incarnation_says_nothing() {
    let mut cluster = Cluster::with_topic(3);
    cluster.step(Event::PeerGone { broker: NodeId(1), incarnation: Incarnation(5) });
    assert!(cluster.is_active(1));
}

#[test]
fn when_most_brokers_vanish_and_one_is_not_known_dead_only_sessions_count() {
    let mut cluster = Cluster::with_topic(3);
    [1, 2].iter().for_each(|&id| cluster.step(Event::Disconnected { broker: NodeId(id) }));
    confirm(&mut cluster, 1);
    assert!(cluster.is_active(1), "2 of 3 would go, and 2 is not known dead");
    close_window(&mut cluster);
    confirm(&mut cluster, 2);
    assert!(cluster.is_active(1), "an old verdict is not taken up again");
    assert!(!cluster.is_active(2));
    cluster.expire(1);
    assert!(!cluster.is_active(1));
}

#[test]
fn when_all_are_known_dead_all_are_fenced() {
    let mut cluster = Cluster::with_topic(3);
    (1..=3).for_each(|id| cluster.step(Event::Disconnected { broker: NodeId(id) }));
    [1, 2, 3].iter().for_each(|&id| confirm(&mut cluster, id));
    assert!((1..=3).all(|id| !cluster.is_active(id)));
    cluster.is(None, &[], &[2, 3], &[3]);
}

#[test]
fn a_reconnect_ends_the_doubt() {
    let mut cluster = Cluster::with_topic(3);
    [1, 2].iter().for_each(|&id| cluster.step(Event::Disconnected { broker: NodeId(id) }));
    confirm(&mut cluster, 1);
    cluster.step(Event::Connected { broker: NodeId(2), incarnation: incarnation(2, 1) });
    assert!(!cluster.is_active(1) && cluster.is_active(2));
}

#[test]
fn a_broker_that_was_not_dead_is_believed_gone_only_by_its_session_for_a_while() {
    let mut cluster = Cluster::with_topic(3);
    gone(&mut cluster, 1);
    cluster.beat(1, false, false);
    assert!(cluster.is_active(1) && cluster.timers.contains(&Timer::Distrust(NodeId(1))));
    gone(&mut cluster, 1);
    assert!(cluster.is_active(1));
    cluster.step(Event::Timeout(Timer::Distrust(NodeId(1))));
    close_window(&mut cluster);
    gone(&mut cluster, 1);
    assert!(!cluster.is_active(1));
}

#[test]
fn a_new_incarnation_is_not_condemned_by_the_verdict_on_the_old_one() {
    let mut cluster = Cluster::with_topic(3);
    gone(&mut cluster, 1);
    cluster.restart(1, 2);
    assert!(cluster.is_active(1) && !cluster.timers.contains(&Timer::Distrust(NodeId(1))));
    gone(&mut cluster, 2);
    assert!(cluster.is_active(1) && !cluster.is_active(2));
}

/// Half of the brokers may go within a second; it is more than half that looks like a failure of the
/// controller's own.
#[test]
fn that_half_of_the_brokers_vanish_is_no_reason_to_doubt() {
    let mut cluster = Cluster::with_topic(4);
    [1, 2].iter().for_each(|&id| cluster.step(Event::Disconnected { broker: NodeId(id) }));
    confirm(&mut cluster, 1);
    assert!(!cluster.is_active(1) && cluster.is_active(2), "two of four");
    cluster.step(Event::Disconnected { broker: NodeId(3) });
    confirm(&mut cluster, 2);
    assert!(cluster.is_active(2), "three of four, and 3 is not known dead");
}

#[test]
fn that_more_than_half_of_the_brokers_vanish_is_a_reason_to_doubt() {
    let mut cluster = Cluster::with_topic(5);
    [1, 2, 3].iter().for_each(|&id| cluster.step(Event::Disconnected { broker: NodeId(id) }));
    confirm(&mut cluster, 1);
    assert!(cluster.is_active(1), "three of five, and 2 and 3 are not known dead");
    cluster.step(Event::Connected { broker: NodeId(2), incarnation: incarnation(2, 1) });
    assert!(!cluster.is_active(1), "two of five");
}
