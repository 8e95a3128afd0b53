//! A machine's disk: what a process finds when it starts, and what a crash takes.

pub mod batch;
pub mod data_log;
pub mod metadata_log;

use std::collections::BTreeMap;

use crate::log::Log;
use crate::raft::{StoredState, Voters};
use crate::{BrokerEpoch, DirectoryId, NodeId, TopicPartition};

use super::random::Random;
pub use batch::{Chunk, MetaBatch, Snapshot};
pub use data_log::{DataRecord, PartitionLog, Run};
pub use metadata_log::{Loss, MetaLog};

/// One partition's files.
#[derive(Clone, Debug)]
pub struct DataFile {
    pub log: PartitionLog,
    /// The checkpoints, as they were last written.
    pub high_watermark: i64,
    pub recovery_point: i64,
    /// An fsync failed: what was not on disk before may never be, whoever reads it back now.
    pub is_suspect: bool,
}

impl DataFile {
    pub fn new() -> DataFile {
        DataFile {
            log: PartitionLog::new(),
            high_watermark: 0,
            recovery_point: 0,
            is_suspect: false,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Disk {
    pub directory: DirectoryId,
    pub metadata: MetaLog,
    /// The quorum-state file, and what is being written over it.
    pub stored: StoredState,
    pub storing: Option<StoredState>,
    pub data: BTreeMap<TopicPartition, DataFile>,
    /// The clean-shutdown file.
    pub clean_stop: Option<BrokerEpoch>,
    /// The registration of the last process here, while the machine stays up: what was written is
    /// there.
    pub session: Option<BrokerEpoch>,
    /// The next write or fsync of this kind fails.
    pub fail_metadata: bool,
    pub fail_data: bool,
    /// Bits turned while the process ran; the next start finds out.
    pub rotten_metadata: bool,
    pub rotten_data: bool,
}

impl Disk {
    /// An empty one, with the voters that a dynamic quorum's log is formatted with.
    pub fn new(
        node: NodeId,
        directory: DirectoryId,
        read_batches: usize,
        formatted: Option<Voters>,
    ) -> Disk {
        let disk = (directory.0 >> 8) as u64 & 0xff;
        Disk {
            directory,
            metadata: MetaLog::new(node, disk, read_batches, formatted),
            stored: StoredState::default(),
            storing: None,
            data: BTreeMap::new(),
            clean_stop: None,
            session: None,
            fail_metadata: false,
            fail_data: false,
            rotten_metadata: false,
            rotten_data: false,
        }
    }

    /// The process ended: what it had written is there, but of a file that it was replacing nobody
    /// knows.
    pub fn kill(&mut self, random: &mut Random) {
        self.finish_store(random);
        self.metadata.kill();
        self.drop_suspects(random);
    }

    /// The process ended because its metadata log could not be written.
    pub fn break_down(&mut self, random: &mut Random) -> Loss {
        self.finish_store(random);
        self.drop_suspects(random);
        self.metadata.lose_power(random)
    }

    /// After a failed fsync the kernel forgets what it could not write.
    fn drop_suspects(&mut self, random: &mut Random) {
        for file in self.data.values_mut().filter(|file| file.is_suspect) {
            file.log.lose_power(random);
        }
    }

    pub fn has_suspects(&self) -> bool {
        self.data.values().any(|file| file.is_suspect)
    }

    /// The power went. What may be lost of each partition, whether or not it was this time.
    pub fn lose_power(&mut self, random: &mut Random) -> Loss {
        self.finish_store(random);
        self.session = None;
        let mut loss = self.metadata.lose_power(random);
        for file in self.data.values_mut() {
            let lost = file.log.lose_power(random);
            loss.torn |= lost > 0 && random.per_mille(500);
            loss.lost += lost.max(0);
        }
        loss
    }

    /// A file is replaced by a rename: whole, or not at all.
    fn finish_store(&mut self, random: &mut Random) {
        if let Some(state) = self.storing.take()
            && random.per_mille(500)
        {
            self.stored = state;
        }
    }

    /// The start of a process: recovery. Whether data is damaged below what was flushed or known to
    /// be committed.
    /// With `sync`, all that is there is brought to disk first (`log.flush=before-ack`).
    pub fn open(&mut self, sync: bool, random: &mut Random) -> bool {
        if std::mem::take(&mut self.rotten_metadata)
            && let Some(former) = self.metadata.rot(random)
        {
            self.metadata.damaged = self.metadata.damaged.max(Some(former));
        }
        let is_clean = self.clean_stop.is_some();
        let rots = std::mem::take(&mut self.rotten_data);
        let mut is_damaged = false;
        let victim = random.index(self.data.len().max(1));
        for (index, file) in self.data.values_mut().enumerate() {
            if rots && index == victim && file.log.rot(random).is_some() {
                // Nobody vouches for logs that are not whole.
                self.session = None;
                let end = file.log.end().0;
                is_damaged |= end < file.recovery_point || end < file.high_watermark;
            }
            let point = if is_clean { file.log.end().0 } else { file.recovery_point };
            file.log.reopen(point);
            file.is_suspect = false;
            if sync {
                file.log.flushed_up_to(file.log.end().0, true);
            }
        }
        is_damaged
    }
}
