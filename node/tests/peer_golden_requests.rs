//! Golden bytes of what the active controller is asked and answers, and of the handshake: enums and
//! fields are written by position, so that reordering them would change what other releases read.

mod golden_file;

use golden_file::golden;
use kraft_model::inline::Nodes;
use kraft_model::metadata::{
    AlterPartition, AlteredPartition, BrokerHeartbeat, BrokerRegistration, ConfigChange, ConfigOp,
    CreatePartitions, ElectLeaders, ElectionType, Endpoint, HeartbeatReply, NewTopic,
    ReassignPartition, Refusal, Request, ResourceKind, Response, SecurityProtocol, TopicCreated,
    TopicRef,
};
use kraft_model::{
    BrokerEpoch, ClusterId, DirectoryId, ErrorCode, Incarnation, LeaderEpoch, NodeId, Offset,
    PartitionEpoch, TopicId, TopicPartition,
};
use kraft_node::peer::{Hello, Message, cbor, decode_frame, encode_message};

const ID: TopicPartition = TopicPartition { topic: TopicId(0xa1b2), partition: 3 };
const BROKER: NodeId = NodeId(1001);
const EPOCH: BrokerEpoch = BrokerEpoch(40);

fn nodes(ids: &[i32]) -> Nodes {
    ids.iter().map(|&id| NodeId(id)).collect()
}

fn name() -> String {
    "orders".to_owned()
}

fn requests() -> Vec<(&'static str, Request)> {
    let registration = BrokerRegistration {
        cluster: ClusterId(77),
        broker: BROKER,
        incarnation: Incarnation(5),
        endpoints: vec![Endpoint {
            listener: "PLAINTEXT".to_owned(),
            host: "localhost".to_owned(),
            port: 9092,
            protocol: SecurityProtocol::Plaintext,
        }],
        features: vec![("metadata.version".to_owned(), 1, 25)],
        rack: None,
        directories: vec![DirectoryId(6)],
        previous_epoch: BrokerEpoch::NONE,
        damaged: false,
    };
    let topic = NewTopic {
        name: name(),
        partitions: Some(3),
        replication_factor: None,
        assignments: vec![vec![NodeId(1), BROKER]],
        configs: vec![("retention.ms".to_owned(), "5".to_owned())],
    };
    let ops = vec![
        ("a".to_owned(), ConfigOp::Set("1".to_owned())),
        ("b".to_owned(), ConfigOp::Delete),
        ("c".to_owned(), ConfigOp::Append("x".to_owned())),
        ("d".to_owned(), ConfigOp::Subtract("y".to_owned())),
    ];
    let change = ConfigChange { kind: ResourceKind::Broker, resource: name(), ops, replace: false };
    let altered = AlteredPartition {
        id: ID,
        leader_epoch: LeaderEpoch(2),
        partition_epoch: PartitionEpoch(7),
        isr: nodes(&[1, 1001]),
        isr_epochs: [BrokerEpoch(30), EPOCH].into_iter().collect(),
        recovering: false,
    };
    let heartbeat = BrokerHeartbeat {
        broker: BROKER,
        epoch: EPOCH,
        metadata_offset: Offset(41),
        want_fence: false,
        want_shutdown: true,
    };
    let more = CreatePartitions { topic: name(), total: 5, assignments: Vec::new() };
    let elect = ElectLeaders { kind: ElectionType::Unclean, partitions: Some(vec![ID]) };
    let move_to = ReassignPartition { id: ID, replicas: Some(nodes(&[1, 2])) };
    let cancel = ReassignPartition { id: ID, replicas: None };
    let alter = AlterPartition { broker: BROKER, epoch: EPOCH, partitions: vec![altered] };
    let named = TopicRef::Name(name());
    vec![
        ("register-broker", Request::RegisterBroker(registration)),
        ("heartbeat", Request::Heartbeat(heartbeat)),
        ("unregister-broker", Request::UnregisterBroker { broker: BROKER }),
        ("create-topics", Request::CreateTopics { topics: vec![topic], validate_only: true }),
        ("delete-topics", Request::DeleteTopics { topics: vec![named, TopicRef::Id(ID.topic)] }),
        (
            "create-partitions",
            Request::CreatePartitions { topics: vec![more], validate_only: false },
        ),
        ("alter-configs", Request::AlterConfigs { changes: vec![change], validate_only: false }),
        ("alter-partition", Request::AlterPartition(alter)),
        ("elect-leaders", Request::ElectLeaders(elect)),
        ("reassign", Request::ReassignPartitions { partitions: vec![move_to, cancel] }),
        ("allocate-producer-ids", Request::AllocateProducerIds { broker: BROKER, epoch: EPOCH }),
    ]
}

fn responses() -> Vec<(&'static str, Response)> {
    let refusal = || Refusal::new(ErrorCode::InvalidRequest, "because");
    let reply = HeartbeatReply { is_caught_up: true, fenced: false, should_shut_down: true };
    let created = TopicCreated {
        id: ID.topic,
        partitions: 3,
        replication_factor: 2,
        configs: vec![("retention.ms".to_owned(), "5".to_owned())],
    };
    let altered = Err(ErrorCode::IneligibleReplica);
    let deleted = vec![
        (TopicRef::Name(name()), Ok((ID.topic, name()))),
        (TopicRef::Id(ID.topic), Err(refusal())),
    ];
    let configs = vec![
        (ResourceKind::Topic, name(), Ok(())),
        (ResourceKind::Broker, "1".to_owned(), Err(refusal())),
    ];
    let elected = vec![(ID, Ok(())), (ID, Err(ErrorCode::ElectionNotNeeded))];
    vec![
        ("register-broker", Response::RegisterBroker(Ok(EPOCH))),
        ("heartbeat", Response::Heartbeat(Ok(reply))),
        ("heartbeat-refused", Response::Heartbeat(Err(refusal()))),
        ("unregister-broker", Response::UnregisterBroker(Ok(()))),
        ("create-topics", Response::CreateTopics(vec![(name(), Ok(created))])),
        ("delete-topics", Response::DeleteTopics(deleted)),
        ("create-partitions", Response::CreatePartitions(vec![(name(), Ok(()))])),
        ("alter-configs", Response::AlterConfigs(configs)),
        ("alter-partition", Response::AlterPartition(Ok(vec![(ID, altered)]))),
        ("elect-leaders", Response::ElectLeaders(elected)),
        ("reassign", Response::ReassignPartitions(vec![(ID, Err(refusal()))])),
        ("allocate-producer-ids", Response::AllocateProducerIds(Ok(5000))),
        ("not-controller", Response::NotController { leader: Some(NodeId(3)) }),
    ]
}

fn check(folder: &str, name: &str, message: Message) {
    let bytes = encode_message(message.clone()).expect("a message of ours");
    golden(folder, name, &bytes);
    assert_eq!(decode_frame(&bytes).expect(name), message, "{name}");
}

#[test]
fn requests_to_the_controller_are_written_as_they_always_were_and_read_back() {
    for (name, request) in requests() {
        check("requests", name, Message::Controller { id: 6, request });
    }
}

#[test]
fn answers_of_the_controller_are_written_as_they_always_were_and_read_back() {
    for (name, response) in responses() {
        check("responses", name, Message::ControllerReply { id: 6, response });
    }
}

#[test]
fn every_error_code_is_read_back() {
    for code in -1..200 {
        let Some(error) = ErrorCode::from_code(code) else { continue };
        let response = Response::AllocateProducerIds(Err(error));
        let message = Message::ControllerReply { id: 1, response };
        let bytes = encode_message(message.clone()).expect("a message of ours");
        assert_eq!(decode_frame(&bytes).expect("what was written"), message);
    }
}

#[test]
fn a_hello_is_written_as_it_always_was_and_read_back() {
    let hello = Hello {
        cluster: ClusterId(77),
        node: BROKER,
        directory: DirectoryId(6),
        controller: false,
        broker: true,
        incarnation: Incarnation(5),
        versions: (1, 1),
        endpoint: ("localhost".to_owned(), 9092),
        probe: true,
    };
    let bytes = cbor::encode(&hello).expect("plain types");
    golden("handshake", "hello", &bytes);
    assert_eq!(cbor::decode::<Hello>(&bytes).expect("what was written"), hello);
}
