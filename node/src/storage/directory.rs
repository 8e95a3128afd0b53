//! A log directory: who it belongs to, who uses it, how it was left, what is in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use kraft_model::{BrokerEpoch, ClusterId, DirectoryId, NodeId};
use rustix::fs::{FlockOperation, flock};

use super::checkpoint::{Checkpoint, PartitionOffsets};
use super::durable;
use super::error::{Context, StorageError};
use super::jobs::DELETED_DIR;
use super::metadata_log::METADATA_LOG;
use super::session;
use super::snapshot::Snapshots;
use super::voters::VoterNode;

const META_PROPERTIES: &str = "meta.properties";
const LOCK: &str = ".lock";
const CLEAN_SHUTDOWN: &str = ".kraft_cleanshutdown";

/// Our own key in `meta.properties`: where it is missing, Apache Kafka wrote the file.
const FORMAT_KEY: &str = "kraft.format";
const FORMAT: u32 = 1;

/// What `meta.properties` says (Kafka's format, version 1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MetaProperties {
    pub cluster: ClusterId,
    pub node: NodeId,
    pub directory: DirectoryId,
}

/// Prepares `dir` for `node` of `cluster`, with a new directory id. The directory is made if it is
/// not there.
///
/// # Errors
///
/// It is in use, was formatted before ([`StorageError::AlreadyFormatted`]), was formatted by Apache
/// Kafka, or holds anything else; then nothing in it is touched.
pub fn format(
    dir: &Path,
    cluster: ClusterId,
    node: NodeId,
) -> Result<MetaProperties, StorageError> {
    format_as(dir, MetaProperties { cluster, node, directory: new_directory_id() })
}

/// Like [`format`], with a directory id that was chosen before: a quorum's configuration may name it.
///
/// # Errors
///
/// As [`format`].
pub fn format_as(dir: &Path, properties: MetaProperties) -> Result<MetaProperties, StorageError> {
    format_voter(dir, properties, &[])
}

/// Like [`format_as`], for one of the first `voters` of a dynamic quorum (KIP-853): its metadata
/// log begins with who they are.
///
/// # Errors
///
/// As [`format`].
pub fn format_voter(
    dir: &Path,
    properties: MetaProperties,
    voters: &[VoterNode],
) -> Result<MetaProperties, StorageError> {
    let MetaProperties { cluster, node, .. } = properties;
    fs::create_dir_all(dir).context("create", dir)?;
    match read_meta(dir) {
        Ok(found) => {
            let (cluster, node) = (found.cluster, found.node);
            return Err(StorageError::AlreadyFormatted { dir: dir.to_owned(), cluster, node });
        }
        Err(StorageError::NotFormatted { .. }) => {}
        Err(error) => return Err(error),
    }
    for entry in fs::read_dir(dir).context("list", dir)? {
        let name = entry.context("list", dir)?.file_name();
        if name != LOCK && name != "lost+found" {
            let found = name.to_string_lossy().into_owned();
            return Err(StorageError::ForeignFiles { dir: dir.to_owned(), found });
        }
    }
    let _lock = lock(dir)?;
    if !voters.is_empty() {
        let log = dir.join(METADATA_LOG);
        fs::create_dir_all(&log).context("create", &log)?;
        Snapshots::new(&log).write_bootstrap(voters)?;
    }
    let text = format!(
        "version=1\ncluster.id={cluster}\nnode.id={node}\ndirectory.id={}\n{FORMAT_KEY}={FORMAT}\n",
        properties.directory
    );
    let path = dir.join(META_PROPERTIES);
    durable::replace_file(&path, text.as_bytes()).context("write", &path)?;
    Ok(properties)
}

/// A random id; as with Kafka none that begins with a dash, which command lines take for a flag.
fn new_directory_id() -> DirectoryId {
    loop {
        let id = DirectoryId(uuid::Uuid::new_v4().as_u128());
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}

/// Reads `meta.properties` without taking the directory.
///
/// # Errors
///
/// It is missing, not ours, or not complete.
pub fn read_meta(dir: &Path) -> Result<MetaProperties, StorageError> {
    let path = dir.join(META_PROPERTIES);
    let Some(bytes) = durable::read_if_there(&path).context("read", &path)? else {
        return Err(StorageError::NotFormatted { dir: dir.to_owned() });
    };
    let text = String::from_utf8_lossy(&bytes);
    let value = |key: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut pairs = lines.filter_map(|line| line.split_once('='));
        pairs.find(|(found, _)| found.trim() == key).map(|(_, value)| value.trim().to_owned())
    };
    match value(FORMAT_KEY) {
        None => return Err(StorageError::ForeignKafka { dir: dir.to_owned() }),
        Some(version) if version != FORMAT.to_string() => {
            let dir = dir.to_owned();
            return Err(StorageError::FormatVersion { dir, version, supported: FORMAT });
        }
        Some(_) => {}
    }
    let invalid = |reason: String| StorageError::MetaProperties { path: path.clone(), reason };
    let required = |key: &str| value(key).ok_or_else(|| invalid(format!("'{key}' is missing")));
    let id = |key: &str, error: kraft_model::InvalidUuid| invalid(format!("{key}: {error}"));
    let node: i32 = required("node.id")?
        .parse()
        .ok()
        .filter(|id| *id >= 0)
        .ok_or_else(|| invalid("node.id is not a number from 0 to 2147483647".to_owned()))?;
    Ok(MetaProperties {
        cluster: required("cluster.id")?.parse().map_err(|error| id("cluster.id", error))?,
        node: NodeId(node),
        directory: required("directory.id")?.parse().map_err(|error| id("directory.id", error))?,
    })
}

/// Whether all that the last process in `dir` wrote is still there: it stopped in order, or the machine
/// has been up ever since (L6). Looks without taking the directory.
///
/// # Errors
///
/// The device's.
pub fn is_left_whole(dir: &Path) -> Result<bool, StorageError> {
    Ok(dir.join(CLEAN_SHUTDOWN).exists() || session::read(dir)?.is_some())
}

/// A log directory that this process has taken for itself. Dropping it lets go of the lock.
#[derive(Debug)]
pub struct LogDirectory {
    path: PathBuf,
    pub properties: MetaProperties,
    /// The broker epoch with which the last stop was clean (L6), else `None`.
    pub clean_stop: Option<BrokerEpoch>,
    /// The broker epoch of the last process here, if all that it wrote is still there: its stop was
    /// clean, or the machine has been up ever since (L6).
    pub intact: Option<BrokerEpoch>,
    pub high_watermarks: PartitionOffsets,
    pub recovery_points: PartitionOffsets,
    pub log_starts: PartitionOffsets,
    /// Checkpoints that could not be read: what they would have said is not known.
    pub damaged_checkpoints: Vec<PathBuf>,
    _lock: File,
}

/// A partition's directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PartitionDirectory {
    pub topic: String,
    pub partition: i32,
    pub path: PathBuf,
}

impl LogDirectory {
    /// Takes a formatted directory. The mark of a clean stop is read and removed: from here on,
    /// ending in any other way than [`LogDirectory::close`] is unclean.
    ///
    /// # Errors
    ///
    /// Not formatted by kraft, in use, not writable.
    pub fn open(dir: &Path) -> Result<LogDirectory, StorageError> {
        let properties = read_meta(dir)?;
        let lock = lock(dir)?;
        let marker = dir.join(CLEAN_SHUTDOWN);
        let clean_stop = durable::read_if_there(&marker)
            .context("read", &marker)?
            .and_then(|bytes| String::from_utf8(bytes).ok()?.trim().parse().ok().map(BrokerEpoch));
        if marker.exists() {
            fs::remove_file(&marker).context("delete", &marker)?;
            durable::sync_dir(dir).context("sync", dir)?;
        }
        let mut opened = LogDirectory {
            path: dir.to_owned(),
            properties,
            clean_stop,
            intact: clean_stop.or(session::read(dir)?),
            high_watermarks: PartitionOffsets::new(),
            recovery_points: PartitionOffsets::new(),
            log_starts: PartitionOffsets::new(),
            damaged_checkpoints: Vec::new(),
            _lock: lock,
        };
        opened.high_watermarks = opened.read_checkpoint(Checkpoint::HighWatermark)?;
        opened.recovery_points = opened.read_checkpoint(Checkpoint::RecoveryPoint)?;
        opened.log_starts = opened.read_checkpoint(Checkpoint::LogStart)?;
        Ok(opened)
    }

    /// A damaged checkpoint is an empty one, and the stop before it not clean: everything is
    /// scanned.
    fn read_checkpoint(&mut self, which: Checkpoint) -> Result<PartitionOffsets, StorageError> {
        match which.read(&self.path) {
            Err(StorageError::Checkpoint { path, .. }) => {
                self.damaged_checkpoints.push(path);
                self.clean_stop = None;
                self.intact = None;
                Ok(PartitionOffsets::new())
            }
            result => result,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of a partition's log.
    pub fn partition_path(&self, topic: &str, partition: i32) -> PathBuf {
        self.path.join(format!("{topic}-{partition}"))
    }

    /// The partitions that are there, in the order of their names, and the directories that a
    /// deletion has left behind.
    ///
    /// # Errors
    ///
    /// The directory cannot be listed.
    pub fn partitions(&self) -> Result<(Vec<PartitionDirectory>, Vec<PathBuf>), StorageError> {
        let (mut partitions, mut deleted) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.path).context("list", &self.path)? {
            let path = entry.context("list", &self.path)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if !path.is_dir() || name == METADATA_LOG {
                continue;
            }
            if name.ends_with(DELETED_DIR) && name.contains('.') {
                deleted.push(path);
            } else if let Some((topic, partition)) = name.rsplit_once('-')
                && let Ok(partition) = partition.parse()
            {
                let topic = topic.to_owned();
                partitions.push(PartitionDirectory { topic, partition, path });
            }
        }
        partitions.sort_unstable();
        Ok((partitions, deleted))
    }

    /// Notes the registration under which the directory is used from now on.
    ///
    /// # Errors
    ///
    /// The device's.
    pub fn registered(&self, epoch: BrokerEpoch) -> Result<(), StorageError> {
        session::write(&self.path, epoch)
    }

    /// A write here has failed: whoever is killed now may have lost something.
    ///
    /// # Errors
    ///
    /// The device's.
    pub fn failed(&self) -> Result<(), StorageError> {
        session::forget(&self.path)
    }

    /// Says that everything is on disk and the checkpoints are written, and lets go of the
    /// directory (L6). Call it after every log's close job succeeded.
    ///
    /// # Errors
    ///
    /// The device's; then the stop was not clean.
    pub fn close(self, broker_epoch: BrokerEpoch) -> Result<(), StorageError> {
        let marker = self.path.join(CLEAN_SHUTDOWN);
        durable::replace_file(&marker, format!("{broker_epoch}\n").as_bytes())
            .context("write", &marker)
    }
}

/// Takes the directory for this process, as long as the file is open.
fn lock(dir: &Path) -> Result<File, StorageError> {
    let path = dir.join(LOCK);
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StorageError::NotWritable { dir: dir.to_owned(), source }
        }
        _ => StorageError::Io { operation: "open", path: path.clone(), source },
    })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(StorageError::Locked { dir: dir.to_owned(), pid });
        }
        Err(error) => return Err(io::Error::from(error)).context("lock", &path),
    }
    let written = (|| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    })();
    written.map_err(|source| StorageError::NotWritable { dir: dir.to_owned(), source })?;
    Ok(file)
}
