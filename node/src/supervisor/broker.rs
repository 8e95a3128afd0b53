//! The broker supervisor: partitions, client listeners and the broker's lifecycle.

use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message};
use kraft_model::metadata::{
    BrokerRegistration, Image, METADATA_VERSION, METADATA_VERSION_FEATURE,
};
use kraft_model::{BrokerEpoch, NodeId};
use tokio::sync::{Mutex, mpsc, watch};
use tracing::{info, warn};

use super::backend::BrokerBackend;
use super::identity::Identity;
use super::inbox::Inbox;
use super::listeners::{self, Bound};
use super::outside::{PeerLinks, ShardController, ShardEvents};
use super::{NodeError, Stop};
use crate::actor::controller_client::ControllerClient;
use crate::actor::lifecycle::{self, Lifecycle};
use crate::actor::post;
use crate::actor::shard::{LogDirectory, Outside, Partitions};
use crate::config::NodeConfig;
use crate::kafka::{ConnectionLimits, Connections, LatelyFenced};
use crate::metrics::Metrics;
use crate::peer::Links;
use crate::trace::Recorder;

/// What a broker is made of.
pub struct Parts {
    pub config: Arc<NodeConfig>,
    pub identity: Identity,
    /// Its listeners, bound.
    pub bound: Vec<Bound>,
    pub connections: Connections,
    pub links: Links,
    pub controller: ControllerClient,
    pub leader: watch::Receiver<Option<NodeId>>,
    pub metrics: Arc<Metrics>,
    pub stop: mpsc::UnboundedSender<Stop>,
}

pub struct BrokerSupervisor {
    config: Arc<NodeConfig>,
    identity: Option<Identity>,
    partitions: Partitions,
    lifecycle: Option<Addr<Lifecycle>>,
    registration: BrokerRegistration,
    /// For the lifecycle, until that has begun.
    recorder: Recorder,
    controller: ControllerClient,
    image: watch::Sender<Arc<Image>>,
    lately_fenced: LatelyFenced,
    broker_epoch: watch::Sender<BrokerEpoch>,
    metrics: Arc<Metrics>,
    stop: mpsc::UnboundedSender<Stop>,
}

impl BrokerSupervisor {
    /// Recovers the partitions, serves the listeners and begins to register.
    pub async fn start_up(
        parts: Parts,
        inbox: &Arc<Inbox>,
    ) -> Result<Addr<BrokerSupervisor>, NodeError> {
        let (config, identity) = (parts.config, parts.identity);
        let origin = identity.origin();
        let outside = Outside {
            peers: Arc::new(PeerLinks(parts.links.clone())),
            controller: Arc::new(ShardController(parts.controller.clone())),
            broker: Arc::new(ShardEvents { inbox: inbox.clone(), stop: parts.stop.clone() }),
            origin,
        };
        let directories = identity.data().iter().map(|directory| LogDirectory {
            path: directory.path().to_owned(),
            was_clean: directory.clean_stop.is_some(),
            is_intact: directory.intact.is_some(),
        });
        let partitions = Partitions::start(config.clone(), directories.collect(), outside)
            .await
            .map_err(NodeError::Partitions)?;
        let _ = inbox.partitions.set(partitions.clone());
        parts.metrics.of_partitions(partitions.metrics().clone());

        let (image, image_seen) = watch::channel(Arc::new(Image::default()));
        let (broker_epoch, epoch_seen) = watch::channel(BrokerEpoch::NONE);
        let lately_fenced = LatelyFenced::new(config.broker_session_timeout);
        let backend = BrokerBackend {
            config: config.clone(),
            cluster: identity.cluster,
            image: image_seen,
            lately_fenced: lately_fenced.clone(),
            leader: parts.leader,
            broker_epoch: epoch_seen,
            partitions: partitions.clone(),
            controller: parts.controller.clone(),
            producer_ids: Arc::new(Mutex::new(0..0)),
        };
        let advertised = listeners::advertised(&config, &parts.bound);
        // One budget of request memory for all listeners and threads.
        let limits = ConnectionLimits::default();
        for bound in parts.bound {
            let reach = (&parts.links, &parts.connections, &limits);
            serve_on_all(&bound, &partitions, &backend, reach)?;
        }
        for endpoint in &advertised {
            actix_rt::spawn(listeners::check_advertised(endpoint.clone()));
        }
        let registration = BrokerRegistration {
            cluster: identity.cluster,
            broker: config.node_id,
            incarnation: identity.incarnation,
            endpoints: advertised,
            features: vec![(METADATA_VERSION_FEATURE.to_owned(), 1, METADATA_VERSION)],
            rack: config.rack.clone(),
            directories: identity.data_ids(),
            previous_epoch: match partitions.has_damage() {
                // Nobody vouches for logs that are not whole, whatever ended the last process.
                true => BrokerEpoch::NONE,
                false => identity.previous_epoch(),
            },
            damaged: partitions.is_damaged(),
        };
        let recorder = Recorder::open(config.trace.as_ref(), origin, "broker")?;
        let supervisor = BrokerSupervisor {
            config,
            identity: Some(identity),
            partitions,
            lifecycle: None,
            registration,
            recorder,
            controller: parts.controller,
            image,
            lately_fenced,
            broker_epoch,
            metrics: parts.metrics,
            stop: parts.stop,
        }
        .start();
        let _ = inbox.broker.set(supervisor.clone());
        Ok(supervisor)
    }

    fn note_registration(&self, epoch: BrokerEpoch) {
        if let Some(identity) = &self.identity
            && let Err(error) = identity.registered(epoch)
        {
            warn!(%error, "the registration is not noted: a kill will count as a power failure");
        }
    }

    fn note_failure(&mut self) {
        if let Some(identity) = &mut self.identity
            && let Err(error) = identity.storage_failed()
        {
            warn!(%error, "the failure is not noted: a kill may pass for one that loses nothing");
        }
    }

    fn close(&mut self, epoch: BrokerEpoch) {
        if let Some(identity) = self.identity.take()
            && let Err(error) = identity.close(epoch)
        {
            warn!(%error, "the stop is not remembered as clean: the next start recovers");
        }
    }
}

/// Serves a listener on every worker thread: a connection lives on the thread that accepts it.
fn serve_on_all(
    bound: &Bound,
    partitions: &Partitions,
    backend: &BrokerBackend,
    (links, connections, limits): (&Links, &Connections, &ConnectionLimits),
) -> Result<(), NodeError> {
    let at = &bound.endpoint;
    info!(listener = %at.listener, host = %at.host, port = at.port, "listens for clients and brokers");
    for arbiter in partitions.arbiters() {
        let socket = bound.socket.try_clone().map_err(NodeError::Runtime)?;
        let bound = Bound { endpoint: bound.endpoint.clone(), socket };
        let (backend, links) = (backend.clone(), links.clone());
        let (connections, limits) = (connections.clone(), limits.clone());
        // An arbiter that is gone is in a process that is stopping.
        let _ = arbiter.spawn_fn(move || {
            actix_rt::spawn(listeners::serve(bound, Some(backend), links, connections, limits));
        });
    }
    Ok(())
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
            std::mem::take(&mut self.recorder),
        );
        self.lifecycle = Some(lifecycle.start());
    }
}

/// The metadata was replayed up to the image's end.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Published {
    pub image: Arc<Image>,
}

impl Handler<Published> for BrokerSupervisor {
    type Result = ();

    fn handle(&mut self, published: Published, _: &mut Self::Context) {
        self.published(published.image);
    }
}

impl BrokerSupervisor {
    fn published(&mut self, image: Arc<Image>) {
        self.partitions.publish(image.clone());
        let me = image.brokers.get(&self.config.node_id);
        let epoch = *self.broker_epoch.borrow();
        let fenced = me.filter(|broker| broker.epoch == epoch).map(|broker| broker.fenced);
        let end = image.end;
        self.metrics.topics.set(image.topics.len() as i64);
        self.metrics.brokers_registered.set(image.brokers.len() as i64);
        let active = image.brokers.values().filter(|broker| broker.is_active()).count();
        self.metrics.brokers_active.set(active as i64);
        self.metrics.serving(fenced == Some(false));
        // What was fenced before this broker served is history.
        if fenced == Some(false) {
            self.lately_fenced.compare(&self.image.borrow(), &image, Instant::now());
        }
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
        self.note_failure();
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
    Fatal(String),
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

    fn fatal(&mut self, reason: String) {
        post(&self.0, LifecycleNews::Fatal(reason));
    }
}

impl Handler<LifecycleNews> for BrokerSupervisor {
    type Result = ();

    fn handle(&mut self, news: LifecycleNews, context: &mut Self::Context) {
        match news {
            LifecycleNews::Registered(epoch) => {
                self.note_registration(epoch);
                self.broker_epoch.send_replace(epoch);
                self.partitions.registered(epoch);
                // At once: what is asked to be done next may rest on it.
                let image = self.image.borrow().clone();
                self.published(image);
            }
            LifecycleNews::Serve => {
                self.metrics.serving(true);
                self.partitions.drop_strays();
            }
            LifecycleNews::Exit(clean) => {
                self.metrics.serving(false);
                let partitions = self.partitions.clone();
                let flushed = async move { partitions.shutdown().await };
                let flushed = actix::fut::wrap_future::<_, Self>(flushed);
                context.spawn(flushed.map(move |flushed, actor, _| {
                    match clean {
                        // What the last flush could not bring to disk, the kernel may have forgotten:
                        // the process that comes next must not take this for a mere kill either.
                        _ if !flushed => actor.note_failure(),
                        Some(epoch) => actor.close(epoch),
                        None => {}
                    }
                    // The receiver is the loop that ends the process.
                    let _ = actor.stop.send(Stop::Orderly);
                }));
            }
            LifecycleNews::Refused(reason) => {
                let _ = self.stop.send(Stop::Fatal(format!("the controller refuses: {reason}")));
            }
            LifecycleNews::Fatal(reason) => {
                let _ = self.stop.send(Stop::Fatal(reason));
            }
        }
    }
}
