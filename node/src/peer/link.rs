//! One link while it is up: frames in, frames out, until either side ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::frame::{FrameError, Outgoing};
use super::handshake::Wire;
use super::links::{LinkError, Timing};
use super::message::Message;
use super::wire;
use crate::limits::{LINK_QUEUE, LINK_QUEUE_BYTES};

/// Small frames are gathered up to here before they are written.
const COALESCED_BYTES: usize = 256 * 1024;

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    #[error("the other side closed the link")]
    Closed,
    #[error("the connection failed: {0}")]
    Io(String),
    #[error("the other side broke the protocol: {0}")]
    Protocol(String),
    #[error("nothing was heard for too long")]
    Silent,
    /// This side wanted no link any more, or has a newer one with the same peer.
    #[error("this side let go of the link")]
    Released,
}

/// The sending end of a link, bounded in frames and in bytes.
#[derive(Clone)]
pub(super) struct Queue {
    frames: mpsc::Sender<Outgoing>,
    bytes: Arc<AtomicUsize>,
}

/// The other end of a [`Queue`].
pub(super) struct Queued {
    frames: mpsc::Receiver<Outgoing>,
    bytes: Arc<AtomicUsize>,
}

pub(super) fn queue() -> (Queue, Queued) {
    let (sender, receiver) = mpsc::channel(LINK_QUEUE);
    let bytes = Arc::new(AtomicUsize::new(0));
    (Queue { frames: sender, bytes: bytes.clone() }, Queued { frames: receiver, bytes })
}

impl Queue {
    pub fn weak(&self) -> WeakQueue {
        WeakQueue { frames: self.frames.downgrade(), bytes: self.bytes.clone() }
    }

    /// Never waits.
    pub fn push(&self, frame: Outgoing) -> Result<(), LinkError> {
        let length = frame.len();
        if self.bytes.fetch_add(length, Ordering::Relaxed) + length > LINK_QUEUE_BYTES {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            return Err(LinkError::Full);
        }
        self.frames.try_send(frame).map_err(|error| {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            match error {
                mpsc::error::TrySendError::Full(_) => LinkError::Full,
                mpsc::error::TrySendError::Closed(_) => LinkError::Down,
            }
        })
    }
}

/// A [`Queue`] that does not keep its link up.
pub(super) struct WeakQueue {
    frames: mpsc::WeakSender<Outgoing>,
    bytes: Arc<AtomicUsize>,
}

impl WeakQueue {
    fn upgrade(&self) -> Option<Queue> {
        let bytes = self.bytes.clone();
        self.frames.upgrade().map(|frames| Queue { frames, bytes })
    }
}

impl Queued {
    fn taken(&self, frame: Outgoing) -> Outgoing {
        self.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        frame
    }
}

/// Carries frames until the link ends. `pongs` is the link's own queue, weakly held, so that
/// releasing the link elsewhere closes it.
pub(super) async fn run<F: Future<Output = bool>>(
    wire: Wire,
    queued: Queued,
    pongs: WeakQueue,
    timing: Timing,
    receive: impl FnMut(Message) -> F,
) -> Cause {
    let Wire { reader, writer } = wire;
    // One task for both directions: a consumer that is slow to take what was received stops the
    // reading, which slows the peer down, and not the writing.
    tokio::select! {
        cause = read(reader, pongs, timing.silence, receive) => cause,
        cause = write(writer, queued, timing.ping) => cause,
    }
}

async fn read<R, F>(
    mut reader: tokio_util::codec::FramedRead<R, super::frame::FrameCodec>,
    pongs: WeakQueue,
    silence: Duration,
    mut receive: impl FnMut(Message) -> F,
) -> Cause
where
    R: tokio::io::AsyncRead + Unpin,
    F: Future<Output = bool>,
{
    let mut arrived = 0;
    loop {
        let frame = match tokio::time::timeout(silence, reader.next()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return failure(error),
            Ok(None) => return Cause::Closed,
            // A large frame on a slow line is not silence as long as more of it arrives.
            Err(_) if reader.read_buffer().len() != arrived => {
                arrived = reader.read_buffer().len();
                continue;
            }
            Err(_) => return Cause::Silent,
        };
        match wire::message(&frame) {
            Ok(Message::Ping) => {
                if let (Some(queue), Ok(pong)) = (pongs.upgrade(), wire::frame(Message::Pong)) {
                    // With a full queue the peer hears enough of this side.
                    let _ = queue.push(pong);
                }
            }
            Ok(Message::Pong) => {}
            Ok(message) => {
                if !receive(message).await {
                    return Cause::Released;
                }
            }
            Err(error) => return failure(error),
        }
    }
}

/// Writes what is queued, as much as there is before one flush; a ping when there is nothing.
async fn write<W: tokio::io::AsyncWrite + Unpin>(
    mut writer: tokio_util::codec::FramedWrite<W, super::frame::FrameCodec>,
    mut queued: Queued,
    ping: Duration,
) -> Cause {
    writer.set_backpressure_boundary(COALESCED_BYTES);
    loop {
        let frame = match tokio::time::timeout(ping, queued.frames.recv()).await {
            Ok(Some(frame)) => queued.taken(frame),
            Ok(None) => {
                // What was queued before has been written.
                let _ = writer.get_mut().shutdown().await;
                return Cause::Released;
            }
            Err(_) => match wire::frame(Message::Ping) {
                Ok(frame) => frame,
                Err(error) => return failure(error),
            },
        };
        if let Err(error) = writer.feed(frame).await {
            return failure(error);
        }
        while let Ok(frame) = queued.frames.try_recv() {
            let frame = queued.taken(frame);
            if let Err(error) = writer.feed(frame).await {
                return failure(error);
            }
        }
        if let Err(error) = SinkExt::<Outgoing>::flush(&mut writer).await {
            return failure(error);
        }
    }
}

fn failure(error: FrameError) -> Cause {
    match error {
        FrameError::Io(error) => Cause::Io(error.to_string()),
        error => {
            let cause = std::error::Error::source(&error);
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            Cause::Protocol(format!("{error}{cause}"))
        }
    }
}
