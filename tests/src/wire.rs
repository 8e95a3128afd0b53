//! A raw Kafka client: one request at a time on one connection, no retries, no patience.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use proto_kafka::messages::metadata_response::MetadataResponseTopic;
use proto_kafka::messages::{
    ApiKey, BrokerId, CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse,
    ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse, ProduceRequest,
    ProduceResponse, RequestHeader, ResponseHeader, TopicName,
};
use proto_kafka::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

/// How long the raw client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    correlation: i32,
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Connection { stream, correlation: 0 })
    }

    /// How long an answer may take on this connection.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(timeout))
    }

    /// Sends a request and waits for its response.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        self.send(version, request)?;
        self.receive::<R>(version)
    }

    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<()> {
        self.correlation += 1;
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str("kraft-tests")));
        header.encode(&mut frame, R::header_version(version)).map_err(invalid)?;
        request.encode(&mut frame, version).map_err(invalid)?;
        let length = (frame.len() - 4) as i32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame)
    }

    pub fn receive<R: Request>(&mut self, version: i16) -> io::Result<R::Response> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut body)?;
        let mut body = Bytes::from(body);
        let header_version = R::Response::header_version(version);
        let header = ResponseHeader::decode(&mut body, header_version).map_err(invalid)?;
        if header.correlation_id != self.correlation {
            return Err(invalid("an answer to another request"));
        }
        let response = R::Response::decode(&mut body, version).map_err(invalid)?;
        if body.has_remaining() {
            return Err(invalid("bytes after the response"));
        }
        Ok(response)
    }
}

fn invalid(problem: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_string())
}

/// Which API a key names, for messages.
pub fn api_name(key: i16) -> String {
    ApiKey::try_from(key).map_or_else(|()| key.to_string(), |api| format!("{api:?}"))
}

/// The brokers that the one at `address` lists.
pub fn brokers(address: SocketAddr) -> io::Result<Vec<BrokerId>> {
    let request = MetadataRequest::default().with_topics(Some(Vec::new()));
    let response: MetadataResponse = Connection::open(address)?.call(9, &request)?;
    Ok(response.brokers.iter().map(|broker| broker.node_id).collect())
}

/// A partition as a broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub index: i32,
    pub error: i16,
    pub leader: i32,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
}

/// The partitions of `topic` as the broker at `address` knows them.
pub fn describe(address: SocketAddr, topic: &str) -> io::Result<Vec<Partition>> {
    let wanted = proto_kafka::messages::metadata_request::MetadataRequestTopic::default()
        .with_name(Some(topic_name(topic)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![wanted]))
        .with_allow_auto_topic_creation(false);
    let response = Connection::open(address)?.call(9, &request)?;
    let found = response.topics.first().ok_or_else(|| invalid("no topic in the answer"))?;
    Ok(partitions(found))
}

/// The partitions of all topics as the broker at `address` knows them.
pub fn describe_all(address: SocketAddr) -> io::Result<Vec<Partition>> {
    let request =
        MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(false);
    let response = Connection::open(address)?.call(9, &request)?;
    Ok(response.topics.iter().flat_map(partitions).collect())
}

/// A topic's partitions, in order.
fn partitions(topic: &MetadataResponseTopic) -> Vec<Partition> {
    let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
    let mut partitions: Vec<Partition> = topic
        .partitions
        .iter()
        .map(|partition| Partition {
            index: partition.partition_index,
            error: partition.error_code,
            leader: partition.leader_id.0,
            leader_epoch: partition.leader_epoch,
            replicas: ids(&partition.replica_nodes),
            isr: ids(&partition.isr_nodes),
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    partitions
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// Creates a topic; the error code of the answer.
pub fn create_topic(
    address: SocketAddr,
    name: &str,
    partitions: i32,
    replication_factor: i16,
    configs: &[(&str, &str)],
) -> io::Result<i16> {
    use proto_kafka::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
    let configs = configs
        .iter()
        .map(|(key, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string((*key).to_owned()))
                .with_value(Some(StrBytes::from_string((*value).to_owned())))
        })
        .collect();
    let topic = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(replication_factor)
        .with_configs(configs);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5_000);
    let response: CreateTopicsResponse = Connection::open(address)?.call(5, &request)?;
    response.topics.first().map(|topic| topic.error_code).ok_or_else(|| invalid("no answer"))
}

/// Creates several topics in one request; the error codes of the answer.
pub fn create_topics(
    address: SocketAddr,
    names: &[String],
    partitions: i32,
    replication_factor: i16,
) -> io::Result<Vec<i16>> {
    use proto_kafka::messages::create_topics_request::CreatableTopic;
    let topic = |name: &String| {
        CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(replication_factor)
    };
    let topics = names.iter().map(topic).collect();
    let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(5_000);
    let response: CreateTopicsResponse = Connection::open(address)?.call(5, &request)?;
    Ok(response.topics.iter().map(|topic| topic.error_code).collect())
}

/// The version in which records are produced.
pub const PRODUCE_VERSION: i16 = 9;

/// A request that produces one batch to one partition.
pub fn produce_request(topic: &str, partition: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    use proto_kafka::messages::produce_request::{PartitionProduceData, TopicProduceData};
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic =
        TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(4_000).with_topic_data(vec![topic])
}

/// What a producer is told of its one batch: error code and base offset.
pub fn produced(response: &ProduceResponse) -> io::Result<(i16, i64)> {
    let answer = response
        .responses
        .first()
        .and_then(|topic| topic.partition_responses.first())
        .ok_or_else(|| invalid("no partition in the answer"))?;
    Ok((answer.error_code, answer.base_offset))
}

/// Produces one batch to one partition: error code and base offset.
pub fn produce(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    acks: i16,
    batch: Bytes,
) -> io::Result<(i16, i64)> {
    let request = produce_request(topic, partition, acks, batch);
    produced(&connection.call(PRODUCE_VERSION, &request)?)
}

/// Reads one partition from `offset`: error code, high watermark and record batches.
pub fn fetch(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    offset: i64,
) -> io::Result<(i16, i64, Bytes)> {
    use proto_kafka::messages::fetch_request::{FetchPartition, FetchTopic};
    let wanted = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(8 << 20);
    let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![wanted]);
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(100)
        .with_min_bytes(1)
        .with_max_bytes(16 << 20)
        .with_topics(vec![topic]);
    let response: FetchResponse = connection.call(11, &request)?;
    let answer = response
        .responses
        .first()
        .and_then(|topic| topic.partitions.first())
        .ok_or_else(|| invalid("no partition in the answer"))?;
    let records = answer.records.clone().unwrap_or_default();
    Ok((answer.error_code, answer.high_watermark, records))
}

/// The high watermark of a partition, by ListOffsets: error code and offset.
pub fn latest_offset(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
) -> io::Result<(i16, i64)> {
    use proto_kafka::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let wanted = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(-1);
    let topic =
        ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![wanted]);
    let request =
        ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let response: ListOffsetsResponse = connection.call(5, &request)?;
    let answer = response
        .topics
        .first()
        .and_then(|topic| topic.partitions.first())
        .ok_or_else(|| invalid("no partition in the answer"))?;
    Ok((answer.error_code, answer.offset))
}

/// The address of a partition's leader as the other end of `connection` knows it; `None` if there
/// is none.
pub fn leader_address(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
) -> io::Result<Option<SocketAddr>> {
    let wanted = proto_kafka::messages::metadata_request::MetadataRequestTopic::default()
        .with_name(Some(topic_name(topic)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![wanted]))
        .with_allow_auto_topic_creation(false);
    let response: MetadataResponse = connection.call(9, &request)?;
    let leader = response
        .topics
        .first()
        .and_then(|topic| topic.partitions.iter().find(|p| p.partition_index == partition))
        .filter(|partition| partition.error_code == 0)
        .map(|partition| partition.leader_id);
    let broker = response.brokers.iter().find(|broker| Some(broker.node_id) == leader);
    Ok(broker.and_then(|broker| format!("{}:{}", broker.host.as_str(), broker.port).parse().ok()))
}

/// A new producer id from the broker at `address`.
pub fn producer_id(address: SocketAddr) -> io::Result<i64> {
    use proto_kafka::messages::InitProducerIdRequest;
    let request = InitProducerIdRequest::default().with_transaction_timeout_ms(60_000);
    let response = Connection::open(address)?.call(2, &request)?;
    if response.error_code == 0 {
        Ok(response.producer_id.0)
    } else {
        Err(invalid(format!("InitProducerId: error {}", response.error_code)))
    }
}
