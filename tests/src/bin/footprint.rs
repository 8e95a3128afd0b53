//! What a cluster costs while nothing happens, and with many partitions:
//! `cargo run --release -p kraft-tests --bin footprint`.
//!
//! Three controllers and three brokers at default settings; idle; then a thousand topics of ten partitions at
//! replication 3, created in requests of a hundred topics; idle again; then a broker is killed. Prints one JSON
//! object: resident memory of all six processes in MB, processor time in per cent of one core, and times in
//! milliseconds. Figures belong here and not in tests, because machines stall.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kraft_tests::{Cluster, Layout, eventually, wire};
use serde_json::json;

const TOPICS: usize = 1_000;
const TOPICS_A_REQUEST: usize = 100;
const PARTITIONS: i32 = 10;

/// How long the processor time of an idle cluster is measured.
const IDLE: Duration = Duration::from_secs(10);

/// `sysconf(_SC_CLK_TCK)` on every Linux there is.
const TICKS_PER_S: f64 = 100.0;

fn pids(cluster: &Cluster) -> Vec<u32> {
    cluster.nodes().filter_map(kraft_tests::Node::pid).collect()
}

/// Resident memory of all processes, in MB.
fn resident(cluster: &Cluster) -> f64 {
    let of = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its size");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib / 1024.0
    };
    pids(cluster).into_iter().map(of).sum()
}

/// Processor time that all processes have used, in seconds.
fn used(cluster: &Cluster) -> f64 {
    let of = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
        // After the command's name, which is in brackets, utime and stime are fields 12 and 13.
        let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |field: &str| field.parse::<f64>().expect("a number");
        (ticks(fields[11]) + ticks(fields[12])) / TICKS_PER_S
    };
    pids(cluster).into_iter().map(of).sum()
}

/// Memory and processor time while nothing is asked of the cluster.
fn idle(cluster: &Cluster) -> serde_json::Value {
    let before = used(cluster);
    std::thread::sleep(IDLE);
    let percent = (used(cluster) - before) / IDLE.as_secs_f64() * 100.0;
    json!({"rss_mb": resident(cluster).round(), "cpu_percent": (percent * 10.0).round() / 10.0})
}

/// Creates a hundred topics in one request; milliseconds until it is answered and until every
/// partition so far has a leader and all of its ISR.
fn create(brokers: &[SocketAddr], first: usize) -> (u128, u128) {
    let began = Instant::now();
    let names: Vec<String> =
        (first..first + TOPICS_A_REQUEST).map(|number| format!("topic-{number}")).collect();
    let codes = wire::create_topics(brokers[0], &names, PARTITIONS, 3).expect("an answer");
    assert!(codes.iter().all(|code| *code == 0), "{codes:?}");
    let answered = began.elapsed().as_millis();
    let expected = (first + TOPICS_A_REQUEST) * PARTITIONS as usize;
    eventually("every partition has all of its ISR", || {
        let all = wire::describe_all(brokers[1]).ok()?;
        let whole = all.iter().filter(|p| p.leader >= 0 && p.isr.len() == 3).count();
        (whole == expected).then_some(())
    });
    (answered, began.elapsed().as_millis())
}

/// kill -9 of a broker; milliseconds until every partition is led by another one.
fn kill(cluster: &mut Cluster) -> u128 {
    let victim = cluster.brokers()[0];
    let asked = cluster.node(cluster.brokers()[1]).address();
    let began = Instant::now();
    cluster.node_mut(victim).kill();
    eventually("every partition is led by a broker that lives", || {
        let all = wire::describe_all(asked).ok()?;
        all.iter().all(|p| p.leader >= 0 && p.leader != victim).then_some(())
    });
    began.elapsed().as_millis()
}

fn main() {
    let mut cluster = Cluster::start(&Layout::split(3, 3));
    let brokers: Vec<SocketAddr> =
        cluster.brokers().iter().map(|id| cluster.node(*id).address()).collect();
    let empty = idle(&cluster);
    eprintln!("idle: {empty}");
    let mut steps = Vec::new();
    for first in (0..TOPICS).step_by(TOPICS_A_REQUEST) {
        let (answered, whole) = create(&brokers, first);
        eprintln!("{} topics: answered in {answered} ms, whole in {whole} ms", first + 100);
        steps.push(whole);
    }
    let full = idle(&cluster);
    eprintln!("with {} partitions: {full}", TOPICS * PARTITIONS as usize);
    let led_again = kill(&mut cluster);
    let result = json!({
        "idle": empty,
        "step_to_full_isr_ms": steps,
        "idle_with_10000_partitions": full,
        "broker_killed_to_all_led_ms": led_again,
    });
    println!("{result}");
}
