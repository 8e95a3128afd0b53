//! `kraft status --verify`: a cluster that lives through a kill keeps its promises all the while, and
//! what is changed behind its back is found, and named.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use kraft_tests::load::{Load, assert_nothing_lost, read_all};
use kraft_tests::local::Local;
use kraft_tests::{eventually, wire};
use serde_json::Value;

/// So small that every node has written a snapshot by the time that its topics are there.
const SNAPSHOTS: &str = "metadata.log.max.record.bytes.between.snapshots=1000";

fn cluster() -> (Local, Vec<SocketAddr>) {
    let local = Local::up(&["--set", SNAPSHOTS]);
    let bootstrap = local.json(&["status"])["bootstrap"].as_str().expect("addresses").to_owned();
    let brokers = bootstrap.split(',').map(|at| at.parse().expect("an address")).collect();
    for topic in ["t", "other", "third"] {
        let shape = ["--partitions", "1", "--replication-factor", "3"];
        local.run(&[&["topics", "create", topic][..], &shape].concat());
    }
    (local, brokers)
}

/// The exit code of `kraft status --verify` and what it found.
fn verify(local: &Local, flag: &str) -> (Option<i32>, Value) {
    let output = local.output(&["status", flag, "--output", "json"]);
    let error = String::from_utf8_lossy(&output.stderr);
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}"));
    (output.status.code(), answer["verify"].clone())
}

/// Nothing is broken.
#[track_caller]
fn holds(local: &Local) -> Value {
    let (code, found) = verify(local, "--verify");
    assert_eq!(code, Some(0), "{found:#}");
    found
}

/// The promises that were judged of nothing.
fn unjudged(found: &Value) -> Vec<&str> {
    let promises = found["promises"].as_array().expect("promises").iter();
    let silent = promises.filter(|row| row["judged"] == 0);
    silent.filter_map(|row| row["promise"].as_str()).collect()
}

/// The promises that are broken, each with its first story.
fn broken(local: &Local, flag: &str) -> Vec<(String, String)> {
    let (code, found) = verify(local, flag);
    assert_eq!(code, Some(3), "{found:#}");
    let promises = found["promises"].as_array().expect("promises").iter();
    let broken = promises.filter(|row| row["verdict"] == "broken");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    broken.map(|row| (text(&row["promise"]), text(&row["stories"][0]))).collect()
}

fn isr_size(brokers: &[SocketAddr]) -> Option<usize> {
    let found = brokers.iter().find_map(|at| wire::describe(*at, "t").ok())?;
    found.first().map(|partition| partition.isr.len())
}

fn data(local: &Local, node: i32) -> PathBuf {
    local.dir.path().join(format!(".kraft/node-{node}/data"))
}

#[test]
fn a_cluster_that_loses_a_broker_under_load_keeps_every_promise() {
    let (local, brokers) = cluster();
    let load = Load::start("t", brokers.clone(), 1);
    load.wait_for_more(100);
    eventually("every promise is judged of something", || {
        unjudged(&holds(&local)).is_empty().then_some(())
    });
    local.run(&["kill", "5", "--stay-down"]);
    eventually("the broker is out of the ISR", || {
        holds(&local);
        (isr_size(&brokers)? == 2).then_some(())
    });
    load.wait_for_more(100);
    assert_eq!(unjudged(&holds(&local)), [""; 0], "while one broker is down");
    local.run(&["restart", "5"]);
    eventually("the broker is in sync again", || {
        holds(&local);
        (isr_size(&brokers)? == 3).then_some(())
    });
    load.wait_for_more(100);
    assert_eq!(unjudged(&holds(&local)), [""; 0], "with all of them");
    assert_nothing_lost(&load.finish(), &read_all("t", &brokers));
}

/// A cluster that was killed as it stood, with a few records in a topic of three replicas.
fn killed() -> Local {
    let (local, brokers) = cluster();
    let load = Load::start("t", brokers, 1);
    load.wait_for_more(20);
    let acked = load.finish().len();
    // What is committed is known of a stopped cluster from the checkpoints, which are written now and then.
    eventually("a checkpoint has the high watermark", || {
        let text =
            fs::read_to_string(data(&local, 5).join("replication-offset-checkpoint")).ok()?;
        let mark =
            text.lines().find_map(|line| line.strip_prefix("t 0 ")?.parse::<usize>().ok())?;
        (mark >= acked).then_some(())
    });
    // The controllers first: who dies after them leaves no ISR.
    for node in ["1", "2", "3", "4", "5", "6"] {
        local.run(&["kill", node, "--stay-down"]);
    }
    local.run(&["down"]);
    let found = holds(&local);
    // Nobody can be asked what is committed of the metadata.
    assert_eq!(unjudged(&found).len(), 4, "{found:#}");
    assert!(found["high_watermark"].is_null());
    local
}

/// The first segment of a log that has anything in it.
fn segment(dir: &Path) -> PathBuf {
    let entries = fs::read_dir(dir).expect("a log").map(|entry| entry.expect("an entry").path());
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|it| it == "log");
    let mut segments: Vec<_> = entries.filter(is_segment).collect();
    segments.sort_unstable();
    segments.into_iter().find(|it| it.metadata().is_ok_and(|it| it.len() > 0)).expect("a segment")
}

/// Rewrites a batch: `change` gets all of its bytes and says whether it is the one. Its checksum is
/// made right again if `seal` says so.
fn rewrite(path: &Path, seal: bool, change: impl Fn(&mut [u8]) -> bool) -> i64 {
    let mut bytes = fs::read(path).expect("a segment");
    let mut at = 0;
    loop {
        let field = |from: usize| {
            i32::from_be_bytes(bytes[at + from..at + from + 4].try_into().expect("four"))
        };
        let size = 12 + field(8) as usize;
        let base = i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight"));
        let batch = &mut bytes[at..at + size];
        if change(batch) {
            if seal {
                let crc = crc32c::crc32c(&batch[21..]);
                batch[17..21].copy_from_slice(&crc.to_be_bytes());
            }
            fs::write(path, bytes).expect("the segment is ours");
            return base;
        }
        at += size;
    }
}

fn has(broken: &[(String, String)], promise: &str, parts: &[&str]) {
    let found = broken.iter().find(|(name, _)| name == promise);
    let (_, story) = found.unwrap_or_else(|| panic!("{promise} is not among {broken:?}"));
    for part in parts {
        assert!(story.contains(part), "{part} in {story}");
    }
}

#[test]
fn another_record_below_the_high_watermark_is_found_and_named() {
    let local = killed();
    let path = segment(&data(&local, 5).join("t-0"));
    let whole = fs::read(&path).expect("a segment");
    let change = |batch: &mut [u8]| {
        let is_it = batch[..8] == 7i64.to_be_bytes();
        if is_it {
            let last = batch.len() - 2;
            batch[last] ^= 1;
        }
        is_it
    };
    assert_eq!(rewrite(&path, true, change), 7, "one record a batch");
    let found = broken(&local, "--verify");
    let held = "who may be elected holds everything below the high watermark";
    has(&found, held, &["node 5 lacks t-0 at offset 7", "node 5: ", "nodes 4, 6: "]);
    has(&found, "logs agree below the high watermark", &["t-0 at offset 7"]);
    assert_eq!(found.len(), 2, "{found:?}");

    fs::write(&path, &whole).expect("the segment is ours");
    rewrite(&path, false, change);
    assert_eq!(verify(&local, "--verify").0, Some(0), "the headers are as they were");
    let found = broken(&local, "--verify-checksums");
    has(&found, "logs are whole", &["node 5, t-0: ", "checksum", "offset 7"]);
    has(&found, held, &["node 5 lacks t-0 at offset 7"]);

    fs::write(&path, &whole[..whole.len() / 2]).expect("the segment is ours");
    has(&broken(&local, "--verify"), held, &["node 5 lacks t-0 at offset", "the log ends"]);
}

#[test]
fn another_committed_record_of_the_metadata_is_found_and_named() {
    let local = killed();
    let path = segment(&data(&local, 2).join("__cluster_metadata-0"));
    // The time of the batch, with which all that it says can still be read.
    let at = rewrite(&path, true, |batch| {
        let is_records = batch[22] & 0x20 == 0;
        batch[34] ^= u8::from(is_records);
        is_records
    });
    let found = broken(&local, "--verify");
    let differs = [&format!("at offset {at}: ")[..], "node 2: the batch at", "nodes 1, 3"];
    has(&found, "metadata logs match", &differs);
    assert_eq!(found.len(), 1, "{found:?}");

    rewrite(&path, false, |batch| {
        let is_records = batch[22] & 0x20 == 0;
        batch[34] ^= u8::from(is_records);
        is_records
    });
    let found = broken(&local, "--verify");
    has(&found, "logs are whole", &["node 2, its metadata: ", "checksum", &format!("offset {at}")]);
}
