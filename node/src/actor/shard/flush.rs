//! Bringing logs to disk, in groups: while one group is on its way, the next one gathers.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use kraft_model::TopicPartition;
use kraft_model::log::Log;
use kraft_model::replica::Event;

use super::actor::Shard;
use super::command::Command;
use crate::storage::{FlushJob, Flushed};

#[derive(Default)]
pub(super) struct Flushes {
    wanted: BTreeSet<TopicPartition>,
    sealed: BTreeMap<TopicPartition, FlushJob>,
    /// Directories of new partitions, whose names are not on disk yet.
    created: Vec<PathBuf>,
    running: bool,
}

/// One log is on disk as far as the job says, or cannot be brought there.
pub(crate) struct FlushedLog {
    pub id: TopicPartition,
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
}

impl Shard {
    /// Starts the next group on a thread that may wait for the device.
    pub(super) fn start_flush(&mut self) {
        let flushes = &mut self.flushes;
        if flushes.running || flushes.is_empty() {
            return;
        }
        flushes.running = true;
        let created = std::mem::take(&mut flushes.created);
        let mut jobs: Vec<_> = std::mem::take(&mut flushes.sealed).into_iter().collect();
        for id in std::mem::take(&mut flushes.wanted) {
            if let Some(slot) = self.slots.get_mut(&id) {
                jobs.push((id, slot.log.flush_job()));
            }
        }
        let handle = self.handle.clone();
        drop(tokio::task::spawn_blocking(move || {
            // Names first: a log that is on disk under no name is not on disk.
            let named = sync_names(&created).map_err(|error| error.to_string());
            let run = |(id, job): (_, FlushJob)| {
                let result = named.clone().and_then(|()| job.run().map_err(|e| e.to_string()));
                FlushedLog { id, result }
            };
            let flushed = jobs.into_iter().map(run).collect();
            handle.deliver(Command::Flushed { group: flushed, named: named.err() });
        }));
    }

    pub(super) fn flushed(&mut self, group: Vec<FlushedLog>, unnamed: Option<String>) {
        self.flushes.running = false;
        if let Some(cause) = unnamed {
            tracing::error!(cause, "new partitions cannot be brought to disk");
            self.outside.broker.violation("a directory cannot be brought to disk");
        }
        for FlushedLog { id, result } in group {
            match result {
                Ok(flushed) => {
                    let Some(slot) = self.slots.get_mut(&id) else { continue };
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

#[cfg(test)]
mod tests {
    use super::super::testing::batch;
    use super::*;
    use crate::storage::{LogConfig, OpenFiles, PartitionLog};

    #[test]
    fn a_job_that_waits_keeps_its_place() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = LogConfig { segment_bytes: 1, ..LogConfig::default() };
        let (id, home, files) =
            (TopicPartition::default(), dir.path().join("t-0"), OpenFiles::new(8));
        let mut log = PartitionLog::create(&home, id.topic, config, files).expect("it is created");
        let mut flushes = Flushes::default();
        flushes.want_sealed(id, || log.sealed_flush_job());
        assert!(flushes.is_empty(), "nothing is sealed yet");
        (0..2).for_each(|base| log.append(batch(base, 1, &[b"a"])));
        flushes.want_sealed(id, || log.sealed_flush_job());
        assert_eq!(flushes.sealed.len(), 1);
        flushes.want_sealed(id, || panic!("what the waiting job has taken over would be lost"));
    }
}
