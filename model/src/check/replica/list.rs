//! Everything that can happen next.

use crate::log::Log;

use super::config::ReplicaModel;
use super::state::{Alteration, BROKERS, Broker, Controller, Exchange, State, Stop, node};

/// One step. Brokers are named by their index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// A client sends the next record with acks=all to a broker that takes itself for the leader.
    Append {
        leader: u8,
    },
    /// The producer did not hear, or does not believe it, and sends its last record again.
    Resend {
        leader: u8,
    },
    /// The broker replays the metadata up to now.
    Replay {
        broker: u8,
    },
    /// A fetch and its answer, with nothing in between.
    Fetch {
        follower: u8,
        leader: u8,
    },
    /// The leader answers a fetch that has arrived.
    Serve {
        follower: u8,
        leader: u8,
    },
    /// The follower takes in the answer.
    Take {
        follower: u8,
        leader: u8,
    },
    /// The answer, or a request that nobody waits for any more, is lost.
    LoseFetch {
        follower: u8,
        leader: u8,
    },
    /// The controller decides on an AlterPartition that has arrived.
    Decide {
        leader: u8,
    },
    Learn {
        leader: u8,
    },
    /// The answer, or a request that nobody waits for any more, is lost.
    LoseAlter {
        leader: u8,
    },
    /// A leader that was refused asks again.
    RetryAlter {
        leader: u8,
    },
    /// A leader finds a follower silent.
    Silent {
        leader: u8,
        follower: u8,
    },
    Flush {
        broker: u8,
    },
    Fence {
        broker: u8,
    },
    Unfence {
        broker: u8,
    },
    Stop {
        broker: u8,
    },
    /// Power fails; so many unflushed records are on the disk all the same.
    Crash {
        broker: u8,
        kept: u8,
    },
    Restart {
        broker: u8,
    },
}

impl ReplicaModel {
    pub(super) fn list_actions(&self, state: &State, all: &mut Vec<Action>) {
        for (index, broker) in (0..).zip(&state.brokers) {
            self.list_controller_actions(state, index, all);
            if broker.is_up() {
                self.list_broker_actions(state, index, broker, all);
            } else {
                all.push(Action::Restart { broker: index });
            }
            if !self.fetches_in_flight
                && let Some((leader, _)) = broker.replica.wanted_fetch()
                && state.brokers[leader.0 as usize].is_up()
            {
                all.push(Action::Fetch { follower: index, leader: leader.0 as u8 });
            }
            for leader in 0..BROKERS as u8 {
                self.list_fetch_actions(state, index, leader, all);
            }
            self.list_alter_actions(state, index, all);
        }
        all.retain(|&action| self.stays_within_epochs(state, action));
    }

    fn list_controller_actions(&self, state: &State, index: u8, all: &mut Vec<Action>) {
        let is_fenced = state.controller.registrations[usize::from(index)].fenced;
        if !is_fenced && state.left.fences > 0 {
            all.push(Action::Fence { broker: index });
        }
        if is_fenced && state.brokers[usize::from(index)].is_up() {
            all.push(Action::Unfence { broker: index });
        }
    }

    fn list_broker_actions(
        &self,
        state: &State,
        index: u8,
        broker: &Broker,
        all: &mut Vec<Action>,
    ) {
        let left = &state.left;
        if broker.replica.is_leader() {
            if left.appends > 0 {
                all.push(Action::Append { leader: index });
            }
            if left.resends > 0 && left.appends < self.left.appends {
                all.push(Action::Resend { leader: index });
            }
            for follower in (0..BROKERS as u8).filter(|&one| one != index && left.silences > 0) {
                if broker.replica.isr().contains(&node(usize::from(follower))) {
                    all.push(Action::Silent { leader: index, follower });
                }
            }
            if broker.replica.is_rolled_back() {
                all.push(Action::RetryAlter { leader: index });
            }
        }
        if would_notice(broker, &state.controller) {
            all.push(Action::Replay { broker: index });
        }
        if self.flush && unflushed(broker) > 0 {
            all.push(Action::Flush { broker: index });
        }
        if left.clean_stops > 0 {
            all.push(Action::Stop { broker: index });
        }
        if left.lossy_stops > 0 {
            all.extend((0..=unflushed(broker)).map(|kept| Action::Crash { broker: index, kept }));
        }
    }

    fn list_fetch_actions(&self, state: &State, follower: u8, leader: u8, all: &mut Vec<Action>) {
        match state.fetches[usize::from(follower)][usize::from(leader)].as_deref() {
            None => {}
            Some(Exchange::Asked(fetch)) => {
                if state.brokers[usize::from(leader)].is_up() {
                    all.push(Action::Serve { follower, leader });
                }
                if !self.is_wanted(state, fetch, leader) {
                    all.push(Action::LoseFetch { follower, leader });
                }
            }
            Some(Exchange::Answered(_)) => {
                all.push(Action::Take { follower, leader });
                all.push(Action::LoseFetch { follower, leader });
            }
        }
    }

    fn list_alter_actions(&self, state: &State, leader: u8, all: &mut Vec<Action>) {
        match state.alters[usize::from(leader)].as_deref() {
            None => {}
            Some(Alteration::Asked { asked, .. }) => {
                all.push(Action::Decide { leader });
                let broker = &state.brokers[usize::from(leader)];
                if broker.replica.wanted_alteration() != Some(*asked) {
                    all.push(Action::LoseAlter { leader });
                }
            }
            Some(Alteration::Answered { .. }) => {
                all.push(Action::Learn { leader });
                all.push(Action::LoseAlter { leader });
            }
        }
    }

    /// The bound on leader epochs: what would begin another one does not happen.
    fn stays_within_epochs(&self, state: &State, action: Action) -> bool {
        if !matches!(action, Action::Fence { .. } | Action::Unfence { .. } | Action::Restart { .. })
        {
            return true;
        }
        let mut controller = *state.controller;
        match action {
            Action::Fence { broker } => controller.fence(usize::from(broker), self.rules),
            Action::Unfence { broker } => controller.unfence(usize::from(broker), self.rules),
            Action::Restart { broker } => {
                let index = usize::from(broker);
                let stop = state.brokers[index].stop.unwrap_or(Stop::Clean);
                controller.register(index, stop, self.rules);
            }
            _ => {}
        }
        controller.partition.leader_epoch <= self.max_leader_epoch
    }
}

/// Whether replaying the metadata would make a difference: to who does not lead, only who leads now
/// does.
fn would_notice(broker: &Broker, controller: &Controller) -> bool {
    if broker.replica.is_leader() {
        !controller.is_seen_as(broker.replica.known())
    } else {
        broker.replica.leader_epoch() != controller.partition.leader_epoch
    }
}

/// Records that a power failure may take.
fn unflushed(broker: &Broker) -> u8 {
    broker.log.end().since(broker.log.flushed()) as u8
}
