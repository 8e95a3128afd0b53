//! Logs on disk: Kafka's record batches in Kafka's segments, so that Kafka's own tools read them.
//!
//! ```text
//!  replica machine ──▶ PartitionLog ─┐                ┌─▶ page cache (append, truncate)
//!                                    ├─▶ SegmentedLog ┤
//!  quorum machine ───▶ MetadataLog ──┘                └─▶ FlushJob, ReadPlan, DeleteJob ...
//!                          │                              run where waiting is allowed
//!                          └─▶ Snapshots, quorum-state
//! ```
//!
//! Read on: [`PartitionLog`] and [`MetadataLog`] are what machines hold, [`LogDirectory`] is what
//! they live in, [`scan_segment`] is what recovery believes, [`DataView`] and [`MetadataView`] look at
//! the logs of another process.

mod build;
mod checkpoint;
mod directory;
mod durable;
mod error;
mod files;
mod index;
mod jobs;
mod log;
mod metadata_log;
mod partition;
mod producers;
mod quorum_state;
mod read;
mod records;
mod recovery;
mod retention;
mod scan;
mod segment;
mod session;
mod snapshot;
mod timestamp;
mod truncate;
mod view;
mod voters;

pub use build::{RecordView, records, values};
pub use checkpoint::{Checkpoint, PartitionOffsets};
pub use directory::{
    LogDirectory, MetaProperties, PartitionDirectory, format, format_as, format_voter,
    is_left_whole, read_meta,
};
pub use error::StorageError;
pub use files::OpenFiles;
pub use jobs::{DeleteJob, FlushJob, Flushed};
pub use log::{LogConfig, SegmentedLog};
pub use metadata_log::{ForgetDamage, METADATA_LOG, MetadataLog, MetadataRecovery};
pub use partition::PartitionLog;
pub use quorum_state::{read_quorum_state, write_quorum_state};
pub use read::ReadPlan;
pub use records::{BatchError, RecordBatch, Records};
pub use recovery::{Damage, OpenState, Recovery};
pub use scan::{Scan, Verdict, former_end, scan_segment};
pub use snapshot::{SNAPSHOT_CHUNK, SnapshotReader, SnapshotWriter, Snapshots};
pub use timestamp::{TimestampHit, TimestampPlan};
pub use view::{BatchView, DataView, Depth, MetadataBatch, MetadataView, Stop, find_replica};
pub use voters::{VoterEndpoint, VoterNode};
