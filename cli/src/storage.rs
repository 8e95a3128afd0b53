//! `meta.properties`: whose data a directory holds. The node reads the same file.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::report::{Context, Failure};

const FILE: &str = "meta.properties";
/// Kafka's form of the file since KRaft.
const VERSION: &str = "1";

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Identity {
    pub cluster_id: String,
    pub node_id: i32,
    pub directory_id: String,
}

/// Writes `meta.properties` into `dir`, durably. A directory that holds anything is refused.
pub fn format(dir: &Path, identity: &Identity) -> Result<(), Failure> {
    let failed = || format!("cannot format '{}'", dir.display());
    std::fs::create_dir_all(dir).doing(failed)?;
    if std::fs::read_dir(dir).doing(failed)?.next().is_some() {
        let why = match read(dir)? {
            Some(found) => format!(
                "it is formatted already: node {} of cluster {}",
                found.node_id, found.cluster_id
            ),
            None => "it is not empty".to_owned(),
        };
        return Err(Failure::new(failed())
            .because(why)
            .next("empty it yourself if nothing in it is needed, or name another in log.dirs"));
    }
    let text = format!(
        "version={VERSION}\ncluster.id={}\nnode.id={}\ndirectory.id={}\n",
        identity.cluster_id, identity.node_id, identity.directory_id
    );
    let new = dir.join("meta.properties.new");
    let written = (|| {
        let mut file = std::fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, dir.join(FILE))?;
        std::fs::File::open(dir)?.sync_all()
    })();
    written.doing(failed)
}

/// `None` if `dir` is not formatted.
pub fn read(dir: &Path) -> Result<Option<Identity>, Failure> {
    let path = dir.join(FILE);
    let failed = || format!("cannot read {}", path.display());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).doing(failed),
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let keys: BTreeMap<_, _> = lines.filter_map(|line| line.split_once('=')).collect();
    let value = |key: &str| {
        let value = keys.get(key).map(|value| value.trim().to_owned());
        value.ok_or_else(|| Failure::new(failed()).because(format!("'{key}' is missing")))
    };
    let node_id = value("node.id")?;
    Ok(Some(Identity {
        cluster_id: value("cluster.id")?,
        node_id: node_id.parse().map_err(|_| {
            Failure::new(failed()).because(format!("node.id '{node_id}' is not a number"))
        })?,
        directory_id: value("directory.id")?,
    }))
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
        format(dir.path(), &identity).expect("it is empty");
        assert_eq!(read(dir.path()).expect("it is readable"), Some(identity.clone()));
        let again = format(dir.path(), &identity).expect_err("it is formatted");
        assert!(again.to_string().contains("node 2 of cluster TWtVM09FVkJOVGN3TlRKRQ"));
    }
}
