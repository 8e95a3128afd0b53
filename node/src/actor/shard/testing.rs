//! Record batches for tests, and a shard that no actor drives.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use kraft_model::metadata::{Endpoint, Image, Request, Response};
use kraft_model::{BrokerEpoch, ClusterId, Incarnation, NodeId, Offset, TopicId, TopicPartition};
use tokio::sync::mpsc::UnboundedReceiver;

use super::actor::Shard;
use super::disks::{Disks, LogDirectory};
use super::handle::{Envelope, ShardHandle};
use super::maintain::Maintenance;
use super::outside::{BrokerEvents, ControllerClient, LinkFull, Outside, Peers};
use super::slot::{Settings, Slot};
use crate::actor::replication::{Fetchers, Heard, Router};
use crate::config::NodeConfig;
use crate::peer::Message;
use crate::storage::{LogConfig, Records};
use crate::trace::{Origin, Recorder};

/// One batch at `base` in `epoch` with a record for each value.
pub(crate) fn batch(base: i64, epoch: i32, values: &[&[u8]]) -> Records {
    Records::build(Offset(base), epoch, 1_000, false, values.iter().copied())
}

pub(super) const ID: TopicPartition = TopicPartition { topic: TopicId(7), partition: 0 };

/// Nobody is there, and nobody is told.
struct Nobody;

impl Peers for Nobody {
    fn ensure(&self, _: NodeId, _: &Endpoint) {}

    fn send(&self, _: NodeId, _: Message) -> Result<(), LinkFull> {
        Err(LinkFull)
    }
}

impl ControllerClient for Nobody {
    fn request(&self, _: Request) -> Pin<Box<dyn Future<Output = Response>>> {
        Box::pin(async { Response::NotController { leader: None } })
    }
}

impl BrokerEvents for Nobody {
    fn storage_failed(&self, _: &Path, _: &str) {}

    fn violation(&self, _: &'static str) {}
}

/// A shard of broker 1 over the logs in `home`, and what is told to it.
pub(super) fn shard(home: &Path) -> (Shard, UnboundedReceiver<Envelope>) {
    let config = NodeConfig::on_loopback(NodeId(1), home, &[]).expect("the configuration is right");
    let directory = LogDirectory { path: home.to_owned(), was_clean: false, is_intact: true };
    let disks = Disks::new(vec![directory], 64).expect("the directory is usable");
    let opened = disks.open_all(LogConfig::default(), 1).expect("the logs are usable");
    let (handle, commands) = ShardHandle::new();
    let (heard, now) = (Heard::default(), Instant::now());
    let origin =
        Origin { node: NodeId(1), incarnation: Incarnation::ZERO, cluster: ClusterId::ZERO };
    let outside = Outside {
        peers: Arc::new(Nobody),
        controller: Arc::new(Nobody),
        broker: Arc::new(Nobody),
        origin,
    };
    let shard = Shard {
        me: NodeId(1),
        fetchers: Fetchers::new(0, config.replica_fetch_wait_max, 1 << 20),
        config: Arc::new(config),
        outside,
        handle,
        disks: Arc::new(disks),
        metrics: Arc::default(),
        router: Arc::new(Router::new(heard.clone())),
        heard,
        registration: Arc::new(BrokerEpoch::NONE.0.into()),
        image: Arc::default(),
        slots: HashMap::new(),
        recorder: Recorder::default(),
        found: opened.logs.into_iter().collect(),
        produces: Default::default(),
        held: Default::default(),
        sessions: Default::default(),
        alterations: Default::default(),
        flushes: Default::default(),
        timers: Default::default(),
        maintenance: Maintenance::new(now),
        watermarks_moved: Default::default(),
        watermarks_at: None,
        silence_at: now,
        silent_told: HashMap::new(),
        now,
        effects: Vec::new(),
        wake: None,
        commands: None,
    };
    (shard, commands)
}

/// Makes partition [`ID`] of topic `t`.
pub(super) fn create(shard: &mut Shard) -> &mut Slot {
    let settings = Arc::new(Settings::of("t", &Image::default(), &shard.config));
    shard.create(ID, "t".into(), &settings).expect("it is created");
    shard.slots.get_mut(&ID).expect("it is there")
}
