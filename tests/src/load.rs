//! A producer that never gives up, and the account of what was acknowledged to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::producer::{self, Producer};
use crate::wait::{PATIENCE, eventually};
use crate::wire::{self, Connection};

/// One acknowledged record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acked {
    pub value: Vec<u8>,
    pub offset: i64,
    pub at: Instant,
}

/// A thread that produces numbered records with acks=all, one in flight, idempotently, and sends
/// each again until it is acknowledged.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    acked: Arc<Mutex<Vec<Acked>>>,
    thread: Option<JoinHandle<()>>,
}

/// The error codes after which a producer tries again (and Kafka's clients do).
fn is_retriable(code: i16) -> bool {
    matches!(code, 3 | 5 | 6 | 7 | 9 | 13 | 14 | 15 | 19 | 20 | 56 | 74 | 75 | 100)
}

impl Load {
    /// Starts producing to partition 0 of `topic`, whose leader is asked of `brokers` in turn.
    pub fn start(topic: &str, brokers: Vec<SocketAddr>, producer_id: i64) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let acked = Arc::new(Mutex::new(Vec::new()));
        let thread = std::thread::spawn({
            let (topic, stop, acked) = (topic.to_owned(), stop.clone(), acked.clone());
            move || produce(&topic, &brokers, producer_id, &stop, &acked)
        });
        Load { stop, acked, thread: Some(thread) }
    }

    pub fn acked(&self) -> Vec<Acked> {
        self.acked.lock().expect("the producer's thread did not panic").clone()
    }

    /// Waits until `count` more records than now are acknowledged.
    pub fn wait_for_more(&self, count: usize) {
        let target = self.acked().len() + count;
        eventually("more records are acknowledged", || {
            (self.acked().len() >= target).then_some(())
        });
    }

    /// How long after `since` the next acknowledgement came.
    pub fn first_ack_after(&self, since: Instant) -> Duration {
        eventually("a record is acknowledged after the fault", || {
            let acked = self.acked();
            acked.iter().find(|ack| ack.at > since).map(|ack| ack.at - since)
        })
    }

    /// Stops and hands over everything that was acknowledged.
    pub fn finish(mut self) -> Vec<Acked> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the producer found nothing wrong");
        }
        self.acked()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn produce(
    topic: &str,
    brokers: &[SocketAddr],
    producer_id: i64,
    stop: &AtomicBool,
    acked: &Mutex<Vec<Acked>>,
) {
    let mut leader: Option<Connection> = None;
    let mut turn = 0;
    let mut sequence = 0;
    let mut started = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        assert!(started.elapsed() < PATIENCE, "record {sequence} was never acknowledged");
        let Some(connection) = &mut leader else {
            turn += 1;
            leader = find_leader(topic, brokers[turn % brokers.len()], brokers);
            if leader.is_none() {
                std::thread::sleep(Duration::from_millis(10));
            }
            continue;
        };
        let value = format!("record {sequence}").into_bytes();
        let identity = Producer { id: producer_id, epoch: 0, sequence };
        let batch = producer::batch(&[&value], identity);
        match wire::produce(connection, topic, 0, -1, batch) {
            Ok((0, offset)) => {
                let ack = Acked { value, offset, at: Instant::now() };
                acked.lock().expect("no panic elsewhere").push(ack);
                sequence += 1;
                started = Instant::now();
            }
            Ok((code, _)) => {
                assert!(is_retriable(code), "record {sequence}: error {code}");
                leader = None;
            }
            Err(_) => leader = None,
        }
    }
}

/// A connection to the partition's leader, as `asked` knows it.
fn find_leader(topic: &str, asked: SocketAddr, brokers: &[SocketAddr]) -> Option<Connection> {
    let mut connection = Connection::open(asked).ok()?;
    connection.set_timeout(Duration::from_millis(500)).ok()?;
    let address = wire::leader_address(&mut connection, topic, 0).ok()??;
    if !brokers.contains(&address) {
        return None;
    }
    let leader = Connection::open(address).ok()?;
    leader.set_timeout(Duration::from_millis(4_500)).ok()?;
    Some(leader)
}

/// Reads a whole partition from whoever leads it.
pub fn read_all(topic: &str, brokers: &[SocketAddr]) -> Vec<(i64, Vec<u8>)> {
    let mut turn = 0;
    eventually("the partition can be read to its end", || {
        turn += 1;
        let mut connection = find_leader(topic, brokers[turn % brokers.len()], brokers)?;
        read_from(topic, &mut connection)
    })
}

fn read_from(topic: &str, connection: &mut Connection) -> Option<Vec<(i64, Vec<u8>)>> {
    let mut records: Vec<(i64, Vec<u8>)> = Vec::new();
    let mut offset = 0;
    let (code, end) = wire::latest_offset(connection, topic, 0).ok()?;
    if code != 0 {
        return None;
    }
    while offset < end {
        let (code, _, bytes) = wire::fetch(connection, topic, 0, offset).ok()?;
        if code != 0 {
            return None;
        }
        records.extend(producer::values(&bytes).into_iter().filter(|(at, _)| *at >= offset));
        offset = records.last().map_or(0, |(at, _)| at + 1);
    }
    Some(records)
}

/// What acks=all with idempotence promises: every acknowledged record is there, at its offset, in
/// order, and nothing is there twice.
pub fn assert_nothing_lost(acked: &[Acked], log: &[(i64, Vec<u8>)]) {
    let at: BTreeMap<i64, &Vec<u8>> = log.iter().map(|(offset, value)| (*offset, value)).collect();
    for ack in acked {
        let text = String::from_utf8_lossy(&ack.value);
        match at.get(&ack.offset) {
            Some(value) => {
                assert_eq!(**value, ack.value, "offset {} holds another value", ack.offset)
            }
            None => panic!("{text} was acknowledged at offset {} and is gone", ack.offset),
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for (offset, value) in log {
        let text = String::from_utf8_lossy(value).into_owned();
        assert!(seen.insert(text.clone()), "{text} is there twice, again at offset {offset}");
    }
    let numbers = log.iter().filter_map(|(_, value)| {
        std::str::from_utf8(value).ok()?.strip_prefix("record ")?.parse::<u64>().ok()
    });
    let numbers: Vec<u64> = numbers.collect();
    assert!(numbers.is_sorted(), "records are out of order");
}
