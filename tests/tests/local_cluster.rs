//! The local cluster as its users drive it: `kraft up`, and everything that tends it.

use std::net::TcpListener;
use std::process::Stdio;

use kraft_tests::eventually;
use kraft_tests::local::Local;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A node as `kraft status` shows it.
fn node(local: &Local, id: i64) -> Value {
    let status = local.json(&["status"]);
    let nodes = status["nodes"].as_array().expect("a list of nodes");
    nodes.iter().find(|node| node["id"] == id).expect("the node is listed").clone()
}

fn nodes(local: &Local) -> Vec<Value> {
    local.json(&["status"])["nodes"].as_array().expect("a list of nodes").clone()
}

/// Waits until `kraft status` shows the node in this state.
fn wait_for(local: &Local, id: i64, state: &str) -> Value {
    eventually(&format!("node {id} is {state}"), || {
        Some(node(local, id)).filter(|node| node["state"] == state)
    })
}

fn pids(local: &Local) -> Vec<i64> {
    nodes(local).iter().filter_map(|node| node["pid"].as_i64()).collect()
}

fn runs(pid: i64) -> bool {
    // A zombie has ended: only its parent has not looked yet.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, fields)| !fields.trim_start().starts_with('Z'))
}

#[test]
fn up_in_an_empty_directory_gives_six_nodes_that_take_a_topic_at_once() {
    let local = Local::empty();
    let said = local.run(&["up", "--detach", "--port", "0"]);
    let said = String::from_utf8_lossy(&said);
    println!("{said}");
    assert!(said.contains("ready after "), "{said}");
    local.run(&["topics", "create", "orders", "--partitions", "3", "--replication-factor", "3"]);
    let roles: Vec<_> = nodes(&local).iter().map(|node| node["roles"].clone()).collect();
    assert_eq!(roles[..3], ["controller"; 3]);
    assert_eq!(roles[3..], ["broker"; 3]);
    assert!(nodes(&local).iter().all(|node| node["state"] == "running"));
    let (code, said) = local.failure(&["up", "--detach"]);
    assert_eq!(code, 1);
    assert!(said.contains("running already") && said.contains("kraft down"), "{said}");
}

#[test]
fn usual_ports_that_are_taken_are_replaced_and_it_is_said_which() {
    // If somebody else has it, it is taken as well.
    let _taken = TcpListener::bind(("127.0.0.1", 9092));
    let local = Local::empty();
    let output = local.output(&["up", "--detach", "--controllers", "1", "--brokers", "1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("port 9092 is in use; "), "{said}");
    let bootstrap = local.json(&["status"])["bootstrap"].as_str().expect("a text").to_owned();
    let port = bootstrap.rsplit_once(':').expect("an address").1;
    assert_ne!(port, "9092");
    assert!(said.contains(&format!("port 9092 is in use; {port} was chosen")), "{said}");
}

#[test]
fn a_directory_that_holds_something_else_is_refused_and_left_alone() {
    let local = Local::empty();
    let dir = local.dir.path().join(".kraft");
    std::fs::create_dir(&dir).expect("the directory is ours");
    std::fs::write(dir.join("thesis.txt"), "four years").expect("the directory is ours");
    let (code, said) = local.failure(&["up", "--detach", "--port", "0"]);
    assert_eq!(code, 1);
    for part in ["cannot make a cluster", "why:  the directory is not empty", "next: "] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let left: Vec<_> = std::fs::read_dir(&dir).expect("it is still there").collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn a_killed_node_comes_back_and_status_says_how_it_ended() {
    let local = Local::up(&["--controllers", "1", "--brokers", "2"]);
    let before = node(&local, 2)["pid"].clone();
    local.run(&["kill", "2"]);
    let back = eventually("node 2 runs again", || {
        Some(node(&local, 2)).filter(|node| node["pid"].is_i64() && node["pid"] != before)
    });
    assert_eq!(back["last_exit"]["signal"], 9);
    assert_eq!(back["restarts"], 1);
    let table = String::from_utf8(local.run(&["status"])).expect("text");
    assert!(table.contains("killed by signal 9"), "{table}");
}

#[test]
fn a_node_that_cannot_start_is_tried_again_and_status_shows_its_own_words() {
    let local = Local::up(&["--controllers", "1", "--brokers", "2"]);
    let config = local.dir.path().join(".kraft/node-3/node.properties");
    let good = std::fs::read_to_string(&config).expect("every node has a configuration");
    std::fs::write(&config, format!("{good}no.such.key=1\n")).expect("the directory is ours");
    local.run(&["kill", "3"]);
    eventually("status tells of the key that stops node 3", || {
        let exit = node(&local, 3)["last_exit"].clone();
        let log = exit["log"].to_string();
        (exit["code"].as_i64().is_some_and(|code| code != 0) && log.contains("no.such.key"))
            .then_some(())
    });
    std::fs::write(&config, good).expect("the directory is ours");
    wait_for(&local, 3, "running");
    local.run(&["topics", "create", "t", "--partitions", "1", "--replication-factor", "2"]);
}

#[test]
fn a_node_killed_to_stay_down_is_held_until_it_is_restarted() {
    let local = Local::up(&["--controllers", "1", "--brokers", "3"]);
    local.run(&["kill", "2", "--stay-down"]);
    wait_for(&local, 2, "held");
    // The supervisor looks at all that is down at once: when 3 is back, it has passed over 2.
    local.run(&["kill", "3"]);
    eventually("node 3 is back", || Some(node(&local, 3)).filter(|node| node["restarts"] == 1));
    assert_eq!(node(&local, 2)["state"], "held");
    local.run(&["restart", "2"]);
    let back = wait_for(&local, 2, "running");
    assert_eq!(back["last_exit"]["signal"], 9);
    let before = back["pid"].clone();
    local.run(&["restart", "2"]);
    let again = wait_for(&local, 2, "running");
    assert_ne!(again["pid"], before);
    assert_eq!(again["last_exit"]["code"], 0, "a restart ends a node in order");
}

#[test]
fn brokers_follow_the_controllers_through_a_restart_of_each() {
    let local = Local::up(&[]);
    for id in ["2", "1", "3"] {
        local.run(&["restart", id]);
    }
    let topic = ["topics", "create", "t", "--partitions", "1", "--replication-factor", "3"];
    local.run(&topic);
    eventually("every broker has all metadata", || {
        let quorum = local.output(&["quorum", "replicas", "--output", "json"]).stdout;
        let quorum: Value = serde_json::from_slice(&quorum).ok()?;
        let replicas = quorum.as_array()?;
        let brokers = replicas.iter().filter(|replica| replica["status"] == "observer");
        (brokers.filter(|broker| broker["lag"] == 0).count() == 3).then_some(())
    });
}

#[test]
fn without_restarts_a_node_that_died_stays_down() {
    let local = Local::up(&["--controllers", "1", "--brokers", "2", "--no-restart"]);
    local.run(&["kill", "2"]);
    wait_for(&local, 2, "down");
    local.run(&["restart", "3"]);
    assert_eq!(node(&local, 2)["state"], "down");
}

#[test]
fn a_paused_node_is_shown_as_paused_and_goes_on_when_resumed() {
    let local = Local::up(&["--controllers", "1", "--brokers", "1"]);
    let pid = node(&local, 2)["pid"].clone();
    local.run(&["pause", "2"]);
    wait_for(&local, 2, "paused");
    local.run(&["resume", "2"]);
    assert_eq!(wait_for(&local, 2, "running")["pid"], pid);
    local.run(&["topics", "create", "t"]);
}

#[test]
fn down_ends_its_own_processes_and_no_others() {
    let (ours, theirs) = (Local::up(&["--combined", "1"]), Local::up(&["--combined", "1"]));
    let supervisor = ours.json(&["status"])["supervisor_pid"].as_i64().expect("it runs");
    let mut ended = pids(&ours);
    ended.push(supervisor);
    // A paused node is no obstacle.
    ours.run(&["pause", "1"]);
    ours.run(&["down"]);
    assert!(ended.iter().all(|pid| !runs(*pid)), "{ended:?} should be gone");
    assert_eq!(node(&ours, 1)["state"], "down");
    assert_eq!(node(&theirs, 1)["state"], "running");
    assert!(pids(&theirs).iter().all(|pid| runs(*pid)));
    assert_eq!(ours.run(&["down"]), b"the cluster is not running\n");
}

#[test]
fn a_second_up_brings_back_every_topic_and_record_on_the_same_ports() {
    let local = Local::up(&["--combined", "3"]);
    assert!(nodes(&local).iter().all(|node| node["roles"] == "broker,controller"));
    let lines: String = (0..1_000).map(|n| format!("record {n}\n")).collect();
    let consume = ["consume", "kept", "--from-beginning", "--exit-at-end"];
    local.run(&["topics", "create", "kept", "--partitions", "1", "--replication-factor", "3"]);
    local.feed(&["produce", "kept"], lines.as_bytes());
    let bootstrap = local.json(&["status"])["bootstrap"].clone();
    local.run(&["down"]);
    local.run(&["up", "--detach"]);
    assert_eq!(local.json(&["status"])["bootstrap"], bootstrap);
    assert!(local.run(&consume) == lines.as_bytes(), "a record is missing or has changed");
    let (code, said) = local.failure(&["up", "--detach", "--combined", "1"]);
    assert_eq!(code, 2);
    assert!(said.contains("of another shape"), "{said}");
}

#[test]
fn ctrl_c_ends_the_brokers_first_and_then_the_controllers() {
    let local = Local::empty();
    let mut command = local.command(&["up", "--port", "0"]);
    let mut up =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("kraft starts");
    let cluster = local.dir.path().join(".kraft/cluster.json");
    eventually("the directory is formatted", || cluster.exists().then_some(()));
    eventually("all brokers are active", || {
        let brokers = local.output(&["brokers", "list", "--output", "json"]).stdout;
        let brokers: Value = serde_json::from_slice(&brokers).ok()?;
        (brokers["brokers"].as_array()?.len() == 3).then_some(())
    });
    local.run(&["topics", "create", "t", "--partitions", "3", "--replication-factor", "2"]);
    kill_process(Pid::from_child(&up), Signal::INT).expect("it is ours and runs");
    let mut said = String::new();
    let mut pipe = up.stdout.take().expect("it is piped");
    std::io::Read::read_to_string(&mut pipe, &mut said).expect("text");
    assert!(up.wait().expect("it ends").success(), "{said}");
    let (_, stop) = said.split_once("stopping: ").expect("it says that it stops");
    let ended: Vec<&str> =
        stop.lines().filter(|line| line.contains(" ended: exit code 0")).collect();
    assert_eq!(ended.len(), 6, "{said}");
    let is_broker =
        |line: &&str| ["node 4", "node 5", "node 6"].iter().any(|id| line.starts_with(id));
    assert!(ended[..3].iter().all(is_broker), "{said}");
    assert!(nodes(&local).iter().all(|node| node["state"] == "down"));
}

#[test]
fn controllers_alone_are_ready_when_they_have_a_leader() {
    let local = Local::up(&["--brokers", "0"]);
    let quorum = local.json(&["quorum", "status"]);
    assert!(quorum["leader"].is_i64(), "{quorum}");
    assert_eq!(quorum["voters"], serde_json::json!([1, 2, 3]));
    let listener = node(&local, 1)["listeners"].as_str().expect("a text").to_owned();
    let address = listener.trim_start_matches("CONTROLLER://");
    let asked = local.json(&["quorum", "status", "--bootstrap-controller", address]);
    assert_eq!(asked["leader"], quorum["leader"]);
    let (code, said) = local.failure(&["topics", "list"]);
    assert_eq!(code, 2);
    assert!(said.contains("only controllers"), "{said}");
}

#[test]
fn every_failure_says_what_why_and_what_next() {
    let local = Local::empty();
    for command in [&["topics", "list"][..], &["status"], &["down"], &["kill", "1"]] {
        let (code, said) = local.failure(command);
        assert!(code == 1 || code == 2, "{command:?} ended with {code}");
        assert!(said.starts_with("error: ") && said.contains("kraft up"), "{said}");
    }
    let (code, said) = local.failure(&["topics", "list", "--bootstrap", "nonsense"]);
    assert_eq!((code, said.contains("HOST:PORT")), (2, true), "{said}");
}
