//! What is known of a log before it is opened, and what opening it found.

use std::path::PathBuf;

use kraft_model::Offset;

/// What the directory's checkpoints say of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpenState {
    /// The last stop was clean: everything is on disk and the indexes are complete.
    pub clean: bool,
    /// Check every batch, not only those above the recovery point.
    pub scan_all: bool,
    /// Everything below was on disk.
    pub recovery_point: Offset,
    pub log_start: Offset,
    pub high_watermark: Offset,
}

impl OpenState {
    /// A start that moved on took the recovery point with it, over records that may never have been
    /// flushed: then nothing that is still to be read was surely on disk.
    pub(super) fn beyond_the_start(self) -> OpenState {
        let is_deleted = self.recovery_point <= self.log_start;
        let recovery_point = if is_deleted { Offset::ZERO } else { self.recovery_point };
        OpenState { recovery_point, ..self }
    }
}

/// What opening a log found and did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovery {
    /// Bytes whose CRCs were checked.
    pub scanned_bytes: u64,
    /// Bytes of an unfinished write, and of what came behind it, that were cut off.
    pub truncated_bytes: u64,
    pub indexes_rebuilt: u32,
    pub epochs_rebuilt: bool,
    pub damage: Option<Damage>,
}

/// Something that was surely written is no longer what it was. The log goes on below it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    pub file: PathBuf,
    /// What remains of the log ends here.
    pub at: Offset,
    /// The byte of `file` at which `at` should be.
    pub position: u64,
    pub reason: String,
    /// Files with what can no longer be used, kept for whoever wants to look.
    pub set_aside: Vec<PathBuf>,
    pub below_recovery_point: bool,
    pub below_high_watermark: bool,
    /// How far the log reached, as far as can be told.
    pub former_end: Offset,
}
