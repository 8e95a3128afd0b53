//! A load generator over librdkafka, for comparing kraft with Apache Kafka under the same client.
//!
//! ```text
//! rdkafka-load produce --bootstrap HOST:PORT --topic T --records N --size BYTES [--config K=V]...
//! rdkafka-load latency --bootstrap HOST:PORT --topic T --rate PER_S --seconds S --size BYTES [--config K=V]...
//! ```
//!
//! Prints one JSON object: records per second, or percentiles of the time from handing a record over
//! to its acknowledgement, in milliseconds, against the schedule (open loop: a late send counts as
//! latency).

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

/// Counts what was delivered, and how long it took where a start time came along.
#[derive(Clone, Default)]
struct Deliveries {
    done: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    latencies: Arc<Mutex<Vec<Duration>>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    /// When the record was due, if its latency is measured.
    type DeliveryOpaque = Box<Option<Instant>>;

    fn delivery(&self, result: &DeliveryResult<'_>, due: Self::DeliveryOpaque) {
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(due) = *due {
            self.latencies.lock().expect("no panic elsewhere").push(due.elapsed());
        }
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}

struct Options {
    values: HashMap<String, String>,
    config: Vec<(String, String)>,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options { values: HashMap::new(), config: Vec::new() };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
            match name.as_str() {
                "--config" => {
                    let (key, value) = value.split_once('=').ok_or("--config wants KEY=VALUE")?;
                    options.config.push((key.to_owned(), value.to_owned()));
                }
                _ => drop(options.values.insert(name, value)),
            }
        }
        Ok(options)
    }

    fn text(&self, name: &str) -> Result<&str, String> {
        self.values.get(name).map(String::as_str).ok_or_else(|| format!("{name} is missing"))
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        self.text(name)?.parse().map_err(|_| format!("{name} wants a number"))
    }

    fn producer(&self, deliveries: &Deliveries) -> Result<ThreadedProducer<Deliveries>, String> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.text("--bootstrap")?).set("acks", "all");
        for (key, value) in &self.config {
            config.set(key, value);
        }
        config.create_with_context(deliveries.clone()).map_err(|error| error.to_string())
    }
}

/// Bytes that no codec can shorten, the same in every run.
fn payload(size: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// Hands a record over, waiting while librdkafka's queue is full.
fn send(
    producer: &ThreadedProducer<Deliveries>,
    topic: &str,
    value: &[u8],
    due: Option<Instant>,
) -> Result<(), String> {
    let mut record = BaseRecord::<(), [u8], _>::with_opaque_to(topic, Box::new(due)).payload(value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                std::thread::sleep(Duration::from_micros(200));
            }
            Err((error, _)) => return Err(error.to_string()),
        }
    }
}

fn finish(producer: &ThreadedProducer<Deliveries>, deliveries: &Deliveries) -> Result<(), String> {
    producer.flush(Duration::from_secs(60)).map_err(|error| error.to_string())?;
    match deliveries.failed.load(Ordering::Relaxed) {
        0 => Ok(()),
        failed => Err(format!("{failed} records were not delivered")),
    }
}

fn produce(options: &Options) -> Result<String, String> {
    let deliveries = Deliveries::default();
    let producer = options.producer(&deliveries)?;
    let (topic, records) = (options.text("--topic")?, options.number("--records")?);
    let value = payload(options.number("--size")?);
    send(&producer, topic, &value, None)?;
    producer.flush(Duration::from_secs(30)).map_err(|error| error.to_string())?;
    let start = Instant::now();
    for _ in 0..records {
        send(&producer, topic, &value, None)?;
    }
    finish(&producer, &deliveries)?;
    let seconds = start.elapsed().as_secs_f64();
    let rate = records as f64 / seconds;
    Ok(format!(
        r#"{{"records":{records},"size":{},"seconds":{seconds:.3},"records_per_s":{rate:.0},"mb_per_s":{:.1}}}"#,
        value.len(),
        rate * value.len() as f64 / 1e6
    ))
}

fn latency(options: &Options) -> Result<String, String> {
    let deliveries = Deliveries::default();
    let producer = options.producer(&deliveries)?;
    let (topic, rate) = (options.text("--topic")?, options.number("--rate")?);
    let value = payload(options.number("--size")?);
    let warm_up = rate;
    let total = rate * options.number("--seconds")? + warm_up;
    let start = Instant::now();
    for number in 0..total {
        let due = start + Duration::from_secs_f64(number as f64 / rate as f64);
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        send(&producer, topic, &value, (number >= warm_up).then_some(due))?;
    }
    finish(&producer, &deliveries)?;
    let mut all = deliveries.latencies.lock().expect("no panic elsewhere").clone();
    all.sort();
    let at = |share: f64| {
        let index = ((all.len() as f64 * share) as usize).min(all.len() - 1);
        all[index].as_secs_f64() * 1e3
    };
    Ok(format!(
        r#"{{"rate":{rate},"records":{},"p50_ms":{:.3},"p99_ms":{:.3},"p999_ms":{:.3},"max_ms":{:.3}}}"#,
        all.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    ))
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_default();
    let outcome = Options::parse(arguments).and_then(|options| match mode.as_str() {
        "produce" => produce(&options),
        "latency" => latency(&options),
        _ => Err("usage: rdkafka-load produce|latency --bootstrap ... (see the source)".to_owned()),
    });
    match outcome {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("rdkafka-load: {problem}");
            ExitCode::FAILURE
        }
    }
}
