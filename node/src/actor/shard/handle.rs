//! The one way into a shard, bounded by bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::command::Command;
use crate::limits::SHARD_MEMORY;

/// Commands on their way into one shard. The room that a command takes is given back when the shard
/// has worked on it.
#[derive(Clone)]
pub(crate) struct ShardHandle {
    queue: mpsc::UnboundedSender<Envelope>,
    room: Arc<Semaphore>,
}

pub(crate) struct Envelope {
    pub command: Command,
    _room: Option<OwnedSemaphorePermit>,
}

/// The shard has more to do than it may hold, or it has stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the shard takes no more commands")]
pub(crate) struct ShardFull;

/// What a command costs beside the bytes that it carries.
const COMMAND_COST: usize = 256;

impl ShardHandle {
    pub fn new() -> (ShardHandle, mpsc::UnboundedReceiver<Envelope>) {
        let (queue, commands) = mpsc::unbounded_channel();
        (ShardHandle { queue, room: Arc::new(Semaphore::new(SHARD_MEMORY)) }, commands)
    }

    /// Queues `command`, which carries `bytes`, if there is room for it now.
    pub fn try_send(&self, command: Command, bytes: usize) -> Result<(), ShardFull> {
        let room = Arc::clone(&self.room).try_acquire_many_owned(cost(bytes));
        self.queue_with(command, Some(room.map_err(|_| ShardFull)?))
    }

    /// Queues `command` as soon as there is room. Commands of one caller keep their order.
    pub async fn send(&self, command: Command, bytes: usize) -> Result<(), ShardFull> {
        let room = Arc::clone(&self.room).acquire_many_owned(cost(bytes)).await;
        self.queue_with(command, Some(room.map_err(|_| ShardFull)?))
    }

    /// Queues what bounds itself: answers to what the shard has asked for (at most as much as it
    /// asked for), metadata and the state of links (at most one each per publication or link).
    pub fn deliver(&self, command: Command) {
        // A shard that has stopped needs no answers.
        let _ = self.queue.send(Envelope { command, _room: None });
    }

    fn queue_with(
        &self,
        command: Command,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<(), ShardFull> {
        self.queue.send(Envelope { command, _room: room }).map_err(|_| ShardFull)
    }
}

fn cost(bytes: usize) -> u32 {
    (bytes + COMMAND_COST).min(SHARD_MEMORY) as u32
}
