//! A node's configuration: Kafka's keys, layered and checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use kraft_model::metadata::Endpoint;
use kraft_model::{DirectoryId, NodeId};

/// Everything a node is told, checked and with its defaults filled in. Fields are named after
/// Kafka's keys.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    pub node_id: NodeId,
    pub roles: Roles,
    /// `log.dirs`; the metadata log is in `metadata.log.dir`, by default the first of them.
    pub log_dirs: Vec<PathBuf>,
    pub metadata_log_dir: PathBuf,
    /// `controller.quorum.voters`: id, host, port.
    pub voters: Vec<Voter>,
    /// What to bind, by listener name.
    pub listeners: Vec<Endpoint>,
    /// What to tell clients and brokers, by listener name.
    pub advertised_listeners: Vec<Endpoint>,
    pub inter_broker_listener: String,
    pub controller_listeners: Vec<String>,
    pub rack: Option<String>,
    pub allow_plaintext: bool,
    /// Bind of the metrics and health endpoint (`metrics.listener`), if wanted.
    pub metrics_listener: Option<String>,

    pub broker_session_timeout: Duration,
    pub broker_heartbeat_interval: Duration,
    pub controlled_shutdown_timeout: Duration,
    pub quorum_election_timeout: Duration,
    pub quorum_fetch_timeout: Duration,
    pub quorum_fetch_max_wait: Duration,
    pub replica_lag_time_max: Duration,
    pub replica_fetch_wait_max: Duration,
    pub replica_fetch_max_bytes: usize,
    pub replica_fetch_response_max_bytes: usize,

    /// `log.flush`: what an acknowledgement of acks=all rests on.
    pub flush: FlushPolicy,
    pub auto_create_topics: bool,
    pub num_partitions: i32,
    pub default_replication_factor: i16,
    pub offsets_topic_replication_factor: i16,
    pub metadata_snapshot_bytes: u64,
    pub segment_bytes: u64,
    pub worker_threads: usize,
    pub open_files: usize,
    /// Topic defaults under their topic-level names (`retention.ms`, `min.insync.replicas` ...), as
    /// set by the broker keys (`log.retention.ms` ...).
    pub topic_defaults: BTreeMap<String, String>,
    /// Everything as it was given, for DescribeConfigs: key, value.
    pub given: BTreeMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Roles {
    pub controller: bool,
    pub broker: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voter {
    pub id: NodeId,
    pub host: String,
    pub port: u16,
    /// The directory id, if the configuration pins it (`id@host:port:directory`); otherwise any
    /// directory speaks for the id, as with Kafka's static voters.
    pub directory: Option<DirectoryId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushPolicy {
    /// Acknowledge from the page cache, as Kafka does by default.
    PageCache,
    /// Group-committed fsync before the acknowledgement.
    BeforeAck,
}
