//! What an action does.

use crate::ReplicaKey;
use crate::log::Log;
use crate::raft::{Event, Message, Timer, VoterChange};

use super::actions::Action;
use super::keys::id;
use super::record::{Record, Run};
use super::state::{Cut, State};
use super::turn::Turn;
use super::{ANY_NUMBER, QuorumModel};

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
