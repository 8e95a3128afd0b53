//! How long clients wait when something dies: `cargo run --release -p kraft-tests --bin failover-times [RUNS] [FIGURE]`.
//!
//! Each figure is the median over the runs, in milliseconds, at default settings, as a raw client sees it that
//! asks every 10 ms. Prints one JSON object. Times belong here and not in tests, because machines stall.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kraft_tests::load::{Load, assert_nothing_lost, read_all};
use kraft_tests::wait::median;
use kraft_tests::{Cluster, Layout, eventually, wire};

const TOPIC: &str = "t";

struct Stage {
    cluster: Cluster,
    brokers: Vec<SocketAddr>,
    load: Load,
}

impl Stage {
    fn new(layout: &Layout) -> Stage {
        let cluster = Cluster::start(layout);
        let brokers: Vec<SocketAddr> =
            cluster.brokers().iter().map(|id| cluster.node(*id).address()).collect();
        let code = wire::create_topic(brokers[0], TOPIC, 1, 3, &[("min.insync.replicas", "2")]);
        assert_eq!(code.expect("an answer"), 0);
        let load = Load::start(TOPIC, brokers.clone(), 1);
        load.wait_for_more(200);
        let stage = Stage { cluster, brokers, load };
        stage.wait_for_isr(3);
        stage
    }

    fn wait_for_isr(&self, size: usize) {
        eventually(&format!("the ISR has {size} members"), || {
            self.brokers.iter().find(|address| {
                wire::describe(**address, TOPIC)
                    .is_ok_and(|found| found.first().is_some_and(|p| p.isr.len() == size))
            })
        });
    }

    fn leader(&self) -> i32 {
        eventually("a leader", || {
            self.brokers.iter().find_map(|address| {
                wire::describe(*address, TOPIC)
                    .ok()?
                    .first()
                    .map(|p| p.leader)
                    .filter(|id| *id >= 0)
            })
        })
    }

    /// Does something to `victim` and waits for the next acknowledgement.
    fn outage(&mut self, victim: i32, fault: impl FnOnce(&mut kraft_tests::Node)) -> Duration {
        let at = Instant::now();
        fault(self.cluster.node_mut(victim));
        // What was on its way when the fault came does not count.
        self.load.first_ack_after(at + Duration::from_millis(1))
    }

    fn judge(self) {
        let acked = self.load.finish();
        assert_nothing_lost(&acked, &read_all(TOPIC, &self.brokers));
    }
}

fn leader_killed() -> Duration {
    let mut stage = Stage::new(&Layout::split(3, 3));
    let victim = stage.leader();
    let outage = stage.outage(victim, kraft_tests::Node::kill_now);
    stage.judge();
    outage
}

fn leader_and_controller_killed() -> Duration {
    let mut stage = Stage::new(&Layout::combined(3));
    let victim = eventually("a controller", || stage.cluster.active_controller());
    // Preferred leadership is not asked for: the topic is made until the controller's node leads it.
    if stage.leader() != victim {
        stage.judge();
        return leader_and_controller_killed();
    }
    let outage = stage.outage(victim, kraft_tests::Node::kill_now);
    stage.judge();
    outage
}

fn follower_killed() -> Duration {
    let mut stage = Stage::new(&Layout::split(3, 3));
    let leader = stage.leader();
    let victim = *stage.cluster.brokers().iter().find(|id| **id != leader).expect("a follower");
    let outage = stage.outage(victim, kraft_tests::Node::kill_now);
    stage.judge();
    outage
}

/// The longest time without an acknowledgement from the signal to two seconds after the process's end.
fn leader_told_to_stop() -> Duration {
    let mut stage = Stage::new(&Layout::split(3, 3));
    let victim = stage.leader();
    let at = Instant::now();
    stage.cluster.node_mut(victim).terminate();
    stage.cluster.node_mut(victim).wait_for_end();
    stage.load.wait_for_more(200);
    let acked = stage.load.acked();
    let times: Vec<Instant> = acked.iter().map(|ack| ack.at).filter(|t| *t >= at).collect();
    let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    stage.judge();
    gap
}

fn restarted_at_once() -> Duration {
    let mut stage = Stage::new(&Layout::split(3, 3));
    let victim = stage.leader();
    let at = Instant::now();
    stage.cluster.node_mut(victim).kill();
    stage.cluster.node_mut(victim).start();
    let address =
        *stage.brokers.iter().find(|a| **a != stage.cluster.node(victim).address()).expect("3");
    eventually("it has left the ISR and is back in it", || {
        let found = wire::describe(address, TOPIC).ok()?;
        let is_back = found.first().is_some_and(|p| p.isr.len() == 3 && p.leader_epoch > 0);
        is_back.then_some(())
    });
    let back = at.elapsed();
    stage.judge();
    back
}

fn controller_killed() -> Duration {
    let mut cluster = Cluster::start(&Layout::split(3, 1));
    let broker = cluster.node(4).address();
    assert_eq!(wire::create_topic(broker, "before", 1, 1, &[]).expect("an answer"), 0);
    let victim = eventually("a controller", || cluster.active_controller());
    let at = Instant::now();
    cluster.node_mut(victim).kill_now();
    eventually("a topic is created", || {
        wire::create_topic(broker, "after", 1, 1, &[]).ok().filter(|code| *code == 0)
    });
    let outage = at.elapsed();
    assert_eq!(wire::describe(broker, "before").expect("an answer").len(), 1);
    outage
}

/// A figure's name, and one measurement of it.
type Figure = (&'static str, fn() -> Duration);

fn main() {
    let runs = std::env::args().nth(1).and_then(|runs| runs.parse().ok()).unwrap_or(5_usize);
    let figures: [Figure; 6] = [
        ("leader_killed_to_ack_ms", leader_killed),
        ("leader_and_controller_killed_to_ack_ms", leader_and_controller_killed),
        ("follower_killed_to_ack_ms", follower_killed),
        ("leader_sigterm_longest_gap_ms", leader_told_to_stop),
        ("killed_and_restarted_to_full_isr_ms", restarted_at_once),
        ("controller_killed_to_topic_ms", controller_killed),
    ];
    let mut results = serde_json::Map::new();
    let only = std::env::args().nth(2);
    for (name, figure) in
        figures.into_iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name))
    {
        let times: Vec<Duration> = (0..runs).map(|_| figure()).collect();
        let all: Vec<u128> = times.iter().map(Duration::as_millis).collect();
        eprintln!("{name}: {all:?}");
        results.insert(name.to_owned(), (median(times).as_millis() as u64).into());
    }
    println!("{}", serde_json::Value::Object(results));
}
