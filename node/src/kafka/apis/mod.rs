//! The APIs that are served: one table, one file each (admin APIs of one kind share one).
//!
//! A handler takes the decoded request and answers with the response; it checks form only. What
//! may be decided about the cluster is decided by the controller, and about a partition by its
//! leader, both behind [`Backend`].

mod api_versions;
mod cluster;
mod configs;
mod delete_records;
mod elect_leaders;
mod fetch;
mod init_producer_id;
mod list_offsets;
mod log_dirs;
mod metadata;
mod offset_for_leader_epoch;
mod produce;
mod quorum;
mod reassignments;
mod schemas;
mod topic_partitions;
mod topics;
mod voters;
mod wire;

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use proto_kafka::error::ProtoError;
use proto_kafka::messages::*;
use proto_kafka::protocol::{Decodable, Encodable, HeaderVersion, SegmentedBuf};
use tokio::sync::Mutex;

use super::backend::Backend;
use super::guard::ClientRequest;
use super::schema::Schema;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    pub key: i16,
    pub name: &'static str,
    /// The first and last version that are served.
    pub min: i16,
    pub max: i16,
    pub schema: Schema,
}

impl Api {
    /// Produce is advertised from version 0 on though 0 to 2 are refused: older librdkafka takes
    /// compression away from a broker that does not name them (KAFKA-18659).
    pub fn advertised_min(&self) -> i16 {
        if self.key == PRODUCE_KEY { 0 } else { self.min }
    }
}

pub const PRODUCE_KEY: i16 = 0;
pub const API_VERSIONS_KEY: i16 = 18;

/// What a handler knows beside its request.
#[derive(Clone, Debug)]
pub struct Context<B> {
    pub backend: B,
    /// The listener on which the connection came in; clients are told this listener's endpoints.
    pub listener: Rc<str>,
    /// The connection's batches reach the log in the order of their requests, also where they wait.
    pub turns: Arc<Mutex<()>>,
    /// One Fetch of a connection at a time has an answer in memory.
    pub fetches: Arc<Mutex<()>>,
}

impl<B> Context<B> {
    pub fn new(backend: B, listener: Rc<str>) -> Context<B> {
        Context { backend, listener, turns: Arc::default(), fetches: Arc::default() }
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Reply {
    Response(Response),
    /// Nothing is sent (Produce with acks=0).
    Silent,
    /// The client asked for no answer but must learn that something went wrong.
    Close(&'static str),
}

macro_rules! apis {
    ($($name:ident($key:literal, $min:literal..=$max:literal, $schema:ident,
        $request:ident => $response:ident, $module:ident::$handle:ident);)*) => {
        const TABLE: &[Api] = &[$(Api {
            key: $key,
            name: stringify!($name),
            min: $min,
            max: $max,
            schema: schemas::$schema,
        }),*];

        /// A decoded request body.
        #[derive(Clone, Debug)]
        pub enum Request {
            /// ApiVersions in a version that is newer than ours.
            UnknownApiVersions,
            $($name($request),)*
        }

        impl Request {
            /// Decodes a body of a served API and version; its shape has been checked.
            pub(super) fn decode(
                key: i16,
                body: &mut Bytes,
                version: i16,
            ) -> Result<Request, ProtoError> {
                match key {
                    $($key => $request::decode(body, version).map(Request::$name),)*
                    _ => Err(ProtoError::UnknownApiKey),
                }
            }
        }

        /// A response body.
        #[derive(Clone, Debug)]
        pub enum Response {
            $($name($response),)*
        }

        $(impl From<$response> for Reply {
            fn from(response: $response) -> Reply {
                Reply::Response(Response::$name(response))
            }
        })*

        impl Response {
            /// Appends header and body. Record bytes are shared, not copied.
            pub fn encode(
                &self,
                correlation_id: i32,
                version: i16,
                out: &mut SegmentedBuf,
            ) -> Result<(), ProtoError> {
                let header = ResponseHeader::default().with_correlation_id(correlation_id);
                match self {
                    $(Response::$name(body) => {
                        header.encode(out, $response::header_version(version))?;
                        body.encode(out, version)
                    })*
                }
            }
        }

        /// Carries a request out.
        pub async fn handle<B: Backend>(context: &Context<B>, request: ClientRequest) -> Reply {
            match request.body {
                Request::UnknownApiVersions => api_versions::unknown_version().into(),
                $(Request::$name(body) => {
                    $module::$handle(context, body, request.version).await.into()
                })*
            }
        }
    };
}

apis! {
    Produce(0, 3..=11, PRODUCE, ProduceRequest => ProduceResponse, produce::handle);
    Fetch(1, 4..=12, FETCH, FetchRequest => FetchResponse, fetch::handle);
    ListOffsets(2, 1..=7, LIST_OFFSETS,
        ListOffsetsRequest => ListOffsetsResponse, list_offsets::handle);
    Metadata(3, 0..=13, METADATA, MetadataRequest => MetadataResponse, metadata::handle);
    ApiVersions(18, 0..=4, API_VERSIONS,
        ApiVersionsRequest => ApiVersionsResponse, api_versions::handle);
    CreateTopics(19, 2..=7, CREATE_TOPICS,
        CreateTopicsRequest => CreateTopicsResponse, topics::create);
    DeleteTopics(20, 1..=6, DELETE_TOPICS,
        DeleteTopicsRequest => DeleteTopicsResponse, topics::delete);
    DeleteRecords(21, 0..=2, DELETE_RECORDS,
        DeleteRecordsRequest => DeleteRecordsResponse, delete_records::handle);
    InitProducerId(22, 0..=4, INIT_PRODUCER_ID,
        InitProducerIdRequest => InitProducerIdResponse, init_producer_id::handle);
    OffsetForLeaderEpoch(23, 2..=4, OFFSET_FOR_LEADER_EPOCH,
        OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse,
        offset_for_leader_epoch::handle);
    DescribeConfigs(32, 1..=4, DESCRIBE_CONFIGS,
        DescribeConfigsRequest => DescribeConfigsResponse, configs::describe);
    AlterConfigs(33, 0..=2, ALTER_CONFIGS,
        AlterConfigsRequest => AlterConfigsResponse, configs::replace);
    DescribeLogDirs(35, 1..=4, DESCRIBE_LOG_DIRS,
        DescribeLogDirsRequest => DescribeLogDirsResponse, log_dirs::handle);
    CreatePartitions(37, 0..=3, CREATE_PARTITIONS,
        CreatePartitionsRequest => CreatePartitionsResponse, topics::create_partitions);
    ElectLeaders(43, 0..=2, ELECT_LEADERS,
        ElectLeadersRequest => ElectLeadersResponse, elect_leaders::handle);
    IncrementalAlterConfigs(44, 0..=1, INCREMENTAL_ALTER_CONFIGS,
        IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse, configs::alter);
    AlterPartitionReassignments(45, 0..=1, ALTER_PARTITION_REASSIGNMENTS,
        AlterPartitionReassignmentsRequest => AlterPartitionReassignmentsResponse,
        reassignments::alter);
    ListPartitionReassignments(46, 0..=0, LIST_PARTITION_REASSIGNMENTS,
        ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse,
        reassignments::list);
    DescribeQuorum(55, 0..=2, DESCRIBE_QUORUM,
        DescribeQuorumRequest => DescribeQuorumResponse, quorum::describe);
    DescribeCluster(60, 0..=2, DESCRIBE_CLUSTER,
        DescribeClusterRequest => DescribeClusterResponse, cluster::describe);
    UnregisterBroker(64, 0..=0, UNREGISTER_BROKER,
        UnregisterBrokerRequest => UnregisterBrokerResponse, cluster::unregister_broker);
    DescribeTopicPartitions(75, 0..=0, DESCRIBE_TOPIC_PARTITIONS,
        DescribeTopicPartitionsRequest => DescribeTopicPartitionsResponse,
        topic_partitions::describe);
    AddRaftVoter(80, 0..=0, ADD_RAFT_VOTER,
        AddRaftVoterRequest => AddRaftVoterResponse, voters::add);
    RemoveRaftVoter(81, 0..=0, REMOVE_RAFT_VOTER,
        RemoveRaftVoterRequest => RemoveRaftVoterResponse, voters::remove);
}

/// Every API that is served, by key.
pub fn table() -> &'static [Api] {
    TABLE
}

pub(super) fn find(key: i16) -> Option<&'static Api> {
    TABLE.iter().find(|api| api.key == key)
}
