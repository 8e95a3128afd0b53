//! The broker supervisor: partitions, client listeners and the broker's lifecycle.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message};
use kraft_model::metadata::{BrokerRegistration, Endpoint, Image, Record};
use kraft_model::{BrokerEpoch, ClusterId, DirectoryId, Incarnation, NodeId};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use super::backend::BrokerBackend;
use super::inbox::Inbox;
use super::{NodeError, Stop};
use crate::actor::controller_client::ControllerClient;
use crate::actor::lifecycle::{self, Lifecycle};
use crate::actor::post;
use crate::actor::shard::Partitions;
use crate::config::NodeConfig;
use crate::kafka::Listener;
use crate::metrics::Metrics;
use crate::peer::Links;
use crate::storage::CleanShutdown;

/// What a broker is made of.
pub struct Parts {
    pub config: Arc<NodeConfig>,
    pub cluster: ClusterId,
    pub directories: Vec<DirectoryId>,
    pub incarnation: Incarnation,
    pub links: Links,
    pub controller: ControllerClient,
    pub leader: watch::Receiver<Option<NodeId>>,
    pub metrics: Arc<Metrics>,
    pub stop: mpsc::UnboundedSender<Stop>,
}

pub struct BrokerSupervisor {
    config: Arc<NodeConfig>,
    partitions: Partitions,
    lifecycle: Option<Addr<Lifecycle>>,
    registration: BrokerRegistration,
    controller: ControllerClient,
    image: watch::Sender<Arc<Image>>,
    broker_epoch: watch::Sender<BrokerEpoch>,
    metrics: Arc<Metrics>,
    stop: mpsc::UnboundedSender<Stop>,
}

impl BrokerSupervisor {
    /// Recovers the partitions, binds the listeners and begins to register.
    pub async fn start_up(
        parts: Parts,
        inbox: &Arc<Inbox>,
    ) -> Result<Addr<BrokerSupervisor>, NodeError> {
        let config = parts.config;
        let sockets: Vec<(Endpoint, TcpListener)> = config
            .client_endpoints()
            .map(|endpoint| bind(endpoint).map(|socket| (endpoint.clone(), socket)))
            .collect::<Result<_, _>>()?;

        let path = config.log_dirs.first().map(|dir| dir.display().to_string());
        let fault = |source| NodeError::Partitions { path: path.unwrap_or_default(), source };
        let (partitions, recovered) =
            Partitions::start(config.clone(), parts.links.clone(), parts.controller.clone())
                .await
                .map_err(fault)?;
        let _ = inbox.partitions.set(partitions.clone());

        let (image, image_seen) = watch::channel(Arc::new(Image::default()));
        let (broker_epoch, epoch_seen) = watch::channel(BrokerEpoch::NONE);
        let backend = BrokerBackend {
            config: config.clone(),
            image: image_seen,
            leader: parts.leader,
            broker_epoch: epoch_seen,
            partitions: partitions.clone(),
            controller: parts.controller.clone(),
            producer_ids: Arc::new(Mutex::new(0..0)),
        };
        for (endpoint, socket) in sockets {
            info!(listener = %endpoint.listener, host = %endpoint.host, port = endpoint.port,
                "listens for clients and brokers");
            let links = parts.links.clone();
            let accept = move |stream, read| links.accept(stream, read);
            let serve = Listener::serve(endpoint.listener, socket, backend.clone(), accept);
            actix_rt::spawn(serve);
        }
        let registration = BrokerRegistration {
            cluster: parts.cluster,
            broker: config.node_id,
            incarnation: parts.incarnation,
            endpoints: config.advertised_listeners.clone(),
            features: config.supported_features(),
            rack: config.rack.clone(),
            directories: parts.directories,
            previous_epoch: recovered.previous_epoch,
            damaged: recovered.damaged,
        };
        let supervisor = BrokerSupervisor {
            config,
            partitions,
            lifecycle: None,
            registration,
            controller: parts.controller,
            image,
            broker_epoch,
            metrics: parts.metrics,
            stop: parts.stop,
        }
        .start();
        let _ = inbox.broker.set(supervisor.clone());
        Ok(supervisor)
    }

    fn write_clean_shutdown(&self, epoch: BrokerEpoch) {
        for dir in &self.config.log_dirs {
            if let Err(error) = CleanShutdown::write(dir, epoch) {
                warn!(%error, "the stop is not remembered as clean: the next start recovers");
            }
        }
    }
}

impl Actor for BrokerSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let listener = LifecycleListener(context.address());
        let lifecycle = Lifecycle::new(
            self.config.clone(),
            self.registration.clone(),
            self.controller.clone(),
            Box::new(listener),
        );
        self.lifecycle = Some(lifecycle.start());
        for endpoint in &self.config.advertised_listeners {
            actix_rt::spawn(check_advertised(endpoint.clone()));
        }
    }
}

/// Binds a listener. The hint tells what usually helps.
pub fn bind(endpoint: &Endpoint) -> Result<TcpListener, NodeError> {
    let attempt = crate::kafka::bind(&endpoint.host, endpoint.port);
    attempt.map_err(|source| {
        let hint = match source.kind() {
            std::io::ErrorKind::AddrInUse => {
                ": another process listens there; stop it, or change `listeners`"
            }
            std::io::ErrorKind::PermissionDenied => ": ports below 1024 need privileges",
            std::io::ErrorKind::AddrNotAvailable => ": the address is not one of this machine",
            _ => "",
        };
        NodeError::Bind {
            listener: endpoint.listener.clone(),
            host: endpoint.host.clone(),
            port: endpoint.port,
            source,
            hint,
        }
    })
}

/// Dials an advertised listener as a client would: an address that nobody can dial is the most
/// common reason why clients hang.
async fn check_advertised(endpoint: Endpoint) {
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

/// The metadata was replayed; see [`crate::actor::quorum::Listener::published`].
#[derive(Message)]
#[rtype(result = "()")]
pub struct Published {
    pub image: Arc<Image>,
    pub records: Option<Vec<Record>>,
}

impl Handler<Published> for BrokerSupervisor {
    type Result = ();

    fn handle(&mut self, published: Published, _: &mut Self::Context) {
        let Published { image, records } = published;
        self.partitions.publish(image.clone(), records);
        let me = image.brokers.get(&self.config.node_id);
        let epoch = *self.broker_epoch.borrow();
        let fenced = me.filter(|broker| broker.epoch == epoch).map(|broker| broker.fenced);
        let end = image.end;
        self.metrics.topics.set(image.topics.len() as i64);
        self.metrics.brokers_registered.set(image.brokers.len() as i64);
        let active = image.brokers.values().filter(|broker| broker.is_active()).count();
        self.metrics.brokers_active.set(active as i64);
        self.metrics.serving(fenced == Some(false));
        self.image.send_replace(image);
        if let Some(lifecycle) = &self.lifecycle {
            post(lifecycle, lifecycle::Input::Metadata { end, fenced });
        }
    }
}

/// The active controller as the quorum actor knows it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ControllerKnown(pub Option<NodeId>);

impl Handler<ControllerKnown> for BrokerSupervisor {
    type Result = ();

    fn handle(&mut self, known: ControllerKnown, _: &mut Self::Context) {
        if let Some(lifecycle) = &self.lifecycle {
            post(lifecycle, lifecycle::Input::Controller(known.0));
        }
    }
}

/// A disk of this broker cannot be trusted, or is full.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StorageFailed;

impl Handler<StorageFailed> for BrokerSupervisor {
    type Result = ();

    fn handle(&mut self, _: StorageFailed, _: &mut Self::Context) {
        if let Some(lifecycle) = &self.lifecycle {
            post(lifecycle, lifecycle::Input::StorageFailed);
        }
    }
}

/// An orderly stop is wanted: hand over leadership first.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Leave;

impl Handler<Leave> for BrokerSupervisor {
    type Result = ();

    fn handle(&mut self, _: Leave, _: &mut Self::Context) {
        if let Some(lifecycle) = &self.lifecycle {
            post(lifecycle, lifecycle::Input::Stop);
        }
    }
}

/// What the lifecycle found out, on its way to the supervisor.
struct LifecycleListener(Addr<BrokerSupervisor>);

#[derive(Message)]
#[rtype(result = "()")]
enum LifecycleNews {
    Registered(BrokerEpoch),
    Serve,
    Exit(Option<BrokerEpoch>),
    Refused(String),
}

impl lifecycle::Listener for LifecycleListener {
    fn registered(&mut self, epoch: BrokerEpoch) {
        post(&self.0, LifecycleNews::Registered(epoch));
    }

    fn serve(&mut self) {
        post(&self.0, LifecycleNews::Serve);
    }

    fn exit(&mut self, clean: Option<BrokerEpoch>) {
        post(&self.0, LifecycleNews::Exit(clean));
    }

    fn refused(&mut self, reason: String) {
        post(&self.0, LifecycleNews::Refused(reason));
    }
}

impl Handler<LifecycleNews> for BrokerSupervisor {
    type Result = ();

    fn handle(&mut self, news: LifecycleNews, context: &mut Self::Context) {
        match news {
            LifecycleNews::Registered(epoch) => {
                self.broker_epoch.send_replace(epoch);
                self.partitions.registered(epoch);
                let image = self.image.borrow().clone();
                context.notify(Published { image, records: Some(Vec::new()) });
            }
            LifecycleNews::Serve => self.metrics.serving(true),
            LifecycleNews::Exit(clean) => {
                self.metrics.serving(false);
                let flushed = self.partitions.shutdown();
                let flushed = actix::fut::wrap_future::<_, Self>(flushed);
                context.spawn(flushed.map(move |flushed, actor, _| {
                    if let (Some(epoch), Ok(())) = (clean, flushed) {
                        actor.write_clean_shutdown(epoch);
                    }
                    // The receiver is the loop that ends the process.
                    let _ = actor.stop.send(Stop::Orderly);
                }));
            }
            LifecycleNews::Refused(reason) => {
                let _ = self.stop.send(Stop::Fatal(format!("the controller refuses: {reason}")));
            }
        }
    }
}
