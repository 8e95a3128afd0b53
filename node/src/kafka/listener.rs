//! Accepting connections: counted, told apart by their first four bytes, and handed on.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::backend::Backend;
use super::connection::{ConnectionError, ConnectionLimits, serve};
use crate::limits;

/// After an accept that failed for want of descriptors, which the next attempt would lack as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The open connections of a node: one count for all its listeners and threads.
#[derive(Clone, Debug)]
pub struct Connections {
    open: Arc<Mutex<Open>>,
    most: usize,
    most_per_ip: usize,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_ip: BTreeMap<IpAddr, usize>,
}

/// One open connection; dropping it makes room for another.
#[derive(Debug)]
pub struct ConnectionSlot {
    connections: Connections,
    ip: IpAddr,
}

impl Default for Connections {
    fn default() -> Self {
        Connections::new(limits::CONNECTIONS, limits::CONNECTIONS_PER_IP)
    }
}

impl Connections {
    /// At most so many connections in all, and from one address.
    pub fn new(most: usize, most_per_ip: usize) -> Connections {
        Connections { open: Arc::default(), most, most_per_ip }
    }

    /// Room for one more from this address, if there is any.
    pub fn try_open(&self, ip: IpAddr) -> Option<ConnectionSlot> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let here = open.by_ip.get(&ip).copied().unwrap_or(0);
        if open.all >= self.most || here >= self.most_per_ip {
            return None;
        }
        open.all += 1;
        open.by_ip.insert(ip, here + 1);
        Some(ConnectionSlot { connections: self.clone(), ip })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        match open.by_ip.get_mut(&self.ip) {
            Some(here) if *here > 1 => *here -= 1,
            _ => {
                open.by_ip.remove(&self.ip);
            }
        }
    }
}

/// One listener on one thread. Several threads may each run one over clones of the same socket.
pub struct Listener<B, P> {
    pub name: String,
    /// The four bytes that open the peer protocol; as a length they would pass every limit.
    pub peer_preface: [u8; 4],
    /// The broker to serve clients with; `None` on a controller's listener, which takes only peers.
    pub backend: Option<B>,
    /// Takes a stream that has begun with the preface, which has been read off it.
    pub on_peer: P,
    pub connections: Connections,
    pub limits: ConnectionLimits,
}

impl<B, P> Listener<B, P>
where
    B: Backend,
    P: Fn(TcpStream, SocketAddr, ConnectionSlot) + 'static,
{
    /// Accepts until the future is dropped, which closes all clients' connections. Must run where
    /// local tasks can be spawned (an arbiter, a `LocalSet`).
    ///
    /// # Errors
    /// If the socket cannot be listened on; what goes wrong with one connection ends only that.
    pub async fn run(self, socket: std::net::TcpListener) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket)?;
        let listener = Rc::new(self);
        let name: Rc<str> = listener.name.as_str().into();
        let mut clients = JoinSet::new();
        loop {
            while clients.try_join_next().is_some() {}
            let (stream, address) = match socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(listener = %name, %error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(slot) = listener.connections.try_open(address.ip()) else {
                tracing::warn!(listener = %name, %address, "too many connections; this one is closed");
                continue;
            };
            let (listener, name) = (listener.clone(), name.clone());
            clients.spawn_local(async move {
                listener.greet(stream, address, slot, name).await;
            });
        }
    }

    /// Reads the first four bytes and hands the stream to whoever they are meant for.
    async fn greet(
        &self,
        mut stream: TcpStream,
        address: SocketAddr,
        slot: ConnectionSlot,
        name: Rc<str>,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(listener = %name, %address, %error, "the connection is gone already");
            return;
        }
        let mut first = [0; 4];
        let limit = match self.backend {
            Some(_) => self.limits.idle,
            None => limits::HANDSHAKE_TIME,
        };
        match timeout(limit, stream.read_exact(&mut first)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::debug!(listener = %name, %address, %error, "closed before it said anything");
                return;
            }
            Err(_) => return,
        }
        if first == self.peer_preface {
            (self.on_peer)(stream, address, slot);
            return;
        }
        let Some(backend) = self.backend.clone() else {
            tracing::warn!(
                listener = %name, %address,
                "a controller's listener takes the peer protocol only; clients connect to brokers"
            );
            return;
        };
        let served =
            serve(stream, BytesMut::from(&first[..]), name.clone(), backend, self.limits.clone());
        match served.await {
            Ok(()) => {}
            Err(error) => log_end(&name, address, &error),
        }
        drop(slot);
    }
}

/// A client's mistake is news for the operator; a connection that merely broke is not.
fn log_end(listener: &str, address: SocketAddr, error: &ConnectionError) {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match error {
        ConnectionError::Request(_)
        | ConnectionError::Encode(_)
        | ConnectionError::ResponseTooLong(_) => {
            tracing::warn!(listener, %address, %error, cause, "the client's connection is closed");
        }
        _ => {
            tracing::debug!(listener, %address, %error, cause, "the client's connection is closed")
        }
    }
}
