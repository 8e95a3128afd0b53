//! One step: events for the machine, what comes of them, and its judgement.

use crate::check::Mutated;
use crate::check::shared::Shared;
use crate::metadata::{Controller, Effect, Effects, Event, Image, Request};
use crate::{BrokerEpoch, Epoch, NodeId, Offset};

use super::config::{CLUSTER, ControllerModel};
use super::data::settle;
use super::judge::{self, Asking, Verdict};
use super::list::Action;
use super::renumber::renumber;
use super::state::{Asked, BROKERS, Batch, Happened, Pending, State, Stop, node};

/// One action in progress: the state, and what of it is unwrapped meanwhile.
pub(super) struct Turn<'a> {
    pub model: &'a ControllerModel,
    pub state: State,
    /// The machine, once the action has touched it.
    touched: Option<Controller<Mutated>>,
    /// What is appended and not committed.
    pub tail: Vec<Batch>,
    /// The judge's own fold of what is committed, once something is.
    folded: Option<Image>,
    pub asking: Asking,
    /// The chance that the next request to the machine brings with it.
    pub entropy: u64,
    /// What was latest is gone with the leadership.
    pub is_failover: bool,
    pub verdict: Verdict,
}

impl ControllerModel {
    pub(super) fn act(&self, before: &State, action: Action) -> State {
        let mut turn = Turn::new(self, before);
        turn.enact(action);
        if self.lag == 0 {
            turn.commit_all();
        }
        turn.finish(before)
    }
}

impl<'a> Turn<'a> {
    pub fn new(model: &'a ControllerModel, before: &State) -> Self {
        let mut state = before.clone();
        state.just = 0;
        Turn {
            model,
            touched: None,
            folded: None,
            tail: (*before.tail).clone(),
            state,
            asking: Asking::default(),
            entropy: 0,
            is_failover: false,
            verdict: Ok(()),
        }
    }

    pub fn machine(&self) -> &Controller<Mutated> {
        self.touched.as_ref().unwrap_or(&self.state.machine)
    }

    /// Judges the step as a whole and wraps the state up.
    pub fn finish(mut self, before: &State) -> State {
        if self.touched.is_some() {
            self.judge(before);
        }
        if self.verdict.is_ok() {
            self.verdict = settle(self.model, &mut self.state, self.touched.as_ref());
        }
        let Turn { model, mut state, touched, mut tail, verdict, .. } = self;
        if let Err(broken) = verdict {
            let at = judge::promises().position(|name| name == broken);
            state.broken = Some(at.expect("a promise that is on the list") as u8);
        }
        state.proposals.sort_unstable();
        let Some(mut machine) = touched else { return state };
        if !model.exact {
            let keeps_sessions = model.left.new_disks > 0;
            renumber(&mut state, &mut machine, &mut tail, keeps_sessions);
        }
        if tail != *before.tail {
            state.tail = Shared::new(tail);
        }
        state.machine = Shared::new(machine);
        state
    }

    /// The committed image changes by commits alone, the latest by sound decisions.
    fn judge(&mut self, before: &State) {
        let folded = self.folded.as_ref().unwrap_or(before.machine.committed());
        if self.verdict.is_ok() && self.machine().committed() != folded {
            self.verdict = Err(judge::FOLD);
        }
        let Some(machine) = &self.touched else { return };
        let (was, is) = (before.machine.latest(), machine.latest());
        if self.verdict.is_err() || was == is {
            return;
        }
        if !self.is_failover && !self.model.only_losses {
            self.verdict = judge::judge_decision(was, is, &self.asking);
        }
        self.state.just |= judge::notice(was, is, &self.asking);
    }

    pub fn break_promise(&mut self, verdict: Verdict) {
        if self.verdict.is_ok() {
            self.verdict = verdict;
        }
    }

    /// Feeds the machine one event, and does what it says.
    pub fn run(&mut self, event: Event) {
        let mut effects = Effects::new();
        let machine = self.touched.get_or_insert_with(|| (*self.state.machine).clone());
        machine.step(event, &mut effects);
        self.carry_out(effects);
    }

    /// Asks the controller. What is decided rests on all that is appended by then.
    pub fn ask(&mut self, asked: Asked, request: Request) {
        const UNKNOWN: u8 = u8::MAX;
        self.state.pending.push(Pending { asked, batches: UNKNOWN });
        self.run(Event::Request { id: asked.id(), request, entropy: self.entropy });
        let batches = self.tail.len() as u8;
        let unknown = self.state.pending.iter_mut().filter(|it| it.batches == UNKNOWN);
        unknown.for_each(|pending| pending.batches = batches);
    }

    fn carry_out(&mut self, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Append { base, records } => self.append(base, records),
                Effect::Reply { id, response } => self.reply(Asked::of(id), response),
                Effect::SetTimer(timer) => self.state.timers.set(timer, true),
                Effect::CancelTimer(timer) => self.state.timers.set(timer, false),
                Effect::Violation(_) => self.break_promise(Err(judge::UNBROKEN)),
                Effect::Fenced { .. } | Effect::Published(_) => {}
            }
        }
    }

    fn append(&mut self, base: Offset, records: Vec<crate::metadata::Record>) {
        let committed = self.machine().committed().end;
        let end = self.tail.last().map_or(committed, |it| it.base.plus(it.records.len() as i64));
        if base != end {
            self.break_promise(Err(judge::UNBROKEN));
        }
        self.tail.push(Batch { base, records });
    }

    pub fn commit_all(&mut self) {
        while !self.tail.is_empty() {
            self.commit();
        }
    }

    /// The quorum commits the next batch.
    pub fn commit(&mut self) {
        let Batch { base, records } = self.tail.remove(0);
        let folded = self.folded.get_or_insert_with(|| self.state.committed().clone());
        let verdicts = (0..).zip(&records);
        let verdict = verdicts
            .map(|(at, record)| judge::fold(folded, base.plus(at), record))
            .find(Result::is_err);
        self.break_promise(verdict.unwrap_or(Ok(())));
        let counted = self.state.pending.iter_mut().filter(|it| it.batches != u8::MAX);
        counted.for_each(|pending| pending.batches = pending.batches.saturating_sub(1));
        let end = base.plus(records.len() as i64);
        self.run(Event::Committed { base, records, end });
    }

    /// K2, K3: leadership is lost; of what is not committed so much survives; somebody leads, the
    /// first record of whose epoch is the quorum's own.
    pub fn fail_over(&mut self, kept: usize, same: bool) {
        self.is_failover = true;
        let committed = self.machine().committed().clone();
        self.run(Event::LostLeadership);
        if *self.machine().latest() != committed {
            self.break_promise(Err(judge::REVERTS));
        }
        if !self.state.pending.is_empty() {
            self.break_promise(Err(judge::RELEASED));
        }
        if self.tail.len() > kept {
            self.state.happened(Happened::TailDropped);
            self.tail.truncate(kept);
        } else if kept > 0 {
            self.state.happened(Happened::TailKept);
        }
        self.commit_all();
        self.forget_dropped_elections();
        let base = self.machine().committed().end;
        let end = base.plus(1);
        self.run(Event::Committed { base, records: Vec::new(), end });
        self.folded.get_or_insert_with(|| self.state.committed().clone()).end = end;
        if !same {
            self.stand_by();
        }
        self.state.timers = Default::default();
        self.run(Event::Lead { epoch: Epoch(1), next: end });
    }

    fn forget_dropped_elections(&mut self) {
        for at in 0..self.model.partitions() {
            let partition = self.model.partition(self.machine().committed(), at);
            if !partition.is_some_and(|it| it.recovering) {
                self.state.data[at].ask_unclean(false);
            }
        }
    }

    /// Another controller's machine, which has caught up by a snapshot.
    fn stand_by(&mut self) {
        let image = self.machine().committed().clone();
        match Image::load(image.end, &image.records()) {
            Ok(loaded) if loaded == image => {}
            _ => self.break_promise(Err(judge::SNAPSHOT)),
        }
        self.touched = Some(self.model.controller());
        self.run(Event::Loaded(Box::new(image)));
        let processes = self.state.processes;
        for broker in (0..BROKERS).filter(|&it| processes[it].up) {
            let incarnation = processes[broker].incarnation(broker);
            self.run(Event::Connected { broker: node(broker), incarnation });
        }
    }

    pub fn end_process(&mut self, broker: usize, how: Stop) {
        let left = &mut self.state.left;
        let counter = match how {
            Stop::Clean => &mut left.clean_stops,
            Stop::Lucky => &mut left.outages,
            Stop::Lossy => &mut left.losses,
            Stop::NewDisk => &mut left.new_disks,
        };
        *counter -= 1;
        let process = &mut self.state.processes[broker];
        (process.up, process.stopping, process.stop) = (false, false, how);
        if how != Stop::Clean {
            process.epoch = BrokerEpoch::NONE;
        }
        if how == Stop::NewDisk {
            process.disk += 1;
        }
        if how != Stop::Clean {
            let loses = how != Stop::Lucky;
            self.state.data.iter_mut().for_each(|data| data.stop_uncleanly(broker, loses));
        }
    }
}

impl ControllerModel {
    /// A machine to which nothing has happened. That it is another node's decides nothing.
    pub(super) fn controller(&self) -> Controller<Mutated> {
        Controller::with_rules(NodeId(0), CLUSTER, self.defaults(), self.rules)
    }
}
