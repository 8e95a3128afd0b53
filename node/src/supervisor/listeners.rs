//! Binding listeners, and telling which of them is whose.

use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use kraft_model::metadata::Endpoint;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::warn;

use super::NodeError;
use crate::config::NodeConfig;
use crate::kafka::{Backend, ConnectionLimits, Connections, Listener};
use crate::peer::{Links, PREFACE};

/// A listener that is bound, and where it was.
pub struct Bound {
    pub endpoint: Endpoint,
    pub socket: TcpListener,
}

/// The listeners that only kraft's own processes may use.
pub fn of_controller(config: &NodeConfig) -> impl Iterator<Item = &Endpoint> {
    config.listeners.iter().filter(|at| config.controller_listeners.contains(&at.listener))
}

/// The listeners for clients and brokers.
pub fn of_broker(config: &NodeConfig) -> impl Iterator<Item = &Endpoint> {
    config.listeners.iter().filter(|at| !config.controller_listeners.contains(&at.listener))
}

/// Binds a listener. The hint in the error tells what usually helps.
pub fn bind(endpoint: &Endpoint) -> Result<Bound, NodeError> {
    let host = if endpoint.host.is_empty() { "0.0.0.0" } else { &endpoint.host };
    let fault = |source: std::io::Error| NodeError::Bind {
        listener: endpoint.listener.clone(),
        host: host.to_owned(),
        port: endpoint.port,
        hint: hint(&source),
        source,
    };
    let socket = TcpListener::bind((host, endpoint.port)).map_err(fault)?;
    let port = socket.local_addr().map_err(fault)?.port();
    Ok(Bound { endpoint: Endpoint { port, ..endpoint.clone() }, socket })
}

fn hint(failure: &std::io::Error) -> &'static str {
    match failure.kind() {
        std::io::ErrorKind::AddrInUse => {
            ": another process listens there; stop it, or change `listeners`"
        }
        std::io::ErrorKind::PermissionDenied => ": ports below 1024 need privileges",
        std::io::ErrorKind::AddrNotAvailable => ": the address is not one of this machine",
        _ => "",
    }
}

/// What the node tells others of its listeners: the advertised ones, where a port that was left to
/// the system is the one that it gave.
pub fn advertised(config: &NodeConfig, bound: &[Bound]) -> Vec<Endpoint> {
    let actual = |at: &Endpoint| bound.iter().find(|b| b.endpoint.listener == at.listener);
    let fill = |at: &Endpoint| match actual(at) {
        Some(bound) if at.port == 0 => Endpoint { port: bound.endpoint.port, ..at.clone() },
        _ => at.clone(),
    };
    config.advertised_listeners.iter().map(fill).collect()
}

/// Serves one bound listener on this thread until the task is dropped. Without a back end it takes
/// peers only.
pub async fn serve<B: Backend>(
    bound: Bound,
    backend: Option<B>,
    links: Links,
    connections: Connections,
    limits: ConnectionLimits,
) {
    let listener = Listener {
        name: bound.endpoint.listener.clone(),
        peer_preface: PREFACE,
        backend,
        on_peer: move |stream, _, _| links.accept(stream, Bytes::from_static(&PREFACE)),
        connections,
        limits,
    };
    if let Err(error) = listener.run(bound.socket).await {
        tracing::error!(listener = %bound.endpoint.listener, %error, "the listener has ended");
    }
}

/// Dials an advertised listener as a client would: an address that nobody can dial is the most
/// common reason why clients hang.
pub async fn check_advertised(endpoint: Endpoint) {
    let address = (endpoint.host.as_str(), endpoint.port);
    let problem = match timeout(Duration::from_secs(3), TcpStream::connect(address)).await {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in 3 s".to_owned(),
    };
    warn!(
        listener = %endpoint.listener, host = %endpoint.host, port = endpoint.port,
        "the advertised listener cannot be dialled from this machine ({problem}): \
         clients will be sent there; check advertised.listeners"
    );
}
