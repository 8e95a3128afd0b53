//! A broker of one node in memory, which is its own controller.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kraft_model::inline::Nodes;
use kraft_model::metadata::{
    Broker, ConfigOp, Endpoint, Image, NewTopic, Partition, Refusal, Request, ResourceKind,
    Response, SecurityProtocol, Topic, TopicCreated, TopicRef,
};
use kraft_model::raft::{VoterChange, VoterChangeError};
use kraft_model::replica::Acks;
use kraft_model::{
    BrokerEpoch, ClusterId, EpochEnd, ErrorCode, Incarnation, LeaderEpoch, NodeId, Offset, TopicId,
    TopicPartition,
};
use kraft_node::config::NodeConfig;
use kraft_node::kafka::{
    Backend, FetchRead, FetchSpec, FetchedItem, ListOffset, ListedOffset, LogDirInfo, ProduceItem,
    Produced,
};
use kraft_node::peer::{QuorumView, VoterView};
use kraft_node::storage::VoterEndpoint;
use tokio::sync::Notify;

pub const NODE: NodeId = NodeId(1);
/// A broker that is registered and fenced.
pub const FENCED: NodeId = NodeId(2);
/// A broker that was fenced a short while ago.
pub const LATELY_FENCED: NodeId = NodeId(3);
pub const LISTENER: &str = "PLAINTEXT";

#[derive(Clone)]
pub struct FakeBackend {
    config: Arc<NodeConfig>,
    state: Rc<RefCell<State>>,
    changed: Rc<Notify>,
    /// Appends of acks=all wait here once it is set, as for followers.
    pub gate: Rc<RefCell<Option<Rc<Notify>>>>,
    /// The next append waits for this before anything is in the log.
    pub room: Rc<RefCell<Option<Rc<Notify>>>>,
}

#[derive(Default)]
struct State {
    image: Arc<Image>,
    logs: BTreeMap<TopicPartition, Vec<Batch>>,
    /// Every append in the order in which it was submitted.
    submitted: Vec<Bytes>,
    controller_is_gone: bool,
    next_producer: i64,
}

struct Batch {
    base: i64,
    end: i64,
    timestamp: i64,
    bytes: Bytes,
}

impl FakeBackend {
    pub fn new() -> FakeBackend {
        FakeBackend::with_settings(&[])
    }

    pub fn with_settings(settings: &[(&str, &str)]) -> FakeBackend {
        let dir = std::env::temp_dir();
        let config = NodeConfig::on_loopback(NODE, &dir, settings).expect("a legal configuration");
        let mut image = Image { end: Offset(1), ..Image::default() };
        for (id, fenced) in [(NODE, false), (FENCED, true), (LATELY_FENCED, true)] {
            image.brokers.insert(id, Arc::new(broker(id, fenced)));
        }
        image.features.insert("metadata.version".to_owned(), 25);
        let state = State { image: Arc::new(image), next_producer: 1000, ..State::default() };
        FakeBackend {
            config: Arc::new(config),
            state: Rc::new(RefCell::new(state)),
            changed: Rc::default(),
            gate: Rc::default(),
            room: Rc::default(),
        }
    }

    /// Creates a topic of so many partitions, led by this node.
    pub fn add_topic(&self, name: &str, partitions: i32) -> TopicId {
        let id = TopicId(0x1000 + self.image().topics.len() as u128);
        self.edit(|image| insert(image, id, name, partitions));
        id
    }

    pub fn edit(&self, change: impl FnOnce(&mut Image)) {
        let mut state = self.state.borrow_mut();
        let image = Arc::make_mut(&mut state.image);
        change(image);
        image.end = image.end.plus(1);
        self.changed.notify_waiters();
    }

    pub fn edit_partition(&self, id: TopicPartition, change: impl FnOnce(&mut Partition)) {
        self.edit(|image| {
            let topic = image.topics.get_mut(&id.topic).expect("the topic exists");
            change(&mut Arc::make_mut(topic).partitions[id.partition as usize]);
        });
    }

    pub fn lose_controller(&self) {
        self.state.borrow_mut().controller_is_gone = true;
    }

    pub fn submitted(&self) -> Vec<Bytes> {
        self.state.borrow().submitted.clone()
    }

    fn leads(&self, id: TopicPartition) -> Result<(), ErrorCode> {
        let image = self.image();
        let topic = image.topics.get(&id.topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let partition = &topic.partitions[id.partition as usize];
        if partition.leader == Some(NODE) { Ok(()) } else { Err(ErrorCode::NotLeaderOrFollower) }
    }

    fn append_one(&self, item: ProduceItem) -> Result<Produced, ErrorCode> {
        self.leads(item.partition)?;
        let mut state = self.state.borrow_mut();
        state.submitted.push(item.batch.clone());
        let log = state.logs.entry(item.partition).or_default();
        let base = log.last().map_or(0, |batch| batch.end);
        let count = i64::from(i32::from_be_bytes(item.batch[57..61].try_into().expect("a header")));
        let timestamp = i64::from_be_bytes(item.batch[35..43].try_into().expect("a header"));
        let mut bytes = item.batch.to_vec();
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        log.push(Batch { base, end: base + count, timestamp, bytes: bytes.into() });
        Ok(Produced { base: Offset(base), append_time_ms: -1, log_start: Offset(0) })
    }

    fn read(&self, id: TopicPartition, from: i64) -> Result<FetchRead, ErrorCode> {
        self.leads(id)?;
        let state = self.state.borrow();
        let log = state.logs.get(&id).map_or(&[][..], Vec::as_slice);
        let end = log.last().map_or(0, |batch| batch.end);
        if from > end {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let records = log.iter().filter(|batch| batch.end > from).map(|batch| batch.bytes.clone());
        Ok(FetchRead {
            high_watermark: Offset(end),
            log_start: Offset(0),
            diverging: None,
            records: records.collect(),
        })
    }

    fn decide(&self, request: Request) -> Response {
        match request {
            Request::CreateTopics { topics, validate_only } => Response::CreateTopics(
                topics
                    .into_iter()
                    .map(|new| (new.name.clone(), self.create(new, validate_only)))
                    .collect(),
            ),
            Request::DeleteTopics { topics } => Response::DeleteTopics(
                topics.into_iter().map(|topic| (topic.clone(), self.delete(&topic))).collect(),
            ),
            Request::CreatePartitions { topics, .. } => {
                let grow = |wanted: kraft_model::metadata::CreatePartitions| {
                    let id = self.image().topic_ids.get(wanted.topic.as_str()).copied();
                    if let Some(id) = id {
                        self.edit(|image| insert(image, id, &wanted.topic, wanted.total));
                    }
                    let unknown = Refusal::new(ErrorCode::UnknownTopicOrPartition, "no such topic");
                    (wanted.topic, id.map(|_| ()).ok_or(unknown))
                };
                Response::CreatePartitions(topics.into_iter().map(grow).collect())
            }
            Request::AlterConfigs { changes, .. } => {
                let alter = |change: kraft_model::metadata::ConfigChange| {
                    let key = (change.kind, change.resource.clone());
                    self.edit(|image| {
                        let set = Arc::make_mut(image.configs.entry(key).or_default());
                        for (name, op) in change.ops {
                            match op {
                                ConfigOp::Set(value) => set.insert(name, value),
                                _ => set.remove(&name),
                            };
                        }
                    });
                    (change.kind, change.resource, Ok(()))
                };
                Response::AlterConfigs(changes.into_iter().map(alter).collect())
            }
            Request::ElectLeaders(elect) => Response::ElectLeaders(
                elect
                    .partitions
                    .unwrap_or_default()
                    .into_iter()
                    .map(|id| (id, Err(ErrorCode::ElectionNotNeeded)))
                    .collect(),
            ),
            Request::ReassignPartitions { partitions } => Response::ReassignPartitions(
                partitions.into_iter().map(|change| (change.id, Ok(()))).collect(),
            ),
            Request::UnregisterBroker { .. } => Response::UnregisterBroker(Ok(())),
            _ => Response::NotController { leader: None },
        }
    }

    fn create(&self, new: NewTopic, validate_only: bool) -> Result<TopicCreated, Refusal> {
        if self.image().topic_ids.contains_key(new.name.as_str()) {
            let message = format!("topic '{}' exists", new.name);
            return Err(Refusal::new(ErrorCode::TopicAlreadyExists, message));
        }
        let partitions = new.partitions.unwrap_or(1).max(new.assignments.len() as i32);
        let id = TopicId::drawn(fastrand::u64(..), 0);
        if !validate_only {
            // As in a cluster: the answer is there before this broker's image is.
            let (backend, name) = (self.clone(), new.name);
            tokio::task::spawn_local(async move {
                tokio::task::yield_now().await;
                backend.edit(|image| insert(image, id, &name, partitions));
            });
        }
        Ok(TopicCreated { id, partitions, replication_factor: 1, configs: new.configs })
    }

    fn delete(&self, topic: &TopicRef) -> Result<(TopicId, String), Refusal> {
        let image = self.image();
        let id = match topic {
            TopicRef::Id(id) => Some(*id),
            TopicRef::Name(name) => image.topic_ids.get(name.as_str()).copied(),
        };
        let found = id.and_then(|id| image.topics.get(&id)).ok_or_else(|| {
            Refusal::new(ErrorCode::UnknownTopicOrPartition, "there is no such topic")
        })?;
        self.edit(|image| {
            image.topics.remove(&found.id);
            image.topic_ids.remove(&found.name);
        });
        Ok((found.id, found.name.to_string()))
    }
}

fn broker(id: NodeId, fenced: bool) -> Broker {
    Broker {
        id,
        epoch: BrokerEpoch(1),
        incarnation: Incarnation(7),
        endpoints: vec![Endpoint {
            listener: LISTENER.to_owned(),
            host: "broker.example".to_owned(),
            port: 9000 + id.0 as u16,
            protocol: SecurityProtocol::Plaintext,
        }],
        features: vec![("metadata.version".to_owned(), 7, 25), ("group.version".to_owned(), 0, 1)],
        rack: Some("r1".to_owned()),
        directories: Vec::new(),
        fenced,
        in_controlled_shutdown: false,
    }
}

fn insert(image: &mut Image, id: TopicId, name: &str, partitions: i32) {
    let nodes = Nodes::try_from_slice(&[NODE]).expect("one node fits");
    let partition = Partition {
        replicas: nodes,
        isr: nodes,
        leader: Some(NODE),
        leader_epoch: LeaderEpoch(5),
        ..Partition::default()
    };
    let partitions = vec![partition; partitions as usize];
    image.topics.insert(id, Arc::new(Topic { id, name: name.into(), partitions }));
    image.topic_ids.insert(name.into(), id);
}

impl Backend for FakeBackend {
    fn config(&self) -> &Arc<NodeConfig> {
        &self.config
    }

    fn image(&self) -> Arc<Image> {
        self.state.borrow().image.clone()
    }

    async fn image_changed(&self, seen: Offset) {
        loop {
            let changed = self.changed.notified();
            if self.image().end > seen {
                return;
            }
            changed.await;
        }
    }

    fn lists(&self, broker: &Broker) -> bool {
        !broker.fenced || broker.id == LATELY_FENCED
    }

    fn cluster_id(&self) -> ClusterId {
        ClusterId(0xc1)
    }

    fn active_controller(&self) -> Option<NodeId> {
        Some(NODE)
    }

    async fn controller(&self, request: Request, _timeout: Duration) -> Response {
        if self.state.borrow().controller_is_gone {
            return Response::NotController { leader: None };
        }
        self.decide(request)
    }

    async fn append(
        &self,
        items: Vec<ProduceItem>,
        acks: Acks,
        _timeout: Duration,
        turn: kraft_node::kafka::Turn,
    ) -> Vec<Result<Produced, ErrorCode>> {
        let room = self.room.borrow_mut().take();
        if let Some(room) = room {
            room.notified().await;
        }
        let results = items.into_iter().map(|item| self.append_one(item)).collect();
        drop(turn);
        self.changed.notify_waiters();
        let gate = self.gate.borrow().clone();
        if let (Acks::All, Some(gate)) = (acks, gate) {
            gate.notified().await;
        }
        results
    }

    async fn fetch(&self, spec: FetchSpec) -> Vec<FetchedItem> {
        let deadline = tokio::time::Instant::now() + spec.max_wait;
        loop {
            let changed = self.changed.notified();
            let read = |item: &kraft_node::kafka::FetchItem| FetchedItem {
                partition: item.partition,
                result: self.read(item.partition, item.offset.0),
            };
            let items: Vec<_> = spec.items.iter().map(read).collect();
            let bytes: usize = items
                .iter()
                .filter_map(|item| item.result.as_ref().ok())
                .flat_map(|read| &read.records)
                .map(Bytes::len)
                .sum();
            let failed = items.iter().any(|item| item.result.is_err());
            if failed || bytes >= spec.min_bytes {
                return items;
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return items;
            }
        }
    }

    async fn list_offset(
        &self,
        partition: TopicPartition,
        _leader_epoch: Option<LeaderEpoch>,
        query: ListOffset,
    ) -> Result<ListedOffset, ErrorCode> {
        self.leads(partition)?;
        let state = self.state.borrow();
        let log = state.logs.get(&partition).map_or(&[][..], Vec::as_slice);
        let found = match query {
            ListOffset::Earliest => Some((0, -1)),
            ListOffset::Latest => Some((log.last().map_or(0, |batch| batch.end), -1)),
            ListOffset::MaxTimestamp => {
                log.iter().max_by_key(|b| b.timestamp).map(|b| (b.end - 1, b.timestamp))
            }
            ListOffset::Timestamp(time) => {
                log.iter().find(|b| b.timestamp >= time).map(|b| (b.base, b.timestamp))
            }
        };
        let (offset, timestamp) = found.unwrap_or((-1, -1));
        Ok(ListedOffset { offset, timestamp, leader_epoch: LeaderEpoch(5) })
    }

    async fn end_of_epoch(
        &self,
        partition: TopicPartition,
        _current: Option<LeaderEpoch>,
        epoch: LeaderEpoch,
    ) -> Result<EpochEnd, ErrorCode> {
        self.leads(partition)?;
        Ok(EpochEnd { epoch: epoch.0, end: Offset(3) })
    }

    async fn delete_records(
        &self,
        partition: TopicPartition,
        before: i64,
    ) -> Result<Offset, ErrorCode> {
        self.leads(partition)?;
        Ok(Offset(before.max(0)))
    }

    async fn producer_id(&self) -> Result<i64, ErrorCode> {
        let mut state = self.state.borrow_mut();
        state.next_producer += 1;
        Ok(state.next_producer)
    }

    async fn change_voters(
        &self,
        change: VoterChange,
        _: Vec<VoterEndpoint>,
        _: Duration,
    ) -> Result<(), VoterChangeError> {
        match change {
            VoterChange::Add(key) if key.id == NodeId(3000) => Err(VoterChangeError::Duplicate),
            _ => Ok(()),
        }
    }

    async fn quorum(&self) -> Result<QuorumView, ErrorCode> {
        let voter = VoterView {
            id: NodeId(3000),
            directory: kraft_model::DirectoryId(9),
            end: Offset(12),
            last_fetch_ms: 1,
            last_caught_up_ms: 2,
            controller: true,
            endpoints: Vec::new(),
        };
        Ok(QuorumView {
            leader: Some(NodeId(3000)),
            high_watermark: Offset(11),
            voters: vec![voter],
            ..QuorumView::default()
        })
    }

    async fn log_dirs(&self) -> Vec<LogDirInfo> {
        let state = self.state.borrow();
        let size = |log: &Vec<Batch>| log.iter().map(|batch| batch.bytes.len() as i64).sum();
        vec![LogDirInfo {
            path: "/data".to_owned(),
            total_bytes: 1000,
            usable_bytes: 500,
            error: None,
            replicas: state.logs.iter().map(|(id, log)| (*id, size(log), 0)).collect(),
        }]
    }
}

/// The value that was set on a resource, if one was.
pub fn configured(
    backend: &FakeBackend,
    kind: ResourceKind,
    of: &str,
    key: &str,
) -> Option<String> {
    backend.image().configs.get(&(kind, of.to_owned()))?.get(key).cloned()
}
