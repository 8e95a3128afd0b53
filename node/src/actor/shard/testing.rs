//! Record batches for tests, and a shard that no actor drives.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use kraft_model::metadata::{Endpoint, Image, Request, Response};
use kraft_model::{ClusterId, Incarnation, NodeId, Offset, TopicId, TopicPartition};
use tokio::sync::mpsc::UnboundedReceiver;

use super::actor::Shard;
use super::common::Common;
use super::disks::{Disks, LogDirectory};
use super::handle::{Envelope, ShardHandle};
use super::outside::{BrokerEvents, ControllerClient, LinkFull, Outside, Peers};
use super::slot::{Settings, Slot};
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
    let origin =
        Origin { node: NodeId(1), incarnation: Incarnation::ZERO, cluster: ClusterId::ZERO };
    let outside = Outside {
        peers: Arc::new(Nobody),
        controller: Arc::new(Nobody),
        broker: Arc::new(Nobody),
        origin,
    };
    let found = opened.logs.into_iter().collect();
    let common = Common::new(Arc::new(config), outside, Arc::new(disks));
    let shard = common.shard(0, found, Recorder::default(), handle);
    (shard, commands)
}

/// Makes partition [`ID`] of topic `t`.
pub(super) fn create(shard: &mut Shard) -> &mut Slot {
    let settings = Arc::new(Settings::of("t", &Image::default(), &shard.config));
    shard.create(ID, "t".into(), &settings).expect("it is created");
    shard.slots.get_mut(&ID).expect("it is there")
}
