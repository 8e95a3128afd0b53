//! Bringing logs to disk, in groups: while one group is on its way, the next one gathers.

use std::collections::BTreeSet;

use kraft_model::replica::Event;
use kraft_model::{Offset, TopicPartition};

use super::actor::Shard;
use super::command::Command;

#[derive(Default)]
pub(super) struct Flushes {
    wanted: BTreeSet<TopicPartition>,
    running: bool,
}

/// One log is on disk up to the offset, or cannot be brought there.
pub(crate) struct Flushed {
    pub id: TopicPartition,
    pub result: Result<Offset, String>,
}

impl Flushes {
    pub fn want(&mut self, id: TopicPartition) {
        self.wanted.insert(id);
    }

    pub fn forget(&mut self, id: TopicPartition) {
        self.wanted.remove(&id);
    }
}

impl Shard {
    /// Starts the next group on a thread that may wait for the device.
    pub(super) fn start_flush(&mut self) {
        if self.flushes.running || self.flushes.wanted.is_empty() {
            return;
        }
        let mut jobs = Vec::new();
        for id in std::mem::take(&mut self.flushes.wanted) {
            if let Some(slot) = self.slots.get_mut(&id) {
                jobs.push((id, slot.log.flush_job()));
            }
        }
        if jobs.is_empty() {
            return;
        }
        self.flushes.running = true;
        let handle = self.handle.clone();
        actix::spawn(async move {
            let run = move || {
                let run_one = |(id, job): (_, crate::storage::FlushJob)| Flushed {
                    id,
                    result: job.run().map_err(|error| error.to_string()),
                };
                jobs.into_iter().map(run_one).collect()
            };
            // The closure neither panics nor is it cancelled; if the runtime is gone, so is the shard.
            let flushed = tokio::task::spawn_blocking(run).await.unwrap_or_default();
            handle.deliver(Command::Flushed(flushed));
        });
    }

    pub(super) fn flushed(&mut self, group: Vec<Flushed>) {
        self.flushes.running = false;
        for Flushed { id, result } in group {
            match result {
                Ok(to) => {
                    if let Some(slot) = self.slots.get_mut(&id) {
                        slot.log.flushed_to(to);
                    }
                    self.step(id, Event::Flushed(to));
                }
                Err(cause) => self.fail(id, &cause),
            }
        }
    }
}
