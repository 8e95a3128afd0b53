//! `cluster.json` and the paths beside it.

use std::io;
use std::path::{Path, PathBuf};

use kraft_model::{NodeId, ReplicaKey};
use kraft_node::storage::{VoterEndpoint, VoterNode};
use serde::{Deserialize, Serialize};

use super::create::Shape;
use super::ports::controller_base;
use crate::report::{Context, Failure};

const FILE: &str = "cluster.json";
const VERSION: u32 = 1;

/// Who there is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cluster {
    pub version: u32,
    pub cluster_id: String,
    /// Controllers first.
    pub nodes: Vec<Node>,
}

/// A node: a controller, a broker, or both.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Node {
    pub id: i32,
    pub directory_id: String,
    pub controller_port: Option<u16>,
    pub broker_port: Option<u16>,
}

impl Cluster {
    pub fn new(cluster_id: String, nodes: Vec<Node>) -> Cluster {
        Cluster { version: VERSION, cluster_id, nodes }
    }

    /// `None` if there is no cluster in `dir`.
    pub fn load_if_any(dir: &Path) -> Result<Option<Cluster>, Failure> {
        let path = dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).doing(|| format!("cannot read {}", path.display()));
            }
        };
        let cluster: Cluster = serde_json::from_str(&text).map_err(|error| {
            Failure::new(format!("cannot read {}", path.display())).because(error)
        })?;
        if cluster.version != VERSION {
            return Err(Failure::new(format!("cannot use {}", path.display()))
                .because(format!("its version is {}, this kraft knows {VERSION}", cluster.version))
                .next("use the kraft that made it"));
        }
        Ok(Some(cluster))
    }

    pub fn load(dir: &Path) -> Result<Cluster, Failure> {
        Cluster::load_if_any(dir)?.ok_or_else(|| {
            Failure::new(format!("there is no cluster in '{}'", dir.display()))
                .next("start one with 'kraft up', or name its directory with --dir")
        })
    }

    pub fn save(&self, dir: &Path) -> Result<(), Failure> {
        write_json(&dir.join(FILE), self)
    }

    pub fn node(&self, id: i32) -> Result<&Node, Failure> {
        self.nodes.iter().find(|node| node.id == id).ok_or_else(|| {
            let ids: Vec<_> = self.nodes.iter().map(|node| node.id).collect();
            Failure::usage(format!("the cluster has no node {id}"))
                .next(format!("its nodes are {}", crate::output::list(&ids)))
        })
    }

    pub fn brokers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.broker_port.is_some())
    }

    pub fn shape(&self) -> Shape {
        let brokers = self.brokers().count();
        let controllers = self.nodes.iter().filter(|node| node.controller_port.is_some()).count();
        if brokers == self.nodes.len() && controllers == brokers {
            Shape::Combined(brokers)
        } else {
            Shape::Separate { controllers, brokers }
        }
    }

    /// Whether the first broker listens at `port`; without brokers, whether controllers listen
    /// where they would beside it.
    pub fn begins_at(&self, port: u16) -> bool {
        match self.brokers().next() {
            Some(first) => first.broker_port == Some(port),
            None => self.moved_ports(port).is_empty(),
        }
    }

    /// What listens elsewhere than in a cluster whose first broker's port is `first`: the port of
    /// that cluster, and the one here.
    pub fn moved_ports(&self, first: u16) -> Vec<(u16, u16)> {
        let brokers = self.brokers().filter_map(|node| node.broker_port);
        let controllers = self.nodes.iter().filter_map(|node| node.controller_port);
        let wanted_and_found =
            (first..).zip(brokers).chain((controller_base(first)..).zip(controllers));
        wanted_and_found.filter(|(wanted, found)| wanted != found).collect()
    }

    /// Every broker's address.
    pub fn bootstrap(&self) -> Vec<String> {
        let ports = self.brokers().filter_map(|node| node.broker_port);
        ports.map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// Every controller's address.
    pub fn controllers(&self) -> Vec<String> {
        let ports = self.nodes.iter().filter_map(|node| node.controller_port);
        ports.map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// Whom the quorum is formatted with; who votes later the quorum knows itself.
    pub fn voters(&self) -> Result<Vec<VoterNode>, Failure> {
        let voter = |node: &Node| {
            let port = node.controller_port?;
            let (name, host) = ("CONTROLLER".to_owned(), "127.0.0.1".to_owned());
            let directory = node.directory_id.parse().map_err(|error| {
                Failure::new("the cluster's description cannot be used").because(error)
            });
            Some(directory.map(|directory| VoterNode {
                key: ReplicaKey { id: NodeId(node.id), directory },
                endpoints: vec![VoterEndpoint { name, host, port }],
            }))
        };
        self.nodes.iter().filter_map(voter).collect()
    }
}

impl Node {
    /// `process.roles`.
    pub fn roles(&self) -> &'static str {
        match (self.controller_port, self.broker_port) {
            (Some(_), Some(_)) => "broker,controller",
            (Some(_), None) => "controller",
            _ => "broker",
        }
    }

    /// `listeners`.
    pub fn listeners(&self) -> String {
        let broker = self.broker_port.map(|port| format!("PLAINTEXT://127.0.0.1:{port}"));
        let controller = self.controller_port.map(|port| format!("CONTROLLER://127.0.0.1:{port}"));
        broker.into_iter().chain(controller).collect::<Vec<_>>().join(",")
    }

    pub fn dir(&self, cluster: &Path) -> PathBuf {
        cluster.join(format!("node-{}", self.id))
    }

    pub fn config(&self, cluster: &Path) -> PathBuf {
        self.dir(cluster).join("node.properties")
    }

    pub fn log(&self, cluster: &Path) -> PathBuf {
        self.dir(cluster).join("node.log")
    }

    pub fn data(&self, cluster: &Path) -> PathBuf {
        self.dir(cluster).join("data")
    }
}

/// The brokers of the cluster in `dir`, if there is one.
pub fn bootstrap_of(dir: &Path) -> Result<Option<Vec<String>>, Failure> {
    Ok(Cluster::load_if_any(dir)?.map(|cluster| cluster.bootstrap()))
}

/// Replaces a file as a whole: a reader sees the old one or the new one.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let failed = || format!("cannot write {}", path.display());
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(failed()).because(error))?;
    let new = path.with_extension(format!("{}.new", std::process::id()));
    std::fs::write(&new, text + "\n").doing(failed)?;
    std::fs::rename(&new, path).doing(failed)
}
