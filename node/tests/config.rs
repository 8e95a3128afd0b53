//! Configuration as an operator meets it: layers, Kafka's files, and errors that say what is right.

use std::path::Path;
use std::time::Duration;

use kraft_model::NodeId;
use kraft_node::config::{ConfigErrors, FlushPolicy, NodeConfig, Sources, Warning};

const BASE: &[&str] = &[
    "process.roles=broker,controller",
    "node.id=1",
    "log.dirs=/data",
    "listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
    "controller.listener.names=CONTROLLER",
    "controller.quorum.voters=1@localhost:9093",
];

fn load(set: &[&str]) -> Result<(NodeConfig, Vec<Warning>), ConfigErrors> {
    let set = BASE.iter().chain(set).map(|&pair| pair.to_owned()).collect();
    NodeConfig::load(&Sources { set, ..Sources::default() })
}

/// The one error that these settings, on top of a sound node's, are refused with.
fn refused(set: &[&str]) -> String {
    let errors = load(set).expect_err("must be refused").0;
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors[0].to_string()
}

fn file(directory: &Path, name: &str, text: &str) -> Sources {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("a scratch file");
    Sources { file: Some(path), ..Sources::default() }
}

#[test]
fn a_later_layer_overrides_an_earlier_one() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let text = format!("{}\nnum.partitions=2\nlog.flush=before-ack\n", BASE.join("\n"));
    let mut sources = file(directory.path(), "server.properties", &text);
    let partitions = |sources: &Sources| NodeConfig::load(sources).expect("sound").0.num_partitions;
    assert_eq!(partitions(&sources), 2);
    sources.environment = vec![
        ("KRAFT_NUM_PARTITIONS".to_owned(), "3".to_owned()),
        ("KRAFT_LOG".to_owned(), "debug".to_owned()),
        ("HOME".to_owned(), "/".to_owned()),
    ];
    assert_eq!(partitions(&sources), 3);
    sources.set = vec!["num.partitions=4".to_owned()];
    assert_eq!(partitions(&sources), 4);
    let config = NodeConfig::load(&sources).expect("sound").0;
    assert_eq!(config.flush, FlushPolicy::BeforeAck);
    assert_eq!(config.broker_session_timeout, Duration::from_secs(9));
    assert_eq!(config.value("num.partitions"), Some("4"));
    assert_eq!(config.number("group.initial.rebalance.delay.ms"), Some(3000));
}

#[test]
fn the_file_that_comes_with_kafka_works_as_it_is() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let text = "
        process.roles=broker,controller
        node.id=1
        controller.quorum.bootstrap.servers=localhost:9093
        listeners=PLAINTEXT://:9092,CONTROLLER://:9093
        inter.broker.listener.name=PLAINTEXT
        advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
        controller.listener.names=CONTROLLER
        listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL
        num.network.threads=3
        num.io.threads=8
        socket.send.buffer.bytes=102400
        log.dirs=/tmp/kraft-combined-logs
        num.partitions=1
        offsets.topic.replication.factor=1
        share.coordinator.state.topic.replication.factor=1
        transaction.state.log.min.isr=1
        log.retention.hours=168";
    let sources = file(directory.path(), "server.properties", text);
    let (config, warnings) = NodeConfig::load(&sources).expect("a sound file");
    assert_eq!(config.worker_threads, 8);
    assert_eq!(config.bootstrap_servers, [("localhost".to_owned(), 9093)]);
    assert!(config.listeners.iter().all(|listener| listener.host == "127.0.0.1"));
    assert_eq!(config.topic_defaults["retention.ms"], "604800000");
    let missing = warnings.iter().find(|warning| warning.key == "num.network.threads");
    assert!(missing.is_some_and(|warning| warning.origin.ends_with("server.properties:10")));
    assert_eq!(warnings.len(), 6, "{warnings:?}");
}

#[test]
fn toml_nests_what_properties_dot() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let text = r#"
        process.roles = ["broker", "controller"]
        log.dirs = "/data"
        listeners = "PLAINTEXT://[::1]:9092,CONTROLLER://[::1]:9093"
        [node]
        id = 7
        [controller]
        listener.names = "CONTROLLER"
        quorum.voters = "7@[::1]:9093"
        quorum.fetch.timeout.ms = 500
    "#;
    let (config, _) =
        NodeConfig::load(&file(directory.path(), "node.toml", text)).expect("a sound file");
    assert_eq!(config.node_id, NodeId(7));
    assert_eq!(config.listeners[0].host, "::1");
    assert_eq!(config.voters[0].host, "::1");
    assert_eq!(config.quorum_fetch_timeout, Duration::from_millis(500));
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let text = "process.roles=broker\nnodeid=3\nnum.partitions=none\nlisteners=localhost:9092\n";
    let mut sources = file(directory.path(), "server.properties", text);
    sources.set = vec!["broken".to_owned()];
    let report = NodeConfig::load(&sources).expect_err("much is wrong").to_string();
    for expected in [
        "server.properties:2: neither Kafka nor kraft has a key 'nodeid'; did you mean 'node.id'?",
        "server.properties:3: num.partitions=none: expected a whole number from 1 to 2147483647",
        "server.properties:4: listeners=localhost:9092: expected NAME://host:port",
        "node.id is missing",
        "log.dirs is missing",
        "controller.listener.names is missing",
        "controller.quorum.voters is missing",
        "--set broken: expected key=value",
    ] {
        assert!(report.contains(expected), "no '{expected}' in:\n{report}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_cause() {
    let sources = Sources { file: Some("/nowhere/at.all".into()), ..Sources::default() };
    let report = NodeConfig::load(&sources).expect_err("no such file").to_string();
    assert!(report.contains("cannot read /nowhere/at.all: "), "{report}");
}

#[test]
fn listeners_stay_on_loopback_unless_plaintext_is_allowed() {
    let open = "listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://localhost:9093";
    assert!(refused(&[open]).contains("--allow-plaintext"));
    assert!(refused(&["metrics.listener=10.1.2.3:8080"]).contains("--allow-plaintext"));
    let (config, warnings) = load(&[open, "allow.plaintext=true"]).expect("allowed");
    assert_eq!(config.listeners[0].host, "0.0.0.0");
    assert_eq!(config.advertised_listeners[0].host, "localhost");
    assert!(warnings.iter().any(|warning| warning.key == "advertised.listeners"));
}

#[test]
fn impossible_combinations_say_what_would_be_right() {
    let cases: &[(&[&str], &str)] = &[
        (&["controller.quorum.voters=2@localhost:9093"], "must be among the voters"),
        (&["process.roles=controller"], "PLAINTEXT is not among controller.listener.names"),
        (&["listeners=PLAINTEXT://localhost:9092"], "must bind one of its listeners (CONTROLLER)"),
        (&["listeners=CONTROLLER://localhost:9093"], "a broker needs a listener"),
        (&["inter.broker.listener.name=CONTROLLER"], "is the controllers' listener"),
        (&["inter.broker.listener.name=INTERNAL"], "advertised listeners (PLAINTEXT)"),
        (
            &[
                "advertised.listeners=OTHER://h:1",
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,OTHER:PLAINTEXT",
                "inter.broker.listener.name=OTHER",
            ],
            "OTHER is not among listeners",
        ),
        (&["listener.security.protocol.map=PLAINTEXT:SSL,CONTROLLER:PLAINTEXT"], "only PLAINTEXT"),
        (&["broker.heartbeat.interval.ms=9000"], "must be below broker.session.timeout.ms"),
        (&["replica.fetch.wait.max.ms=40000"], "replica.lag.time.max.ms"),
        (&["log.dirs=/a,/a"], "named twice"),
        (&["controller.quorum.voters=1@a:1,1@b:1"], "named twice"),
        (&["controller.quorum.voters=1@a"], "id@host:port"),
    ];
    for (set, expected) in cases {
        // A wrong voter list is no list at all: further complaints about it are beside the point.
        let report = load(set).expect_err("must be refused").to_string();
        assert!(report.contains(expected), "no '{expected}' in:\n{report}");
    }
}

#[test]
fn a_topics_default_comes_from_the_finest_broker_key_that_is_given() {
    let retention =
        |set: &[&str]| load(set).expect("sound").0.topic_defaults["retention.ms"].clone();
    assert_eq!(retention(&[]), "604800000");
    assert_eq!(retention(&["log.retention.hours=1"]), "3600000");
    assert_eq!(retention(&["log.retention.hours=1", "log.retention.minutes=2"]), "120000");
    assert_eq!(retention(&["log.retention.hours=1", "log.retention.ms=5"]), "5");
    assert_eq!(retention(&["log.retention.hours=-1"]), "-1");
}

#[test]
fn a_node_on_loopback_needs_no_more_than_an_id_and_a_directory() {
    let config = NodeConfig::on_loopback(NodeId(2), Path::new("/data"), &[("open.files", "64")])
        .expect("sound");
    assert!(config.roles.broker && config.roles.controller);
    assert_eq!(config.open_files, 64);
    assert_eq!(config.metadata_log_dir, Path::new("/data"));
    assert!(NodeConfig::on_loopback(NodeId(2), Path::new("/d"), &[("opn.files", "1")]).is_err());
}
