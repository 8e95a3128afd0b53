//! A broker for tests: one topic with one partition on a loopback socket, with faults on request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use kraft_model::ErrorCode;
use kraft_node::storage::RecordBatch;
use proto_kafka::messages::api_versions_response::ApiVersion;
use proto_kafka::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use proto_kafka::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use proto_kafka::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use proto_kafka::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use proto_kafka::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, FetchResponse, InitProducerIdResponse,
    ListOffsetsResponse, MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader,
    ResponseHeader, TopicName,
};
use proto_kafka::protocol::{Decodable, Encodable, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const TOPIC: &str = "t";

/// What the next Produce meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Refused, nothing is written.
    Refuse(ErrorCode),
    /// Written, but the connection breaks before the answer.
    LoseAnswer,
    /// The connection breaks before anything is written.
    LoseRequest,
}

#[derive(Debug, Default)]
struct Log {
    bytes: BytesMut,
    end: i64,
    /// The next sequence that an idempotent producer may send.
    next_sequence: i32,
    faults: Vec<Fault>,
    /// Metadata requests to answer with "no leader" first.
    leaderless: u32,
    /// ApiVersions is understood in version 0 only.
    old: bool,
}

#[derive(Clone, Debug)]
pub struct FakeBroker {
    pub address: String,
    log: Arc<Mutex<Log>>,
}

impl FakeBroker {
    pub async fn start() -> FakeBroker {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let broker = FakeBroker { address, log: Arc::default() };
        let accepting = broker.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(socket));
            }
        });
        broker
    }

    /// Faults for the next Produce requests, the first one first.
    pub fn fail_with(&self, faults: &[Fault]) {
        self.log().faults = faults.iter().rev().copied().collect();
    }

    pub fn hide_leader(&self, times: u32) {
        self.log().leaderless = times;
    }

    pub fn speak_only_old_versions(&self) {
        self.log().old = true;
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self, mut socket: TcpStream) {
        while let Ok(size) = socket.read_i32().await {
            let mut frame = vec![0; size as usize];
            if socket.read_exact(&mut frame).await.is_err() {
                return;
            }
            let Some(answer) = self.answer(Bytes::from(frame)) else { return };
            if socket.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    /// `None` breaks the connection.
    fn answer(&self, mut frame: Bytes) -> Option<Bytes> {
        let api = ApiKey::try_from(i16::from_be_bytes([frame[0], frame[1]])).expect("known");
        let version = i16::from_be_bytes([frame[2], frame[3]]);
        let header = RequestHeader::decode(&mut frame, api.request_header_version(version));
        let correlation = header.expect("the client's header is whole").correlation_id;
        let mut out = BytesMut::new();
        out.put_i32(0);
        let head = ResponseHeader::default().with_correlation_id(correlation);
        head.encode(&mut out, api.response_header_version(version)).expect("it fits");
        match api {
            ApiKey::ApiVersions => self.versions(&mut out, version),
            ApiKey::Metadata => encode(&self.metadata(), &mut out, version),
            ApiKey::InitProducerId => {
                encode(
                    &InitProducerIdResponse::default().with_producer_id(1.into()),
                    &mut out,
                    version,
                );
            }
            ApiKey::Produce => encode(&self.produce(frame, version)?, &mut out, version),
            ApiKey::ListOffsets => encode(&self.offsets(&frame), &mut out, version),
            ApiKey::Fetch => encode(&self.fetch(), &mut out, version),
            other => panic!("the fake broker does not serve {other:?}"),
        }
        let size = (out.len() - 4) as i32;
        out[..4].copy_from_slice(&size.to_be_bytes());
        Some(out.freeze())
    }

    fn versions(&self, out: &mut BytesMut, version: i16) {
        let range = |api: ApiKey, max: i16| {
            ApiVersion::default().with_api_key(api as i16).with_max_version(max)
        };
        let keys = vec![
            range(ApiKey::ApiVersions, 3),
            range(ApiKey::Metadata, 9),
            range(ApiKey::InitProducerId, 4),
            range(ApiKey::Produce, 9),
            range(ApiKey::ListOffsets, 5),
            range(ApiKey::Fetch, 11),
        ];
        let response = ApiVersionsResponse::default().with_api_keys(keys);
        if self.log().old && version > 0 {
            return encode(&response.with_error_code(35), out, 0);
        }
        encode(&response, out, version);
    }

    fn metadata(&self) -> MetadataResponse {
        let mut log = self.log();
        let hidden = log.leaderless > 0;
        log.leaderless = log.leaderless.saturating_sub(1);
        let (host, port) = self.address.split_once(':').expect("host:port");
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(7))
            .with_host(StrBytes::from_string(host.to_owned()))
            .with_port(port.parse().expect("a port"));
        let partition = MetadataResponsePartition::default()
            .with_leader_id(BrokerId(if hidden { -1 } else { 7 }))
            .with_replica_nodes(vec![BrokerId(7)]);
        let topic = MetadataResponseTopic::default()
            .with_name(Some(topic()))
            .with_partitions(vec![partition]);
        MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic])
    }

    fn produce(&self, mut body: Bytes, version: i16) -> Option<ProduceResponse> {
        let request = ProduceRequest::decode(&mut body, version).expect("the client's own form");
        let records = request.topic_data[0].partition_data[0].records.clone().unwrap_or_default();
        let fault = self.log().faults.pop();
        let error = match fault {
            Some(Fault::Refuse(error)) => error.code(),
            Some(Fault::LoseRequest) => return None,
            _ => self.append(&records),
        };
        if fault == Some(Fault::LoseAnswer) {
            return None;
        }
        let partition = PartitionProduceResponse::default().with_error_code(error);
        let topic = TopicProduceResponse::default()
            .with_name(topic())
            .with_partition_responses(vec![partition]);
        Some(ProduceResponse::default().with_responses(vec![topic]))
    }

    /// As a broker does: in sequence, else a duplicate or out of order.
    fn append(&self, records: &Bytes) -> i16 {
        let mut log = self.log();
        let batch = RecordBatch::read(records).expect("the client's own batch");
        batch.verify(records).expect("its CRC holds");
        if batch.base_sequence >= 0 {
            if batch.base_sequence < log.next_sequence {
                return ErrorCode::DuplicateSequenceNumber.code();
            }
            if batch.base_sequence > log.next_sequence {
                return ErrorCode::OutOfOrderSequenceNumber.code();
            }
            log.next_sequence += batch.record_count;
        }
        let at = log.bytes.len();
        log.bytes.extend_from_slice(records);
        let base = log.end;
        log.bytes[at..at + 8].copy_from_slice(&base.to_be_bytes());
        log.end += i64::from(batch.record_count);
        0
    }

    /// Timestamp -2 (earliest) ends the only partition of a ListOffsets request of this client.
    fn offsets(&self, body: &Bytes) -> ListOffsetsResponse {
        let earliest = body.windows(8).any(|window| window == (-2i64).to_be_bytes());
        let offset = if earliest { 0 } else { self.log().end };
        let partition = ListOffsetsPartitionResponse::default().with_offset(offset);
        let topic =
            ListOffsetsTopicResponse::default().with_name(topic()).with_partitions(vec![partition]);
        ListOffsetsResponse::default().with_topics(vec![topic])
    }

    /// Always the whole log: the client must skip what it has.
    fn fetch(&self) -> FetchResponse {
        let log = self.log();
        let partition = PartitionData::default()
            .with_high_watermark(log.end)
            .with_records(Some(log.bytes.clone().freeze()));
        let topic =
            FetchableTopicResponse::default().with_topic(topic()).with_partitions(vec![partition]);
        FetchResponse::default().with_responses(vec![topic])
    }
}

fn topic() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

fn encode(response: &impl Encodable, out: &mut BytesMut, version: i16) {
    response.encode(out, version).expect("the fake broker's answers fit their version");
}
