//! Nodes and their keys in a byte each.

use crate::{DirectoryId, NodeId, ReplicaKey};

/// Nodes of the largest configuration.
pub(super) const MAX_NODES: usize = 5;

/// A node's key by its directory, of which the lowest four bits are its id and the others count
/// how often its disk was wiped.
pub(super) type SmallKey = u8;

/// The key with this directory.
pub(super) fn key_of(directory: SmallKey) -> ReplicaKey {
    ReplicaKey {
        id: NodeId(i32::from(directory & 15)),
        directory: DirectoryId(u128::from(directory)),
    }
}

/// The key of the node with this index on its first disk.
pub(super) fn key(index: usize) -> ReplicaKey {
    key_of(index as u8 + 1)
}

/// Its key on the disk that it has after the first was wiped.
pub(super) fn second_key(index: usize) -> ReplicaKey {
    key_of(16 | (index as u8 + 1))
}

pub(super) fn id(index: usize) -> NodeId {
    NodeId(index as i32 + 1)
}

/// The index of the node with this id.
pub(super) fn index(id: NodeId) -> usize {
    id.0 as usize - 1
}
