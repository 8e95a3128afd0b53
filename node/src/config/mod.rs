//! A node's configuration: Kafka's keys, layered and checked.
//!
//! ```text
//! defaults < file < environment (KRAFT_...) < --set     source
//!        └──▶ known? legal value?                       registry, kafka_keys
//!               └──▶ possible together? ──▶ NodeConfig  load, listeners
//! ```
//!
//! [`NodeConfig::load`] reports everything that is wrong at once. [`registry`] is the table of keys;
//! it also serves DescribeConfigs and the checks of IncrementalAlterConfigs.

mod endpoint;
mod error;
mod kafka_keys;
mod listeners;
mod load;
mod node_keys;
mod properties;
pub mod registry;
mod source;
mod suggest;
mod topic_keys;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_model::metadata::Endpoint;
use kraft_model::{DirectoryId, NodeId};

pub use endpoint::voter as parse_voter;
pub use error::{ConfigError, ConfigErrors, Warning};
pub use source::Sources;

use crate::trace::TraceConfig;

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
    /// `controller.quorum.bootstrap.servers`: host, port.
    pub bootstrap_servers: Vec<(String, u16)>,
    /// What to bind, by listener name. Port 0: any free one.
    pub listeners: Vec<Endpoint>,
    /// What to tell clients and brokers, by listener name. Port 0 stands for the port that was
    /// bound.
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
    /// `trace.dir` and its bounds, if the machines are recorded.
    pub trace: Option<TraceConfig>,
    /// Topic defaults under their topic-level names (`retention.ms`, `min.insync.replicas` ...), as
    /// set by the broker keys (`log.retention.ms` ...).
    pub topic_defaults: BTreeMap<String, String>,
    /// Everything as it was given, for DescribeConfigs: key, value.
    pub given: BTreeMap<String, String>,
}

impl NodeConfig {
    /// Reads all sources, fills in the defaults and checks what stands together.
    ///
    /// # Errors
    /// Everything that is wrong: unreadable files, unknown keys, illegal values, missing keys and
    /// impossible combinations, each with where it was given and what would be right.
    pub fn load(sources: &Sources) -> Result<(NodeConfig, Vec<Warning>), ConfigErrors> {
        load::load(sources)
    }

    /// A node that is broker and controller on loopback ports of the system's choosing, with its
    /// data under `dir`: the smallest cluster. `settings` come on top.
    ///
    /// # Errors
    /// As for [`NodeConfig::load`], if `settings` make it impossible.
    pub fn on_loopback(
        node_id: NodeId,
        dir: &Path,
        settings: &[(&str, &str)],
    ) -> Result<NodeConfig, ConfigErrors> {
        let base = [
            "process.roles=broker,controller".to_owned(),
            format!("node.id={node_id}"),
            format!("log.dirs={}", dir.display()),
            "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0".to_owned(),
            "controller.listener.names=CONTROLLER".to_owned(),
            format!("controller.quorum.voters={node_id}@127.0.0.1:0"),
        ];
        let more = settings.iter().map(|(key, value)| format!("{key}={value}"));
        let set = base.into_iter().chain(more).collect();
        NodeConfig::load(&Sources { set, ..Sources::default() }).map(|(config, _)| config)
    }

    /// The value of a key as text: as given, else its default. `None` for a key that is unset or
    /// not in the registry.
    pub fn value(&self, key: &str) -> Option<&str> {
        let default = || registry::node_key(key).and_then(|row| row.default);
        self.given.get(key).map(String::as_str).or_else(default)
    }

    /// Where other controllers reach this one: its controller listeners as they are told to others.
    /// One that is bound to every interface and has no name in `advertised.listeners` is left out:
    /// what to call it is not known.
    pub fn controller_endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        let given = self.value("advertised.listeners").unwrap_or_default().to_ascii_uppercase();
        let is_named = move |name: &str| given.contains(&format!("{name}://"));
        let everywhere = |name: &str| {
            let mut bound = self.listeners.iter().filter(|at| at.listener == name);
            bound.any(|at| endpoint::is_wildcard(&at.host))
        };
        let of_controller = self
            .advertised_listeners
            .iter()
            .filter(|at| self.controller_listeners.contains(&at.listener));
        of_controller.filter(move |at| is_named(&at.listener) || !everywhere(&at.listener))
    }

    /// The value of a numeric key, for those that have no field of their own here.
    pub fn number(&self, key: &str) -> Option<i64> {
        self.value(key)?.parse().ok()
    }
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
