//! The controller supervisor: the listeners that only kraft's own processes may use.

use actix::{Actor, Addr, Context};
use actix_rt::task::JoinHandle;
use tracing::info;

use super::NodeError;
use super::backend::BrokerBackend;
use super::listeners::{self, Bound};
use crate::kafka::{ConnectionLimits, Connections};
use crate::peer::Links;

/// Owns the controller's listeners. The quorum and controller machines run in the quorum actor,
/// which a broker has as well.
pub struct ControllerSupervisor {
    listeners: Vec<JoinHandle<()>>,
}

impl ControllerSupervisor {
    pub fn start_up(
        bound: Vec<Bound>,
        links: &Links,
        connections: &Connections,
    ) -> Result<Addr<ControllerSupervisor>, NodeError> {
        let serve = |bound: Bound| {
            let at = &bound.endpoint;
            info!(listener = %at.listener, host = %at.host, port = at.port, "listens for peers");
            let peers_only: Option<BrokerBackend> = None;
            let limits = ConnectionLimits::default();
            let (links, connections) = (links.clone(), connections.clone());
            let serve = listeners::serve(bound, peers_only, links, connections, limits);
            actix_rt::spawn(serve)
        };
        Ok(ControllerSupervisor { listeners: bound.into_iter().map(serve).collect() }.start())
    }
}

impl Actor for ControllerSupervisor {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.listeners.iter().for_each(JoinHandle::abort);
    }
}
