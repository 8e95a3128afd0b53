//! Clusters of real processes, each under the test's own control: no supervisor restarts anything.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::binary::{binary, random_uuid};
use crate::node::Node;
use crate::wait::eventually;
use crate::wire;

/// The folder of a cluster's traces.
const TRACES: &str = "traces";

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Layout {
    pub controllers: i32,
    pub brokers: i32,
    /// Nodes that are both; used instead of the two above if not 0.
    pub combined: i32,
    /// Controllers that are formatted to join later, behind all others. Their quorum and that of
    /// `controllers` is a dynamic one.
    pub spares: Option<i32>,
    /// Settings for every node.
    pub settings: Vec<(String, String)>,
    pub is_traced: bool,
}

impl Layout {
    pub fn split(controllers: i32, brokers: i32) -> Layout {
        Layout {
            controllers,
            brokers,
            combined: 0,
            spares: None,
            settings: Vec::new(),
            is_traced: false,
        }
    }

    pub fn combined(nodes: i32) -> Layout {
        Layout { combined: nodes, ..Layout::split(0, 0) }
    }

    /// A dynamic quorum, with controllers that can join it.
    pub fn dynamic(controllers: i32, brokers: i32, spares: i32) -> Layout {
        Layout { spares: Some(spares), ..Layout::split(controllers, brokers) }
    }

    /// Every node records what its machines do; see [`Cluster::assert_traces_replay`].
    #[must_use]
    pub fn traced(mut self) -> Layout {
        self.is_traced = true;
        self
    }

    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Layout {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    fn roles(&self) -> Vec<(i32, bool, bool)> {
        if self.combined > 0 {
            return (1..=self.combined).map(|id| (id, true, true)).collect();
        }
        let controllers = (1..=self.controllers).map(|id| (id, true, false));
        let brokers = (1..=self.brokers).map(|id| (self.controllers + id, false, true));
        let first_spare = self.controllers + self.brokers + 1;
        let spares = first_spare..first_spare + self.spares.unwrap_or(0);
        controllers.chain(brokers).chain(spares.map(|id| (id, true, false))).collect()
    }

    fn is_spare(&self, id: i32) -> bool {
        self.spares.is_some() && id > self.controllers + self.brokers
    }
}

/// A running cluster. Dropping it kills every process that it started.
#[derive(Debug)]
pub struct Cluster {
    pub dir: tempfile::TempDir,
    pub cluster_id: String,
    nodes: BTreeMap<i32, Node>,
}

/// Ports that were free a moment ago: below those that the kernel gives to outgoing connections, which
/// could take one before its node does, and none twice in a process.
pub fn free_ports(count: usize) -> Vec<u16> {
    const FIRST: u32 = 10_240;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(7_919);
    let next = || FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let ports = std::iter::repeat_with(|| next() as u16).take(COUNT as usize);
    let found: Vec<u16> = ports.filter(is_free).take(count).collect();
    assert_eq!(found.len(), count, "enough free ports");
    found
}

impl Cluster {
    /// Formats and starts a cluster, spares aside, and waits until every broker serves clients.
    pub fn start(layout: &Layout) -> Cluster {
        let mut cluster = Cluster::format(layout);
        let all = cluster.nodes.keys().copied();
        let ids: Vec<i32> = all.filter(|&id| !layout.is_spare(id)).collect();
        ids.iter().for_each(|id| cluster.node_mut(*id).start());
        cluster.wait_until_ready();
        cluster
    }

    /// Writes configurations and formats directories; starts nothing.
    pub fn format(layout: &Layout) -> Cluster {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let roles = layout.roles();
        let ports = free_ports(roles.len() * 3);
        let cluster_id = random_uuid();
        let mut nodes = BTreeMap::new();
        for (index, &(id, is_controller, is_broker)) in roles.iter().enumerate() {
            let node = Node {
                id,
                is_controller,
                is_broker,
                dir: dir.path().join(format!("node-{id}")),
                client_port: ports[index * 3],
                controller_port: ports[index * 3 + 1],
                metrics_port: ports[index * 3 + 2],
                process: None,
            };
            fs::create_dir_all(&node.dir).expect("a node's directory");
            nodes.insert(id, node);
        }
        let voters: Vec<&Node> =
            nodes.values().filter(|node| node.is_controller && !layout.is_spare(node.id)).collect();
        let join = |words: Vec<String>| words.join(",");
        let quorum = match layout.spares {
            None => {
                let voter = |node: &&Node| format!("{}@{}", node.id, node.controller_address());
                format!("voters={}", join(voters.iter().map(voter).collect()))
            }
            Some(_) => {
                let server = |node: &&Node| node.controller_address().to_string();
                format!("bootstrap.servers={}", join(voters.iter().map(server).collect()))
            }
        };
        let first =
            |node: &&Node| format!("{}@{}:{}", node.id, node.controller_address(), random_uuid());
        let first = layout.spares.map(|_| join(voters.iter().map(first).collect()));
        let mut settings = layout.settings.clone();
        if layout.is_traced {
            let traces = dir.path().join(TRACES).display().to_string();
            settings.push(("trace.dir".to_owned(), traces));
        }
        for node in nodes.values() {
            node.write_config(&quorum, &settings);
            match &first {
                Some(_) if layout.is_spare(node.id) => {
                    node.format(&cluster_id, &["--no-initial-controllers"]);
                }
                Some(first) if node.is_controller => {
                    node.format(&cluster_id, &["--initial-controllers", first]);
                }
                _ => node.format(&cluster_id, &[]),
            }
        }
        Cluster { dir, cluster_id, nodes }
    }

    pub fn node(&self, id: i32) -> &Node {
        &self.nodes[&id]
    }

    pub fn node_mut(&mut self, id: i32) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node of this cluster")
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    pub fn brokers(&self) -> Vec<i32> {
        self.nodes.values().filter(|node| node.is_broker).map(|node| node.id).collect()
    }

    pub fn controllers(&self) -> Vec<i32> {
        self.nodes.values().filter(|node| node.is_controller).map(|node| node.id).collect()
    }

    /// `host:port,...` of every broker.
    pub fn bootstrap(&self) -> String {
        let brokers = self.nodes.values().filter(|node| node.is_broker);
        brokers.map(|node| node.address().to_string()).collect::<Vec<_>>().join(",")
    }

    /// Runs the command line against this cluster.
    pub fn kraft(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// Every running broker lists every running broker.
    pub fn wait_until_ready(&mut self) {
        let running: Vec<(i32, SocketAddr)> = self
            .nodes
            .values()
            .filter(|node| node.is_broker && node.process.is_some())
            .map(|node| (node.id, node.address()))
            .collect();
        for &(id, address) in &running {
            eventually(&format!("broker {id} lists {} brokers", running.len()), || {
                self.assert_alive();
                let listed = wire::brokers(address).ok()?;
                (listed.len() >= running.len()).then_some(())
            });
        }
    }

    /// Where the nodes of a traced cluster record.
    pub fn traces(&self) -> PathBuf {
        self.dir.path().join(TRACES)
    }

    /// What all machines of all nodes did, run again through the same functions, comes to the same.
    /// Hands over what `kraft trace replay` reports.
    pub fn assert_traces_replay(&self) -> serde_json::Value {
        let replay = ["trace", "replay", TRACES, "--output", "json"];
        let output = self.kraft(&replay).output().expect("kraft runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "a trace does not replay: {text}\n{error}");
        if let Some(keep) = std::env::var_os("KRAFT_TEST_KEEP_TRACES") {
            self.keep_traces(Path::new(&keep));
        }
        serde_json::from_str(&text).expect("a report")
    }

    /// Copies the traces to where they can be held against the specifications (`tla/validate*.py`).
    fn keep_traces(&self, keep: &Path) {
        fs::create_dir_all(keep).expect("a directory for traces");
        for entry in fs::read_dir(self.traces()).expect("traces") {
            let from = entry.expect("a readable entry").path();
            fs::copy(&from, keep.join(from.file_name().expect("a file"))).expect("a copy");
        }
    }

    /// No process that should run has ended.
    fn assert_alive(&mut self) {
        for node in self.nodes.values_mut() {
            if let Some(status) = node.ended() {
                panic!("node {} ended by itself: {status}\n{}", node.id, node.log_tail());
            }
        }
    }

    /// The active controller, as `kraft quorum status` finds it.
    pub fn active_controller(&self) -> Option<i32> {
        let controllers: Vec<String> = self
            .nodes
            .values()
            .filter(|node| node.is_controller && node.process.is_some())
            .map(|node| format!("127.0.0.1:{}", node.controller_port))
            .collect();
        let output = self
            .kraft(&["quorum", "status", "--output", "json", "--bootstrap-controller"])
            .arg(controllers.join(","))
            .output()
            .ok()?;
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        status["leader"].as_i64().and_then(|id| i32::try_from(id).ok()).filter(|id| *id >= 0)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in self.nodes.values() {
                eprintln!("---- node {}\n{}", node.id, node.log_tail());
            }
        }
        for node in self.nodes.values_mut() {
            node.kill();
        }
    }
}
