use std::path::Path;

use kraft_node::storage::{Depth, Records};

use super::*;

/// Batches of so many records, with an epoch and a content.
type Content = [(i64, i32, &'static str)];

fn write(dir: &Path, start: i64, content: &Content) {
    std::fs::create_dir_all(dir).expect("a directory for the test");
    let mut base = Offset(start);
    let mut bytes = Vec::new();
    for &(count, epoch, text) in content {
        let values = std::iter::repeat_n(text.as_bytes(), count as usize);
        let batch = Records::build(base, epoch, 0, false, values);
        bytes.extend_from_slice(&batch.bytes);
        base = batch.end;
    }
    std::fs::write(dir.join(format!("{start:020}.log")), bytes).expect("writes");
}

fn subject(high_watermark: Offset, replicas: Vec<Replica>) -> Subject {
    Subject { name: "orders-0".to_owned(), high_watermark, replicas, unjudged: Vec::new() }
}

/// The replicas of nodes 4, 5 and so on; the first one leads.
fn judged(high_watermark: i64, logs: &[(i64, &Content)]) -> Judged {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let replicas = (4..).zip(logs).map(|(node, (start, content))| {
        let path = dir.path().join(node.to_string());
        write(&path, *start, content);
        Replica::new(node, Some(DataView::open(&path, Depth::Headers).expect("opens")))
    });
    let (replicas, high_watermark) = (replicas.collect(), Offset(high_watermark));
    let subject = subject(high_watermark, replicas);
    subject.judge().expect("it can be read")
}

const ALL: &Content = &[(10, 1, "a"), (10, 1, "b"), (5, 2, "c")];

fn has(stories: &[String], parts: &[&str]) {
    assert_eq!(stories.len(), 1, "{stories:?}");
    for part in parts {
        assert!(stories[0].contains(part), "{part} in {}", stories[0]);
    }
}

#[test]
fn what_is_held_by_all_holds_whatever_is_above_the_high_watermark() {
    let judged = judged(20, &[(0, ALL), (0, &ALL[..2]), (0, &[ALL[0], ALL[1], (3, 9, "x")])]);
    assert!(judged.not_held.is_empty() && judged.not_agreed.is_empty(), "{judged:?}");
    assert_eq!((judged.records, judged.pairs, judged.batches), (60, 3, 6));
}

#[test]
fn a_log_that_begins_later_is_judged_from_there() {
    let judged = judged(25, &[(0, ALL), (10, &ALL[1..])]);
    assert!(judged.not_held.is_empty() && judged.not_agreed.is_empty(), "{judged:?}");
    assert_eq!(judged.records, 25 + 15);
}

#[test]
fn a_high_watermark_within_a_batch_is_no_border() {
    let judged = judged(13, &[(0, ALL), (0, ALL)]);
    assert!(judged.not_held.is_empty() && judged.not_agreed.is_empty(), "{judged:?}");
    assert_eq!((judged.records, judged.batches), (26, 4));
}

#[test]
fn a_member_whose_log_is_short_lacks_what_was_promised() {
    let judged = judged(25, &[(0, ALL), (0, &ALL[..2]), (0, ALL)]);
    has(
        &judged.not_held,
        &["node 5 lacks orders-0 at offset 20", "nodes 4, 6: the batch from 20", "ends"],
    );
    assert!(judged.not_agreed.is_empty(), "it takes nothing for committed that it does not have");
}

#[test]
fn another_content_is_seen_and_who_has_it_is_named_even_if_it_leads() {
    let other: &Content = &[ALL[0], (10, 1, "x"), ALL[2]];
    let judged = judged(25, &[(0, other), (0, ALL), (0, ALL)]);
    has(
        &judged.not_held,
        &["node 4 lacks orders-0 at offset 10", "node 4: the batch", "nodes 5, 6: "],
    );
    has(&judged.not_agreed, &["orders-0 at offset 10", "node 4: the batch", "nodes 5, 6: "]);
}

#[test]
fn batches_with_other_borders_are_another_content() {
    let other: &Content = &[(5, 1, "a"), (5, 1, "a"), ALL[1], ALL[2]];
    let judged = judged(25, &[(0, ALL), (0, other), (0, ALL)]);
    has(&judged.not_held, &["node 5 lacks orders-0 at offset 0"]);
}

#[test]
fn what_nobody_has_is_lost_by_all() {
    let judged = judged(30, &[(0, ALL), (0, ALL)]);
    assert_eq!(judged.not_held.len(), 2, "{judged:?}");
    assert!(judged.not_held[0].contains("at offset 25") && judged.not_agreed.is_empty());
}

#[test]
fn a_member_without_a_log_lacks_everything() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    write(dir.path(), 0, ALL);
    let log = DataView::open(dir.path(), Depth::Headers).expect("opens");
    let replicas = vec![Replica::new(4, Some(log)), Replica::new(5, None)];
    let subject = subject(Offset(25), replicas);
    has(
        &subject.judge().expect("readable").not_held,
        &["node 5 lacks", "offset 0", "no log of it"],
    );
}

#[test]
fn damage_is_told_with_its_file() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    write(dir.path(), 0, ALL);
    let path = dir.path().join("00000000000000000000.log");
    let mut bytes = std::fs::read(&path).expect("reads");
    // The length of the second batch.
    let second =
        Records::build(Offset(0), 1, 0, false, std::iter::repeat_n(&b"a"[..], 10)).bytes.len();
    bytes[second + 8..second + 12].copy_from_slice(&3i32.to_be_bytes());
    std::fs::write(&path, bytes).expect("writes");
    let log = DataView::open(dir.path(), Depth::Headers).expect("opens");
    let replicas = vec![Replica::new(4, Some(log))];
    let subject = subject(Offset(25), replicas);
    let judged = subject.judge().expect("readable");
    has(&judged.damage, &["node 4, orders-0: ", "batch length 3", "offset 10", ".log"]);
    has(&judged.not_held, &["node 4 lacks orders-0 at offset 10"]);
}

#[test]
fn nothing_committed_is_nothing_to_judge() {
    let judged = judged(0, &[(0, ALL), (0, &ALL[..1])]);
    assert_eq!((judged.records, judged.pairs, judged.batches), (0, 0, 0));
}

#[test]
fn many_windows_are_judged_as_one_log() {
    let large: &Content = &[(600_000, 1, "a"), (600_000, 1, "b"), (600_000, 2, "c")];
    let judged = judged(1_700_000, &[(0, large), (0, large)]);
    assert!(judged.not_held.is_empty() && judged.not_agreed.is_empty(), "{judged:?}");
    assert_eq!((judged.records, judged.batches), (3_400_000, 6));
}
