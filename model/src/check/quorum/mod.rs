//! The `quorum` model: the controller quorum's machines over a modelled disk and network.
//!
//! ```text
//!   Quorum<Mutated> ── effects ──▶ disk (pending / durable)   crash: any prefix of what is pending
//!        ▲                         connections, in order      break: what was under way is lost
//!        └───────── events ◀────── timers that run, any time; a peer's death, believed any time
//! ```
//!
//! A crashed process restarts at once: until then it would only have been silent, which a slow
//! node is too. What it had in memory is gone, and so is what was under way to and from it.

mod disk;
mod network;
mod state;
mod story;
mod suite;

use stateright::{Model, Property};

use crate::check::Mutated;
use crate::invariant::quorum as invariant;
use crate::log::Log;
use crate::raft::{Event, Patience, Quorum, StoredState, Timer};
use crate::{Epoch, ReplicaKey};

use disk::{DiskLog, QuorumFile, Record, Run};
use network::{Network, Packet, id, key};
use state::{Broken, History, Node, Spent, Turn};

pub use state::State;
pub(super) use suite::{models, mutations};

/// How far a configuration goes. Faults are counted for the whole run, not for what is at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The configuration's name.
    pub name: &'static str,
    pub rules: Mutated,
    /// Epochs in which a leader may be elected, from 1.
    pub epochs: u8,
    /// Records that leaders append beside their LeaderChanges.
    pub records: u8,
    /// Crashes, each losing any part of what is not flushed.
    pub crashes: u8,
    /// Timers of elections, fetches and leaders that run out.
    pub timeouts: u8,
    /// Connections that break.
    pub breaks: u8,
    /// Times that a follower takes its leader for dead, rightly or not.
    pub peers_gone: u8,
    /// Leaders that are asked to resign.
    pub resigns: u8,
    pub delivery: Delivery,
}

/// What may be under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Requests and answers, each connection's two directions in order, as TCP gives them.
    InOrder,
    /// Requests and answers, in any order.
    AnyOrder,
    /// Requests arrive when they are sent; answers are under way, in order. Smaller by far, and
    /// blind to requests that arrive late, which is why there are the other two.
    RequestsAtOnce,
}

/// The model with `N` voters.
#[derive(Clone, Debug)]
pub struct QuorumModel<const N: usize> {
    bounds: Bounds,
    voters: [ReplicaKey; N],
    /// The machines with what they are born with; what changes is in the state.
    born: [Quorum<Mutated>; N],
}

/// What can happen. Nodes are indices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The message at this place of the queue arrives.
    Deliver {
        from: usize,
        to: usize,
        at: usize,
    },
    Stored(usize),
    Flushed(usize),
    Timeout(usize, Timer),
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
    BreakLink(usize, usize),
    /// The process dies; the log keeps its `survivor`-th remainder, the file its new content or
    /// its old. What others have for it gets lost with the connections, or, where they had not
    /// sent it yet, comes `late`, to the new process.
    Crash {
        at: usize,
        survivor: usize,
        stored: bool,
        late: bool,
    },
}

impl<const N: usize> QuorumModel<N> {
    pub fn new(bounds: Bounds) -> Self {
        let voters = std::array::from_fn(key);
        let (stored, log) = (StoredState::default(), DiskLog::default());
        let born = |at| Quorum::new(bounds.rules, key(at), &voters, stored, &log);
        QuorumModel { bounds, voters, born: std::array::from_fn(born) }
    }

    fn timers(&self, state: &State<N>, at: usize, actions: &mut Vec<Action>) {
        let timers = state.nodes[at].timers;
        let may_time_out = state.spent.timeouts < self.bounds.timeouts;
        for timer in
            [Timer::Election(Patience::Full), Timer::Fetch, Timer::CheckQuorum, Timer::Announce]
        {
            if may_time_out && timers.runs(timer) {
                actions.push(Action::Timeout(at, timer));
            }
        }
        // Asking again once what was asked is lost is what lets anything go on at all.
        if timers.runs(Timer::Retry) {
            actions.push(Action::Timeout(at, Timer::Retry));
        }
    }

    fn deliveries(&self, state: &State<N>, to: usize, actions: &mut Vec<Action>) {
        for from in 0..N {
            let under_way = state.network.queue(from, to).count();
            let arrivable = match self.bounds.delivery {
                Delivery::AnyOrder => under_way,
                Delivery::InOrder | Delivery::RequestsAtOnce => under_way.min(1),
            };
            actions.extend((0..arrivable).map(|at| Action::Deliver { from, to, at }));
        }
    }

    fn faults(&self, state: &State<N>, at: usize, actions: &mut Vec<Action>) {
        let (spent, bounds) = (&state.spent, &self.bounds);
        if spent.peers_gone < bounds.peers_gone
            && let Some(leader) = state.machine(self, at).leader()
            && leader != id(at)
        {
            actions.push(Action::PeerGone { at, gone: network::index(leader) });
        }
        if spent.breaks < bounds.breaks {
            let peers = at + 1..N;
            actions.extend(peers.map(|peer| Action::BreakLink(at, peer)));
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
        let stored = &either[..if node.file.pending.is_some() { 2 } else { 1 }];
        let late = &either[..if state.network.any_to(at) { 2 } else { 1 }];
        for survivor in 0..node.log.survivors().count() {
            for &stored in stored {
                actions.extend(late.iter().map(|&late| Action::Crash {
                    at,
                    survivor,
                    stored,
                    late,
                }));
            }
        }
    }

    /// While a node's epoch and vote are being stored, nothing else happens than that its disk
    /// makes progress, or that it crashes. Nobody hears from it until then, so whatever the others
    /// did in the meantime they could as well have done before it began or after it ended; and of
    /// what it could do itself nothing would outlive the crash.
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
        !state.machine(self, from).has_fetched()
    }

    fn enact(&self, state: &mut State<N>, action: Action) {
        match action {
            Action::Timeout(_, Timer::Retry) => {}
            Action::Timeout(..) => state.spent.timeouts += 1,
            Action::PeerGone { .. } => state.spent.peers_gone += 1,
            Action::BreakLink(..) => state.spent.breaks += 1,
            Action::Resign(_) => state.spent.resigns += 1,
            Action::Propose(_) => state.spent.records += 1,
            Action::Crash { .. } => state.spent.crashes += 1,
            _ => {}
        }
        let mut turn = Turn::new(state, self);
        match action {
            Action::Deliver { from, to, at } => {
                let message = turn.state.network.take(from, to, at).unpack(from, to);
                turn.run(to, Event::Received { from: id(from), message });
            }
            Action::Stored(at) => turn.stored(at),
            Action::Flushed(at) => turn.flushed(at),
            Action::Timeout(at, timer) => {
                turn.state.nodes[at].timers.stop(timer);
                turn.run(at, Event::Timeout(timer));
            }
            Action::PeerGone { at, gone } => {
                turn.break_link(at, gone);
                turn.run(at, Event::PeerGone(id(gone)));
            }
            Action::HoldExpired { at, from } => {
                let held = std::mem::take(&mut turn.state.nodes[at].held[from]);
                if let crate::raft::Message::Fetch(fetch) = held.unpack(from, at) {
                    turn.run(at, Event::HoldExpired { from: id(from), fetch });
                }
            }
            Action::Propose(at) => {
                let node = &turn.state.nodes[at];
                let epoch = turn.state.machine(self, at).epoch();
                let record = Record::new(epoch, turn.state.spent.records);
                turn.run(at, Event::Propose(Run::one(node.log.end(), record)));
            }
            Action::Resign(at) => turn.run(at, Event::Resign),
            Action::BreakLink(a, b) => turn.break_link(a, b),
            Action::Crash { at, survivor, stored, late } => {
                let node = &turn.state.nodes[at];
                let log = node.log.survivors().nth(survivor).unwrap_or(node.log.durable);
                let file = node.file.pending.filter(|_| stored).unwrap_or(node.file.stored);
                turn.crash(at, log, file, late);
            }
        }
        turn.drop_dead();
    }
}

impl<const N: usize> Model for QuorumModel<N> {
    type State = State<N>;
    type Action = Action;

    fn init_states(&self) -> Vec<State<N>> {
        let boot = |at| {
            let (log, file) = (DiskLog::default(), QuorumFile::default());
            Node::boot(self, at, log, file)
        };
        let mut state = State {
            nodes: std::array::from_fn(boot),
            network: Network::default(),
            outbox: Network::default(),
            spent: Spent::default(),
            history: History::new(),
            broken: None,
        };
        for at in 0..N {
            Turn::new(&mut state, self).run(at, Event::Started);
        }
        vec![state]
    }

    fn actions(&self, state: &State<N>, actions: &mut Vec<Action>) {
        if state.spent == Spent::default() {
            return actions.push(Action::Timeout(0, Timer::Election(Patience::Full)));
        }
        if state.nodes.iter().any(|node| node.file.pending.is_some()) {
            return self.storing(state, actions);
        }
        for at in 0..N {
            let node = &state.nodes[at];
            self.deliveries(state, at, actions);
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
            if state.machine(self, at).is_leader() && state.spent.resigns < self.bounds.resigns {
                actions.push(Action::Resign(at));
            }
            self.faults(state, at, actions);
        }
    }

    fn next_state(&self, state: &State<N>, action: Action) -> Option<State<N>> {
        let mut next = *state;
        self.enact(&mut next, action);
        Some(next)
    }

    fn within_boundary(&self, state: &State<N>) -> bool {
        let last = Epoch(i32::from(self.bounds.epochs));
        state.machines(self).iter().all(|machine| machine.epoch() <= last)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = promises();
        properties.extend(reached());
        if self.bounds.epochs > 1 {
            properties.extend(reached_after_failover());
        }
        properties
    }
}

fn promises<const N: usize>() -> Vec<Property<QuorumModel<N>>> {
    fn unbroken<const N: usize>(state: &State<N>, promise: Broken) -> bool {
        state.broken != Some(promise)
    }
    fn all<const N: usize>(
        model: &QuorumModel<N>,
        state: &State<N>,
        holds: impl Fn(&invariant::Replica<'_, Record>, invariant::Committed<'_, Record>) -> bool,
    ) -> bool {
        (0..N).all(|at| holds(&state.view(model, at), state.history.committed()))
    }
    vec![
        Property::always(story::ONE_LEADER, |_, s| unbroken(s, Broken::TwoLeaders)),
        Property::always(story::VOTES_STAND, |_, s| unbroken(s, Broken::VoteChanged)),
        Property::always(story::HIGH_WATERMARK, |_, s| unbroken(s, Broken::HighWatermarkFell)),
        Property::always(story::UNBROKEN, |_, s| unbroken(s, Broken::Noticed)),
        Property::always(story::LOGS_MATCH, |_, s: &State<N>| {
            let log = |at: usize| s.nodes[at].log.written;
            (0..N).all(|a| {
                (0..a).all(|b| invariant::logs_match(log(a).as_slice(), log(b).as_slice()))
            })
        }),
        Property::always(story::EPOCHS_ASCEND, |m, s| {
            all(m, s, |replica, _| invariant::epochs_ascend(replica))
        }),
        Property::always(story::COMPLETE, |m, s| all(m, s, invariant::leader_is_complete)),
        Property::always(story::IMMUTABLE, |m, s| all(m, s, invariant::committed_never_changes)),
        Property::always(story::DURABLE, |m, s: &State<N>| {
            let voters = (0..N).map(|at| s.view(m, at));
            invariant::committed_is_durable(voters, s.history.committed())
        }),
    ]
}

fn reached<const N: usize>() -> Vec<Property<QuorumModel<N>>> {
    vec![
        Property::sometimes("a leader is elected", |m, s: &State<N>| {
            s.machines(m).iter().any(|machine| machine.is_leader())
        }),
        Property::sometimes("a record is committed", |_, s: &State<N>| {
            s.history.committed.as_slice().iter().any(|record| record.is_data())
        }),
        Property::sometimes("a pre-vote is refused under a live leader", |_, s: &State<N>| {
            s.network.each().any(|(_, _, packet)| {
                matches!(packet, Packet::VoteResponse { pre_vote: true, granted: false, leader, .. }
                    if leader > 0)
            })
        }),
        Property::sometimes("every voter knows a committed record", |m, s: &State<N>| {
            let known = s.machines(m).iter().map(|each| each.high_watermark().0 as usize).min();
            let committed = s.history.committed.as_slice();
            known.is_some_and(|known| committed[..known].iter().any(|record| record.is_data()))
        }),
    ]
}

fn reached_after_failover<const N: usize>() -> Vec<Property<QuorumModel<N>>> {
    vec![
        Property::sometimes("a second leader commits after the first", |_, s: &State<N>| {
            let committed = s.history.committed.as_slice();
            committed.first().map(|r| r.epoch()) < committed.last().map(|r| r.epoch())
        }),
        Property::sometimes("a follower is told to truncate", |_, s: &State<N>| {
            s.network.each().any(|(_, _, packet)| matches!(packet, Packet::Diverging { .. }))
        }),
    ]
}
