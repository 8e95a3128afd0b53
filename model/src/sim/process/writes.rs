//! The quorum's disk: one store and one flush under way at a time, and what waits for them (Q2).

use std::collections::VecDeque;

use crate::log::Log;
use crate::raft::{self, Event, Gate, StoredState};
use crate::sim::disk::Chunk;
use crate::sim::env::{Fact, Input};
use crate::{NodeId, Offset, Rules};

use super::{At, Moment};

/// Writes under way, and messages that wait for them (Q2).
#[derive(Debug, Default)]
pub(super) struct Writes {
    pub(super) flush_wanted: bool,
    /// Where the log ended when the flush began, lowered by truncations since.
    flushing: Option<i64>,
    truncated: bool,
    pub(super) store_wanted: Option<StoredState>,
    pub(super) stores_asked: u64,
    stores_done: u64,
    gated: VecDeque<(u64, NodeId, raft::Message<Chunk>)>,
}

impl<R: Rules> At<'_, R> {
    pub(super) fn note_truncation(&mut self, before: Offset) {
        let end = self.disk.metadata.end();
        if end < before {
            self.tell(|| format!("cuts its metadata log from {before} to {end}"));
            self.process.writes.truncated = true;
            if let Some(to) = &mut self.process.writes.flushing {
                *to = (*to).min(end.0);
            }
        }
    }

    pub(super) fn send_gated(&mut self, to: NodeId, message: raft::Message<Chunk>, gate: Gate) {
        if let raft::Message::VoteResponse(answer) = &message
            && answer.granted
            && answer.pre_vote
        {
            self.env.facts.push(Fact::WouldVote { epoch: answer.epoch, candidate: to });
        }
        let writes = &mut self.process.writes;
        if gate == Gate::Stored && writes.stores_asked > writes.stores_done {
            writes.gated.push_back((writes.stores_asked, to, message));
        } else {
            self.send_quorum(to, message);
        }
    }

    /// Starts whatever is wanted and not already under way.
    pub(super) fn start_writes(&mut self) {
        let writes = &mut self.process.writes;
        if self.disk.storing.is_none()
            && let Some(state) = writes.store_wanted.take()
        {
            let number = writes.stores_asked;
            self.disk.storing = Some(state);
            let (time, failed) = (self.env.disk_time(), self.metadata_fails());
            self.later(time, Input::Stored { number, failed });
        }
        let writes = &mut self.process.writes;
        if writes.flushing.is_none() && std::mem::take(&mut writes.flush_wanted) {
            let log = &self.disk.metadata;
            if log.flushed() < log.end() {
                let to = log.end().0;
                (writes.flushing, writes.truncated) = (Some(to), false);
                self.process.moment.get_or_insert(Moment::Appended);
                let (time, failed) = (self.env.disk_time(), self.metadata_fails());
                self.later(time, Input::Flushed { to, failed });
            }
        }
    }

    fn metadata_fails(&mut self) -> bool {
        std::mem::take(&mut self.disk.fail_metadata)
    }

    pub(super) fn stored(&mut self, number: u64, failed: bool) {
        if failed {
            return self.fatal("epoch and vote cannot be stored");
        }
        if let Some(state) = self.disk.storing.take() {
            self.disk.stored = state;
        }
        self.process.writes.stores_done = number;
        let is_due = |(asked, ..): &(u64, NodeId, _)| *asked <= number;
        while self.process.writes.gated.front().is_some_and(is_due) {
            if let Some((_, to, message)) = self.process.writes.gated.pop_front() {
                self.send_quorum(to, message);
            }
        }
    }

    pub(super) fn flushed(&mut self, _: i64, failed: bool) {
        let Some(to) = self.process.writes.flushing.take() else { return };
        if failed {
            // After a failed fsync nobody knows what is on the disk: never try again.
            return self.fatal("the metadata log cannot be flushed");
        }
        let undisturbed = !self.process.writes.truncated;
        self.disk.metadata.flushed_up_to(to, undisturbed);
        let flushed = self.disk.metadata.flushed();
        if self.disk.metadata.damaged.is_some_and(|former| flushed.0 >= former) {
            self.disk.metadata.damaged = None;
            self.tell(|| "has its damaged metadata log whole again".to_owned());
        }
        self.step_quorum(Event::Flushed(flushed));
    }
}
