//! K1 to K3: answers wait for the commit; losing leadership drops what was not committed.

use kraft_model::metadata::{
    Event, METADATA_VERSION, METADATA_VERSION_FEATURE, Request, Response, Timer,
};
use kraft_model::{ErrorCode, NodeId};

use crate::cluster::{Cluster, TOPIC, new_topic};

fn create(name: &str) -> Request {
    Request::CreateTopics { topics: vec![new_topic(name)], validate_only: false }
}

#[test]
fn a_fresh_cluster_begins_with_its_version_and_its_min_isr() {
    let cluster = Cluster::new();
    let image = cluster.controller.committed();
    assert_eq!(image.features.get(METADATA_VERSION_FEATURE), Some(&METADATA_VERSION));
    assert_eq!(image.topic_config("any", "min.insync.replicas", "1"), "2");
}

#[test]
fn a_second_leadership_writes_nothing_by_itself() {
    let mut cluster = Cluster::with_topic(2);
    cluster.lose_leadership();
    let end = cluster.end();
    cluster.lead();
    assert_eq!(cluster.end(), end.plus(1), "the quorum's own record and no other");
    for timer in [Timer::Session(NodeId(1)), Timer::Session(NodeId(2)), Timer::Balance] {
        assert!(cluster.timers.contains(&timer), "{timer:?}");
    }
}

#[test]
fn an_answer_waits_until_its_records_are_committed() {
    let mut cluster = Cluster::with_topic(1);
    let id = cluster.send(create("a"));
    assert_eq!(cluster.reply(id), None);
    cluster.commit_some(1);
    assert_eq!(cluster.reply(id), None, "the topic's record alone is not all of it");
    cluster.commit();
    assert!(cluster.reply(id).is_some());
}

#[test]
fn an_answer_without_records_waits_for_what_it_has_read() {
    let mut cluster = Cluster::with_topic(1);
    let first = cluster.send(create("a"));
    let second = cluster.send(create("a"));
    assert_eq!(cluster.reply(second), None, "that 'a' exists is not certain yet");
    cluster.commit();
    assert!(cluster.reply(first).is_some() && cluster.reply(second).is_some());
    let third = cluster.send(create("a"));
    assert!(cluster.reply(third).is_some(), "now it is");
}

#[test]
fn losing_leadership_fails_what_waits_and_forgets_what_was_not_committed() {
    let mut cluster = Cluster::with_topic(2);
    let committed = cluster.controller.committed().clone();
    let id = cluster.send(create("a"));
    cluster.timers.remove(&Timer::Session(NodeId(1)));
    cluster.step(Event::Timeout(Timer::Session(NodeId(1))));
    assert_ne!(cluster.image(), &committed);
    cluster.lose_leadership();
    assert_eq!(cluster.reply(id), Some(&Response::NotController { leader: None }));
    assert_eq!(cluster.image(), &committed);
    assert!(!cluster.controller.is_active() && cluster.timers.is_empty());

    let refused = cluster.send(create("a"));
    assert_eq!(cluster.reply(refused), Some(&Response::NotController { leader: None }));

    cluster.lead();
    cluster.is(Some(1), &[1, 2], &[], &[]);
    assert!(matches!(cluster.ask(create("a")), Response::CreateTopics(_)));
    assert!(cluster.image().topic_named("a").is_some());
}

#[test]
fn a_controlled_shutdown_goes_on_under_another_controller() {
    let mut cluster = Cluster::with_topic(2);
    cluster.beat(1, false, true);
    cluster.lose_leadership();
    cluster.lead();
    assert!(!cluster.beat(1, false, true).should_shut_down, "2 has not been heard of yet");
    cluster.beat(2, false, false);
    assert!(cluster.beat(1, false, true).should_shut_down);
}

/// A new controller measures a shutdown that it finds by where its own reign begins, and not by when
/// it first hears of the broker.
#[test]
fn a_controlled_shutdown_is_over_at_once_where_the_others_know_the_new_controller() {
    let mut cluster = Cluster::with_topic(2);
    cluster.beat(1, false, true);
    cluster.lose_leadership();
    cluster.lead();
    cluster.beat(2, false, false);
    cluster.ask(create("a"));
    assert!(cluster.beat(1, false, true).should_shut_down);
}

#[test]
fn a_session_outlives_a_change_of_controllers() {
    let mut cluster = Cluster::with_topic(2);
    cluster.lose_leadership();
    cluster.lead();
    let mut other = cluster.registration(1, 2);
    other.directories = vec![kraft_model::DirectoryId(77)];
    let refused = cluster.register(other).err().map(|refusal| refusal.code);
    assert_eq!(refused, Some(ErrorCode::DuplicateBrokerRegistration));
    cluster.expire(1);
    cluster.is(Some(2), &[2], &[1], &[]);
    assert_eq!(cluster.image().topic(TOPIC).map(|topic| topic.partitions.len()), Some(1));
}

#[test]
fn a_record_of_the_quorums_own_moves_the_next_offset_on() {
    let mut cluster = Cluster::with_topic(1);
    cluster.log.push(None);
    cluster.commit();
    assert!(matches!(cluster.ask(create("a")), Response::CreateTopics(_)));
}

#[test]
fn leading_again_without_a_loss_in_between_fails_what_waits_all_the_same() {
    let mut cluster = Cluster::with_topic(1);
    let id = cluster.send(create("a"));
    let next = cluster.controller.committed().end;
    cluster.step(Event::Lead { epoch: kraft_model::Epoch(9), next });
    assert_eq!(cluster.reply(id), Some(&Response::NotController { leader: None }));
    assert!(cluster.controller.is_active() && cluster.image().topic_named("a").is_none());
}

#[test]
fn a_record_of_the_quorums_own_moves_the_next_one_behind_it() {
    let mut cluster = Cluster::with_topic(1);
    // The voters change (Q12), and before that is committed a topic is created.
    cluster.quorum_appends();
    let end = cluster.end();
    let created = cluster.ask(create("a"));
    assert!(matches!(created, Response::CreateTopics(_)), "{created:?}");
    assert!(cluster.end() > end, "it stands behind the quorum's record");
    assert_eq!(cluster.controller.committed().end, cluster.end());
}
