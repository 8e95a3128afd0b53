//! A few quorum machines in one place, with logs in memory and messages that are carried by hand.

use std::collections::{BTreeSet, VecDeque};

use kraft_model::invariant::quorum::waits_for_a_time;
use kraft_model::log::{Extent, Log};
use kraft_model::raft::{
    Effect, Event, Message, Patience, Quorum, RaftLog, SnapshotId, StoredState, Timer, Vote,
    VoteResponse, VoterChange, VoterChangeError, Voters, VotersRecord,
};
use kraft_model::{DirectoryId, Epoch, EpochEnd, NodeId, Offset, ReplicaKey, Shipped};

/// Records by their epochs alone, or a snapshot's bytes, of which only the extent counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    pub base: i64,
    pub epochs: Vec<i32>,
    /// The Voters records among them.
    pub voters: Vec<VotersRecord>,
}

impl Batch {
    pub fn of(base: i64, epochs: &[i32]) -> Self {
        Batch { base, epochs: epochs.to_vec(), voters: Vec::new() }
    }
}

impl Extent for Batch {
    fn base(&self) -> Offset {
        Offset(self.base)
    }

    fn end(&self) -> Offset {
        Offset(self.base + self.epochs.len() as i64)
    }

    fn last_epoch(&self) -> i32 {
        self.epochs.last().copied().unwrap_or(0)
    }
}

#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    pub start: i64,
    pub epochs: Vec<i32>,
    pub flushed: i64,
    pub snapshot: Option<SnapshotId>,
    /// The Voters records, in order, and before them what the log was formatted with, or what the
    /// snapshot says.
    pub voters: Vec<VotersRecord>,
    pub damaged: bool,
}

impl MemoryLog {
    pub fn of(epochs: &[i32]) -> Self {
        let (epochs, flushed) = (epochs.to_vec(), epochs.len() as i64);
        MemoryLog { epochs, flushed, ..MemoryLog::default() }
    }
}

impl Log for MemoryLog {
    type Batch = Batch;

    fn start(&self) -> Offset {
        Offset(self.start)
    }

    fn end(&self) -> Offset {
        Offset(self.start + self.epochs.len() as i64)
    }

    fn flushed(&self) -> Offset {
        Offset(self.flushed)
    }

    fn last_epoch(&self) -> i32 {
        let below = self.snapshot.map_or(0, |snapshot| snapshot.epoch.0);
        self.epochs.last().copied().unwrap_or(below)
    }

    fn end_of_epoch(&self, epoch: i32) -> EpochEnd {
        let end = self.epochs.iter().take_while(|&&e| e <= epoch).count();
        let epoch = if end == 0 { epoch } else { self.epochs[end - 1] };
        EpochEnd { epoch, end: Offset(self.start + end as i64) }
    }

    fn append(&mut self, batch: Batch) {
        self.epochs.extend(batch.epochs);
        self.voters.extend(batch.voters);
    }

    fn truncate(&mut self, to: Offset) {
        self.epochs.truncate((to.0 - self.start) as usize);
        self.flushed = self.flushed.min(to.0);
        self.voters.retain(|record| record.offset < to);
    }

    fn restart_at(&mut self, start: Offset) {
        (self.start, self.flushed) = (start.0, start.0);
        self.epochs.clear();
    }
}

impl RaftLog for MemoryLog {
    fn read(&self, from: Offset) -> Batch {
        let voters = self.voters.iter().filter(|record| record.offset >= from).copied().collect();
        let epochs = self.epochs[(from.0 - self.start) as usize..].to_vec();
        Batch { base: from.0, epochs, voters }
    }

    fn append_as_leader(&mut self, epoch: Epoch, batch: Batch) {
        self.epochs.extend(batch.epochs.iter().map(|_| epoch.0));
    }

    fn append_leader_change(&mut self, epoch: Epoch, _: NodeId) {
        self.epochs.push(epoch.0);
    }

    fn voters_below(&self, end: Offset) -> Option<VotersRecord> {
        self.voters.iter().rfind(|record| record.offset < end).copied()
    }

    fn append_voters(&mut self, epoch: Epoch, voters: &Voters) {
        self.voters.push(VotersRecord { offset: self.end(), voters: *voters });
        self.epochs.push(epoch.0);
    }

    fn snapshot(&self) -> Option<SnapshotId> {
        self.snapshot
    }

    /// Two chunks of one byte each.
    fn read_snapshot(&self, snapshot: SnapshotId, position: u64) -> Option<(Batch, bool)> {
        let known = self.snapshot == Some(snapshot) && position < 2;
        known.then(|| (Batch::of(position as i64, &[0]), position == 1))
    }

    fn is_damaged(&self) -> bool {
        self.damaged
    }

    fn cut_to_snapshot(&mut self, snapshot: SnapshotId) {
        let keep = self.end_of_epoch(snapshot.epoch.0);
        let covers = snapshot.end >= self.start() && snapshot.end <= self.end();
        let agrees = covers && keep.epoch == snapshot.epoch.0 && snapshot.end <= keep.end;
        self.snapshot = Some(snapshot);
        if agrees {
            self.epochs.drain(..(snapshot.end.0 - self.start) as usize);
            self.start = snapshot.end.0;
        } else {
            self.restart_at(snapshot.end);
        }
    }
}

/// One machine with its disk, and what it asked for.
pub struct Node {
    pub machine: Quorum<Shipped>,
    pub log: MemoryLog,
    pub stored: StoredState,
    pub timers: BTreeSet<Timer>,
    /// Timers as they were set, in order: one that runs may begin anew.
    pub set: Vec<Timer>,
    /// Everything but messages, stores, flushes and timers, in order.
    pub said: Vec<Effect<Batch>>,
    held: Vec<Message<Batch>>,
}

/// Nodes 1 to n, of which the first `voters` vote. Disks are quick; messages wait until carried.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub wires: VecDeque<(i32, i32, Message<Batch>)>,
    voters: Vec<ReplicaKey>,
}

pub fn key(id: i32) -> ReplicaKey {
    ReplicaKey { id: NodeId(id), directory: DirectoryId(id as u128) }
}

pub fn set(ids: &[i32]) -> Voters {
    ids.iter().copied().map(key).collect()
}

impl Cluster {
    pub fn new(voters: i32, observers: i32) -> Self {
        Cluster::with_logs(voters, (0..voters + observers).map(|_| MemoryLog::default()).collect())
    }

    pub fn with_logs(voters: i32, logs: Vec<MemoryLog>) -> Self {
        let voters: Vec<_> = (1..=voters).map(key).collect();
        let mut cluster = Cluster { nodes: Vec::new(), wires: VecDeque::new(), voters };
        for (log, id) in logs.into_iter().zip(1..) {
            let epoch = Epoch(log.last_epoch());
            let stored = StoredState { epoch, ..StoredState::default() };
            cluster.nodes.push(cluster.boot(key(id), stored, log));
        }
        for id in 1..=cluster.nodes.len() as i32 {
            cluster.step(id, Event::Started);
        }
        cluster
    }

    /// A quorum whose logs say who votes: nodes 1 to `voters` were formatted with them, the others
    /// with nothing.
    pub fn dynamic(voters: i32, observers: i32) -> Self {
        let formatted = set(&(1..=voters).collect::<Vec<_>>());
        let bootstrap = VotersRecord { offset: VotersRecord::BOOTSTRAP, voters: formatted };
        let log = |id| MemoryLog {
            voters: if id <= voters { vec![bootstrap] } else { vec![] },
            ..MemoryLog::default()
        };
        Cluster::with_logs(0, (1..=voters + observers).map(log).collect())
    }

    /// The node comes back as `me` with an empty disk but for `log`.
    pub fn replace_disk(&mut self, id: i32, me: ReplicaKey, log: MemoryLog) {
        self.wires.retain(|&(from, to, _)| from != id && to != id);
        self.nodes[id as usize - 1] = self.boot(me, StoredState::default(), log);
        self.step(id, Event::Started);
    }

    fn boot(&self, me: ReplicaKey, stored: StoredState, log: MemoryLog) -> Node {
        let machine = Quorum::new(Shipped, me, &self.voters, stored, &log);
        let (timers, set, said, held) = (BTreeSet::new(), Vec::new(), Vec::new(), Vec::new());
        Node { machine, log, stored, timers, set, said, held }
    }

    /// The process dies and starts anew on what its disk held; its connections are gone.
    pub fn restart(&mut self, id: i32) {
        self.wires.retain(|&(from, to, _)| from != id && to != id);
        let node = self.node(id);
        let (stored, log) = (node.stored, node.log.clone());
        self.nodes[id as usize - 1] = self.boot(node.machine.me(), stored, log);
        self.step(id, Event::Started);
    }

    pub fn node(&self, id: i32) -> &Node {
        &self.nodes[id as usize - 1]
    }

    /// Role and epoch, as one would say it.
    pub fn is(&self, id: i32) -> String {
        let machine = &self.node(id).machine;
        let of = machine.leader().map(|leader| format!(" of {leader}")).unwrap_or_default();
        format!("{} in {}{of}", machine.role(), machine.epoch())
    }

    pub fn election_timer(&self, id: i32) -> Option<Patience> {
        self.node(id).timers.iter().find_map(|timer| match timer {
            Timer::Election(patience) => Some(*patience),
            _ => None,
        })
    }

    pub fn step(&mut self, id: i32, event: Event<Batch>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let node = &mut self.nodes[id as usize - 1];
            let mut fx = Vec::new();
            node.machine.step(&mut node.log, event, &mut fx);
            for effect in fx {
                match effect {
                    Effect::Store(stored) => node.stored = stored,
                    Effect::Send { to, message, .. } => {
                        self.wires.push_back((id, to.0, message));
                    }
                    Effect::Flush => {
                        node.log.flushed = node.log.end().0;
                        events.push_back(Event::Flushed(node.log.end()));
                    }
                    Effect::Hold { fetch, .. } => node.held.push(Message::Fetch(fetch)),
                    Effect::News => {
                        for message in node.held.drain(..) {
                            let Message::Fetch(fetch) = &message else { continue };
                            events.push_back(Event::Received { from: fetch.replica.id, message });
                        }
                    }
                    Effect::SetTimer(timer) => {
                        node.cancel(timer);
                        node.timers.insert(timer);
                        node.set.push(timer);
                    }
                    Effect::CancelTimer(timer) => node.cancel(timer),
                    other => node.said.push(other),
                }
            }
        }
        self.node(id).waits_for_a_time();
    }

    /// The timer of this kind runs out; it must be running.
    pub fn time_out(&mut self, id: i32, timer: Timer) {
        let running = self.node(id).timers.iter().copied().find(|&t| same_timer(t, timer));
        let running = running.unwrap_or_else(|| panic!("{timer:?} does not run on node {id}"));
        self.nodes[id as usize - 1].timers.remove(&running);
        self.step(id, Event::Timeout(running));
    }

    /// Carries what is under way between these nodes, and what follows, until nothing is; the
    /// rest waits.
    pub fn carry_among(&mut self, ids: &[i32]) {
        for _ in 0..200 {
            let carried = |(from, to, _): &(i32, i32, _)| ids.contains(from) && ids.contains(to);
            let Some(at) = self.wires.iter().position(carried) else { return };
            if let Some((from, to, message)) = self.wires.remove(at) {
                self.step(to, Event::Received { from: NodeId(from), message });
            }
        }
        panic!("the nodes talk without end");
    }

    pub fn carry(&mut self) {
        let all: Vec<i32> = (1..=self.nodes.len() as i32).collect();
        self.carry_among(&all);
    }

    /// Elects node `id`, undisturbed.
    pub fn elect(&mut self, id: i32) {
        self.time_out(id, Timer::Election(Patience::Full));
        self.carry();
        assert!(self.node(id).machine.is_leader(), "{}", self.is(id));
    }

    /// Lets node `id` stand, and carries messages one by one until it has this role.
    pub fn stand_until(&mut self, id: i32, role: &str) {
        self.time_out(id, Timer::Election(Patience::Full));
        while self.node(id).machine.role() != role {
            let Some((from, to, message)) = self.wires.pop_front() else {
                panic!("{} and no {role}", self.is(id))
            };
            self.step(to, Event::Received { from: NodeId(from), message });
        }
    }

    /// Hands node `to` this question, and returns what it answers.
    pub fn ask(&mut self, to: i32, vote: Vote) -> VoteResponse {
        self.wires.clear();
        self.step(to, Event::Received { from: vote.candidate.id, message: Message::Vote(vote) });
        let answer = self.wires.iter().find_map(|(_, _, message)| match message {
            Message::VoteResponse(answer) => Some(*answer),
            _ => None,
        });
        answer.expect("a question is answered")
    }

    /// The ids of the voters as node `id` has them.
    pub fn voters(&self, id: i32) -> Vec<i32> {
        self.node(id).machine.voters().iter().map(|voter| voter.id.0).collect()
    }

    /// Asks node `id` for a change, and carries nothing.
    pub fn change(&mut self, id: i32, change: VoterChange) {
        self.step(id, Event::ChangeVoters { id: 7, change });
    }

    /// What node `id` said to the last change that it was asked for.
    pub fn answer(&self, id: i32) -> Option<Result<(), VoterChangeError>> {
        self.node(id).said.iter().rev().find_map(|effect| match effect {
            Effect::VotersAnswered { id: 7, result } => Some(*result),
            _ => None,
        })
    }

    pub fn propose(&mut self, id: i32, records: usize) {
        let base = self.node(id).log.end().0;
        self.step(id, Event::Propose(Batch::of(base, &vec![0; records])));
    }
}

impl Node {
    fn waits_for_a_time(&self) {
        if self.said.iter().any(|effect| matches!(effect, Effect::Violation(_))) {
            return; // The process ends.
        }
        let runs = |timer| self.timers.iter().any(|&running| same_timer(running, timer));
        let (machine, timers) = (&self.machine, &self.timers);
        let role = machine.role();
        assert!(waits_for_a_time(machine, runs), "{role} {:?}: {timers:?}", machine.me());
    }

    fn cancel(&mut self, timer: Timer) {
        self.timers.retain(|&running| !same_timer(running, timer));
    }
}

/// An election timer is one timer, however long it runs.
fn same_timer(a: Timer, b: Timer) -> bool {
    a == b || matches!((a, b), (Timer::Election(_), Timer::Election(_)))
}
