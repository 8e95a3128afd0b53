//! Committed records on their way into the image, and snapshots in both directions (K4, Q11).

use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, Context};
use kraft_model::log::Extent;
use kraft_model::metadata::{Event, Image};
use kraft_model::raft::{self, RaftLog, SnapshotId};
use kraft_model::{Epoch, Offset};
use tracing::{info, warn};

use super::{QuorumActor, Work};
use crate::peer::record;
use crate::storage::{RecordBatch, Records, Snapshots, VoterNode};

impl QuorumActor {
    /// Everything below `end` is committed: replays what was not yet.
    pub(super) fn replay_committed(&mut self, end: Offset, context: &mut Context<Self>) {
        while self.replayed < end {
            let batches = self.disk.log.read(self.replayed);
            if batches.end() <= self.replayed {
                return self.fatal(format!("the metadata log ends before offset {end}"));
            }
            for batch in split(&batches) {
                if batch.end() <= self.replayed {
                    continue;
                }
                if batch.base() >= end {
                    break;
                }
                if let Err(problem) = self.replay_batch(&batch, context) {
                    return self.fatal(problem);
                }
                if self.stopped {
                    return;
                }
            }
        }
        self.snapshot_if_due(context);
    }

    fn replay_batch(&mut self, batch: &Records, context: &mut Context<Self>) -> Result<(), String> {
        let records = record::decode_batch(batch).map_err(|error| error.to_string())?;
        let (base, end) = (batch.base(), batch.end());
        self.step_controller(Event::Committed { base, records, end }, context);
        // An image that breaks a promise is shown to nobody.
        if self.stopped {
            return Ok(());
        }
        self.replayed = end;
        self.replayed_epoch = Epoch(batch.last_epoch());
        self.unsnapshotted += batch.bytes.len() as u64;
        self.publish();
        Ok(())
    }

    fn publish(&mut self) {
        if self.config.roles.broker {
            self.listener.published(Arc::new(self.committed().clone()));
        }
    }

    /// The image begins as the latest snapshot: at start, and after one was fetched.
    pub(super) fn load_snapshot(&mut self, context: &mut Context<Self>) -> Result<(), String> {
        let Some(id) = self.disk.log.snapshot() else { return Ok(()) };
        let mut reader = self.disk.log.snapshots().open(id).map_err(|e| e.to_string())?;
        let mut records = Vec::new();
        while let Some(batch) = reader.next_batch().map_err(|e| e.to_string())? {
            records.extend(record::decode_batch(&batch).map_err(|error| error.to_string())?);
        }
        let image = Image::load(id.end, &records).map_err(|error| error.to_string())?;
        self.replayed = id.end;
        self.replayed_epoch = id.epoch;
        info!(end = %id.end, topics = image.topics.len(), "snapshot loaded");
        self.step_controller(Event::Loaded(Box::new(image)), context);
        if !self.stopped {
            self.publish();
        }
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
        let stored = self.disk.log.snapshots().store_chunk(snapshot, position, &bytes.bytes, last);
        match stored {
            Ok(()) if last => {
                self.disk.log.snapshot_stored(snapshot);
                self.work.push_back(Work::Quorum(raft::Event::SnapshotInstalled(snapshot)));
                if let Err(error) = self.load_snapshot(context) {
                    self.fatal(format!("a fetched snapshot cannot be loaded: {error}"));
                }
            }
            Ok(()) => {}
            Err(error) => self.fatal(format!("a snapshot cannot be stored: {error}")),
        }
    }

    /// Writes a snapshot, off the arbiter, when enough was replayed since the last one.
    fn snapshot_if_due(&mut self, context: &mut Context<Self>) {
        if self.snapshot_in_progress || self.unsnapshotted < self.config.metadata_snapshot_bytes {
            return;
        }
        self.snapshot_in_progress = true;
        self.unsnapshotted = 0;
        let id = SnapshotId { end: self.replayed, epoch: self.replayed_epoch };
        let image = self.committed().clone();
        let snapshots = self.disk.log.snapshots();
        let voters = self.disk.log.voters_at(id.end).to_vec();
        let write =
            tokio::task::spawn_blocking(move || write_snapshot(&snapshots, id, &voters, &image));
        context.spawn(actix::fut::wrap_future::<_, Self>(write).map(
            move |done, actor, context| {
                actor.snapshot_in_progress = false;
                match done {
                    Ok(Ok(())) => {
                        info!(end = %id.end, "snapshot of the metadata written");
                        actor.disk.log.snapshot_stored(id);
                        actor.run(Work::Quorum(raft::Event::SnapshotWritten(id)), context);
                    }
                    Ok(Err(error)) => warn!(error, "no snapshot of the metadata could be written"),
                    Err(error) => warn!(%error, "writing a snapshot of the metadata broke off"),
                }
            },
        ));
    }
}

/// Records of a snapshot in one batch.
const SNAPSHOT_BATCH: usize = 1_000;

fn write_snapshot(
    snapshots: &Snapshots,
    id: SnapshotId,
    voters: &[VoterNode],
    image: &Image,
) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let mut writer =
        snapshots.create(id, super::describe::now_ms(), voters).map_err(|error| text(&error))?;
    for records in image.records().chunks(SNAPSHOT_BATCH) {
        let values: Result<Vec<_>, _> = records.iter().map(record::encode).collect();
        let values = values.map_err(|error| text(&error))?;
        writer.append(values.iter().map(|value| &value[..])).map_err(|error| text(&error))?;
    }
    writer.finish().map_err(|error| text(&error))?;
    snapshots.delete_before(id).map_err(|error| text(&error))
}

/// The batches one by one.
fn split(records: &Records) -> Vec<Records> {
    let one = |(at, batch): (usize, RecordBatch)| Records {
        bytes: records.bytes.slice(at..at + batch.size),
        base: batch.base,
        end: batch.end(),
        last_epoch: batch.leader_epoch.0,
    };
    records.batches().map(one).collect()
}
