//! The first flow that a user tries: a topic, a real file into it and out of it, and a look at
//! everything from outside.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kraft_tests::eventually;
use kraft_tests::local::Local;
use serde_json::{Value, json};

const LINES: usize = 100_000;
const PARTITIONS: i64 = 3;

/// This workspace's own sources, over and over, each line with its number as `grep -n` has it: real
/// text of every line length, in which each line is told from all others.
fn numbered_text() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for room in ["model/src", "node/src", "cli/src", "tests/src"] {
        collect(&root.join(room), &mut files);
    }
    files.sort();
    let text: String =
        files.iter().map(|file| std::fs::read_to_string(file).expect("sources are text")).collect();
    text.lines().cycle().zip(1..=LINES).map(|(line, n)| format!("{n}:{line}")).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory of sources") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn number(line: &str) -> usize {
    let (number, _) = line.split_once(':').expect("every line has a number");
    number.parse().expect("every line has a number")
}

/// What `kraft consume` prints of one partition.
fn consume(local: &Local, topic: &str, partition: i64) -> Vec<String> {
    let partition = partition.to_string();
    let arguments =
        ["consume", topic, "--partition", &partition, "--from-beginning", "--exit-at-end"];
    let text = String::from_utf8(local.run(&arguments)).expect("text went in");
    text.split_terminator('\n').map(str::to_owned).collect()
}

fn create(local: &Local, topic: &str) {
    local.run(&["topics", "create", topic, "--partitions", "3", "--replication-factor", "2"]);
}

fn partitions(local: &Local, topic: &str) -> Vec<Value> {
    let described = local.json(&["topics", "describe", topic]);
    described[0]["partitions"].as_array().expect("a list of partitions").clone()
}

#[test]
fn a_real_file_comes_out_as_it_went_in_with_every_codec() {
    let local = Local::up(&[]);
    let lines = numbered_text();
    let input = lines.join("\n") + "\n";
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("orders-{codec}");
        create(&local, &topic);
        local.feed(&["produce", &topic, "--compression", codec], input.as_bytes());
        let mut out = Vec::new();
        for partition in 0..PARTITIONS {
            let part = consume(&local, &topic, partition);
            let in_order = part.windows(2).all(|pair| number(&pair[0]) < number(&pair[1]));
            assert!(in_order, "{codec}: partition {partition} is out of order");
            assert!(!part.is_empty(), "{codec}: partition {partition} got nothing");
            out.extend(part);
        }
        out.sort_by_key(|line| number(line));
        assert!(out == lines, "{codec}: what came out is not what went in");
        assert_eq!(codecs_on_disk(&local, &topic), [codec], "the batches are stored as sent");
    }
}

/// Every codec that the leader's segments of a topic hold, as `kraft log dump` shows them.
fn codecs_on_disk(local: &Local, topic: &str) -> Vec<String> {
    let mut codecs = Vec::new();
    let mut records = 0;
    for partition in partitions(local, topic) {
        let leader = partition["leader"].as_i64().expect("it is led");
        let log = local
            .dir
            .path()
            .join(format!(".kraft/node-{leader}/data/{topic}-{}", partition["partition"]));
        let mut files: Vec<PathBuf> = std::fs::read_dir(log)
            .expect("the leader has the partition")
            .map(|entry| entry.expect("a readable entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        files.sort();
        for file in files {
            let file = file.to_str().expect("a path of ours").to_owned();
            let dump = local.run(&["log", "dump", &file, "--output", "json"]);
            for line in dump.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let batch: Value = serde_json::from_slice(line).expect("a JSON document a line");
                records += batch["count"].as_u64().expect("a number");
                codecs.push(batch["codec"].as_str().expect("a text").to_owned());
            }
        }
    }
    assert_eq!(records, LINES as u64, "{topic}: records in the leaders' segments");
    codecs.sort();
    codecs.dedup();
    codecs
}

#[test]
fn keys_choose_the_partition_and_are_printed_back() {
    let local = Local::up(&["--combined", "1"]);
    local.run(&["topics", "create", "t", "--partitions", "4", "--replication-factor", "1"]);
    local.feed(&["produce", "t", "--key-separator", ":"], b"a:1\nb:2\na:3\n\xff:4\nb:\n");
    let arguments = ["consume", "t", "--from-beginning", "--exit-at-end", "--print-key"];
    let out = local.run(&arguments);
    let mut lines: Vec<&[u8]> = out.split(|byte| *byte == b'\n').collect();
    let place = |line: &[u8]| lines.iter().position(|found| *found == line);
    assert!(place(b"a\t1").is_some() && place(b"a\t1") < place(b"a\t3"), "{out:?}");
    assert!(place(b"b\t2").is_some() && place(b"b\t2") < place(b"b\t"), "{out:?}");
    lines.sort_unstable();
    assert_eq!(lines, [&b""[..], b"a\t1", b"a\t3", b"b\t", b"b\t2", b"\xff\t4"]);
}

#[test]
fn a_topic_is_listed_described_altered_and_deleted() {
    let local = Local::up(&[]);
    create(&local, "orders");
    for partition in partitions(&local, "orders") {
        assert!(partition["leader"].is_i64(), "{partition}");
        assert_eq!(partition["replicas"].as_array().map(Vec::len), Some(2));
        assert_eq!(partition["isr"], partition["replicas"]);
    }
    let listed = local.json(&["topics", "list"]);
    assert_eq!(listed[0]["name"], "orders");
    assert_eq!(
        (&listed[0]["partitions"], &listed[0]["replication_factor"]),
        (&json!(3), &json!(2))
    );
    let (code, said) = local.failure(&["topics", "create", "orders"]);
    assert_eq!(code, 1);
    assert!(said.contains("TOPIC_ALREADY_EXISTS") && said.contains("--if-not-exists"), "{said}");
    local.run(&["topics", "create", "orders", "--if-not-exists"]);
    let alter = ["topics", "alter", "orders", "--partitions", "5", "--set", "retention.ms=7000"];
    local.run(&alter);
    eventually("five partitions are led", || {
        let found = partitions(&local, "orders");
        (found.len() == 5 && found.iter().all(|p| p["leader"].is_i64())).then_some(())
    });
    assert_eq!(config(&local, "topic", "orders", "retention.ms"), json!("7000"));
    local.run(&["topics", "delete", "orders"]);
    eventually("no broker lists it", || {
        (local.json(&["topics", "list"]) == json!([])).then_some(())
    });
    let (code, said) = local.failure(&["topics", "describe", "orders"]);
    assert_eq!(code, 1);
    assert!(said.contains("does not exist") && said.contains("next: "), "{said}");
}

/// A key's value as `kraft configs describe` shows it; null if it is not there.
fn config(local: &Local, kind: &str, name: &str, key: &str) -> Value {
    let described = local.json(&["configs", "describe", kind, name]);
    let entries = described["configs"].as_array().expect("a list of keys").clone();
    entries
        .into_iter()
        .find(|entry| entry["name"] == key)
        .map_or(Value::Null, |e| e["value"].clone())
}

#[test]
fn configurations_are_changed_back_and_refused_with_the_key_named() {
    let local = Local::up(&["--combined", "1"]);
    local.run(&["topics", "create", "t"]);
    local.run(&["configs", "alter", "topic", "t", "--set", "segment.bytes=2097152"]);
    eventually("the change is in force", || {
        (config(&local, "topic", "t", "segment.bytes") == "2097152").then_some(())
    });
    local.run(&["configs", "alter", "topic", "t", "--delete", "segment.bytes"]);
    eventually("the default is in force", || {
        config(&local, "topic", "t", "segment.bytes").is_null().then_some(())
    });
    assert_eq!(config(&local, "broker", "1", "process.roles"), "broker,controller");
    let wrong = ["configs", "alter", "topic", "t", "--set", "segment.bytes=many"];
    let (code, said) = local.failure(&wrong);
    assert_eq!(code, 1);
    assert!(said.contains("segment.bytes") && said.contains("'many'"), "{said}");
}

#[test]
fn brokers_and_the_quorum_are_shown_as_they_are() {
    let local = Local::up(&[]);
    let brokers = local.json(&["brokers", "list"]);
    let listed = brokers["brokers"].as_array().expect("a list of brokers");
    let ids: Vec<_> = listed.iter().map(|broker| broker["id"].clone()).collect();
    assert_eq!(ids, [4, 5, 6]);
    assert!(listed.iter().all(|broker| broker["fenced"] == false), "{brokers}");
    let quorum = local.json(&["quorum", "status"]);
    assert_eq!(quorum["voters"], json!([1, 2, 3]));
    assert_eq!(quorum["observers"], json!([4, 5, 6]));
    let leader = quorum["leader"].as_i64().expect("the quorum is led");
    let replicas = local.json(&["quorum", "replicas"]);
    let replicas = replicas.as_array().expect("a list of replicas");
    assert_eq!(replicas.len(), 6);
    let leads: Vec<_> = replicas.iter().filter(|replica| replica["status"] == "leader").collect();
    assert_eq!(
        leads.iter().map(|replica| replica["id"].as_i64()).collect::<Vec<_>>(),
        [Some(leader)]
    );
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_command_without_a_word() {
    let local = Local::up(&["--combined", "1"]);
    local.run(&["topics", "create", "t", "--partitions", "1"]);
    let lines: String = (0..LINES).map(|n| format!("{n}\n")).collect();
    local.feed(&["produce", "t"], lines.as_bytes());
    let mut command = local.command(&["consume", "t", "--from-beginning", "--exit-at-end"]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kraft starts");
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
    reader.read_line(&mut first).expect("a line");
    drop(reader);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(first, "0\n");
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
