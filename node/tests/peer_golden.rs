//! The formats that other releases must still read: one example of every metadata record and every
//! peer message, byte for byte, kept under `golden/`; and what becomes of bytes that are none.

mod golden_file;

use bytes::Bytes;
use golden_file::golden;
use kraft_model::inline::Nodes;
use kraft_model::metadata::{
    BrokerHeartbeat, BrokerRegistrationChange, ConfigRecord, Endpoint, Partition, PartitionChange,
    PartitionRecord, Record, Refusal, RegisterBroker, RegisterController, Request, ResourceKind,
    Response, SecurityProtocol, TopicCreated,
};
use kraft_model::raft::{self, SnapshotId, Vote, VoterChange, VoterChangeError};
use kraft_model::replica::{FetchOutcome, FetchPosition};
use kraft_model::{
    BrokerEpoch, DirectoryId, Epoch, EpochEnd, ErrorCode, Incarnation, LeaderEpoch, NodeId, Offset,
    PartitionEpoch, ReplicaKey, TopicId, TopicPartition,
};
use kraft_node::peer::record::{self, RecordError};
use kraft_node::peer::{
    FetchedPartition, Message, PartitionFetch, QuorumView, ReplicaFetch, ReplicaFetched, VoterView,
    decode_frame, encode_message,
};
use kraft_node::storage::{Records, VoterEndpoint};

fn nodes(ids: &[i32]) -> Nodes {
    ids.iter().map(|&id| NodeId(id)).collect()
}

const ID: TopicPartition = TopicPartition { topic: TopicId(0xa1b2), partition: 3 };

fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint {
        listener: "PLAINTEXT".to_owned(),
        host: "::1".to_owned(),
        port: 9092,
        protocol: SecurityProtocol::Plaintext,
    }]
}

fn records() -> Vec<(&'static str, Record)> {
    let features = vec![("metadata.version".to_owned(), 1, 25)];
    let partition = Partition {
        replicas: nodes(&[1, 1001, 2_000_000_000]),
        isr: nodes(&[1, 1001]),
        elr: nodes(&[2_000_000_000]),
        leader: Some(NodeId(1001)),
        leader_epoch: LeaderEpoch(7),
        partition_epoch: PartitionEpoch(9),
        ..Partition::default()
    };
    let change = PartitionChange { id: ID, isr: Some(nodes(&[])), ..PartitionChange::default() };
    let (broker, epoch) = (NodeId(1001), BrokerEpoch(40));
    vec![
        (
            "register-broker",
            Record::RegisterBroker(RegisterBroker {
                broker,
                incarnation: Incarnation(0xfeed),
                epoch: None,
                endpoints: endpoints(),
                features: features.clone(),
                rack: Some("r1".to_owned()),
                directories: vec![DirectoryId(5)],
                fenced: true,
                in_controlled_shutdown: false,
            }),
        ),
        ("unregister-broker", Record::UnregisterBroker { broker, epoch }),
        (
            "broker-registration-change",
            Record::BrokerRegistrationChange(BrokerRegistrationChange {
                broker,
                epoch,
                fenced: Some(false),
                in_controlled_shutdown: None,
            }),
        ),
        (
            "register-controller",
            Record::RegisterController(RegisterController {
                controller: NodeId(0),
                incarnation: Incarnation(0xbeef),
                endpoints: endpoints(),
                features,
            }),
        ),
        ("topic", Record::Topic { id: ID.topic, name: "orders".to_owned() }),
        ("remove-topic", Record::RemoveTopic { id: ID.topic }),
        ("partition", Record::Partition(PartitionRecord { id: ID, partition })),
        (
            "partition-change",
            Record::PartitionChange(PartitionChange { leader: Some(Some(NodeId(1))), ..change }),
        ),
        (
            "partition-change-no-leader",
            Record::PartitionChange(PartitionChange { leader: Some(None), ..change }),
        ),
        ("partition-change-same-leader", Record::PartitionChange(change)),
        (
            "config",
            Record::Config(ConfigRecord {
                kind: ResourceKind::Topic,
                resource: "orders".to_owned(),
                name: "retention.ms".to_owned(),
                value: None,
            }),
        ),
        ("feature-level", Record::FeatureLevel { name: "metadata.version".to_owned(), level: 25 }),
        ("producer-ids", Record::ProducerIds { broker, epoch, next: 3000 }),
        ("clear-elr", Record::ClearElr { topic: Some(ID.topic) }),
        ("clear-elr-all", Record::ClearElr { topic: None }),
        ("no-op", Record::NoOp),
    ]
}

/// An empty record batch with this base, as raw bytes.
fn batch(base: i64) -> Records {
    let mut bytes = vec![0; 61];
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes[8..12].copy_from_slice(&49_i32.to_be_bytes());
    bytes[12..16].copy_from_slice(&2_i32.to_be_bytes());
    bytes[16] = 2;
    Records { bytes: bytes.into(), base: Offset(base), end: Offset(base + 1), last_epoch: 2 }
}

fn quorum_messages() -> Vec<(&'static str, raft::Message<Records>)> {
    use raft::Message as M;
    let key = |id: i32| ReplicaKey { id: NodeId(id), directory: DirectoryId(id as u128) };
    let (epoch, leader) = (Epoch(4), Some(NodeId(2)));
    let snapshot = SnapshotId { end: Offset(90), epoch: Epoch(3) };
    let response = |outcome| {
        let (offset, last_epoch) = (Offset(10), Epoch(3));
        M::FetchResponse(raft::FetchResponse { epoch, leader, offset, last_epoch, outcome })
    };
    let chunk = |chunk| {
        let position = 4096;
        let answer = raft::FetchSnapshotResponse { epoch, leader, snapshot, position, chunk };
        M::FetchSnapshotResponse(answer)
    };
    // A piece of a snapshot's file, which need not be whole batches: its extent counts bytes.
    let piece = Records {
        bytes: Bytes::from_static(b"piece"),
        base: Offset(4096),
        end: Offset(4101),
        last_epoch: snapshot.epoch.0,
    };
    let (candidate, voter) = (key(1), key(2));
    let (last_epoch, end) = (Epoch(3), Offset(10));
    let vote = Vote { epoch, candidate, voter, last_epoch, end, pre_vote: true };
    let error = Some(ErrorCode::FencedLeaderEpoch);
    let high_watermark = Offset(9);
    let records = raft::FetchOutcome::Records { batch: Some(batch(10)), high_watermark };
    let nothing = raft::FetchOutcome::Records { batch: None, high_watermark };
    let diverging = raft::FetchOutcome::Diverging(EpochEnd { epoch: 2, end: Offset(7) });
    let fetch = raft::Fetch { epoch, replica: voter, offset: end, last_epoch, high_watermark };
    let answer = raft::VoteResponse { epoch, leader, granted: false, pre_vote: true, error };
    let successors = [key(1), key(3)].into_iter().collect();
    let ended = raft::EndQuorumEpoch { epoch, leader: NodeId(2), successors };
    let fetch_snapshot = raft::FetchSnapshot { epoch, replica: voter, snapshot, position: 4096 };
    vec![
        ("vote", M::Vote(vote)),
        ("vote-response", M::VoteResponse(answer)),
        ("begin", M::BeginQuorumEpoch(raft::BeginQuorumEpoch { epoch, leader: NodeId(2), voter })),
        ("begin-response", M::BeginQuorumEpochResponse { epoch, leader }),
        ("end", M::EndQuorumEpoch(ended)),
        ("fetch", M::Fetch(fetch)),
        ("fetch-response", response(records)),
        ("fetch-response-nothing", response(nothing)),
        ("fetch-response-diverging", response(diverging)),
        ("fetch-response-snapshot", response(raft::FetchOutcome::Snapshot(snapshot))),
        (
            "fetch-response-refused",
            response(raft::FetchOutcome::Refused(ErrorCode::UnknownLeaderEpoch)),
        ),
        ("fetch-snapshot", M::FetchSnapshot(fetch_snapshot)),
        ("fetch-snapshot-response", chunk(Ok((piece, true)))),
        ("fetch-snapshot-response-refused", chunk(Err(ErrorCode::SnapshotNotFound))),
    ]
}

fn messages() -> Vec<(String, Message)> {
    let position = FetchPosition {
        leader_epoch: LeaderEpoch(2),
        offset: Offset(10),
        last_epoch: LeaderEpoch::UNKNOWN,
        log_start: Offset(1),
    };
    let partitions = vec![PartitionFetch { id: ID, position }];
    let fetch = ReplicaFetch {
        fetcher: 1,
        sequence: 2,
        broker_epoch: BrokerEpoch(40),
        max_wait_ms: 500,
        max_bytes: 1 << 20,
        partitions,
        forgotten: vec![ID],
    };
    let answer = |outcome| FetchedPartition { id: ID, position, outcome };
    let records = |records| {
        let (high_watermark, log_start) = (Offset(9), Offset(1));
        answer(FetchOutcome::Records { records, high_watermark, log_start })
    };
    let out_of_range = FetchOutcome::OutOfRange { log_start: Offset(5), end: Offset(8) };
    let fetched = ReplicaFetched {
        fetcher: 1,
        sequence: 2,
        unknown_session: false,
        partitions: vec![
            records(Some(batch(10))),
            records(None),
            records(Some(batch(30))),
            answer(FetchOutcome::Diverging(EpochEnd { epoch: 1, end: Offset(4) })),
            answer(out_of_range),
            answer(FetchOutcome::Refused(ErrorCode::NotLeaderOrFollower)),
        ],
    };
    let heartbeat = Request::Heartbeat(BrokerHeartbeat {
        broker: NodeId(1001),
        epoch: BrokerEpoch(40),
        metadata_offset: Offset(41),
        want_fence: false,
        want_shutdown: true,
    });
    let created = TopicCreated {
        id: ID.topic,
        partitions: 3,
        replication_factor: 2,
        configs: vec![("retention.ms".to_owned(), "5".to_owned())],
    };
    let refusal = Refusal::new(ErrorCode::TopicAlreadyExists, "there is one");
    let response = Response::CreateTopics(vec![
        ("orders".to_owned(), Ok(created)),
        ("orders".to_owned(), Err(refusal)),
    ]);
    let name = "CONTROLLER".to_owned();
    let endpoint = VoterEndpoint { name, host: "127.0.0.1".to_owned(), port: 9093 };
    let add = VoterChange::Add(ReplicaKey { id: NodeId(4), directory: DirectoryId(4) });
    let voter = VoterView {
        id: NodeId(1),
        directory: DirectoryId(1),
        end: Offset(8),
        last_fetch_ms: -1,
        last_caught_up_ms: 1_700_000_000_000,
        controller: true,
        endpoints: vec![endpoint.clone()],
    };
    let view = QuorumView { leader: Some(NodeId(1)), voters: vec![voter], ..QuorumView::default() };
    let others = [
        ("controller", Message::Controller { id: 6, request: heartbeat }),
        ("controller-reply", Message::ControllerReply { id: 6, response }),
        ("replica-fetch", Message::ReplicaFetch(fetch)),
        ("replica-fetched", Message::ReplicaFetched(fetched)),
        ("describe-quorum", Message::DescribeQuorum { id: 7 }),
        ("quorum-described", Message::QuorumDescribed { id: 7, view }),
        ("change-voters", Message::ChangeVoters { id: 8, change: add, endpoints: vec![endpoint] }),
        (
            "voters-changed",
            Message::VotersChanged { id: 8, result: Err(VoterChangeError::Lagging) },
        ),
        ("ping", Message::Ping),
        ("pong", Message::Pong),
    ];
    let quorum = quorum_messages()
        .into_iter()
        .map(|(name, message)| (format!("quorum-{name}"), Message::Quorum(message)));
    quorum.chain(others.map(|(name, message)| (name.to_owned(), message))).collect()
}

#[test]
fn records_are_written_as_they_always_were_and_read_back() {
    for (name, record) in records() {
        let bytes = record::encode(&record).expect("a record of ours");
        golden("records", name, &bytes);
        assert_eq!(record::decode(&bytes).expect(name), record, "{name}");
    }
}

#[test]
fn messages_are_written_as_they_always_were_and_read_back() {
    for (name, message) in messages() {
        let bytes = encode_message(message.clone()).expect("a message of ours");
        golden("messages", &name, &bytes);
        assert_eq!(decode_frame(&bytes).expect(&name), message, "{name}");
    }
}

#[test]
fn a_record_of_a_newer_release_names_what_it_needs() {
    let error = |bytes: &[u8]| record::decode(bytes).expect_err("not ours").to_string();
    // [11, 0, null], [99, 0, null], [20, 1, null]
    assert!(error(&[0x83, 11, 0, 0xf6]).contains("metadata.version 11 with UserScramCredential"));
    assert!(error(&[0x83, 0x18, 99, 0, 0xf6]).contains("a metadata.version above 25"));
    assert!(error(&[0x83, 20, 1, 0xf6]).contains("version 1 of metadata record kind 20"));
    assert!(matches!(record::decode(&[0x83, 20, 0, 1]), Err(RecordError::Body { kind: 20, .. })));
    let change = record::encode(&Record::PartitionChange(PartitionChange::default()));
    let mut change = change.expect("a record of ours").to_vec();
    let leader = change.len() - 7;
    assert_eq!(change[leader], 0x21, "-2: the leader stays");
    change[leader] = 0x22;
    assert!(matches!(record::decode(&change), Err(RecordError::Leader(-3))));
    assert!(matches!(record::decode(b"junk"), Err(RecordError::Form(_))));
}

/// A small generator of its own, so that a failure names its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Random) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| value(self))
    }

    fn nodes(&mut self) -> Nodes {
        (0..self.below(11)).map(|_| NodeId(self.below(1 << 31) as i32)).collect()
    }
}

#[test]
fn any_partition_change_is_read_back() {
    for seed in 1..2_000 {
        let random = &mut Random(seed * 0x9e37_79b9);
        let change = PartitionChange {
            id: TopicPartition { topic: TopicId(seed as u128), partition: seed as i32 },
            replicas: random.maybe(Random::nodes),
            isr: random.maybe(Random::nodes),
            removing: random.maybe(Random::nodes),
            adding: random.maybe(Random::nodes),
            leader: random.maybe(|random| random.maybe(|random| NodeId(random.below(9) as i32))),
            recovering: random.maybe(|random| random.below(2) == 0),
            elr: random.maybe(Random::nodes),
            last_known_elr: random.maybe(Random::nodes),
        };
        let record = Record::PartitionChange(change);
        let bytes = record::encode(&record).expect("a record of ours");
        assert_eq!(record::decode(&bytes).expect("what was written"), record, "seed {seed}");
    }
}

/// Writes the checksum that a frame's header needs, so that what lies behind it is reached.
fn with_checksum(frame: &mut [u8]) {
    let length = u32::from_be_bytes([frame[10], frame[11], frame[12], frame[13]]) as usize;
    let Some(header) = frame.get(14..14_usize.saturating_add(length)) else { return };
    let fixed = [&frame[4..6], &frame[10..14]].concat();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&fixed), header);
    frame[6..10].copy_from_slice(&crc.to_be_bytes());
}

#[test]
fn damaged_frames_are_refused_or_read_and_never_crash() {
    let frames: Vec<Bytes> =
        messages().into_iter().map(|(_, message)| encode_message(message).expect("ours")).collect();
    let mut refused = 0;
    for seed in 1..20_000 {
        let random = &mut Random(seed * 0x9e37_79b9);
        let mut frame = frames[random.below(frames.len() as u64) as usize].to_vec();
        for _ in 0..=random.below(3) {
            let at = 14 + random.below((frame.len() - 14) as u64) as usize;
            frame[at] = random.below(256) as u8;
        }
        with_checksum(&mut frame);
        refused += usize::from(decode_frame(&frame).is_err());
    }
    assert!(refused > 5_000, "the checks were reached: {refused}");
}

#[test]
fn a_frame_cut_anywhere_is_refused() {
    for (name, message) in messages() {
        let frame = encode_message(message).expect("ours");
        for end in 0..frame.len() {
            assert!(decode_frame(&frame[..end]).is_err(), "{name} at {end}");
        }
        let longer = [&frame[..], &[0]].concat();
        assert!(decode_frame(&longer).is_err(), "{name} with a byte behind it");
    }
}

#[test]
fn a_changed_header_fails_its_checksum_and_a_newer_kind_is_named() {
    let frame = encode_message(Message::DescribeQuorum { id: 7 }).expect("ours").to_vec();
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = frame.clone();
        change(&mut frame);
        decode_frame(&frame).expect_err("must be refused").to_string()
    };
    assert!(refused(&|frame| *frame.last_mut().expect("a header") ^= 1).contains("checksum"));
    let newer_kind = refused(&|frame| {
        frame[5] = 200;
        with_checksum(frame);
    });
    assert!(newer_kind.contains("kind 200 is not known"), "{newer_kind}");
    let newer_version = refused(&|frame| {
        frame[4] = 9;
        with_checksum(frame);
    });
    assert!(newer_version.contains("version 9 of DescribeQuorum"), "{newer_version}");
}

#[test]
fn attached_records_that_are_no_whole_batches_are_refused() {
    let good = batch(10);
    let refused = |bytes: Vec<u8>| {
        let records = Records { bytes: bytes.into(), ..good.clone() };
        let outcome =
            raft::FetchOutcome::Records { batch: Some(records), high_watermark: Offset(0) };
        let message = Message::Quorum(raft::Message::FetchResponse(raft::FetchResponse {
            epoch: Epoch(1),
            leader: None,
            offset: Offset(10),
            last_epoch: Epoch(1),
            outcome,
        }));
        let frame = encode_message(message).expect("raw bytes are not looked at");
        decode_frame(&frame).is_err()
    };
    assert!(!refused(good.bytes.to_vec()));
    assert!(refused(good.bytes[..60].to_vec()));
    assert!(refused([&good.bytes[..], &[0; 5]].concat()));
    assert!(refused([&good.bytes[..], &good.bytes[..]].concat()), "not in offset order");
    let mut last_offset = good.bytes.to_vec();
    last_offset[..8].copy_from_slice(&i64::MAX.to_be_bytes());
    assert!(refused(last_offset), "its end would be no number");
}
