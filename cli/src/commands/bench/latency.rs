//! `kraft bench latency`: how long acknowledgements take at a given rate, in an open loop.
//!
//! Each record has its moment, whether or not the cluster kept up with the ones before; its
//! latency counts from that moment. A closed loop would wait politely and measure nothing.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::mpsc;

use super::histogram::{Histogram, Percentiles};
use super::produce::print;
use super::{ensure_topic, payload, rounded};
use crate::client::{BatchReport, Producer, ProducerConfig};
use crate::cluster::now_ms;
use crate::commands::Target;
use crate::commands::produce::ProducerArgs;
use crate::progress::Progress;
use crate::report::{Context, Failure};

/// Produce at a steady rate and measure every acknowledgement
///
/// JSON: {rate, records, seconds, behind_ms, latency_ms: {mean, p50, p90, p95, p99, p999, max}};
/// latency counts from the moment at which a record was due; 'behind_ms' is how late the last one
/// was sent (a rate beyond what the cluster takes shows there first).
#[derive(Debug, clap::Args)]
pub struct LatencyArgs {
    topic: String,
    /// Records a second
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The first seconds are not counted
    #[arg(long, default_value_t = 1)]
    warmup: u64,
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
    rate: u32,
    records: u64,
    seconds: f64,
    behind_ms: f64,
    latency_ms: Percentiles,
}

pub async fn run(args: &LatencyArgs) -> Result<(), Failure> {
    let client = args.target.client()?;
    ensure_topic(&client, &args.topic, args.partitions, args.replication_factor).await?;
    let failed = || format!("cannot produce to '{}'", args.topic);
    let (reports, mut received) = mpsc::unbounded_channel();
    // A batch that waits for company would measure its own patience.
    let config =
        ProducerConfig { reports: Some(reports), linger: Duration::ZERO, ..args.options.config() };
    let producer = Producer::open(&client, &args.topic, config).await.doing(failed)?;
    let value = payload(args.size);
    let total = u64::from(args.rate) * (args.warmup + args.seconds);
    let mut progress = Progress::counting("measuring", Some(total));
    let mut latencies = Histogram::default();
    let began = Instant::now();
    let counted_from = began + Duration::from_secs(args.warmup);
    let mut behind = Duration::ZERO;
    for record in 0..total {
        let due = began + Duration::from_secs(1).mul_f64(record as f64 / f64::from(args.rate));
        if due > Instant::now() {
            collect(&mut received, counted_from, &mut latencies);
            progress.set(record);
            tokio::time::sleep_until(due.into()).await;
        }
        behind = due.elapsed();
        producer.send_due(due, now_ms() as i64, None, Some(&value)).await.doing(failed)?;
    }
    producer.close().await.doing(failed)?;
    collect(&mut received, counted_from, &mut latencies);
    progress.finish();
    print(&Answer {
        rate: args.rate,
        records: latencies.count(),
        seconds: rounded(began.elapsed().as_secs_f64()),
        behind_ms: rounded(behind.as_secs_f64() * 1e3),
        latency_ms: latencies.percentiles(),
    })
}

/// Counts what was acknowledged since, the warm-up's records aside.
fn collect(
    received: &mut mpsc::UnboundedReceiver<BatchReport>,
    counted_from: Instant,
    latencies: &mut Histogram,
) {
    while let Ok(report) = received.try_recv() {
        for due in report.appended.into_iter().filter(|due| *due >= counted_from) {
            latencies.record((report.acknowledged - due).as_micros() as u64);
        }
    }
}
