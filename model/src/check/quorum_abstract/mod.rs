//! The `quorum-abstract` model: the quorum's machines with nothing under way.
//!
//! A request and its answer are one step, of which the answer may be lost; what a node writes is on
//! its disk at once; every timer may run out at any time. `tla/QuorumAbstract.tla` says the same in
//! TLA+, from the rules; the states of both are counted and must be equally many, which
//! `tla/counts.py` shows. [`State::line`] writes a state so that the two can be compared one by one.
//!
//! It is not for finding bugs of messages that arrive late, of which it has none; the `quorum` model
//! has them.

mod exchange;
mod log;
mod state;
mod story;

use stateright::{Model, Property};

use crate::check::Mutated;
use crate::invariant::quorum as invariant;
use crate::raft::{Event, Quorum, StoredState};

use exchange::Turn;
use log::{FlushedLog, Record};
use state::{Broken, History, Node, Poll, Projection, key};

pub use state::State;

/// How far a configuration goes: the constants of `QuorumAbstract.tla`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// `MaxEpoch`: nobody stands for election beyond it.
    pub epochs: u8,
    /// `MaxRecords`: what leaders append beside their LeaderChanges.
    pub records: u8,
    /// `Mutation`.
    pub rules: Mutated,
}

/// The model with `N` voters.
#[derive(Clone, Debug)]
pub struct QuorumAbstract<const N: usize> {
    bounds: Bounds,
    rules: Mutated,
    /// The machines with what they are born with; what changes is in the state.
    born: [Quorum<Mutated>; N],
}

/// What can happen, by the names of `QuorumAbstract.tla`. Nodes are indices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Timeout(usize),
    PeerGone(usize),
    Vote {
        from: usize,
        to: usize,
        heard: bool,
    },
    Begin {
        from: usize,
        to: usize,
        heard: bool,
    },
    Fetch {
        from: usize,
        to: usize,
        heard: bool,
    },
    Propose(usize),
    /// `told` are indices, as bits.
    Resign {
        at: usize,
        told: u8,
    },
    Restart(usize),
}

impl<const N: usize> QuorumAbstract<N> {
    pub fn new(bounds: Bounds) -> Self {
        let voters: [_; N] = std::array::from_fn(key);
        let (stored, log) = (StoredState::default(), FlushedLog::default());
        let born = |at| Quorum::new(bounds.rules, key(at), &voters, stored, &log);
        QuorumAbstract { bounds, rules: bounds.rules, born: std::array::from_fn(born) }
    }

    /// What node `at` and another may do together.
    fn exchanges(&self, state: &State<N>, at: usize, actions: &mut Vec<Action>) {
        let shown = &state.nodes[at].shown;
        for to in (0..N).filter(|&to| to != at) {
            let answered = (shown.granted | shown.refused) & 1 << to != 0;
            for heard in [true, false] {
                if shown.stands() && !answered {
                    actions.push(Action::Vote { from: at, to, heard });
                }
                if shown.leads() && shown.ends[to] < 0 {
                    actions.push(Action::Begin { from: at, to, heard });
                }
                if shown.follows() && usize::from(shown.leader) == to + 1 {
                    actions.push(Action::Fetch { from: at, to, heard });
                }
            }
        }
    }

    fn resignations(&self, at: usize, actions: &mut Vec<Action>) {
        let told = (0..1u8 << N).filter(|told| told & 1 << at == 0);
        actions.extend(told.map(|told| Action::Resign { at, told }));
    }

    fn serves(&self, state: &State<N>, at: usize) -> bool {
        let machine = self.born[at].with(state.nodes[at].standing);
        machine.epoch_start().is_some_and(|start| machine.high_watermark() > start)
    }
}

impl<const N: usize> Model for QuorumAbstract<N> {
    type State = State<N>;
    type Action = Action;

    fn init_states(&self) -> Vec<State<N>> {
        let nodes = self.born.map(|machine| Node {
            standing: machine.standing(),
            log: FlushedLog::default(),
            poll: Poll::default(),
            shown: Projection::of(&machine),
        });
        let state = State { nodes, history: History::default(), broken: None };
        let mut turn = Turn::new(&state, self);
        (0..N).for_each(|at| turn.step(at, Event::Started));
        vec![turn.state]
    }

    fn actions(&self, state: &State<N>, actions: &mut Vec<Action>) {
        for at in 0..N {
            let shown = &state.nodes[at].shown;
            if shown.leads() {
                self.resignations(at, actions);
            } else {
                actions.push(Action::Timeout(at));
            }
            if shown.fetched {
                actions.push(Action::PeerGone(at));
            }
            if state.history.proposed < self.bounds.records && self.serves(state, at) {
                actions.push(Action::Propose(at));
            }
            actions.push(Action::Restart(at));
            self.exchanges(state, at, actions);
        }
    }

    fn next_state(&self, state: &State<N>, action: Action) -> Option<State<N>> {
        let mut turn = Turn::new(state, self);
        turn.enact(action);
        let inside = turn.state.nodes.iter().all(|node| node.shown.epoch <= self.bounds.epochs);
        inside.then_some(turn.state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = promises();
        properties.extend(reached());
        if self.bounds.records > 0 {
            properties.push(Property::sometimes("a record is committed", |_, s: &State<N>| {
                s.history.committed.as_slice().iter().any(|record| record.is_data())
            }));
        }
        properties
    }
}

fn promises<const N: usize>() -> Vec<Property<QuorumAbstract<N>>> {
    fn all<const N: usize>(
        state: &State<N>,
        holds: impl Fn(&invariant::Replica<'_, Record>, invariant::Committed<'_, Record>) -> bool,
    ) -> bool {
        (0..N).all(|at| holds(&state.view(at), state.committed()))
    }
    vec![
        Property::always(story::ONE_LEADER, |_, s: &State<N>| {
            s.history.led.iter().all(|ids| ids.count_ones() <= 1)
        }),
        Property::always(story::VOTES_STAND, |_, s: &State<N>| {
            s.broken != Some(Broken::VoteChanged)
        }),
        Property::always(story::HIGH_WATERMARK, |_, s: &State<N>| {
            s.broken != Some(Broken::HighWatermarkFell)
        }),
        Property::always(story::UNBROKEN, |_, s: &State<N>| s.broken != Some(Broken::Noticed)),
        Property::always(story::LOGS_MATCH, |_, s: &State<N>| {
            let log = |at: usize| s.nodes[at].log.as_slice();
            (0..N).all(|a| (0..a).all(|b| invariant::logs_match(log(a), log(b))))
        }),
        Property::always(story::EPOCHS_ASCEND, |_, s| {
            all(s, |replica, _| invariant::epochs_ascend(replica))
        }),
        Property::always(story::COMPLETE, |_, s| all(s, invariant::leader_is_complete)),
        Property::always(story::IMMUTABLE, |_, s: &State<N>| {
            s.broken != Some(Broken::CommittedChanged) && all(s, invariant::committed_never_changes)
        }),
        Property::always(story::DURABLE, |_, s: &State<N>| {
            invariant::committed_is_durable((0..N).map(|at| s.view(at)), s.committed())
        }),
    ]
}

fn reached<const N: usize>() -> Vec<Property<QuorumAbstract<N>>> {
    vec![
        Property::sometimes("a leader is elected", |_, s: &State<N>| {
            s.nodes.iter().any(|node| node.shown.leads())
        }),
        Property::sometimes("every voter knows of something committed", |_, s: &State<N>| {
            s.nodes.iter().all(|node| node.shown.high_watermark > 0)
        }),
    ]
}
