//! Which epoch begins where in a log that is opened.

use std::io;
use std::ops::ControlFlow;

use kraft_model::Offset;
use kraft_model::epochs::EpochCache;

use crate::storage::error::{Context, StorageError};
use crate::storage::files::FileKind;
use crate::storage::read::{HeaderWalk, locate};
use crate::storage::{checkpoint, durable};

use super::Opening;

impl Opening<'_> {
    /// Takes the epochs below `end` from their checkpoint if the log bears them out, else from
    /// the log itself.
    pub(super) fn load_epochs(&mut self, end: Offset) -> Result<(), StorageError> {
        let path = checkpoint::epochs_path(&self.log.home.dir);
        let content = durable::read_if_there(&path).context("read", &path)?;
        let stored = content
            .and_then(|content| checkpoint::parse_epochs(&path, &content).ok())
            .and_then(EpochCache::from_entries);
        if let Some(mut epochs) = stored {
            epochs.truncate(end);
            self.log.epochs = epochs;
            if self.epochs_hold(end).context("read a segment in", &self.log.home.dir)? {
                return Ok(());
            }
        }
        let is_empty = end <= self.bases[0];
        self.log.epochs = EpochCache::default();
        if is_empty {
            return Ok(());
        }
        self.recovery.epochs_rebuilt = true;
        self.log.epochs_changed = true;
        for segment in self.log.sealed.clone().into_iter().chain([self.log.active.as_segment()]) {
            if segment.size == 0 || segment.base >= end {
                continue;
            }
            let file = self.file(segment.base)?;
            let epochs = &mut self.log.epochs;
            HeaderWalk::new(&file, segment.size)
                .visit(0, |_, batch| {
                    epochs.note(batch.leader_epoch.0, batch.base);
                    ControlFlow::Continue(())
                })
                .context("read", &self.path(segment.base))?;
        }
        self.log.epochs.advance_start(self.log.start);
        Ok(())
    }

    /// Whether each epoch starts where the checkpoint says: the batch there is of it, the one
    /// before it is not, and the last batch is of the last epoch.
    fn epochs_hold(&self, end: Offset) -> io::Result<bool> {
        let log = &self.log;
        if end <= self.bases[0] {
            return Ok(true);
        }
        let epoch_of = |offset: Offset| -> io::Result<Option<i32>> {
            let (segment, floor) = log.floor(offset);
            let file = log.home.open(FileKind::Log, segment.base)?;
            let position = locate(&file, segment.size, floor, offset)?;
            Ok(match HeaderWalk::new(&file, segment.size).at(position) {
                Ok(batch) if batch.base <= offset => Some(batch.leader_epoch.0),
                _ => None,
            })
        };
        let mut previous = None;
        for &(epoch, start) in log.epochs.entries() {
            if start > log.start {
                let before = epoch_of(Offset(start.0 - 1))?;
                if epoch_of(start)? != Some(epoch) || before != previous {
                    return Ok(false);
                }
            }
            previous = Some(epoch);
        }
        let covers_start = log.epochs.epoch_at(log.start).is_some();
        Ok(covers_start && epoch_of(Offset(end.0 - 1))? == log.epochs.last())
    }
}
