//! The quorum's disk: the metadata log and the quorum-state file, written off the arbiter.
//!
//! One write of either kind is in flight at a time; what is asked for meanwhile is covered by the
//! next one, so that a slow disk gets fewer and larger writes.

use actix::{ActorFutureExt, AsyncContext, Context};
use kraft_model::log::Log;
use kraft_model::raft::{Event, StoredState};
use tokio::task::spawn_blocking;

use super::{QuorumActor, Work};
use crate::storage::{ForgetDamage, MetadataLog, write_quorum_state};

pub struct Disk {
    pub log: MetadataLog,
    flush_wanted: bool,
    flushing: bool,
    /// The number and content of the next store, if one is due.
    store_wanted: Option<StoredState>,
    storing: bool,
    stores_asked: u64,
    stores_done: u64,
}

impl Disk {
    pub fn new(log: MetadataLog) -> Disk {
        Disk {
            log,
            flush_wanted: false,
            flushing: false,
            store_wanted: None,
            storing: false,
            stores_asked: 0,
            stores_done: 0,
        }
    }

    pub fn flush(&mut self) {
        self.flush_wanted = true;
    }

    pub fn store(&mut self, state: StoredState) {
        self.stores_asked += 1;
        self.store_wanted = Some(state);
    }

    /// The store that a gated message has to wait for, if any is under way.
    pub fn unfinished_store(&self) -> Option<u64> {
        (self.stores_asked > self.stores_done).then_some(self.stores_asked)
    }

    /// Starts whatever is wanted and not already under way.
    pub fn start_writes(&mut self, context: &mut Context<QuorumActor>) {
        self.start_store(context);
        self.start_flush(context);
        if let Some(garbage) = self.log.take_garbage() {
            spawn_blocking(move || {
                if let Err(error) = garbage.run() {
                    tracing::warn!(%error, "old files of the metadata log stay behind");
                }
            });
        }
    }

    fn start_store(&mut self, context: &mut Context<QuorumActor>) {
        if self.storing {
            return;
        }
        let Some(state) = self.store_wanted.take() else { return };
        self.storing = true;
        let covered = self.stores_asked;
        let dir = self.log.dir().to_owned();
        let write = spawn_blocking(move || write_quorum_state(&dir, &state));
        context.spawn(actix::fut::wrap_future::<_, QuorumActor>(write).map(
            move |done, actor: &mut QuorumActor, context| {
                actor.disk.storing = false;
                match done {
                    Ok(Ok(())) => {
                        actor.disk.stores_done = covered;
                        actor.outbox.stored(&actor.links, covered);
                        actor.disk.start_writes(context);
                    }
                    Ok(Err(error)) => {
                        actor.fatal(format!("epoch and vote cannot be stored: {error}"))
                    }
                    Err(error) => actor.fatal(format!("storing epoch and vote broke off: {error}")),
                }
            },
        ));
    }

    fn start_flush(&mut self, context: &mut Context<QuorumActor>) {
        if self.flushing || !self.flush_wanted {
            return;
        }
        self.flush_wanted = false;
        if self.log.flushed() >= self.log.end() {
            return;
        }
        self.flushing = true;
        let job = self.log.flush_job();
        let write = spawn_blocking(move || job.run());
        context.spawn(actix::fut::wrap_future::<_, QuorumActor>(write).map(
            |done, actor: &mut QuorumActor, context| {
                actor.disk.flushing = false;
                match done {
                    Ok(Ok(flushed)) => {
                        if let Some(mended) = actor.disk.log.flushed_up_to(flushed) {
                            spawn_blocking(move || forget_damage(mended));
                        }
                        let end = actor.disk.log.flushed();
                        actor.run(Work::Quorum(Event::Flushed(end)), context);
                    }
                    // After a failed fsync nobody knows what is on the disk: never try again.
                    Ok(Err(error)) => {
                        actor.fatal(format!("the metadata log cannot be flushed: {error}"))
                    }
                    Err(error) => {
                        actor.fatal(format!("flushing the metadata log broke off: {error}"))
                    }
                }
            },
        ));
    }
}

/// The log is whole again after it was damaged.
fn forget_damage(mended: ForgetDamage) {
    match mended.run() {
        Ok(()) => tracing::info!("the metadata log was damaged and is whole again"),
        Err(error) => tracing::warn!(%error, "the mended damage will be looked at again"),
    }
}
