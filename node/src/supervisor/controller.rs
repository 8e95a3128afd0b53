//! The controller supervisor: the listeners that only kraft's own processes may use.

use std::sync::Arc;

use actix::{Actor, Addr, Context};
use tracing::info;

use super::NodeError;
use super::broker::bind;
use crate::config::NodeConfig;
use crate::kafka::Listener;
use crate::peer::Links;

/// Owns the controller's listeners. The quorum and controller machines run in the quorum actor,
/// which a broker has as well.
pub struct ControllerSupervisor {
    _listeners: Vec<actix_rt::task::JoinHandle<()>>,
}

impl ControllerSupervisor {
    pub async fn start_up(
        config: &Arc<NodeConfig>,
        links: &Links,
    ) -> Result<Addr<ControllerSupervisor>, NodeError> {
        let mut listeners = Vec::new();
        for endpoint in config.controller_endpoints() {
            let socket = bind(endpoint)?;
            info!(listener = %endpoint.listener, host = %endpoint.host, port = endpoint.port,
                "listens for peers");
            let links = links.clone();
            let accept = move |stream, read| links.accept(stream, read);
            listeners.push(actix_rt::spawn(Listener::peers_only(socket, accept)));
        }
        Ok(ControllerSupervisor { _listeners: listeners }.start())
    }
}

impl Actor for ControllerSupervisor {
    type Context = Context<Self>;
}
