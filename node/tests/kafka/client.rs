//! The client's side: frames, requests and batches, and one connection to a served stream.

use std::future::Future;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kraft_node::kafka::{ConnectionError, ConnectionLimits, serve};
use proto_kafka::messages::{RequestHeader, ResponseHeader};
use proto_kafka::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{JoinHandle, LocalSet};

use crate::fake::{FakeBackend, LISTENER};

/// Longer than any wait in these tests; one that passes has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Runs a story on one thread, as on an arbiter, within [`DEADLINE`].
pub fn run(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread");
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(DEADLINE, story).await.expect("the story ends in time");
    });
}

/// The other end of a served connection.
pub struct Client {
    pub stream: DuplexStream,
    pub served: JoinHandle<Result<(), ConnectionError>>,
    next_id: i32,
}

impl Client {
    pub fn connect(backend: &FakeBackend) -> Client {
        Client::connect_with(backend, ConnectionLimits::default())
    }

    pub fn connect_with(backend: &FakeBackend, limits: ConnectionLimits) -> Client {
        let (stream, server) = tokio::io::duplex(1 << 20);
        let backend = backend.clone();
        let served = tokio::task::spawn_local(async move {
            serve(server, BytesMut::new(), LISTENER.into(), backend, limits).await
        });
        Client { stream, served, next_id: 0 }
    }

    pub async fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let id = self.send(request, version).await;
        self.receive::<R>(id, version).await
    }

    /// Sends without waiting; the correlation id.
    pub async fn send<R: Request>(&mut self, request: &R, version: i16) -> i32 {
        self.next_id += 1;
        let frame = framed(&encoded(request, version, self.next_id));
        self.stream.write_all(&frame).await.expect("the server takes the request");
        self.next_id
    }

    /// The next response, which must be the one of `id`, decoded to its last byte.
    pub async fn receive<R: Request>(&mut self, id: i32, version: i16) -> R::Response {
        let mut frame = self.frame().await.expect("a response");
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version))
            .expect("a response header");
        assert_eq!(header.correlation_id, id, "responses come in the order of the requests");
        let response = R::Response::decode(&mut frame, version).expect("a response body");
        assert!(frame.is_empty(), "{} bytes are left behind the response", frame.len());
        response
    }

    /// The next frame, or `None` when the server has closed.
    pub async fn frame(&mut self) -> Option<Bytes> {
        let length = self.stream.read_u32().await.ok()?;
        let mut frame = vec![0; length as usize];
        self.stream.read_exact(&mut frame).await.expect("a whole frame");
        Some(frame.into())
    }

    /// How the server ended the connection.
    pub async fn end(self) -> Result<(), ConnectionError> {
        drop(self.stream);
        self.served.await.expect("serving does not panic")
    }
}

/// A request with its header, without the frame's length.
pub fn encoded<R: Request>(request: &R, version: i16, id: i32) -> BytesMut {
    let mut bytes = BytesMut::new();
    RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(id)
        .with_client_id(Some(StrBytes::from_static_str("test")))
        .encode(&mut bytes, R::header_version(version))
        .expect("a request header");
    request.encode(&mut bytes, version).expect("a request body");
    bytes
}

pub fn framed(request: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(request.len() + 4);
    frame.put_u32(request.len() as u32);
    frame.put_slice(request);
    frame.freeze()
}

/// A record batch as a producer makes it, with `count` records that nobody looks into.
pub fn batch(count: i32, payload: &[u8]) -> BytesMut {
    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_i32((61 - 12 + payload.len()) as i32);
    batch.put_i32(-1);
    batch.put_i8(2);
    batch.put_u32(0);
    batch.put_i16(0);
    batch.put_i32(count - 1);
    batch.put_i64(1_000);
    batch.put_i64(2_000);
    batch.put_i64(-1);
    batch.put_i16(-1);
    batch.put_i32(-1);
    batch.put_i32(count);
    batch.put_slice(payload);
    seal(&mut batch);
    batch
}

/// Writes the checksum that fits.
pub fn seal(batch: &mut BytesMut) {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// The base offsets of the batches in a fetch's records.
pub fn base_offsets(mut records: Bytes) -> Vec<i64> {
    let mut bases = Vec::new();
    while records.has_remaining() {
        bases.push((&records[..8]).get_i64());
        let size = 12 + (&records[8..12]).get_i32() as usize;
        records.advance(size);
    }
    bases
}
