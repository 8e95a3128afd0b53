//! The log directories of the brokers, and the replicas in them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kraft_model::{NodeId, TopicPartition};
use kraft_node::storage::{
    Checkpoint, DataView, Depth, PartitionOffsets, StorageError, find_replica, is_left_whole,
};

use super::data::Replica;
use super::sight::{Place, dirs};
use crate::cluster::Node;

/// The brokers of the cluster.
pub type Homes<'a> = BTreeMap<NodeId, Home<'a>>;

/// What the directories of a node hold, read once for all of its partitions.
pub struct Home<'a> {
    pub node: &'a Node,
    pub runs: bool,
    /// Why they are not looked at, if they are not.
    dirs: Result<Vec<PathBuf>, String>,
    /// As its checkpoints have them.
    pub high_watermarks: PartitionOffsets,
}

impl<'a> Home<'a> {
    fn of(place: Place<'_>, node: &'a Node, runs: bool) -> Home<'a> {
        let mut home =
            Home { node, runs, dirs: Ok(Vec::new()), high_watermarks: PartitionOffsets::new() };
        home.dirs = dirs(place, node).and_then(|dirs| home.open(dirs.log_dirs));
        home
    }

    fn open(&mut self, dirs: Vec<PathBuf>) -> Result<Vec<PathBuf>, String> {
        let id = self.node.id;
        let told = |error: StorageError| format!("node {id}: {error}");
        for dir in &dirs {
            if !self.runs && !is_left_whole(dir).map_err(told)? {
                return Err(format!(
                    "node {id} is down, and its machine has been down since it ran, or a write of it has \
                     failed: what is lost of what it wrote its next start finds out"
                ));
            }
            self.high_watermarks.extend(Checkpoint::HighWatermark.read(dir).map_err(told)?);
        }
        Ok(dirs)
    }
}

pub fn homes<'a>(place: Place<'a>, running: &[i32]) -> Homes<'a> {
    let home =
        |node: &'a Node| (NodeId(node.id), Home::of(place, node, running.contains(&node.id)));
    place.cluster.brokers().map(home).collect()
}

/// The replica on one node, or why it cannot be looked at.
pub fn replica(
    homes: &Homes<'_>,
    node: NodeId,
    topic: &str,
    id: TopicPartition,
    depth: Depth,
) -> Result<Replica, String> {
    let elsewhere = || format!("node {node} is not one of this directory's");
    let home = homes.get(&node).ok_or_else(elsewhere)?;
    let told = |error: StorageError| format!("node {node}: {error}");
    let mut log = None;
    for dir in home.dirs.as_ref().map_err(String::clone)? {
        if let Some(path) = find_replica(dir, topic, id.topic, id.partition).map_err(told)? {
            log = Some(DataView::open(&path, depth).map_err(told)?);
        }
    }
    Ok(Replica::new(node.0, log))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Shape, create};

    #[test]
    fn who_cannot_vouch_for_what_it_wrote_is_looked_at_only_while_it_runs() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let shape = Shape::Separate { controllers: 1, brokers: 1 };
        let cluster = create(dir.path(), shape, Some(0), &[]).expect("the directory is empty");
        let place = Place { dir: dir.path(), cluster: &cluster };
        let why = |running: &[i32]| homes(place, running)[&NodeId(2)].dirs.clone().err();
        assert!(
            why(&[]).is_some_and(|why| why.contains("node 2 is down")),
            "it never ran in this boot"
        );
        assert_eq!(why(&[2]), None);
        let data = cluster.nodes[1].data(dir.path());
        std::fs::write(data.join(".kraft_cleanshutdown"), "7\n").expect("the directory is ours");
        assert_eq!(why(&[]), None, "it stopped in order");
    }
}
