//! Frames on a link.
//!
//! ```text
//! u32 length of what follows | u8 version | u8 kind | u32 crc32c | u32 header length
//!                            | CBOR header | attachments, raw, one behind the other
//! ```
//!
//! The header is the pair of the attachments' lengths and the kind's body. The checksum covers
//! version, kind, header length and header; attachments are record batches, which have their own.
//! A connection begins with [`PREFACE`].

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_serde::{Deserializer, Serializer};
use tokio_util::codec::{Decoder, Encoder};

use super::cbor::{Cbor, CborError};
use crate::limits::{HANDSHAKE_BYTES, PEER_FRAME, PEER_HEADER};

/// The first bytes of a connection between nodes. As the length of a Kafka request they would be
/// negative, so that one port can serve both protocols.
pub const PREFACE: [u8; 4] = [0xff, b'K', b'R', b'F'];

/// Bytes of a frame that its length counts and that come before the header.
const FIXED: usize = 1 + 1 + 4 + 4;

/// How far the read buffer grows ahead of what has arrived, whatever length was declared.
const READ_AHEAD: usize = 256 * 1024;

/// What a frame is. Numbers are never used again for something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    Hello = 1,
    Refusal = 2,
    Ready = 3,
    Quorum = 16,
    Controller = 17,
    ControllerReply = 18,
    ReplicaFetch = 19,
    ReplicaFetched = 20,
    DescribeQuorum = 21,
    QuorumDescribed = 22,
    Ping = 23,
    Pong = 24,
    ChangeVoters = 25,
    VotersChanged = 26,
}

const KINDS: [Kind; 14] = [
    Kind::Hello,
    Kind::Refusal,
    Kind::Ready,
    Kind::Quorum,
    Kind::Controller,
    Kind::ControllerReply,
    Kind::ReplicaFetch,
    Kind::ReplicaFetched,
    Kind::DescribeQuorum,
    Kind::QuorumDescribed,
    Kind::Ping,
    Kind::Pong,
    Kind::ChangeVoters,
    Kind::VotersChanged,
];

impl Kind {
    /// The newest version of this kind's body that this release knows; 1 is the first.
    pub fn newest(self) -> u8 {
        1
    }

    fn of(number: u8) -> Option<Kind> {
        KINDS.into_iter().find(|&kind| kind as u8 == number)
    }
}

/// Why bytes are not a frame, or a message not one that may be sent.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("reading or writing failed")]
    Io(#[from] std::io::Error),
    #[error("a frame of {length} bytes; the limit is {limit}")]
    Long { length: usize, limit: usize },
    #[error("a frame's header of {length} bytes; the limit is {limit}")]
    Header { length: usize, limit: usize },
    #[error("a frame of {length} bytes is shorter than its own fields")]
    Short { length: usize },
    #[error("the header's checksum is {found:#010x}, the frame says {expected:#010x}")]
    Crc { expected: u32, found: u32 },
    #[error("frame kind {0} is not known to this release; the sender is newer")]
    Kind(u8),
    #[error("version {version} of {kind:?} is not known to this release (newest: {newest})")]
    Version { kind: Kind, version: u8, newest: u8 },
    #[error("the header of {kind:?} cannot be read")]
    Body {
        kind: Kind,
        #[source]
        source: CborError,
    },
    #[error("{kind:?} cannot be encoded")]
    Encode {
        kind: Kind,
        #[source]
        source: CborError,
    },
    #[error("the attachments' lengths do not add up to the {have} bytes that are there")]
    Attachments { have: usize },
    #[error("{0:?} is not expected here")]
    Unexpected(Kind),
    #[error("attachment {index} does not hold whole record batches")]
    Batch {
        index: usize,
        #[source]
        source: crate::storage::BatchError,
    },
}

/// A frame to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    kind: Kind,
    header: Bytes,
    attachments: Vec<Bytes>,
}

impl Outgoing {
    /// # Errors
    /// [`FrameError::Header`] and [`FrameError::Long`] if the other side would refuse it.
    pub fn new<T: Serialize>(
        kind: Kind,
        body: &T,
        attachments: Vec<Bytes>,
    ) -> Result<Outgoing, FrameError> {
        let size: usize = attachments.iter().map(Bytes::len).sum();
        if size > PEER_FRAME {
            return Err(FrameError::Long { length: size, limit: PEER_FRAME });
        }
        // Each length is at most the sum, which fits.
        let lengths: Vec<u32> = attachments.iter().map(|bytes| bytes.len() as u32).collect();
        let header = std::pin::Pin::new(&mut Cbor)
            .serialize(&(lengths, body))
            .map_err(|source| FrameError::Encode { kind, source })?;
        if header.len() > PEER_HEADER {
            return Err(FrameError::Header { length: header.len(), limit: PEER_HEADER });
        }
        let frame = Outgoing { kind, header, attachments };
        let length = frame.len();
        if length > PEER_FRAME {
            return Err(FrameError::Long { length, limit: PEER_FRAME });
        }
        Ok(frame)
    }

    /// Bytes on the wire, without the length itself.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        FIXED + self.header.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// A frame that arrived whole and whose checksum is right.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub kind: Kind,
    header: BytesMut,
    attached: Bytes,
}

impl Incoming {
    /// The body, and the attachments as slices of the frame.
    ///
    /// # Errors
    /// [`FrameError::Body`] or [`FrameError::Attachments`].
    pub fn read<T: DeserializeOwned>(&self) -> Result<(T, Vec<Bytes>), FrameError> {
        let kind = self.kind;
        let (lengths, body): (Vec<u32>, T) = std::pin::Pin::new(&mut Cbor)
            .deserialize(&self.header)
            .map_err(|source| FrameError::Body { kind, source })?;
        let have = self.attached.len();
        let mut attachments = Vec::with_capacity(lengths.len());
        let mut rest = self.attached.clone();
        for length in lengths {
            if length as usize > rest.len() {
                return Err(FrameError::Attachments { have });
            }
            attachments.push(rest.split_to(length as usize));
        }
        if !rest.is_empty() {
            return Err(FrameError::Attachments { have });
        }
        Ok((body, attachments))
    }
}

/// Cuts a byte stream into frames.
#[derive(Clone, Copy, Debug)]
pub struct FrameCodec {
    limit: usize,
}

impl FrameCodec {
    /// For a connection that has not said who it is.
    pub fn handshake() -> FrameCodec {
        FrameCodec { limit: HANDSHAKE_BYTES }
    }

    /// For a link: after the handshake larger frames may come.
    pub fn link() -> FrameCodec {
        FrameCodec { limit: PEER_FRAME }
    }
}

impl Decoder for FrameCodec {
    type Item = Incoming;
    type Error = FrameError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Incoming>, FrameError> {
        let Some(length) = u32_at(src, 0).map(|length| length as usize) else { return Ok(None) };
        if length > self.limit {
            return Err(FrameError::Long { length, limit: self.limit });
        }
        if length < FIXED {
            return Err(FrameError::Short { length });
        }
        let header_length = u32_at(src, 10).map(|length| length as usize);
        if let Some(header) = header_length {
            let limit = PEER_HEADER.min(length - FIXED);
            if header > limit {
                return Err(FrameError::Header { length: header, limit });
            }
        }
        let (Some(header_length), true) = (header_length, src.len() >= 4 + length) else {
            src.reserve((4 + length - src.len()).min(READ_AHEAD));
            return Ok(None);
        };
        let mut frame = src.split_to(4 + length);
        frame.advance(4);
        cut(frame, header_length).map(Some)
    }
}

fn cut(mut frame: BytesMut, header_length: usize) -> Result<Incoming, FrameError> {
    let (version, number, expected) = (frame.get_u8(), frame.get_u8(), frame.get_u32());
    frame.advance(4);
    let attached = frame.split_off(header_length).freeze();
    let found = checksum(version, number, &frame);
    if found != expected {
        return Err(FrameError::Crc { expected, found });
    }
    let kind = Kind::of(number).ok_or(FrameError::Kind(number))?;
    let newest = kind.newest();
    if version == 0 || version > newest {
        return Err(FrameError::Version { kind, version, newest });
    }
    Ok(Incoming { kind, header: frame, attached })
}

impl Encoder<Outgoing> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, frame: Outgoing, dst: &mut BytesMut) -> Result<(), FrameError> {
        let (version, number) = (frame.kind.newest(), frame.kind as u8);
        dst.reserve(4 + frame.len());
        // Outgoing::new has held both lengths against limits far below 2^32.
        dst.put_u32(frame.len() as u32);
        dst.put_u8(version);
        dst.put_u8(number);
        dst.put_u32(checksum(version, number, &frame.header));
        dst.put_u32(frame.header.len() as u32);
        dst.put_slice(&frame.header);
        frame.attachments.iter().for_each(|bytes| dst.put_slice(bytes));
        Ok(())
    }
}

fn checksum(version: u8, kind: u8, header: &[u8]) -> u32 {
    let length = (header.len() as u32).to_be_bytes();
    let fixed = crc32c::crc32c(&[version, kind, length[0], length[1], length[2], length[3]]);
    crc32c::crc32c_append(fixed, header)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
}
