//! How long librdkafka waits when its leader is killed:
//! `cargo run --release -p kraft-tests --features interop --bin rdkafka-failover [KILLS]`.
//!
//! One record in flight, acks=all, librdkafka's default timers, whose phase is random at each kill. Prints one
//! JSON object with the median and the longest time from the signal to the next acknowledgement, in milliseconds:
//! `fresh_client` with a client for each kill, and `one_client` with one client through all kills, seconds apart.
//! The latter also shows librdkafka's own back-off before it dials a broker again that it has seen die lately
//! (`reconnect.backoff.max.ms`, 10 s).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kraft_tests::wait::median;
use kraft_tests::{Cluster, Layout, eventually, wire};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext};

const TOPIC: &str = "t";

/// When each record was acknowledged.
#[derive(Clone, Default)]
struct Acks(Arc<Mutex<Vec<Instant>>>);

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        assert!(result.is_ok(), "a record was given up");
        self.0.lock().expect("no panic elsewhere").push(Instant::now());
    }
}

fn leader(brokers: &[SocketAddr]) -> i32 {
    eventually("the partition has a leader and all of its ISR", || {
        let found = brokers.iter().find_map(|address| wire::describe(*address, TOPIC).ok())?;
        found.first().filter(|p| p.leader >= 0 && p.isr.len() == 3).map(|p| p.leader)
    })
}

/// Sends one record and waits for its acknowledgement.
fn send(producer: &BaseProducer<Acks>, acks: &Acks) {
    let before = acks.0.lock().expect("no panic elsewhere").len();
    let record: BaseRecord<'_, (), [u8]> = BaseRecord::to(TOPIC).payload(b"x");
    assert!(producer.send(record).is_ok(), "an empty queue takes a record");
    while acks.0.lock().expect("no panic elsewhere").len() == before {
        producer.poll(Duration::from_millis(100));
    }
}

fn outage(
    cluster: &mut Cluster,
    brokers: &[SocketAddr],
    producer: &BaseProducer<Acks>,
    acks: &Acks,
) -> Duration {
    let victim = leader(brokers);
    // Somewhere within a second of librdkafka's clocks.
    let lead = Instant::now() + Duration::from_millis(random_phase_ms());
    while Instant::now() < lead {
        send(producer, acks);
    }
    let at = Instant::now();
    cluster.node_mut(victim).kill();
    send(producer, acks);
    let outage = at.elapsed();
    cluster.node_mut(victim).start();
    outage
}

/// 500 to 1500, from the clock's last digits: nothing here needs better randomness.
fn random_phase_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    500 + now.map_or(0, |since| u64::from(since.subsec_nanos()) / 1_000 % 1_000)
}

fn client(cluster: &Cluster) -> (BaseProducer<Acks>, Acks) {
    let acks = Acks::default();
    let producer: BaseProducer<Acks> = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap())
        .set("acks", "all")
        .create_with_context(acks.clone())
        .expect("settings that librdkafka takes");
    send(&producer, &acks);
    (producer, acks)
}

fn summary(name: &str, outages: Vec<Duration>) -> String {
    let all: Vec<u128> = outages.iter().map(Duration::as_millis).collect();
    eprintln!("{name}: {all:?}");
    let longest = all.iter().max().copied().unwrap_or_default();
    format!(r#""{name}":{{"median_ms":{},"max_ms":{longest}}}"#, median(outages).as_millis())
}

fn main() {
    let kills = std::env::args().nth(1).and_then(|kills| kills.parse().ok()).unwrap_or(20_usize);
    let mut cluster = Cluster::start(&Layout::split(3, 3));
    let brokers: Vec<SocketAddr> =
        cluster.brokers().iter().map(|id| cluster.node(*id).address()).collect();
    let code = wire::create_topic(brokers[0], TOPIC, 1, 3, &[("min.insync.replicas", "2")]);
    assert_eq!(code.expect("an answer"), 0);
    let fresh = (0..kills).map(|_| {
        let (producer, acks) = client(&cluster);
        outage(&mut cluster, &brokers, &producer, &acks)
    });
    let fresh = summary("fresh_client", fresh.collect());
    let (producer, acks) = client(&cluster);
    let one = (0..kills).map(|_| outage(&mut cluster, &brokers, &producer, &acks));
    let one = summary("one_client", one.collect());
    println!(r#"{{"kills":{kills},{fresh},{one}}}"#);
}
