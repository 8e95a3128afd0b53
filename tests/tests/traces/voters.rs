//! The traces of a quorum whose voters change while controllers are killed, stopped and paused.

use std::net::SocketAddr;
use std::process::Stdio;
use std::thread;

use kraft_tests::quorum::{ask, quorum, through_brokers, wait_for_voters};
use kraft_tests::{Cluster, Layout, eventually, wire};

use super::stdout;

/// What a controller logs when it has written a snapshot, when it begins with one or has fetched it,
/// and when it leads no longer.
const WRITTEN: &str = "snapshot of the metadata written";
const LOADED: &str = "snapshot loaded";
const LEADS_NO_LONGER: &str = "leads the quorum no longer";

/// The broker's port, and topics created through it.
struct Topics {
    broker: SocketAddr,
    created: usize,
}

impl Topics {
    fn create(&mut self) {
        /// TOPIC_ALREADY_EXISTS: an answer was lost before.
        const THERE: i16 = 36;
        self.created += 1;
        let name = format!("topic-{}", self.created);
        eventually(&format!("{name} is created"), || {
            wire::create_topic(self.broker, &name, 1, 1, &[])
                .ok()
                .filter(|code| [0, THERE].contains(code))
        });
    }

    fn create_until(&mut self, what: &str, done: impl Fn() -> bool) {
        let most = self.created + 200;
        while !done() {
            assert!(self.created < most, "{most} topics, and not yet: {what}");
            self.create();
        }
    }
}

/// How often a node has logged this.
fn logged(cluster: &Cluster, id: i32, words: &str) -> usize {
    cluster.node(id).log().matches(words).count()
}

fn wait_for_log(cluster: &Cluster, id: i32, words: &str, times: usize) {
    eventually(&format!("node {id} logs {words:?} {times} times"), || {
        (logged(cluster, id, words) >= times).then_some(())
    });
}

fn leader(cluster: &Cluster) -> i32 {
    eventually("a controller is active", || cluster.active_controller())
}

fn another_leader(cluster: &Cluster, before: i32) -> i32 {
    eventually("another controller is active", || {
        cluster.active_controller().filter(|now| *now != before)
    })
}

/// Where the log of this leader ends, as it says itself.
fn log_end(cluster: &Cluster, id: i32) -> Option<i64> {
    let replicas = ask(cluster, &["replicas"], std::iter::once(cluster.node(id))).ok()?;
    replicas.as_array()?.iter().find(|it| it["id"] == id)?["log_end_offset"].as_i64()
}

/// Adds an observer that begins with nothing: it is sent to a snapshot first.
fn join(cluster: &mut Cluster, id: i32) {
    let loaded = logged(cluster, id, LOADED);
    cluster.node_mut(id).start();
    wait_for_log(cluster, id, LOADED, loaded + 1);
    through_brokers(cluster, &["add-voter", &id.to_string()]).expect("it joins");
}

/// The leader loses touch with a majority while it has a topic and other voters to commit, gives up,
/// and is killed; what it had alone the others do without.
fn isolate(cluster: &mut Cluster, topics: &mut Topics, voters: &[i32]) {
    let isolated = leader(cluster);
    let others: Vec<i32> = voters.iter().copied().filter(|id| *id != isolated).collect();
    let end = eventually("the leader's log end", || log_end(cluster, isolated));
    let resigned = logged(cluster, isolated, LEADS_NO_LONGER);
    // On a machine that is slow enough it may give up before.
    let wrote = |end: i64| {
        eventually("the leader has written what it cannot commit", || {
            let gave_up = logged(cluster, isolated, LEADS_NO_LONGER) > resigned;
            log_end(cluster, isolated).filter(|now| *now > end).or(gave_up.then_some(end))
        })
    };
    others.iter().for_each(|id| cluster.node(*id).pause());
    let broker = topics.broker;
    let waiting = thread::spawn(move || wire::create_topic(broker, "undecided", 1, 1, &[]));
    let end = wrote(end);
    let alone = cluster.node(isolated).controller_address().to_string();
    let mut change = cluster
        .kraft(&[
            "quorum",
            "remove-voter",
            &others[0].to_string(),
            "--bootstrap-controller",
            &alone,
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("kraft starts");
    wrote(end);
    wait_for_log(cluster, isolated, LEADS_NO_LONGER, resigned + 1);
    // It would ask again.
    change.kill().and_then(|()| change.wait()).expect("a process that we started");
    cluster.node_mut(isolated).kill();
    others.iter().for_each(|id| cluster.node(*id).resume());
    another_leader(cluster, isolated);
    // Answered one way or the other, now that somebody leads.
    let _ = waiting.join().expect("no panic");
    topics.create();
    cluster.node_mut(isolated).start();
}

/// Waits until all who vote have all that the leader has.
fn wait_until_all_follow(cluster: &Cluster) {
    eventually("every voter has caught up", || {
        let status = quorum(cluster, &["status"]).ok()?;
        (status["max_follower_lag"] == 0).then_some(())
    });
}

#[test]
fn a_quorum_whose_voters_change_replays_to_the_same_digests() {
    let layout = Layout::dynamic(3, 1, 1)
        .traced()
        .set("controller.quorum.fetch.timeout.ms", "800")
        .set("metadata.log.max.record.bytes.between.snapshots", "1500");
    let mut cluster = Cluster::start(&layout);
    let mut topics = Topics { broker: cluster.node(4).address(), created: 0 };
    topics.create_until("every controller has written a snapshot", || {
        [1, 2, 3].iter().all(|id| logged(&cluster, *id, WRITTEN) > 0)
    });
    join(&mut cluster, 5);
    wait_for_voters(&cluster, &[1, 2, 3, 5]);
    topics.create();

    // It goes on as an observer.
    let removed = leader(&cluster);
    quorum(&cluster, &["remove-voter", &removed.to_string()]).expect("the leader can be removed");
    let killed = another_leader(&cluster, removed);
    topics.create();

    // While it is down the others' logs come to begin behind the end of its own.
    cluster.node_mut(killed).kill();
    let next = another_leader(&cluster, killed);
    let written = logged(&cluster, next, WRITTEN);
    topics.create_until("the leader has written two more snapshots", || {
        logged(&cluster, next, WRITTEN) > written + 1
    });
    // The one that it begins with, and the one that it fetches.
    let loaded = logged(&cluster, killed, LOADED);
    cluster.node_mut(killed).start();
    wait_for_log(&cluster, killed, LOADED, loaded + 2);
    wait_until_all_follow(&cluster);

    let stopped = leader(&cluster);
    cluster.node_mut(stopped).terminate();
    assert!(cluster.node_mut(stopped).wait_for_end().success(), "an orderly stop");
    another_leader(&cluster, stopped);
    topics.create();
    cluster.node_mut(stopped).start();
    wait_until_all_follow(&cluster);

    let voters: Vec<i32> = [1, 2, 3, 5].into_iter().filter(|id| *id != removed).collect();
    isolate(&mut cluster, &mut topics, &voters);
    wait_until_all_follow(&cluster);

    // Another disk is another voter.
    cluster.node_mut(removed).kill();
    let cluster_id = cluster.cluster_id.clone();
    cluster.node(removed).replace_disk(&cluster_id, &["--no-initial-controllers"]);
    join(&mut cluster, removed);
    wait_for_voters(&cluster, &[1, 2, 3, 5]);
    topics.create();
    through_brokers(&cluster, &["remove-voter", "5"]).expect("who joined can be removed");
    wait_for_voters(&cluster, &[1, 2, 3]);
    topics.create();

    cluster.assert_traces_replay();
    let shown = stdout(&["trace", "show", "--effects"], &cluster.traces(), "");
    for happened in [
        "Add(",
        "Remove(",
        "SnapshotInstalled",
        "Timeout(CheckQuorum)",
        "Resign",
        "result: Err(LostLeadership)",
    ] {
        assert!(shown.contains(happened), "no {happened} in the trace");
    }
}
