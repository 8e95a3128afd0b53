//! What is done now and then: checkpoints, retention, deleting files, the orderly stop.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kraft_model::log::Log;
use kraft_model::replica::Event;
use kraft_model::{Offset, TopicPartition};
use tokio::sync::oneshot;

use super::actor::Shard;
use super::disks::FoundLog;
use super::offsets::{Mark, next_number};
use super::slot::Slot;
use crate::storage::PartitionLog;

#[cfg(test)]
mod tests;

/// `replica.high.watermark.checkpoint.interval.ms`, while anything moves.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);

/// `log.retention.check.interval.ms`.
const RETENTION_INTERVAL: Duration = Duration::from_secs(300);

/// `producer.id.expiration.ms`.
const PRODUCER_EXPIRATION_MS: i64 = 24 * 3_600_000;

pub(super) struct Maintenance {
    checkpoint_at: Instant,
    retention_at: Instant,
    /// Partitions whose log lost, during this turn, something that the checkpoints may count on.
    fallen: BTreeSet<TopicPartition>,
}

impl Maintenance {
    pub fn new(now: Instant) -> Maintenance {
        Maintenance {
            checkpoint_at: now + CHECKPOINT_INTERVAL,
            retention_at: now + RETENTION_INTERVAL,
            fallen: BTreeSet::new(),
        }
    }

    /// The log's start or recovery point has fallen.
    pub fn fell(&mut self, id: TopicPartition) {
        self.fallen.insert(id);
    }

    pub fn next_due(&self, is_moving: bool) -> Option<Instant> {
        let checkpoint = is_moving.then_some(self.checkpoint_at);
        checkpoint.into_iter().chain([self.retention_at]).min()
    }
}

impl Shard {
    pub(super) fn maintain(&mut self) {
        if self.now >= self.maintenance.checkpoint_at && !self.watermarks_moved.is_empty() {
            self.maintenance.checkpoint_at = self.now + CHECKPOINT_INTERVAL;
            self.checkpoint();
        }
        if self.now >= self.maintenance.retention_at {
            self.maintenance.retention_at = self.now + RETENTION_INTERVAL;
            self.retain();
        }
    }

    /// What truncations have taken back during this turn is taken back in the checkpoints, before
    /// anything leaves that rests on it: a process that is killed a moment later would else miss
    /// what nobody lost, or take the log's new front for what was deleted. That is rare, and worth
    /// the wait for the device.
    pub(super) fn lower_marks(&mut self) {
        let mut marks: BTreeMap<Arc<Path>, Vec<Mark>> = BTreeMap::new();
        for id in std::mem::take(&mut self.maintenance.fallen) {
            let Some(slot) = self.slots.get(&id).filter(|slot| !slot.is_offline) else { continue };
            marks.entry(Arc::clone(&slot.directory)).or_default().push(mark(id, slot));
        }
        for marks in marks.into_values() {
            let fallen: Vec<_> = marks.iter().map(|mark| mark.id).collect();
            if let Err(error) = self.disks.checkpoint(marks) {
                fallen.into_iter().for_each(|id| self.fail(id, &error.to_string()));
            }
        }
    }

    /// Writes where the partitions stand that have moved, and starts what is due for their files.
    fn checkpoint(&mut self) {
        let moved = std::mem::take(&mut self.watermarks_moved);
        let mut marks = Vec::with_capacity(moved.len());
        for id in moved {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            marks.push(mark(id, slot));
            // Segments that are full go to disk in the background, so that a crash leaves one of
            // them to read and not many.
            self.flushes.want_sealed(id, || slot.log.sealed_flush_job());
            if let Some(garbage) = slot.log.take_garbage() {
                drop(tokio::task::spawn_blocking(move || {
                    if let Err(error) = garbage.run() {
                        tracing::warn!(%error, "cannot delete what is not needed any more");
                    }
                }));
            }
        }
        let disks = std::sync::Arc::clone(&self.disks);
        let broker = std::sync::Arc::clone(&self.outside.broker);
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = disks.checkpoint(marks) {
                broker.storage_failed(error.directory(), &error.to_string());
            }
        }));
    }

    /// Retention by age and size: of what is committed, and by whole segments.
    fn retain(&mut self) {
        let now_ms = wall_clock_ms();
        let mut due: Vec<(TopicPartition, Offset)> = Vec::new();
        let idle_since = now_ms.saturating_sub(PRODUCER_EXPIRATION_MS);
        let known: Vec<TopicPartition> = self.slots.keys().copied().collect();
        known.into_iter().for_each(|id| self.step(id, Event::ProducersExpired(idle_since)));
        for (&id, slot) in &mut self.slots {
            if slot.is_offline {
                continue;
            }
            match slot.log.retention_start(now_ms, slot.replica.high_watermark()) {
                Ok(start) if start > slot.start() => due.push((id, start)),
                Ok(_) => {}
                Err(error) => tracing::warn!(?id, %error, "cannot look at a log's age"),
            }
        }
        due.into_iter().for_each(|(id, start)| self.move_start(id, start));
    }

    /// The orderly stop: everything to disk, so that the next start reads no logs. The machines are
    /// not asked any more. `done` is dropped where a log is not on disk, or nobody can say so: the file
    /// that says "clean" must not be written then.
    pub(super) fn shut_down(&mut self, done: oneshot::Sender<()>) {
        if let Err(error) = self.recorder.end("the node has stopped") {
            tracing::error!(%error, "the end of the trace is missing");
        }
        let slots = std::mem::take(&mut self.slots);
        let found = std::mem::take(&mut self.found);
        let flushes = std::mem::take(&mut self.flushes);
        let disks = std::sync::Arc::clone(&self.disks);
        drop(tokio::task::spawn_blocking(move || {
            let mut is_whole = flushes.end();
            let mut marks = Vec::with_capacity(slots.len() + found.len());
            for (id, mut slot) in slots {
                let is_closed = !slot.is_offline && close(id, &mut slot.log);
                is_whole &= is_closed;
                marks.extend(is_closed.then(|| mark(id, &slot)));
            }
            // What recovery has found and nobody asked for yet was not flushed either.
            for (id, mut log) in found {
                let is_closed = close(id, &mut log.log);
                is_whole &= is_closed;
                marks.extend(is_closed.then(|| mark_of_found(id, &log)));
            }
            match disks.checkpoint(marks) {
                Ok(()) if is_whole => drop(done.send(())),
                Ok(()) => tracing::error!("not every log is on disk: this stop is not clean"),
                Err(error) => tracing::error!(%error, "cannot write the checkpoints"),
            }
        }));
    }
}

/// Brings a log to disk for good; whether it is there.
fn close(id: TopicPartition, log: &mut PartitionLog) -> bool {
    if log.failure().is_some() {
        return false;
    }
    match log.close_job().run() {
        Ok(flushed) => {
            log.flushed_up_to(flushed);
            true
        }
        Err(error) => {
            tracing::error!(?id, %error, "cannot bring a log to disk");
            false
        }
    }
}

fn mark(id: TopicPartition, slot: &Slot) -> Mark {
    Mark {
        directory: slot.directory.clone(),
        topic: slot.topic.clone(),
        id,
        log: slot.log.number(),
        high_watermark: slot.replica.high_watermark(),
        recovery_point: slot.log.flushed(),
        log_start: slot.start(),
        taken: next_number(),
    }
}

fn mark_of_found(id: TopicPartition, found: &FoundLog) -> Mark {
    Mark {
        directory: found.directory.clone(),
        topic: found.topic.clone(),
        id,
        log: found.log.number(),
        high_watermark: found.high_watermark,
        recovery_point: found.log.flushed(),
        log_start: found.log.start(),
        taken: next_number(),
    }
}

/// Milliseconds since the Unix epoch.
pub(super) fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
