//! The `quorum-state` file: epoch, leader and vote, on disk before anything is said (Q2).
//!
//! Kafka's JSON and names, with a checksum of our own: a flipped digit must not become another
//! epoch or another vote.

use std::path::{Path, PathBuf};

use kraft_model::raft::StoredState;
use kraft_model::{DirectoryId, Epoch, NodeId, ReplicaKey};
use serde::{Deserialize, Serialize};

use super::durable;
use super::error::{Context, StorageError};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content {
    leader_id: i32,
    leader_epoch: i32,
    voted_id: i32,
    voted_directory_id: DirectoryText,
    #[serde(rename = "data_version")]
    data_version: u32,
    /// Of the fields above, as text.
    crc32c: u32,
}

/// A directory id in its 22 characters.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct DirectoryText(String);

const NOBODY: i32 = -1;
const DATA_VERSION: u32 = 1;

fn path(dir: &Path) -> PathBuf {
    dir.join("quorum-state")
}

impl Content {
    fn of(state: &StoredState) -> Content {
        let vote =
            state.vote.unwrap_or(ReplicaKey { id: NodeId(NOBODY), directory: DirectoryId::ZERO });
        let mut content = Content {
            leader_id: state.leader.map_or(NOBODY, |leader| leader.0),
            leader_epoch: state.epoch.0,
            voted_id: vote.id.0,
            voted_directory_id: DirectoryText(vote.directory.to_string()),
            data_version: DATA_VERSION,
            crc32c: 0,
        };
        content.crc32c = content.checksum();
        content
    }

    fn checksum(&self) -> u32 {
        let text = format!(
            "{} {} {} {} {}",
            self.leader_id,
            self.leader_epoch,
            self.voted_id,
            self.voted_directory_id.0,
            self.data_version
        );
        crc32c::crc32c(text.as_bytes())
    }

    fn state(&self) -> Result<StoredState, String> {
        if self.crc32c != self.checksum() {
            return Err("its checksum does not fit its content".to_owned());
        }
        if self.data_version != DATA_VERSION {
            return Err(format!("data_version {} is not {DATA_VERSION}", self.data_version));
        }
        let directory = self.voted_directory_id.0.parse();
        let directory = directory.map_err(|error: kraft_model::InvalidUuid| error.to_string())?;
        let known = |id| (id != NOBODY).then_some(NodeId(id));
        Ok(StoredState {
            epoch: Epoch(self.leader_epoch),
            leader: known(self.leader_id),
            vote: known(self.voted_id).map(|id| ReplicaKey { id, directory }),
        })
    }
}

/// Reads the stored state from the metadata log's directory; the default where there is none yet.
///
/// # Errors
///
/// [`StorageError::QuorumState`] if the file is damaged: then this node's vote is unknown, and it
/// must not take part under its directory id.
pub fn read_quorum_state(dir: &Path) -> Result<StoredState, StorageError> {
    let path = path(dir);
    let Some(bytes) = durable::read_if_there(&path).context("read", &path)? else {
        return Ok(StoredState::default());
    };
    let content: Result<Content, _> = serde_json::from_slice(&bytes);
    content
        .map_err(|error| error.to_string())
        .and_then(|content| content.state())
        .map_err(|reason| StorageError::QuorumState { path, reason })
}

/// Replaces the stored state; durable on return. Waits for the device.
///
/// # Errors
///
/// The device's; the process must stop then.
pub fn write_quorum_state(dir: &Path, state: &StoredState) -> Result<(), StorageError> {
    let path = path(dir);
    let text = serde_json::to_vec(&Content::of(state))
        .map_err(std::io::Error::from)
        .context("write", &path)?;
    durable::replace_file(&path, &text).context("write", &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_is_read_back_and_no_flipped_bit_turns_it_into_another() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let vote = ReplicaKey { id: NodeId(2_000_000_000), directory: DirectoryId(77 << 64) };
        let state = StoredState { epoch: Epoch(12), leader: None, vote: Some(vote) };
        assert_eq!(read_quorum_state(dir.path()).expect("absent"), StoredState::default());
        write_quorum_state(dir.path(), &state).expect("writes");
        assert_eq!(read_quorum_state(dir.path()).expect("reads"), state);

        let whole = std::fs::read(path(dir.path())).expect("is there");
        for at in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            std::fs::write(path(dir.path()), flipped).expect("writes");
            let read = read_quorum_state(dir.path());
            assert!(
                matches!(&read, Err(StorageError::QuorumState { .. })),
                "bit {at} gave {read:?}"
            );
        }
    }
}
