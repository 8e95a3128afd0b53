//! Voter changes: asked for, answered, and what this node does about a new set (Q12).

use crate::log::Log;
use crate::metadata;
use crate::raft::{Event, VoterChange, VoterChangeError};
use crate::sim::env::{Message, Timer};
use crate::sim::faults::Fault;
use crate::{NodeId, ReplicaKey, Rules};

use super::{At, Work};

impl<R: Rules> At<'_, R> {
    /// An administrator asks this node, which led a moment ago.
    pub(super) fn change_voters(&mut self, change: VoterChange) {
        let id = self.process.changes.len() as u64 + self.env.now;
        self.tell(|| format!("is asked for other voters: {change:?}"));
        self.process.changes.insert(id, change);
        self.step_quorum(Event::ChangeVoters { id, change });
    }

    pub(super) fn voters_answered(&mut self, id: u64, result: Result<(), VoterChangeError>) {
        let Some(change) = self.process.changes.remove(&id) else { return };
        self.tell(|| format!("answers {change:?}: {result:?}"));
        let me: ReplicaKey = self.process.quorum.me();
        if result.is_ok() {
            self.env.counts.count(match change {
                VoterChange::Add(_) => Fault::AddVoter,
                VoterChange::Remove(voter) if voter == me => Fault::RemoveLeader,
                VoterChange::Remove(_) => Fault::RemoveVoter,
                VoterChange::Update(_) => Fault::UpdateVoter,
            });
        }
    }

    /// Another Voters record is in force.
    pub(super) fn voters_known(&mut self) {
        let voters: Vec<ReplicaKey> = self.process.quorum.voters().to_vec();
        self.tell(|| {
            let ids: Vec<i32> = voters.iter().map(|voter| voter.id.0).collect();
            format!("goes by the voters {ids:?}")
        });
        for voter in voters {
            if self.process.is_linked(voter.id) {
                self.process.work.push_back(Work::Quorum(Event::Connected(voter.id)));
            }
        }
        if self.process.quorum.is_leader() {
            let end = self.disk.metadata.end();
            self.controller_event(metadata::Event::Appended { end });
        }
    }
}

/// Finding who leads, as `node/src/actor/quorum/finding.rs` does in a dynamic quorum.
impl<R: Rules> At<'_, R> {
    fn has_leader(&self) -> bool {
        let leader = self.process.quorum.leader();
        leader.is_some_and(|leader| leader == self.me || self.process.is_linked(leader))
    }

    pub(super) fn find_voters(&mut self) {
        if self.who.voters.is_empty() && !self.has_leader() {
            self.set_once(Timer::Find);
        }
    }

    pub(super) fn ask_around(&mut self) {
        let peers: Vec<NodeId> = self.process.up.keys().copied().collect();
        for peer in peers {
            if self.who.knows_as_controller(peer) && !self.has_leader() {
                self.send(peer, Message::WhoVotes);
            }
        }
        self.find_voters();
    }

    pub(super) fn told_of_voters(&mut self, voters: &[NodeId]) {
        for &voter in voters {
            if self.process.is_linked(voter) {
                self.step_quorum(Event::Connected(voter));
            }
        }
    }
}
