//! Formatting directories and reading whose they are, through the node's own code.

use std::path::Path;

use kraft_model::NodeId;
use kraft_node::storage::{MetaProperties, StorageError, VoterNode, format_voter, read_meta};
use serde::Serialize;

use crate::report::Failure;

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Identity {
    pub cluster_id: String,
    pub node_id: i32,
    pub directory_id: String,
}

/// Writes `meta.properties` into `dir`, durably. A directory that holds anything is refused.
/// `voters` are the first ones of a dynamic quorum, if the metadata log will be here and begins
/// with them.
pub fn format(dir: &Path, identity: &Identity, voters: &[VoterNode]) -> Result<(), Failure> {
    let failed = || Failure::new(format!("cannot format '{}'", dir.display()));
    let properties = MetaProperties {
        cluster: identity.cluster_id.parse().map_err(|error| failed().because(error))?,
        node: NodeId(identity.node_id),
        directory: identity.directory_id.parse().map_err(|error| failed().because(error))?,
    };
    format_voter(dir, properties, voters).map(drop).map_err(|error| failed().because(error))
}

/// `None` if `dir` is not formatted.
pub fn read(dir: &Path) -> Result<Option<Identity>, Failure> {
    match read_meta(dir) {
        Ok(found) => Ok(Some(Identity {
            cluster_id: found.cluster.to_string(),
            node_id: found.node.0,
            directory_id: found.directory.to_string(),
        })),
        Err(StorageError::NotFormatted { .. }) => Ok(None),
        Err(error) => Err(Failure::new(format!("cannot use '{}'", dir.display())).because(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formatted_directory_says_whose_it_is_and_is_not_formatted_again() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let identity = Identity {
            cluster_id: "TWtVM09FVkJOVGN3TlRKRQ".to_owned(),
            node_id: 2,
            directory_id: crate::ids::random_id(),
        };
        format(dir.path(), &identity, &[]).expect("it is empty");
        assert_eq!(read(dir.path()).expect("it is readable"), Some(identity.clone()));
        let again = format(dir.path(), &identity, &[]).expect_err("it is formatted");
        assert!(again.to_string().contains("TWtVM09FVkJOVGN3TlRKRQ"), "{again}");
    }
}
