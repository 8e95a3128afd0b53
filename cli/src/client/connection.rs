//! One connection to one broker: requests leave in order, answers come back in the same order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use proto_kafka::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader,
};
use proto_kafka::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::ClientError;
use super::versions::Versions;

/// Requests queued behind the socket; a caller beyond them waits.
const WRITE_QUEUE: usize = 64;
/// An answer may be as large as a request may be for a broker (`socket.request.max.bytes`).
const MAX_FRAME: usize = 100 * 1024 * 1024;
const READ_BUFFER: usize = 64 * 1024;
const UNSUPPORTED_VERSION: i16 = 35;

/// An open connection whose API versions are known. Calls may overlap; dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    address: String,
    client_id: StrBytes,
    versions: Versions,
    next_correlation: AtomicI32,
    writer: mpsc::Sender<Outgoing>,
    waiting: Arc<Waiting>,
    tasks: [AbortHandle; 2],
}

#[derive(Debug)]
struct Outgoing {
    frame: Bytes,
    /// `None`: the broker will not answer (acks=0).
    expects: Option<Expected>,
}

#[derive(Debug)]
struct Expected {
    correlation: i32,
    reply: oneshot::Sender<Result<Bytes, ClientError>>,
}

/// Who waits for an answer, in the order of the requests; or why nobody can any more.
#[derive(Debug)]
struct Waiting {
    address: String,
    state: Mutex<WaitingState>,
}

#[derive(Debug, Default)]
struct WaitingState {
    expected: VecDeque<Expected>,
    broken: Option<ClientError>,
}

impl Connection {
    /// Connects and asks for the broker's versions, all within `timeout`.
    pub async fn open(
        address: &str,
        client_id: &str,
        timeout: Duration,
    ) -> Result<Connection, ClientError> {
        let failed = |reason: String| ClientError::Connect { address: address.to_owned(), reason };
        let within = || format!("no answer within {} ms", timeout.as_millis());
        let stream = tokio::time::timeout(timeout, TcpStream::connect(address))
            .await
            .map_err(|_| failed(within()))?
            .map_err(|error| failed(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        let mut connection = Connection::over(stream, address, client_id);
        connection.versions = connection.ask_versions(timeout).await?;
        Ok(connection)
    }

    fn over(stream: TcpStream, address: &str, client_id: &str) -> Connection {
        let waiting = Arc::new(Waiting { address: address.to_owned(), state: Mutex::default() });
        let (read_half, write_half) = stream.into_split();
        let (writer, requests) = mpsc::channel(WRITE_QUEUE);
        let write = tokio::spawn(write_requests(write_half, requests, Arc::clone(&waiting)));
        let read = tokio::spawn(read_answers(read_half, Arc::clone(&waiting)));
        Connection {
            address: address.to_owned(),
            client_id: StrBytes::from_string(client_id.to_owned()),
            versions: Versions::default(),
            next_correlation: AtomicI32::new(0),
            writer,
            waiting,
            tasks: [write.abort_handle(), read.abort_handle()],
        }
    }

    pub fn is_open(&self) -> bool {
        self.waiting.lock().broken.is_none()
    }

    /// The version that both ends speak of `api`.
    pub fn version(&self, api: ApiKey) -> Result<i16, ClientError> {
        self.versions
            .negotiate(api)
            .ok_or_else(|| ClientError::Version { address: self.address.clone(), api })
    }

    /// Sends `request` in the highest common version and waits for the answer.
    pub async fn call<R: Request>(
        &self,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response, ClientError> {
        let api = api_of::<R>();
        let version = self.version(api)?;
        let answer = self.exchange(request, version, timeout).await?;
        self.decode::<R>(answer, version)
    }

    /// Sends a request that the broker never answers (Produce with acks=0).
    pub async fn send_only<R: Request>(&self, request: &R) -> Result<(), ClientError> {
        let version = self.version(api_of::<R>())?;
        let (frame, _) = self.encode(request, version)?;
        self.enqueue(Outgoing { frame, expects: None }).await
    }

    /// KIP-511: a broker that does not know our version of ApiVersions answers in version 0 and
    /// names the versions that it does know.
    async fn ask_versions(&self, timeout: Duration) -> Result<Versions, ClientError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("kraft"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let mut version = 3;
        loop {
            let answer = self.exchange(&request, version, timeout).await?;
            // Header version 0 always: the error code follows the correlation id at once.
            let refused =
                answer.get(4..6).is_some_and(|code| code == [0, UNSUPPORTED_VERSION as u8]);
            if refused && version > 0 {
                version = 0;
                continue;
            }
            let response: ApiVersionsResponse =
                self.decode::<ApiVersionsRequest>(answer, version)?;
            ClientError::check(ApiKey::ApiVersions, response.error_code, None)?;
            return Ok(Versions::new(&response));
        }
    }

    async fn exchange<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<Bytes, ClientError> {
        let (frame, correlation) = self.encode(request, version)?;
        let (reply, answer) = oneshot::channel();
        let expects = Some(Expected { correlation, reply });
        let exchange = async {
            self.enqueue(Outgoing { frame, expects }).await?;
            match answer.await {
                Ok(result) => result,
                Err(_) => Err(self.broken("it was closed")),
            }
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(result) => result,
            Err(_) => {
                // Later answers on this connection would wait behind this one.
                self.waiting.fail("a request timed out");
                let timeout_ms = timeout.as_millis();
                Err(ClientError::Timeout {
                    address: self.address.clone(),
                    api: api_of::<R>(),
                    timeout_ms,
                })
            }
        }
    }

    async fn enqueue(&self, outgoing: Outgoing) -> Result<(), ClientError> {
        self.writer.send(outgoing).await.map_err(|_| self.broken("it was closed"))
    }

    fn broken(&self, otherwise: &str) -> ClientError {
        let known = self.waiting.lock().broken.clone();
        known.unwrap_or_else(|| ClientError::Closed {
            address: self.address.clone(),
            reason: otherwise.to_owned(),
        })
    }

    fn encode<R: Request>(&self, request: &R, version: i16) -> Result<(Bytes, i32), ClientError> {
        let correlation = self.next_correlation.fetch_add(1, Ordering::Relaxed);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(correlation)
            .with_client_id(Some(self.client_id.clone()));
        let failed = |reason: String| ClientError::Encode { api: api_of::<R>(), reason };
        let size = request.compute_size(version).map_err(|error| failed(error.to_string()))?;
        let mut frame = BytesMut::with_capacity(size + 256);
        frame.put_i32(0);
        header
            .encode(&mut frame, R::header_version(version))
            .and_then(|()| request.encode(&mut frame, version))
            .map_err(|error| failed(error.to_string()))?;
        let length = frame.len() - 4;
        if length > MAX_FRAME {
            return Err(failed(format!("{length} bytes are more than a broker takes")));
        }
        frame[..4].copy_from_slice(&(length as i32).to_be_bytes());
        Ok((frame.freeze(), correlation))
    }

    fn decode<R: Request>(
        &self,
        mut answer: Bytes,
        version: i16,
    ) -> Result<R::Response, ClientError> {
        ResponseHeader::decode(&mut answer, R::Response::header_version(version))
            .and_then(|_| R::Response::decode(&mut answer, version))
            .map_err(|error| ClientError::Decode {
                address: self.address.clone(),
                api: api_of::<R>(),
                reason: error.to_string(),
            })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, WaitingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers who expects the next answer; on a broken connection it hears so at once.
    fn expect(&self, expected: Expected) {
        let mut state = self.lock();
        match &state.broken {
            Some(error) => drop(expected.reply.send(Err(error.clone()))),
            None => state.expected.push_back(expected),
        }
    }

    /// Hands `frame` to whoever is first in line.
    fn answer(&self, frame: Bytes) -> Result<(), String> {
        let correlation = (&frame[..]).try_get_i32().map_err(|_| "an answer is too short")?;
        let first = self.lock().expected.pop_front();
        match first {
            Some(expected) if expected.correlation == correlation => {
                // Whoever gave up waiting is gone; the answer is of no use then.
                let _ = expected.reply.send(Ok(frame));
                Ok(())
            }
            Some(expected) => Err(format!(
                "answer {correlation} came where {} was expected",
                expected.correlation
            )),
            None => Err(format!("answer {correlation} was never asked for")),
        }
    }

    fn fail(&self, reason: &str) {
        let mut state = self.lock();
        let closed =
            ClientError::Closed { address: self.address.clone(), reason: reason.to_owned() };
        let error = state.broken.get_or_insert(closed).clone();
        for expected in state.expected.drain(..) {
            let _ = expected.reply.send(Err(error.clone()));
        }
    }
}

async fn write_requests(
    mut socket: OwnedWriteHalf,
    mut requests: mpsc::Receiver<Outgoing>,
    waiting: Arc<Waiting>,
) {
    while let Some(Outgoing { frame, expects }) = requests.recv().await {
        if let Some(expected) = expects {
            waiting.expect(expected);
        }
        if let Err(error) = socket.write_all(&frame).await {
            waiting.fail(&error.to_string());
            return;
        }
    }
}

async fn read_answers(mut socket: OwnedReadHalf, waiting: Arc<Waiting>) {
    let mut buffer = BytesMut::with_capacity(READ_BUFFER);
    let reason = loop {
        match split_frame(&mut buffer) {
            Ok(Some(frame)) => match waiting.answer(frame) {
                Ok(()) => continue,
                Err(reason) => break reason,
            },
            Ok(None) => {}
            Err(reason) => break reason,
        }
        match socket.read_buf(&mut buffer).await {
            Ok(0) => break "the broker closed it".to_owned(),
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    waiting.fail(&reason);
}

/// The next whole frame, without its length; makes room for the rest of one that is not whole.
fn split_frame(buffer: &mut BytesMut) -> Result<Option<Bytes>, String> {
    let Some(prefix) = buffer.first_chunk::<4>() else {
        buffer.reserve(READ_BUFFER);
        return Ok(None);
    };
    let length = i32::from_be_bytes(*prefix);
    let size = usize::try_from(length).ok().filter(|size| *size <= MAX_FRAME);
    let size = size.ok_or_else(|| format!("a frame of {length} bytes was announced"))?;
    if buffer.len() < 4 + size {
        buffer.reserve((4 + size - buffer.len()).max(READ_BUFFER));
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(size).freeze()))
}

/// Every request type of the protocol crate has a known key.
fn api_of<R: Request>() -> ApiKey {
    ApiKey::try_from(R::KEY).expect("a request type's own key is a known key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_split_however_the_bytes_arrive() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 2, 7][..]);
        assert_eq!(split_frame(&mut buffer), Ok(None));
        buffer.extend_from_slice(&[8, 0, 0]);
        assert_eq!(split_frame(&mut buffer), Ok(Some(Bytes::from_static(&[7, 8]))));
        assert_eq!(split_frame(&mut buffer), Ok(None));
    }

    #[test]
    fn a_frame_that_announces_too_much_allocates_nothing() {
        let mut buffer = BytesMut::from(&[0x7f, 0xff, 0xff, 0xff][..]);
        assert!(split_frame(&mut buffer).is_err());
        assert!(buffer.capacity() < READ_BUFFER);
        let mut negative = BytesMut::from(&[0xff, 0xff, 0xff, 0xff][..]);
        assert!(split_frame(&mut negative).is_err());
    }
}
