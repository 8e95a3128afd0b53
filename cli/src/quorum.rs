//! The metadata quorum as its controllers see it, asked over the peer protocol: the only way while
//! no broker is up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kraft_model::NodeId;
use kraft_model::raft::VoterChange;
use kraft_node::peer::{
    Admit, LinkEvent, Links, LocalPeer, Message, QuorumView, Timing, VoterView, identify,
};
use kraft_node::storage::VoterEndpoint;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::report::Failure;

/// How long one controller may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

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
    /// Where a controller is reached, HOST:PORT; `null` for a broker, or if it is not known.
    pub endpoint: Option<String>,
}

/// A voter change, and where the voter is reached if it is one to add.
#[derive(Clone, Debug)]
pub struct Change {
    pub change: VoterChange,
    pub endpoints: Vec<VoterEndpoint>,
}

/// Why a voter change was not made.
#[derive(Debug)]
pub enum ChangeFailed {
    /// The leader, or whoever was asked, refused.
    Refused { why: String, retriable: bool },
    /// Nobody answered; it may have been made.
    Unknown(String),
}

/// The view of the leader if it answers, else the one of the latest epoch.
pub async fn ask(addresses: &[String]) -> Result<Quorum, Failure> {
    let (mut reasons, mut views) = (Vec::new(), Vec::new());
    for address in addresses {
        match tokio::time::timeout(PATIENCE, describe(address)).await {
            Ok(Ok(view)) => views.push(view),
            Ok(Err(reason)) => reasons.push(format!("{address}: {reason}")),
            Err(_) => reasons.push(format!("{address}: no answer in {PATIENCE:?}")),
        }
    }
    views.sort_by_key(|(node, view)| (view.leader == Some(*node), view.epoch));
    if let Some((node, view)) = views.last()
        && let Some(leader) = leader_elsewhere(*node, view)
        && let Ok(Ok(of_leader)) = tokio::time::timeout(PATIENCE, describe(&leader)).await
    {
        // Only the leader knows how far the others are.
        views.push(of_leader);
    }
    views.pop().map(|(_, view)| quorum(&view)).ok_or_else(|| {
        Failure::new("cannot describe the quorum")
            .because(reasons.join("; "))
            .next("see whether the controllers run ('kraft status'), or ask a broker instead")
    })
}

/// What each node at `addresses` knows of the quorum, of those that answer in time; all are asked at
/// once.
pub async fn views(addresses: &[String], patience: Duration) -> BTreeMap<i32, QuorumView> {
    let asked = addresses.iter().map(|at| tokio::time::timeout(patience, describe(at)));
    let answers = join_all(asked).await.into_iter();
    answers.filter_map(|answer| answer.ok()?.ok()).map(|(node, view)| (node.0, view)).collect()
}

/// The address of the leader that `node` names, if it is another node.
fn leader_elsewhere(node: NodeId, view: &QuorumView) -> Option<String> {
    let leader = view.leader.filter(|&leader| leader != node)?;
    view.voters.iter().find(|voter| voter.id == leader).and_then(address_of)
}

fn address_of(replica: &VoterView) -> Option<String> {
    replica.endpoints.first().map(address)
}

pub fn address(endpoint: &VoterEndpoint) -> String {
    match endpoint.host.contains(':') {
        true => format!("[{}]:{}", endpoint.host, endpoint.port),
        false => format!("{}:{}", endpoint.host, endpoint.port),
    }
}

/// Has the controller at `address`, which should be the leader, change the voters.
pub async fn change(
    address: &str,
    change: &Change,
    patience: Duration,
) -> Result<(), ChangeFailed> {
    let Change { change, endpoints } = change.clone();
    let message = Message::ChangeVoters { id: 1, change, endpoints };
    let asked = ask_one(address, message, |answer| match answer {
        Message::VotersChanged { result, .. } => Some(result),
        _ => None,
    });
    match tokio::time::timeout(patience, asked).await {
        Ok(Ok((_, Ok(())))) => Ok(()),
        Ok(Ok((_, Err(error)))) => Err(ChangeFailed::Refused {
            why: format!("{}: {error}", error.code()),
            retriable: crate::client::is_retriable_code(error.code().code()),
        }),
        Ok(Err(reason)) => Err(ChangeFailed::Unknown(format!("{address}: {reason}"))),
        Err(_) => Err(ChangeFailed::Unknown(format!("{address} did not answer in time"))),
    }
}

/// Who answers at `address`, and what it knows.
async fn describe(address: &str) -> Result<(NodeId, QuorumView), String> {
    ask_one(address, Message::DescribeQuorum { id: 1 }, |answer| match answer {
        Message::QuorumDescribed { view, .. } => Some(view),
        _ => None,
    })
    .await
}

/// Sends `question` to whoever listens at `address`, and returns the first message that `answer`
/// takes for one.
async fn ask_one<T>(
    address: &str,
    question: Message,
    answer: impl Fn(Message) -> Option<T>,
) -> Result<(NodeId, T), String> {
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
            LinkEvent::Up { peer, .. } => {
                links.send(peer, question.clone()).map_err(|error| error.to_string())?;
            }
            // A question may have been taken in though its link broke: it is asked once.
            LinkEvent::Down { cause, .. } => return Err(cause.to_string()),
            LinkEvent::Received { message, .. } => {
                if let Some(answer) = answer(message) {
                    links.close();
                    return Ok((hello.node, answer));
                }
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
        endpoint: address_of(replica).filter(|_| replica.controller),
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

pub fn status_of(id: i32, leader: Option<i32>, votes: bool) -> &'static str {
    match (votes, leader == Some(id)) {
        (_, true) => "leader",
        (true, false) => "follower",
        (false, false) => "observer",
    }
}

/// Each replica's distance from the leader's end, where both are known.
pub fn with_lags(mut quorum: Quorum) -> Quorum {
    let leader = quorum.replicas.iter().find(|replica| replica.status == "leader");
    let Some(end) = leader.map(|leader| leader.log_end_offset) else { return quorum };
    for replica in &mut quorum.replicas {
        replica.lag = (replica.log_end_offset >= 0).then(|| (end - replica.log_end_offset).max(0));
    }
    quorum
}
