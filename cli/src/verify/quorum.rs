//! The quorum's promises, of the logs and votes of all nodes.

use std::collections::{BTreeMap, BTreeSet};

use kraft_model::invariant::quorum::{self as invariant, Committed, Replica};
use kraft_model::{Epoch, NodeId, Offset, ReplicaKey};

use super::entry::{Entries, Entry};
use super::report::{Report, Row, by_content};
use super::sight::{Known, Witness};

const MATCH: &str = "metadata logs match";
const ASCEND: &str = "epochs ascend along a metadata log";
const ONE_VOTE: &str = "epochs never fall, and a vote is given once in an epoch";
const ONE_LEADER: &str = "one leader per epoch";
const COVERS: &str = "a snapshot covers what a log no longer has";
const REACHES: &str = "a node takes nothing for committed that its log does not reach";
const IMMUTABLE: &str = "what is committed never changes";
const COMPLETE: &str = "a leader has all that was committed";
const DURABLE: &str = "what is committed is in the logs of a majority";

pub fn rows() -> Vec<Row> {
    vec![
        (MATCH, "pairs of logs"),
        (ASCEND, "logs"),
        (ONE_VOTE, "nodes"),
        (ONE_LEADER, "words of nodes"),
        (COVERS, "logs"),
        (REACHES, "nodes"),
        (IMMUTABLE, "nodes"),
        (COMPLETE, "nodes that lead"),
        (DURABLE, "records"),
    ]
}

pub fn judge(nodes: &[&Witness], voters: &[ReplicaKey], known: &Known, report: &mut Report) {
    logs_match(nodes, report);
    for node in nodes {
        judge_alone(node, report);
    }
    one_leader(nodes, report);
    let Known::Committed { end, epoch } = *known else { return };
    let Some(reference) = reference(nodes, voters, end) else {
        return report.cannot_judge(
            "the committed metadata",
            format!("no log that could be read reaches {end}, up to where it is committed"),
        );
    };
    let whole = Whole { reference: &reference.entries, end };
    let log = whole.of(&reference.entries);
    let committed = Committed { log: &log, epoch };
    for node in nodes {
        judge_by(node, &whole, committed, report);
    }
    durable(nodes, voters, &whole, committed, report);
}

/// What everybody has at an offset.
fn contents(nodes: &[&Witness], at: Offset) -> String {
    let content = |node: &&Witness| {
        let entries = &node.entries;
        let content = match entries.at(at) {
            Some(entry) => entry.to_string(),
            None if at < entries.start() => format!("its log begins at {}", entries.start()),
            None => format!("its log ends at {}", entries.end()),
        };
        (node.id, content)
    };
    by_content(nodes.iter().map(content))
}

fn logs_match(nodes: &[&Witness], report: &mut Report) {
    let mut differences = BTreeSet::new();
    for (index, one) in nodes.iter().enumerate() {
        for other in &nodes[..index] {
            let (one, other) = (&one.entries, &other.entries);
            let from = one.start().max(other.start());
            if from >= one.end().min(other.end()) {
                continue;
            }
            report.judge(MATCH, 1, None);
            if !invariant::logs_match(one.from(from), other.from(from)) {
                differences.extend(one.first_difference(other));
            }
        }
    }
    let stories =
        differences.into_iter().map(|at| format!("at offset {at}: {}", contents(nodes, at)));
    report.judge(MATCH, 0, stories);
}

/// What one node has promised by itself.
fn judge_alone(node: &Witness, report: &mut Report) {
    let (id, entries, [before, after]) = (node.id, &node.entries, node.states);
    if !entries.all().is_empty() {
        let view = Replica {
            epoch: after.epoch,
            leads: false,
            log: entries.all(),
            flushed: entries.all().len(),
            high_watermark: 0,
        };
        let story = || {
            let falls = entries.all().windows(2).position(|two| two[0].epoch > two[1].epoch);
            match falls {
                Some(at) => {
                    let at = entries.start().plus(at as i64 + 1);
                    format!("node {id} at offset {at}: {}", contents(&[node], at))
                }
                None => format!(
                    "node {id}: its log ends in {}, its own epoch is {}",
                    contents(&[node], Offset(entries.end().0 - 1)),
                    after.epoch
                ),
            }
        };
        report.judge(ASCEND, 1, (!invariant::epochs_ascend(&view)).then(story));
    }
    let vote =
        |state: kraft_model::raft::StoredState| (state.epoch, state.vote.map(|vote| vote.id));
    let kept = invariant::promises_kept(vote(before), vote(after));
    let story = || {
        format!(
            "node {id}: it had stored epoch {} and vote {:?}, and then epoch {} and vote {:?}",
            before.epoch,
            before.vote.map(|vote| vote.id),
            after.epoch,
            after.vote.map(|vote| vote.id)
        )
    };
    report.judge(ONE_VOTE, 1, (!kept).then(story));
    let covers = invariant::snapshot_covers_start(entries.start(), node.snapshot);
    let story = || {
        let (start, snapshot) = (entries.start(), node.snapshot);
        format!("node {id}: its log begins at {start}, its newest snapshot ends at {snapshot}")
    };
    report.judge(COVERS, 1, (!covers).then(story));
}

/// Whoever names a leader of an epoch, in what it has stored or in what it says, names the same.
fn one_leader(nodes: &[&Witness], report: &mut Report) {
    let mut led: BTreeMap<Epoch, (NodeId, i32)> = BTreeMap::new();
    for node in nodes {
        let stored = node.states.iter().map(|state| (state.epoch, state.leader));
        let said = node.says.iter().map(|view| (view.epoch, view.leader));
        for (epoch, leader) in stored.chain(said) {
            let Some(leader) = leader else { continue };
            let known = led.get(&epoch).copied();
            let holds = invariant::one_leader_per_epoch(known.map(|(leader, _)| leader), leader);
            let story = known.filter(|_| !holds).map(|(other, by)| {
                let id = node.id;
                format!(
                    "epoch {epoch}: node {by} names node {other}, node {id} names node {leader}"
                )
            });
            report.judge(ONE_LEADER, 1, story);
            led.entry(epoch).or_insert((leader, node.id));
        }
    }
}

/// The log that stands for what is committed: one that reaches so far and that most voters agree
/// with; of several the one that begins first.
pub fn reference<'a>(
    nodes: &[&'a Witness],
    voters: &[ReplicaKey],
    end: Offset,
) -> Option<&'a Witness> {
    let agree = |log: &Entries| {
        let votes = nodes.iter().filter(|node| voters.contains(&node.key));
        votes.filter(|node| log.agrees_up_to(&node.entries) >= end).count()
    };
    let reach = nodes.iter().filter(|node| node.entries.end() >= end);
    let rank = |node: &&&Witness| (agree(&node.entries), std::cmp::Reverse(node.entries.start()));
    reach.max_by_key(rank).copied()
}

/// How whole logs are compared with what is committed: from where the reference begins.
struct Whole<'a> {
    reference: &'a Entries,
    end: Offset,
}

impl Whole<'_> {
    fn of(&self, log: &Entries) -> Vec<Entry> {
        log.whole(self.reference, self.reference.start(), self.end)
    }

    /// Records of such a log below an offset.
    fn below(&self, offset: Offset) -> usize {
        usize::try_from(offset.since(self.reference.start())).unwrap_or_default()
    }

    fn differs_at(&self, log: &Entries) -> Offset {
        log.first_difference(self.reference).unwrap_or(log.end())
    }
}

/// What one node has promised by what it takes for committed, and by leading.
fn judge_by(
    node: &Witness,
    whole: &Whole<'_>,
    committed: Committed<'_, Entry>,
    report: &mut Report,
) {
    let Some(view) = &node.says else { return };
    let (id, entries, high_watermark) = (node.id, &node.entries, view.high_watermark);
    let reaches = invariant::reaches_what_is_committed(entries.end(), high_watermark);
    let story = || {
        let end = entries.end();
        format!("node {id}: its high watermark is {high_watermark}, and its log ends at {end}")
    };
    report.judge(REACHES, 1, (!reaches).then(story));
    let log = whole.of(entries);
    let replica = Replica {
        epoch: view.epoch,
        leads: view.leader == Some(NodeId(id)),
        log: &log,
        flushed: log.len(),
        high_watermark: whole.below(high_watermark.min(whole.end)),
    };
    let story = || {
        let at = whole.differs_at(entries);
        let what = match whole.reference.at(at) {
            Some(entry) => entry.to_string(),
            None => "nothing".to_owned(),
        };
        format!("node {id} at offset {at}: committed is {what}; {}", contents(&[node], at))
    };
    let stands = invariant::committed_never_changes(&replica, committed);
    report.judge(IMMUTABLE, 1, (!stands).then(story));
    if replica.leads {
        let complete = invariant::leader_is_complete(&replica, committed);
        report.judge(COMPLETE, 1, (!complete).then(story));
    }
}

/// A voter whose log is not here, or that refetches what was damaged, may have it or not: only if that
/// makes no difference is anything said.
fn durable(
    nodes: &[&Witness],
    voters: &[ReplicaKey],
    whole: &Whole<'_>,
    committed: Committed<'_, Entry>,
    report: &mut Report,
) {
    let found = |key: &ReplicaKey| {
        let is_it = |node: &&&Witness| {
            node.key.id == key.id
                && (key.directory.is_zero() || node.key.directory == key.directory)
        };
        nodes.iter().find(is_it).filter(|node| !node.is_mending)
    };
    let logs: Vec<Option<Vec<Entry>>> =
        voters.iter().map(|key| Some(whole.of(&found(key)?.entries))).collect();
    let holds_if = |unknown: &[Entry]| {
        let replicas = logs.iter().map(|log| {
            let log = log.as_deref().unwrap_or(unknown);
            let (epoch, leads) = (committed.epoch, false);
            Replica { epoch, leads, log, flushed: log.len(), high_watermark: log.len() }
        });
        invariant::committed_is_durable(replicas, committed)
    };
    match (holds_if(&[]), holds_if(committed.log)) {
        (true, _) => report.judge(DURABLE, committed.log.len() as u64, None),
        (false, true) => {
            report.cannot_judge(
                DURABLE,
                "the logs of too many voters are not here, or are being mended",
            );
        }
        (false, false) => {
            let last = Offset(whole.end.0 - 1);
            let story = format!("at offset {last}: {}", contents(nodes, last));
            report.judge(DURABLE, committed.log.len() as u64, Some(story));
        }
    }
}

#[cfg(test)]
mod tests;
