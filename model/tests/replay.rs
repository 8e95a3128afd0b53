//! A recorded machine runs again to the same digests, and not if anything is different.

#![cfg(feature = "check")]

use kraft_model::check::Mutated;
use kraft_model::inline::{InlineVec, Nodes};
use kraft_model::metadata::{
    self, BrokerRegistration, Controller, ControllerDefaults, Endpoint, HeartbeatReply, Partition,
    SecurityProtocol,
};
use kraft_model::replay::{
    self, Header, Kind, MachineId, ReadError, Recorded, RecordedLog, Recording, Replay, RunError,
    Seam, Start, Track, What,
};
use kraft_model::replica::small_log::{SmallBatch, SmallLog};
use kraft_model::replica::{Acks, Event, Fetch, FetchPosition, Producers, Replica, View};
use kraft_model::{
    BrokerEpoch, Guard, LeaderEpoch, NodeId, Offset, PartitionEpoch, Shipped, TopicPartition,
    broker,
};

fn header(file: u32, entries_before: u64) -> Header {
    Header {
        node: NodeId(4),
        incarnation: kraft_model::Incarnation(9),
        cluster: kraft_model::ClusterId(7),
        version: "0".to_owned(),
        thread: "shard-0".to_owned(),
        file,
        entries_before,
        at: 1_000,
        wall_clock_ms: 0,
    }
}

/// A leader that is recorded.
struct Scene {
    recording: Recording,
    file: Vec<u8>,
    track: Track,
    replica: Replica<Shipped>,
    log: SmallLog,
    at: u64,
}

impl Scene {
    fn new() -> Scene {
        let mut file = Vec::new();
        replay::begin_file(&mut file, &header(0, 0)).expect("a header");
        let (id, me, log) = (TopicPartition::default(), NodeId(0), SmallLog::default());
        let mut recording = Recording::default();
        recording.file_began(1_000);
        let start = Start::Replica {
            id,
            topic: "orders".into(),
            me,
            high_watermark: Offset::ZERO,
            producers: Producers::default(),
            log: log.state(),
        };
        let track = recording.begin(1_001, start).expect("a start");
        let replica = Replica::new(Shipped, id, me, Offset::ZERO, Producers::default());
        Scene { recording, file, track, replica, log, at: 1_001 }
    }

    fn step(&mut self, event: Event<SmallBatch>) {
        self.at += 10;
        let Scene { recording, track, replica, log, at, .. } = self;
        let seam = Seam { recording, track, at: *at };
        seam.replica(replica, log, event, &mut Vec::new());
    }

    fn view(&mut self, leader: i32, epoch: i32) {
        let nodes: Nodes = (0..3).map(NodeId).collect();
        let partition = Partition {
            replicas: nodes,
            isr: nodes,
            leader: Some(NodeId(leader)),
            leader_epoch: LeaderEpoch(epoch),
            partition_epoch: PartitionEpoch(epoch),
            ..Partition::default()
        };
        let brokers: InlineVec<_, _> =
            (0..3).map(|id| (NodeId(id), BrokerEpoch(100), true)).collect();
        let view = View { partition, min_isr: 2, brokers, flush_before_ack: false };
        self.step(Event::View(view.into()));
    }

    fn append(&mut self, request: u64, produced: Option<(u8, u8)>) {
        let batch = SmallBatch::new(request as u8, produced);
        self.step(Event::Append { request, batch, acks: Acks::All });
    }

    fn fetch(&mut self, follower: i32, offset: i64) {
        let position = FetchPosition {
            leader_epoch: self.replica.leader_epoch(),
            offset: Offset(offset),
            last_epoch: LeaderEpoch(if offset == 0 { -1 } else { 1 }),
            log_start: Offset::ZERO,
        };
        let follower = NodeId(follower);
        self.step(Event::Fetch(Fetch { follower, broker_epoch: BrokerEpoch(100), position }));
    }

    /// Leads, appends, sees a producer twice, commits, and follows another leader in the end.
    fn play(&mut self) {
        self.view(0, 1);
        self.append(1, Some((5, 0)));
        self.append(2, Some((5, 1)));
        self.append(3, Some((5, 1)));
        self.fetch(1, 1);
        self.fetch(2, 2);
        self.log.flush();
        self.step(Event::Flushed(Offset(2)));
        self.fetch(1, 2);
        self.view(1, 2);
    }

    fn recorded(mut self) -> Vec<u8> {
        self.file.extend_from_slice(self.recording.bytes());
        self.file
    }
}

fn story() -> Vec<u8> {
    let mut scene = Scene::new();
    scene.play();
    scene.recorded()
}

fn replay(files: &[Vec<u8>]) -> Replay {
    Replay::new(Recorded::new(files.to_vec()).expect("a recording"))
}

/// The first entry that differs from the recording.
fn first_divergence(
    replay: impl Iterator<Item = Result<replay::Replayed<Mutated>, RunError>>,
) -> Option<(u64, Kind)> {
    replay.map(|it| it.expect("an undamaged entry")).find_map(|it| match it.what {
        What::Stepped { divergence: Some(found), .. } => Some((it.entry, found.kind)),
        _ => None,
    })
}

#[test]
fn a_recorded_replica_runs_again_to_the_same_digests_with_its_log() {
    let mut scene = Scene::new();
    scene.play();
    let (replica, log) = (scene.replica.clone(), scene.log.state());
    let mut replay = replay(&[scene.recorded()]);
    let mut steps = 0;
    let mut times = Vec::new();
    for replayed in &mut replay {
        let replayed = replayed.expect("an undamaged entry");
        times.push(replayed.at);
        if let What::Stepped { divergence, .. } = replayed.what {
            assert_eq!(divergence, None, "entry {}", replayed.entry);
            steps += 1;
        }
    }
    assert_eq!((steps, times[0], times[9]), (9, 1_001, 1_091));
    let id = MachineId::Partition(TopicPartition::default());
    let replay::Machine::Replica { machine, topic, log: replayed } =
        replay.machine(id).expect("the replica")
    else {
        panic!("a replica is replayed as one");
    };
    assert_eq!((*machine, replayed, &*topic), (replica, log, "orders"));
}

#[test]
fn a_rule_that_is_gone_is_noticed_at_the_step_that_needed_it() {
    let recorded = Recorded::new(vec![story()]).expect("a recording");
    let without = |guard| Replay::with_rules(recorded.clone(), Mutated(Some(guard)));
    // The duplicate is the fourth event; entry 1 is the beginning.
    let noticed = first_divergence(without(Guard::SkipSequenceCheck));
    assert_eq!(noticed, Some((5, Kind::Effects)));
    // This rule was never asked.
    assert_eq!(first_divergence(without(Guard::FencedJoinsIsr)), None);
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    let whole = story();
    let mut places = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        let is_whole = Recorded::new(vec![bytes]).is_ok_and(|recorded| {
            let replay = Replay::new(recorded);
            let torn = |replay: &Replay| replay.torn().is_some();
            let mut replay = replay;
            let all = replay.by_ref().all(|entry| entry.is_ok());
            all && !torn(&replay)
        });
        assert!(!is_whole, "byte {at}");
        places += 1;
    }
    assert!(places > 500, "a story of {places} bytes");
}

#[test]
fn a_damaged_entry_is_named() {
    let mut bytes = story();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let damage = replay(&[bytes]).find_map(Result::err);
    assert!(
        matches!(damage, Some(RunError::Read(ReadError::Damaged { entry: 10, .. }))),
        "{damage:?}"
    );
}

#[test]
fn an_event_that_is_left_out_is_noticed_at_the_next_one_that_rests_on_it() {
    let mut scene = Scene::new();
    scene.view(0, 1);
    scene.append(1, None);
    let before = scene.recording.bytes().len();
    scene.fetch(1, 1);
    let after = scene.recording.bytes().len();
    scene.fetch(2, 1);
    let prefix = scene.file.len();
    let mut bytes = scene.recorded();
    bytes.drain(prefix + before..prefix + after);
    let recorded = Recorded::new(vec![bytes]).expect("a recording");
    let noticed = replay_all(recorded);
    assert_eq!(noticed, Some((4, Kind::Effects)), "the high watermark does not move");
}

fn replay_all(recorded: Recorded) -> Option<(u64, Kind)> {
    Replay::new(recorded).map(|it| it.expect("undamaged")).find_map(|it| match it.what {
        What::Stepped { divergence: Some(found), .. } => Some((it.entry, found.kind)),
        _ => None,
    })
}

#[test]
fn a_torn_tail_is_cut_off_and_told() {
    let mut bytes = story();
    bytes.truncate(bytes.len() - 3);
    let mut torn = replay(&[bytes]);
    assert_eq!(torn.by_ref().filter(|it| it.is_ok()).count(), 9);
    assert!(torn.torn().is_some());
    let mut whole = replay(&[story()]);
    assert_eq!(whole.by_ref().count(), 10);
    assert_eq!(whole.torn(), None);
}

#[test]
fn a_recording_goes_on_in_another_file_and_misses_none() {
    let mut scene = Scene::new();
    scene.view(0, 1);
    let mut first = scene.file.clone();
    first.extend_from_slice(scene.recording.bytes());
    scene.recording.clear();
    let entries = scene.recording.entries();
    let mut second = Vec::new();
    replay::begin_file(&mut second, &Header { at: 5_000, ..header(1, entries) }).expect("a header");
    scene.recording.file_began(5_000);
    scene.at = 5_000;
    scene.append(1, None);
    second.extend_from_slice(scene.recording.bytes());
    let all: Vec<_> = replay(&[first.clone(), second.clone()])
        .map(|it| it.expect("undamaged"))
        .map(|it| (it.entry, it.at))
        .collect();
    assert_eq!(all, [(1, 1_001), (2, 1_011), (3, 5_010)]);
    let missing = Recorded::new(vec![second]);
    assert!(matches!(missing, Err(RunError::Missing { wanted: 0, found: 1 })));
}

#[test]
fn a_brokers_life_runs_again_too() {
    let mut bytes = Vec::new();
    replay::begin_file(&mut bytes, &header(0, 0)).expect("a header");
    let mut recording = Recording::default();
    let mut track = recording.begin(1, Start::Broker { me: NodeId(4) }).expect("a start");
    let mut machine = broker::Broker::new(NodeId(4));
    let reply = HeartbeatReply { is_caught_up: true, fenced: false, should_shut_down: false };
    let life = [
        broker::Event::Started,
        broker::Event::Controller(Some(NodeId(1))),
        broker::Event::Registered(Some(Ok(BrokerEpoch(3)))),
        broker::Event::HeartbeatAnswered(Some(Ok(reply))),
        broker::Event::Metadata { end: Offset(4), fenced: Some(false) },
    ];
    for event in life {
        let seam = Seam { recording: &mut recording, track: &mut track, at: 2 };
        seam.broker(&mut machine, event, &mut Vec::new());
    }
    bytes.extend_from_slice(recording.bytes());
    let recorded = Recorded::new(vec![bytes]).expect("a recording");
    assert_eq!(replay_all(recorded), None);
    assert_eq!(machine.state(), broker::State::Running);
}

/// A controller that leads, takes a registration, commits what it appended, resigns, and is given
/// its own image as a snapshot.
fn recorded_controller() -> (Vec<u8>, Controller) {
    let mut bytes = Vec::new();
    replay::begin_file(&mut bytes, &header(0, 0)).expect("a header");
    let mut recording = Recording::default();
    let (me, cluster) = (NodeId(1), kraft_model::ClusterId(7));
    let defaults = ControllerDefaults::default();
    let start = Start::Controller { me, cluster, defaults };
    let mut track = recording.begin(1, start).expect("a start");
    let mut controller = Controller::new(me, cluster, defaults);
    let mut step = |controller: &mut Controller, event| {
        let mut fx = Vec::new();
        let seam = Seam { recording: &mut recording, track: &mut track, at: 2 };
        seam.controller(controller, event, &mut fx);
        fx
    };
    let registration = BrokerRegistration {
        cluster,
        broker: NodeId(4),
        incarnation: kraft_model::Incarnation(9),
        endpoints: vec![Endpoint {
            listener: "PLAINTEXT".to_owned(),
            host: "localhost".to_owned(),
            port: 9092,
            protocol: SecurityProtocol::Plaintext,
        }],
        features: vec![("metadata.version".to_owned(), 1, metadata::METADATA_VERSION)],
        rack: Some("a".to_owned()),
        directories: vec![kraft_model::DirectoryId(3)],
        previous_epoch: BrokerEpoch::NONE,
        damaged: false,
    };
    let request = metadata::Request::RegisterBroker(registration);
    let led = metadata::Event::Lead { epoch: kraft_model::Epoch(1), next: Offset(1) };
    let asked = metadata::Event::Request { id: 1, request, entropy: 5 };
    for event in [led, asked] {
        for effect in step(&mut controller, event) {
            if let metadata::Effect::Append { base, records } = effect {
                let end = base.plus(records.len() as i64);
                step(&mut controller, metadata::Event::Committed { base, records, end });
            }
        }
    }
    step(&mut controller, metadata::Event::LostLeadership);
    let image = controller.committed().clone();
    assert!(image.broker(NodeId(4)).is_some(), "the broker is registered");
    step(&mut controller, metadata::Event::Loaded(image.into()));
    bytes.extend_from_slice(recording.bytes());
    (bytes, controller)
}

#[test]
fn a_controller_runs_again_to_the_same_image_from_records_and_from_a_snapshot() {
    let (bytes, controller) = recorded_controller();
    let mut replay = replay(&[bytes]);
    let mut steps = 0;
    for replayed in &mut replay {
        if let What::Stepped { divergence, .. } = replayed.expect("undamaged").what {
            assert_eq!(divergence, None);
            steps += 1;
        }
    }
    assert!(steps >= 6, "{steps} steps");
    let Some(replay::Machine::Controller { machine }) = replay.machine(MachineId::Controller)
    else {
        panic!("a controller is replayed as one");
    };
    assert_eq!(*machine, controller);
}
