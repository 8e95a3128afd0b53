//! What one action does: events for one or two machines, with nothing left under way.

use crate::check::Mutated;
use crate::invariant::quorum as invariant;
use crate::log::Log;
use crate::raft::{Effect, Effects, Event, Message, Patience, Quorum, Timer, Vote};
use crate::{Epoch, NodeId, Offset};

use super::log::{One, Record};
use super::state::{Broken, Poll, Projection, State, id, key};
use super::{Action, QuorumAbstract};

type Said = Message<One>;

/// A state on its way to the next one.
pub(super) struct Turn<'a, const N: usize> {
    pub(super) state: State<N>,
    model: &'a QuorumAbstract<N>,
    fx: Effects<One>,
    /// What the last step said, and to whom; it is lost with the next one.
    said: Vec<(NodeId, Said)>,
}

impl<'a, const N: usize> Turn<'a, N> {
    pub(super) fn new(state: &State<N>, model: &'a QuorumAbstract<N>) -> Self {
        Turn { state: *state, model, fx: Vec::with_capacity(8), said: Vec::with_capacity(N) }
    }

    pub(super) fn enact(&mut self, action: Action) {
        match action {
            Action::Timeout(at) => {
                let follows = self.state.nodes[at].shown.follows();
                let timer = if follows { Timer::Fetch } else { Timer::Election(Patience::Full) };
                self.step(at, Event::Timeout(timer));
            }
            Action::PeerGone(at) => {
                let leader = NodeId(i32::from(self.state.nodes[at].shown.leader));
                self.step(at, Event::PeerGone(leader));
            }
            Action::Vote { from, to, heard } => {
                let Poll { epoch, last_epoch, end, pre_vote } = self.state.nodes[from].poll;
                let (candidate, voter) = (key(from), key(to));
                let vote = Vote { epoch, candidate, voter, last_epoch, end, pre_vote };
                self.exchange(from, to, Message::Vote(vote), heard);
            }
            // An event after which a node says again what it has to say.
            Action::Begin { from, to, heard } => {
                self.step(from, Event::Timeout(Timer::Announce));
                self.exchange_said(from, to, heard);
            }
            Action::Fetch { from, to, heard } => {
                self.step(from, Event::Connected(id(to)));
                self.exchange_said(from, to, heard);
            }
            Action::Propose(at) => self.propose(at),
            Action::Resign { at, told } => {
                self.step(at, Event::Resign);
                for (to, message) in std::mem::take(&mut self.said) {
                    let to = super::state::index(to);
                    if told & 1 << to != 0 {
                        self.step(to, Event::Received { from: id(at), message });
                    }
                }
            }
            Action::Restart(at) => self.restart(at),
        }
    }

    fn exchange_said(&mut self, from: usize, to: usize, heard: bool) {
        if let Some(request) = self.said_to(to) {
            self.exchange(from, to, request, heard);
        }
    }

    /// `to` gets the request, and `from`, if it hears, the answer.
    fn exchange(&mut self, from: usize, to: usize, request: Said, heard: bool) {
        self.step(to, Event::Received { from: id(from), message: request });
        if heard && let Some(message) = self.said_to(from) {
            self.step(from, Event::Received { from: id(to), message });
        }
    }

    fn said_to(&mut self, to: usize) -> Option<Said> {
        let at = self.said.iter().position(|(receiver, _)| *receiver == id(to))?;
        Some(self.said.swap_remove(at).1)
    }

    fn propose(&mut self, at: usize) {
        self.state.history.proposed += 1;
        let (node, number) = (&self.state.nodes[at], self.state.history.proposed);
        let record = Record::new(Epoch(i32::from(node.shown.epoch)), number);
        let base = node.log.end();
        self.step(at, Event::Propose(One { base, record }));
    }

    /// The process dies and starts on what is on its disk.
    fn restart(&mut self, at: usize) {
        let machine = self.machine(at);
        let (rules, log) = (self.model.rules, &self.state.nodes[at].log);
        let machine = Quorum::new(rules, key(at), machine.voters(), machine.durable(), log);
        let node = &mut self.state.nodes[at];
        node.standing = machine.standing();
        node.shown = Projection::of(&machine);
        self.step(at, Event::Started);
    }

    fn machine(&self, at: usize) -> Quorum<Mutated> {
        self.model.born[at].with(self.state.nodes[at].standing)
    }

    /// Hands `event` to the machine of node `at`, and what follows from it without delay.
    pub(super) fn step(&mut self, at: usize, event: Event<One>) {
        self.said.clear();
        let mut machine = self.machine(at);
        let mut next = Some(event);
        while let Some(event) = next.take() {
            machine.step(&mut self.state.nodes[at].log, event, &mut self.fx);
            let mut fx = std::mem::take(&mut self.fx);
            for effect in fx.drain(..) {
                next = self.carry_out(at, effect).or(next);
            }
            self.fx = fx;
        }
        self.put(at, &machine);
    }

    /// The event that an effect leads to at once, if there is one.
    fn carry_out(&mut self, at: usize, effect: Effect<One>) -> Option<Event<One>> {
        let node = &mut self.state.nodes[at];
        match effect {
            Effect::Send { to, message, .. } => {
                if let Message::Vote(Vote { epoch, last_epoch, end, pre_vote, .. }) = message {
                    node.poll = Poll { epoch, last_epoch, end, pre_vote };
                }
                self.said.push((to, message));
            }
            // A fetch without news is answered without news, and the disk is quick.
            Effect::Hold { from, fetch } => return Some(Event::HoldExpired { from, fetch }),
            Effect::Flush => return Some(Event::Flushed(node.log.flushed())),
            Effect::Committed(offset) => self.note_committed(at, offset),
            Effect::Violation(_) => self.state.broken = Some(Broken::Noticed),
            _ => {}
        }
        None
    }

    fn note_committed(&mut self, at: usize, offset: Offset) {
        let (log, committed) = (&self.state.nodes[at].log, &mut self.state.history.committed);
        if offset > committed.end() {
            let longer = log.prefix(offset.0 as usize);
            if !longer.as_slice().starts_with(committed.as_slice()) {
                self.state.broken = Some(Broken::CommittedChanged);
            }
            *committed = longer;
        }
    }

    /// Puts a machine back and watches over the promises that a step could break.
    fn put(&mut self, at: usize, machine: &Quorum<Mutated>) {
        let node = &mut self.state.nodes[at];
        let (before, after) = (node.shown, Projection::of(machine));
        node.standing = machine.standing();
        node.shown = after;
        if !invariant::promises_kept(before.promise(), after.promise()) {
            self.state.broken = Some(Broken::VoteChanged);
        }
        let (was, is) = (before.high_watermark.into(), after.high_watermark.into());
        if !invariant::high_watermark_rises(was, is) {
            self.state.broken = Some(Broken::HighWatermarkFell);
        }
        if after.leads() {
            self.state.history.led[usize::from(after.epoch)] |= 1 << at;
        }
    }
}
