//! Voter changes: asked for, answered, and what this node does about a new set (Q12).

use std::collections::HashMap;
use std::time::Duration;

use actix::Context;
use kraft_model::log::Log;
use kraft_model::raft::{Event, VoterChange, VoterChangeError};
use kraft_model::{ReplicaKey, metadata};
use tokio::sync::oneshot;
use tracing::info;

use super::raft_effects::TimerKey;
use super::{QuorumActor, Work, replies};
use crate::peer::{LinkId, Message};
use crate::storage::{VoterEndpoint, VoterNode};

/// How soon a voter whose record names other endpoints says so again.
const AGAIN: Duration = Duration::from_secs(1);

/// Who asked for a change.
#[derive(Debug)]
pub enum Asked {
    Local(oneshot::Sender<Result<(), VoterChangeError>>),
    Remote {
        link: LinkId,
        id: u64,
    },
    /// This very node, about itself.
    Own,
}

/// The changes that were asked for and not answered yet.
#[derive(Default)]
pub struct Changes {
    next: u64,
    /// And whose endpoints the log was told for it.
    waiting: HashMap<u64, (Asked, Option<ReplicaKey>)>,
}

impl QuorumActor {
    pub(super) fn change_voters(
        &mut self,
        asked: Asked,
        change: VoterChange,
        endpoints: Vec<VoterEndpoint>,
        context: &mut Context<Self>,
    ) {
        if let VoterChange::Add(key) = change
            && self.finding.of(key.id).is_some_and(|(controller, _)| !controller)
        {
            return self.answer_change(asked, Err(VoterChangeError::NoController));
        }
        let noted = match change {
            VoterChange::Add(key) | VoterChange::Update(key) => {
                Some(key).filter(|&key| self.disk.log.note_endpoints(VoterNode { key, endpoints }))
            }
            VoterChange::Remove(_) => None,
        };
        self.changes.next += 1;
        let id = self.changes.next;
        self.changes.waiting.insert(id, (asked, noted));
        info!(?change, "a change of the voters is asked for");
        self.run(Work::Quorum(Event::ChangeVoters { id, change }), context);
    }

    pub(super) fn voters_answered(&mut self, id: u64, result: Result<(), VoterChangeError>) {
        let Some((asked, noted)) = self.changes.waiting.remove(&id) else { return };
        if let Some(key) = noted {
            self.disk.log.forget_endpoints(key);
        }
        match result {
            Ok(()) => info!("the change of the voters is committed"),
            Err(error) => info!("the voters were not changed: {error}"),
        }
        self.answer_change(asked, result);
    }

    fn answer_change(&self, asked: Asked, result: Result<(), VoterChangeError>) {
        match asked {
            Asked::Local(answer) => {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(result);
            }
            Asked::Remote { link, id } => {
                replies::send(&self.links, link, Message::VotersChanged { id, result });
            }
            Asked::Own => {}
        }
    }

    /// Another Voters record is in force.
    pub(super) fn voters_known(&mut self, context: &mut Context<Self>) {
        let ids: Vec<i32> = self.quorum.voters().iter().map(|voter| voter.id.0).collect();
        info!(voters = ?ids, at = ?self.quorum.voters_at().map(|at| at.0), "who votes");
        self.dial_voters();
        for voter in self.quorum.voters() {
            if self.is_up(voter.id) {
                self.work.push_back(Work::Quorum(Event::Connected(voter.id)));
            }
        }
        if self.quorum.is_leader() {
            let end = self.disk.log.end();
            self.step_controller(metadata::Event::Appended { end }, context);
        }
        self.keep_endpoints_true(context);
    }

    /// UpdateVoter of KIP-853: a voter that is reached elsewhere than the record says tells the
    /// leader, until it does.
    pub(super) fn keep_endpoints_true(&mut self, context: &mut Context<Self>) {
        if self.is_named_truly() || self.quorum.leader().is_none() {
            return;
        }
        self.timers.set(context, TimerKey::Endpoints, AGAIN, |actor, context| {
            actor.timers.fired(TimerKey::Endpoints);
            actor.tell_own_endpoints(context);
            actor.keep_endpoints_true(context);
        });
    }

    /// Whether the log has this node right, if it has it as a voter at all.
    fn is_named_truly(&self) -> bool {
        let mine = self.disk.log.voters().iter().find(|voter| voter.key == self.me);
        mine.is_none_or(|mine| mine.endpoints == self.endpoints || self.endpoints.is_empty())
    }

    fn tell_own_endpoints(&mut self, context: &mut Context<Self>) {
        let Some(leader) = self.quorum.leader().filter(|_| !self.is_named_truly()) else { return };
        let (change, endpoints) = (VoterChange::Update(self.me), self.endpoints.clone());
        if leader == self.me.id {
            self.change_voters(Asked::Own, change, endpoints, context);
        } else {
            // Nobody waits for the answer: the next record that is read is one.
            let message = Message::ChangeVoters { id: super::FINDING, change, endpoints };
            let _ = self.links.send(leader, message);
        }
    }
}
