//! The one way into a shard, bounded by bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::command::Command;
use crate::limits::{SHARD_MEMORY, SHARD_PEER_MEMORY};

/// Commands on their way into one shard. The room that a command takes is given back when the shard
/// has worked on it.
#[derive(Clone)]
pub(crate) struct ShardHandle {
    queue: mpsc::UnboundedSender<Envelope>,
    /// The clients' room, for which they wait.
    room: Arc<Semaphore>,
    /// The followers' room. It is their own: what clients give back goes to clients that wait, so that
    /// whoever does not wait would find none for as long as any of them does.
    peers: Arc<Semaphore>,
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
        let room = Arc::new(Semaphore::new(SHARD_MEMORY));
        let peers = Arc::new(Semaphore::new(SHARD_PEER_MEMORY));
        (ShardHandle { queue, room, peers }, commands)
    }

    /// Queues a follower's `command`, which carries `bytes`, if there is room for it now.
    pub fn try_send(&self, command: Command, bytes: usize) -> Result<(), ShardFull> {
        let room = Arc::clone(&self.peers).try_acquire_many_owned(cost(bytes, SHARD_PEER_MEMORY));
        self.queue_with(command, Some(room.map_err(|_| ShardFull)?))
    }

    /// Queues a client's `command` as soon as there is room. Commands of one caller keep their order.
    pub async fn send(&self, command: Command, bytes: usize) -> Result<(), ShardFull> {
        let room = Arc::clone(&self.room).acquire_many_owned(cost(bytes, SHARD_MEMORY)).await;
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

fn cost(bytes: usize, all: usize) -> u32 {
    (bytes + COMMAND_COST).min(all) as u32
}

#[cfg(test)]
mod tests {
    use kraft_model::NodeId;

    use super::*;

    #[tokio::test]
    async fn followers_have_room_while_clients_wait_for_theirs() {
        let (handle, mut commands) = ShardHandle::new();
        handle.send(Command::CutShort(1), SHARD_MEMORY / 2).await.expect("there is room");
        let waiting = tokio::spawn({
            let handle = handle.clone();
            async move { handle.send(Command::CutShort(2), SHARD_MEMORY).await }
        });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished(), "a client waits");
        handle.try_send(Command::LinkUp(NodeId(2)), 0).expect("there is room for a follower");
        drop(commands.recv().await.expect("the first client's command"));
        let next = commands.recv().await.expect("the follower's command");
        assert!(matches!(next.command, Command::LinkUp(NodeId(2))));
        waiting.await.expect("no panic").expect("a client's turn comes");
    }
}
