//! Who may not be part of a cluster is told so, and so is the cluster.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Output;

use kraft_tests::wire::{self, Connection};
use kraft_tests::{Cluster, Layout, Node, binary, eventually};
use proto_kafka::messages::{ApiVersionsRequest, DescribeClusterRequest, MetadataRequest};
use proto_kafka::protocol::Request;

/// Changes a node's configuration before its start.
fn reconfigure(node: &Node, from: &str, to: &str) {
    let text = fs::read_to_string(node.config_path()).expect("its configuration");
    assert!(text.contains(from), "'{from}' is not in the configuration:\n{text}");
    fs::write(node.config_path(), text.replace(from, to)).expect("its configuration");
}

fn format(cluster: &Cluster, id: i32, cluster_id: &str) -> Output {
    let config = cluster.node(id).config_path();
    let config = config.to_str().expect("a path in UTF-8");
    let mut format =
        cluster.kraft(&["storage", "format", "--cluster-id", cluster_id, "--config", config]);
    format.output().expect("kraft runs")
}

/// Makes a node's directory anew, as its configuration and `cluster_id` now have it.
fn format_anew(cluster: &Cluster, id: i32, cluster_id: &str) {
    fs::remove_dir_all(cluster.node(id).data_dir()).expect("its directory");
    let output = format(cluster, id, cluster_id);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn start(cluster: &mut Cluster, ids: &[i32]) {
    ids.iter().for_each(|id| cluster.node_mut(*id).start());
    cluster.wait_until_ready();
}

/// Waits until one line of the node's log has all of these words in it.
fn wait_for_line(node: &Node, words: &[&str]) {
    eventually(&format!("node {} logs {words:?}", node.id), || {
        let log = node.log();
        log.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
    });
}

/// A value of a directory's `meta.properties`.
fn property(dir: &Path, key: &str) -> String {
    let text = fs::read_to_string(dir.join("meta.properties")).expect("a formatted directory");
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let mut found = lines.filter(|(name, _)| *name == key).map(|(_, value)| value.to_owned());
    found.next_back().expect("a key of every directory")
}

/// The connection ends without a byte of an answer.
fn assert_hung_up<R: Request>(controller: &Node, version: i16, request: &R) {
    let mut connection = Connection::open(controller.controller_address()).expect("a listener");
    let answer = connection.call(version, request).map(drop);
    let error = answer.expect_err("a controller answered a client");
    let hung_up = matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset);
    assert!(hung_up, "the controller should hang up, not: {error}");
}

#[test]
fn a_controllers_listener_hangs_up_on_clients_and_logs_why() {
    let cluster = Cluster::start(&Layout::split(1, 1));
    let controller = cluster.node(1);
    assert_hung_up(controller, 3, &ApiVersionsRequest::default());
    assert_hung_up(controller, 9, &MetadataRequest::default());
    assert_hung_up(controller, 0, &DescribeClusterRequest::default());
    wait_for_line(controller, &["CONTROLLER", "peer protocol only", "clients connect to"]);
    assert_eq!(wire::brokers(cluster.node(2).address()).expect("a broker answers").len(), 1);
}

#[test]
fn a_combined_nodes_controller_listener_serves_no_client_either() {
    let cluster = Cluster::start(&Layout::combined(1));
    assert_hung_up(cluster.node(1), 3, &ApiVersionsRequest::default());
    wait_for_line(cluster.node(1), &["CONTROLLER", "peer protocol only"]);
}

/// Whom a node's `quorum-state` says that it voted for, and in which epoch.
fn stored_vote(node: &Node) -> (i64, i64) {
    let path = node.data_dir().join("__cluster_metadata-0/quorum-state");
    let text = fs::read(&path).expect("every node of a running cluster has a quorum-state");
    let state: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let field = |name: &str| state[name].as_i64().expect("a number");
    (field("votedId"), field("leaderEpoch"))
}

#[test]
fn brokers_follow_elections_and_never_vote_even_when_a_majority_needs_votes() {
    let mut cluster = Cluster::start(&Layout::split(3, 3));
    for _ in 0..2 {
        let killed = eventually("a controller is active", || cluster.active_controller());
        cluster.node_mut(killed).kill();
        eventually("another one is elected", || {
            cluster.active_controller().filter(|active| *active != killed)
        });
        cluster.node_mut(killed).start();
    }
    let voted = cluster.controllers().iter().any(|id| stored_vote(cluster.node(*id)).0 >= 0);
    assert!(voted, "no controller has stored a vote, so the file does not show who votes");
    for id in cluster.brokers() {
        eventually("the broker follows the third leader", || {
            (stored_vote(cluster.node(id)).1 >= 3).then_some(())
        });
        assert_eq!(stored_vote(cluster.node(id)).0, -1, "broker {id} has voted");
    }
    // Three brokers and one controller of three: with the brokers' votes it would lead at once.
    [2, 3].iter().for_each(|id| cluster.node_mut(*id).kill());
    let led = times_led(cluster.node(1));
    let broker = cluster.node(4).address();
    let created = wire::create_topic(broker, "undecided", 1, 3, &[]);
    assert_ne!(created.ok(), Some(0), "metadata changed without a majority of the voters");
    assert_eq!(times_led(cluster.node(1)), led, "a minority of the voters has elected a leader");
}

/// How often a controller has become the active one.
fn times_led(controller: &Node) -> usize {
    controller.log().matches("the controller here is active").count()
}

#[test]
fn a_voter_that_runs_without_the_controller_role_is_refused_on_both_sides() {
    let mut cluster = Cluster::format(&Layout::split(3, 1));
    let impostor = cluster.node(4);
    // To the others 3 is a controller; this process says that it is broker 3.
    reconfigure(impostor, "node.id=4", "node.id=3");
    let third = format!(",3@127.0.0.1:{}", cluster.node(3).controller_port);
    reconfigure(impostor, &third, "");
    format_anew(&cluster, 4, &cluster.cluster_id);
    [1, 2, 4].iter().for_each(|id| cluster.node_mut(*id).start());
    for id in [1, 4] {
        wait_for_line(cluster.node(id), &["node.id 3", "voters", "no controller role"]);
    }
}

#[test]
fn a_node_of_another_cluster_is_refused_and_both_logs_name_both_cluster_ids() {
    let mut cluster = Cluster::format(&Layout::split(1, 2));
    let other = binary::random_uuid();
    format_anew(&cluster, 3, &other);
    start(&mut cluster, &[1, 2]);
    cluster.node_mut(3).start();
    for id in [1, 3] {
        wait_for_line(cluster.node(id), &["refused", "node 3", &cluster.cluster_id, &other]);
    }
    let listed = wire::brokers(cluster.node(2).address()).expect("an answer");
    assert_eq!(listed.len(), 1, "the stranger has become a broker");
}

#[test]
fn a_second_broker_with_a_used_id_is_refused_and_both_logs_name_both_directories() {
    let mut cluster = Cluster::format(&Layout::split(1, 2));
    reconfigure(cluster.node(3), "node.id=3", "node.id=2");
    format_anew(&cluster, 3, &cluster.cluster_id);
    start(&mut cluster, &[1, 2]);
    cluster.node_mut(3).start();
    let first = property(&cluster.node(2).data_dir(), "directory.id");
    let second = property(&cluster.node(3).data_dir(), "directory.id");
    for id in [1, 3] {
        wait_for_line(cluster.node(id), &["node.id 2 is in use", &first, &second]);
    }
    let code = wire::create_topic(cluster.node(2).address(), "t", 1, 1, &[]);
    assert_eq!(code.expect("the first broker serves as before"), 0);
    assert!(!cluster.node(3).log().contains("serves clients"), "the second one was let in");
}

#[test]
fn a_second_controller_with_a_used_id_is_refused_by_the_other_voters() {
    let mut cluster = Cluster::format(&Layout::split(3, 1));
    let (second, impostor) = (cluster.node(2), cluster.node(4));
    let config = fs::read_to_string(second.config_path()).expect("its configuration");
    let config = config
        .replace("/node-2/", "/node-4/")
        .replace(
            &format!("CONTROLLER://127.0.0.1:{}", second.controller_port),
            &format!("CONTROLLER://127.0.0.1:{}", impostor.controller_port),
        )
        .replace(&format!(":{}\n", second.metrics_port), &format!(":{}\n", impostor.metrics_port));
    fs::write(impostor.config_path(), config).expect("a configuration");
    format_anew(&cluster, 4, &cluster.cluster_id);
    [1, 2, 3].iter().for_each(|id| cluster.node_mut(*id).start());
    wait_for_line(cluster.node(1), &["link up", "peer=2"]);
    eventually("a controller is active", || cluster.active_controller());
    let first = property(&cluster.node(2).data_dir(), "directory.id");
    let second = property(&cluster.node(4).data_dir(), "directory.id");
    cluster.node_mut(4).start();
    for id in [1, 4] {
        wait_for_line(cluster.node(id), &["node.id 2 is in use", &first, &second]);
    }
}

#[test]
fn a_directory_of_apache_kafka_is_refused_by_node_and_format_and_left_as_it_is() {
    let mut cluster = Cluster::format(&Layout::split(1, 0));
    let meta = cluster.node(1).data_dir().join("meta.properties");
    let kafkas = format!(
        "#\n#Mon Jan 01 00:00:00 UTC 2024\nversion=1\ncluster.id={}\nnode.id=1\n\
         directory.id=TWtVM09FVkJOVGN3TlRKRQ\n",
        cluster.cluster_id
    );
    fs::remove_dir_all(cluster.node(1).data_dir()).expect("its directory");
    fs::create_dir(cluster.node(1).data_dir()).expect("a directory");
    fs::write(&meta, &kafkas).expect("a file");
    cluster.node_mut(1).start();
    let status = cluster.node_mut(1).wait_for_end();
    assert_eq!(status.code(), Some(1), "{}", cluster.node(1).log());
    let data = cluster.node(1).data_dir().display().to_string();
    wait_for_line(cluster.node(1), &[&data, "formatted by Apache Kafka", "another directory"]);

    let output = format(&cluster, 1, &cluster.cluster_id);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("formatted by Apache Kafka"), "{error}");
    assert_eq!(fs::read_to_string(&meta).expect("it is still there"), kafkas);
    let entries = fs::read_dir(cluster.node(1).data_dir()).expect("it is still there");
    assert_eq!(entries.count(), 1, "something was written into a foreign directory");
}

#[test]
fn a_node_with_another_nodes_directory_stops_and_names_both_ids() {
    let mut cluster = Cluster::format(&Layout::split(1, 1));
    reconfigure(cluster.node(2), "node.id=2", "node.id=7");
    cluster.node_mut(2).start();
    let status = cluster.node_mut(2).wait_for_end();
    assert_eq!(status.code(), Some(1), "{}", cluster.node(2).log());
    let data = cluster.node(2).data_dir().display().to_string();
    wait_for_line(cluster.node(2), &[&data, "belongs to node 2", "node.id=7"]);
}
