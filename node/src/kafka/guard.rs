//! From a frame's bytes to a request: API and version against our table, then the request's shape,
//! and only then the codec.

use bytes::Bytes;
use proto_kafka::error::ProtoError;
use proto_kafka::messages::RequestHeader;
use proto_kafka::protocol::Decodable;

use super::apis::{self, Api, Request};
use super::schema::{SchemaError, Walk, text};

/// A request whose form is known to be good.
#[derive(Clone, Debug)]
pub struct ClientRequest {
    pub correlation_id: i32,
    pub client_id: Option<String>,
    /// The version in which to answer.
    pub version: i16,
    pub body: Request,
    /// Array elements and tagged fields in it, each of which takes up to
    /// [`crate::limits::REQUEST_ITEM_BYTES`].
    pub items: usize,
}

/// Why a frame is no request that can be answered; the connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("a frame of {0} bytes is too short for a request header")]
    NoHeader(usize),
    #[error("API key {0} is not served")]
    UnknownApi(i16),
    #[error("{api} version {version} is not served; {min} to {max} are")]
    Version { api: &'static str, version: i16, min: i16, max: i16 },
    #[error("{api} version {version} does not have its form")]
    Shape { api: &'static str, version: i16, source: SchemaError },
    /// A tagged field whose declared size is not its size.
    #[error("{api} version {version} has two readings")]
    Ambiguous { api: &'static str, version: i16 },
    #[error("{api} version {version} cannot be decoded")]
    Decode { api: &'static str, version: i16, source: ProtoError },
}

/// The fixed beginning of every request header, and what the walk over the rest found.
#[derive(Clone, Copy, Debug)]
struct Start {
    api: &'static Api,
    version: i16,
    correlation_id: i32,
}

impl Start {
    fn read(frame: &[u8]) -> Result<Start, RequestError> {
        let Some(&[k0, k1, v0, v1, c0, c1, c2, c3]) = frame.first_chunk() else {
            return Err(RequestError::NoHeader(frame.len()));
        };
        let key = i16::from_be_bytes([k0, k1]);
        Ok(Start {
            api: apis::find(key).ok_or(RequestError::UnknownApi(key))?,
            version: i16::from_be_bytes([v0, v1]),
            correlation_id: i32::from_be_bytes([c0, c1, c2, c3]),
        })
    }

    fn is_served(&self) -> bool {
        (self.api.min..=self.api.max).contains(&self.version)
    }

    /// Walks over the whole frame: how many elements it has, and how many bytes follow.
    fn walk(&self, frame: &[u8]) -> Result<(usize, usize), RequestError> {
        let (api, version) = (self.api.name, self.version);
        self.walked(frame).map_err(|source| RequestError::Shape { api, version, source })
    }

    fn walked(&self, frame: &[u8]) -> Result<(usize, usize), SchemaError> {
        let flexible = self.version >= self.api.schema.flexible_from;
        let after_fixed = frame.get(8..).unwrap_or_default();
        // The client id stays in the old encoding even where the header has tagged fields.
        let mut client_id = Walk::new(after_fixed, self.version, false);
        client_id.fields(&[text()])?;
        let mut rest = Walk::new(client_id.left(), self.version, flexible);
        rest.fields(&[])?;
        rest.fields(self.api.schema.fields)?;
        Ok((rest.items(), rest.left().len()))
    }
}

/// Decodes the request in `frame` (without its length). Memory beside the frame is bounded by
/// [`crate::limits::REQUEST_ITEM_BYTES`] for each element that the frame really holds; records and
/// strings stay slices of the frame.
pub fn decode_request(frame: &mut Bytes) -> Result<ClientRequest, RequestError> {
    let start = Start::read(frame)?;
    let Start { api, version, correlation_id } = start;
    if !start.is_served() {
        // A client that is newer than we are opens with a version that we do not know, and reads
        // from a version 0 answer what we do know (KIP-511).
        if api.key == apis::API_VERSIONS_KEY && version > api.max {
            let body = Request::UnknownApiVersions;
            return Ok(ClientRequest {
                correlation_id,
                client_id: None,
                version: 0,
                body,
                items: 0,
            });
        }
        let (api, min, max) = (api.name, api.min, api.max);
        return Err(RequestError::Version { api, version, min, max });
    }
    let (items, left) = start.walk(frame)?;
    let undecodable = |source| RequestError::Decode { api: api.name, version, source };
    let header_version = if version >= api.schema.flexible_from { 2 } else { 1 };
    let header = RequestHeader::decode(frame, header_version).map_err(undecodable)?;
    let body = Request::decode(api.key, frame, version).map_err(undecodable)?;
    // What was walked over must be what was decoded, or the walk has bounded nothing.
    if frame.len() != left {
        return Err(RequestError::Ambiguous { api: api.name, version });
    }
    let client_id = header.client_id.map(|id| id.to_string());
    Ok(ClientRequest { correlation_id, client_id, version, body, items })
}

/// The memory that decoding `frame` takes at most, beside the frame itself.
pub fn decoded_bytes(frame: &[u8]) -> Result<usize, RequestError> {
    let start = Start::read(frame)?;
    if !start.is_served() {
        return Ok(0);
    }
    let (items, _) = start.walk(frame)?;
    Ok(items * crate::limits::REQUEST_ITEM_BYTES)
}
