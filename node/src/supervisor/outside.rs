//! What the shards need of the rest of the node.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kraft_model::NodeId;
use kraft_model::metadata::{Endpoint, Request, Response};
use tokio::sync::mpsc;
use tracing::error;

use super::Stop;
use super::broker::StorageFailed;
use super::inbox::Inbox;
use crate::actor::controller_client;
use crate::actor::post;
use crate::actor::shard::{BrokerEvents, ControllerClient, LinkFull, Peers};
use crate::peer::{Links, Message};

/// Links to other brokers.
pub struct PeerLinks(pub Links);

impl Peers for PeerLinks {
    fn ensure(&self, peer: NodeId, endpoint: &Endpoint) {
        self.0.ensure(peer, (endpoint.host.clone(), endpoint.port));
    }

    fn send(&self, peer: NodeId, message: Message) -> Result<(), LinkFull> {
        self.0.send(peer, message).map_err(|_| LinkFull)
    }
}

/// How long a proposal of a shard may take; it is made again.
const PATIENCE: Duration = Duration::from_secs(10);

/// The way to the active controller.
pub struct ShardController(pub controller_client::ControllerClient);

impl ControllerClient for ShardController {
    fn request(&self, request: Request) -> Pin<Box<dyn Future<Output = Response>>> {
        let client = self.0.clone();
        Box::pin(async move { client.request(request, PATIENCE).await })
    }
}

/// What shards find out about the broker as a whole.
pub struct ShardEvents {
    pub inbox: Arc<Inbox>,
    pub stop: mpsc::UnboundedSender<Stop>,
}

impl BrokerEvents for ShardEvents {
    fn storage_failed(&self, directory: &Path, cause: &str) {
        error!(directory = %directory.display(), cause, "a directory cannot be written");
        if let Some(broker) = self.inbox.broker.get() {
            post(broker, StorageFailed);
        }
    }

    fn violation(&self, what: &'static str) {
        // The receiver is the loop that ends the process.
        let _ = self.stop.send(Stop::Fatal(format!("a promise of a replica is broken: {what}")));
    }
}
