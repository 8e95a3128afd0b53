//! Actions as the events and requests that they are to the machine.

use crate::check::Mutated;
use crate::check::shared::Shared;
use crate::inline::Nodes;
use crate::metadata::config::MIN_INSYNC_REPLICAS;
use crate::metadata::{
    AlterPartition, BrokerHeartbeat, BrokerRegistration, ConfigChange, ConfigOp, ElectLeaders,
    ElectionType, Endpoint, Event, METADATA_VERSION, METADATA_VERSION_FEATURE, NewTopic, Partition,
    ReassignPartition, Request, ResourceKind, SecurityProtocol, Timer, TopicRef,
};
use crate::{BrokerEpoch, Epoch, Offset, TopicPartition};

use super::act::Turn;
use super::config::{CLUSTER, ControllerModel};
use super::list::Action;
use super::state::{Asked, BROKERS, Happened, Left, Process, Proposal, State, Stop, index, node};

impl ControllerModel {
    /// A cluster whose brokers are active and whose topics are there.
    pub(super) fn initial(&self) -> State {
        let down = Process {
            up: false,
            run: 0,
            disk: 0,
            epoch: BrokerEpoch::NONE,
            stop: Stop::Clean,
            stopping: false,
        };
        let shipped = ControllerModel { rules: Mutated(None), ..self.clone() };
        let state = State {
            machine: Shared::new(shipped.controller()),
            tail: Shared::new(Vec::new()),
            timers: Default::default(),
            processes: [down; BROKERS],
            proposals: Default::default(),
            pending: Default::default(),
            data: Default::default(),
            producer_ids: 0,
            left: Left::default(),
            just: 0,
            broken: None,
        };
        let mut turn = Turn::new(&shipped, &state);
        turn.run(Event::Lead { epoch: Epoch(1), next: Offset::ZERO });
        turn.commit_all();
        for broker in 0..BROKERS as u8 {
            turn.enact(Action::Register { broker });
            turn.commit_all();
            turn.enact(Action::Beat { broker });
            turn.commit_all();
        }
        for topic in 0..self.topics.len() as u8 {
            turn.enact(Action::Create { topic });
            turn.commit_all();
        }
        for &(partition, replicas) in self.moved {
            turn.reassign(partition, replicas);
            turn.commit_all();
        }
        let made = turn.machine().committed().partitions().count();
        assert_eq!(made, self.partitions(), "the controller makes every partition");
        let mut state = turn.finish(&state);
        state.machine.change(|machine| machine.follow(self.rules));
        (state.left, state.just) = (self.left, 0);
        state
    }
}

impl Turn<'_> {
    pub fn enact(&mut self, action: Action) {
        let left = &mut self.state.left;
        match action {
            Action::Register { broker } => self.register(broker),
            Action::Reregister { broker } => {
                left.registrations -= 1;
                self.register(broker);
            }
            Action::Beat { broker } => self.beat(broker),
            Action::EarlyBeat { broker } => self.beat_from(broker, Offset::ZERO),
            Action::WantStop { broker } => {
                left.shutdowns -= 1;
                self.state.processes[usize::from(broker)].stopping = true;
                self.beat(broker);
            }
            Action::Stop { broker, how } => self.end_process(usize::from(broker), how),
            Action::Unregister { broker } => {
                left.unregistrations -= 1;
                let broker = node(usize::from(broker));
                self.asking.lost = vec![broker];
                self.ask(Asked::Operator, Request::UnregisterBroker { broker });
            }
            Action::Join { partition, broker } => self.join(partition, usize::from(broker)),
            Action::Drop { partition, broker } => {
                let gone = node(usize::from(broker));
                self.propose(partition, |it| it.isr.without(&[gone]), None);
                self.state.left.proposals -= 1;
            }
            Action::Recover { partition } => self.propose(partition, |it| it.isr, None),
            Action::Decide { at } => self.decide_on(usize::from(at)),
            Action::AskProducerIds { broker } => {
                left.producers -= 1;
                let epoch = self.state.processes[usize::from(broker)].epoch;
                let id = node(usize::from(broker));
                let request = Request::AllocateProducerIds { broker: id, epoch };
                self.ask(Asked::Producer(broker), request);
            }
            Action::Commit => self.commit(),
            Action::Failover { kept, same } => {
                left.failovers -= 1;
                self.fail_over(usize::from(kept), same);
            }
            Action::Expire { .. }
            | Action::Gone { .. }
            | Action::Close { .. }
            | Action::Reconnect { .. }
            | Action::WindowEnds
            | Action::TrustAgain { .. }
            | Action::Balance
            | Action::Sweep => self.pass(action),
            _ => self.operate(action),
        }
    }

    /// Timers, and what the links tell.
    fn pass(&mut self, action: Action) {
        let event = match action {
            Action::Expire { broker } => self.expire(usize::from(broker)),
            Action::Gone { broker } => {
                self.state.left.fences -= 1;
                let id = node(usize::from(broker));
                let known = self.machine().latest().broker(id).map(|it| it.incarnation);
                known.map(|incarnation| Event::PeerGone { broker: id, incarnation })
            }
            Action::Close { broker } => {
                self.state.left.closed_links -= 1;
                Some(Event::Disconnected { broker: node(usize::from(broker)) })
            }
            Action::Reconnect { broker } => {
                let broker = usize::from(broker);
                let incarnation = self.state.processes[broker].incarnation(broker);
                Some(Event::Connected { broker: node(broker), incarnation })
            }
            Action::WindowEnds => Some(self.timeout(Timer::SuspicionWindow)),
            Action::TrustAgain { broker } => {
                Some(self.timeout(Timer::Distrust(node(usize::from(broker)))))
            }
            Action::Balance => Some(Event::Timeout(Timer::Balance)),
            _ => Some(Event::Timeout(Timer::UncleanSweep)),
        };
        let Some(event) = event else { return };
        let was_said_gone = matches!(event, Event::PeerGone { .. });
        let before = self.tail.len();
        self.run(event);
        if was_said_gone && self.tail.len() == before && self.state.timers.window {
            self.state.happened(Happened::Doubted);
        }
    }

    fn timeout(&mut self, timer: Timer) -> Event {
        self.state.timers.set(timer, false);
        Event::Timeout(timer)
    }

    fn expire(&mut self, broker: usize) -> Option<Event> {
        let registered = self.machine().latest().broker(node(broker))?;
        if !registered.fenced {
            self.state.left.fences -= 1;
        }
        Some(self.timeout(Timer::Session(node(broker))))
    }

    /// What operators ask for.
    fn operate(&mut self, action: Action) {
        let left = &mut self.state.left;
        let request = match action {
            Action::Prefer { partition } => self.election(partition, ElectionType::Preferred),
            Action::ElectUncleanly { partition } => {
                left.unclean -= 1;
                self.asking.may_lose = true;
                self.election(partition, ElectionType::Unclean)
            }
            Action::Reassign { target } => {
                left.reassignments -= 1;
                // Going back to where a reassignment began calls it off as well.
                self.asking.cancels = true;
                let (partition, replicas) = self.model.targets[usize::from(target)];
                return self.reassign(partition, replicas);
            }
            Action::Cancel { partition } => {
                left.cancels -= 1;
                self.asking.cancels = true;
                self.reassignment(partition, None)
            }
            Action::Create { topic } => Some(self.creation(usize::from(topic))),
            Action::Delete { topic } => {
                left.deletions -= 1;
                let name = ControllerModel::topic_name(usize::from(topic)).to_owned();
                Some(Request::DeleteTopics { topics: vec![TopicRef::Name(name)] })
            }
            Action::SetMinIsr { to } => {
                left.configs -= 1;
                Some(self.min_isr_change(self.model.min_isrs[usize::from(to)]))
            }
            _ => None,
        };
        if let Some(request) = request {
            self.ask(Asked::Operator, request);
        }
        if let Action::ElectUncleanly { partition } = action {
            let at = usize::from(partition);
            let elected = self.model.partition(self.machine().latest(), at);
            let recovers = elected.is_some_and(|it| it.recovering);
            self.state.data[at].ask_unclean(recovers);
        }
    }

    fn reassign(&mut self, partition: u8, to: &[i32]) {
        let replicas = to.iter().map(|&id| crate::NodeId(id)).collect();
        if let Some(request) = self.reassignment(partition, Some(replicas)) {
            self.ask(Asked::Operator, request);
        }
    }

    fn election(&self, partition: u8, kind: ElectionType) -> Option<Request> {
        let id = self.model.id(self.machine().latest(), usize::from(partition))?;
        Some(Request::ElectLeaders(ElectLeaders { kind, partitions: Some(vec![id]) }))
    }

    fn reassignment(&self, partition: u8, replicas: Option<Nodes>) -> Option<Request> {
        let id = self.model.id(self.machine().latest(), usize::from(partition))?;
        let partitions = vec![ReassignPartition { id, replicas }];
        Some(Request::ReassignPartitions { partitions })
    }

    /// Every topic of a name has an id of its own.
    fn creation(&mut self, topic: usize) -> Request {
        let made =
            self.model.left.deletions - self.state.left.deletions.min(self.model.left.deletions);
        if made > 0 {
            self.state.happened(Happened::NewTopic);
        }
        self.entropy = topic as u64 * 100 + u64::from(made);
        let assignments = self.model.topics[topic].iter();
        let nodes = |ids: &&[i32]| ids.iter().map(|&id| crate::NodeId(id)).collect();
        let new = NewTopic {
            name: ControllerModel::topic_name(topic).to_owned(),
            partitions: None,
            replication_factor: None,
            assignments: assignments.map(nodes).collect(),
            configs: Vec::new(),
        };
        Request::CreateTopics { topics: vec![new], validate_only: false }
    }

    fn min_isr_change(&self, to: i32) -> Request {
        let change = ConfigChange {
            kind: ResourceKind::Topic,
            resource: ControllerModel::topic_name(0).to_owned(),
            ops: vec![(MIN_INSYNC_REPLICAS.to_owned(), ConfigOp::Set(to.to_string()))],
            replace: false,
        };
        Request::AlterConfigs { changes: vec![change], validate_only: false }
    }

    /// A process that was down starts. It has a link to the controller before it registers.
    fn register(&mut self, broker: u8) {
        let at = usize::from(broker);
        let process = &mut self.state.processes[at];
        let mut previous_epoch = BrokerEpoch::NONE;
        if !process.up {
            (process.up, process.run) = (true, process.run + 1);
        }
        if process.stop == Stop::Clean {
            previous_epoch = process.epoch;
        }
        let asked = BrokerRegistration {
            cluster: CLUSTER,
            broker: node(at),
            incarnation: process.incarnation(at),
            endpoints: vec![Endpoint {
                listener: "L".to_owned(),
                host: "h".to_owned(),
                port: 1,
                protocol: SecurityProtocol::Plaintext,
            }],
            features: vec![(METADATA_VERSION_FEATURE.to_owned(), 1, METADATA_VERSION)],
            rack: None,
            directories: vec![process.directory(at)],
            previous_epoch,
            damaged: false,
        };
        let incarnation = asked.incarnation;
        self.asking.lost = vec![node(at)];
        self.run(Event::Connected { broker: node(at), incarnation });
        self.ask(Asked::Register(broker), Request::RegisterBroker(asked));
    }

    /// The broker has replayed all that is committed.
    fn beat(&mut self, broker: u8) {
        self.beat_from(broker, self.machine().committed().end);
    }

    fn beat_from(&mut self, broker: u8, metadata_offset: Offset) {
        let process = &self.state.processes[usize::from(broker)];
        let beat = BrokerHeartbeat {
            broker: node(usize::from(broker)),
            epoch: process.epoch,
            metadata_offset,
            want_fence: false,
            want_shutdown: process.stopping,
        };
        self.ask(Asked::Beat(broker), Request::Heartbeat(beat));
    }

    fn join(&mut self, partition: u8, broker: usize) {
        self.state.left.proposals -= 1;
        let epoch = self.state.processes[broker].epoch;
        let with = |it: &Partition| {
            let mut isr = it.isr;
            isr.insert(node(broker));
            isr
        };
        self.propose(partition, with, Some((node(broker), epoch)));
        let leader = self.committed_partition(partition).and_then(|(_, it)| it.leader);
        if let Some(leader) = leader {
            self.state.data[usize::from(partition)].catch_up(broker, index(leader));
        }
    }

    fn committed_partition(&self, partition: u8) -> Option<(TopicPartition, Partition)> {
        let image = self.machine().committed();
        let id = self.model.id(image, usize::from(partition))?;
        Some((id, *image.partition(id)?))
    }

    /// The leader's request leaves; it says what the leader knows.
    fn propose(
        &mut self,
        partition: u8,
        isr: impl FnOnce(&Partition) -> Nodes,
        joiner: Option<(crate::NodeId, BrokerEpoch)>,
    ) {
        let Some((id, found)) = self.committed_partition(partition) else { return };
        let Some(leader) = found.leader.map(index) else { return };
        self.state.proposals.push(Proposal {
            partition,
            sender: leader as u8,
            decided: false,
            id,
            sender_epoch: self.state.processes[leader].epoch,
            leader_epoch: found.leader_epoch,
            partition_epoch: found.partition_epoch,
            isr: isr(&found),
            joiner,
        });
    }

    fn decide_on(&mut self, at: usize) {
        let proposal = &mut self.state.proposals[at];
        proposal.decided = true;
        let Proposal { partition, sender, sender_epoch, .. } = *proposal;
        let asked = proposal.request();
        self.asking.joined = asked.isr.to_vec();
        let request = AlterPartition {
            broker: node(usize::from(sender)),
            epoch: sender_epoch,
            partitions: vec![asked],
        };
        self.ask(Asked::Alter { partition, sender }, Request::AlterPartition(request));
    }
}
