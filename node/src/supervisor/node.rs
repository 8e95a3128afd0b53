//! The node supervisor: brings a node up, waits for a reason to stop, takes it down in order.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Message};
use kraft_model::metadata::{Endpoint, Image};
use kraft_model::raft::StoredState;
use kraft_model::{Epoch, NodeId};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use super::NodeError;
use super::broker::{self, BrokerSupervisor};
use super::controller::ControllerSupervisor;
use super::identity::Identity;
use super::inbox::Inbox;
use super::listeners::{self, Bound};
use crate::actor::controller_client::{ControllerClient, News, Router};
use crate::actor::post;
use crate::actor::quorum::{self, Input, QuorumActor};
use crate::config::NodeConfig;
use crate::kafka::Connections;
use crate::limits::LINK_EVENTS;
use crate::metrics::{self, Metrics};
use crate::peer::{Hello, Links, LocalPeer, Timing};
use crate::storage::{LogConfig, METADATA_LOG, MetadataLog, VoterEndpoint, read_quorum_state};
use crate::trace::Recorder;

/// Why a node stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Everything that was to be done before is done.
    Orderly,
    /// The node cannot keep its promises.
    Fatal(String),
}

/// How long a resigning controller's last messages may take to leave.
const FAREWELL: Duration = Duration::from_millis(50);

/// Threads for waiting on disks, beside the arbiters. They end when idle.
const BLOCKING_THREADS: usize = 8;

/// Runs a node on this thread until it stops.
pub fn run(config: NodeConfig) -> Result<(), NodeError> {
    let config = Arc::new(config);
    let identity = Identity::open(&config)?;
    info!(
        node = %config.node_id,
        cluster = %identity.cluster,
        directory = %identity.me.directory,
        incarnation = %identity.incarnation,
        "kraft node starts"
    );
    let system = actix_rt::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()
            .expect("a runtime of one thread can be built")
    });
    system.block_on(live(config, identity))
}

async fn live(config: Arc<NodeConfig>, identity: Identity) -> Result<(), NodeError> {
    let (stop, mut stops) = mpsc::unbounded_channel();
    let mut terminate = signal(SignalKind::terminate()).map_err(NodeError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(NodeError::Runtime)?;
    let node = NodeSupervisor::start_up(config, identity, stop.clone()).await?;
    let mut stopping = false;
    loop {
        tokio::select! {
            Some(reason) = stops.recv() => return match reason {
                Stop::Orderly => {
                    node.send(Farewell).await.ok();
                    tokio::time::sleep(FAREWELL).await;
                    info!("kraft node has stopped");
                    Ok(())
                }
                Stop::Fatal(reason) => Err(NodeError::Fatal(reason)),
            },
            _ = terminate.recv() => {},
            _ = interrupt.recv() => {},
        }
        if stopping {
            return Err(NodeError::Fatal("told twice to stop: leaves at once".to_owned()));
        }
        stopping = true;
        info!("told to stop: hands over first");
        post(&node, Leave);
    }
}

/// Owns everything in the process.
pub struct NodeSupervisor {
    quorum: Addr<QuorumActor>,
    broker: Option<Addr<BrokerSupervisor>>,
    _controller: Option<Addr<ControllerSupervisor>>,
    /// A controller's directories, locked as long as it lives; a broker's are its supervisor's.
    _directories: Option<Identity>,
    stop: mpsc::UnboundedSender<Stop>,
}

impl NodeSupervisor {
    /// Starts the parts of a node in the order in which they need each other.
    async fn start_up(
        config: Arc<NodeConfig>,
        identity: Identity,
        stop: mpsc::UnboundedSender<Stop>,
    ) -> Result<Addr<NodeSupervisor>, NodeError> {
        let metrics = Arc::new(Metrics::default());
        metrics.roles(config.roles.controller, config.roles.broker);
        serve_metrics(&config, &metrics).await?;

        let connections = Connections::default();
        let for_peers = bind_all(listeners::of_controller(&config), config.roles.controller)?;
        let for_clients = bind_all(listeners::of_broker(&config), config.roles.broker)?;

        let (log, stored) = open_metadata_log(&config)?;
        let inbox = Arc::new(Inbox::new(metrics.clone()));
        let own_endpoints = controller_endpoints(&config, &for_peers);
        let endpoint = peer_endpoint(&config, &for_clients, &for_peers, &own_endpoints);
        let links = start_links(&config, &identity, endpoint, &inbox);
        let router = Router::new(config.node_id, links.clone()).start();
        let (leader, leader_seen) = watch::channel(None);

        let controller = match config.roles.controller {
            true => Some(ControllerSupervisor::start_up(for_peers, &links, &connections)?),
            false => None,
        };
        let (cluster, me) = (identity.cluster, identity.me);
        let recorder = Recorder::open(config.trace.as_ref(), identity.origin(), "quorum")?;
        let (broker, _directories) = match config.roles.broker {
            true => {
                let parts = broker::Parts {
                    config: config.clone(),
                    identity,
                    bound: for_clients,
                    connections,
                    links: links.clone(),
                    controller: ControllerClient::new(router.clone()),
                    leader: leader_seen,
                    metrics: metrics.clone(),
                    stop: stop.clone(),
                };
                (Some(BrokerSupervisor::start_up(parts, &inbox).await?), None)
            }
            false => (None, Some(identity)),
        };

        let listener = QuorumListener {
            me: config.node_id,
            broker: broker.clone(),
            router: router.clone(),
            leader,
            metrics,
            stop: stop.clone(),
        };
        let quorum = QuorumActor::new(quorum::Parts {
            config: config.clone(),
            cluster,
            me,
            log,
            stored,
            endpoints: own_endpoints,
            links: links.clone(),
            listener: Box::new(listener),
            recorder,
        })
        .start();
        // Set once, here: nothing else fills the inbox.
        let _ = inbox.quorum.set(quorum.clone());
        let _ = inbox.router.set(router.clone());
        post(&router, News::Quorum(quorum.clone()));
        for voter in config.voters.iter().filter(|voter| voter.id != config.node_id) {
            links.ensure(voter.id, (voter.host.clone(), voter.port));
        }
        Ok(NodeSupervisor { quorum, broker, _controller: controller, _directories, stop }.start())
    }
}

fn bind_all<'a>(
    endpoints: impl Iterator<Item = &'a Endpoint>,
    wanted: bool,
) -> Result<Vec<Bound>, NodeError> {
    endpoints.filter(|_| wanted).map(listeners::bind).collect()
}

fn open_metadata_log(config: &NodeConfig) -> Result<(MetadataLog, StoredState), NodeError> {
    let dir = config.metadata_log_dir.join(METADATA_LOG);
    let fault = |source| NodeError::MetadataLog { path: dir.display().to_string(), source };
    let (log, recovery) = MetadataLog::open(&dir, LogConfig::default()).map_err(fault)?;
    if recovery.log.truncated_bytes > 0 {
        warn!(
            bytes = recovery.log.truncated_bytes,
            "a torn tail of the metadata log was cut off: it was never acknowledged"
        );
    }
    if let Some(end) = recovery.damaged {
        error!(%end, "the metadata log is damaged: this voter refetches before it votes again");
    }
    let stored = read_quorum_state(&dir).map_err(fault)?;
    Ok((log, stored))
}

/// Where other controllers reach this one, as a Voters record would say it.
fn controller_endpoints(config: &NodeConfig, peers: &[Bound]) -> Vec<VoterEndpoint> {
    let bound_port = |name: &str| {
        let bound = peers.iter().find(|bound| bound.endpoint.listener == name);
        bound.map_or(0, |bound| bound.endpoint.port)
    };
    let named = |at: &Endpoint| VoterEndpoint {
        name: at.listener.clone(),
        host: at.host.clone(),
        port: if at.port == 0 { bound_port(&at.listener) } else { at.port },
    };
    config.controller_endpoints().filter(|_| config.roles.controller).map(named).collect()
}

/// Where other nodes reach this one: the inter-broker listener of a broker, else the controller's.
fn peer_endpoint(
    config: &NodeConfig,
    clients: &[Bound],
    peers: &[Bound],
    controllers: &[VoterEndpoint],
) -> (String, u16) {
    let advertised = listeners::advertised(config, clients);
    let inter_broker = advertised.iter().find(|at| at.listener == config.inter_broker_listener);
    let voter = config.voters.iter().find(|voter| voter.id == config.node_id);
    match (inter_broker, voter, controllers.first()) {
        (Some(at), ..) => (at.host.clone(), at.port),
        (None, Some(voter), _) => (voter.host.clone(), voter.port),
        (None, None, Some(at)) => (at.host.clone(), at.port),
        (None, None, None) => peers
            .first()
            .map_or((String::new(), 0), |bound| (bound.endpoint.host.clone(), bound.endpoint.port)),
    }
}

async fn serve_metrics(config: &NodeConfig, metrics: &Arc<Metrics>) -> Result<(), NodeError> {
    let Some(bind) = &config.metrics_listener else { return Ok(()) };
    let listener = TcpListener::bind(bind).await.map_err(|source| {
        let (host, port) = bind.rsplit_once(':').unwrap_or((bind, "0"));
        NodeError::Bind {
            listener: "metrics.listener".to_owned(),
            host: host.to_owned(),
            port: port.parse().unwrap_or_default(),
            source,
            hint: "",
        }
    })?;
    actix_rt::spawn(metrics::serve(listener, metrics.clone()));
    Ok(())
}

fn start_links(
    config: &Arc<NodeConfig>,
    identity: &Identity,
    endpoint: (String, u16),
    inbox: &Arc<Inbox>,
) -> Links {
    let local = LocalPeer {
        cluster: identity.cluster,
        node: config.node_id,
        directory: identity.me.directory,
        incarnation: identity.incarnation,
        roles: config.roles,
        endpoint,
    };
    let policy = config.clone();
    let (events, mut received) = mpsc::channel(LINK_EVENTS);
    let admit = Arc::new(move |hello: &Hello| admit(&policy, hello));
    let links = Links::new(local, admit, Timing::default(), events);
    let inbox = inbox.clone();
    actix_rt::spawn(async move {
        while let Some(event) = received.recv().await {
            inbox.dispatch(event);
        }
    });
    links
}

/// Whether a node may have a link to this one. The handshake has compared the cluster ids.
fn admit(config: &NodeConfig, hello: &Hello) -> Result<(), String> {
    if hello.node == config.node_id {
        return Err(format!(
            "node.id {} is this node's own: two nodes are configured alike",
            hello.node
        ));
    }
    let voter = config.voters.iter().find(|voter| voter.id == hello.node);
    match voter {
        Some(voter) if !hello.controller => Err(format!(
            "node.id {} is a controller in controller.quorum.voters, but this process has no \
             controller role",
            voter.id
        )),
        Some(voter) if voter.directory.is_some_and(|directory| directory != hello.directory) => {
            Err(format!(
                "node.id {} is a voter with another directory than {}: its disk was replaced or \
                 it is not the node that it says it is",
                voter.id, hello.directory
            ))
        }
        // In a dynamic quorum any controller of the cluster may read; the log says who votes.
        None if hello.controller && !config.voters.is_empty() => {
            Err(format!("controller {} is not in controller.quorum.voters", hello.node))
        }
        _ => Ok(()),
    }
}

impl Actor for NodeSupervisor {
    type Context = Context<Self>;
}

/// SIGTERM: leave in order.
#[derive(Message)]
#[rtype(result = "()")]
struct Leave;

impl Handler<Leave> for NodeSupervisor {
    type Result = ();

    fn handle(&mut self, _: Leave, _: &mut Self::Context) {
        match &self.broker {
            Some(broker) => post(broker, broker::Leave),
            None => drop(self.stop.send(Stop::Orderly)),
        }
    }
}

/// The last thing before the process ends in order: the quorum's leader resigns.
#[derive(Message)]
#[rtype(result = "()")]
struct Farewell;

impl Handler<Farewell> for NodeSupervisor {
    type Result = ();

    fn handle(&mut self, _: Farewell, _: &mut Self::Context) {
        post(&self.quorum, Input::Resign);
    }
}

/// Tells the rest of the process what the quorum actor finds out.
struct QuorumListener {
    me: NodeId,
    broker: Option<Addr<BrokerSupervisor>>,
    router: Addr<Router>,
    leader: watch::Sender<Option<NodeId>>,
    metrics: Arc<Metrics>,
    stop: mpsc::UnboundedSender<Stop>,
}

impl quorum::Listener for QuorumListener {
    fn published(&mut self, image: Arc<Image>) {
        self.metrics.metadata_offset.set(image.end.0);
        if let Some(broker) = &self.broker {
            post(broker, broker::Published { image });
        }
    }

    fn controller(&mut self, leader: Option<NodeId>, epoch: Epoch) {
        self.metrics.quorum_epoch.set(i64::from(epoch.0));
        self.metrics.leader_known(leader.is_some());
        self.metrics.quorum_leader.set(leader.map_or(-1, |leader| i64::from(leader.0)));
        self.metrics.active_controller.set(i64::from(leader == Some(self.me)));
        if leader.is_some() {
            self.metrics.elections.inc();
        }
        // Receivers live in the broker supervisor, if there is one.
        let _ = self.leader.send(leader);
        post(&self.router, News::Leader(leader));
        if let Some(broker) = &self.broker {
            post(broker, broker::ControllerKnown(leader));
        }
    }

    fn fatal(&mut self, reason: String) {
        error!("the node stops: {reason}");
        // The receiver is the loop that ends the process.
        let _ = self.stop.send(Stop::Fatal(reason));
    }
}
