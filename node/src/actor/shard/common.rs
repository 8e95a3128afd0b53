//! What all shards of a broker share, and a shard that is made of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Instant;

use kraft_model::{BrokerEpoch, TopicPartition};

use super::actor::Shard;
use super::disks::{Disks, FoundLog};
use super::handle::ShardHandle;
use super::maintain::Maintenance;
use super::metrics::Metrics;
use super::outside::Outside;
use crate::actor::replication::{Fetchers, Heard, Router};
use crate::config::NodeConfig;
use crate::trace::Recorder;

pub(super) struct Common {
    pub config: Arc<NodeConfig>,
    pub outside: Outside,
    disks: Arc<Disks>,
    pub router: Arc<Router>,
    heard: Heard,
    pub registration: Arc<AtomicI64>,
    pub metrics: Arc<Metrics>,
}

impl Common {
    pub fn new(config: Arc<NodeConfig>, outside: Outside, disks: Arc<Disks>) -> Common {
        let heard = Heard::default();
        Common {
            config,
            outside,
            disks,
            router: Arc::new(Router::new(heard.clone())),
            heard,
            registration: Arc::new(AtomicI64::new(BrokerEpoch::NONE.0)),
            metrics: Arc::default(),
        }
    }

    /// A shard that knows of no metadata yet, and takes its commands from nowhere.
    pub fn shard(
        &self,
        index: usize,
        found: HashMap<TopicPartition, FoundLog>,
        recorder: Recorder,
        handle: ShardHandle,
    ) -> Shard {
        let (config, now) = (&self.config, Instant::now());
        let fetchers = Fetchers::new(
            index as u32,
            config.replica_fetch_wait_max,
            config.replica_fetch_response_max_bytes,
        );
        Shard {
            me: config.node_id,
            config: Arc::clone(config),
            outside: self.outside.clone(),
            handle,
            disks: Arc::clone(&self.disks),
            metrics: Arc::clone(&self.metrics),
            router: Arc::clone(&self.router),
            heard: self.heard.clone(),
            registration: Arc::clone(&self.registration),
            image: Arc::default(),
            slots: HashMap::new(),
            recorder,
            found,
            produces: Default::default(),
            held: Default::default(),
            sessions: Default::default(),
            fetchers,
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
        }
    }
}
