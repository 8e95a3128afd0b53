//! From layers of text to a checked [`NodeConfig`], with every error at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use kraft_model::NodeId;

use super::error::{ConfigError, ConfigErrors, Warning};
use super::registry::{self, NodeKey};
use super::source::{self, Given, Sources};
use crate::trace::TraceConfig;

use super::{FlushPolicy, NodeConfig, Roles, Voter, endpoint, kafka_keys, listeners, suggest};

/// Values that have been given, and what was found wrong so far. Questions for a value never
/// fail: a wrong one has been reported, and the default stands in for it until the end.
pub(super) struct Reader {
    given: BTreeMap<String, Given>,
    pub errors: Vec<ConfigError>,
    pub warnings: Vec<Warning>,
}

pub(super) fn load(sources: &Sources) -> Result<(NodeConfig, Vec<Warning>), ConfigErrors> {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    let given = source::collect(sources, &mut errors, &mut warnings);
    let mut reader = Reader { given, errors, warnings };
    reader.check_keys();
    let config = node_config(&mut reader);
    if reader.errors.is_empty() {
        Ok((config, reader.warnings))
    } else {
        Err(ConfigErrors(reader.errors))
    }
}

fn node_config(reader: &mut Reader) -> NodeConfig {
    let roles = roles(reader);
    let node_id = node_id(reader);
    let voters = voters(reader, node_id, roles);
    let bootstrap_servers = bootstrap_servers(reader, &voters);
    let log_dirs = log_dirs(reader);
    let listeners = listeners::read(reader, roles);
    check_pairs(reader);
    let config = NodeConfig {
        node_id,
        roles,
        metadata_log_dir: reader
            .text("metadata.log.dir")
            .map(PathBuf::from)
            .or_else(|| log_dirs.first().cloned())
            .unwrap_or_default(),
        log_dirs,
        voters,
        bootstrap_servers,
        listeners: listeners.bound,
        advertised_listeners: listeners.advertised,
        inter_broker_listener: listeners.inter_broker,
        controller_listeners: listeners.controllers,
        rack: reader.text("broker.rack"),
        allow_plaintext: reader.flag("allow.plaintext"),
        metrics_listener: metrics_listener(reader),
        broker_session_timeout: reader.millis("broker.session.timeout.ms"),
        broker_heartbeat_interval: reader.millis("broker.heartbeat.interval.ms"),
        controlled_shutdown_timeout: controlled_shutdown_timeout(reader),
        quorum_election_timeout: reader.millis("controller.quorum.election.timeout.ms"),
        quorum_fetch_timeout: reader.millis("controller.quorum.fetch.timeout.ms"),
        quorum_fetch_max_wait: reader.millis("controller.quorum.fetch.max.wait.ms"),
        replica_lag_time_max: reader.millis("replica.lag.time.max.ms"),
        replica_fetch_wait_max: reader.millis("replica.fetch.wait.max.ms"),
        replica_fetch_max_bytes: reader.count("replica.fetch.max.bytes"),
        replica_fetch_response_max_bytes: reader.count("replica.fetch.response.max.bytes"),
        flush: flush(reader),
        auto_create_topics: reader.flag("auto.create.topics.enable"),
        num_partitions: reader.number("num.partitions") as i32,
        default_replication_factor: reader.number("default.replication.factor") as i16,
        offsets_topic_replication_factor: reader.number("offsets.topic.replication.factor") as i16,
        metadata_snapshot_bytes: reader
            .number("metadata.log.max.record.bytes.between.snapshots")
            .unsigned_abs(),
        segment_bytes: reader.number("log.segment.bytes").unsigned_abs(),
        worker_threads: worker_threads(reader),
        open_files: reader.count("open.files"),
        trace: trace(reader),
        topic_defaults: topic_defaults(reader),
        given: BTreeMap::new(),
    };
    let values = std::mem::take(&mut reader.given);
    NodeConfig {
        given: values.into_iter().map(|(key, given)| (key, given.value)).collect(),
        ..config
    }
}

impl Reader {
    /// Reports keys that nobody knows and values that their key cannot have; what is wrong is
    /// dropped, so that the default stands in for it.
    fn check_keys(&mut self) {
        let Reader { given, errors, warnings } = self;
        given.retain(|key, Given { value, origin }| {
            let (key, origin) = (key.clone(), origin.clone());
            let Some(known) = registry::node_key(&key) else {
                if kafka_keys::is_kafka(&key) {
                    let message = "kraft has no such setting and goes without it".to_owned();
                    warnings.push(Warning { key, origin, message });
                } else {
                    let names = registry::node_keys().iter().map(|key| key.name);
                    let nearest = suggest::nearest(&key, names);
                    errors.push(ConfigError::Unknown { key, origin, nearest });
                }
                return false;
            };
            *value = value.trim().to_owned();
            let checked = known.kind.check(value);
            if let Err(expected) = checked {
                let value = value.clone();
                errors.push(ConfigError::Invalid { key, value, origin, expected });
                return false;
            }
            true
        });
    }

    /// The value that is in force, and its origin.
    pub fn value(&self, key: &'static str) -> Option<Given> {
        let default = |value: &str| Given { value: value.to_owned(), origin: "default".to_owned() };
        self.given.get(key).cloned().or_else(|| row(key).default.map(default))
    }

    pub fn is_given(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }

    /// A text that is not empty.
    pub fn text(&self, key: &'static str) -> Option<String> {
        self.value(key).map(|given| given.value).filter(|value| !value.is_empty())
    }

    pub fn flag(&self, key: &'static str) -> bool {
        self.text(key).and_then(|value| registry::parse_bool(&value)).unwrap_or_default()
    }

    /// 0 for what is unset.
    fn number(&self, key: &'static str) -> i64 {
        self.text(key).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    fn count(&self, key: &'static str) -> usize {
        usize::try_from(self.number(key)).unwrap_or_default()
    }

    fn millis(&self, key: &'static str) -> Duration {
        Duration::from_millis(u64::try_from(self.number(key)).unwrap_or_default())
    }

    pub fn list(&self, key: &'static str) -> Vec<String> {
        let value = self.text(key).unwrap_or_default();
        registry::elements(&value).map(str::to_owned).collect()
    }

    /// The list's elements, parsed; those that cannot be are reported with the form they lack.
    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        form: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for element in self.list(key) {
            match parse(&element) {
                Some(value) => all.push(value),
                None => {
                    let origin = self.origin(key);
                    let expected = form.to_owned();
                    let key = key.to_owned();
                    self.errors.push(ConfigError::Invalid {
                        key,
                        value: element,
                        origin,
                        expected,
                    });
                }
            }
        }
        all
    }

    pub fn missing(&mut self, key: &'static str, why: &str) {
        self.errors.push(ConfigError::Missing { key, why: why.to_owned() });
    }

    pub fn conflict(&mut self, key: &'static str, why: impl Into<String>) {
        let (value, origin) = (self.text(key).unwrap_or_default(), self.origin(key));
        self.errors.push(ConfigError::Conflict { key, value, origin, why: why.into() });
    }

    pub fn warn(&mut self, key: &'static str, message: impl Into<String>) {
        let (key, origin) = (key.to_owned(), self.origin(key));
        self.warnings.push(Warning { key, origin, message: message.into() });
    }

    fn origin(&self, key: &'static str) -> String {
        self.value(key).map_or_else(|| "default".to_owned(), |given| given.origin)
    }
}

fn row(key: &str) -> &'static NodeKey {
    registry::node_key(key).expect("the loader asks for registered keys only")
}

fn roles(reader: &mut Reader) -> Roles {
    let names = reader.list("process.roles");
    if names.is_empty() && reader.errors.iter().all(|e| !concerns(e, "process.roles")) {
        reader.missing("process.roles", "say 'broker', 'controller' or 'broker,controller'");
    }
    let has = |role: &str| names.iter().any(|name| name == role);
    Roles { controller: has("controller"), broker: has("broker") }
}

/// Whether this error has reported the key already, so that it is not called missing as well.
fn concerns(error: &ConfigError, name: &str) -> bool {
    matches!(error, ConfigError::Invalid { key, .. } if key == name)
}

fn node_id(reader: &mut Reader) -> NodeId {
    if !reader.is_given("node.id") && reader.errors.iter().all(|e| !concerns(e, "node.id")) {
        reader.missing("node.id", "every node needs an id of its own (broker.id is not read)");
    }
    NodeId(reader.number("node.id") as i32)
}

fn log_dirs(reader: &mut Reader) -> Vec<PathBuf> {
    let dirs = match reader.list("log.dirs") {
        dirs if dirs.is_empty() => reader.text("log.dir").into_iter().collect(),
        dirs => dirs,
    };
    if dirs.is_empty() {
        reader.missing("log.dirs", "say where this node keeps its data");
    }
    let distinct: BTreeSet<&String> = dirs.iter().collect();
    if distinct.len() < dirs.len() {
        reader.conflict("log.dirs", "a directory is named twice");
    }
    dirs.into_iter().map(PathBuf::from).collect()
}

fn voters(reader: &mut Reader, node_id: NodeId, roles: Roles) -> Vec<Voter> {
    const KEY: &str = "controller.quorum.voters";
    let voters = reader.parsed(KEY, endpoint::VOTER_FORM, endpoint::voter);
    let ids: BTreeSet<NodeId> = voters.iter().map(|voter| voter.id).collect();
    if ids.len() < voters.len() {
        reader.conflict(KEY, "an id is named twice");
    }
    if voters.len() > kraft_model::limits::MAX_VOTERS {
        let most = kraft_model::limits::MAX_VOTERS;
        reader.conflict(KEY, format!("a quorum has at most {most} voters"));
    }
    if !voters.is_empty() && reader.is_given("node.id") {
        match (roles.controller, ids.contains(&node_id)) {
            (true, false) => reader.conflict(
                KEY,
                format!("node.id {node_id} is a controller and must be among the voters"),
            ),
            (false, true) if roles.broker => reader.conflict(
                KEY,
                format!("node.id {node_id} is a voter, but process.roles lacks 'controller'"),
            ),
            _ => {}
        }
    }
    voters
}

fn bootstrap_servers(reader: &mut Reader, voters: &[Voter]) -> Vec<(String, u16)> {
    const KEY: &str = "controller.quorum.bootstrap.servers";
    let named = |text: &str| endpoint::host_port(text).filter(|(host, _)| !host.is_empty());
    let servers = reader.parsed(KEY, endpoint::ADDRESS_FORM, named);
    let given = reader.is_given("controller.quorum.voters") || reader.is_given(KEY);
    if voters.is_empty() && servers.is_empty() && !given {
        let why = "say who the voters are (id@host:port, comma-separated), or where to ask with \
                   controller.quorum.bootstrap.servers";
        reader.missing("controller.quorum.voters", why);
    }
    servers
}

/// Combinations that Kafka refuses as well, and one that only invites trouble.
fn check_pairs(reader: &mut Reader) {
    if reader.millis("replica.fetch.wait.max.ms") > reader.millis("replica.lag.time.max.ms") {
        let why = "must not be above replica.lag.time.max.ms, or idle followers leave the ISR";
        reader.conflict("replica.fetch.wait.max.ms", why);
    }
    let heartbeat = reader.millis("broker.heartbeat.interval.ms");
    if heartbeat >= reader.millis("broker.session.timeout.ms") {
        let why = "must be below broker.session.timeout.ms, or every broker is fenced";
        reader.conflict("broker.heartbeat.interval.ms", why);
    } else if heartbeat * 2 > reader.millis("broker.session.timeout.ms") {
        let message = "above half of broker.session.timeout.ms: one late heartbeat fences a broker";
        reader.warn("broker.heartbeat.interval.ms", message);
    }
    if reader.number("group.min.session.timeout.ms") > reader.number("group.max.session.timeout.ms")
    {
        let why = "must not be above group.max.session.timeout.ms";
        reader.conflict("group.min.session.timeout.ms", why);
    }
    if reader.number("min.insync.replicas") > reader.number("default.replication.factor") {
        let message = "above default.replication.factor: of a topic that sets neither, the \
                       replication factor is what counts";
        reader.warn("min.insync.replicas", message);
    }
}

fn metrics_listener(reader: &mut Reader) -> Option<String> {
    const KEY: &str = "metrics.listener";
    let text = reader.text(KEY)?;
    match endpoint::host_port(&text) {
        None => reader.conflict(KEY, format!("expected {}", endpoint::ADDRESS_FORM)),
        Some((host, _)) if !endpoint::is_loopback(&host) && !reader.flag("allow.plaintext") => {
            reader.conflict(KEY, listeners::EXPOSED);
        }
        Some(_) => {}
    }
    Some(text)
}

fn trace(reader: &Reader) -> Option<TraceConfig> {
    let bytes = |key| u64::try_from(reader.number(key)).unwrap_or_default();
    reader.text("trace.dir").map(|dir| TraceConfig {
        dir: PathBuf::from(dir),
        segment_bytes: bytes("trace.segment.bytes"),
        max_bytes: bytes("trace.max.bytes"),
    })
}

fn controlled_shutdown_timeout(reader: &Reader) -> Duration {
    if reader.flag("controlled.shutdown.enable") {
        reader.millis("controlled.shutdown.timeout.ms")
    } else {
        Duration::ZERO
    }
}

fn flush(reader: &Reader) -> FlushPolicy {
    match reader.text("log.flush").as_deref() {
        Some("before-ack") => FlushPolicy::BeforeAck,
        _ => FlushPolicy::PageCache,
    }
}

fn worker_threads(reader: &Reader) -> usize {
    match reader.count("num.io.threads") {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    }
}

/// What a topic that says nothing has: the first broker key that was given, else its default.
fn topic_defaults(reader: &Reader) -> BTreeMap<String, String> {
    let default_of = |topic: &registry::TopicKey| {
        let given = topic.broker_keys.iter().find(|key| reader.is_given(key.name));
        match given {
            Some(key) if key.factor != 1 => match reader.number(key.name) {
                // -1 says "never" in every unit.
                negative if negative < 0 => negative.to_string(),
                number => number.saturating_mul(key.factor).to_string(),
            },
            Some(key) => reader.text(key.name).unwrap_or_default(),
            None => topic.default.to_owned(),
        }
    };
    registry::topic_keys().iter().map(|key| (key.name.to_owned(), default_of(key))).collect()
}
