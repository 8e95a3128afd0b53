//! The metadata log: `__cluster_metadata-0/` with segments, snapshots and the quorum state.
//!
//! It differs from a data log in what it promises: everything is read and checked at every start,
//! everything is synced before it counts, and damage is remembered until it is mended. Its recent
//! end stays in memory, so that followers that keep up cost no reads.

mod damage;
mod machine;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use kraft_model::raft::SnapshotId;
use kraft_model::{Offset, ReplicaKey};

use crate::storage::durable;
use crate::storage::error::{Context, StorageError};
use crate::storage::files::OpenFiles;
use crate::storage::jobs::{DeleteJob, FlushJob, Flushed};
use crate::storage::log::{LogConfig, SegmentedLog};
use crate::storage::read::not_a_batch;
use crate::storage::records::Records;
use crate::storage::recovery::{OpenState, Recovery};
use crate::storage::snapshot::Snapshots;
use crate::storage::voters::{VoterEndpoint, VoterHistory, VoterNode, VoterSet};

pub use damage::ForgetDamage;
pub(super) use damage::damage_path;
use damage::remembered_damage;

/// The directory's name in `metadata.log.dir`.
pub const METADATA_LOG: &str = "__cluster_metadata-0";

/// Bytes that one read hands out, beyond a first batch that is larger.
const READ_BYTES: usize = 1 << 20;

/// Recently appended bytes that stay in memory: what a follower lags by in a bad second.
const TAIL_BYTES: usize = 8 << 20;

/// Files held open: the active segment with its indexes, and a few old ones for laggards.
const OPEN_FILES: usize = 16;

/// What opening the metadata log found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetadataRecovery {
    pub log: Recovery,
    /// The log was damaged, now or at an earlier start, and once ended here: a voter grants no
    /// vote and does not stand until it has refetched past this.
    pub damaged: Option<Offset>,
    /// Snapshots that were no longer whole.
    pub damaged_snapshots: Vec<PathBuf>,
}

/// The quorum's log behind its machine.
#[derive(Debug)]
pub struct MetadataLog {
    log: SegmentedLog,
    /// The latest appends, in order, up to the log's end.
    tail: VecDeque<Records>,
    tail_bytes: usize,
    snapshots: Snapshots,
    latest: Option<SnapshotId>,
    damaged: Option<Offset>,
    voters: VoterHistory,
    /// Where voters are reached that the log does not name yet, or elsewhere than it says.
    noted: BTreeMap<ReplicaKey, Vec<VoterEndpoint>>,
}

impl MetadataLog {
    /// Opens the log in `dir`, which is made if it is not there. All of it is read and checked,
    /// and brought to disk: `flushed` is the end. Waits for the device.
    ///
    /// # Errors
    ///
    /// [`StorageError::NoSnapshot`] if the log's front is gone and no snapshot covers it (Q11,
    /// KAFKA-14240); the device's.
    pub fn open(
        dir: &Path,
        config: LogConfig,
    ) -> Result<(MetadataLog, MetadataRecovery), StorageError> {
        if !dir.exists() {
            fs::create_dir_all(dir).context("create", dir)?;
            durable::sync_parent(dir).context("sync the directory of", dir)?;
        }
        let snapshots = Snapshots::new(dir);
        let (latest, damaged_snapshots) = snapshots.newest()?;
        let state = OpenState { scan_all: true, ..OpenState::default() };
        // Nothing is older than a week's worth; segments end by size alone, and by snapshots.
        let config = LogConfig { sync_on_open: true, segment_ms: i64::MAX, ..config };
        let (log, recovery) = SegmentedLog::open(dir, config, OpenFiles::new(OPEN_FILES), state)?;
        let damaged = remembered_damage(dir, &recovery)?;
        let mut opened = MetadataLog {
            log,
            tail: VecDeque::new(),
            tail_bytes: 0,
            snapshots,
            latest,
            damaged,
            voters: VoterHistory::default(),
            noted: BTreeMap::new(),
        };
        opened.fit_to_snapshot()?;
        opened.recover_voters()?;
        let recovery = MetadataRecovery { log: recovery, damaged, damaged_snapshots };
        Ok((opened, recovery))
    }

    /// Brings log and snapshot together: a crash may have come between installing the one and
    /// cutting the other.
    fn fit_to_snapshot(&mut self) -> Result<(), StorageError> {
        let start = self.log.start();
        match self.latest {
            Some(snapshot) if self.differs_from(snapshot) => self.log.restart_at(snapshot.end),
            Some(snapshot) if snapshot.end >= start => {}
            None if start == Offset::ZERO => {}
            _ => return Err(StorageError::NoSnapshot { dir: self.log.dir().to_owned(), start }),
        }
        let flushed = self.log.flush_job().run()?;
        self.log.flushed_up_to(flushed);
        Ok(())
    }

    /// The log ends before the snapshot, or holds something else where the snapshot ends.
    fn differs_from(&self, snapshot: SnapshotId) -> bool {
        if self.log.end() < snapshot.end {
            return true;
        }
        let below = Offset(snapshot.end.0 - 1);
        below >= self.log.start() && self.log.epoch_at(below) != Some(snapshot.epoch.0)
    }

    /// The first failed write; the process must stop.
    pub fn failure(&self) -> Option<&StorageError> {
        self.log.failure()
    }

    /// See [`MetadataRecovery::damaged`]; `None` once the log was refetched.
    pub fn damaged(&self) -> Option<Offset> {
        self.damaged
    }

    /// A job that brings everything to disk; report it to [`MetadataLog::flushed_up_to`].
    pub fn flush_job(&mut self) -> FlushJob {
        self.log.flush_job()
    }

    /// A flush job succeeded. Once everything that was damaged is there again, says so by
    /// returning the work of forgetting the damage, to be run where waiting is allowed.
    pub fn flushed_up_to(&mut self, flushed: Flushed) -> Option<ForgetDamage> {
        self.log.flushed_up_to(flushed);
        let is_mended = self.damaged.is_some_and(|end| self.log.flushed() >= end);
        is_mended.then(|| {
            self.damaged = None;
            ForgetDamage { dir: self.log.dir().to_owned() }
        })
    }

    /// Reads who votes out of snapshot and log.
    fn recover_voters(&mut self) -> Result<(), StorageError> {
        self.voters.begin(self.voters_before()?);
        // The snapshot has spoken for what the log still holds below its end.
        let mut from = self.latest.map_or(self.log.start(), |snapshot| snapshot.end);
        while from < self.log.end() {
            let path = self.log.dir();
            let records = self.read_disk(from).context("read the log in", path)?;
            self.voters.append(&records).map_err(not_a_batch).context("read the log in", path)?;
            from = records.end;
        }
        Ok(())
    }

    /// The voters in force where the log begins.
    fn voters_before(&self) -> Result<Option<VoterSet>, StorageError> {
        match self.latest {
            Some(snapshot) => self.snapshots.voters(snapshot),
            None => self.snapshots.bootstrap(),
        }
    }

    /// The log begins anew behind its latest snapshot.
    fn begin_voters(&mut self) {
        match self.voters_before() {
            Ok(base) => self.voters.begin(base),
            Err(error) => self.log.fail(error),
        }
    }

    fn note_voters(&mut self, records: &Records) {
        if let Err(error) = self.voters.append(records) {
            let (path, source) = (self.log.dir().to_owned(), not_a_batch(error));
            self.log.fail(StorageError::Io { operation: "append to the log in", path, source });
        }
    }

    /// The voters in force, committed or not, and where they are reached; none in a static quorum.
    pub fn voters(&self) -> &[VoterNode] {
        self.voters.last().map_or(&[], |set| &set.voters)
    }

    /// The voters in force at `end`, for a snapshot that ends there.
    pub fn voters_at(&self, end: Offset) -> &[VoterNode] {
        self.voters.below(end).map_or(&[], |set| &set.voters)
    }

    /// Tells where a voter is reached that a record may soon name. `false`: that was told already.
    pub fn note_endpoints(&mut self, voter: VoterNode) -> bool {
        match self.noted.entry(voter.key) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(voter.endpoints);
                true
            }
        }
    }

    /// Forgets what [`MetadataLog::note_endpoints`] was told.
    pub fn forget_endpoints(&mut self, key: ReplicaKey) {
        self.noted.remove(&key);
    }

    fn with_endpoints(&self, key: ReplicaKey) -> VoterNode {
        let known = self.voters().iter().find(|voter| voter.key == key);
        let endpoints = self.noted.get(&key).or(known.map(|voter| &voter.endpoints));
        VoterNode { key, endpoints: endpoints.cloned().unwrap_or_default() }
    }

    /// The snapshots beside the log, for writing and loading them.
    pub fn snapshots(&self) -> Snapshots {
        self.snapshots.clone()
    }

    /// A snapshot was put in place by [`Snapshots`]: it is the latest one if it reaches furthest.
    pub fn snapshot_stored(&mut self, snapshot: SnapshotId) {
        self.latest = self.latest.max(Some(snapshot));
    }

    /// Files that cutting and truncating have set aside.
    pub fn take_garbage(&mut self) -> Option<DeleteJob> {
        self.log.take_garbage()
    }

    pub fn size(&self) -> u64 {
        self.log.size()
    }

    pub fn dir(&self) -> &Path {
        self.log.dir()
    }

    fn remember(&mut self, records: Records) {
        if self.log.failure().is_some() || records.end != self.log.end() {
            return;
        }
        self.tail_bytes += records.bytes.len();
        self.tail.push_back(records);
        while self.tail_bytes > TAIL_BYTES && self.tail.len() > 1 {
            let forgotten = self.tail.pop_front().map_or(0, |oldest| oldest.bytes.len());
            self.tail_bytes -= forgotten;
        }
    }

    fn forget_tail_from(&mut self, to: Offset) {
        while self.tail.back().is_some_and(|last| last.end > to) {
            let forgotten = self.tail.pop_back().map_or(0, |last| last.bytes.len());
            self.tail_bytes -= forgotten;
        }
    }

    /// From memory: the appends from the one that holds `from` on, as one.
    fn read_tail(&self, from: Offset) -> Option<Records> {
        let first = self.tail.partition_point(|records| records.end <= from);
        let head = self.tail.get(first).filter(|records| records.base <= from)?;
        let (at, batch) = head.batches().find(|(_, batch)| batch.end() > from)?;
        let mut joined =
            Records { bytes: head.bytes.slice(at..), base: batch.base, ..head.clone() };
        let mut total = joined.bytes.len();
        let more: Vec<_> = self
            .tail
            .range(first + 1..)
            .take_while(|records| {
                total += records.bytes.len();
                total <= READ_BYTES
            })
            .collect();
        if let Some(last) = more.last() {
            let mut bytes = BytesMut::from(&joined.bytes[..]);
            more.iter().for_each(|records| bytes.extend_from_slice(&records.bytes));
            (joined.end, joined.last_epoch) = (last.end, last.last_epoch);
            joined.bytes = bytes.freeze();
        }
        Some(joined)
    }

    fn read_disk(&self, from: Offset) -> std::io::Result<Records> {
        let bytes = self.log.read(from, READ_BYTES, self.log.end())?.run()?;
        Records::parse(bytes).map_err(not_a_batch)
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as i64
}
