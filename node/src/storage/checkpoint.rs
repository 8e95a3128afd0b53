//! Kafka's text checkpoints: a version line, a count line, one line an entry.
//!
//! `replication-offset-checkpoint`, `recovery-point-offset-checkpoint` and
//! `log-start-offset-checkpoint` hold `topic partition offset`; a partition's
//! `leader-epoch-checkpoint` holds `epoch startOffset`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use kraft_model::Offset;

use super::durable;
use super::error::{Context, StorageError};

/// Offsets by topic name and partition index.
pub type PartitionOffsets = BTreeMap<(String, i32), Offset>;

/// The checkpoints of a log directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checkpoint {
    HighWatermark,
    RecoveryPoint,
    LogStart,
}

impl Checkpoint {
    pub fn file_name(self) -> &'static str {
        match self {
            Checkpoint::HighWatermark => "replication-offset-checkpoint",
            Checkpoint::RecoveryPoint => "recovery-point-offset-checkpoint",
            Checkpoint::LogStart => "log-start-offset-checkpoint",
        }
    }

    /// Reads it from `dir`; an absent one is empty.
    pub fn read(self, dir: &Path) -> Result<PartitionOffsets, StorageError> {
        let path = dir.join(self.file_name());
        let Some(content) = durable::read_if_there(&path).context("read", &path)? else {
            return Ok(PartitionOffsets::new());
        };
        let lines = parse(&path, &content)?;
        lines.iter().map(|line| partition_line(&path, line)).collect()
    }

    /// Replaces it in `dir`, durably. Waits for the device: not on an arbiter.
    pub fn write(self, dir: &Path, offsets: &PartitionOffsets) -> Result<(), StorageError> {
        let mut text = format!("0\n{}\n", offsets.len());
        for ((topic, partition), offset) in offsets {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{topic} {partition} {offset}");
        }
        let path = dir.join(self.file_name());
        durable::replace_file(&path, text.as_bytes()).context("write", &path)
    }
}

fn partition_line(path: &Path, line: &str) -> Result<((String, i32), Offset), StorageError> {
    let mut words = line.split(' ');
    let parsed = (|| {
        let topic = words.next().filter(|topic| !topic.is_empty())?.to_owned();
        let partition = words.next()?.parse().ok().filter(|p| *p >= 0)?;
        let offset = words.next()?.parse().ok().filter(|o| *o >= 0)?;
        words.next().is_none().then_some(((topic, partition), Offset(offset)))
    })();
    parsed.ok_or_else(|| invalid(path, format!("'{line}' is not `topic partition offset`")))
}

/// The path of a partition's leader epoch checkpoint.
pub(super) fn epochs_path(dir: &Path) -> PathBuf {
    dir.join("leader-epoch-checkpoint")
}

/// Epochs and where they start, as the file `path` has them.
pub(super) fn parse_epochs(
    path: &Path,
    content: &[u8],
) -> Result<Vec<(i32, Offset)>, StorageError> {
    let lines = parse(path, content)?;
    let entry = |line: &&str| {
        let (epoch, start) = line.split_once(' ')?;
        Some((epoch.parse().ok()?, Offset(start.parse().ok()?)))
    };
    lines
        .iter()
        .map(|line| {
            entry(line).ok_or_else(|| invalid(path, format!("'{line}' is not `epoch offset`")))
        })
        .collect()
}

pub(super) fn epochs_text(epochs: &[(i32, Offset)]) -> String {
    let mut text = format!("0\n{}\n", epochs.len());
    for (epoch, start) in epochs {
        let _ = writeln!(text, "{epoch} {start}");
    }
    text
}

/// The entry lines of a checkpoint, as many as it announces.
fn parse<'a>(path: &Path, content: &'a [u8]) -> Result<Vec<&'a str>, StorageError> {
    let text = std::str::from_utf8(content).map_err(|_| invalid(path, "it is not text".into()))?;
    let mut lines = text.lines();
    if lines.next() != Some("0") {
        return Err(invalid(path, "its first line is not version 0".into()));
    }
    let count: usize = lines
        .next()
        .and_then(|count| count.parse().ok())
        .ok_or_else(|| invalid(path, "its second line is not a count".into()))?;
    let entries: Vec<_> = lines.collect();
    if entries.len() != count {
        let reason = format!("it announces {count} entries and has {}", entries.len());
        return Err(invalid(path, reason));
    }
    Ok(entries)
}

fn invalid(path: &Path, reason: String) -> StorageError {
    StorageError::Checkpoint { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_kafkas_text_and_reads_back() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let offsets = PartitionOffsets::from([
            (("orders".to_owned(), 0), Offset(12)),
            (("orders".to_owned(), 10), Offset(7)),
        ]);
        Checkpoint::HighWatermark.write(dir.path(), &offsets).expect("writes");
        let path = dir.path().join("replication-offset-checkpoint");
        let text = std::fs::read_to_string(path).expect("is there");
        assert_eq!(text, "0\n2\norders 0 12\norders 10 7\n");
        assert_eq!(Checkpoint::HighWatermark.read(dir.path()).expect("reads"), offsets);
        assert!(Checkpoint::LogStart.read(dir.path()).expect("absent is empty").is_empty());
    }

    #[test]
    fn a_cut_checkpoint_is_refused() {
        let path = Path::new("leader-epoch-checkpoint");
        assert!(parse_epochs(path, b"0\n2\n1 0\n").is_err());
        assert!(parse_epochs(path, b"1\n0\n").is_err());
        assert_eq!(
            parse_epochs(path, b"0\n2\n1 0\n4 20\n").expect("is whole"),
            vec![(1, Offset(0)), (4, Offset(20))]
        );
    }
}
