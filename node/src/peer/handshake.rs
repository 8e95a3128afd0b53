//! Who is there? Asked both ways before anything else is read.
//!
//! ```text
//! dialler ── PREFACE, Hello ──▶ acceptor    is this a node of my cluster that may speak to me?
//!         ◀── Hello | Refusal ──            is this the node that I dialled?
//!         ── Ready | Refusal ──▶            the link is up (after a probe: the connection closes)
//! ```
//!
//! Without TLS this keeps nodes from being mixed up; it does not keep out an attacker.

use std::io::Cursor;
use std::ops::RangeInclusive;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use kraft_model::{ClusterId, DirectoryId, Incarnation, NodeId};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Chain};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::codec::{FramedRead, FramedWrite};

use super::frame::{FrameCodec, FrameError, Kind, Outgoing, PREFACE};
use super::wire;
use crate::config::Roles;
use crate::limits::HANDSHAKE_TIME;

/// Versions of the peer protocol that this release speaks.
const VERSIONS: RangeInclusive<u8> = 1..=1;

/// A longer reason is cut: it goes into the other side's log.
const REASON_CHARS: usize = 1024;

/// Who this node is, to its peers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalPeer {
    pub cluster: ClusterId,
    pub node: NodeId,
    /// The directory of the metadata log.
    pub directory: DirectoryId,
    pub roles: Roles,
    pub incarnation: Incarnation,
    /// Where other nodes reach this one: host, port.
    pub endpoint: (String, u16),
}

/// What a node says of itself. Fields may be added at the end, with a default.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub cluster: ClusterId,
    pub node: NodeId,
    pub directory: DirectoryId,
    pub controller: bool,
    pub broker: bool,
    pub incarnation: Incarnation,
    /// Lowest and highest version of the peer protocol that the node speaks.
    pub versions: (u8, u8),
    /// Where other nodes reach it: host, port.
    pub endpoint: (String, u16),
    /// Only the answer is wanted, not a link.
    pub probe: bool,
}

impl Hello {
    pub fn roles(&self) -> Roles {
        Roles { controller: self.controller, broker: self.broker }
    }
}

/// Why no link came to be.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    #[error("no address of {host} could be reached")]
    Dial {
        host: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the other side does not speak kraft's peer protocol")]
    Preface,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the connection closed before the handshake was done")]
    Closed,
    #[error("the handshake took too long")]
    Slow,
    /// Refused here.
    #[error("refused: {reason}")]
    Refused { peer: NodeId, reason: String },
    /// Refused there.
    #[error("the other side refused: {0}")]
    RefusedByPeer(String),
}

/// A connection cut into frames. What had been read before comes first.
pub(super) struct Wire {
    pub reader: FramedRead<Chain<Cursor<Bytes>, OwnedReadHalf>, FrameCodec>,
    pub writer: FramedWrite<OwnedWriteHalf, FrameCodec>,
}

impl Wire {
    fn new(reader: Chain<Cursor<Bytes>, OwnedReadHalf>, writer: OwnedWriteHalf) -> Wire {
        Wire {
            reader: FramedRead::new(reader, FrameCodec::handshake()),
            writer: FramedWrite::new(writer, FrameCodec::link()),
        }
    }

    /// From now on larger frames may come.
    fn opened(mut self) -> Wire {
        *self.reader.decoder_mut() = FrameCodec::link();
        self
    }

    async fn say<T: Serialize>(&mut self, kind: Kind, body: &T) -> Result<(), HandshakeError> {
        self.writer.send(Outgoing::new(kind, body, Vec::new())?).await.map_err(Into::into)
    }

    /// Says why, so that the operator of the other side can read it there, and fails with it.
    async fn refuse<T>(&mut self, peer: NodeId, reason: String) -> Result<T, HandshakeError> {
        // The connection closes either way.
        let _ = self.say(Kind::Refusal, &reason).await;
        let _ = self.writer.get_mut().shutdown().await;
        Err(HandshakeError::Refused { peer, reason })
    }

    /// The next frame, if it is of this kind.
    async fn hear<T: serde::de::DeserializeOwned>(
        &mut self,
        kind: Kind,
    ) -> Result<T, HandshakeError> {
        let frame = self.reader.next().await.ok_or(HandshakeError::Closed)??;
        match frame.kind {
            found if found == kind => Ok(wire::plain(&frame)?),
            Kind::Refusal => {
                let reason: String = wire::plain(&frame)?;
                Err(HandshakeError::RefusedByPeer(reason.chars().take(REASON_CHARS).collect()))
            }
            other => Err(FrameError::Unexpected(other).into()),
        }
    }
}

impl LocalPeer {
    /// An operator's tool: no node, without a role, that asks a node of `cluster`. Its id is a
    /// random one among the highest, which nobody gives to a node.
    pub fn tool(cluster: ClusterId) -> LocalPeer {
        let random = uuid::Uuid::new_v4().as_u128();
        LocalPeer {
            cluster,
            node: NodeId(i32::MAX - (random & 0xffff) as i32),
            directory: DirectoryId::ZERO,
            roles: Roles { controller: false, broker: false },
            incarnation: Incarnation(random),
            endpoint: (String::new(), 0),
        }
    }

    fn hello(&self, probe: bool) -> Hello {
        Hello {
            cluster: self.cluster,
            node: self.node,
            directory: self.directory,
            controller: self.roles.controller,
            broker: self.roles.broker,
            incarnation: self.incarnation,
            versions: (*VERSIONS.start(), *VERSIONS.end()),
            endpoint: self.endpoint.clone(),
            probe,
        }
    }

    /// What every node refuses, whatever its policy; the reason names what differs.
    fn check(&self, hello: &Hello) -> Result<(), String> {
        // An operator's tool asks any node who it is; it gets no link by that.
        let is_question = hello.probe && hello.cluster == ClusterId::ZERO;
        if hello.cluster != self.cluster && !is_question {
            return Err(format!(
                "node {} is of cluster {}, node {} of cluster {}",
                hello.node, hello.cluster, self.node, self.cluster
            ));
        }
        if hello.node == self.node && hello.incarnation != self.incarnation {
            return Err(format!(
                "node.id {} is in use by two processes: one with directory id {}, one with {}",
                self.node, self.directory, hello.directory
            ));
        }
        if hello.node == self.node {
            return Err(format!("node {} has reached itself", self.node));
        }
        let (oldest, newest) = hello.versions;
        if oldest > *VERSIONS.end() || newest < *VERSIONS.start() {
            return Err(format!(
                "node {} speaks versions {oldest} to {newest} of the peer protocol, node {} \
                 versions {} to {}",
                hello.node,
                self.node,
                VERSIONS.start(),
                VERSIONS.end()
            ));
        }
        Ok(())
    }
}

/// Greets a connection that was dialled in search of `peer`.
pub(super) async fn greet(
    stream: TcpStream,
    local: &LocalPeer,
    peer: NodeId,
    probe: bool,
    admit: impl FnOnce(&Hello) -> Result<(), String>,
) -> Result<(Wire, Hello), HandshakeError> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    writer.write_all(&PREFACE).await?;
    let mut wire = Wire::new(Cursor::new(Bytes::new()).chain(reader), writer);
    wire.say(Kind::Hello, &local.hello(probe)).await?;
    let hello: Hello = wire.hear(Kind::Hello).await?;
    let checked = local.check(&hello).and_then(|()| match hello.node == peer {
        true => Ok(()),
        false => Err(format!("node {peer} was dialled, node {} answered", hello.node)),
    });
    // A probe only asks who is there; whether a link would be admitted is another question.
    let checked = if probe { checked } else { checked.and_then(|()| admit(&hello)) };
    if let Err(reason) = checked {
        return wire.refuse(hello.node, reason).await;
    }
    if !probe {
        wire.say(Kind::Ready, &()).await?;
    }
    Ok((wire.opened(), hello))
}

/// Asks whoever listens at `endpoint` who it is, without being part of its cluster.
///
/// # Errors
/// Nobody answers there, or no node of kraft does.
pub async fn identify(endpoint: (&str, u16)) -> Result<Hello, HandshakeError> {
    let ask = async {
        let stream = TcpStream::connect(endpoint).await?;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        writer.write_all(&PREFACE).await?;
        let mut wire = Wire::new(Cursor::new(Bytes::new()).chain(reader), writer);
        wire.say(Kind::Hello, &LocalPeer::tool(ClusterId::ZERO).hello(true)).await?;
        wire.hear(Kind::Hello).await
    };
    tokio::time::timeout(HANDSHAKE_TIME, ask).await.map_err(|_| HandshakeError::Closed)?
}

/// Answers a connection that came in; `first` has been read of it already. `None`: it was a probe
/// and has its answer.
pub(super) async fn welcome(
    stream: TcpStream,
    first: Bytes,
    local: &LocalPeer,
    admit: impl FnOnce(&Hello) -> Result<(), String>,
) -> Result<Option<(Wire, Hello)>, HandshakeError> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let mut reader = Cursor::new(first).chain(reader);
    let mut preface = [0; PREFACE.len()];
    reader.read_exact(&mut preface).await?;
    if preface != PREFACE {
        return Err(HandshakeError::Preface);
    }
    let mut wire = Wire::new(reader, writer);
    let hello: Hello = wire.hear(Kind::Hello).await?;
    if let Err(reason) = local.check(&hello).and_then(|()| admit(&hello)) {
        return wire.refuse(hello.node, reason).await;
    }
    wire.say(Kind::Hello, &local.hello(false)).await?;
    if hello.probe {
        return Ok(None);
    }
    let () = wire.hear(Kind::Ready).await?;
    Ok(Some((wire.opened(), hello)))
}
