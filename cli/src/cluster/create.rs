//! Making a cluster: ids, ports, one directory per node.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::layout::{Cluster, Node};
use super::ports::{self, Ports};
use crate::ids::random_id;
use crate::report::{Context, Failure};
use crate::storage;

/// How many of what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Ids 1 to C are controllers, the ids after them brokers.
    Separate { controllers: usize, brokers: usize },
    /// Every node is both.
    Combined(usize),
}

/// Formats `dir`, which must be empty or absent. `port` is the first broker's; `None` means the
/// default, or whatever is free; 0 means whatever is free. `settings` go into every node's
/// configuration.
pub fn create(
    dir: &Path,
    shape: Shape,
    port: Option<u16>,
    settings: &[(String, String)],
) -> Result<Cluster, Failure> {
    let dir = prepare(dir)?;
    let (controllers, brokers) = match shape {
        Shape::Separate { controllers, brokers } => (controllers, brokers),
        Shape::Combined(nodes) => (nodes, nodes),
    };
    let (broker_ports, controller_ports) = choose_ports(port, brokers, controllers)?;
    let nodes = match shape {
        Shape::Combined(_) => {
            let pairs = controller_ports.into_iter().zip(broker_ports);
            numbered(pairs.map(|(controller, broker)| (Some(controller), Some(broker))))
        }
        Shape::Separate { .. } => {
            let controllers = controller_ports.into_iter().map(|port| (Some(port), None));
            numbered(controllers.chain(broker_ports.into_iter().map(|port| (None, Some(port)))))
        }
    };
    let cluster = Cluster::new(random_id(), nodes);
    for node in &cluster.nodes {
        make_node(&dir, &cluster, node, settings)?;
    }
    // Last: without it, a directory that was made only in part is never taken for a cluster.
    cluster.save(&dir)?;
    Ok(cluster)
}

fn numbered(ports: impl Iterator<Item = (Option<u16>, Option<u16>)>) -> Vec<Node> {
    let node = |(id, (controller_port, broker_port))| Node {
        id,
        directory_id: random_id(),
        controller_port,
        broker_port,
    };
    (1..).zip(ports).map(node).collect()
}

fn choose_ports(
    port: Option<u16>,
    brokers: usize,
    controllers: usize,
) -> Result<(Vec<u16>, Vec<u16>), Failure> {
    let mut ports = Ports::default();
    if port == Some(0) {
        return Ok((ports.take_any(brokers)?, ports.take_any(controllers)?));
    }
    let first = port.unwrap_or(ports::DEFAULT_BROKER);
    let brokers = ports.take(first, brokers, port.is_some())?;
    // Controllers' ports were asked for by nobody: they may always be others.
    let controllers = ports.take(ports::controller_base(first), controllers, false)?;
    Ok((brokers, controllers))
}

/// Refuses a directory that holds anything: it may be somebody's data.
fn prepare(dir: &Path) -> Result<PathBuf, Failure> {
    let failed = || format!("cannot make a cluster in '{}'", dir.display());
    match std::fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(Failure::new(failed())
                    .because("the directory is not empty and holds no cluster of kraft")
                    .next("empty it yourself if nothing in it is needed, or name another --dir"));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(dir).doing(failed)?;
        }
        Err(error) => return Err(error).doing(failed),
    }
    std::fs::canonicalize(dir).doing(failed)
}

fn make_node(
    dir: &Path,
    cluster: &Cluster,
    node: &Node,
    settings: &[(String, String)],
) -> Result<(), Failure> {
    let data = node.data(dir);
    std::fs::create_dir_all(&data).doing(|| format!("cannot create {}", data.display()))?;
    let identity = storage::Identity {
        cluster_id: cluster.cluster_id.clone(),
        node_id: node.id,
        directory_id: node.directory_id.clone(),
    };
    let voters = if node.controller_port.is_some() { cluster.voters()? } else { Vec::new() };
    storage::format(&data, &identity, &voters)?;
    let path = node.config(dir);
    let properties = properties(dir, cluster, node, settings);
    std::fs::write(&path, properties).doing(|| format!("cannot write {}", path.display()))
}

/// A node's configuration in Kafka's own words.
fn properties(dir: &Path, cluster: &Cluster, node: &Node, settings: &[(String, String)]) -> String {
    let brokers = cluster.brokers().count();
    let replication = brokers.clamp(1, 3);
    let mut keys: Vec<(String, String)> = [
        ("process.roles", node.roles().to_owned()),
        ("node.id", node.id.to_string()),
        ("controller.quorum.bootstrap.servers", cluster.controllers().join(",")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("listeners", node.listeners()),
        ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned()),
        ("log.dirs", node.data(dir).display().to_string()),
        ("default.replication.factor", replication.to_string()),
        ("offsets.topic.replication.factor", replication.to_string()),
        // Two of three: a record that was acknowledged outlives any one broker.
        ("min.insync.replicas", replication.saturating_sub(1).max(1).to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    if node.broker_port.is_some() {
        keys.push(("inter.broker.listener.name".to_owned(), "PLAINTEXT".to_owned()));
    }
    for (key, value) in settings {
        keys.retain(|(known, _)| known != key);
        keys.push((key.clone(), value.clone()));
    }
    keys.iter().fold(String::new(), |mut text, (key, value)| {
        // Writing to a String cannot fail. A backslash would be an escape.
        let _ = writeln!(text, "{key}={}", value.replace('\\', "\\\\"));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(dir: &Path, shape: Shape) -> Result<Cluster, Failure> {
        create(dir, shape, Some(0), &[("log.flush".to_owned(), "before-ack".to_owned())])
    }

    #[test]
    fn controllers_come_first_and_every_node_gets_its_own_files() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let cluster = make(dir.path(), Shape::Separate { controllers: 3, brokers: 2 });
        let cluster = cluster.expect("the directory is empty");
        let roles: Vec<_> = cluster.nodes.iter().map(|node| (node.id, node.roles())).collect();
        let expected =
            [(1, "controller"), (2, "controller"), (3, "controller"), (4, "broker"), (5, "broker")];
        assert_eq!(roles, expected);
        assert_eq!(Cluster::load(dir.path()).expect("it was saved"), cluster);
        let config = std::fs::read_to_string(cluster.nodes[3].config(dir.path()));
        let config = config.expect("every node has a configuration");
        assert!(config.contains("log.flush=before-ack\n"));
        let controllers = cluster.controllers().join(",");
        assert!(config.contains(&format!("controller.quorum.bootstrap.servers={controllers}\n")));
        let bootstrap = "__cluster_metadata-0/00000000000000000000-0000000000.checkpoint";
        let knows_voters = |node: &Node| node.data(dir.path()).join(bootstrap).exists();
        let knowing: Vec<_> = cluster.nodes.iter().map(knows_voters).collect();
        assert_eq!(knowing, [true, true, true, false, false], "controllers begin with the voters");
        assert!(cluster.nodes[3].data(dir.path()).join("meta.properties").exists());
    }

    #[test]
    fn a_combined_node_is_both() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let cluster = make(dir.path(), Shape::Combined(1)).expect("the directory is empty");
        assert_eq!(cluster.nodes.len(), 1);
        assert_eq!(cluster.nodes[0].roles(), "broker,controller");
    }

    #[test]
    fn a_directory_that_holds_anything_is_not_touched() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        std::fs::write(dir.path().join("mine"), "data").expect("the directory is writable");
        let failure = make(dir.path(), Shape::Combined(1)).expect_err("it is not empty");
        assert!(failure.to_string().contains("not empty"));
        let left = std::fs::read_dir(dir.path()).expect("it is still there").count();
        assert_eq!(left, 1);
    }
}
