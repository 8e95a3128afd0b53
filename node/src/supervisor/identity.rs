//! Who this node is: what its directories say, held under lock.

use std::path::PathBuf;

use kraft_model::{ClusterId, DirectoryId, Incarnation, ReplicaKey};

use crate::config::NodeConfig;
use crate::storage::{DirectoryLock, MetaProperties, StorageError};

/// A node's directories, locked, and what they say.
#[derive(Debug)]
pub struct Identity {
    pub cluster: ClusterId,
    /// The node in the quorum: its id and the metadata directory's id.
    pub me: ReplicaKey,
    /// The ids of `log.dirs`, in their order.
    pub directories: Vec<DirectoryId>,
    /// Chosen anew at every start.
    pub incarnation: Incarnation,
    _locks: Vec<DirectoryLock>,
}

/// Why the directories cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(
        "{path} is not formatted: run `kraft storage format --cluster-id ID --config FILE` first \
         (`kraft storage random-uuid` makes an id)"
    )]
    NotFormatted { path: PathBuf },
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
        if !paths.contains(&config.metadata_log_dir) {
            paths.push(config.metadata_log_dir.clone());
        }
        let mut locks = Vec::new();
        let mut found: Vec<(PathBuf, MetaProperties)> = Vec::new();
        for path in paths {
            locks.push(DirectoryLock::acquire(&path)?);
            let properties = MetaProperties::read(&path)?
                .ok_or_else(|| IdentityError::NotFormatted { path: path.clone() })?;
            if properties.node != config.node_id {
                let (found, configured) = (properties.node.0, config.node_id.0);
                return Err(IdentityError::NodeId { path, found, configured });
            }
            if let Some((first, expected)) = found.first().map(|(p, m)| (p.clone(), m.cluster))
                && properties.cluster != expected
            {
                let found = properties.cluster;
                return Err(IdentityError::Cluster { path, found, first, expected });
            }
            found.push((path, properties));
        }
        let directory_of = |path: &PathBuf| {
            found.iter().find(|(at, _)| at == path).map(|(_, m)| m.directory).unwrap_or_default()
        };
        Ok(Identity {
            cluster: found.first().map(|(_, m)| m.cluster).unwrap_or_default(),
            me: ReplicaKey {
                id: config.node_id,
                directory: directory_of(&config.metadata_log_dir),
            },
            directories: config.log_dirs.iter().map(directory_of).collect(),
            incarnation: Incarnation(uuid::Uuid::new_v4().as_u128()),
            _locks: locks,
        })
    }
}
