//! Bringing logs to disk, in groups: while one group is on its way, the next one gathers.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};

use kraft_model::TopicPartition;
use kraft_model::log::Log;
use kraft_model::replica::Event;

use super::actor::Shard;
use super::command::Command;
use crate::storage::{FlushJob, Flushed};

#[cfg(test)]
mod tests;

#[derive(Default)]
pub(super) struct Flushes {
    wanted: BTreeSet<TopicPartition>,
    sealed: BTreeMap<TopicPartition, FlushJob>,
    /// Directories of new partitions, whose names are not on disk yet.
    created: Vec<PathBuf>,
    /// Whether the group that is on its way got there, once it is over.
    running: Option<Receiver<bool>>,
    has_failed: bool,
}

/// One log is on disk as far as the job says, or cannot be brought there.
pub(crate) struct FlushedLog {
    pub id: TopicPartition,
    /// The log's number: the partition may have another one by now.
    pub log: u64,
    pub result: Result<Flushed, String>,
}

impl Flushes {
    pub fn want(&mut self, id: TopicPartition) {
        self.wanted.insert(id);
    }

    /// Brings a log's full segments to disk with the next group. A job that waits already stays: it
    /// has taken over what the log no longer knows, as that its directory is to be synced.
    pub fn want_sealed(&mut self, id: TopicPartition, job: impl FnOnce() -> Option<FlushJob>) {
        if let Entry::Vacant(free) = self.sealed.entry(id)
            && let Some(job) = job()
        {
            free.insert(job);
        }
    }

    pub fn created(&mut self, directory: &Path) {
        self.created.push(directory.to_owned());
    }

    fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.sealed.is_empty() && self.created.is_empty()
    }

    pub fn forget(&mut self, id: TopicPartition) {
        self.wanted.remove(&id);
        self.sealed.remove(&id);
    }

    /// A log of this shard cannot be trusted to be on disk.
    pub fn failed(&mut self) {
        self.has_failed = true;
    }

    /// Waits for the group that is on its way. Whether none has failed: a device says once that it lost
    /// something, so that a later flush of the same log proves nothing.
    pub fn end(self) -> bool {
        // A thread that died says nothing.
        let is_whole = self.running.is_none_or(|group| group.recv().unwrap_or(false));
        is_whole && !self.has_failed
    }
}

impl Shard {
    /// Starts the next group on a thread that may wait for the device.
    pub(super) fn start_flush(&mut self) {
        let flushes = &mut self.flushes;
        if flushes.running.is_some() || flushes.is_empty() {
            return;
        }
        let (over, running) = mpsc::channel();
        flushes.running = Some(running);
        let created = std::mem::take(&mut flushes.created);
        let mut jobs = Vec::new();
        for (id, job) in std::mem::take(&mut flushes.sealed) {
            if let Some(slot) = self.slots.get(&id) {
                jobs.push((id, slot.log.number(), job));
            }
        }
        for id in std::mem::take(&mut flushes.wanted) {
            if let Some(slot) = self.slots.get_mut(&id) {
                jobs.push((id, slot.log.number(), slot.log.flush_job()));
            }
        }
        let handle = self.handle.clone();
        drop(tokio::task::spawn_blocking(move || {
            // Names first: a log that is on disk under no name is not on disk.
            let named = sync_names(&created).map_err(|error| error.to_string());
            let run = |(id, log, job): (_, _, FlushJob)| {
                let result = named.clone().and_then(|()| job.run().map_err(|e| e.to_string()));
                FlushedLog { id, log, result }
            };
            let flushed: Vec<_> = jobs.into_iter().map(run).collect();
            let is_whole = named.is_ok() && flushed.iter().all(|log| log.result.is_ok());
            // Whoever does not listen any more has stopped without asking.
            let _ = over.send(is_whole);
            handle.deliver(Command::Flushed { group: flushed, named: named.err() });
        }));
    }

    pub(super) fn flushed(&mut self, group: Vec<FlushedLog>, unnamed: Option<String>) {
        self.flushes.running = None;
        if let Some(cause) = unnamed {
            tracing::error!(cause, "new partitions cannot be brought to disk");
            self.flushes.failed();
            self.disks.paths().for_each(|path| self.outside.broker.storage_failed(path, &cause));
            self.outside.broker.violation("a directory cannot be brought to disk");
        }
        for FlushedLog { id, log, result } in group {
            // The partition may have left and come back meanwhile: what became of its earlier log says
            // nothing of this one.
            let slot = self.slots.get_mut(&id).filter(|slot| slot.log.number() == log);
            let Some(slot) = slot else { continue };
            match result {
                Ok(flushed) => {
                    slot.log.flushed_up_to(flushed);
                    let to = slot.log.flushed();
                    self.step(id, Event::Flushed(to));
                }
                Err(cause) => self.fail(id, &cause),
            }
        }
    }
}

/// Brings the names of new partitions' directories to disk; what is in them is their logs' to flush.
fn sync_names(created: &[PathBuf]) -> io::Result<()> {
    let parents: BTreeSet<_> = created.iter().filter_map(|directory| directory.parent()).collect();
    parents.into_iter().try_for_each(|parent| File::open(parent)?.sync_all())
}
