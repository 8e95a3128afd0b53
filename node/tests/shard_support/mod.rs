//! Brokers' partitions in one process: real logs in temporary directories, links that are function
//! calls, and a controller that grants every ISR.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use kraft_model::inline::Nodes;
use kraft_model::log::Extent;
use kraft_model::metadata::{
    AlterAnswer, AlterPartition, Broker, Endpoint, Image, Partition, Request, Response,
    SecurityProtocol, Topic,
};
use kraft_model::replica::Acks;
use kraft_model::{
    BrokerEpoch, ClusterId, ErrorCode, Incarnation, NodeId, Offset, TopicId, TopicPartition,
};
use kraft_node::actor::shard::{
    BrokerEvents, ControllerClient, LinkFull, LogDirectory, Outside, Partitions, Peers,
};
use kraft_node::config::NodeConfig;
use kraft_node::kafka::{FetchItem, FetchRead, FetchSpec, ProduceItem, Produced};
use kraft_node::peer::{LinkId, Message};
use kraft_node::storage::Records;
use kraft_node::trace::Origin;
use tempfile::TempDir;

pub const TOPIC: TopicId = TopicId(7);

/// Runs a test on an actix system.
pub fn run(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(test);
}

pub fn id(partition: i32) -> TopicPartition {
    TopicPartition { topic: TOPIC, partition }
}

/// Waits until `holds`; fails after ten seconds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The brokers, what connects them, and the metadata.
pub struct Cluster {
    shared: Arc<Shared>,
    homes: BTreeMap<NodeId, TempDir>,
    settings: Vec<String>,
}

struct Shared {
    running: Mutex<BTreeMap<NodeId, Partitions>>,
    image: Mutex<Image>,
    linked: Mutex<BTreeMap<(NodeId, NodeId), LinkId>>,
    links: AtomicU64,
    cut: Mutex<BTreeSet<NodeId>>,
    messages: AtomicUsize,
    violations: Mutex<Vec<&'static str>>,
    publishing: Mutex<()>,
}

impl Cluster {
    /// Brokers 1 to `brokers`, registered and running, and no topics.
    pub async fn start(brokers: i32, settings: &[&str]) -> Cluster {
        let shared = Arc::new(Shared {
            running: Mutex::default(),
            image: Mutex::default(),
            linked: Mutex::default(),
            links: AtomicU64::new(0),
            cut: Mutex::default(),
            messages: AtomicUsize::new(0),
            violations: Mutex::default(),
            publishing: Mutex::default(),
        });
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut cluster = Cluster { shared, homes: BTreeMap::new(), settings };
        for broker in 1..=brokers {
            let broker = NodeId(broker);
            cluster.homes.insert(broker, tempfile::tempdir().expect("a directory for the test"));
            cluster.boot(broker, false).await;
        }
        cluster
    }

    /// Starts a broker over its directory under a new registration.
    pub async fn boot(&mut self, broker: NodeId, was_clean: bool) {
        let home = self.homes[&broker].path();
        let outside = Outside {
            peers: Arc::new(Wire { from: broker, shared: Arc::downgrade(&self.shared) }),
            controller: Arc::new(Granting(Arc::downgrade(&self.shared))),
            broker: Arc::new(Watch(Arc::downgrade(&self.shared))),
            origin: Origin {
                node: broker,
                incarnation: Incarnation::ZERO,
                cluster: ClusterId::ZERO,
            },
        };
        let config = Arc::new(config(broker, home, &self.settings));
        let directories =
            vec![LogDirectory { path: home.to_owned(), was_clean, is_intact: was_clean }];
        let partitions =
            Partitions::start(config, directories, outside).await.expect("the broker starts");
        let epoch = self.register(broker);
        partitions.registered(epoch);
        self.shared.running.lock().expect("unpoisoned").insert(broker, partitions);
        self.publish();
    }

    fn register(&self, broker: NodeId) -> BrokerEpoch {
        let mut image = self.shared.image.lock().expect("unpoisoned");
        image.end = image.end.plus(1);
        let epoch = BrokerEpoch(image.end.0);
        let endpoint = Endpoint {
            listener: "PLAINTEXT".to_owned(),
            host: "localhost".to_owned(),
            port: 1,
            protocol: SecurityProtocol::Plaintext,
        };
        let registration = Broker {
            id: broker,
            epoch,
            incarnation: Default::default(),
            endpoints: vec![endpoint],
            features: Vec::new(),
            rack: None,
            directories: Vec::new(),
            fenced: false,
            in_controlled_shutdown: false,
        };
        image.brokers.insert(broker, Arc::new(registration));
        epoch
    }

    pub fn create_topic(&self, partitions: i32, replicas: &[i32]) {
        let replicas = nodes(replicas);
        let partition = Partition {
            replicas,
            isr: replicas,
            leader: Some(replicas[0]),
            ..Partition::default()
        };
        let topic = Topic {
            id: TOPIC,
            name: "orders".into(),
            partitions: vec![partition; partitions as usize],
        };
        let mut image = self.shared.image.lock().expect("unpoisoned");
        image.topic_ids.insert(Arc::clone(&topic.name), TOPIC);
        image.topics.insert(TOPIC, Arc::new(topic));
        drop(image);
        self.publish();
    }

    pub fn delete_topic(&self) {
        self.shared.image.lock().expect("unpoisoned").topics.remove(&TOPIC);
        self.publish();
    }

    /// What the controller does when it moves a leader: the next leader epoch, another ISR.
    pub fn elect(&self, partition: i32, leader: i32, isr: &[i32]) {
        self.shared.change(id(partition), |partition| {
            partition.leader = Some(NodeId(leader));
            partition.leader_epoch = partition.leader_epoch.next();
            partition.isr = nodes(isr);
        });
        self.publish();
    }

    pub fn isr(&self, partition: i32) -> Vec<i32> {
        let image = self.shared.image.lock().expect("unpoisoned");
        let mut isr: Vec<_> = image.topics[&TOPIC].partitions[partition as usize]
            .isr
            .iter()
            .map(|broker| broker.0)
            .collect();
        isr.sort_unstable();
        isr
    }

    pub fn broker(&self, broker: i32) -> Partitions {
        self.shared.running.lock().expect("unpoisoned")[&NodeId(broker)].clone()
    }

    pub fn home(&self, broker: i32) -> &Path {
        self.homes[&NodeId(broker)].path()
    }

    /// No message reaches the broker or leaves it until [`Cluster::mend`], and its links are down.
    pub fn cut(&self, broker: i32) {
        self.shared.cut.lock().expect("unpoisoned").insert(NodeId(broker));
        self.shared.unlink(NodeId(broker));
    }

    /// Links to the broker come back.
    pub fn mend(&self, broker: i32) {
        self.shared.cut.lock().expect("unpoisoned").remove(&NodeId(broker));
        let all: Vec<_> = self.shared.running.lock().expect("unpoisoned").keys().copied().collect();
        for other in all.into_iter().filter(|&other| other != NodeId(broker)) {
            self.shared.link(NodeId(broker), other);
        }
    }

    /// Stops a broker in order; whether it may be called a clean stop.
    pub async fn stop(&self, broker: i32) -> bool {
        let stopped = self.shared.running.lock().expect("unpoisoned").remove(&NodeId(broker));
        self.shared.unlink(NodeId(broker));
        stopped.expect("the broker runs").shutdown().await
    }

    pub fn messages(&self) -> usize {
        self.shared.messages.load(Ordering::Relaxed)
    }

    pub fn violations(&self) -> Vec<&'static str> {
        self.shared.violations.lock().expect("unpoisoned").clone()
    }

    fn publish(&self) {
        self.shared.publish();
    }
}

impl Shared {
    /// Images reach the brokers in order, as from one log: the test and the shards, which ask for
    /// an ISR, publish one at a time.
    fn publish(&self) {
        let _one_at_a_time = self.publishing.lock().expect("unpoisoned");
        let image = Arc::new(self.image.lock().expect("unpoisoned").clone());
        let running: Vec<_> = self.running.lock().expect("unpoisoned").values().cloned().collect();
        for partitions in running {
            partitions.publish(Arc::clone(&image));
        }
    }

    fn change(&self, id: TopicPartition, change: impl FnOnce(&mut Partition)) -> Partition {
        let mut image = self.image.lock().expect("unpoisoned");
        let topic = image.topics.get_mut(&id.topic).expect("the topic is there");
        let partition = &mut Arc::make_mut(topic).partitions[id.partition as usize];
        change(partition);
        partition.partition_epoch = partition.partition_epoch.next();
        let changed = *partition;
        image.end = image.end.plus(1);
        changed
    }

    fn partitions(&self, broker: NodeId) -> Option<Partitions> {
        self.running.lock().expect("unpoisoned").get(&broker).cloned()
    }

    fn is_cut(&self, one: NodeId, other: NodeId) -> bool {
        let cut = self.cut.lock().expect("unpoisoned");
        cut.contains(&one) || cut.contains(&other)
    }

    fn link(&self, one: NodeId, other: NodeId) {
        let (Some(a), Some(b)) = (self.partitions(one), self.partitions(other)) else { return };
        if self.is_cut(one, other) {
            return;
        }
        let pair = (one.min(other), one.max(other));
        if let Entry::Vacant(entry) = self.linked.lock().expect("unpoisoned").entry(pair) {
            let link = LinkId(self.links.fetch_add(1, Ordering::Relaxed));
            entry.insert(link);
            a.on_link_up(other, link);
            b.on_link_up(one, link);
        }
    }

    fn unlink(&self, broker: NodeId) {
        let mut linked = self.linked.lock().expect("unpoisoned");
        linked.retain(|&(a, b), &mut link| {
            if a != broker && b != broker {
                return true;
            }
            self.partitions(a).inspect(|partitions| partitions.on_link_down(b, link));
            self.partitions(b).inspect(|partitions| partitions.on_link_down(a, link));
            false
        });
    }
}

/// A link whose other end is a function.
struct Wire {
    from: NodeId,
    shared: Weak<Shared>,
}

impl Peers for Wire {
    fn ensure(&self, peer: NodeId, _: &Endpoint) {
        if let Some(shared) = self.shared.upgrade() {
            shared.link(self.from, peer);
        }
    }

    fn send(&self, peer: NodeId, message: Message) -> Result<(), LinkFull> {
        let shared = self.shared.upgrade().ok_or(LinkFull)?;
        let to = shared.partitions(peer).ok_or(LinkFull)?;
        // Both ends hear of a link before a message goes over it.
        let pair = (self.from.min(peer), self.from.max(peer));
        if !shared.linked.lock().expect("unpoisoned").contains_key(&pair) {
            return Err(LinkFull);
        }
        shared.messages.fetch_add(1, Ordering::Relaxed);
        match message {
            Message::ReplicaFetch(request) => to.on_replica_fetch(self.from, request),
            Message::ReplicaFetched(answer) => to.on_replica_fetched(self.from, answer),
            other => panic!("partitions do not send {other:?}"),
        }
        Ok(())
    }
}

/// Grants every ISR that is asked for in the current epochs.
struct Granting(Weak<Shared>);

impl ControllerClient for Granting {
    fn request(&self, request: Request) -> Pin<Box<dyn Future<Output = Response>>> {
        let shared = self.0.upgrade();
        Box::pin(async move {
            let (Some(shared), Request::AlterPartition(asked)) = (shared, request) else {
                return Response::NotController { leader: None };
            };
            let answer = shared.alter(asked);
            shared.publish();
            Response::AlterPartition(Ok(answer))
        })
    }
}

impl Shared {
    fn alter(&self, asked: AlterPartition) -> Vec<AlterAnswer> {
        let mut answers = Vec::new();
        for proposal in asked.partitions {
            let now = self.image.lock().expect("unpoisoned").partition(proposal.id).copied();
            let Some(now) = now else { continue };
            let is_current = now.leader == Some(asked.broker)
                && now.leader_epoch == proposal.leader_epoch
                && now.partition_epoch == proposal.partition_epoch;
            if is_current {
                self.change(proposal.id, |partition| partition.isr = proposal.isr);
            }
            let answer = if is_current { Ok(()) } else { Err(ErrorCode::FencedLeaderEpoch) };
            answers.push((proposal.id, answer));
        }
        answers
    }
}

struct Watch(Weak<Shared>);

impl BrokerEvents for Watch {
    fn storage_failed(&self, directory: &Path, cause: &str) {
        panic!("{} failed: {cause}", directory.display());
    }

    fn violation(&self, what: &'static str) {
        if let Some(shared) = self.0.upgrade() {
            shared.violations.lock().expect("unpoisoned").push(what);
        }
    }
}

fn config(broker: NodeId, home: &Path, settings: &[String]) -> NodeConfig {
    let mut all = vec![("min.insync.replicas", "2"), ("num.io.threads", "2")];
    all.extend(settings.iter().filter_map(|setting| setting.split_once('=')));
    NodeConfig::on_loopback(broker, home, &all).expect("the test's configuration is right")
}

fn nodes(ids: &[i32]) -> Nodes {
    ids.iter().map(|&id| NodeId(id)).collect()
}

/// Produces one record with this value.
pub async fn produce(
    broker: &Partitions,
    partition: i32,
    value: &str,
    acks: Acks,
) -> Result<Produced, ErrorCode> {
    let batch = Records::build(Offset::ZERO, 0, 1_000, false, [value.as_bytes()].into_iter());
    let item = ProduceItem { partition: id(partition), batch: batch.bytes };
    let turn = Arc::new(tokio::sync::Mutex::new(())).lock_owned().await;
    let results = broker.append(vec![item], acks, Duration::from_secs(10), turn).await;
    results.into_iter().next().expect("one item, one result")
}

/// Fetches as a consumer.
pub async fn fetch(
    broker: &Partitions,
    partition: i32,
    offset: i64,
    max_wait: Duration,
) -> Result<FetchRead, ErrorCode> {
    let item = FetchItem {
        partition: id(partition),
        offset: Offset(offset),
        leader_epoch: None,
        last_epoch: None,
        max_bytes: 1 << 20,
    };
    let spec = FetchSpec { items: vec![item], max_wait, min_bytes: 1, max_bytes: 1 << 20 };
    let fetched = broker.fetch(spec).await;
    fetched.into_iter().next().expect("one item, one answer").result
}

/// The committed values of a partition on a broker, from the start.
pub async fn values(broker: &Partitions, partition: i32) -> Vec<String> {
    let mut values = Vec::new();
    let mut offset = 0;
    loop {
        let Ok(read) = fetch(broker, partition, offset, Duration::ZERO).await else { break };
        let Some(bytes) = read.records.into_iter().next() else { break };
        let records = Records::parse(bytes).expect("whole batches");
        offset = records.end().0;
        for (at, _) in records.batches() {
            for value in kraft_node::storage::values(&records.bytes[at..]) {
                let value = value.expect("a record").to_vec();
                values.push(String::from_utf8(value).expect("text"));
            }
        }
    }
    values
}
