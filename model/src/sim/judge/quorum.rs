//! The quorum's promises: one leader an epoch, one vote, one committed prefix.

use std::sync::Arc;

use crate::invariant::quorum::{self as invariant, Committed, Entry, Replica};
use crate::log::Log;
use crate::raft::RaftLog;
use crate::sim::disk::{Disk, MetaBatch};
use crate::sim::env::Env;
use crate::sim::process::index;
use crate::sim::world::Node;
use crate::{Epoch, NodeId, Offset, ReplicaKey, Rules};

use super::{Judge, SeenQuorum};

const MATCH: &str = "metadata logs match";
const ASCEND: &str = "epochs ascend along a metadata log";
const ONE_LEADER: &str = "one leader per epoch";
const ONE_VOTE: &str = "a vote is given once in an epoch";
const RISES: &str = "the quorum's high watermark never falls";
const IMMUTABLE: &str = "what is committed never changes";
const DURABLE: &str = "what is committed is on a majority's disks";
const OWN: &str = "a record of an earlier epoch is not committed by counting";
const FOLLOW: &str = "a node goes by the voters of its log";
const ONE_SET: &str = "a log has one uncommitted voter set at most";
const TOO_EARLY: &str = "voters change only after a commit in the leader's epoch";
const COVERS: &str = "a snapshot covers what a log no longer has";
const REACHES: &str = "a node takes nothing for committed that its log does not reach";
const ANEW: &str = "a process that starts neither leads nor stands";
const WAITS: &str = "who cannot go on by itself waits for a time";
const COMPLETE: &str = "a leader has all that was committed";

/// A batch as the invariants see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    epoch: i32,
    id: u64,
}

impl Entry for Seen {
    fn epoch(&self) -> i32 {
        self.epoch
    }
}

impl Seen {
    fn of(batch: &MetaBatch) -> Seen {
        Seen { epoch: batch.epoch, id: batch.id }
    }
}

impl Judge {
    pub(super) fn granted(&mut self, voter: ReplicaKey, epoch: Epoch, candidate: NodeId) {
        let before = self.granted.get(&voter).copied().unwrap_or_default();
        let after = (epoch, Some(candidate));
        // An answer may be old by the time that it leaves; an older promise is kept as well.
        if epoch >= before.0 {
            if !invariant::promises_kept(before, after) {
                self.fail(ONE_VOTE, || {
                    format!(
                        "in epoch {epoch} node {} votes for {:?} and {candidate}",
                        voter.id, before.1
                    )
                });
            }
            self.granted.insert(voter, after);
        }
    }

    pub(super) fn look_at_quorum<R: Rules>(
        &mut self,
        nodes: &mut [Node<R>],
        at: usize,
        env: &mut Env,
    ) {
        let is_changed = self.look_at_log(nodes, at);
        let node = &nodes[at];
        let Some(process) = &node.process else { return };
        let quorum = &process.quorum;
        let (epoch, id) = (quorum.epoch(), node.who.id);
        if quorum.is_leader() {
            let led = self.led.get(&epoch).copied();
            if !invariant::one_leader_per_epoch(led, id) {
                self.fail(ONE_LEADER, || format!("epoch {epoch}: {led:?} and {id}"));
            }
            if led.is_none() {
                self.led.insert(epoch, id);
                self.look_at_leader(node, epoch);
                self.look_at_votes(node, epoch);
            }
        }
        let high_watermark = quorum.high_watermark().0;
        let seen = self.seen.entry(at).or_default();
        let known = match seen.run == node.run {
            true => *seen,
            false => SeenQuorum::default(),
        };
        let before = known.high_watermark;
        let stands = quorum.role() == "Candidate";
        if known.run != node.run && !invariant::begins_anew(quorum.is_leader(), stands) {
            self.fail(ANEW, || format!("node {id} in epoch {epoch}"));
        }
        let seen = self.seen.entry(at).or_default();
        let led_in = quorum.is_leader().then_some(epoch);
        let voters_at = quorum.voters_at();
        *seen = SeenQuorum { run: node.run, high_watermark, led_in, voters_at };
        if is_changed || known.run != node.run || known.voters_at != voters_at {
            self.look_at_voters(node);
            self.look_at_start(node);
        }
        if !invariant::waits_for_a_time(quorum, |timer| process.waits(timer)) {
            self.fail(WAITS, || format!("node {id}, {} in epoch {epoch}", quorum.role()));
        }
        let end = node.disk.metadata.end();
        if !invariant::reaches_what_is_committed(end, Offset(high_watermark)) {
            self.fail(REACHES, || {
                format!("node {id}: {high_watermark}, and its log ends at {end}")
            });
        }
        if high_watermark > before && led_in.is_some() && known.led_in == led_in {
            self.look_at_count(node, epoch, high_watermark);
        }
        if !invariant::high_watermark_rises(before as usize, high_watermark as usize) {
            self.fail(RISES, || format!("node {id}: from {before} to {high_watermark}"));
        }
        env.stir((high_watermark as u64) << 20 ^ epoch.0 as u64);
        if high_watermark > before {
            self.look_at_commit(nodes, at, before, high_watermark);
        }
        if is_changed {
            self.look_at_change(&nodes[at]);
            self.look_at_chances(nodes, at);
        }
    }

    /// What changed in a log: an epoch and an offset name one batch, and all that is before it.
    /// Whether anything has.
    fn look_at_log<R: Rules>(&mut self, nodes: &mut [Node<R>], at: usize) -> bool {
        let epoch = nodes[at].process.as_ref().map(|process| process.quorum.epoch().0);
        let log = &mut nodes[at].disk.metadata;
        let from = std::mem::replace(&mut log.dirty_from, i64::MAX);
        if from == i64::MAX {
            return false;
        }
        let mut before = log.before(from).cloned();
        let batches: Vec<Arc<MetaBatch>> = log.from(from).cloned().collect();
        for batch in batches {
            let follows = before.as_ref().is_none_or(|one| one.epoch <= batch.epoch);
            if !follows || epoch.is_some_and(|epoch| batch.epoch > epoch) {
                self.fail(ASCEND, || format!("node {}: {batch:?}", at + 1));
            }
            let previous = before.as_ref().map(|one| one.id);
            let named = (batch.epoch, batch.base);
            let known = self.batches.entry(named).or_insert((batch.id, previous));
            // A log that begins at a snapshot shows no batch before its first.
            let same_previous = known.1.is_none() || previous.is_none() || known.1 == previous;
            if known.0 != batch.id || !same_previous {
                self.fail(MATCH, || format!("node {} at {}: {batch:?}", at + 1, batch.base));
            } else if known.1.is_none() {
                known.1 = previous;
            }
            before = Some(batch);
        }
        true
    }

    /// Q12: a node goes by the voters of its log, of whom it has one uncommitted set at most.
    fn look_at_voters<R: Rules>(&mut self, node: &Node<R>) {
        let Some(process) = &node.process else { return };
        let (log, id) = (&node.disk.metadata, node.who.id);
        let recorded = log.voters_below(log.end()).map(|record| record.offset);
        let in_force = (process.quorum.voters_at(), process.quorum.voters().to_vec());
        if !invariant::voters_follow_log(&in_force, &(recorded, node.voters().to_vec())) {
            self.fail(FOLLOW, || format!("node {id}: {in_force:?}, and {recorded:?} is recorded"));
        }
        let committed = self.committed_end.max(process.quorum.high_watermark().0);
        let sets = log.from(committed).map(|batch| batch.voters.is_some());
        if !invariant::one_uncommitted_voter_set(sets, 0) {
            self.fail(ONE_SET, || format!("node {id} above {committed}"));
        }
    }

    /// Q12: what a leader has just appended, if that is another set of voters.
    fn look_at_change<R: Rules>(&mut self, node: &Node<R>) {
        let Some(process) = node.process.as_ref().filter(|it| it.quorum.is_leader()) else {
            return;
        };
        let (log, epoch, id) = (&node.disk.metadata, process.quorum.epoch(), node.who.id);
        let Some(last) = log.batches().back().filter(|it| it.epoch == epoch.0) else { return };
        let before = log.voters_below(Offset(last.base)).map(|record| record.voters);
        let is_change = last.voters.is_some() && before.is_some() && last.voters != before;
        if is_change && !invariant::changes_after_commit(epoch, self.committed_in) {
            self.fail(TOO_EARLY, || format!("node {id} in epoch {epoch}: {last:?}"));
        }
    }

    /// Q11: what the log has no longer is in a snapshot.
    fn look_at_start<R: Rules>(&mut self, node: &Node<R>) {
        let (log, id) = (&node.disk.metadata, node.who.id);
        let end = log.snapshot_content().map_or(Offset::ZERO, |snapshot| snapshot.id.end);
        if !invariant::snapshot_covers_start(log.start(), end) {
            let start = log.start();
            self.fail(COVERS, || format!("node {id}: from {start}, the snapshot ends at {end}"));
        }
    }

    /// Q7: a leader takes for committed what ends with a record of its own epoch.
    fn look_at_count<R: Rules>(&mut self, node: &Node<R>, epoch: Epoch, high_watermark: i64) {
        let last = node.disk.metadata.before(high_watermark);
        if let Some(last) = last.filter(|last| !invariant::commits_its_own(epoch, last.epoch)) {
            let (id, of) = (node.who.id, last.epoch);
            self.fail(OWN, || {
                format!("node {id} counts {high_watermark} in epoch {epoch}, a record of {of}")
            });
        }
    }

    fn look_at_leader<R: Rules>(&mut self, node: &Node<R>, epoch: Epoch) {
        let Some(last) = self.committed.values().next_back() else { return };
        if epoch >= self.committed_in && !holds(&node.disk, last) {
            let (id, end) = (node.who.id, self.committed_end);
            self.fail(COMPLETE, || {
                format!("node {id} leads epoch {epoch} without the batch that ends at {end}")
            });
        }
    }

    fn look_at_commit<R: Rules>(
        &mut self,
        nodes: &mut [Node<R>],
        at: usize,
        before: i64,
        high_watermark: i64,
    ) {
        let node = &nodes[at];
        let from = before.max(node.disk.metadata.start().0);
        let due: Vec<_> = node
            .disk
            .metadata
            .from(from)
            .take_while(|batch| batch.end() <= high_watermark)
            .cloned()
            .collect();
        let mut longer = false;
        for batch in due {
            match self.committed.get(&batch.base) {
                Some(known) if known.id == batch.id => {}
                Some(known) => {
                    let (id, known) = (node.who.id, known.clone());
                    self.fail(IMMUTABLE, || format!("node {id}: {batch:?} and not {known:?}"));
                }
                None if batch.base == self.committed_end => {
                    self.commit(&batch);
                    longer = true;
                }
                None => {
                    let (id, end) = (node.who.id, self.committed_end);
                    self.fail(IMMUTABLE, || format!("node {id}: {batch:?} does not follow {end}"));
                }
            }
        }
        if longer {
            if let Some(process) = &nodes[at].process {
                self.committed_in = self.committed_in.max(process.quorum.epoch());
            }
            self.committed_by = nodes[at].voters();
            self.look_at_durability(nodes);
            self.follow_partitions(nodes);
        }
    }

    fn commit(&mut self, batch: &Arc<MetaBatch>) {
        self.committed.insert(batch.base, Arc::clone(batch));
        self.committed_end = batch.end();
        self.fold(batch);
    }

    /// The last committed batch is on a majority's disks, and with it, since logs match, all.
    fn look_at_durability<R: Rules>(&mut self, nodes: &[Node<R>]) {
        let Some(last) = self.committed.values().next_back() else { return };
        // A damaged voter may have held it, and neither votes nor stands before it does again; one
        // whose disk was replaced is no voter any more, though what it said before still counts.
        let has = |voter: &&ReplicaKey| {
            let node = &nodes[index(voter.id)];
            let once = node.disk.metadata.damaged.filter(|_| node.is_voter(**voter));
            let once = once.or_else(|| self.seats_lost.get(voter).copied());
            once.is_some_and(|end| end >= last.end())
                || node.is_voter(**voter) && holds_on_disk(&node.disk, last)
        };
        let voters = self.committed_by;
        let holders = voters.iter().filter(has).count();
        if holders * 2 <= voters.len() {
            let end = self.committed_end;
            self.fail(DURABLE, || format!("the batch that ends at {end} is on {holders} disks"));
        }
    }

    /// All of it with the functions that the other judges call, on whole logs.
    pub(super) fn look_at_all_logs<R: Rules>(&mut self, nodes: &[Node<R>]) {
        let committed: Vec<Seen> = self.committed.values().map(|batch| Seen::of(batch)).collect();
        let logs: Vec<Vec<Seen>> = nodes.iter().map(|node| self.whole_log(&node.disk)).collect();
        let mut views = Vec::new();
        for (node, log) in nodes.iter().zip(&logs) {
            let first = log.len() - node.disk.metadata.batches().len();
            let below = |offset: i64| {
                let kept = node.disk.metadata.batches();
                first + kept.iter().take_while(|batch| batch.end() <= offset).count()
            };
            let quorum = node.process.as_ref().map(|process| &process.quorum);
            views.push(Replica {
                epoch: quorum.map_or(node.disk.stored.epoch, |quorum| quorum.epoch()),
                leads: quorum.is_some_and(|quorum| quorum.is_leader()),
                log,
                flushed: below(node.disk.metadata.flushed().0),
                high_watermark: quorum.map_or(0, |quorum| below(quorum.high_watermark().0)),
            });
        }
        let committed = Committed { log: &committed, epoch: self.committed_in };
        for (at, view) in views.iter().enumerate() {
            let is_up = nodes[at].process.is_some();
            let checks = [
                (ASCEND, !is_up || invariant::epochs_ascend(view)),
                (COMPLETE, invariant::leader_is_complete(view, committed)),
                (IMMUTABLE, invariant::committed_never_changes(view, committed)),
                (MATCH, views[..at].iter().all(|one| invariant::logs_match(one.log, view.log))),
            ];
            for (property, _) in checks.into_iter().filter(|(_, holds)| !holds) {
                self.fail(property, || format!("node {} (full check)", at + 1));
            }
        }
        let by = self.committed_by;
        let is_whole = by.iter().all(|voter| nodes[index(voter.id)].is_able(*voter));
        let voters: Vec<_> = by.iter().map(|voter| views[index(voter.id)]).collect();
        if is_whole && !invariant::committed_is_durable(voters.into_iter(), committed) {
            self.fail(DURABLE, || "in the full check".to_owned());
        }
    }

    /// A node's disk is replaced: what it has said of it still counts.
    pub fn seat_lost<R: Rules>(&mut self, node: &Node<R>) {
        let key = ReplicaKey { id: node.who.id, directory: node.disk.directory };
        let log = &node.disk.metadata;
        self.seats_lost.insert(key, log.flushed().0.max(log.damaged.unwrap_or(0)));
    }

    /// A log with what its snapshot stands for before it.
    fn whole_log(&self, disk: &Disk) -> Vec<Seen> {
        let start = disk.metadata.start().0;
        let below = self.committed.range(..start).map(|(_, batch)| Seen::of(batch));
        below.chain(disk.metadata.batches().iter().map(|batch| Seen::of(batch))).collect()
    }
}

/// Whether a log has this batch, or a snapshot in its place.
fn holds(disk: &Disk, batch: &MetaBatch) -> bool {
    let log = &disk.metadata;
    let found = log.from(batch.base).next().is_some_and(|kept| kept.id == batch.id);
    found || log.snapshot_content().is_some_and(|it| it.id.end.0 >= batch.end())
}

fn holds_on_disk(disk: &Disk, batch: &MetaBatch) -> bool {
    holds(disk, batch) && disk.metadata.flushed().0 >= batch.end()
}
