use kraft_model::DirectoryId;
use kraft_model::raft::StoredState;
use kraft_node::peer::QuorumView;

use super::*;
use crate::verify::entry::tests::log;
use crate::verify::report::Verdict;

const COMMITTED: Known = Known::Committed { end: Offset(3), epoch: Epoch(2) };
const ALL: &[(i32, u32)] = &[(1, 10), (1, 11), (2, 12)];

fn key(id: i32) -> ReplicaKey {
    ReplicaKey { id: NodeId(id), directory: DirectoryId(id as u128) }
}

/// A node that follows, or leads as node 1, and has heard of all that is committed.
fn node(id: i32, start: i64, content: &[(i32, u32)]) -> Witness {
    let state = StoredState { epoch: Epoch(2), leader: Some(NodeId(1)), vote: None };
    let says = QuorumView {
        leader: Some(NodeId(1)),
        epoch: Epoch(2),
        high_watermark: Offset(3),
        voters: Vec::new(),
        observers: Vec::new(),
    };
    Witness {
        id,
        key: key(id),
        says: Some(says),
        states: [state; 2],
        entries: log(start, content),
        snapshot: Offset(start),
        is_mending: false,
    }
}

fn three() -> Vec<Witness> {
    (1..=3).map(|id| node(id, 0, ALL)).collect()
}

fn judged(nodes: &[Witness], known: &Known) -> Report {
    let mut report = Report::about(&[("quorum", rows())]);
    let voters: Vec<_> = (1..=3).map(key).collect();
    judge(&nodes.iter().collect::<Vec<_>>(), &voters, known, &mut report);
    report
}

/// The promises that are broken, with their first stories.
fn broken(nodes: &[Witness]) -> Vec<(&'static str, String)> {
    let report = judged(nodes, &COMMITTED);
    let broken = report.promises.into_iter().filter(|row| row.verdict == Verdict::Broken);
    broken.map(|row| (row.promise, row.stories[0].clone())).collect()
}

fn names(broken: &[(&'static str, String)]) -> Vec<&'static str> {
    broken.iter().map(|(name, _)| *name).collect()
}

#[test]
fn what_is_sound_is_judged_by_every_promise_and_holds() {
    let mut nodes = three();
    nodes[2] = node(3, 2, &[(2, 12), (2, 13)]);
    let report = judged(&nodes, &COMMITTED);
    for row in &report.promises {
        assert_eq!(row.verdict, Verdict::Holds, "{}: {:?}", row.promise, row.stories);
    }
    assert!(report.not_judged.is_empty(), "{:?}", report.not_judged);
}

#[test]
fn without_a_high_watermark_nothing_is_said_of_what_is_committed() {
    let report = judged(&three(), &Known::Settled(Offset(3)));
    let silent = report.promises.iter().filter(|row| row.verdict == Verdict::NothingToJudge);
    let silent: Vec<_> = silent.map(|row| row.promise).collect();
    assert_eq!(silent, [REACHES, IMMUTABLE, COMPLETE, DURABLE]);
}

#[test]
fn another_record_where_epochs_agree_is_seen_and_told() {
    let mut nodes = three();
    nodes[1] = node(2, 0, &[(1, 10), (1, 99), (2, 12)]);
    let broken = broken(&nodes);
    assert_eq!(names(&broken), [MATCH, IMMUTABLE]);
    for part in ["offset 1", "nodes 1, 3: the batch at 1", "node 2: the batch at 1", "0x00000063"] {
        assert!(broken[0].1.contains(part), "{part} in {}", broken[0].1);
    }
    assert!(broken[1].1.starts_with("node 2 at offset 1"), "{}", broken[1].1);
}

#[test]
fn an_epoch_that_falls_or_is_above_the_nodes_own_is_seen() {
    let mut nodes = three();
    nodes[2] = node(3, 0, &[(1, 10), (1, 11), (2, 12), (1, 13)]);
    assert_eq!(names(&broken(&nodes)), [ASCEND]);
    nodes[2] = node(3, 0, &[(1, 10), (1, 11), (2, 12), (3, 13)]);
    assert_eq!(names(&broken(&nodes)), [ASCEND]);
}

#[test]
fn a_changed_vote_and_a_second_leader_are_seen() {
    let mut nodes = three();
    let vote = |id| Some(key(id));
    nodes[0].states[0].vote = vote(2);
    nodes[0].states[1].vote = vote(3);
    assert_eq!(names(&broken(&nodes)), [ONE_VOTE]);
    let mut nodes = three();
    nodes[2].states[1].leader = Some(NodeId(3));
    let broken = broken(&nodes);
    assert_eq!(names(&broken), [ONE_LEADER]);
    assert!(broken[0].1.starts_with("epoch 2: node 1 names node 1, node 3"), "{}", broken[0].1);
}

#[test]
fn a_front_that_is_in_no_snapshot_is_seen() {
    let mut nodes = three();
    nodes[2] = Witness { snapshot: Offset(1), ..node(3, 2, &[(2, 12)]) };
    assert_eq!(names(&broken(&nodes)), [COVERS]);
}

#[test]
fn a_log_that_is_shorter_than_its_node_said_is_seen() {
    let mut nodes = three();
    nodes[2] = node(3, 0, &ALL[..2]);
    assert_eq!(names(&broken(&nodes)), [REACHES, IMMUTABLE]);
    nodes[0] = node(1, 0, &ALL[..2]);
    let broken = broken(&nodes);
    assert_eq!(names(&broken), [REACHES, IMMUTABLE, COMPLETE, DURABLE]);
    assert!(broken[3].1.contains("nodes 1, 3: its log ends at 2"), "{}", broken[3].1);
}

#[test]
fn voters_whose_logs_are_not_here_are_not_held_against_the_others() {
    let mut nodes = three();
    nodes.pop();
    nodes[1].is_mending = true;
    let report = judged(&nodes, &COMMITTED);
    assert!(!report.is_broken(), "{}", report.text());
    assert_eq!(report.not_judged[0].what, [DURABLE]);
}
