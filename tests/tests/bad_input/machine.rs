//! Ports, locks and permissions that are not as a node needs them.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use kraft_tests::{Cluster, Layout, binary};

use crate::{config, configure, refuses_to_start};

/// Nobody's user id: without root's leave to write anywhere.
const NOBODY: u32 = 65_534;

#[test]
fn a_port_in_use_is_named_with_the_listener_that_wanted_it() {
    let mut cluster = Cluster::format(&Layout::combined(1));
    let node = cluster.node_mut(1);
    for (listener, port) in [
        ("PLAINTEXT", node.client_port),
        ("CONTROLLER", node.controller_port),
        ("metrics.listener", node.metrics_port),
    ] {
        let taken = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let said = refuses_to_start(node);
        let expected = format!("listener {listener} cannot bind 127.0.0.1:{port}");
        assert!(said.contains(&expected), "'{expected}' is not in:\n{said}");
        assert!(said.contains("Address already in use"), "{said}");
        drop(taken);
    }
    node.start();
    cluster.wait_until_ready();
}

#[test]
fn a_directory_that_another_process_holds_is_refused_and_the_process_is_named() {
    let mut cluster = Cluster::format(&Layout::split(1, 1));
    [1, 2].iter().for_each(|id| cluster.node_mut(*id).start());
    cluster.wait_until_ready();
    let pid = cluster.node(1).pid().expect("it runs");
    // The second node is given the first one's whole configuration, but other ports.
    let (first, second) = (cluster.node(1), cluster.node(2));
    let ports =
        [(first.controller_port, second.controller_port), (first.metrics_port, second.client_port)];
    let mut text = config(first);
    for (from, to) in ports {
        text = text.replace(&format!(":{from}"), &format!(":{to}"));
    }
    let held = first.data_dir().display().to_string();
    cluster.node_mut(2).kill();
    configure(cluster.node(2), &text);
    let said = refuses_to_start(cluster.node_mut(2));
    let expected = format!("{held} is in use by process {pid}");
    assert!(said.contains(&expected), "'{expected}' is not in:\n{said}");
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_by_name() {
    let cluster = Cluster::format(&Layout::split(1, 0));
    let node = cluster.node(1);
    let (data, lock) = (node.data_dir(), node.data_dir().join(".lock"));
    fs::set_permissions(&data, Permissions::from_mode(0o555)).expect("it is ours");
    fs::set_permissions(&lock, Permissions::from_mode(0o444)).expect("it is ours");
    let mut command = Command::new(binary::binary());
    if rustix::process::geteuid().is_root() {
        // Root may write anywhere, so the node runs as somebody else, from where he can read.
        let copy = cluster.dir.path().join("kraft");
        fs::copy(binary::binary(), &copy).expect("room for a copy");
        fs::set_permissions(cluster.dir.path(), Permissions::from_mode(0o755)).expect("ours");
        command = Command::new(copy);
        command.uid(NOBODY);
    }
    command.args(["node", "--config"]).arg(node.config_path());
    let output = command.output().expect("kraft runs");
    fs::set_permissions(&data, Permissions::from_mode(0o755)).expect("it is ours");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let expected = format!("{} is not writable", data.display());
    assert!(said.contains(&expected), "'{expected}' is not in:\n{said}");
    assert!(said.contains("Permission denied"), "the cause is missing:\n{said}");
}
