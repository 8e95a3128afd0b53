//! One look at the metadata: first what the nodes that run say of it, then what all of them hold.
//!
//! In this order nothing that happens meanwhile looks like a broken promise: below a high watermark that was
//! asked for before, logs only lose their front, to snapshots that are there already; and an epoch is on
//! disk before a record of it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use kraft_model::metadata::Image;
use kraft_model::raft::{SnapshotId, StoredState};
use kraft_model::{Epoch, NodeId, Offset, ReplicaKey};
use kraft_node::peer::record::decode_batch;
use kraft_node::peer::{QuorumView, VoterView};
use kraft_node::storage::{METADATA_LOG, MetadataView, StorageError, read_meta, read_quorum_state};

use super::entry::Entries;
use crate::cluster::{Cluster, Node, SupervisorState};
use crate::node::{Directories, directories};
use crate::quorum;
use crate::report::Failure;

/// How long a quorum may take to have a leader that everybody has heard of.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);
/// How long one node may take to say what it knows; one that is paused says nothing.
const ANSWER: Duration = Duration::from_secs(1);
/// How long the epoch of the only voter may be on its way to the disk behind its first record.
const STORE: Duration = Duration::from_secs(2);

/// The cluster that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub dir: &'a Path,
    pub cluster: &'a Cluster,
}

/// The metadata as all nodes have it.
#[derive(Debug)]
pub struct Sight {
    pub nodes: Vec<Seen>,
    /// Nodes whose directories could not be read, and why.
    pub unseen: Vec<(i32, String)>,
    pub known: Known,
    /// The nodes whose processes run.
    pub running: Vec<i32>,
}

/// What is known of the end of what is committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Known {
    /// The leader says so.
    Committed {
        end: Offset,
        epoch: Epoch,
    },
    /// Nobody runs who could commit anything: a majority of the voters agrees up to here, so that
    /// everything that is committed is below it.
    Settled(Offset),
    Unknown(String),
}

/// What one node has.
#[derive(Debug)]
pub struct Seen {
    pub witness: Witness,
    pub log: MetadataView,
    pub snapshots: Vec<(SnapshotId, Image)>,
}

/// As much of it as the promises of a quorum are about.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    pub id: i32,
    pub key: ReplicaKey,
    /// What it said before its log was read, if it answered.
    pub says: Option<QuorumView>,
    /// Its stored epoch, leader and vote, before its log was read and after.
    pub states: [StoredState; 2],
    pub entries: Entries,
    /// Where its newest snapshot ends.
    pub snapshot: Offset,
    /// Its log was damaged, and it refetches what it had.
    pub is_mending: bool,
}

/// What was said before anything was read.
struct Said {
    views: BTreeMap<i32, QuorumView>,
    states: BTreeMap<i32, StoredState>,
    known: Option<Known>,
}

/// Looks at the directories of all nodes, having asked those that run.
pub async fn look(place: Place<'_>) -> Result<Sight, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = SupervisorState::load(place.dir)?;
        let runs = |node: &&Node| state.node(node.id).is_some_and(|node| node.running().is_some());
        let running: Vec<&Node> = place.cluster.nodes.iter().filter(runs).collect();
        let said = ask(place, &running).await;
        let is_late = Instant::now() > deadline;
        if matches!(said.known, Some(Known::Unknown(_))) && !is_late {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let mut sight = see_all(place, &running, said);
        if sight.leader_has_begun() {
            return Ok(sight);
        }
        if is_late {
            let why = "the quorum's leader has committed nothing in its epoch yet";
            sight.known = Known::Unknown(why.to_owned());
            return Ok(sight);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(place: Place<'_>, running: &[&Node]) -> Said {
    let ports = running.iter().filter_map(|node| node.controller_port.or(node.broker_port));
    let addresses: Vec<String> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
    let views = quorum::views(&addresses, ANSWER).await;
    let states = place.cluster.nodes.iter().filter_map(|node| {
        let dir = dirs(place, node).ok()?.metadata_log_dir?.join(METADATA_LOG);
        Some((node.id, read_quorum_state(&dir).ok()?))
    });
    let states: BTreeMap<i32, StoredState> = states.collect();
    let somebody_may_commit = running.iter().any(|node| node.controller_port.is_some());
    let known = somebody_may_commit.then(|| {
        let nobody = "no controller leads the quorum, as far as those that run can tell";
        said_by_the_leader(&views, &states).unwrap_or(Known::Unknown(nobody.to_owned()))
    });
    Said { views, states, known }
}

fn see_all(place: Place<'_>, running: &[&Node], said: Said) -> Sight {
    let running: Vec<i32> = running.iter().map(|node| node.id).collect();
    let (mut nodes, mut unseen) = (Vec::new(), Vec::new());
    for node in &place.cluster.nodes {
        match see(place, node, &said, running.contains(&node.id)) {
            Ok(seen) => nodes.push(seen),
            Err(why) => unseen.push((node.id, why)),
        }
    }
    let known = said.known.unwrap_or_else(|| settled(&nodes));
    Sight { nodes, unseen, known, running }
}

/// What the leader says: one whose epoch so few voters have gone beyond that nobody can have been elected
/// after it. One that was deposed and does not know it may answer as well.
fn said_by_the_leader(
    views: &BTreeMap<i32, QuorumView>,
    states: &BTreeMap<i32, StoredState>,
) -> Option<Known> {
    let stands = |(id, view): &(&i32, &QuorumView)| {
        let is_beyond = |voter: &&VoterView| {
            states.get(&voter.id.0).is_none_or(|state| state.epoch > view.epoch)
        };
        let beyond = view.voters.iter().filter(is_beyond).count();
        view.leader == Some(NodeId(**id)) && beyond * 2 <= view.voters.len()
    };
    let (_, view) = views.iter().filter(stands).max_by_key(|(_, view)| view.epoch)?;
    Some(Known::Committed { end: view.high_watermark, epoch: view.epoch })
}

pub fn dirs(place: Place<'_>, node: &Node) -> Result<Directories, String> {
    directories(&node.config(place.dir)).map_err(|failure| failure.to_string())
}

fn see(place: Place<'_>, node: &Node, said: &Said, runs: bool) -> Result<Seen, String> {
    let dirs = dirs(place, node)?;
    let text = |error: StorageError| {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        format!("{error}{}", source.unwrap_or_default())
    };
    let own = dirs.metadata_log_dir.ok_or("it has no log directory")?;
    let meta = read_meta(&own).map_err(text)?;
    let dir = own.join(METADATA_LOG);
    let log = MetadataView::read(&dir).map_err(text)?;
    let snapshots = snapshots(&log, &dir).map_err(|error| error.to_string())?;
    let entries = Entries::of(&log);
    let last_epoch = entries.all().last().map_or(0, |last| last.epoch);
    let mut state = read_quorum_state(&dir).map_err(text)?;
    let deadline = Instant::now() + STORE;
    while runs && state.epoch.0 < last_epoch && Instant::now() < deadline {
        std::thread::sleep(PAUSE);
        state = read_quorum_state(&dir).map_err(text)?;
    }
    let witness = Witness {
        id: node.id,
        key: ReplicaKey { id: meta.node, directory: meta.directory },
        says: said.views.get(&node.id).cloned(),
        states: [said.states.get(&node.id).copied().unwrap_or(state), state],
        entries,
        snapshot: snapshots.last().map_or(Offset::ZERO, |(id, _)| id.end),
        is_mending: log.is_mending,
    };
    Ok(Seen { witness, log, snapshots })
}

/// The images of the snapshots, oldest first, but for what the quorum was formatted with. One may be
/// deleted for a newer one before it is read.
fn snapshots(log: &MetadataView, dir: &Path) -> Result<Vec<(SnapshotId, Image)>, String> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let snapshots = log.snapshots();
    let ids = snapshots.list().map_err(|error| error.to_string())?;
    let mut images = Vec::new();
    for id in ids.into_iter().filter(|id| *id != SnapshotId::default()) {
        let mut reader = match snapshots.open(id) {
            Err(_) if !snapshots.path(id).exists() => continue,
            reader => reader.map_err(|error| error.to_string())?,
        };
        let mut records = Vec::new();
        while let Some(batch) = reader.next_batch().map_err(|error| error.to_string())? {
            records.extend(decode_batch(&batch).map_err(|error| error.to_string())?);
        }
        let image = Image::load(id.end, &records);
        images.push((id, image.map_err(|error| format!("the snapshot at {}: {error}", id.end))?));
    }
    Ok(images)
}

impl Sight {
    /// Whether what the leader takes for committed ends in its own epoch. Until then it knows no more than
    /// the follower that it was, and more may have been committed by the leader before it (Q7).
    fn leader_has_begun(&self) -> bool {
        let Known::Committed { end, epoch } = self.known else { return true };
        let last = Offset(end.0 - 1);
        let in_log = |seen: &Seen| seen.witness.entries.at(last).map(|entry| entry.epoch);
        let in_snapshot = |seen: &Seen| {
            let placed = seen.snapshots.iter().find(|(id, _)| id.end == end);
            placed.map(|(id, _)| id.epoch.0)
        };
        self.nodes.iter().any(|seen| in_log(seen).or(in_snapshot(seen)) == Some(epoch.0))
    }

    pub fn witnesses(&self) -> Vec<&Witness> {
        self.nodes.iter().map(|seen| &seen.witness).collect()
    }

    /// Who votes at `end`, by the log that has most to say.
    pub fn voters(&self, end: Offset) -> Vec<ReplicaKey> {
        voters(&self.nodes, end)
    }
}

fn voters(nodes: &[Seen], end: Offset) -> Vec<ReplicaKey> {
    let latest = nodes.iter().max_by_key(|seen| rank(&seen.witness.entries));
    latest.and_then(|seen| seen.log.voters_below(end)).unwrap_or_default()
}

/// As voters compare logs: the last epoch, then the end.
fn rank(entries: &Entries) -> (i32, Offset) {
    (entries.all().last().map_or(0, |last| last.epoch), entries.end())
}

fn settled(nodes: &[Seen]) -> Known {
    let voters = voters(nodes, Offset(i64::MAX));
    let logs = nodes.iter().map(|seen| (seen.witness.key, &seen.witness.entries));
    let of_voters: Vec<&Entries> =
        logs.filter(|(key, _)| voters.contains(key)).map(|(_, entries)| entries).collect();
    match settled_end(&of_voters, voters.len()) {
        Some(end) => Known::Settled(end),
        None => Known::Unknown("the logs of a majority of the voters are not here".to_owned()),
    }
}

/// The largest offset up to which a majority of `voters` agrees.
fn settled_end(logs: &[&Entries], voters: usize) -> Option<Offset> {
    let majority = voters / 2 + 1;
    let held_up_to = |log: &&Entries| {
        let mut ends: Vec<_> = logs.iter().map(|other| log.agrees_up_to(other)).collect();
        ends.sort_unstable();
        ends.len().checked_sub(majority).map(|at| ends[at])
    };
    logs.iter().filter_map(held_up_to).max()
}

#[cfg(test)]
mod tests {
    use kraft_model::DirectoryId;

    use super::super::entry::tests::log;
    use super::*;

    fn view(leader: i32, epoch: i32, high_watermark: i64) -> QuorumView {
        let voter = |id| VoterView {
            id: NodeId(id),
            directory: DirectoryId(id as u128),
            end: Offset(-1),
            last_fetch_ms: -1,
            last_caught_up_ms: -1,
            controller: true,
            endpoints: Vec::new(),
        };
        QuorumView {
            leader: Some(NodeId(leader)),
            epoch: Epoch(epoch),
            high_watermark: Offset(high_watermark),
            voters: (1..=3).map(voter).collect(),
            observers: Vec::new(),
        }
    }

    fn stored(epochs: &[(i32, i32)]) -> BTreeMap<i32, StoredState> {
        let state = |epoch| StoredState { epoch: Epoch(epoch), ..StoredState::default() };
        epochs.iter().map(|&(id, epoch)| (id, state(epoch))).collect()
    }

    #[test]
    fn a_leader_that_may_have_been_deposed_is_not_believed() {
        let views = BTreeMap::from([(1, view(1, 4, 10)), (2, view(1, 4, 9))]);
        let said = |states: &[(i32, i32)]| said_by_the_leader(&views, &stored(states));
        let known = Some(Known::Committed { end: Offset(10), epoch: Epoch(4) });
        assert_eq!(said(&[(1, 4), (2, 4), (3, 4)]), known);
        assert_eq!(said(&[(1, 4), (2, 4), (3, 5)]), known, "one has stood in vain");
        assert_eq!(said(&[(1, 4), (2, 4)]), known, "one cannot be read");
        assert_eq!(said(&[(1, 4), (2, 5), (3, 5)]), None);
        assert_eq!(said(&[(1, 4), (3, 5)]), None);
        let others = BTreeMap::from([(2, view(1, 4, 9))]);
        let states = stored(&[(1, 4), (2, 4), (3, 4)]);
        assert_eq!(said_by_the_leader(&others, &states), None, "it must say so itself");
    }

    #[test]
    fn a_leader_knows_what_is_committed_once_it_has_committed_something_itself() {
        let nowhere = Path::new("no such directory");
        let seen = |entries, snapshots| Seen {
            witness: Witness { entries, ..Witness::default() },
            log: MetadataView::read(nowhere).expect("it is empty"),
            snapshots,
        };
        let begun = |end, epoch, seen| {
            let known = Known::Committed { end: Offset(end), epoch: Epoch(epoch) };
            let (unseen, running) = (Vec::new(), Vec::new());
            Sight { nodes: vec![seen], unseen, known, running }.leader_has_begun()
        };
        let entries = || log(0, &[(1, 1), (1, 2), (2, 3)]);
        assert!(begun(3, 2, seen(entries(), Vec::new())));
        assert!(!begun(2, 2, seen(entries(), Vec::new())), "its own record is not committed yet");
        assert!(!begun(4, 2, seen(entries(), Vec::new())), "nobody has what it says");
        let placed = SnapshotId { end: Offset(3), epoch: Epoch(2) };
        assert!(begun(3, 2, seen(log(3, &[]), vec![(placed, Image::default())])));
    }

    #[test]
    fn what_a_majority_has_is_settled() {
        let one = log(0, &[(1, 1), (1, 2), (1, 3)]);
        let two = log(0, &[(1, 1), (1, 2)]);
        let other = log(0, &[(1, 1), (2, 9), (2, 8)]);
        assert_eq!(settled_end(&[&one, &two, &other], 3), Some(Offset(2)));
        assert_eq!(settled_end(&[&one, &other], 3), Some(Offset(1)));
        assert_eq!(settled_end(&[&one], 3), None);
        assert_eq!(settled_end(&[&one], 1), Some(Offset(3)));
    }
}
