//! `kraft bench`: throughput and latency over our own client, as JSON.

mod consume;
mod histogram;
mod latency;
mod produce;

use super::block_on;
use crate::client::{Client, NewTopic};
use crate::report::{Context, Failure};

/// Measure a cluster
///
/// Each prints one JSON document: see 'kraft bench produce --help' and so on.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, clap::Subcommand)]
enum BenchCommand {
    Produce(produce::ProduceArgs),
    Consume(consume::ConsumeArgs),
    Latency(latency::LatencyArgs),
}

pub fn run(args: &BenchArgs) -> Result<(), Failure> {
    block_on(async {
        match &args.command {
            BenchCommand::Produce(args) => produce::run(args).await,
            BenchCommand::Consume(args) => consume::run(args).await,
            BenchCommand::Latency(args) => latency::run(args).await,
        }
    })
}

/// Makes the topic if it does not exist. `partitions`: `None` leaves it to the brokers.
async fn ensure_topic(
    client: &Client,
    topic: &str,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
) -> Result<(), Failure> {
    let wanted =
        NewTopic { name: topic.to_owned(), partitions, replication_factor, configs: vec![] };
    let exists = kraft_model::ErrorCode::TopicAlreadyExists.code();
    match client.create_topic(&wanted, false).await {
        Err(error) if error.code() != Some(exists) => {
            Err(error).doing(|| format!("cannot create topic '{topic}'"))
        }
        _ => Ok(()),
    }
}

/// A record of `size` bytes that compresses like text, not like zeros: the same for every run.
fn payload(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let letters = (0..size).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'a' + (state % 26) as u8
    });
    letters.collect()
}

/// Rounded to three digits: more would only claim precision.
fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}
