//! What real processes did under faults, run again through the same functions.

#[path = "traces/flushed.rs"]
mod flushed;
#[path = "traces/operator.rs"]
mod operator;
#[path = "traces/voters.rs"]
mod voters;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kraft_tests::load::{Load, assert_nothing_lost, read_all};
use kraft_tests::producer::{Producer, batch};
use kraft_tests::wire::Connection;
use kraft_tests::{Cluster, Layout, Proxy, binary, cluster, eventually, wire};

fn kraft(arguments: &[&str], path: &Path, input: &str) -> Output {
    let mut child = Command::new(binary::binary())
        .args(arguments)
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kraft starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command that reads nothing may have ended.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("kraft ends")
}

fn stdout(arguments: &[&str], path: &Path, input: &str) -> String {
    let output = kraft(arguments, path, input);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kraft {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn partition(asked: &[SocketAddr]) -> Option<wire::Partition> {
    asked.iter().find_map(|address| {
        wire::describe(*address, "t").ok()?.into_iter().next().filter(|it| it.leader >= 0)
    })
}

fn wait_for_isr(asked: &[SocketAddr], size: usize) {
    eventually(&format!("the ISR has {size} members"), || {
        partition(asked).filter(|found| found.isr.len() == size)
    });
}

/// The leader refuses what has to be replicated: its ISR is too small.
fn wait_for_refusal(asked: &[SocketAddr]) {
    /// NOT_ENOUGH_REPLICAS
    const TOO_FEW: i16 = 19;
    let batch = batch(&[b"refused"], Producer::NONE);
    eventually("a batch is refused", || {
        asked.iter().find(|address| {
            let answer = Connection::open(**address).and_then(|mut connection| {
                wire::produce(&mut connection, "t", 0, -1, batch.clone())
            });
            answer.is_ok_and(|(code, _)| code == TOO_FEW)
        })
    });
}

/// Three controllers and three brokers.
fn impatient() -> Layout {
    Layout::split(3, 3)
        .traced()
        .set("broker.session.timeout.ms", "1500")
        .set("broker.heartbeat.interval.ms", "300")
        .set("replica.lag.time.max.ms", "1500")
}

/// Brokers that reach each other by cables that can be cut; clients reach them directly.
fn cabled(layout: &Layout) -> (Cluster, Vec<Proxy>) {
    let mut cluster = Cluster::format(layout);
    let mut cables = Vec::new();
    let ids = cluster.brokers();
    for (id, port) in ids.iter().zip(cluster::free_ports(ids.len())) {
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let cable = Proxy::to(own);
        let clients = format!("PLAINTEXT://{}", cluster.node(*id).address());
        let path = cluster.node(*id).config_path();
        let text = fs::read_to_string(&path).expect("a configuration");
        let text = text.replace(&clients, &format!("{clients},CABLE://{own}"));
        let text = format!(
            "{text}advertised.listeners={clients},CABLE://{}\ninter.broker.listener.name=CABLE\n\
             listener.security.protocol.map=CABLE:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n",
            cable.address()
        );
        fs::write(&path, text).expect("a configuration");
        cables.push(cable);
    }
    let ids: Vec<i32> = cluster.nodes().map(|node| node.id).collect();
    ids.iter().for_each(|id| cluster.node_mut(*id).start());
    cluster.wait_until_ready();
    (cluster, cables)
}

/// A part of the last write to a stopped broker's log, which was not flushed, is not on disk.
fn tear_last_write(cluster: &Cluster, broker: i32) {
    let log = cluster.node(broker).data_dir().join("t-0/00000000000000000000.log");
    let file = fs::OpenOptions::new().write(true).open(&log).expect("a log");
    let size = file.metadata().expect("a size").len();
    file.set_len(size - 10).expect("a shorter log");
}

#[test]
fn a_cluster_that_was_killed_paused_cut_and_restarted_replays_to_the_same_digests() {
    let (mut cluster, cables) = cabled(&impatient());
    let brokers: Vec<SocketAddr> =
        cluster.brokers().iter().map(|id| cluster.node(*id).address()).collect();
    let code = wire::create_topic(brokers[0], "t", 1, 3, &[("min.insync.replicas", "2")]);
    assert_eq!(code.expect("an answer"), 0);
    wait_for_isr(&brokers, 3);
    let leader = || eventually("a leader", || partition(&brokers)).leader;
    let load = Load::start("t", brokers.clone(), 1);
    load.wait_for_more(100);

    let victim = leader();
    cluster.node_mut(victim).kill();
    eventually("another broker leads", || partition(&brokers).filter(|it| it.leader != victim));
    tear_last_write(&cluster, victim);
    load.wait_for_more(50);
    cluster.node_mut(victim).start();
    wait_for_isr(&brokers, 3);

    let controller = eventually("a controller is active", || cluster.active_controller());
    cluster.node_mut(controller).kill();
    load.wait_for_more(50);
    cluster.node_mut(controller).start();

    let victim = leader();
    cluster.node(victim).pause();
    eventually("another broker leads", || {
        let paused = cluster.node(victim).address();
        let others: Vec<_> = brokers.iter().copied().filter(|it| *it != paused).collect();
        partition(&others).filter(|it| it.leader != victim)
    });
    cluster.node(victim).resume();
    wait_for_isr(&brokers, 3);

    // Whom the leader asks for a smaller ISR does not answer; another one does in the end.
    let silent = eventually("a controller is active", || cluster.active_controller());
    cluster.node(silent).pause();
    cables.iter().for_each(Proxy::break_off);
    wait_for_isr(&brokers, 1);
    wait_for_refusal(&brokers);
    cluster.node(silent).resume();
    cables.iter().for_each(Proxy::mend);
    wait_for_isr(&brokers, 3);
    load.wait_for_more(50);

    let victim = leader();
    cluster.node_mut(victim).terminate();
    assert!(cluster.node_mut(victim).wait_for_end().success(), "an orderly stop");
    load.wait_for_more(50);
    cluster.node_mut(victim).start();
    wait_for_isr(&brokers, 3);
    let acked = load.finish();
    assert_nothing_lost(&acked, &read_all("t", &brokers));
    operator::operate(&mut cluster);

    let report = cluster.assert_traces_replay();
    let recordings = report["recordings"].as_array().expect("recordings");
    let runs = |node: i32| {
        let of_node = recordings.iter().filter(|it| it["node"] == node);
        let runs: BTreeSet<_> = of_node.map(|it| it["incarnation"].as_str()).collect();
        runs.len()
    };
    assert_eq!(runs(controller), 2, "both runs of the controller that was killed");
    let started: usize = cluster.nodes().map(|node| runs(node.id)).sum();
    assert_eq!(started, 6 + 4, "every run of every node is there");
    // A shard without partitions has nothing to record; a quorum always has.
    let mut quorums = recordings.iter().filter(|it| it["thread"] == "quorum");
    assert!(quorums.all(|it| it["entries"].as_u64() > Some(10)), "{recordings:?}");
    assert!(report["steps"].as_u64() > Some(1_000), "{}", report["steps"]);
    let shown = stdout(&["trace", "show", "--effects"], &cluster.traces(), "");
    for happened in ["Append {", "PeerGone", "Timeout(Session", "-> IsrChanged", "-> Lead {"] {
        assert!(shown.contains(happened), "no {happened} in the trace");
    }
}

/// The traces of a small cluster that has done a little and was killed.
fn short_trace() -> (Cluster, PathBuf) {
    let mut cluster = Cluster::start(&Layout::combined(1).traced());
    let broker = cluster.node(1).address();
    let code = wire::create_topic(broker, "t", 1, 1, &[]);
    assert_eq!(code.expect("an answer"), 0);
    let load = Load::start("t", vec![broker], 1);
    load.wait_for_more(20);
    load.finish();
    cluster.node_mut(1).kill();
    let traces = cluster.traces();
    (cluster, traces)
}

#[test]
fn a_flipped_byte_is_found_at_its_entry() {
    let (_cluster, traces) = short_trace();
    let file = fs::read_dir(&traces)
        .expect("traces")
        .map(|entry| entry.expect("a file").path())
        .find(|path| path.to_string_lossy().contains("_quorum_"))
        .expect("the quorum's trace");
    let mut bytes = fs::read(&file).expect("a trace");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs::write(&file, bytes).expect("a trace");
    let output = kraft(&["trace", "replay", "--output", "json"], &traces, "");
    assert_eq!(output.status.code(), Some(3));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
    let damage = report["damage"].as_str().expect("damage");
    assert!(damage.starts_with("entry ") && damage.contains("damaged"), "{damage}");
}

#[test]
fn a_trace_can_be_walked_forwards_and_backwards() {
    let (_cluster, traces) = short_trace();
    let walk =
        stdout(&["trace", "replay", "--step"], &traces, "n 4\np\ng 6\nm 1/t-0\nn\ns\np\np\nq\n");
    let positions: Vec<u64> =
        walk.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
    assert_eq!(positions[..3], [4, 3, 6], "{walk}");
    assert!(walk.contains("1/t-0") && walk.contains("high_watermark"), "{walk}");
    assert!(walk.trim_end().ends_with("the beginning"), "before a machine's first entry: {walk}");
    let at = positions[3].to_string();
    let state = stdout(&["trace", "replay", "--at", &at, "--show", "state"], &traces, "");
    assert!(walk.contains(state.trim_end()), "both ways show the same state");
    let until = stdout(&["trace", "replay", "--until", "5", "--output", "json"], &traces, "");
    let report: serde_json::Value = serde_json::from_str(&until).expect("a report");
    assert_eq!(report["entries"], 5);
}
