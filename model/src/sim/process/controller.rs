//! Effects of the controller machine.

use crate::log::Log;
use crate::metadata::{Effect, Event, Request, RequestId};
use crate::sim::disk::Chunk;
use crate::sim::env::{Fact, Timer};
use crate::{Offset, Rules};

use super::At;

impl<R: Rules> At<'_, R> {
    pub(super) fn requested(&mut self, id: RequestId, request: Request) {
        if self.process.controller.is_none() {
            let leader = self.process.quorum.leader();
            return self.reply(id, crate::metadata::Response::NotController { leader });
        }
        let entropy = self.env.chance.next();
        self.step_controller(Event::Request { id, request, entropy });
    }

    pub(super) fn controller_event(&mut self, event: Event) {
        let Some(controller) = &mut self.process.controller else { return };
        let mut effects = Vec::new();
        controller.step(event, &mut effects);
        effects.into_iter().for_each(|effect| self.run_controller_effect(effect));
    }

    fn run_controller_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Append { base, records } => self.propose(base, records),
            Effect::Reply { id, response } => self.reply(id, response),
            Effect::SetTimer(timer) => self.set(Timer::Controller(timer)),
            Effect::CancelTimer(timer) => self.cancel(Timer::Controller(timer)),
            Effect::Fenced { broker, reason } => {
                self.tell(|| format!("broker {broker} is fenced or leaves its ISRs: {reason:?}"));
            }
            Effect::Published(_) => {}
            Effect::Violation(promise) => self.violation(promise),
        }
    }

    fn propose(&mut self, base: Offset, records: Vec<crate::metadata::Record>) {
        let end = self.disk.metadata.end();
        self.tell(|| format!("proposes at {base} (log ends at {end}): {records:?}"));
        self.env.facts.push(Fact::Decided);
        let batch = Chunk::proposal(base, self.process.quorum.epoch(), records);
        self.process.proposals.push_back(batch);
    }
}
