//! The handle over all shards.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::{Actor, Arbiter, ArbiterHandle};
use kraft_model::metadata::Image;
use kraft_model::replica::Acks;
use kraft_model::{
    BrokerEpoch, EpochEnd, ErrorCode, LeaderEpoch, NodeId, Offset, Shipped, TopicPartition,
};
use tokio::sync::oneshot;

use super::actor::Shard;
use super::command::{AppendPart, Command, Question};
use super::common::Common;
use super::consume::{FetchPart, Gathered, by_shard};
use super::disks::{Disks, FoundLog, LogDirectory, OpenError};
use super::handle::ShardHandle;
use super::metrics::Metrics;
use super::outside::Outside;
use super::publish::Publisher;
use super::slot::Settings;
use crate::actor::replication::Router;
use crate::config::NodeConfig;
use crate::kafka::{
    FetchSpec, FetchedItem, ListOffset, ListedOffset, LogDirInfo, ProduceItem, Produced, Turn,
};
use crate::peer::LinkId;
use crate::trace::{Recorder, TraceError};

/// All partitions of a broker. Cheap to clone; every clone names the same shards.
#[derive(Clone)]
pub struct Partitions(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) shards: Vec<ShardHandle>,
    arbiters: Mutex<Vec<Arbiter>>,
    pub(super) router: Arc<Router>,
    /// The newest link to each peer.
    pub(super) links: Mutex<HashMap<NodeId, LinkId>>,
    publisher: Mutex<Publisher>,
    registration: Arc<AtomicI64>,
    next_fetch: AtomicU64,
    metrics: Arc<Metrics>,
    pub(super) outside: Outside,
    me: NodeId,
    is_damaged: bool,
    has_damage: bool,
}

/// The partitions cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot open the logs")]
    Open(#[from] OpenError),
    #[error("opening the logs was cut short")]
    Interrupted,
    #[error("cannot record what the partitions do")]
    Trace(#[from] TraceError),
}

/// A fetch that no deadline ends is ended after this; Kafka's clients wait half a second.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// How long after its deadline a fetch is given up that no shard has answered.
const UNANSWERED: Duration = Duration::from_secs(1);

impl Partitions {
    /// Opens every log in `directories`, which may take its time after an unclean stop, and starts
    /// `worker_threads` shards. Nothing is led or followed before the first publication.
    pub async fn start(
        config: Arc<NodeConfig>,
        directories: Vec<LogDirectory>,
        outside: Outside,
    ) -> Result<Partitions, StartError> {
        let count = config.worker_threads.max(1);
        let disks = Arc::new(Disks::new(directories, config.open_files)?);
        let opening = Arc::clone(&disks);
        let settings = Settings::of("", &Image::default(), &config);
        let open = move || opening.open_all(settings.log, count);
        let opened =
            tokio::task::spawn_blocking(open).await.map_err(|_| StartError::Interrupted)??;
        let mut found: Vec<HashMap<TopicPartition, FoundLog>> =
            (0..count).map(|_| HashMap::new()).collect();
        for (id, log) in opened.logs {
            found[shard_of(id, count)].insert(id, log);
        }
        let common = Common::new(config, outside, disks);
        let (mut shards, mut arbiters) = (Vec::new(), Vec::new());
        for (index, found) in found.into_iter().enumerate() {
            let arbiter = Arbiter::new();
            shards.push(start_shard(&common, index, found, &arbiter)?);
            arbiters.push(arbiter);
        }
        let me = common.config.node_id;
        Ok(Partitions(Arc::new(Inner {
            shards,
            arbiters: Mutex::new(arbiters),
            router: common.router,
            links: Mutex::default(),
            publisher: Mutex::new(Publisher::new(me, common.config)),
            registration: common.registration,
            next_fetch: AtomicU64::new(0),
            metrics: common.metrics,
            outside: common.outside,
            me,
            is_damaged: opened.is_damaged,
            has_damage: opened.has_damage,
        })))
    }

    /// Opening the logs has found damage below what was flushed or committed: the broker registers
    /// as damaged.
    pub fn is_damaged(&self) -> bool {
        self.0.is_damaged
    }

    /// Opening the logs has found any damage: they do not hold all that the last process wrote, even
    /// where nobody can say whether it had been flushed or committed.
    pub fn has_damage(&self) -> bool {
        self.0.has_damage
    }

    /// The threads on which the shards live: clients' connections live there too.
    pub fn arbiters(&self) -> Vec<ArbiterHandle> {
        let arbiters = self.0.arbiters.lock().unwrap_or_else(PoisonError::into_inner);
        arbiters.iter().map(Arbiter::handle).collect()
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// The broker is registered under `epoch` from now on.
    pub fn registered(&self, epoch: BrokerEpoch) {
        self.0.registration.store(epoch.0, Ordering::Release);
    }

    /// Hands on a new image, from one publisher in order. An image that does not hold this broker's
    /// present registration is passed over, because it may name this broker leader of an epoch from
    /// before it lost data; what it changed comes with the next one. Returns whether it was used.
    pub fn publish(&self, image: Arc<Image>) -> bool {
        let registration = BrokerEpoch(self.0.registration.load(Ordering::Acquire));
        if !image.speaks_to(Shipped, self.0.me, registration) {
            return false;
        }
        let mut publisher = self.0.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        let count = self.0.shards.len();
        for (shard, part) in publisher.publish(image, count, |id| shard_of(id, count)) {
            self.0.shards[shard].deliver(Command::Publish(part));
        }
        true
    }

    /// The metadata is complete: logs that it has not asked for are deleted.
    pub fn drop_strays(&self) {
        self.0.shards.iter().for_each(|shard| shard.deliver(Command::DropStrays));
    }

    /// Appends; answers in the order of `items`, with [`Acks::None`] as soon as they are in the log.
    /// `turn` ends when all of them are on their way: nothing of this caller's can overtake them.
    pub async fn append(
        &self,
        items: Vec<ProduceItem>,
        acks: Acks,
        timeout: Duration,
        turn: Turn,
    ) -> Vec<Result<Produced, ErrorCode>> {
        let deadline = Instant::now() + timeout;
        let mut results = vec![Err(ErrorCode::RequestTimedOut); items.len()];
        let mut answers = Vec::new();
        for (shard, items) in by_shard(items, |item| self.shard_of(item.partition)) {
            let bytes = items.iter().map(|(_, item)| item.batch.len()).sum();
            let items = items
                .into_iter()
                .map(|(place, item)| (place, item.partition, item.batch))
                .collect();
            let (answer, answered) = oneshot::channel();
            let part = AppendPart { items, acks, deadline, answer };
            let send = self.0.shards[shard].send(Command::Append(part), bytes);
            if matches!(tokio::time::timeout_at(deadline.into(), send).await, Ok(Ok(()))) {
                answers.push(answered);
            }
        }
        drop(turn);
        for answered in answers {
            for (place, result) in answered.await.unwrap_or_default() {
                results[place] = result;
            }
        }
        results
    }

    /// Waits until `min_bytes` can be read or `max_wait` is over; answers in the order of the items.
    pub async fn fetch(&self, spec: FetchSpec) -> Vec<FetchedItem> {
        let FetchSpec { items, max_wait, min_bytes, max_bytes } = spec;
        let mut results: Vec<_> = items
            .iter()
            .map(|item| FetchedItem {
                partition: item.partition,
                result: Err(ErrorCode::KafkaStorageError),
            })
            .collect();
        let parts = by_shard(items, |item| self.shard_of(item.partition));
        let number = self.0.next_fetch.fetch_add(1, Ordering::Relaxed);
        let deadline = Instant::now() + max_wait.min(LONGEST_WAIT);
        let gathered = Arc::new(Gathered::new(min_bytes));
        // Each may have one batch at least: room for nothing would be an answer with nothing, for ever.
        let max_bytes = (max_bytes / parts.len().max(1)).max(1);
        let mut answers = Vec::new();
        for (shard, items) in parts {
            let (answer, answered) = oneshot::channel();
            let gathered = Arc::clone(&gathered);
            let part = FetchPart { number, items, max_bytes, deadline, gathered, answer };
            if self.0.shards[shard].send(Command::Fetch(part), 0).await.is_ok() {
                answers.push((shard, answered));
            }
        }
        if answers.len() > 1 {
            // One has enough or has waited its longest: what the others have will do. A shard that
            // stops says nothing, so that this wait has an end of its own.
            let latest = deadline + UNANSWERED;
            let _ = tokio::time::timeout_at(latest.into(), gathered.answered.notified()).await;
            for (shard, _) in &answers {
                self.0.shards[*shard].deliver(Command::CutShort(number));
            }
        }
        for (_, answered) in answers {
            for (place, item) in answered.await.unwrap_or_default() {
                results[place] = item;
            }
        }
        results
    }

    pub async fn list_offset(
        &self,
        id: TopicPartition,
        leader_epoch: Option<LeaderEpoch>,
        query: ListOffset,
    ) -> Result<ListedOffset, ErrorCode> {
        self.ask(id, (leader_epoch, query), Command::ListOffset).await
    }

    /// Where `epoch` ends in the leader's log; `current` is the epoch that the client believes in.
    pub async fn end_of_epoch(
        &self,
        id: TopicPartition,
        current: Option<LeaderEpoch>,
        epoch: LeaderEpoch,
    ) -> Result<EpochEnd, ErrorCode> {
        self.ask(id, (current, epoch), Command::EndOfEpoch).await
    }

    /// Moves the log's start to `before`, -1 being the high watermark. The new start.
    pub async fn delete_records(
        &self,
        id: TopicPartition,
        before: i64,
    ) -> Result<Offset, ErrorCode> {
        self.ask(id, before, Command::DeleteRecords).await
    }

    /// The log directories with their replicas; sizes of the file systems are -1.
    pub async fn log_dirs(&self) -> Vec<LogDirInfo> {
        let mut all: Vec<LogDirInfo> = Vec::new();
        for shard in &self.0.shards {
            let (answer, answered) = oneshot::channel();
            if shard.send(Command::LogDirs(answer), 0).await.is_err() {
                continue;
            }
            for info in answered.await.unwrap_or_default() {
                match all.iter_mut().find(|known| known.path == info.path) {
                    Some(known) => {
                        known.replicas.extend(info.replicas);
                        known.error = known.error.or(info.error);
                    }
                    None => all.push(info),
                }
            }
        }
        all
    }

    /// The orderly stop: everything to disk. Whether all of it is there, so that the next start may
    /// take this one for clean.
    pub async fn shutdown(&self) -> bool {
        let mut stopped = Vec::new();
        for shard in &self.0.shards {
            let (done, is_done) = oneshot::channel();
            shard.deliver(Command::Shutdown(done));
            stopped.push(is_done);
        }
        let mut is_clean = true;
        for is_done in stopped {
            is_clean &= is_done.await.is_ok();
        }
        let mut arbiters = self.0.arbiters.lock().unwrap_or_else(PoisonError::into_inner);
        for arbiter in arbiters.drain(..) {
            arbiter.stop();
        }
        is_clean
    }

    fn ask<Q, A>(
        &self,
        id: TopicPartition,
        asked: Q,
        command: impl FnOnce(Question<Q, A>) -> Command,
    ) -> impl Future<Output = Result<A, ErrorCode>> {
        let (answer, answered) = oneshot::channel();
        let command = command(Question { id, asked, answer });
        let shard = self.0.shards[self.shard_of(id)].clone();
        async move {
            shard.send(command, 0).await.map_err(|_| ErrorCode::KafkaStorageError)?;
            answered.await.unwrap_or(Err(ErrorCode::KafkaStorageError))
        }
    }

    pub(super) fn shard_of(&self, id: TopicPartition) -> usize {
        shard_of(id, self.0.shards.len())
    }
}

/// A partition stays on its shard while the process runs.
fn shard_of(id: TopicPartition, shards: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    (hasher.finish() % shards as u64) as usize
}

fn start_shard(
    common: &Common,
    index: usize,
    found: HashMap<TopicPartition, FoundLog>,
    arbiter: &Arbiter,
) -> Result<ShardHandle, StartError> {
    let (handle, commands) = ShardHandle::new();
    let recorder = Recorder::open(
        common.config.trace.as_ref(),
        common.outside.origin,
        &format!("shard-{index}"),
    )?;
    let shard = common.shard(index, found, recorder, handle.clone());
    let shard = Shard { commands: Some(commands), ..shard };
    Shard::start_in_arbiter(&arbiter.handle(), move |_| shard);
    Ok(handle)
}
