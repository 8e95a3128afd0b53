//! Everything that can happen next.

use crate::metadata::{Broker, Image, Partition};

use super::config::ControllerModel;
use super::state::{Asked, BROKERS, IN_FLIGHT, Proposal, State, Stop, index, node};

/// One step. Brokers, partitions and topics are named by their index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// The broker's process starts if it is down, and registers.
    Register {
        broker: u8,
    },
    /// A process that is registered registers once more.
    Reregister {
        broker: u8,
    },
    /// A heartbeat of a broker that has replayed all that is committed.
    Beat {
        broker: u8,
    },
    /// A heartbeat of a broker that has not replayed its own registration.
    EarlyBeat {
        broker: u8,
    },
    /// The broker begins to ask for its controlled shutdown.
    WantStop {
        broker: u8,
    },
    /// The session times out.
    Expire {
        broker: u8,
    },
    /// The broker's process is said to be gone.
    Gone {
        broker: u8,
    },
    /// The link to the broker closes, and nothing is known about its process.
    Close {
        broker: u8,
    },
    /// The link stands again.
    Reconnect {
        broker: u8,
    },
    WindowEnds,
    TrustAgain {
        broker: u8,
    },
    Stop {
        broker: u8,
        how: Stop,
    },
    Unregister {
        broker: u8,
    },
    /// The leader sees that the broker has caught up, and asks for it to join.
    Join {
        partition: u8,
        broker: u8,
    },
    /// The leader asks for the silent broker to leave.
    Drop {
        partition: u8,
        broker: u8,
    },
    /// An unclean leader says that it has recovered.
    Recover {
        partition: u8,
    },
    /// The controller gets a leader's request.
    Decide {
        at: u8,
    },
    Prefer {
        partition: u8,
    },
    ElectUncleanly {
        partition: u8,
    },
    Balance,
    Sweep,
    Reassign {
        target: u8,
    },
    Cancel {
        partition: u8,
    },
    Create {
        topic: u8,
    },
    Delete {
        topic: u8,
    },
    SetMinIsr {
        to: u8,
    },
    AskProducerIds {
        broker: u8,
    },
    Commit,
    /// Another leader of the quorum, whose log has so many of the batches that are not committed:
    /// the same controller in a later epoch, or one that stood by.
    Failover {
        kept: u8,
        same: bool,
    },
}

impl ControllerModel {
    pub(super) fn list_actions(&self, state: &State, all: &mut Vec<Action>) {
        let committed = state.committed();
        for broker in 0..BROKERS {
            self.list_process(state, broker, all);
        }
        for partition in 0..self.partitions() {
            if let Some(found) = self.partition(committed, partition) {
                self.list_leader(state, partition, found, all);
            }
        }
        if !state.tail.is_empty() {
            all.push(Action::Commit);
        }
        if state.left.failovers > 0 {
            for kept in 0..=state.tail.len() as u8 {
                all.extend([true, false].map(|same| Action::Failover { kept, same }));
            }
        }
        if state.tail.len() < self.lag.max(1) && state.pending.len() < IN_FLIGHT {
            self.list_decisions(state, all);
        }
    }

    /// What processes do without the controller.
    fn list_process(&self, state: &State, broker: usize, all: &mut Vec<Action>) {
        let (left, it) = (&state.left, broker as u8);
        if !state.processes[broker].up {
            return;
        }
        let stops = [
            (left.clean_stops, Stop::Clean),
            (left.outages, Stop::Lucky),
            (left.losses, Stop::Lossy),
            (left.new_disks, Stop::NewDisk),
        ];
        for (_, how) in stops.into_iter().filter(|(left, _)| *left > 0) {
            all.push(Action::Stop { broker: it, how });
        }
    }

    /// What a leader asks for on its own account. One question at a time (L3), but what it has
    /// given up may still be in the network.
    fn list_leader(&self, state: &State, at: usize, partition: &Partition, all: &mut Vec<Action>) {
        let Some(leader) = partition.leader.map(index) else { return };
        let is_open = |it: &Proposal| {
            usize::from(it.partition) == at
                && usize::from(it.sender) == leader
                && it.partition_epoch == partition.partition_epoch
                && it.leader_epoch == partition.leader_epoch
        };
        let committed = state.committed();
        if !state.acts(committed, leader)
            || state.proposals.iter().any(is_open)
            || state.proposals.len() == IN_FLIGHT
        {
            return;
        }
        let name = at as u8;
        if partition.recovering {
            return all.push(Action::Recover { partition: name });
        }
        if state.left.proposals == 0 {
            return;
        }
        for broker in partition.replicas.iter().map(|&it| index(it)).filter(|&it| it != leader) {
            let is_member = partition.isr.contains(&node(broker));
            if is_member {
                all.push(Action::Drop { partition: name, broker: broker as u8 });
            } else if state.acts(committed, broker) && is_active(committed, broker) {
                all.push(Action::Join { partition: name, broker: broker as u8 });
            }
        }
    }

    /// What makes the controller decide.
    fn list_decisions(&self, state: &State, all: &mut Vec<Action>) {
        let latest = state.machine.latest();
        for broker in 0..BROKERS {
            self.list_broker(state, latest, broker, all);
            self.list_links(state, latest, broker, all);
        }
        if state.timers.window {
            all.push(Action::WindowEnds);
        }
        let proposals = (0..).zip(&state.proposals).filter(|(_, it)| !it.decided);
        all.extend(proposals.map(|(at, _)| Action::Decide { at }));
        for partition in 0..self.partitions() {
            if let Some(found) = self.partition(latest, partition) {
                self.list_operator(state, partition as u8, found, all);
            }
        }
        self.list_topics(state, latest, all);
    }

    fn list_broker(&self, state: &State, latest: &Image, at: usize, all: &mut Vec<Action>) {
        let (left, broker, process) = (&state.left, at as u8, &state.processes[at]);
        let acts = state.acts(state.committed(), at);
        if !acts && !state.waits(Asked::Register(broker)) {
            all.push(Action::Register { broker });
        }
        if acts && !state.waits(Asked::Register(broker)) && left.registrations > 0 {
            all.push(Action::Reregister { broker });
        }
        let registered = latest.broker(node(at));
        if acts && !state.waits(Asked::Beat(broker)) {
            self.list_beats(state, latest, at, all);
        }
        let Some(registered) = registered else { return };
        if state.timers.sessions[at] {
            let is_idle = registered.fenced && self.left.new_disks > 0;
            if (!registered.fenced && left.fences > 0) || is_idle {
                all.push(Action::Expire { broker });
            }
        }
        if left.unregistrations > 0 {
            all.push(Action::Unregister { broker });
        }
        if left.producers > 0 && process.up && !state.waits(Asked::Producer(broker)) && acts {
            all.push(Action::AskProducerIds { broker });
        }
    }

    /// A heartbeat of an active broker matters only to one that waits to stop.
    fn list_beats(&self, state: &State, latest: &Image, at: usize, all: &mut Vec<Action>) {
        let broker = at as u8;
        let registered = latest.broker(node(at));
        let is_fenced = registered.is_some_and(|it| it.fenced);
        let somebody_stops =
            latest.brokers.values().any(|it| it.in_controlled_shutdown && !it.fenced);
        if is_fenced || state.processes[at].stopping || somebody_stops {
            all.push(Action::Beat { broker });
        }
        if is_fenced && self.early_beats {
            all.push(Action::EarlyBeat { broker });
        }
        if state.left.shutdowns > 0 && !state.processes[at].stopping {
            all.push(Action::WantStop { broker });
        }
    }

    fn list_links(&self, state: &State, latest: &Image, at: usize, all: &mut Vec<Action>) {
        if self.left.closed_links == 0 {
            return;
        }
        let broker = at as u8;
        let is_unfenced = latest.broker(node(at)).is_some_and(|it| !it.fenced);
        if is_unfenced {
            if state.left.fences > 0 {
                all.push(Action::Gone { broker });
            }
            if state.left.closed_links > 0 {
                all.push(Action::Close { broker });
            }
        }
        if state.timers.window && state.processes[at].up {
            all.push(Action::Reconnect { broker });
        }
        if state.timers.distrust[at] {
            all.push(Action::TrustAgain { broker });
        }
    }

    fn list_operator(
        &self,
        state: &State,
        partition: u8,
        found: &Partition,
        all: &mut Vec<Action>,
    ) {
        let left = &state.left;
        if found.leader.is_some() && found.leader != found.replicas.first().copied() {
            all.push(Action::Prefer { partition });
            all.push(Action::Balance);
        }
        if found.leader.is_none() {
            all.push(Action::Sweep);
            if left.unclean > 0 {
                all.push(Action::ElectUncleanly { partition });
            }
        }
        if left.reassignments > 0 {
            let targets = (0..).zip(self.targets).filter(|(_, it)| it.0 == partition);
            all.extend(targets.map(|(target, _)| Action::Reassign { target }));
        }
        if left.cancels > 0 && found.is_reassigning() {
            all.push(Action::Cancel { partition });
        }
    }

    fn list_topics(&self, state: &State, latest: &Image, all: &mut Vec<Action>) {
        for topic in 0..self.topics.len() {
            let exists = latest.topic_named(Self::topic_name(topic)).is_some();
            let topic = topic as u8;
            if !exists || self.left.deletions > 0 {
                all.push(Action::Create { topic });
            }
            if exists && state.left.deletions > 0 {
                all.push(Action::Delete { topic });
            }
        }
        if state.left.configs > 0 {
            all.extend((0..self.min_isrs.len() as u8).map(|to| Action::SetMinIsr { to }));
        }
    }
}

fn is_active(image: &Image, broker: usize) -> bool {
    image.broker(node(broker)).is_some_and(Broker::is_active)
}
