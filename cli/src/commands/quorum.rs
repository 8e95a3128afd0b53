//! `kraft quorum`: the controllers, through a broker or asked themselves.

use serde::Serialize;

use super::{Target, block_on, host_and_port};
use crate::client::Client;
use crate::cluster::Cluster;
use crate::output::{OutputArgs, list, or_dash, table};
use crate::quorum::{self, Quorum, Replica, status_of, with_lags};
use crate::report::{Context, Failure};

/// Show the metadata quorum
///
/// JSON: status: {leader, leader_epoch, high_watermark, max_follower_lag, voters, observers};
/// replicas: [{id, directory_id, log_end_offset, lag, last_fetch_ms, last_caught_up_ms, status}].
/// 'leader' is null while there is none; times are milliseconds since the Unix epoch, -1 unknown.
#[derive(Debug, clap::Args)]
pub struct QuorumArgs {
    #[command(subcommand)]
    command: QuorumCommand,
    /// Ask controllers instead of a broker, HOST:PORT[,HOST:PORT]...
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        value_parser = host_and_port,
        conflicts_with = "bootstrap_server"
    )]
    bootstrap_controller: Vec<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Subcommand)]
enum QuorumCommand {
    /// Leader, epoch, high watermark, voters and observers
    Status,
    /// Every voter's and observer's log end and lag
    Replicas,
}

#[derive(Serialize)]
struct Status {
    leader: Option<i32>,
    leader_epoch: i32,
    high_watermark: i64,
    max_follower_lag: Option<i64>,
    voters: Vec<i32>,
    observers: Vec<i32>,
}

pub fn run(args: &QuorumArgs) -> Result<(), Failure> {
    let controllers = controllers_to_ask(args)?;
    let quorum = if controllers.is_empty() {
        let client = args.target.client()?;
        block_on(through_broker(&client))?
    } else {
        block_on(quorum::ask(&controllers))?
    };
    match args.command {
        QuorumCommand::Status => args.output.answer(&status(&quorum), status_table),
        QuorumCommand::Replicas => args.output.answer(&quorum.replicas, |replicas| {
            let rows = replicas.iter().map(|replica| {
                vec![
                    replica.id.to_string(),
                    replica.directory_id.clone(),
                    replica.log_end_offset.to_string(),
                    or_dash(replica.lag),
                    replica.last_fetch_ms.to_string(),
                    replica.last_caught_up_ms.to_string(),
                    replica.status.to_owned(),
                ]
            });
            let header =
                ["id", "directory", "log end", "lag", "last fetch", "last caught up", "status"];
            table(&header, rows)
        }),
    }
}

/// The controllers that were named, or those of a local cluster without brokers.
fn controllers_to_ask(args: &QuorumArgs) -> Result<Vec<String>, Failure> {
    if !args.bootstrap_controller.is_empty() || !args.target.bootstrap_server.is_empty() {
        return Ok(args.bootstrap_controller.clone());
    }
    let cluster = Cluster::load_if_any(&args.target.dir.dir)?;
    let without_brokers = cluster.filter(|cluster| cluster.brokers().next().is_none());
    Ok(without_brokers.map(|cluster| cluster.controllers()).unwrap_or_default())
}

fn status(quorum: &Quorum) -> Status {
    let of = |observers: bool| {
        let replicas = quorum.replicas.iter();
        let wanted = replicas.filter(|replica| (replica.status == "observer") == observers);
        wanted.map(|replica| replica.id).collect()
    };
    let followers = quorum.replicas.iter().filter(|replica| replica.status == "follower");
    Status {
        leader: quorum.leader,
        leader_epoch: quorum.epoch,
        high_watermark: quorum.high_watermark,
        max_follower_lag: followers.filter_map(|replica| replica.lag).max(),
        voters: of(false),
        observers: of(true),
    }
}

fn status_table(status: &Status) -> String {
    let rows = [
        ("leader", or_dash(status.leader)),
        ("leader epoch", status.leader_epoch.to_string()),
        ("high watermark", status.high_watermark.to_string()),
        ("max follower lag", or_dash(status.max_follower_lag)),
        ("voters", list(&status.voters)),
        ("observers", list(&status.observers)),
    ];
    rows.iter().map(|(name, value)| format!("{name:<18}{value}\n")).collect()
}

async fn through_broker(client: &Client) -> Result<Quorum, Failure> {
    let failed = || "cannot describe the quorum".to_owned();
    let response = client.describe_quorum().await.doing(failed)?;
    let partition = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
    let partition = partition
        .ok_or_else(|| Failure::new(failed()).because("the broker's answer names no quorum"))?;
    let leader = Some(partition.leader_id.0).filter(|id| *id >= 0);
    let voters = partition.current_voters.iter().map(|replica| (replica, true));
    let observers = partition.observers.iter().map(|replica| (replica, false));
    let replicas = voters.chain(observers).map(|(replica, votes)| {
        let directory = kraft_model::DirectoryId(replica.replica_directory_id.as_u128());
        Replica {
            id: replica.replica_id.0,
            directory_id: directory.to_string(),
            log_end_offset: replica.log_end_offset,
            lag: None,
            last_fetch_ms: replica.last_fetch_timestamp,
            last_caught_up_ms: replica.last_caught_up_timestamp,
            status: status_of(replica.replica_id.0, leader, votes),
        }
    });
    Ok(with_lags(Quorum {
        leader,
        epoch: partition.leader_epoch,
        high_watermark: partition.high_watermark,
        replicas: replicas.collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(id: i32, end: i64, status: &'static str) -> Replica {
        Replica {
            id,
            directory_id: String::new(),
            log_end_offset: end,
            lag: None,
            last_fetch_ms: -1,
            last_caught_up_ms: -1,
            status,
        }
    }

    #[test]
    fn the_lag_of_the_slowest_voter_is_shown_and_observers_do_not_count() {
        let quorum = with_lags(Quorum {
            leader: Some(1),
            epoch: 4,
            high_watermark: 90,
            replicas: vec![
                replica(1, 100, "leader"),
                replica(2, 93, "follower"),
                replica(4, 10, "observer"),
            ],
        });
        let status = status(&quorum);
        assert_eq!(status.max_follower_lag, Some(7));
        assert_eq!((status.voters, status.observers), (vec![1, 2], vec![4]));
    }

    #[test]
    fn without_a_leader_no_lag_is_claimed() {
        let quorum =
            with_lags(Quorum { replicas: vec![replica(2, 93, "follower")], ..Quorum::default() });
        assert_eq!(status(&quorum).max_follower_lag, None);
    }
}
