//! `kraft quorum`: the controllers, through a broker or asked themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use kraft_node::storage::VoterEndpoint;
use serde::Serialize;

use super::voters::{self, Door};
use super::{Target, block_on, host_and_port};
use crate::client::Client;
use crate::cluster::Cluster;
use crate::output::{OutputArgs, list, or_dash, table};
use crate::quorum::{self, Quorum, Replica, status_of, with_lags};
use crate::report::{Context, Failure};

/// Show the metadata quorum, and change who votes in it
///
/// JSON: status: {leader, leader_epoch, high_watermark, max_follower_lag, voters, observers};
/// replicas: [{id, directory_id, log_end_offset, lag, last_fetch_ms, last_caught_up_ms, status,
/// endpoint}]; add-voter and remove-voter: {id, directory_id, voters: [id]}.
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
    /// Let a controller vote that follows the quorum as an observer
    ///
    /// Format it with 'kraft storage format --no-initial-controllers', with
    /// controller.quorum.bootstrap.servers in its configuration, and start it first.
    AddVoter(VoterArgs),
    /// Let a controller vote no more, also one that is gone for good
    ///
    /// It goes on as an observer: stop it yourself. The leader can be removed as well; it hands
    /// over when its removal is committed.
    RemoveVoter(VoterArgs),
}

/// Which controller.
#[derive(Debug, clap::Args)]
pub struct VoterArgs {
    /// The controller's node.id
    pub id: i32,
    /// Its directory.id, where the quorum knows it under several [default: the one it has now]
    #[arg(long)]
    pub directory_id: Option<kraft_model::DirectoryId>,
    /// Where other controllers reach it, HOST:PORT [default: where it says so itself]
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub endpoint: Option<String>,
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
    let door = if controllers.is_empty() {
        Door::Broker(args.target.client()?)
    } else {
        Door::Controllers(controllers)
    };
    let patience = Duration::from_millis(args.target.timeout_ms);
    let (voter, change) = match &args.command {
        QuorumCommand::AddVoter(voter) => (voter, voters::Wish::Add),
        QuorumCommand::RemoveVoter(voter) => (voter, voters::Wish::Remove),
        _ => return show(args, &block_on(door.describe())?),
    };
    let changed = block_on(voters::change(&door, voter, change, patience))?;
    args.output.answer(&changed, |changed| changed.to_string())
}

fn show(args: &QuorumArgs, quorum: &Quorum) -> Result<(), Failure> {
    match args.command {
        QuorumCommand::Replicas => args.output.answer(&quorum.replicas, |all| replica_table(all)),
        _ => args.output.answer(&status(quorum), status_table),
    }
}

fn replica_table(replicas: &[Replica]) -> String {
    let rows = replicas.iter().map(|replica| {
        vec![
            replica.id.to_string(),
            replica.directory_id.clone(),
            replica.log_end_offset.to_string(),
            or_dash(replica.lag),
            replica.last_fetch_ms.to_string(),
            replica.last_caught_up_ms.to_string(),
            replica.status.to_owned(),
            or_dash(replica.endpoint.as_ref()),
        ]
    });
    let header =
        ["id", "directory", "log end", "lag", "last fetch", "last caught up", "status", "endpoint"];
    table(&header, rows)
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

pub(super) async fn through_broker(client: &Client) -> Result<Quorum, Failure> {
    let failed = || "cannot describe the quorum".to_owned();
    let response = client.describe_quorum().await.doing(failed)?;
    let endpoints = response.nodes.iter().filter_map(|node| {
        let at = node.listeners.first()?;
        let (name, host) = (at.name.to_string(), at.host.to_string());
        Some((node.node_id.0, quorum::address(&VoterEndpoint { name, host, port: at.port })))
    });
    let endpoints: BTreeMap<i32, String> = endpoints.collect();
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
            endpoint: endpoints.get(&replica.replica_id.0).cloned(),
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
            endpoint: None,
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
