//! K1, P6, P8: what one event may write. A request is one atomic batch, and a pass of a timer is
//! short.

use kraft_model::ErrorCode;
use kraft_model::metadata::{
    ConfigChange, Event, MAX_ELECTIONS_PER_PASS, NewTopic, Request, ResourceKind, Response, Timer,
};

use crate::cluster::Cluster;
use crate::topics::{brokers, configure, set, topic};

const MIN_ISR: &str = "min.insync.replicas";

fn named(name: &str, partitions: i32, factor: i16) -> NewTopic {
    NewTopic { name: name.to_owned(), ..topic(partitions, factor) }
}

fn elrs(cluster: &Cluster) -> usize {
    cluster.image().partitions().filter(|(_, it)| !it.elr.is_empty()).count()
}

/// A lower min.insync.replicas that is seen without what it does to the ELRs would let a leader
/// commit alone, and then a member of the ELR lead without those records.
#[test]
fn a_lower_min_isr_and_the_elrs_it_voids_are_one_batch_however_many_partitions_there_are() {
    for (partitions, batch) in [(4_999, 10_000), (5_000, 2)] {
        let mut cluster = brokers(2);
        cluster.create_topic(named("orders", 5_000, 2)).expect("it is created");
        cluster.create_topic(named("more", partitions, 2)).expect("it is created");
        cluster.expire(2);
        assert_eq!(elrs(&cluster), 5_000 + partitions as usize);
        let before = cluster.batches.len();
        configure(&mut cluster, ResourceKind::Broker, "", MIN_ISR, set("1")).expect("fine");
        assert_eq!(elrs(&cluster), 0);
        assert_eq!(cluster.batches[before..], [batch]);
    }
}

const TEN_VALUES: [&str; 10] = [
    MIN_ISR,
    "retention.ms",
    "retention.bytes",
    "flush.ms",
    "flush.messages",
    "segment.ms",
    "max.compaction.lag.ms",
    "min.compaction.lag.ms",
    "delete.retention.ms",
    "file.delete.delay.ms",
];

fn configured(nth: usize, names: &[&str]) -> ConfigChange {
    ConfigChange {
        kind: ResourceKind::Topic,
        resource: format!("topic-{nth}"),
        ops: names.iter().map(|name| (name.to_string(), set("1"))).collect(),
        replace: false,
    }
}

/// Ten values for each of a thousand topics, but nine for the last of them: with the one record
/// that clears their ELRs they fill a batch.
#[test]
fn a_request_for_configuration_leaves_room_for_what_clears_the_elrs() {
    let mut cluster = brokers(2);
    let topics = (0..=1_000).map(|nth| named(&format!("topic-{nth}"), 1, 2)).collect();
    cluster.ask(Request::CreateTopics { topics, validate_only: false });
    cluster.expire(2);
    assert_eq!(elrs(&cluster), 1_001);

    let mut changes: Vec<_> = (0..999).map(|nth| configured(nth, &TEN_VALUES)).collect();
    changes.push(configured(999, &TEN_VALUES[..9]));
    changes.push(configured(1_000, &TEN_VALUES[1..2]));
    let before = cluster.batches.len();
    let request = Request::AlterConfigs { changes, validate_only: false };
    let Response::AlterConfigs(results) = cluster.ask(request) else { panic!("another answer") };
    assert!(results[..1_000].iter().all(|(_, _, it)| it.is_ok()));
    let last = results[1_000].2.as_ref().map_err(|refusal| refusal.code);
    assert_eq!(last, Err(ErrorCode::PolicyViolation));
    assert_eq!((elrs(&cluster), &cluster.batches[before..]), (0, &[10_000][..]));
}

#[test]
fn a_pass_makes_so_many_elections_at_most_and_the_next_one_makes_the_rest() {
    let mut cluster = brokers(3);
    for name in ["orders", "more", "others"] {
        cluster.create_topic(named(name, 600, 3)).expect("it is created");
    }
    (1..=3).for_each(|id| cluster.expire(id));
    cluster.beat(1, false, false);
    let (key, broker) = ("unclean.leader.election.enable", ResourceKind::Broker);
    configure(&mut cluster, broker, "", key, set("true")).expect("fine");
    let leaderless = |cluster: &Cluster| {
        cluster.image().partitions().filter(|(_, it)| it.leader.is_none()).count()
    };
    for left in [1_800, 1_800 - MAX_ELECTIONS_PER_PASS, 0] {
        assert_eq!(leaderless(&cluster), left);
        cluster.step(Event::Timeout(Timer::UncleanSweep));
        cluster.commit();
    }
}
