//! `kraft bench consume`: how many records a second one consumer reads.

use std::time::Instant;

use serde::Serialize;

use super::produce::print;
use super::rounded;
use crate::client::{ClientError, Consumer, ConsumerConfig, Start};
use crate::commands::Target;
use crate::progress::Progress;
use crate::report::{Context, Failure};

/// Read a topic from its beginning to its present end
///
/// JSON: {records, bytes, seconds, records_per_second, megabytes_per_second}; bytes are those of
/// keys and values. Every record is decompressed, checked and decoded.
#[derive(Debug, clap::Args)]
pub struct ConsumeArgs {
    topic: String,
    /// End after so many records
    #[arg(long, value_name = "N")]
    records: Option<u64>,
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
}

pub async fn run(args: &ConsumeArgs) -> Result<(), Failure> {
    let client = args.target.client()?;
    let failed = || format!("cannot consume '{}'", args.topic);
    let config = ConsumerConfig::default();
    let consumer = Consumer::open(&client, &args.topic, &[], Start::Earliest, config).await;
    let mut consumer = consumer.doing(failed)?;
    let ends = consumer.end_offsets().await.doing(failed)?;
    let expected: i64 = ends.iter().map(|(p, end)| end - consumer.positions()[p]).sum();
    let limit = args.records.unwrap_or(u64::MAX);
    let total = limit.min(expected.unsigned_abs());
    let mut progress = Progress::counting("consuming", Some(total));
    let (mut records, mut bytes, mut scratch) = (0, 0, Vec::new());
    let began = Instant::now();
    while records < limit && !consumer.has_reached(&ends) {
        let fetched = consumer.next().await.doing(failed)?;
        for batch in &fetched.batches {
            batch
                .for_each_record(&mut scratch, |record| {
                    if record.offset >= fetched.from {
                        records += 1;
                        bytes += record.key.map_or(0, <[u8]>::len) as u64;
                        bytes += record.value.map_or(0, <[u8]>::len) as u64;
                    }
                })
                .map_err(|error| ClientError::Records {
                    topic: args.topic.clone(),
                    partition: fetched.partition,
                    error,
                })
                .doing(failed)?;
        }
        progress.set(records);
    }
    let seconds = began.elapsed().as_secs_f64();
    progress.finish();
    print(&Answer {
        records,
        bytes,
        seconds: rounded(seconds),
        records_per_second: (records as f64 / seconds).round(),
        megabytes_per_second: rounded(bytes as f64 / seconds / 1e6),
    })
}
