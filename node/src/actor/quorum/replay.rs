//! Committed records on their way into the image, and snapshots in both directions (K4, Q11).

use std::sync::Arc;

use actix::Context;
use kraft_model::log::Extent;
use kraft_model::metadata::{Event, Image, Record};
use kraft_model::raft::{self, RaftLog, SnapshotId};
use kraft_model::{Epoch, Offset};
use tracing::{info, warn};

use super::{QuorumActor, Work};
use crate::peer::record;
use crate::storage::{Records, SnapshotError};

impl QuorumActor {
    /// Everything below `end` is committed: replays what was not yet.
    pub(super) fn replay_committed(&mut self, end: Offset, context: &mut Context<Self>) {
        while self.replayed < end {
            let batches = self.disk.log.read(self.replayed);
            if batches.end() <= self.replayed {
                return self.fatal(format!("the metadata log ends before offset {end}"));
            }
            for batch in batches.split() {
                if batch.base() >= end {
                    return;
                }
                if let Err(problem) = self.replay_batch(&batch, context) {
                    return self.fatal(problem);
                }
            }
        }
        self.snapshot_if_due();
    }

    fn replay_batch(&mut self, batch: &Records, context: &mut Context<Self>) -> Result<(), String> {
        let records = decode(batch)?;
        let (base, end) = (batch.base(), batch.end());
        if self.controller.is_some() {
            let event = Event::Committed { base, records: records.clone(), end };
            self.step_controller(event, context);
        } else {
            for (index, record) in records.iter().enumerate() {
                self.image
                    .replay(base.plus(index as i64), record)
                    .map_err(|error| format!("metadata at {base}: {error}"))?;
            }
            self.image.end = end;
        }
        self.replayed = end;
        self.publish(Some(&records));
        Ok(())
    }

    fn publish(&mut self, records: Option<&[Record]>) {
        if self.config.roles.broker {
            let image = Arc::new(self.committed().clone());
            self.listener.published(&image, records);
        }
    }

    /// At start: the image begins as the latest snapshot.
    pub(super) fn load_snapshot(&mut self, context: &mut Context<Self>) -> Result<(), SnapshotError> {
        let Some((id, batches)) = self.disk.log.load_snapshot()? else { return Ok(()) };
        let mut image = Image::default();
        for batch in &batches {
            for record in decode(batch).map_err(SnapshotError::Content)? {
                image
                    .replay(image.end, &record)
                    .map_err(|error| SnapshotError::Content(error.to_string()))?;
            }
        }
        image.end = id.end;
        self.replayed = id.end;
        info!(end = %id.end, topics = image.topics.len(), "snapshot loaded");
        match &mut self.controller {
            Some(_) => self.step_controller(Event::Loaded(Box::new(image)), context),
            None => self.image = image,
        }
        self.publish(None);
        Ok(())
    }

    pub(super) fn store_snapshot_chunk(
        &mut self,
        snapshot: SnapshotId,
        position: u64,
        bytes: &Records,
        last: bool,
        context: &mut Context<Self>,
    ) {
        let stored = self.disk.log.write_snapshot_chunk(snapshot, position, &bytes.bytes, last);
        match stored {
            Ok(()) if last => {
                self.work.push_back(Work::Quorum(raft::Event::SnapshotInstalled(snapshot)));
                if let Err(error) = self.load_snapshot(context) {
                    self.fatal(format!("a fetched snapshot cannot be loaded: {error}"));
                }
            }
            Ok(()) => {}
            Err(error) => self.fatal(format!("a snapshot cannot be stored: {error}")),
        }
    }

    /// Writes a snapshot when the log has grown enough since the last one.
    fn snapshot_if_due(&mut self) {
        let grown = self.disk.log.bytes_since_snapshot();
        if self.snapshot_in_progress || grown < self.config.metadata_snapshot_bytes {
            return;
        }
        let end = self.replayed;
        let epoch = Epoch(self.disk.log.epoch_before(end));
        let id = SnapshotId { end, epoch };
        match self.write_snapshot(id) {
            Ok(()) => self.work.push_back(Work::Quorum(raft::Event::SnapshotWritten(id))),
            Err(error) => warn!(%error, "no snapshot of the metadata could be written"),
        }
    }

    fn write_snapshot(&mut self, id: SnapshotId) -> Result<(), SnapshotError> {
        let records = self.committed().records();
        let mut values = Vec::with_capacity(records.len());
        for item in &records {
            values.push(record::encode(item).map_err(|e| SnapshotError::Content(e.to_string()))?);
        }
        self.disk.log.write_snapshot(id, super::describe::now_ms(), &values)
    }
}

/// The metadata records in a batch; none in a control batch.
fn decode(batch: &Records) -> Result<Vec<Record>, String> {
    if batch.is_control() {
        return Ok(Vec::new());
    }
    let fault = |problem: &dyn std::fmt::Display| {
        format!("the metadata batch at offset {} cannot be read: {problem}", batch.base())
    };
    batch
        .values()
        .map(|value| {
            let value = value.map_err(|error| fault(&error))?;
            record::decode(value).map_err(|error| fault(&error))
        })
        .collect()
}
