//! A machine that is run again.

use std::hash::Hash;
use std::sync::Arc;

use super::log::ExtentLog;
use super::record::digest_with;
use super::{Answer, Digest, Input, LogState, MachineId, Mark, Output, Start};
use crate::Rules;
use crate::broker::Broker;
use crate::metadata::Controller;
use crate::raft::Quorum;
use crate::replica::Replica;

/// A machine of a node at some point of its recording. What is asked of it: its own read accessors,
/// and where its log stands.
#[derive(Clone, Debug)]
pub enum Machine<R> {
    Quorum { machine: Quorum<R>, log: LogState },
    Controller { machine: Box<Controller<R>> },
    Broker { machine: Broker },
    Replica { machine: Box<Replica<R>>, topic: Arc<str>, log: LogState },
}

/// The same in motion, with a log that answers.
#[derive(Clone, Debug)]
pub(super) enum Running<R> {
    Quorum { machine: Quorum<R>, log: ExtentLog },
    Controller { machine: Box<Controller<R>> },
    Broker { machine: Broker },
    Replica { machine: Box<Replica<R>>, topic: Arc<str>, log: ExtentLog },
}

/// What a step of it came to.
pub(super) struct Stepped {
    pub output: Output,
    pub effects: u64,
    pub state: u64,
    /// It asked its log what it asked in the recording.
    pub is_in_step: bool,
}

impl<R: Rules> Running<R> {
    pub fn new(rules: R, start: Start) -> Running<R> {
        match start {
            Start::Quorum { me, voters, stored, log, record } => {
                let mut log = ExtentLog::new(log);
                log.prepare(None, vec![Answer::Voters(record)]);
                Running::Quorum { machine: Quorum::new(rules, me, &voters, stored, &log), log }
            }
            Start::Controller { me, cluster, defaults } => {
                let machine = Controller::with_rules(me, cluster, defaults, rules).into();
                Running::Controller { machine }
            }
            Start::Broker { me } => Running::Broker { machine: Broker::new(me) },
            Start::Replica { id, topic, me, high_watermark, producers, log } => {
                let machine = Replica::new(rules, id, me, high_watermark, producers).into();
                Running::Replica { machine, topic: topic.into(), log: ExtentLog::new(log) }
            }
        }
    }

    /// Takes in a recorded event. `None` if it is another machine's.
    pub fn step(
        &mut self,
        input: Input,
        moved: Option<&Mark>,
        answers: Vec<Answer>,
        is_thorough: bool,
    ) -> Option<Stepped> {
        match (self, input) {
            (Running::Quorum { machine, log }, Input::Quorum(event)) => {
                log.prepare(moved, answers);
                let mut fx = Vec::new();
                machine.step(log, event, &mut fx);
                let state = digest_with(&log.state.mark(), |digest| machine.hash_state(digest));
                let is_in_step = log.is_in_step();
                let effects = Digest::of(&fx[..]);
                Some(Stepped { output: Output::Quorum(fx), effects, state, is_in_step })
            }
            (Running::Controller { machine }, Input::Controller(event)) => {
                let mut fx = Vec::new();
                machine.step(event, &mut fx);
                let state = digest_with(&(), |digest| machine.hash_state(is_thorough, digest));
                let effects = Digest::of(&fx[..]);
                Some(Stepped { output: Output::Controller(fx), effects, state, is_in_step: true })
            }
            (Running::Broker { machine }, Input::Broker(event)) => {
                let mut fx = Vec::new();
                machine.step(event, &mut fx);
                let state = digest_with(&(), |digest| machine.hash(digest));
                let effects = Digest::of(&fx[..]);
                Some(Stepped { output: Output::Broker(fx), effects, state, is_in_step: true })
            }
            (Running::Replica { machine, log, .. }, Input::Replica(event)) => {
                log.prepare(moved, answers);
                let mut fx = Vec::new();
                machine.step(log, event, &mut fx);
                let state = digest_with(&log.state.mark(), |digest| {
                    machine.hash_state(is_thorough, digest);
                });
                let is_in_step = log.is_in_step();
                let effects = Digest::of(&fx[..]);
                Some(Stepped { output: Output::Replica(fx), effects, state, is_in_step })
            }
            _ => None,
        }
    }

    pub fn now(&self) -> Machine<R> {
        match self.clone() {
            Running::Quorum { machine, log } => Machine::Quorum { machine, log: log.state },
            Running::Controller { machine } => Machine::Controller { machine },
            Running::Broker { machine } => Machine::Broker { machine },
            Running::Replica { machine, topic, log } => {
                Machine::Replica { machine, topic, log: log.state }
            }
        }
    }
}

impl<R: Rules> Machine<R> {
    /// The machine's name within its node: a partition's with its topic's name.
    pub fn name(&self, id: MachineId) -> String {
        match (self, id) {
            (Machine::Replica { topic, .. }, MachineId::Partition(id)) => {
                format!("{topic}-{}", id.partition)
            }
            (_, id) => id.to_string(),
        }
    }

    /// All of the state, for people: one field a line.
    pub fn text(&self) -> String {
        match self {
            Machine::Quorum { machine, log } => format!("{machine:#?}\n{log:#?}"),
            Machine::Controller { machine } => format!("{machine:#?}"),
            Machine::Broker { machine } => format!("{machine:#?}"),
            Machine::Replica { machine, log, .. } => format!("{machine:#?}\n{log:#?}"),
        }
    }

    /// Where its log stands, if it has one.
    pub fn log(&self) -> Option<&LogState> {
        match self {
            Machine::Quorum { log, .. } | Machine::Replica { log, .. } => Some(log),
            Machine::Controller { .. } | Machine::Broker { .. } => None,
        }
    }
}
