//! How one event works through the cluster, with all that follows at once.

use crate::log::Log;
use crate::raft::{Effect, Effects, Event, Gate, Message, RaftLog, VoterChange};

use super::disk::{DiskLog, QuorumFile, Stored};
use super::keys::{id, index};
use super::packet::Packet;
use super::record::Run;
use super::state::{Broken, Node, State};
use super::watch::shakes;
use super::{Delivery, QuorumModel};

/// One event on its way, and what it leads on to.
pub(super) struct Turn<'a, const N: usize> {
    pub(super) state: &'a mut State<N>,
    pub(super) model: &'a QuorumModel<N>,
    fx: Effects<Run>,
    /// What follows without delay, in order.
    next: Vec<Next>,
    /// Whom the observer asks whose turn it is.
    pub(super) asks: Option<u8>,
}

/// Something that happens at once after something else.
#[derive(Clone, Copy, Debug)]
enum Next {
    Flushed(usize),
    /// A link between the two stands.
    Connected(usize, usize),
    Received {
        from: usize,
        to: usize,
        packet: Packet,
    },
}

impl<'a, const N: usize> Turn<'a, N> {
    pub(super) fn new(state: &'a mut State<N>, model: &'a QuorumModel<N>) -> Self {
        Turn { state, model, fx: Vec::with_capacity(6), next: Vec::new(), asks: None }
    }

    /// Hands `event` to the machine of node `at`, and then to whomever it leads on to.
    pub(super) fn run(&mut self, at: usize, event: Event<Run>) {
        self.step(at, event);
        self.settle();
    }

    /// The process of node `at` starts. Where there may be observers links are told of: they follow only
    /// over one.
    pub(super) fn start(&mut self, at: usize) {
        self.run(at, Event::Started);
        if self.model.has_observers() {
            for other in (0..N).filter(|&other| other != at) {
                self.run(at, Event::Connected(id(other)));
                self.run(other, Event::Connected(id(at)));
            }
        }
    }

    fn settle(&mut self) {
        let mut done = 0;
        while let Some(&next) = self.next.get(done) {
            done += 1;
            match next {
                Next::Flushed(at) => {
                    let flushed = self.state.nodes[at].log.flushed();
                    self.step(at, Event::Flushed(flushed));
                }
                Next::Connected(at, other) => self.step(at, Event::Connected(id(other))),
                Next::Received { from, to, packet } => self.receive(from, to, packet),
            }
        }
        self.next.clear();
    }

    /// A message that was under way gets where it was sent.
    pub(super) fn arrive(&mut self, from: usize, to: usize, packet: Packet) {
        self.receive(from, to, packet);
        self.settle();
    }

    fn receive(&mut self, from: usize, to: usize, packet: Packet) {
        let message = packet.unpack(from);
        self.step(to, Event::Received { from: id(from), message });
    }

    fn step(&mut self, at: usize, event: Event<Run>) {
        let mut machine = self.state.machine(self.model, at);
        if let Some(place) = self.asks.take() {
            machine = machine.asking(place);
        }
        let before = self.state.nodes[at].standing;
        let stability = self.model.bounds.judges_stability;
        let (in_touch, shaken) =
            if stability { (self.is_in_touch(at, &event), shakes(&event)) } else { (false, false) };
        let mut fx = std::mem::take(&mut self.fx);
        let node = &mut self.state.nodes[at];
        machine.step(&mut node.log, event, &mut fx);
        node.standing = machine.standing();
        for effect in fx.drain(..) {
            self.carry_out(at, effect);
        }
        self.fx = fx;
        self.watch(at, &machine, before);
        if stability {
            self.watch_loyalty(at, before, in_touch, shaken);
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect<Run>) {
        // Once no crash is left to come, nothing can tell a slow disk from a slow network.
        let bounds = &self.model.bounds;
        let quick = self.state.spent.crashes >= bounds.crashes && bounds.reductions.quick_disks;
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
                self.next.push(Next::Flushed(at));
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
            Effect::VotersKnown => {
                let others = (0..N).filter(|&other| other != at);
                self.next.extend(others.map(|other| Next::Connected(at, other)));
            }
            Effect::LeaderKnown { .. } | Effect::VotersAnswered { .. } => {}
            Effect::StoreSnapshotChunk { position, bytes, last, .. } => {
                node.log.store_chunk(bytes, position, last);
            }
        }
    }

    /// A message leaves its node for good.
    fn send(&mut self, from: usize, to: usize, packet: Packet) {
        self.note_vote(from, to, packet);
        if self.state.cut.separates(from, to) {
            return;
        }
        match self.model.bounds.delivery {
            Delivery::RequestsAtOnce if packet.is_request() => {
                self.next.push(Next::Received { from, to, packet });
            }
            Delivery::RequestsAtOnce => self.state.network.overtake(from, to, packet),
            _ => self.state.network.send(from, to, packet),
        }
    }

    fn look_at_held(&mut self, at: usize) {
        for follower in 0..N {
            let packet = std::mem::take(&mut self.state.nodes[at].held[follower]);
            if packet != Packet::None {
                self.next.push(Next::Received { from: follower, to: at, packet });
            }
        }
    }

    /// The quorum-state file is on disk: what waited for it leaves.
    pub(super) fn stored(&mut self, at: usize) {
        let node = &mut self.state.nodes[at];
        if let Some(stored) = node.file.pending.take() {
            node.file.stored = stored;
        }
        while let Some((to, packet)) = self.state.outbox.take_first_from(at) {
            self.send(at, to, packet);
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

    /// Asks the leader for another set of voters; what it refuses costs nothing.
    pub(super) fn change_voters(&mut self, at: usize, change: VoterChange) {
        let before = self.state.nodes[at].standing;
        self.run(at, Event::ChangeVoters { id: 0, change });
        let given = usize::from(self.state.spent.prologue) < self.model.bounds.prologue.len();
        if self.state.nodes[at].standing != before && !given {
            match change {
                VoterChange::Add(_) => self.state.spent.adds += 1,
                VoterChange::Remove(_) | VoterChange::Update(_) => self.state.spent.removes += 1,
            }
        }
    }

    /// The state machine's own snapshot of all that is committed is in place.
    pub(super) fn snapshot_written(&mut self, at: usize) {
        let node = &mut self.state.nodes[at];
        node.log.placed = node.log.fold(node.standing.high_watermark());
        if let Some(snapshot) = node.log.snapshot() {
            self.run(at, Event::SnapshotWritten(snapshot));
        }
    }

    /// A snapshot that was fetched is in place and loaded.
    pub(super) fn snapshot_installed(&mut self, at: usize) {
        let node = &mut self.state.nodes[at];
        if node.standing.is_leader()
            && node.log.incoming.len() > node.standing.high_watermark().0 as usize
        {
            self.state.broken = Some(Broken::LeaderLoadedSnapshot);
        }
        let snapshot = node.log.place();
        self.run(at, Event::SnapshotInstalled(snapshot));
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
    pub(super) fn crash(&mut self, at: usize, log: Run, placed: bool, stored: Stored, late: u8) {
        self.lose_connections(at, late);
        let file = QuorumFile { stored, pending: None };
        let node = &self.state.nodes[at];
        let log = node.log.recovered(log, placed);
        self.reboot(Node::boot(self.model, at, node.wiped, log, file), at);
    }

    /// The disk is lost with everything on it, and the node starts anew on another.
    pub(super) fn wipe(&mut self, at: usize) {
        self.lose_connections(at, 0);
        let log = DiskLog::formatted(self.model.formatted);
        self.reboot(Node::boot(self.model, at, true, log, QuorumFile::default()), at);
    }

    fn lose_connections(&mut self, at: usize, late: u8) {
        self.state.outbox.lose_all_from(at);
        self.state.network.retain(|from, to, _| from != at && (to != at || late & 1 << from != 0));
        for other in (0..N).filter(|&other| other != at) {
            self.state.nodes[other].held[at] = Packet::None;
        }
    }

    fn reboot(&mut self, node: Node<N>, at: usize) {
        self.state.nodes[at] = node;
        self.state.history.loyalty.lose(at);
        for other in (0..N).filter(|&other| other != at) {
            self.run(other, Event::Disconnected(id(at)));
        }
        self.start(at);
    }

    /// Takes answers out of the network that their receiver will ignore whatever happens: those of
    /// an epoch that it has left, and what a leader, or one that was, is told of its own election.
    /// Only once that is on its disk: a crash may take it back, and the answer come late.
    pub(super) fn drop_dead(&mut self) {
        if !self.model.bounds.reductions.dead_answers {
            return;
        }
        let nodes = &self.state.nodes;
        self.state.network.retain(|_, to, packet| {
            let standing = &nodes[to].standing;
            let of_election =
                matches!(packet, Packet::VoteResponse { .. } | Packet::BeginResponse { .. });
            let leads = standing.is_leader() || standing.is_resigned();
            let (epoch, stored) = (standing.epoch(), nodes[to].file.pending.is_none());
            let dead = |said| said < epoch || said == epoch && leads && of_election;
            !(stored && packet.answer_epoch().is_some_and(dead))
        });
    }
}
