//! Everything that can happen next.

use super::config::ClusterModel;
use super::process::next_image;
use super::quorum::To;
use super::state::{Alteration, BROKERS, Broker, Call, State, node};

/// One step. Brokers are named by their index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// A client sends the next record with acks=all to a broker that takes itself for the leader.
    Append {
        leader: u8,
    },
    /// Its producer sends its last record again.
    Resend {
        leader: u8,
    },
    /// The broker replays the next committed batch.
    Replay {
        broker: u8,
    },
    /// A fetch and its answer, with nothing in between; or the answer is lost.
    Fetch {
        follower: u8,
        lost: bool,
    },
    /// A leader finds a follower silent.
    Silent {
        leader: u8,
        follower: u8,
    },
    /// A controller decides on an AlterPartition that has arrived.
    Decide {
        leader: u8,
        to: To,
    },
    /// The leader hears the decision.
    Learn {
        leader: u8,
    },
    /// A leader that was refused asks again.
    RetryAlter {
        leader: u8,
    },
    /// The link breaks and the leader's request is sent again.
    Repeat {
        leader: u8,
    },
    /// The first copy of it arrives after all.
    DecideLate,
    /// The broker registers or sends a heartbeat, and a controller decides on it.
    Call {
        broker: u8,
        to: To,
    },
    /// The session of a living broker runs out.
    Expire {
        broker: u8,
    },
    /// The controller learns that a broker's process is gone.
    Gone {
        broker: u8,
    },
    /// The first of the metadata batches that wait is committed.
    Commit,
    /// Another node leads the quorum and has so many of the batches that wait.
    FailOver {
        kept: u8,
        lingers: bool,
    },
    /// The deposed controller hears of it.
    Hear,
    /// An operator moves the partition, or calls a move off.
    Reassign,
    /// An operator sets min.insync.replicas.
    Configure,
    /// An orderly stop is asked for.
    Stop {
        broker: u8,
    },
    /// The process is killed.
    Kill {
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

impl ClusterModel {
    pub(super) fn list_actions(&self, state: &State, all: &mut Vec<Action>) {
        self.list_quorum_actions(state, all);
        for (index, broker) in (0..).zip(&state.brokers) {
            self.list_alter_actions(state, index, all);
            if !broker.is_up() {
                self.list_absence(state, index, all);
                continue;
            }
            self.list_process_actions(state, index, broker, all);
            if broker.leads() {
                self.list_leader_actions(state, index, broker, all);
            } else if let Some(replica) = &broker.replica
                && let Some((leader, _)) = replica.wanted_fetch()
                && state.brokers[leader.0 as usize].leads()
            {
                all.push(Action::Fetch { follower: index, lost: false });
                if self.loses_answers {
                    all.push(Action::Fetch { follower: index, lost: true });
                }
            }
        }
    }

    fn list_quorum_actions(&self, state: &State, all: &mut Vec<Action>) {
        let quorum = &state.quorum;
        if !quorum.pending.is_empty() {
            all.push(Action::Commit);
        }
        if state.left.failovers > 0 {
            let most = quorum.pending.len() as u8;
            all.extend((0..=most).map(|kept| Action::FailOver { kept, lingers: false }));
            if self.lingers && quorum.pending.is_empty() {
                all.push(Action::FailOver { kept: 0, lingers: true });
            }
        }
        if quorum.lingers {
            all.push(Action::Hear);
        }
        if state.left.reassignments > 0 {
            all.push(Action::Reassign);
        }
        if state.left.configs > 0 {
            all.push(Action::Configure);
        }
        if state.late.is_some() {
            all.push(Action::DecideLate);
        }
    }

    fn list_absence(&self, state: &State, index: u8, all: &mut Vec<Action>) {
        all.push(Action::Restart { broker: index });
        let unflushed = state.brokers[usize::from(index)].unflushed();
        if state.left.lossy_stops > 0 && unflushed > 0 {
            all.extend((0..=unflushed).map(|kept| Action::Crash { broker: index, kept }));
        }
        if self.is_unfenced(state, index) {
            all.push(Action::Gone { broker: index });
        }
    }

    fn list_process_actions(
        &self,
        state: &State,
        index: u8,
        broker: &Broker,
        all: &mut Vec<Action>,
    ) {
        let left = &state.left;
        if next_image(state, usize::from(index)).is_some() {
            all.push(Action::Replay { broker: index });
        }
        if self.has_something_to_say(state, usize::from(index)) {
            all.push(Action::Call { broker: index, to: To::Active });
            if state.quorum.lingers && !matches!(broker.call, Some(Call::Register)) {
                all.push(Action::Call { broker: index, to: To::Deposed });
            }
        }
        if left.fences > 0 && self.is_unfenced(state, index) {
            all.push(Action::Expire { broker: index });
        }
        if left.clean_stops > 0 && !broker.lifecycle.wants_shutdown() {
            all.push(Action::Stop { broker: index });
        }
        if left.kills > 0 {
            all.push(Action::Kill { broker: index });
        }
        if left.lossy_stops > 0 {
            let most = broker.unflushed();
            all.extend((0..=most).map(|kept| Action::Crash { broker: index, kept }));
        }
    }

    fn list_leader_actions(
        &self,
        state: &State,
        index: u8,
        broker: &Broker,
        all: &mut Vec<Action>,
    ) {
        if state.left.appends > 0 {
            all.push(Action::Append { leader: index });
        }
        if state.left.resends > 0 && state.left.appends < self.left.appends {
            all.push(Action::Resend { leader: index });
        }
        let Some(replica) = &broker.replica else { return };
        for follower in (0..BROKERS as u8).filter(|&one| one != index && state.left.silences > 0) {
            if replica.isr().contains(&node(usize::from(follower))) {
                all.push(Action::Silent { leader: index, follower });
            }
        }
        if replica.is_rolled_back() {
            all.push(Action::RetryAlter { leader: index });
        }
    }

    fn list_alter_actions(&self, state: &State, leader: u8, all: &mut Vec<Action>) {
        let Some(alteration) = state.alters[usize::from(leader)].as_deref() else { return };
        match alteration {
            Alteration::Asked { .. } => {
                all.push(Action::Decide { leader, to: To::Active });
                if state.quorum.lingers {
                    all.push(Action::Decide { leader, to: To::Deposed });
                }
            }
            Alteration::Answered { .. } => all.push(Action::Learn { leader }),
            Alteration::Held { .. } => return,
        }
        if state.left.repeats > 0 && state.late.is_none() {
            all.push(Action::Repeat { leader });
        }
    }

    fn is_unfenced(&self, state: &State, index: u8) -> bool {
        let latest = state.quorum.controller().latest();
        latest.broker(node(usize::from(index))).is_some_and(|broker| !broker.fenced)
    }
}
