//! `kraft quorum`: the controllers, through a broker or asked themselves.

use serde::Serialize;

use super::{Target, block_on};
use crate::client::Client;
use crate::output::{OutputArgs, list, or_dash, table};
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
    #[arg(long, global = true, value_name = "HOST:PORT", value_delimiter = ',')]
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

/// The quorum as whoever was asked sees it.
#[derive(Clone, Debug, Default)]
pub struct Quorum {
    pub leader: Option<i32>,
    pub epoch: i32,
    pub high_watermark: i64,
    pub replicas: Vec<Replica>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Replica {
    pub id: i32,
    pub directory_id: String,
    pub log_end_offset: i64,
    /// Behind the leader; `null` while nobody leads.
    pub lag: Option<i64>,
    pub last_fetch_ms: i64,
    pub last_caught_up_ms: i64,
    /// `leader`, `follower` or `observer`.
    pub status: &'static str,
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
    let quorum = if args.bootstrap_controller.is_empty() {
        let client = args.target.client()?;
        block_on(through_broker(&client))?
    } else {
        controllers::ask(&args.bootstrap_controller)?
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

fn status_of(id: i32, leader: Option<i32>, votes: bool) -> &'static str {
    match (votes, leader == Some(id)) {
        (_, true) => "leader",
        (true, false) => "follower",
        (false, false) => "observer",
    }
}

/// Each replica's distance from the leader's end, where both are known.
fn with_lags(mut quorum: Quorum) -> Quorum {
    let leader = quorum.replicas.iter().find(|replica| replica.status == "leader");
    let Some(end) = leader.map(|leader| leader.log_end_offset) else { return quorum };
    for replica in &mut quorum.replicas {
        replica.lag = (replica.log_end_offset >= 0).then(|| (end - replica.log_end_offset).max(0));
    }
    quorum
}

/// Asking controllers themselves, over the peer protocol: the only way while no broker is up.
mod controllers {
    use std::sync::Arc;
    use std::time::Duration;

    use kraft_model::NodeId;
    use kraft_node::peer::{
        Admit, LinkEvent, Links, LocalPeer, Message, QuorumView, Timing, VoterView, identify,
    };
    use tokio::sync::mpsc;

    use super::super::block_on;
    use super::{Quorum, Replica, status_of, with_lags};
    use crate::report::Failure;

    /// How long one controller may take to answer.
    const PATIENCE: Duration = Duration::from_secs(3);

    /// The view of the leader if it answers, else the one of the latest epoch.
    pub fn ask(addresses: &[String]) -> Result<Quorum, Failure> {
        let (mut reasons, mut views) = (Vec::new(), Vec::new());
        for address in addresses {
            let asked = describe(address);
            match block_on(async { Ok(tokio::time::timeout(PATIENCE, asked).await) })? {
                Ok(Ok(view)) => views.push(view),
                Ok(Err(reason)) => reasons.push(format!("{address}: {reason}")),
                Err(_) => reasons.push(format!("{address}: no answer in {PATIENCE:?}")),
            }
        }
        views.sort_by_key(|(node, view)| (view.leader == Some(*node), view.epoch));
        views.pop().map(|(_, view)| quorum(&view)).ok_or_else(|| {
            Failure::new("cannot describe the quorum")
                .because(reasons.join("; "))
                .next("see whether the controllers run ('kraft status'), or ask a broker instead")
        })
    }

    /// Who answers at `address`, and what it knows.
    async fn describe(address: &str) -> Result<(NodeId, QuorumView), String> {
        let (host, port) = address.rsplit_once(':').ok_or("HOST:PORT is expected")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port: u16 = port.parse().map_err(|_| format!("'{port}' is no port"))?;
        let hello = identify((host, port)).await.map_err(|error| error.to_string())?;
        let (events, mut received) = mpsc::channel(16);
        let admit: Admit = Arc::new(|_| Ok(()));
        let local = LocalPeer::tool(hello.cluster);
        let links = Links::new(local, admit, Timing::default(), events);
        links.ensure(hello.node, (host.to_owned(), port));
        while let Some(event) = received.recv().await {
            match event {
                LinkEvent::Up { peer, .. } => links
                    .send(peer, Message::DescribeQuorum { id: 1 })
                    .map_err(|error| error.to_string())?,
                LinkEvent::Received { message: Message::QuorumDescribed { view, .. }, .. } => {
                    links.close();
                    return Ok((hello.node, view));
                }
                LinkEvent::Refused { reason, .. } => return Err(reason),
                _ => {}
            }
        }
        Err("the link was closed".to_owned())
    }

    fn quorum(view: &QuorumView) -> Quorum {
        let leader = view.leader.map(|leader| leader.0);
        let replica = |(replica, votes): (&VoterView, bool)| Replica {
            id: replica.id.0,
            directory_id: replica.directory.to_string(),
            log_end_offset: replica.end.0,
            lag: None,
            last_fetch_ms: replica.last_fetch_ms,
            last_caught_up_ms: replica.last_caught_up_ms,
            status: status_of(replica.id.0, leader, votes),
        };
        let voters = view.voters.iter().map(|voter| (voter, true));
        let observers = view.observers.iter().map(|observer| (observer, false));
        with_lags(Quorum {
            leader,
            epoch: view.epoch.0,
            high_watermark: view.high_watermark.0,
            replicas: voters.chain(observers).map(replica).collect(),
        })
    }
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
