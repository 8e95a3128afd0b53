//! What shards need of the rest of the node.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use kraft_model::NodeId;
use kraft_model::metadata::{Endpoint, Request, Response};

use crate::peer::Message;
use crate::trace::Origin;

/// Links to other brokers.
pub trait Peers: Send + Sync + 'static {
    /// Keeps a link to `peer` from now on; its coming and going is told through
    /// [`super::Partitions::on_link_up`] and [`super::Partitions::on_link_down`]. Asking again
    /// changes nothing, unless the endpoint is another one.
    fn ensure(&self, peer: NodeId, endpoint: &Endpoint);

    /// Queues a message.
    fn send(&self, peer: NodeId, message: Message) -> Result<(), LinkFull>;
}

/// The message was not queued: the link is down, or too much waits on it already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the link takes no more messages")]
pub struct LinkFull;

/// The way to the active controller.
pub trait ControllerClient: Send + Sync + 'static {
    /// Asks the active controller; [`Response::NotController`] when none answers in time. Polled on
    /// the shard's thread.
    fn request(&self, request: Request) -> Pin<Box<dyn Future<Output = Response>>>;
}

/// What the broker is told of its partitions.
pub trait BrokerEvents: Send + Sync + 'static {
    /// A write or fsync failed in this directory: its partitions there are offline.
    fn storage_failed(&self, directory: &Path, cause: &str);

    /// A promise is broken; the process must stop.
    fn violation(&self, what: &'static str);
}

/// All of it, shared by the shards.
#[derive(Clone)]
pub struct Outside {
    pub peers: Arc<dyn Peers>,
    pub controller: Arc<dyn ControllerClient>,
    pub broker: Arc<dyn BrokerEvents>,
    /// Whose machines these are, in a trace.
    pub origin: Origin,
}
