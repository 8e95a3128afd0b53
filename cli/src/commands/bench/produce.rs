//! `kraft bench produce`: how many records a second one producer gets acknowledged.

use std::time::Instant;

use serde::Serialize;

use super::histogram::{Histogram, Percentiles};
use super::{ensure_topic, payload, rounded};
use crate::client::{Producer, ProducerConfig};
use crate::cluster::now_ms;
use crate::commands::Target;
use crate::commands::produce::ProducerArgs;
use crate::output::line;
use crate::progress::Progress;
use crate::report::{Context, Failure};

/// The clock is read and progress shown once in so many records.
const STRIDE: u64 = 256;

/// Produce as fast as the cluster takes it
///
/// JSON: {records, bytes, seconds, records_per_second, megabytes_per_second, latency_ms: {mean,
/// p50, p90, p95, p99, p999, max}}; latency is from 'send' to the acknowledgement, time in the
/// producer's buffer included; bytes are those of the values.
#[derive(Debug, clap::Args)]
pub struct ProduceArgs {
    topic: String,
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// The topic's partitions, if it must be created
    #[arg(long)]
    partitions: Option<i32>,
    #[arg(long)]
    replication_factor: Option<i16>,
    #[command(flatten)]
    options: ProducerArgs,
    #[command(flatten)]
    target: Target,
}

#[derive(Serialize)]
struct Answer {
    records: u64,
    bytes: u64,
    seconds: f64,
    records_per_second: f64,
    megabytes_per_second: f64,
    latency_ms: Percentiles,
}

pub async fn run(args: &ProduceArgs) -> Result<(), Failure> {
    let client = args.target.client()?;
    ensure_topic(&client, &args.topic, args.partitions, args.replication_factor).await?;
    let failed = || format!("cannot produce to '{}'", args.topic);
    let (reports, mut received) = tokio::sync::mpsc::unbounded_channel();
    let config = ProducerConfig { reports: Some(reports), ..args.options.config() };
    let producer = Producer::open(&client, &args.topic, config).await.doing(failed)?;
    let value = payload(args.size);
    let mut latencies = Histogram::default();
    let mut collect = |histogram: &mut Histogram| {
        while let Ok(report) = received.try_recv() {
            let report: crate::client::BatchReport = report;
            for appended in report.appended {
                histogram.record((report.acknowledged - appended).as_micros() as u64);
            }
        }
    };
    let mut progress = Progress::counting("producing", Some(args.records));
    let began = Instant::now();
    let mut timestamp_ms = now_ms() as i64;
    for record in 0..args.records {
        if record % STRIDE == 0 {
            timestamp_ms = now_ms() as i64;
            collect(&mut latencies);
            progress.set(record);
        }
        producer.send(timestamp_ms, None, Some(&value)).await.doing(failed)?;
    }
    let records = producer.close().await.doing(failed)?;
    let seconds = began.elapsed().as_secs_f64();
    progress.finish();
    collect(&mut latencies);
    let bytes = records * args.size as u64;
    let answer = Answer {
        records,
        bytes,
        seconds: rounded(seconds),
        records_per_second: (records as f64 / seconds).round(),
        megabytes_per_second: rounded(bytes as f64 / seconds / 1e6),
        latency_ms: latencies.percentiles(),
    };
    print(&answer)
}

/// One JSON document.
pub fn print<T: Serialize>(answer: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(answer);
    line(&text.map_err(|error| Failure::new("cannot write the answer as JSON").because(error))?)
}
