//! Length-prefixed frames off a client's stream, paid for before they are read.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::connection::{ConnectionLimits, permits};
use crate::limits::{CLIENT_FRAME, CLIENT_READ};

/// Bytes of the length before a frame.
const PREFIX: usize = 4;

/// A request's bytes without their length, and the request memory that they take.
pub struct Frame {
    pub bytes: Bytes,
    pub memory: OwnedSemaphorePermit,
}

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("it could not be read")]
    Read(#[source] io::Error),
    #[error("it declares {0} bytes; 0 to {CLIENT_FRAME} are possible")]
    Length(i32),
    #[error("it ends before its declared length")]
    Cut,
    #[error("it was not complete in time")]
    Slow,
    #[error("there was none for too long")]
    Idle,
}

/// Reads frames. The buffer grows with what arrives, not with what a frame declares.
pub struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    limits: ConnectionLimits,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// `first_bytes` come before what the stream brings.
    pub fn new(stream: R, first_bytes: BytesMut, limits: ConnectionLimits) -> FrameReader<R> {
        FrameReader { stream, buffer: first_bytes, limits }
    }

    /// The next frame; `None` when the client closes between two frames. While `idle` says that
    /// nothing of this client is in the works, silence ends the connection; the frame that has
    /// begun has its own time, because it may hold request memory.
    pub async fn next(&mut self, idle: impl Fn() -> bool) -> Result<Option<Frame>, FrameError> {
        if !self.begin(idle).await? {
            return Ok(None);
        }
        let deadline = Instant::now() + self.limits.frame;
        match timeout_at(deadline, self.rest()).await {
            Ok(frame) => frame.map(Some),
            Err(_) => Err(FrameError::Slow),
        }
    }

    /// Waits for the first byte of a frame; `false` at the end of the stream.
    async fn begin(&mut self, idle: impl Fn() -> bool) -> Result<bool, FrameError> {
        while self.buffer.is_empty() {
            let deadline = Instant::now() + self.limits.idle;
            match timeout_at(deadline, self.read()).await {
                Ok(Ok(0)) => return Ok(false),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) if idle() => return Err(FrameError::Idle),
                Err(_) => {}
            }
        }
        Ok(true)
    }

    async fn rest(&mut self) -> Result<Frame, FrameError> {
        while self.buffer.len() < PREFIX {
            self.more().await?;
        }
        let declared = (&self.buffer[..PREFIX]).get_i32();
        let length = usize::try_from(declared).ok().filter(|&length| length <= CLIENT_FRAME);
        let length = length.ok_or(FrameError::Length(declared))?;
        self.buffer.advance(PREFIX);
        // A frame that declares much and brings nothing must not hold the memory of others.
        while self.buffer.len() < length.min(CLIENT_READ) {
            self.more().await?;
        }
        // A permit for every byte, before the bulk of them is in memory.
        let memory = self.limits.memory.clone().acquire_many_owned(permits(length));
        let memory = memory.await.map_err(|_| FrameError::Slow)?;
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(Frame { bytes: self.buffer.split_to(length).freeze(), memory })
    }

    async fn more(&mut self) -> Result<(), FrameError> {
        match self.read().await? {
            0 => Err(FrameError::Cut),
            _ => Ok(()),
        }
    }

    async fn read(&mut self) -> Result<usize, FrameError> {
        self.buffer.reserve(CLIENT_READ);
        self.stream.read_buf(&mut self.buffer).await.map_err(FrameError::Read)
    }
}
