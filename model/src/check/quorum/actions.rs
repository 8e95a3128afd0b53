//! What can happen, and how it happens.

use crate::ReplicaKey;
use crate::log::Log;
use crate::raft::{Event, Message, Patience, Timer, VoterChange};

use super::keys::{id, index};
use super::packet::Packet;
use super::record::{Record, Run};
use super::state::{Cut, State};
use super::turn::Turn;
use super::{ANY_NUMBER, Delivery, QuorumModel};

/// What can happen. Nodes are indices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The message at this place of the queue arrives.
    Deliver {
        from: usize,
        to: usize,
        at: usize,
    },
    /// It is lost.
    Lose {
        from: usize,
        to: usize,
        at: usize,
    },
    /// It arrives, and will once more, after all that was sent on its connection so far.
    Duplicate {
        from: usize,
        to: usize,
        at: usize,
    },
    Stored(usize),
    Flushed(usize),
    Timeout(usize, Timer),
    /// An observer that knows no leader asks the controller at this place among those that it may
    /// ask, whichever it asked before.
    Ask {
        at: usize,
        place: u8,
    },
    PeerGone {
        at: usize,
        gone: usize,
    },
    /// A held fetch has waited its longest.
    HoldExpired {
        at: usize,
        from: usize,
    },
    Propose(usize),
    Resign(usize),
    WriteSnapshot(usize),
    /// A snapshot that was fetched is in place.
    Installed(usize),
    /// The leader `at` is asked to let the node `voter` vote.
    Add {
        at: usize,
        voter: usize,
    },
    Remove {
        at: usize,
        voter: usize,
    },
    BreakLink(usize, usize),
    Part(Partition),
    Heal,
    /// The process dies; the log keeps its `survivor`-th remainder, the file its new content or
    /// its old, and a snapshot that was being put in place is there or not. What others have for it
    /// gets lost with the connections, or, if they had not sent it yet, comes `late`, to the new
    /// process; a bit for each of them.
    Crash {
        at: usize,
        survivor: usize,
        stored: bool,
        placed: bool,
        late: u8,
    },
    /// The disk is lost.
    Wipe(usize),
    /// Everything that is under way arrives, in the order of the nodes, and all disks are done.
    /// Only a prologue has it.
    Settle,
}

/// A way for the network to fall apart, which no node is told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Partition {
    /// Everybody hears only the one before it, and is heard only by the one after it.
    Ring,
    /// The other way round.
    RingBack,
    /// These two do not hear each other; the third hears both.
    Apart(usize, usize),
    /// This one hears nobody and is heard by nobody, and rejoins when the network heals.
    Alone(usize),
}

impl Partition {
    fn all<const N: usize>() -> impl Iterator<Item = Partition> {
        let pairs = (0..N).flat_map(|a| (a + 1..N).map(move |b| Partition::Apart(a, b)));
        [Partition::Ring, Partition::RingBack]
            .into_iter()
            .chain(pairs)
            .chain((0..N).map(Partition::Alone))
    }

    fn lets_through<const N: usize>(self, from: usize, to: usize) -> bool {
        match self {
            Partition::Ring => to == (from + 1) % N,
            Partition::RingBack => from == (to + 1) % N,
            Partition::Apart(a, b) => (from, to) != (a, b) && (from, to) != (b, a),
            Partition::Alone(at) => from != at && to != at,
        }
    }

    fn cut<const N: usize>(self) -> Cut {
        let mut cut = Cut::default();
        for from in 0..N {
            let unheard = (0..N).filter(|&to| to != from && !self.lets_through::<N>(from, to));
            unheard.for_each(|to| cut.add(from, to));
        }
        cut
    }
}

/// What may happen next.
impl<const N: usize> QuorumModel<N> {
    pub(super) fn possible(&self, state: &State<N>, actions: &mut Vec<Action>) {
        if let Some(&given) = self.bounds.prologue.get(usize::from(state.spent.prologue)) {
            return actions.push(given);
        }
        let storing = |at: &usize| state.nodes[*at].file.pending.is_some();
        if self.bounds.reductions.storing_excludes && (0..N).any(|at| storing(&at)) {
            return self.storing(state, actions);
        }
        actions.extend((0..N).filter(storing).map(Action::Stored));
        self.deliveries(state, actions);
        for at in 0..N {
            let node = &state.nodes[at];
            self.timers(state, at, actions);
            if node.flushing {
                actions.push(Action::Flushed(at));
            }
            for from in 0..N {
                if node.held[from] != Packet::None && self.expiry_matters(state, from) {
                    actions.push(Action::HoldExpired { at, from });
                }
            }
            if node.active && state.spent.records < self.bounds.records {
                actions.push(Action::Propose(at));
            }
            if node.standing.is_leader() && state.spent.resigns < self.bounds.resigns {
                actions.push(Action::Resign(at));
            }
            self.snapshots(state, at, actions);
            self.voter_changes(state, at, actions);
            self.faults(state, at, actions);
        }
        self.partitions(state, actions);
    }

    fn deliveries(&self, state: &State<N>, actions: &mut Vec<Action>) {
        let (spent, bounds) = (&state.spent, &self.bounds);
        for (from, to, under_way) in state.network.ways() {
            let arrivable = match bounds.delivery {
                Delivery::AnyOrder => under_way,
                Delivery::InOrder | Delivery::RequestsAtOnce => 1,
            };
            actions.extend((0..arrivable).map(|at| Action::Deliver { from, to, at }));
            if spent.losses < bounds.losses {
                actions.extend((0..under_way).map(|at| Action::Lose { from, to, at }));
            }
            if spent.duplicates < bounds.duplicates {
                actions.extend((0..arrivable).map(|at| Action::Duplicate { from, to, at }));
            }
        }
    }

    fn timers(&self, state: &State<N>, at: usize, actions: &mut Vec<Action>) {
        let timers = state.nodes[at].timers;
        let may_time_out =
            self.bounds.timeouts == ANY_NUMBER || state.spent.timeouts < self.bounds.timeouts;
        for timer in
            [Timer::Election(Patience::Full), Timer::Fetch, Timer::CheckQuorum, Timer::Announce]
        {
            let stands = self.bounds.candidates & 1 << at != 0;
            if may_time_out && stands && timers.runs(timer) {
                actions.push(Action::Timeout(at, timer));
            }
        }
        // Asking again once what was asked is lost is what lets anything go on at all.
        if timers.runs(Timer::Retry) {
            if state.nodes[at].standing.is_unattached() {
                let places = 0..state.nodes[at].voters().members().count() as u8;
                actions.extend(places.map(|place| Action::Ask { at, place }));
            } else {
                actions.push(Action::Timeout(at, Timer::Retry));
            }
        }
    }

    fn voter_changes(&self, state: &State<N>, at: usize, actions: &mut Vec<Action>) {
        let (spent, bounds, node) = (&state.spent, &self.bounds, &state.nodes[at]);
        if !node.standing.is_leader() {
            return;
        }
        let voters = node.voters();
        if spent.adds < bounds.adds {
            let others = (0..N).filter(|&voter| !voters.contains(voter));
            actions.extend(others.map(|voter| Action::Add { at, voter }));
        }
        if spent.removes < bounds.removes {
            actions.extend(voters.members().map(|voter| Action::Remove { at, voter }));
        }
    }

    fn snapshots(&self, state: &State<N>, at: usize, actions: &mut Vec<Action>) {
        let node = &state.nodes[at];
        let covers = node.log.placed.len() as i64;
        if state.spent.snapshots < self.bounds.snapshots
            && node.standing.high_watermark().0 > covers
        {
            actions.push(Action::WriteSnapshot(at));
        }
        if node.log.placing {
            actions.push(Action::Installed(at));
        }
    }

    fn faults(&self, state: &State<N>, at: usize, actions: &mut Vec<Action>) {
        let (spent, bounds) = (&state.spent, &self.bounds);
        if spent.peers_gone < bounds.peers_gone
            && let Some(leader) = state.nodes[at].standing.other_leader()
        {
            actions.push(Action::PeerGone { at, gone: index(leader) });
        }
        if spent.breaks < bounds.breaks {
            let peers = at + 1..N;
            actions.extend(peers.map(|peer| Action::BreakLink(at, peer)));
        }
        if spent.wipes < bounds.wipes && !state.nodes[at].wiped {
            actions.push(Action::Wipe(at));
        }
        self.crashes(state, at, actions);
    }

    fn crashes(&self, state: &State<N>, at: usize, actions: &mut Vec<Action>) {
        if state.spent.crashes >= self.bounds.crashes {
            return;
        }
        let node = &state.nodes[at];
        let either = [true, false];
        // What makes no difference is one choice, not two.
        let choices = |differ: bool| &either[..if differ { 2 } else { 1 }];
        let senders = state.network.senders_to(at);
        let late = move || (0..=senders).filter(move |late| late & !senders == 0);
        for survivor in 0..node.log.survivors().count() {
            for &stored in choices(node.file.pending.is_some()) {
                for &placed in choices(node.log.placing) {
                    let crash = |late| Action::Crash { at, survivor, stored, placed, late };
                    actions.extend(late().map(crash));
                }
            }
        }
    }

    fn partitions(&self, state: &State<N>, actions: &mut Vec<Action>) {
        if state.cut != Cut::default() {
            actions.push(Action::Heal);
        } else if state.spent.partitions < self.bounds.partitions {
            actions.extend(Partition::all::<N>().map(Action::Part));
        }
    }

    fn storing(&self, state: &State<N>, actions: &mut Vec<Action>) {
        for (at, node) in state.nodes.iter().enumerate() {
            if node.file.pending.is_some() {
                actions.push(Action::Stored(at));
                if node.flushing {
                    actions.push(Action::Flushed(at));
                }
                self.crashes(state, at, actions);
            }
        }
    }

    /// Whether holding on would tell the follower anything: a fetch that is answered without news
    /// matters only to a follower that has never been answered.
    fn expiry_matters(&self, state: &State<N>, from: usize) -> bool {
        !state.nodes[from].standing.has_fetched()
    }
}

/// What it does.
impl<const N: usize> QuorumModel<N> {
    pub(super) fn enact(&self, state: &mut State<N>, action: Action) {
        if usize::from(state.spent.prologue) < self.bounds.prologue.len() {
            state.spent.prologue += 1;
        } else {
            self.count(state, action);
        }
        self.happen(state, action);
    }

    fn happen(&self, state: &mut State<N>, action: Action) {
        let mut turn = Turn::new(state, self);
        match action {
            Action::Deliver { from, to, at } => {
                let packet = turn.state.network.take(from, to, at);
                turn.arrive(from, to, packet);
            }
            Action::Lose { from, to, at } => {
                turn.state.network.take(from, to, at);
            }
            Action::Duplicate { from, to, at } => {
                let packet = turn.state.network.take(from, to, at);
                turn.state.network.send(from, to, packet);
                turn.arrive(from, to, packet);
            }
            Action::Stored(at) => turn.stored(at),
            Action::Flushed(at) => turn.flushed(at),
            Action::Timeout(at, timer) => {
                turn.state.nodes[at].timers.stop(timer);
                turn.run(at, Event::Timeout(timer));
            }
            Action::Ask { at, place } => {
                turn.state.nodes[at].timers.stop(Timer::Retry);
                turn.asks = Some(place);
                turn.run(at, Event::Timeout(Timer::Retry));
            }
            Action::PeerGone { at, gone } => {
                turn.break_link(at, gone);
                turn.run(at, Event::PeerGone(id(gone)));
            }
            Action::HoldExpired { at, from } => {
                let held = std::mem::take(&mut turn.state.nodes[at].held[from]);
                if let Message::Fetch(fetch) = held.unpack(from) {
                    turn.run(at, Event::HoldExpired { from: id(from), fetch });
                }
            }
            Action::Propose(at) => {
                let node = &turn.state.nodes[at];
                let record = Record::data(node.standing.epoch(), turn.state.spent.records);
                turn.run(at, Event::Propose(Run::one(node.log.end(), record)));
            }
            Action::Resign(at) => turn.run(at, Event::Resign),
            Action::WriteSnapshot(at) => turn.snapshot_written(at),
            Action::Installed(at) => turn.snapshot_installed(at),
            Action::Add { at, voter } => {
                let key = self.key_of(turn.state, voter);
                turn.change_voters(at, VoterChange::Add(key));
            }
            Action::Remove { at, voter } => {
                let named = turn.state.nodes[at].voters().voters();
                if let Some(&key) = named.iter().find(|key| key.id == id(voter)) {
                    turn.change_voters(at, VoterChange::Remove(key));
                }
            }
            Action::Wipe(at) => turn.wipe(at),
            Action::Settle => return self.settle(state),
            Action::BreakLink(a, b) => turn.break_link(a, b),
            Action::Part(partition) => {
                let cut = partition.cut::<N>();
                turn.state.network.retain(|from, to, _| !cut.separates(from, to));
                turn.state.cut = cut;
            }
            Action::Heal => turn.state.cut = Cut::default(),
            Action::Crash { at, survivor, stored, placed, late } => {
                let node = &turn.state.nodes[at];
                let log = node.log.survivors().nth(survivor).unwrap_or(node.log.durable);
                let file = node.file.pending.filter(|_| stored).unwrap_or(node.file.stored);
                turn.crash(at, log, placed, file, late);
            }
        }
        turn.drop_dead();
    }

    fn settle(&self, state: &mut State<N>) {
        let busy = |state: &State<N>| {
            let disks = (0..N).find_map(|at| {
                let node = &state.nodes[at];
                let stored = node.file.pending.map(|_| Action::Stored(at));
                stored.or(node.flushing.then_some(Action::Flushed(at)))
            });
            let arrival = |(from, to, _)| Action::Deliver { from, to, at: 0 };
            disks.or(state.network.ways().next().map(arrival))
        };
        while let Some(action) = busy(state) {
            self.happen(state, action);
        }
    }

    fn key_of(&self, state: &State<N>, at: usize) -> ReplicaKey {
        self.born(at, state.nodes[at].wiped).me()
    }

    fn count(&self, state: &mut State<N>, action: Action) {
        let spent = &mut state.spent;
        match action {
            Action::Timeout(_, Timer::Retry) => {}
            Action::Timeout(..) if self.bounds.timeouts == ANY_NUMBER => {}
            Action::Timeout(..) => spent.timeouts += 1,
            Action::PeerGone { .. } => spent.peers_gone += 1,
            Action::BreakLink(..) => spent.breaks += 1,
            Action::Lose { .. } => spent.losses += 1,
            Action::Duplicate { .. } => spent.duplicates += 1,
            Action::Resign(_) => spent.resigns += 1,
            Action::Propose(_) => spent.records += 1,
            Action::WriteSnapshot(_) => spent.snapshots += 1,
            Action::Part(_) => spent.partitions += 1,
            Action::Crash { .. } => spent.crashes += 1,
            Action::Wipe(_) => spent.wipes += 1,
            // Counted once it has begun.
            Action::Add { .. } | Action::Remove { .. } => {}
            Action::Deliver { .. }
            | Action::Stored(_)
            | Action::Flushed(_)
            | Action::Ask { .. }
            | Action::HoldExpired { .. }
            | Action::Installed(_)
            | Action::Settle
            | Action::Heal => {}
        }
    }
}
