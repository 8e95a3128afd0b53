//! Who this node is: what its directories say, held under lock.

use std::path::PathBuf;

use kraft_model::{BrokerEpoch, ClusterId, DirectoryId, Incarnation, ReplicaKey};

use crate::config::NodeConfig;
use crate::storage::{LogDirectory, StorageError};
use crate::trace::Origin;

/// A node's directories, locked, and what they say.
#[derive(Debug)]
pub struct Identity {
    pub cluster: ClusterId,
    /// The node in the quorum: its id and the metadata directory's id.
    pub me: ReplicaKey,
    /// Chosen anew at every start.
    pub incarnation: Incarnation,
    /// `log.dirs` in their order, then `metadata.log.dir` if it is none of them.
    pub directories: Vec<LogDirectory>,
    log_dirs: usize,
    /// A write has failed.
    has_failed: bool,
}

/// Why the directories cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(
        "{path} belongs to node {found}, but this configuration says node.id={configured}: \
         point log.dirs to this node's own directory"
    )]
    NodeId { path: PathBuf, found: i32, configured: i32 },
    #[error("{path} belongs to cluster {found}, but {first} to cluster {expected}")]
    Cluster { path: PathBuf, found: ClusterId, first: PathBuf, expected: ClusterId },
}

impl Identity {
    /// Locks the directories and reads what they say of themselves.
    pub fn open(config: &NodeConfig) -> Result<Identity, IdentityError> {
        let mut paths = config.log_dirs.clone();
        let log_dirs = paths.len();
        if !paths.contains(&config.metadata_log_dir) {
            paths.push(config.metadata_log_dir.clone());
        }
        let mut directories: Vec<LogDirectory> = Vec::new();
        for path in paths {
            let directory = LogDirectory::open(&path)?;
            let found = directory.properties.node;
            if found != config.node_id {
                let (found, configured) = (found.0, config.node_id.0);
                return Err(IdentityError::NodeId { path, found, configured });
            }
            if let Some(first) = directories.first()
                && first.properties.cluster != directory.properties.cluster
            {
                return Err(IdentityError::Cluster {
                    path,
                    found: directory.properties.cluster,
                    first: first.path().to_owned(),
                    expected: first.properties.cluster,
                });
            }
            directories.push(directory);
        }
        let metadata = directories.iter().find(|at| at.path() == config.metadata_log_dir);
        let directory = metadata.map(|at| at.properties.directory).unwrap_or_default();
        Ok(Identity {
            cluster: directories.first().map(|at| at.properties.cluster).unwrap_or_default(),
            me: ReplicaKey { id: config.node_id, directory },
            incarnation: Incarnation(uuid::Uuid::new_v4().as_u128()),
            directories,
            log_dirs,
            has_failed: false,
        })
    }

    /// Whose recording a trace of this process is.
    pub fn origin(&self) -> Origin {
        Origin { node: self.me.id, incarnation: self.incarnation, cluster: self.cluster }
    }

    /// The directories that hold partitions.
    pub fn data(&self) -> &[LogDirectory] {
        &self.directories[..self.log_dirs]
    }

    pub fn data_ids(&self) -> Vec<DirectoryId> {
        self.data().iter().map(|directory| directory.properties.directory).collect()
    }

    /// The broker epoch of the last process here, if every directory still holds all that it wrote
    /// (L6), else [`BrokerEpoch::NONE`].
    pub fn previous_epoch(&self) -> BrokerEpoch {
        let mut epochs = self.data().iter().map(|directory| directory.intact);
        match epochs.next().flatten() {
            Some(first) if epochs.all(|other| other == Some(first)) => first,
            _ => BrokerEpoch::NONE,
        }
    }

    /// Notes in every directory under which registration it is used from now on; not after a failure,
    /// which no later registration mends.
    pub fn registered(&self, epoch: BrokerEpoch) -> Result<(), StorageError> {
        if self.has_failed {
            return Ok(());
        }
        self.data().iter().try_for_each(|directory| directory.registered(epoch))
    }

    /// A write has failed: the kernel may have forgotten what it could not bring to disk. From now on
    /// no kill counts as one that loses nothing, and no stop as clean.
    pub fn storage_failed(&mut self) -> Result<(), StorageError> {
        self.has_failed = true;
        self.data().iter().try_for_each(|directory| directory.failed())
    }

    /// Writes down that this stop was clean, unless a write has failed, and lets go of the directories.
    pub fn close(self, epoch: BrokerEpoch) -> Result<(), StorageError> {
        if self.has_failed {
            return Ok(());
        }
        let log_dirs = self.log_dirs;
        self.directories.into_iter().take(log_dirs).try_for_each(|directory| directory.close(epoch))
    }
}

#[cfg(test)]
mod tests {
    use kraft_model::NodeId;

    use super::*;
    use crate::storage::{format, is_left_whole};

    fn node(home: &std::path::Path) -> Identity {
        let config = NodeConfig::on_loopback(NodeId(1), home, &[]).expect("it is right");
        Identity::open(&config).expect("the directory is usable")
    }

    #[test]
    fn after_a_failed_write_neither_a_registration_nor_a_stop_vouches_for_the_directory() {
        let home = tempfile::tempdir().expect("a directory for the test");
        format(home.path(), ClusterId(1), NodeId(1)).expect("it is empty");
        let is_whole = || is_left_whole(home.path()).expect("it is readable");
        let mut identity = node(home.path());
        identity.registered(BrokerEpoch(3)).expect("it is noted");
        identity.storage_failed().expect("it is noted");
        identity.registered(BrokerEpoch(4)).expect("nothing is written");
        assert!(!is_whole(), "a kill");
        identity.close(BrokerEpoch(4)).expect("nothing is written");
        assert!(!is_whole(), "an orderly stop");
        // The next process begins with what it finds.
        let identity = node(home.path());
        assert_eq!(identity.previous_epoch(), BrokerEpoch::NONE);
        identity.close(BrokerEpoch(5)).expect("it is noted");
        assert!(is_whole());
    }
}
