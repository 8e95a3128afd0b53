//! Bringing logs to disk, in groups: while one group is on its way, the next one gathers.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use kraft_model::replica::Event;
use kraft_model::{Offset, TopicPartition};

use super::actor::Shard;
use super::command::Command;
use crate::storage::FlushJob;

#[derive(Default)]
pub(super) struct Flushes {
    wanted: BTreeSet<TopicPartition>,
    /// Directories of new partitions, whose names are not on disk yet.
    created: Vec<PathBuf>,
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

    pub fn created(&mut self, directory: &Path) {
        self.created.push(directory.to_owned());
    }

    pub fn forget(&mut self, id: TopicPartition) {
        self.wanted.remove(&id);
    }
}

impl Shard {
    /// Starts the next group on a thread that may wait for the device.
    pub(super) fn start_flush(&mut self) {
        let flushes = &mut self.flushes;
        if flushes.running || (flushes.wanted.is_empty() && flushes.created.is_empty()) {
            return;
        }
        flushes.running = true;
        let created = std::mem::take(&mut flushes.created);
        let mut jobs = Vec::new();
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
                Flushed { id, result }
            };
            let flushed = jobs.into_iter().map(run).collect();
            handle.deliver(Command::Flushed { group: flushed, named: named.err() });
        }));
    }

    pub(super) fn flushed(&mut self, group: Vec<Flushed>, unnamed: Option<String>) {
        self.flushes.running = false;
        if let Some(cause) = unnamed {
            tracing::error!(cause, "new partitions cannot be brought to disk");
            self.outside.broker.violation("a directory cannot be brought to disk");
        }
        for Flushed { id, result } in group {
            match result {
                Ok(to) => {
                    if let Some(slot) = self.slots.get_mut(&id) {
                        slot.log.flushed_up_to(to);
                    }
                    self.step(id, Event::Flushed(to));
                }
                Err(cause) => self.fail(id, &cause),
            }
        }
    }
}

/// Brings new partitions' directories to disk, each with its `partition.metadata`, and their names.
fn sync_names(created: &[PathBuf]) -> io::Result<()> {
    let mut parents = BTreeSet::new();
    for directory in created {
        match File::open(directory) {
            Ok(opened) => opened.sync_all()?,
            // Deleted already.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        File::open(directory.join("partition.metadata"))?.sync_all()?;
        parents.extend(directory.parent());
    }
    parents.into_iter().try_for_each(|parent| File::open(parent)?.sync_all())
}
