//! The state of the modelled quorum, and how one event works through it.

use std::collections::VecDeque;

use crate::check::Mutated;
use crate::invariant::quorum as invariant;
use crate::log::Log;
use crate::raft::{Effect, Effects, Event, Gate, Message, Quorum, Standing, Timer};
use crate::{Epoch, NodeId, Offset};

use super::disk::{DiskLog, QuorumFile, Record, Run, Stored};
use super::network::{MAX_NODES, Network, Packet, id, index, key};
use super::{Delivery, QuorumModel};

/// Epochs that the history has room for, 0 included.
const EPOCHS: usize = 6;

/// Everything: nodes with their disks, what is under way, what was spent, what was promised.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State<const N: usize> {
    pub(super) nodes: [Node<N>; N],
    pub(super) network: Network,
    /// Messages that wait for their sender's quorum-state file to be on disk.
    pub(super) outbox: Network,
    pub(super) spent: Spent,
    pub(super) history: History,
    pub(super) broken: Option<Broken>,
}

/// A process and its disk. A crash leaves `log` and `file`, as far as they got, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Node<const N: usize> {
    pub(super) standing: Standing,
    pub(super) log: DiskLog,
    pub(super) file: QuorumFile,
    /// The fetch that is held for each node, [`Packet::None`] if there is none.
    pub(super) held: [Packet; N],
    pub(super) timers: Timers,
    pub(super) flushing: bool,
    /// Was told to act as controller, and not to stop since.
    pub(super) active: bool,
}

/// Which timers run, one bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Timers(u8);

/// How much of each bound is used up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Spent {
    pub(super) crashes: u8,
    pub(super) timeouts: u8,
    pub(super) breaks: u8,
    pub(super) peers_gone: u8,
    pub(super) resigns: u8,
    pub(super) records: u8,
}

/// What must never be forgotten, though nodes may forget it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct History {
    /// Who led each epoch.
    pub(super) leaders: [Option<NodeId>; EPOCHS],
    /// The highest vote that each node let others know of, by index.
    pub(super) votes: [(Epoch, Option<NodeId>); MAX_NODES],
    pub(super) committed: Run,
    pub(super) committed_in: Epoch,
}

/// A promise whose breach shows in a step, not in a state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Broken {
    TwoLeaders,
    VoteChanged,
    HighWatermarkFell,
    /// The machine itself noticed.
    Noticed,
}

impl History {
    pub(super) fn new() -> Self {
        History {
            leaders: [None; EPOCHS],
            votes: [(Epoch(0), None); MAX_NODES],
            committed: Run::default(),
            committed_in: Epoch(0),
        }
    }

    pub(super) fn committed(&self) -> invariant::Committed<'_, Record> {
        invariant::Committed { log: self.committed.as_slice(), epoch: self.committed_in }
    }
}

impl Timers {
    fn bit(timer: Timer) -> u8 {
        match timer {
            // One timer, whatever its length.
            Timer::Election(_) => 1,
            Timer::Fetch => 2,
            Timer::CheckQuorum => 4,
            Timer::Announce => 8,
            Timer::Retry => 16,
            Timer::VoterChange => 32,
        }
    }

    pub(super) fn runs(self, timer: Timer) -> bool {
        self.0 & Timers::bit(timer) != 0
    }

    fn set(&mut self, timer: Timer) {
        self.0 |= Timers::bit(timer);
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.0 &= !Timers::bit(timer);
    }
}

impl<const N: usize> Node<N> {
    /// The process as it starts on what its disk holds.
    pub(super) fn boot(model: &QuorumModel<N>, at: usize, log: DiskLog, file: QuorumFile) -> Self {
        let stored = file.stored.unpack();
        let machine = Quorum::new(model.bounds.rules, key(at), &model.voters, stored, &log);
        Node {
            standing: machine.standing(),
            log,
            file,
            held: [Packet::None; N],
            timers: Timers::default(),
            flushing: false,
            active: false,
        }
    }
}

impl<const N: usize> State<N> {
    pub(super) fn machine(&self, model: &QuorumModel<N>, at: usize) -> Quorum<Mutated> {
        model.born[at].with(self.nodes[at].standing)
    }

    pub(super) fn machines(&self, model: &QuorumModel<N>) -> [Quorum<Mutated>; N] {
        std::array::from_fn(|at| self.machine(model, at))
    }

    pub(super) fn view(&self, model: &QuorumModel<N>, at: usize) -> invariant::Replica<'_, Record> {
        let (machine, log) = (self.machine(model, at), &self.nodes[at].log);
        invariant::Replica {
            epoch: machine.epoch(),
            leads: machine.is_leader(),
            log: log.written.as_slice(),
            flushed: log.flushed().0 as usize,
            high_watermark: machine.high_watermark().0 as usize,
        }
    }
}

/// One event on its way through the cluster, with all that follows at once.
pub(super) struct Turn<'a, const N: usize> {
    pub(super) state: &'a mut State<N>,
    model: &'a QuorumModel<N>,
    fx: Effects<Run>,
    /// Events that follow without delay, in order.
    next: VecDeque<(usize, Event<Run>)>,
}

impl<'a, const N: usize> Turn<'a, N> {
    pub(super) fn new(state: &'a mut State<N>, model: &'a QuorumModel<N>) -> Self {
        Turn { state, model, fx: Vec::with_capacity(8), next: VecDeque::new() }
    }

    /// Hands `event` to the machine of node `at`, and then to whomever it leads on to.
    pub(super) fn run(&mut self, at: usize, event: Event<Run>) {
        self.step(at, event);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some((at, event)) = self.next.pop_front() {
            self.step(at, event);
        }
    }

    fn step(&mut self, at: usize, event: Event<Run>) {
        let mut machine = self.state.machine(self.model, at);
        let before = machine.high_watermark();
        let mut fx = std::mem::take(&mut self.fx);
        let node = &mut self.state.nodes[at];
        machine.step(&mut node.log, event, &mut fx);
        node.standing = machine.standing();
        for effect in fx.drain(..) {
            self.carry_out(at, effect);
        }
        self.fx = fx;
        self.watch(at, &machine, before);
    }

    fn carry_out(&mut self, at: usize, effect: Effect<Run>) {
        // Once no crash is left to come, nothing can tell a slow disk from a slow network.
        let quick = self.state.spent.crashes >= self.model.bounds.crashes;
        let node = &mut self.state.nodes[at];
        match effect {
            Effect::Store(stored) if quick && node.file.pending.is_none() => {
                node.file.stored = Stored::pack(stored);
            }
            Effect::Store(stored) => node.file.pending = Some(Stored::pack(stored)),
            Effect::Send { to, message, gate } => {
                let packet = Packet::pack(&message);
                if gate == Gate::Stored && node.file.pending.is_some() {
                    self.state.outbox.send(at, index(to), packet);
                } else {
                    self.send(at, index(to), packet);
                }
            }
            Effect::Flush if quick && !node.flushing => {
                node.log.flush();
                self.next.push_back((at, Event::Flushed(node.log.flushed())));
            }
            Effect::Flush => node.flushing = true,
            Effect::Hold { from, fetch } => {
                node.held[index(from)] = Packet::pack(&Message::Fetch(fetch));
            }
            Effect::News => self.look_at_held(at),
            Effect::SetTimer(timer) => node.timers.set(timer),
            Effect::CancelTimer(timer) => node.timers.stop(timer),
            Effect::Lead { .. } => node.active = true,
            Effect::LostLeadership { .. } => node.active = false,
            Effect::Committed(offset) => self.note_committed(at, offset.0 as usize),
            Effect::Violation(_) => self.state.broken = Some(Broken::Noticed),
            Effect::LeaderKnown { .. }
            | Effect::StoreSnapshotChunk { .. }
            | Effect::VotersKnown
            | Effect::VotersAnswered { .. } => {}
        }
    }

    /// A message leaves its node for good.
    fn send(&mut self, from: usize, to: usize, packet: Packet) {
        self.note_vote(from, to, packet);
        if self.model.bounds.delivery == Delivery::RequestsAtOnce && packet.is_request() {
            let message = packet.unpack(from, to);
            self.next.push_back((to, Event::Received { from: id(from), message }));
        } else {
            self.state.network.send(from, to, packet);
        }
    }

    fn look_at_held(&mut self, at: usize) {
        for follower in 0..N {
            let packet = std::mem::take(&mut self.state.nodes[at].held[follower]);
            if packet != Packet::None {
                let message = packet.unpack(follower, at);
                self.next.push_back((at, Event::Received { from: id(follower), message }));
            }
        }
    }

    /// The quorum-state file is on disk: what waited for it leaves.
    pub(super) fn stored(&mut self, at: usize) {
        let node = &mut self.state.nodes[at];
        if let Some(stored) = node.file.pending.take() {
            node.file.stored = stored;
        }
        for (from, to, packet) in self.state.outbox.take_all_from(at).each() {
            self.send(from, to, packet);
        }
        self.settle();
    }

    pub(super) fn flushed(&mut self, at: usize) {
        let node = &mut self.state.nodes[at];
        node.flushing = false;
        node.log.flush();
        let end = node.log.flushed();
        self.run(at, Event::Flushed(end));
    }

    /// Both ends learn that the connection is gone; the leader's end forgets the held fetch.
    pub(super) fn break_link(&mut self, a: usize, b: usize) {
        self.state.network.break_link(a, b);
        for (at, other) in [(a, b), (b, a)] {
            self.state.nodes[at].held[other] = Packet::None;
            self.run(at, Event::Disconnected(id(other)));
        }
    }

    /// The process dies, keeps of its disk what is given, and starts anew.
    pub(super) fn crash(&mut self, at: usize, log: Run, stored: Stored, late: bool) {
        self.state.outbox.take_all_from(at);
        self.state.network.retain(|from, to, _| from != at && (to != at || late));
        for other in (0..N).filter(|&other| other != at) {
            self.state.nodes[other].held[at] = Packet::None;
        }
        let file = QuorumFile { stored, pending: None };
        let log = DiskLog::recovered(log);
        self.state.nodes[at] = Node::boot(self.model, at, log, file);
        for other in (0..N).filter(|&other| other != at) {
            self.run(other, Event::Disconnected(id(at)));
        }
        self.run(at, Event::Started);
    }

    /// Notes a vote that becomes known to others.
    fn note_vote(&mut self, from: usize, to: usize, packet: Packet) {
        let vote = match packet {
            Packet::Vote { epoch, pre_vote: false, .. } => (epoch, id(from)),
            Packet::VoteResponse { epoch, granted: true, pre_vote: false, .. } => (epoch, id(to)),
            _ => return,
        };
        let now = (Epoch(i32::from(vote.0)), Some(vote.1));
        let known = &mut self.state.history.votes[from];
        if now.0 < known.0 {
            return;
        }
        if !invariant::promises_kept(*known, now) {
            self.state.broken = Some(Broken::VoteChanged);
        }
        *known = now;
    }

    fn note_committed(&mut self, at: usize, offset: usize) {
        let node = &self.state.nodes[at];
        let epoch = self.state.machine(self.model, at).epoch();
        let history = &mut self.state.history;
        if offset > history.committed.len() && offset <= node.log.written.len() {
            history.committed = node.log.written.prefix(offset);
            history.committed_in = history.committed_in.max(epoch);
        }
    }

    fn watch(&mut self, at: usize, machine: &Quorum<Mutated>, high_watermark: Offset) {
        if machine.is_leader() {
            let led = &mut self.state.history.leaders[machine.epoch().0 as usize];
            if !invariant::one_leader_per_epoch(*led, id(at)) {
                self.state.broken = Some(Broken::TwoLeaders);
            }
            *led = Some(id(at));
        }
        let (before, now) = (high_watermark.0 as usize, machine.high_watermark().0 as usize);
        if !invariant::high_watermark_rises(before, now) {
            self.state.broken = Some(Broken::HighWatermarkFell);
        }
    }

    /// Takes answers out of the network that their receiver will ignore whatever happens: those of
    /// an epoch that it has left (it cannot return without a crash, which empties its links), and
    /// what a leader is told of its own election.
    pub(super) fn drop_dead(&mut self) {
        let machines = self.state.machines(self.model);
        self.state.network.retain(|_, to, packet| {
            let (epoch, leads) = (machines[to].epoch(), machines[to].is_leader());
            let of_election =
                matches!(packet, Packet::VoteResponse { .. } | Packet::BeginResponse { .. });
            let dead = |said| said < epoch || said == epoch && leads && of_election;
            !packet.answer_epoch().is_some_and(dead)
        });
    }
}
