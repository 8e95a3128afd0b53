//! One client's connection: frames in, responses out in the order of the requests.
//!
//! ```text
//!  socket ──▶ FrameReader ──▶ decode_request ──▶ handler, polled once ──▶ pipeline (ordered)
//!                │ request memory                   │ a Produce is submitted here     │
//!                └── permits, given back ◀──────────┴──── response written ◀──────────┘
//! ```
//!
//! Handlers of one connection run side by side, up to a bound; each is polled once before the next
//! frame is looked at, so that the batches of one connection reach the log in its order.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use proto_kafka::error::ProtoError;
use proto_kafka::protocol::SegmentedBuf;
use proto_kafka::protocol::buf::ByteBufMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::apis::{self, Context, Reply};
use super::backend::Backend;
use super::frame::{Frame, FrameError, FrameReader};
use super::guard::{ClientRequest, RequestError, decode_request, decoded_bytes};
use crate::limits;

/// What all connections of a node share, and how long one may be silent.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// One permit per byte of requests in memory.
    pub memory: Arc<Semaphore>,
    pub idle: Duration,
    /// A frame that has begun must be whole within this time.
    pub frame: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            memory: Arc::new(Semaphore::new(limits::REQUEST_MEMORY)),
            idle: limits::CLIENT_IDLE,
            frame: limits::CLIENT_FRAME_TIME,
        }
    }
}

/// Why a connection ended otherwise than by the client closing it between two requests.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error("the client's frame")]
    Frame(#[from] FrameError),
    #[error("the client's request")]
    Request(#[from] RequestError),
    #[error("a response cannot be encoded")]
    Encode(#[source] ProtoError),
    #[error("a response of {0} bytes is longer than a frame can be")]
    ResponseTooLong(usize),
    #[error("the response could not be written")]
    Write(#[source] std::io::Error),
    #[error("the client did not take its response in time")]
    WriteTimeout,
    #[error("{0}")]
    Silent(&'static str),
}

/// A request in the making of its response.
struct Answered {
    correlation_id: i32,
    version: i16,
    reply: Reply,
    /// Held until the response is encoded; then the request's bytes are gone.
    _held: Held,
    /// Of a Fetch: the next one begins when this one's records have left for the socket.
    _fetch: Option<OwnedMutexGuard<()>>,
}

struct Held {
    _memory: OwnedSemaphorePermit,
    _slot: OwnedSemaphorePermit,
}

type Pending = Pin<Box<dyn Future<Output = Answered>>>;

/// Serves one client until it closes, is silent for too long, or sends what cannot be answered.
/// `first_bytes` are what was read of the stream before.
///
/// # Errors
/// Why the connection had to be closed; the stream is dropped either way.
pub async fn serve<S, B>(
    stream: S,
    first_bytes: BytesMut,
    listener: Rc<str>,
    backend: B,
    limits: ConnectionLimits,
) -> Result<(), ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    let (read, write) = tokio::io::split(stream);
    let (pending, queue) = mpsc::channel(limits::REQUESTS_IN_FLIGHT);
    let frames = FrameReader::new(read, first_bytes, limits.clone());
    let mut requests = Requests {
        frames,
        context: Rc::new(Context::new(backend, listener)),
        memory: limits.memory.clone(),
        slots: Arc::new(Semaphore::new(limits::REQUESTS_IN_FLIGHT)),
        pending,
    };
    let responses = Responses { write, handlers: Handlers::new(queue), idle: limits.idle };
    let reading = async move { requests.run().await };
    let writing = responses.run();
    tokio::pin!(reading, writing);
    tokio::select! {
        // A client that has closed its sending side still gets the answers that it waits for.
        read = &mut reading => match read {
            Ok(()) => writing.await,
            Err(error) => Err(error),
        },
        written = &mut writing => written,
    }
}

/// The reading half: from frames to running handlers.
struct Requests<R, B> {
    frames: FrameReader<R>,
    context: Rc<Context<B>>,
    memory: Arc<Semaphore>,
    slots: Arc<Semaphore>,
    pending: mpsc::Sender<Pending>,
}

impl<R: AsyncRead + Unpin, B: Backend> Requests<R, B> {
    async fn run(&mut self) -> Result<(), ConnectionError> {
        loop {
            // Neither semaphore is ever closed, and the writing half outlives this one.
            let Ok(slot) = self.slots.clone().acquire_owned().await else { return Ok(()) };
            let idle = || self.slots.available_permits() + 1 == limits::REQUESTS_IN_FLIGHT;
            let Some(frame) = self.frames.next(idle).await? else { return Ok(()) };
            let Frame { mut bytes, memory } = frame;
            let Some(memory) = self.charge(&bytes, memory).await? else { return Ok(()) };
            let request = decode_request(&mut bytes)?;
            drop(bytes);
            let held = Held { _memory: memory, _slot: slot };
            let pending = begin(self.context.clone(), request, held).await;
            if self.pending.send(pending).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Adds what the decoded form takes to what the frame has taken. Where that is not free at
    /// once the frame's share is given back first: waiting while holding could wait for ever.
    async fn charge(
        &self,
        frame: &[u8],
        mut held: OwnedSemaphorePermit,
    ) -> Result<Option<OwnedSemaphorePermit>, ConnectionError> {
        let more = permits(decoded_bytes(frame)?);
        if let Ok(extra) = self.memory.clone().try_acquire_many_owned(more) {
            held.merge(extra);
            return Ok(Some(held));
        }
        let all = permits(held.num_permits()).saturating_add(more);
        drop(held);
        Ok(self.memory.clone().acquire_many_owned(all).await.ok())
    }
}

/// Bytes as permits of a semaphore; a frame's bound and an item's keep them far below 2^32.
pub(super) fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Starts a handler and polls it once: a Produce has then reached the broker, in order.
async fn begin<B: Backend>(context: Rc<Context<B>>, request: ClientRequest, held: Held) -> Pending {
    let (correlation_id, version) = (request.correlation_id, request.version);
    let mut handling = Box::pin(async move {
        let fetch = match request.body {
            apis::Request::Fetch(_) => Some(context.fetches.clone().lock_owned().await),
            _ => None,
        };
        (apis::handle(&context, request).await, fetch)
    });
    let first = poll_fn(|cx| Poll::Ready(handling.as_mut().poll(cx))).await;
    Box::pin(async move {
        let (reply, _fetch) = match first {
            Poll::Ready(answer) => answer,
            Poll::Pending => handling.await,
        };
        Answered { correlation_id, version, reply, _held: held, _fetch }
    })
}

/// The writing half: waits for handlers in order and writes what is finished.
struct Responses<W> {
    write: W,
    handlers: Handlers,
    idle: Duration,
}

impl<W: AsyncWrite + Unpin> Responses<W> {
    /// Handlers go on while a client is slow to take what was answered before: one that waits for its
    /// turn, or for room that it was given, would hold up others'.
    async fn run(self) -> Result<(), ConnectionError> {
        let Responses { mut write, mut handlers, idle } = self;
        while !handlers.are_over() {
            let out = handlers.encode_finished()?;
            if !out.has_remaining() {
                // An answer that is nothing, as with acks=0, may have been the last one.
                if !handlers.are_over() {
                    handlers.go_on().await;
                }
                continue;
            }
            let writing = timeout(idle, write_out(&mut write, out));
            tokio::pin!(writing);
            let written = loop {
                tokio::select! {
                    biased;
                    written = &mut writing => break written,
                    () = handlers.go_on() => {}
                }
            };
            written.map_err(|_| ConnectionError::WriteTimeout)??;
        }
        Ok(())
    }
}

/// The connection's handlers, in the order of their requests.
struct Handlers {
    queue: mpsc::Receiver<Pending>,
    /// More may come.
    is_open: bool,
    running: FuturesOrdered<Pending>,
    /// What is to be written. Each holds its slot, which bounds them.
    finished: VecDeque<Answered>,
}

impl Handlers {
    fn new(queue: mpsc::Receiver<Pending>) -> Handlers {
        let (running, finished) = (FuturesOrdered::new(), VecDeque::new());
        Handlers { queue, is_open: true, running, finished }
    }

    fn are_over(&self) -> bool {
        !self.is_open && self.running.is_empty() && self.finished.is_empty()
    }

    /// Until another one has begun or finished; where there is none, for ever. Nothing is lost if it is
    /// not waited for to the end.
    async fn go_on(&mut self) {
        tokio::select! {
            biased;
            Some(answered) = self.running.next(), if !self.running.is_empty() => {
                self.finished.push_back(answered);
                // Whatever else is finished leaves with it.
                while let Some(Some(answered)) = self.running.next().now_or_never() {
                    self.finished.push_back(answered);
                }
            }
            next = self.queue.recv(), if self.is_open => match next {
                Some(pending) => self.running.push_back(pending),
                None => self.is_open = false,
            },
            else => std::future::pending().await,
        }
    }

    fn encode_finished(&mut self) -> Result<SegmentedBuf, ConnectionError> {
        let mut out = SegmentedBuf::new();
        while out.remaining() < limits::RESPONSE_COALESCE
            && let Some(answered) = self.finished.pop_front()
        {
            encode(answered, &mut out)?;
        }
        Ok(out)
    }
}

async fn write_out<W>(write: &mut W, mut out: SegmentedBuf) -> Result<(), ConnectionError>
where
    W: AsyncWrite + Unpin,
{
    write.write_all_buf(&mut out).await.map_err(ConnectionError::Write)?;
    write.flush().await.map_err(ConnectionError::Write)
}

/// Appends a whole response frame. Its length is written when the rest stands.
fn encode(answered: Answered, out: &mut SegmentedBuf) -> Result<(), ConnectionError> {
    let Answered { correlation_id, version, reply, .. } = answered;
    let response = match reply {
        Reply::Response(response) => response,
        Reply::Silent => return Ok(()),
        Reply::Close(reason) => return Err(ConnectionError::Silent(reason)),
    };
    let start = out.offset();
    out.put_i32(0);
    response.encode(correlation_id, version, out).map_err(ConnectionError::Encode)?;
    let size = out.offset() - start - 4;
    let length = i32::try_from(size).map_err(|_| ConnectionError::ResponseTooLong(size))?;
    out.patch_i32(start, length).map_err(ConnectionError::Encode)
}
