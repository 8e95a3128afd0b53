//! The directories of partitions: what they are called, and which topic each is of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use kraft_model::metadata::METADATA_TOPIC;
use kraft_model::{TopicId, TopicPartition};

use super::disks::OpenError;

const METADATA: &str = "partition.metadata";
const DELETED: &str = "-delete";

/// A partition's directory.
pub(super) struct Home {
    pub path: PathBuf,
    pub topic: Arc<str>,
    pub id: TopicPartition,
}

/// The partitions in a log directory, in order; what was being deleted is deleted.
pub(super) fn partitions_in(directory: &Path) -> Result<Vec<Home>, OpenError> {
    let mut homes = Vec::new();
    let failed = |source| io_error("list", directory, directory, source);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if !path.is_dir() {
            continue;
        }
        if name.ends_with(DELETED) {
            remove(&path);
        } else if let Some((topic, partition)) = topic_partition(name) {
            let topic: Arc<str> = topic.into();
            let Some(id) = topic_id(directory, &path)? else { continue };
            let id = TopicPartition { topic: id, partition };
            homes.push(Home { path, topic, id });
        }
    }
    homes.sort_by_key(|home| home.id);
    Ok(homes)
}

/// A partition that has two directories, as after a copy to another disk: which of the logs holds
/// what was acknowledged, only the operator knows.
pub(super) fn none_twice<'a>(homes: impl Iterator<Item = &'a Home>) -> Result<(), OpenError> {
    let mut seen = BTreeMap::new();
    for home in homes {
        if let Some(first) = seen.insert(home.id, &home.path) {
            let directory = home.path.parent().unwrap_or(&home.path).to_owned();
            return Err(OpenError::Twice {
                directory,
                first: first.clone(),
                second: home.path.clone(),
            });
        }
    }
    Ok(())
}

/// `topic-3` is partition 3 of `topic`; the metadata log's directory is nobody's partition.
fn topic_partition(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let is_number = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !topic.is_empty() && topic != METADATA_TOPIC)
        .then_some((topic, partition.parse().ok()?))
}

/// The topic id in `partition.metadata`. A directory without that file, or with an empty one, is one
/// whose creation was cut short: the file is on disk before any record is, so that nothing in there
/// was flushed. It is made anew when it is wanted.
pub(super) fn topic_id(directory: &Path, path: &Path) -> Result<Option<TopicId>, OpenError> {
    let path = path.join(METADATA);
    let text = match fs::read_to_string(&path) {
        Ok(text) if text.is_empty() => return Ok(None),
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error("read", directory, &path, source)),
    };
    let value = text.lines().find_map(|line| line.strip_prefix("topic_id:"));
    match value.and_then(|value| value.trim().parse().ok()) {
        Some(id) => Ok(Some(id)),
        None => Err(OpenError::Metadata { directory: directory.to_owned(), path }),
    }
}

pub(super) fn doomed_name(id: TopicPartition) -> String {
    format!("{}-{}{DELETED}", id.topic, id.partition)
}

pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        tracing::warn!(path = %path.display(), %error, "cannot delete a directory");
    }
}

pub(super) fn io_error(
    operation: &'static str,
    directory: &Path,
    path: &Path,
    source: io::Error,
) -> OpenError {
    OpenError::Io { operation, directory: directory.to_owned(), path: path.to_owned(), source }
}
