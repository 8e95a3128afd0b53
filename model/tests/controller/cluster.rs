//! A controller with a quorum of one that commits when it is told to. After every event all the
//! invariants of the metadata are judged.

use std::collections::BTreeSet;

use kraft_model::inline::Nodes;
use kraft_model::invariant::metadata::{broken, broken_between};
use kraft_model::metadata::{
    AlterPartition, AlteredPartition, BrokerHeartbeat, BrokerRegistration, Controller,
    ControllerDefaults, Effect, Endpoint, Event, HeartbeatReply, Image, METADATA_VERSION,
    METADATA_VERSION_FEATURE, NewTopic, Partition, ReassignPartition, Record, Refusal, Request,
    RequestId, Response, SecurityProtocol, ShrinkReason, Timer,
};
use kraft_model::{
    BrokerEpoch, ClusterId, DirectoryId, Epoch, ErrorCode, Incarnation, NodeId, Offset, TopicId,
    TopicPartition,
};

pub const CLUSTER: ClusterId = ClusterId(7);
/// The first topic that a test makes.
pub const TOPIC: TopicId = TopicId::drawn(0, 0);

pub struct Cluster {
    pub controller: Controller,
    /// The metadata log; `None` stands for a control record of the quorum.
    pub log: Vec<Option<Record>>,
    pub timers: BTreeSet<Timer>,
    pub replies: Vec<(RequestId, Response)>,
    pub fenced: Vec<(NodeId, ShrinkReason)>,
    pub batches: Vec<usize>,
    pub entropy: u64,
    next_id: RequestId,
    epoch: i32,
}

impl Cluster {
    /// Active, and with its first records committed. min.insync.replicas is 2.
    pub fn new() -> Cluster {
        let defaults = ControllerDefaults { min_insync_replicas: 2, ..Default::default() };
        let mut cluster = Cluster {
            controller: Controller::new(NodeId(9), CLUSTER, defaults),
            log: Vec::new(),
            timers: BTreeSet::new(),
            replies: Vec::new(),
            fenced: Vec::new(),
            batches: Vec::new(),
            entropy: 0,
            next_id: 0,
            epoch: 0,
        };
        cluster.lead();
        cluster.commit();
        cluster
    }

    /// With brokers 1 to `count` active, and a topic of one partition on all of them.
    pub fn with_topic(count: i32) -> Cluster {
        let mut cluster = Cluster::new();
        (1..=count).for_each(|id| cluster.start(id));
        let replicas: Vec<i32> = (1..=count).collect();
        cluster.create("orders", &[&replicas]).expect("the topic is created");
        cluster
    }

    pub fn step(&mut self, event: Event) {
        let before = self.controller.latest().clone();
        let loses = matches!(event, Event::LostLeadership);
        let mut fx = Vec::new();
        self.controller.step(event, &mut fx);
        let mut between = before.clone();
        for effect in fx {
            if let Effect::Append { base, records } = &effect {
                judge_batch(&mut between, *base, records);
            }
            self.carry_out(effect);
        }
        let latest = self.controller.latest();
        assert_eq!(broken(latest), None, "{latest:#?}");
        if !loses {
            assert_eq!(broken_between(&before, latest), None, "{before:#?} became {latest:#?}");
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Append { base, records } => {
                assert_eq!(base, self.end(), "an append continues the log");
                self.batches.push(records.len());
                self.log.extend(records.into_iter().map(Some));
            }
            Effect::Reply { id, response } => self.replies.push((id, response)),
            Effect::SetTimer(timer) => {
                self.timers.insert(timer);
            }
            Effect::CancelTimer(timer) => {
                self.timers.remove(&timer);
            }
            Effect::Fenced { broker, reason } => self.fenced.push((broker, reason)),
            Effect::Published(end) => assert_eq!(end, self.controller.committed().end),
            Effect::Violation(what) => panic!("{what}"),
        }
    }

    pub fn end(&self) -> Offset {
        Offset(self.log.len() as i64)
    }

    /// Takes over with an epoch of its own, whose first record is the quorum's.
    pub fn lead(&mut self) {
        self.log.push(None);
        self.epoch += 1;
        self.commit();
        self.step(Event::Lead { epoch: Epoch(self.epoch), next: self.end() });
    }

    /// The quorum puts a record of its own at the log's end in the middle of a reign.
    pub fn quorum_appends(&mut self) {
        self.log.push(None);
        self.step(Event::Appended { end: self.end() });
    }

    /// What was not committed is lost.
    pub fn lose_leadership(&mut self) {
        self.step(Event::LostLeadership);
        self.log.truncate(self.controller.committed().end.0 as usize);
    }

    pub fn commit(&mut self) {
        let rest = self.log.len() - self.controller.committed().end.0 as usize;
        self.commit_some(rest);
    }

    /// Commits the next `count` records. The quorum's own records come as a gap.
    pub fn commit_some(&mut self, count: usize) {
        let first = self.controller.committed().end;
        let (at, end) = (first.0 as usize, first.plus(count as i64));
        let rest = self.log[at..at + count].to_vec();
        let mut base = first;
        for run in rest.split_inclusive(Option::is_none) {
            let records: Vec<Record> = run.iter().flatten().cloned().collect();
            let end = base.plus(run.len() as i64);
            self.step(Event::Committed { base, records, end });
            base = end;
        }
        assert_eq!(self.controller.committed().end, end);
    }

    /// Asks without committing anything.
    pub fn send(&mut self, request: Request) -> RequestId {
        self.next_id += 1;
        let (id, entropy) = (self.next_id, self.entropy);
        if matches!(request, Request::CreateTopics { .. }) {
            // Another id for the next topic; placement starts where it did with up to 16 brokers.
            self.entropy += 720_720;
        }
        self.step(Event::Request { id, request, entropy });
        id
    }

    pub fn reply(&self, id: RequestId) -> Option<&Response> {
        self.replies.iter().find(|(answered, _)| *answered == id).map(|(_, response)| response)
    }

    pub fn ask(&mut self, request: Request) -> Response {
        let id = self.send(request);
        self.commit();
        self.reply(id).cloned().expect("what is committed is answered")
    }

    pub fn image(&self) -> &Image {
        self.controller.latest()
    }

    pub fn partition(&self) -> Partition {
        self.partition_at(0)
    }

    pub fn partition_at(&self, partition: i32) -> Partition {
        *self.image().partition(TopicPartition { topic: TOPIC, partition }).expect("it exists")
    }

    pub fn epoch_of(&self, id: i32) -> BrokerEpoch {
        self.image().broker(NodeId(id)).expect("it is registered").epoch
    }

    pub fn is_active(&self, id: i32) -> bool {
        self.image().broker(NodeId(id)).is_some_and(|broker| broker.is_active())
    }

    /// A process that begins after an unclean stop, with the broker's own directory.
    pub fn registration(&self, id: i32, run: u128) -> BrokerRegistration {
        BrokerRegistration {
            cluster: CLUSTER,
            broker: NodeId(id),
            incarnation: incarnation(id, run),
            endpoints: vec![Endpoint {
                listener: "PLAINTEXT".to_owned(),
                host: "localhost".to_owned(),
                port: 9092,
                protocol: SecurityProtocol::Plaintext,
            }],
            features: vec![(METADATA_VERSION_FEATURE.to_owned(), 1, METADATA_VERSION)],
            rack: None,
            directories: vec![DirectoryId(id as u128 + 1)],
            previous_epoch: BrokerEpoch::NONE,
            damaged: false,
        }
    }

    pub fn register(&mut self, asked: BrokerRegistration) -> Result<BrokerEpoch, Refusal> {
        match self.ask(Request::RegisterBroker(asked)) {
            Response::RegisterBroker(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn beat(&mut self, id: i32, want_fence: bool, want_shutdown: bool) -> HeartbeatReply {
        let (broker, epoch) = (NodeId(id), self.epoch_of(id));
        let metadata_offset = self.controller.committed().end;
        let beat = BrokerHeartbeat { broker, epoch, metadata_offset, want_fence, want_shutdown };
        match self.ask(Request::Heartbeat(beat)) {
            Response::Heartbeat(result) => result.expect("the epoch is right"),
            other => panic!("{other:?}"),
        }
    }

    /// The broker's first run: registers and is unfenced.
    pub fn start(&mut self, id: i32) {
        self.restart(id, 1);
    }

    /// A new run after an unclean stop; nobody holds a link to the old one.
    pub fn restart(&mut self, id: i32, run: u128) {
        self.step(Event::Disconnected { broker: NodeId(id) });
        self.register(self.registration(id, run)).expect("it is registered");
        self.beat(id, false, false);
    }

    pub fn expire(&mut self, id: i32) {
        let timer = Timer::Session(NodeId(id));
        assert!(self.timers.remove(&timer), "the session's timer runs");
        self.step(Event::Timeout(timer));
        self.commit();
    }

    pub fn create(&mut self, name: &str, assignments: &[&[i32]]) -> Result<(), Refusal> {
        let assignments = assignments.iter().map(|replicas| nodes(replicas).to_vec()).collect();
        let topic = NewTopic { assignments, ..new_topic(name) };
        self.create_topic(topic).map(|_| ())
    }

    pub fn create_topic(&mut self, topic: NewTopic) -> Result<(i32, i16), Refusal> {
        let topics = vec![topic];
        match self.ask(Request::CreateTopics { topics, validate_only: false }) {
            Response::CreateTopics(mut results) => {
                let (_, result) = results.remove(0);
                result.map(|created| (created.partitions, created.replication_factor))
            }
            other => panic!("{other:?}"),
        }
    }

    /// The leader's proposal for partition 0, with the epochs that are in force.
    pub fn proposal(&self, isr: &[i32]) -> AlterPartition {
        let partition = self.partition();
        let leader = partition.leader.expect("somebody leads");
        let asked = AlteredPartition {
            id: TopicPartition { topic: TOPIC, partition: 0 },
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            isr: nodes(isr),
            isr_epochs: isr.iter().map(|&id| self.epoch_of(id)).collect(),
            recovering: false,
        };
        AlterPartition { broker: leader, epoch: self.epoch_of(leader.0), partitions: vec![asked] }
    }

    pub fn alter(&mut self, asked: AlterPartition) -> Result<(), ErrorCode> {
        match self.ask(Request::AlterPartition(asked)) {
            Response::AlterPartition(Ok(results)) => results[0].1,
            other => panic!("{other:?}"),
        }
    }

    pub fn propose(&mut self, isr: &[i32]) -> Result<(), ErrorCode> {
        self.alter(self.proposal(isr))
    }

    pub fn reassign(&mut self, target: Option<&[i32]>) -> Result<(), ErrorCode> {
        let id = TopicPartition { topic: TOPIC, partition: 0 };
        let partitions = vec![ReassignPartition { id, replicas: target.map(nodes) }];
        match self.ask(Request::ReassignPartitions { partitions }) {
            Response::ReassignPartitions(results) => {
                results[0].1.clone().map_err(|refusal| refusal.code)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Leader, ISR, ELR and last known leader of partition 0.
    pub fn is(&self, leader: Option<i32>, isr: &[i32], elr: &[i32], last: &[i32]) {
        let Partition { leader: now, isr: isr_now, elr: elr_now, last_known_elr, .. } =
            self.partition();
        let found = (now.map(|leader| leader.0), isr_now, elr_now, last_known_elr);
        assert_eq!(found, (leader, nodes(isr), nodes(elr), nodes(last)));
    }
}

/// A controller may fail over after any batch: what is promised holds after each of them.
fn judge_batch(image: &mut Image, base: Offset, records: &[Record]) {
    let before = image.clone();
    for (index, record) in (0..).zip(records) {
        image.replay(base.plus(index), record).expect("it fits");
    }
    assert_eq!(broken(image), None, "{image:#?}");
    assert_eq!(broken_between(&before, image), None, "{before:#?} became {image:#?}");
}

pub fn nodes(ids: &[i32]) -> Nodes {
    ids.iter().map(|&id| NodeId(id)).collect()
}

pub fn incarnation(id: i32, run: u128) -> Incarnation {
    Incarnation(id as u128 * 1_000 + run)
}

pub fn new_topic(name: &str) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions: None,
        replication_factor: None,
        assignments: Vec::new(),
        configs: Vec::new(),
    }
}
