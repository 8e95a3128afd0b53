//! All links of this node: kept dialled, accepted, watched, and probed when they break.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kraft_model::{Incarnation, NodeId};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::{debug, info, warn};

use super::dial::{self, Backoff};
use super::frame::FrameError;
use super::gone::{self, Verdict};
use super::handshake::{self, HandshakeError, Hello, LocalPeer, Wire};
use super::link::{self, Cause};
use super::message::Message;
use super::table::Table;
use super::wire;
use crate::config::Roles;
use crate::limits::{HANDSHAKE_TIME, HANDSHAKES};

/// One link in the life of this process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// What happens on links. For one link: `Up`, any number of `Received`, `Down`. A link that
/// replaces another may come up before the other's `Down` is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkEvent {
    /// `endpoint` is where the peer says it can be reached.
    Up {
        peer: NodeId,
        link: LinkId,
        incarnation: Incarnation,
        roles: Roles,
        endpoint: (String, u16),
    },
    /// No verdict about the process; [`LinkEvent::Gone`] may follow.
    Down {
        peer: NodeId,
        link: LinkId,
        incarnation: Incarnation,
        cause: Cause,
    },
    Received {
        peer: NodeId,
        link: LinkId,
        message: Message,
    },
    /// Strict evidence: no link speaks for this incarnation, and its endpoint refused twice or was
    /// answered by another incarnation. Told once for a link that broke, and again to whoever
    /// probes anew.
    Gone {
        peer: NodeId,
        incarnation: Incarnation,
    },
    /// One side refused the handshake.
    Refused {
        peer: NodeId,
        reason: String,
    },
}

/// Why a message was not queued. Nothing of it was sent.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("there is no link")]
    Down,
    #[error("the link's queue is full")]
    Full,
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From the connection to the end of the handshake.
    pub handshake: Duration,
    /// The first and the longest wait between two attempts to dial.
    pub retry: (Duration, Duration),
    /// One attempt to establish a connection.
    pub connect: Duration,
    /// One dial-back to a peer that may be gone.
    pub probe: Duration,
    /// A link that has nothing to say says so this often.
    pub ping: Duration,
    /// A link on which nothing is heard for so long is closed: several pings.
    pub silence: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            handshake: HANDSHAKE_TIME,
            retry: (Duration::from_millis(20), Duration::from_secs(1)),
            connect: Duration::from_secs(2),
            probe: Duration::from_secs(1),
            ping: Duration::from_secs(2),
            silence: Duration::from_secs(8),
        }
    }
}

/// Which nodes may have a link; the reason of a refusal goes to both logs.
pub type Admit = Arc<dyn Fn(&Hello) -> Result<(), String> + Send + Sync>;

/// This node's links. Clones are the same links and may be used on any thread; the links
/// themselves run on the runtime on which they were made. The receiver of the events slows its
/// peers down by not taking them.
#[derive(Clone)]
pub struct Links {
    shared: Arc<Shared>,
}

struct Shared {
    local: LocalPeer,
    admit: Admit,
    timing: Timing,
    events: mpsc::Sender<LinkEvent>,
    runtime: Handle,
    table: Mutex<Table>,
    handshakes: Semaphore,
}

impl Links {
    /// `local.endpoint` is what peers will dial back, so bind the listener first.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(
        local: LocalPeer,
        admit: Admit,
        timing: Timing,
        events: mpsc::Sender<LinkEvent>,
    ) -> Links {
        let (runtime, table) = (Handle::current(), Mutex::default());
        let handshakes = Semaphore::new(HANDSHAKES);
        let shared = Shared { local, admit, timing, events, runtime, table, handshakes };
        Links { shared: Arc::new(shared) }
    }

    pub fn local(&self) -> &LocalPeer {
        &self.shared.local
    }

    /// Keeps a link to `peer` dialled, from now until [`Links::forget`]. A new endpoint replaces
    /// the old one.
    pub fn ensure(&self, peer: NodeId, endpoint: (String, u16)) {
        if peer == self.shared.local.node {
            return;
        }
        if let Some(endpoint) = self.shared.table().want(peer, endpoint) {
            self.shared.runtime.spawn(keep_dialled(self.shared.clone(), peer, endpoint));
        }
    }

    /// Dials `peer` no more and closes the link that was dialled.
    pub fn forget(&self, peer: NodeId) {
        self.shared.table().forget(peer);
    }

    /// Queues a message on a link to `peer`; never waits.
    ///
    /// # Errors
    /// [`LinkError`]: there is no link, its queue is full, or the message is too large.
    pub fn send(&self, peer: NodeId, message: Message) -> Result<(), LinkError> {
        let queue = self.shared.table().queue_to(peer).ok_or(LinkError::Down)?;
        queue.push(wire::frame(message)?)
    }

    /// Queues a message on the very link on which another one came; never waits.
    ///
    /// # Errors
    /// As for [`Links::send`].
    pub fn reply(&self, link: LinkId, message: Message) -> Result<(), LinkError> {
        let queue = self.shared.table().queue(link).ok_or(LinkError::Down)?;
        queue.push(wire::frame(message)?)
    }

    /// Dials back to learn whether this incarnation of `peer` is gone; [`LinkEvent::Gone`] tells if
    /// it is. Nothing happens while a link with it is up. Links that break are probed without this.
    pub fn probe(&self, peer: NodeId, endpoint: (String, u16), incarnation: Incarnation) {
        Shared::probe(&self.shared, peer, endpoint, incarnation, true);
    }

    /// Takes a connection that came in and began like [`super::PREFACE`]; `first` has been read of
    /// it already.
    pub fn accept(&self, stream: TcpStream, first: Bytes) {
        let shared = self.shared.clone();
        self.shared.runtime.spawn(async move {
            // The listener's runtime may be another one than ours.
            match stream.into_std().and_then(TcpStream::from_std) {
                Ok(stream) => accepted(shared, stream, first).await,
                Err(error) => warn!(%error, "a peer's connection cannot be taken over"),
            }
        });
    }

    /// Ends all links and takes no more. What is queued is still written; a link's
    /// [`LinkEvent::Down`] tells that it was.
    pub fn close(&self) {
        self.shared.table().close();
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, hello: &Hello) -> Result<(), String> {
        (self.admit)(hello)?;
        self.table().admit(hello)
    }

    fn probe(
        shared: &Arc<Shared>,
        peer: NodeId,
        endpoint: (String, u16),
        incarnation: Incarnation,
        anew: bool,
    ) {
        if !shared.table().begin_probe(peer, incarnation, anew) {
            return;
        }
        let this = shared.clone();
        shared.runtime.spawn(async move {
            let patience = this.timing.probe;
            let verdict = gone::look(&this.local, peer, &endpoint, incarnation, patience).await;
            debug!(%peer, %incarnation, ?verdict, "dialled back");
            let tell = this.table().end_probe(peer, incarnation, verdict == Verdict::Gone);
            if tell {
                this.tell(LinkEvent::Gone { peer, incarnation }).await;
            }
        });
    }

    /// Whether there is still anybody who listens.
    async fn tell(&self, event: LinkEvent) -> bool {
        self.events.send(event).await.is_ok()
    }

    /// Logs a handshake that failed, and tells of it if a node was refused.
    async fn failed(&self, dialled: Option<NodeId>, error: &HandshakeError) {
        let (peer, reason) = match (error, dialled) {
            (HandshakeError::Refused { peer, reason }, _) => (*peer, reason),
            (HandshakeError::RefusedByPeer(reason), Some(peer)) => (peer, reason),
            _ => return debug!(?dialled, error = %report(error), "no link came to be"),
        };
        warn!(%peer, %reason, "the handshake was refused");
        self.tell(LinkEvent::Refused { peer, reason: reason.clone() }).await;
    }
}

/// The error with its causes, each once.
fn report(error: &HandshakeError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Dials until the peer is forgotten: at once, then after growing waits.
async fn keep_dialled(
    shared: Arc<Shared>,
    peer: NodeId,
    mut endpoint: watch::Receiver<(String, u16)>,
) {
    let mut backoff = Backoff::new(shared.timing.retry.0, shared.timing.retry.1);
    let mut told = None;
    loop {
        let target = endpoint.borrow_and_update().clone();
        let dialled = tokio::select! {
            dialled = dial(&shared, peer, &target) => dialled,
            _ = endpoint.changed() => {
                if endpoint.has_changed().is_err() { return; }
                continue;
            }
        };
        match dialled {
            Ok((wire, hello)) => {
                told = None;
                backoff.reset();
                if !linked(&shared, wire, hello, true).await {
                    return;
                }
            }
            // A peer that goes on refusing for one reason is told of once.
            Err(error) if told == Some(error.to_string()) => {}
            Err(error) => {
                shared.failed(Some(peer), &error).await;
                told = Some(error.to_string());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => {}
            changed = endpoint.changed() => {
                if changed.is_err() { return; }
                backoff.reset();
            }
        }
    }
}

async fn dial(
    shared: &Shared,
    peer: NodeId,
    (host, port): &(String, u16),
) -> Result<(Wire, Hello), HandshakeError> {
    let dialling = tokio::time::timeout(shared.timing.connect, dial::connect(host, *port));
    let stream = dialling
        .await
        .map_err(|_| HandshakeError::Slow)?
        .map_err(|source| HandshakeError::Dial { host: host.clone(), source })?;
    let greeting =
        handshake::greet(stream, &shared.local, peer, false, |hello| shared.admit(hello));
    tokio::time::timeout(shared.timing.handshake, greeting)
        .await
        .unwrap_or(Err(HandshakeError::Slow))
}

async fn accepted(shared: Arc<Shared>, stream: TcpStream, first: Bytes) {
    let Ok(permit) = shared.handshakes.try_acquire() else {
        return warn!("too many handshakes at once; a connection was closed");
    };
    let welcome = handshake::welcome(stream, first, &shared.local, |hello| shared.admit(hello));
    let welcomed = tokio::time::timeout(shared.timing.handshake, welcome)
        .await
        .unwrap_or(Err(HandshakeError::Slow));
    drop(permit);
    match welcomed {
        Ok(Some((wire, hello))) => {
            linked(&shared, wire, hello, false).await;
        }
        Ok(None) => {}
        Err(error) => shared.failed(None, &error).await,
    }
}

/// The life of a link that has come up. Whether there is still anybody who listens.
async fn linked(shared: &Arc<Shared>, wire: Wire, hello: Hello, dialled: bool) -> bool {
    let (queue, queued) = link::queue();
    let pongs = queue.weak();
    let Some(link) = shared.table().enter(hello.clone(), dialled, queue) else { return true };
    let Hello { node: peer, incarnation, ref endpoint, .. } = hello;
    let (roles, endpoint) = (hello.roles(), endpoint.clone());
    info!(%peer, %incarnation, link = link.0, dialled, "link up");
    if !shared.tell(LinkEvent::Up { peer, link, incarnation, roles, endpoint }).await {
        return false;
    }
    let receive = |message| shared.tell(LinkEvent::Received { peer, link, message });
    let cause = link::run(wire, queued, pongs, shared.timing, receive).await;
    info!(%peer, %incarnation, link = link.0, %cause, "link down");
    let (endpoint, replaced) = {
        let mut table = shared.table();
        table.remove(link);
        (table.endpoint(&hello), table.is_replaced(peer, incarnation))
    };
    let lost = cause != Cause::Released || replaced;
    let listening = shared.tell(LinkEvent::Down { peer, link, incarnation, cause }).await;
    if lost {
        Shared::probe(shared, peer, endpoint, incarnation, false);
    }
    listening
}
