//! A log in a directory of its own, and batches to put into it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kraft_model::log::Log;
use kraft_model::replica::DataLog;
use kraft_model::{LeaderEpoch, Offset, TopicId};
use kraft_node::storage::{
    LogConfig, OpenFiles, OpenState, PartitionLog, Records, Recovery, StorageError,
};

pub const TOPIC: TopicId = TopicId(0xfeed);

/// A directory for one test, in memory where the system has a place for that: what is tested is
/// the order of things, not the device, and thousands of fsyncs take their time.
pub fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let in_memory = memory.is_dir().then(|| tempfile::tempdir_in(memory).ok()).flatten();
    in_memory.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

/// Small segments and dense indexes, so that little data goes everywhere.
pub fn small() -> LogConfig {
    LogConfig { segment_bytes: 4096, index_interval_bytes: 256, ..LogConfig::default() }
}

pub struct Home {
    pub dir: tempfile::TempDir,
    pub config: LogConfig,
}

impl Home {
    pub fn new(config: LogConfig) -> Home {
        Home { dir: directory(), config }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("orders-0")
    }

    pub fn create(&self) -> PartitionLog {
        PartitionLog::create(&self.path(), TOPIC, self.config, OpenFiles::new(64)).unwrap()
    }

    pub fn open(&self, state: OpenState) -> (PartitionLog, Recovery) {
        self.try_open(state).unwrap()
    }

    pub fn try_open(&self, state: OpenState) -> Result<(PartitionLog, Recovery), StorageError> {
        PartitionLog::open(&self.path(), TOPIC, self.config, OpenFiles::new(64), state)
    }

    /// As after `kill -9`, with nothing known to be on disk.
    pub fn crash(&self) -> (PartitionLog, Recovery) {
        self.open(OpenState::default())
    }

    pub fn close(&self, mut log: PartitionLog) {
        let flushed = log.close_job().run().unwrap();
        log.flushed_up_to(flushed);
        assert_eq!(log.flushed(), log.end());
    }

    pub fn reopen(&self, state: OpenState) -> (PartitionLog, Recovery) {
        self.open(OpenState { clean: true, ..state })
    }

    /// The files whose names end like this, in order.
    pub fn files(&self, suffix: &str) -> Vec<PathBuf> {
        files(&self.path(), suffix)
    }
}

pub fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        entries.filter(|path| path.to_string_lossy().ends_with(suffix)).collect();
    found.sort();
    found
}

/// One batch as a client sends it: `count` records of `size` bytes at `timestamp`.
pub fn batch(count: usize, size: usize, timestamp: i64) -> Records {
    let value = vec![0xa5; size];
    let values = std::iter::repeat_n(&value[..], count);
    Records::build(Offset::ZERO, 0, timestamp, false, values)
}

/// The same from idempotent producer `id`, with its sequence.
pub fn from_producer(count: usize, id: i64, sequence: i32) -> Records {
    let mut bytes = batch(count, 10, 1).bytes.to_vec();
    bytes[43..51].copy_from_slice(&id.to_be_bytes());
    bytes[51..53].copy_from_slice(&0i16.to_be_bytes());
    bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Records::parse(bytes.into()).unwrap()
}

pub fn append(log: &mut PartitionLog, epoch: i32, records: Records) {
    log.append_as_leader(LeaderEpoch(epoch), records);
    assert!(log.failure().is_none(), "{:?}", log.failure());
}

/// All that can be read from `from` on, batch by batch, with the CRCs checked.
pub fn read_all(log: &PartitionLog, from: Offset) -> Option<Records> {
    let bytes = log.read(from, usize::MAX >> 1, log.end()).unwrap().run().unwrap();
    (!bytes.is_empty()).then(|| Records::parse(bytes).unwrap())
}

/// The bases of all batches, segment by segment.
pub fn bases(log: &PartitionLog) -> Vec<i64> {
    let (mut from, mut bases) = (log.start(), Vec::new());
    while let Some(records) = read_all(log, from) {
        bases.extend(records.batches().map(|(_, batch)| batch.base.0));
        from = records.end;
    }
    assert_eq!(from, log.end(), "what can be read ends at the log's end");
    bases
}

/// A small deterministic generator (a linear congruence, its high bits).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0x9e37_79b9);
        (self.0 >> 33) % bound
    }
}

pub fn open_files(capacity: usize) -> Arc<OpenFiles> {
    OpenFiles::new(capacity)
}
