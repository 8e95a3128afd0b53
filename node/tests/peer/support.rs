//! Nodes that have nothing but links.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kraft_model::{ClusterId, DirectoryId, Incarnation, NodeId};
use kraft_node::config::Roles;
use kraft_node::peer::{Admit, Cause, LinkEvent, Links, LocalPeer, Timing};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

pub const DEADLINE: Duration = Duration::from_secs(20);

/// A process with a listener, as far as its peers can tell.
pub struct Node {
    pub links: Links,
    pub events: mpsc::Receiver<LinkEvent>,
    /// Who answers the listener; another value is a restarted process.
    pub answering: Arc<Mutex<Links>>,
    pub accepting: AbortHandle,
}

pub fn local(node: i32, incarnation: u128, endpoint: (String, u16)) -> LocalPeer {
    LocalPeer {
        cluster: ClusterId(77),
        node: NodeId(node),
        directory: DirectoryId(node as u128 + 1000),
        roles: Roles { controller: true, broker: true },
        incarnation: Incarnation(incarnation),
        endpoint,
    }
}

pub fn anybody() -> Admit {
    Arc::new(|_| Ok(()))
}

pub fn quick() -> Timing {
    Timing {
        handshake: Duration::from_secs(1),
        probe: Duration::from_millis(300),
        ..Timing::default()
    }
}

pub async fn bind() -> (TcpListener, (String, u16)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let port = listener.local_addr().expect("bound").port();
    (listener, ("127.0.0.1".to_owned(), port))
}

pub fn serve(listener: TcpListener, answering: Arc<Mutex<Links>>) -> AbortHandle {
    let accept = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // As the listener that both protocols share does: a part has been read already.
            let mut first = [0; 2];
            if stream.read_exact(&mut first).await.is_ok() {
                answering.lock().expect("held").accept(stream, Bytes::copy_from_slice(&first));
            }
        }
    };
    tokio::spawn(accept).abort_handle()
}

pub async fn start(node: i32, admit: Admit, timing: Timing) -> Node {
    start_as(admit, timing, |endpoint| local(node, node as u128 + 50, endpoint)).await
}

pub async fn start_as(
    admit: Admit,
    timing: Timing,
    local: impl FnOnce((String, u16)) -> LocalPeer,
) -> Node {
    let (listener, endpoint) = bind().await;
    let (sender, events) = mpsc::channel(16);
    let links = Links::new(local(endpoint), admit, timing, sender);
    let answering = Arc::new(Mutex::new(links.clone()));
    let accepting = serve(listener, answering.clone());
    Node { links, events, answering, accepting }
}

impl Node {
    pub fn endpoint(&self) -> (String, u16) {
        self.links.local().endpoint.clone()
    }

    pub fn dial(&self, other: &Node) {
        self.links.ensure(other.links.local().node, other.endpoint());
    }

    /// The next event; other nodes' refusals and the like must be asked for as well.
    pub async fn next(&mut self) -> LinkEvent {
        let next = tokio::time::timeout(DEADLINE, self.events.recv());
        next.await.expect("an event before the deadline").expect("links that live")
    }

    pub async fn refusal(&mut self) -> String {
        match self.next().await {
            LinkEvent::Refused { reason, .. } => reason,
            other => panic!("a refusal was due, not {other:?}"),
        }
    }

    pub async fn up(&mut self) -> (kraft_node::peer::LinkId, Incarnation) {
        match self.next().await {
            LinkEvent::Up { link, incarnation, .. } => (link, incarnation),
            other => panic!("a link was due, not {other:?}"),
        }
    }

    pub async fn down(&mut self) -> Cause {
        match self.next().await {
            LinkEvent::Down { cause, .. } => cause,
            other => panic!("the end of a link was due, not {other:?}"),
        }
    }
}

/// Two nodes with a link that `left` has dialled.
pub async fn pair() -> (Node, Node) {
    let (mut left, mut right) =
        (start(1, anybody(), quick()).await, start(2, anybody(), quick()).await);
    left.dial(&right);
    left.up().await;
    right.up().await;
    (left, right)
}
