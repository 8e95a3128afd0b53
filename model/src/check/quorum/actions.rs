//! What can happen.

use crate::raft::{Patience, Timer};

use super::keys::index;
use super::packet::Packet;
use super::state::{Cut, State};
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

    pub(super) fn cut<const N: usize>(self) -> Cut {
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
