//! `kraft quorum add-voter` and `remove-voter` (KIP-853).

use std::fmt;
use std::time::{Duration, Instant};

use kraft_model::raft::VoterChange;
use kraft_model::{DirectoryId, NodeId, ReplicaKey};
use kraft_node::storage::VoterEndpoint;
use serde::Serialize;

use super::quorum::{VoterArgs, through_broker};
use crate::client::Client;
use crate::output::list;
use crate::quorum::{self, Change, ChangeFailed, Quorum, Replica};
use crate::report::Failure;

/// Through whom the quorum is asked.
pub enum Door {
    Broker(Client),
    Controllers(Vec<String>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    Add,
    Remove,
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct Changed {
    id: i32,
    directory_id: String,
    /// Who votes now.
    voters: Vec<i32>,
    #[serde(skip)]
    wish: &'static str,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Changed { id, directory_id, voters, wish } = self;
        writeln!(f, "node {id} (directory {directory_id}) {wish}; voters: {}", list(voters))
    }
}

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// How long a node that was just started may take until the quorum sees it.
const APPEARANCE: Duration = Duration::from_secs(5);

const SEE_REPLICAS: &str = "see 'kraft quorum replicas' for who is up and how far; then ask again";

/// The listener name where the cluster tells of none.
const CONTROLLER: &str = "CONTROLLER";

impl Door {
    pub async fn describe(&self) -> Result<Quorum, Failure> {
        match self {
            Door::Broker(client) => through_broker(client).await,
            Door::Controllers(addresses) => quorum::ask(addresses).await,
        }
    }

    async fn change(
        &self,
        quorum: &Quorum,
        change: &Change,
        patience: Duration,
    ) -> Result<(), ChangeFailed> {
        match self {
            Door::Broker(client) => client.change_voters(change, patience).await,
            Door::Controllers(addresses) => {
                let leader = quorum.replicas.iter().find(|replica| replica.status == "leader");
                let address = leader.and_then(|leader| leader.endpoint.clone());
                let Some(address) = address.or_else(|| sole(addresses)) else {
                    let why = "it is not known where the quorum's leader is".to_owned();
                    return Err(ChangeFailed::Refused { why, retriable: true });
                };
                quorum::change(&address, change, patience).await
            }
        }
    }
}

/// The one address, if there is one only.
fn sole(addresses: &[String]) -> Option<String> {
    (addresses.len() == 1).then(|| addresses[0].clone())
}

/// What is to be changed: who exactly, and where it is.
struct Target {
    key: ReplicaKey,
    endpoints: Vec<VoterEndpoint>,
}

/// Why there is nothing to change as the quorum stands.
enum Unfit {
    /// It is as it was wished.
    Done(ReplicaKey),
    /// The node may show up in a moment.
    Absent(Failure),
    Impossible(Failure),
}

/// Asks until the change is made, is refused for good, or `patience` is over. What was asked for
/// may have been done though its answer was lost, so the quorum is looked at before each attempt.
pub async fn change(
    door: &Door,
    voter: &VoterArgs,
    wish: Wish,
    patience: Duration,
) -> Result<Changed, Failure> {
    let began = Instant::now();
    let mut asked = false;
    loop {
        let quorum = door.describe().await?;
        let left = patience.saturating_sub(began.elapsed());
        let (failure, until) = match wish.target(&quorum, voter) {
            Err(Unfit::Done(key)) if asked => return Ok(done(wish, key, &quorum)),
            Err(Unfit::Done(key)) => return Err(wish.is_done(key)),
            Err(Unfit::Impossible(failure)) => return Err(failure),
            Err(Unfit::Absent(failure)) => (failure, patience.min(APPEARANCE)),
            Ok(target) => {
                asked = true;
                match door.change(&quorum, &target.change(wish), left).await {
                    Ok(()) => return Ok(done(wish, target.key, &door.describe().await?)),
                    Err(ChangeFailed::Refused { why, retriable: false }) => {
                        return Err(wish.failed(voter.id).because(why));
                    }
                    Err(ChangeFailed::Refused { why, .. } | ChangeFailed::Unknown(why)) => {
                        (wish.failed(voter.id).because(why).next(SEE_REPLICAS), patience)
                    }
                }
            }
        };
        if began.elapsed() + PAUSE >= until {
            return Err(failure);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn done(wish: Wish, key: ReplicaKey, quorum: &Quorum) -> Changed {
    let voters = quorum.replicas.iter().filter(|replica| is_voter(replica));
    Changed {
        id: key.id.0,
        directory_id: key.directory.to_string(),
        voters: voters.map(|replica| replica.id).collect(),
        wish: match wish {
            Wish::Add => "votes",
            Wish::Remove => "votes no more",
        },
    }
}

fn is_voter(replica: &Replica) -> bool {
    replica.status != "observer"
}

fn key_of(replica: &Replica) -> Option<ReplicaKey> {
    let directory: DirectoryId = replica.directory_id.parse().ok()?;
    Some(ReplicaKey { id: NodeId(replica.id), directory })
}

impl Target {
    fn change(&self, wish: Wish) -> Change {
        let change = match wish {
            Wish::Add => VoterChange::Add(self.key),
            Wish::Remove => VoterChange::Remove(self.key),
        };
        Change { change, endpoints: self.endpoints.clone() }
    }
}

impl Wish {
    fn failed(self, id: i32) -> Failure {
        Failure::new(match self {
            Wish::Add => format!("cannot make node {id} a voter"),
            Wish::Remove => format!("cannot remove node {id} from the voters"),
        })
    }

    fn is_done(self, key: ReplicaKey) -> Failure {
        let ReplicaKey { id, directory } = key;
        match self {
            Wish::Add => self
                .failed(id.0)
                .because(format!("it is one already, with directory id {directory}")),
            Wish::Remove => self
                .failed(id.0)
                .because("it is none")
                .next("'kraft quorum status' shows who votes"),
        }
    }

    fn target(self, quorum: &Quorum, voter: &VoterArgs) -> Result<Target, Unfit> {
        match self {
            Wish::Add => to_add(quorum, voter),
            Wish::Remove => to_remove(quorum, voter),
        }
    }
}

fn to_add(quorum: &Quorum, voter: &VoterArgs) -> Result<Target, Unfit> {
    let here = |replica: &&Replica| replica.id == voter.id;
    let wanted = |key: &ReplicaKey| voter.directory_id.is_none_or(|id| id == key.directory);
    let present = quorum.replicas.iter().filter(here).find(|replica| is_voter(replica));
    let observers = quorum.replicas.iter().filter(here).filter(|replica| !is_voter(replica));
    // A disk that was replaced a moment ago is still shown: the one that fetched last is there.
    let newest = observers
        .filter(|replica| key_of(replica).is_some_and(|key| wanted(&key)))
        .max_by_key(|replica| replica.last_fetch_ms);
    if let Some(key) = present.and_then(key_of) {
        if newest.is_none() && wanted(&key) {
            return Err(Unfit::Done(key));
        }
        return Err(Unfit::Impossible(
            Wish::Add
                .failed(voter.id)
                .because(format!("it is a voter with another directory, {}", key.directory))
                .next(format!(
                    "remove that first: kraft quorum remove-voter {} --directory-id {}",
                    voter.id, key.directory
                )),
        ));
    }
    let key = newest.and_then(key_of).or_else(|| named(voter)).ok_or_else(|| absent(voter.id))?;
    let endpoint = voter.endpoint.clone().or_else(|| newest?.endpoint.clone());
    let endpoint = endpoint.as_deref().and_then(parsed).ok_or_else(|| no_endpoint(voter.id))?;
    Ok(Target { key, endpoints: vec![endpoint] })
}

/// A node that the quorum has not seen yet may be named in full: the leader waits for it.
fn named(voter: &VoterArgs) -> Option<ReplicaKey> {
    let directory = voter.directory_id.filter(|_| voter.endpoint.is_some())?;
    Some(ReplicaKey { id: NodeId(voter.id), directory })
}

fn parsed(address: &str) -> Option<VoterEndpoint> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some(VoterEndpoint { name: CONTROLLER.to_owned(), host, port: port.parse().ok()? })
}

fn absent(id: i32) -> Unfit {
    Unfit::Absent(Wish::Add.failed(id).because("no observer with this id follows the quorum").next(
        "format it with --no-initial-controllers, give it \
                 controller.quorum.bootstrap.servers, start it, and look for it in \
                 'kraft quorum replicas'",
    ))
}

fn no_endpoint(id: i32) -> Unfit {
    Unfit::Impossible(
        Wish::Add
            .failed(id)
            .because("it is no controller, or it is not known where it is reached")
            .next("if it is a controller, pass --endpoint HOST:PORT"),
    )
}

fn to_remove(quorum: &Quorum, voter: &VoterArgs) -> Result<Target, Unfit> {
    let here = quorum.replicas.iter().find(|replica| replica.id == voter.id && is_voter(replica));
    let key = here.and_then(key_of);
    match (key, voter.directory_id) {
        (Some(key), wanted) if wanted.is_none_or(|id| id == key.directory) => {
            Ok(Target { key, endpoints: Vec::new() })
        }
        (_, directory) => {
            let directory = directory.unwrap_or_default();
            Err(Unfit::Done(ReplicaKey { id: NodeId(voter.id), directory }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: DirectoryId = DirectoryId(1);
    const B: DirectoryId = DirectoryId(2);

    fn replica(id: i32, directory: DirectoryId, status: &'static str, fetched: i64) -> Replica {
        Replica {
            id,
            directory_id: directory.to_string(),
            log_end_offset: 0,
            lag: None,
            last_fetch_ms: fetched,
            last_caught_up_ms: fetched,
            status,
            endpoint: Some(format!("[::1]:{id}")),
        }
    }

    fn voter(id: i32, directory_id: Option<DirectoryId>) -> VoterArgs {
        VoterArgs { id, directory_id, endpoint: None }
    }

    fn quorum(replicas: Vec<Replica>) -> Quorum {
        Quorum { leader: Some(1), replicas, ..Quorum::default() }
    }

    #[test]
    fn an_observer_is_added_with_the_directory_that_it_has_now() {
        let quorum = quorum(vec![
            replica(1, A, "leader", 9),
            replica(4, A, "observer", 1),
            replica(4, B, "observer", 5),
        ]);
        let Ok(target) = Wish::Add.target(&quorum, &voter(4, None)) else { panic!("it is there") };
        assert_eq!(target.key, ReplicaKey { id: NodeId(4), directory: B });
        assert_eq!((target.endpoints[0].host.as_str(), target.endpoints[0].port), ("::1", 4));
        let Ok(target) = Wish::Add.target(&quorum, &voter(4, Some(A))) else { panic!("as named") };
        assert_eq!(target.key.directory, A);
    }

    #[test]
    fn a_replaced_disk_is_told_to_be_removed_first() {
        let quorum = quorum(vec![replica(3, A, "follower", 1), replica(3, B, "observer", 5)]);
        let Err(Unfit::Impossible(failure)) = Wish::Add.target(&quorum, &voter(3, None)) else {
            panic!("its id votes with another directory")
        };
        let text = failure.to_string();
        assert!(text.contains(&format!("remove-voter 3 --directory-id {A}")), "{text}");
    }

    #[test]
    fn what_is_done_and_what_is_absent_are_told_apart() {
        let quorum = quorum(vec![replica(1, A, "leader", 9)]);
        assert!(matches!(Wish::Add.target(&quorum, &voter(1, None)), Err(Unfit::Done(_))));
        assert!(matches!(Wish::Add.target(&quorum, &voter(4, None)), Err(Unfit::Absent(_))));
        assert!(matches!(Wish::Remove.target(&quorum, &voter(4, None)), Err(Unfit::Done(_))));
        assert!(Wish::Remove.target(&quorum, &voter(1, None)).is_ok());
    }
}
