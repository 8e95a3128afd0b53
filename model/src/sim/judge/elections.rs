//! Elections: none against a leader whom a majority follows, and somebody can always be elected.

use std::collections::{BTreeMap, BTreeSet};

use crate::invariant::quorum as invariant;
use crate::log::Log;
use crate::raft::{Effect, Event, Message, RaftLog, Vote};
use crate::sim::process::index;
use crate::sim::world::Node;
use crate::{Epoch, NodeId, Offset, ReplicaKey, Rules};

use super::Judge;

const STABLE: &str = "nobody stands against a leader whom a majority follows";
const ELECTED: &str = "a leader was voted for by a majority in its epoch";
const KEPT: &str = "a leader has the log with which it stood";
const CHANCES: &str = "any majority could elect one of its own";

/// Who stands, and whom that disturbs.
#[derive(Default)]
pub(super) struct Elections {
    /// Who follows a leader that has answered, or leads.
    loyal: BTreeSet<NodeId>,
    /// For each node that asks for pre-votes, who has been loyal ever since it began to ask.
    since_asked: BTreeMap<NodeId, BTreeSet<NodeId>>,
    /// Who has given a pre-vote to whom in which epoch, at a time when it was free to.
    promised: BTreeMap<(NodeId, Epoch), BTreeSet<NodeId>>,
    epochs: BTreeMap<NodeId, Epoch>,
    /// Last epoch and end of the log with which a node stood.
    stood: BTreeMap<(NodeId, Epoch), (i32, Offset)>,
}

impl Elections {
    pub fn would_vote(&mut self, voter: NodeId, epoch: Epoch, candidate: NodeId) {
        self.promised.retain(|(_, of), _| of.0 + 3 > epoch.0);
        self.promised.entry((candidate, epoch)).or_default().insert(voter);
    }

    fn watch(&mut self, id: NodeId, is_loyal: bool) {
        if is_loyal {
            self.loyal.insert(id);
        } else {
            self.loyal.remove(&id);
            self.since_asked.values_mut().for_each(|loyal| {
                loyal.remove(&id);
            });
        }
    }

    fn asks(&mut self, id: NodeId, epoch: Epoch) {
        if !self.since_asked.contains_key(&id) {
            let promised = self.promised.get(&(id, epoch));
            let is_bound = |node: &&NodeId| promised.is_none_or(|free| !free.contains(node));
            let bound = self.loyal.iter().filter(is_bound).copied().collect();
            self.since_asked.insert(id, bound);
        }
    }
}

impl Judge {
    /// Q4.
    pub(super) fn look_at_election<R: Rules>(&mut self, nodes: &[Node<R>], at: usize) {
        let id = nodes[at].who.id;
        let elections = &mut self.elections;
        let Some(process) = &nodes[at].process else { return elections.watch(id, false) };
        let quorum = &process.quorum;
        elections.watch(id, quorum.is_leader() || quorum.has_fetched());
        let epoch = quorum.epoch();
        let before = elections.epochs.insert(id, epoch);
        if before.is_some_and(|before| before < epoch) && quorum.role() == "Candidate" {
            let log = &nodes[at].disk.metadata;
            elections.stood.insert((id, epoch), (log.last_epoch(), log.end()));
        }
        match quorum.role() {
            "Prospective" => elections.asks(id, epoch),
            "Candidate" if before.is_some_and(|before| before < epoch) => {
                let asked = elections.since_asked.remove(&id);
                let loyal = asked.unwrap_or_else(|| elections.loyal.clone());
                let voters = quorum.voters();
                let loyal = voters.iter().filter(|voter| loyal.contains(&voter.id)).count();
                if !invariant::leadership_is_stable(loyal, voters.len()) {
                    let all = voters.len();
                    self.fail(STABLE, || {
                        format!("node {id} in epoch {epoch}: {loyal} of {all} follow a leader")
                    });
                }
            }
            _ => {
                elections.since_asked.remove(&id);
            }
        }
    }

    /// Q3, Q5: of a node that has begun to lead.
    pub(super) fn look_at_votes<R: Rules>(&mut self, node: &Node<R>, epoch: Epoch) {
        let Some(process) = &node.process else { return };
        let (id, voters, log) = (node.who.id, node.voters(), &node.disk.metadata);
        // Who has voted in a later epoch since may have voted in this one.
        let has_voted = |voter: &&ReplicaKey| {
            let is_it = |key: &ReplicaKey| {
                key.id == voter.id
                    && (voter.directory.is_zero() || key.directory == voter.directory)
            };
            let votes = self.granted.iter().filter(|(key, _)| is_it(key)).map(|(_, vote)| *vote);
            node.is_voter(**voter)
                || votes.into_iter().any(|(of, to)| of > epoch || of == epoch && to == Some(id))
        };
        let votes = voters.iter().filter(has_voted).count();
        if !invariant::elected_by_majority(votes, voters.len()) {
            let all = voters.len();
            self.fail(ELECTED, || format!("node {id} in epoch {epoch}: {votes} of {all}"));
        }
        let stood = self.elections.stood.get(&(id, epoch)).copied();
        let start = process.quorum.epoch_start().unwrap_or_default();
        let below = || log.snapshot().map_or(0, |snapshot| snapshot.epoch.0);
        let before = log.before(start.0).map_or_else(below, |batch| batch.epoch);
        if let Some(stood) = stood.filter(|stood| !invariant::kept_its_log(*stood, (before, start)))
        {
            self.fail(KEPT, || {
                format!("node {id} in epoch {epoch}: {stood:?}, now {before}, {start}")
            });
        }
    }

    /// A process has ended.
    pub fn is_gone(&mut self, id: NodeId) {
        self.elections.watch(id, false);
        self.elections.since_asked.remove(&id);
        self.elections.epochs.remove(&id);
    }

    /// Q3: asks the machines themselves, where two logs of which neither is longer in every way
    /// might stand in each other's way.
    pub(super) fn look_at_chances<R: Rules>(&mut self, nodes: &mut [Node<R>], at: usize) {
        let voters = nodes[at].voters();
        let is_there = |voter: &&ReplicaKey| {
            let node = &nodes[index(voter.id)];
            node.process.is_some() && node.is_able(**voter)
        };
        if voters.len() < 2 || !voters.iter().all(|voter| is_there(&voter)) {
            return;
        }
        let log = |nodes: &[Node<R>], voter: &ReplicaKey| {
            let log = &nodes[index(voter.id)].disk.metadata;
            (log.last_epoch(), log.end())
        };
        let parts = |one: (i32, Offset), other: (i32, Offset)| one.0 > other.0 && one.1 < other.1;
        let mine = (nodes[at].disk.metadata.last_epoch(), nodes[at].disk.metadata.end());
        let is_apart = voters.iter().map(|voter| log(nodes, voter));
        if !is_apart.into_iter().any(|other| parts(mine, other) || parts(other, mine)) {
            return;
        }
        let all = voters.len();
        let mut votes: Vec<Vec<bool>> = Vec::new();
        for &voter in voters.iter() {
            let mut row = Vec::new();
            for &candidate in voters.iter() {
                let end = log(nodes, &candidate);
                row.push(voter == candidate || accepts(nodes, voter, candidate, end));
            }
            votes.push(row);
        }
        if !invariant::any_majority_can_elect(all, |voter, candidate| votes[voter][candidate]) {
            let logs: Vec<_> = voters.iter().map(|voter| log(nodes, voter)).collect();
            self.fail(CHANCES, || format!("logs of {voters:?} end at {logs:?}"));
        }
    }
}

/// Whether a copy of the voter's machine votes for the candidate, in an epoch that is above all.
fn accepts<R: Rules>(
    nodes: &mut [Node<R>],
    voter: ReplicaKey,
    candidate: ReplicaKey,
    (last_epoch, end): (i32, Offset),
) -> bool {
    let epochs = nodes.iter().filter_map(|node| Some(node.process.as_ref()?.quorum.epoch()));
    let epoch = epochs.max().unwrap_or_default().next();
    let node = &mut nodes[index(voter.id)];
    let Some(mut machine) = node.process.as_ref().map(|process| process.quorum) else {
        return true;
    };
    let last_epoch = Epoch(last_epoch);
    let voter = machine.me();
    let vote = Vote { epoch, candidate, voter, last_epoch, end, pre_vote: false };
    let mut effects = Vec::new();
    let event = Event::Received { from: candidate.id, message: Message::Vote(vote) };
    // Asking for a vote leaves the log as it is.
    machine.step(&mut node.disk.metadata, event, &mut effects);
    effects.iter().any(|effect| {
        matches!(effect, Effect::Send { message: Message::VoteResponse(answer), .. }
            if answer.granted)
    })
}
