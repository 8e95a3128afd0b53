//! The metadata quorum as its controllers see it, asked over the peer protocol: the only way while
//! no broker is up.

use std::sync::Arc;
use std::time::Duration;

use kraft_model::NodeId;
use kraft_node::peer::{
    Admit, LinkEvent, Links, LocalPeer, Message, QuorumView, Timing, VoterView, identify,
};
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
