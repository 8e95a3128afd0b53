//! B2 to B5: a broker's way between fenced, active, stopping and gone.

use crate::metadata::partition::{Cause, Election};
use crate::metadata::{
    Broker, BrokerHeartbeat, BrokerRegistrationChange, Effect, Effects, HeartbeatReply, Image,
    Record, Refusal, Response, ShrinkReason,
};
use crate::{ErrorCode, Guard, NodeId, Offset, Rules};

use super::active::Active;
use super::scope::{Scope, Unfencing};

/// Where a broker stands, and where a heartbeat may take it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Fenced,
    Active,
    Stopping,
    /// Fenced, and free to exit.
    Stopped,
}

impl Active {
    pub fn heartbeat<R: Rules>(
        &mut self,
        scope: &Scope<R>,
        asked: &BrokerHeartbeat,
        fx: &mut Effects,
    ) -> Response {
        if let Err(refusal) = self.check_epoch(asked) {
            return Response::Heartbeat(Err(refusal));
        }
        let session = self.touch(asked.broker, fx);
        session.metadata_offset = session.metadata_offset.max(asked.metadata_offset);
        self.suspicion.came_back(&self.latest, asked.broker, fx);
        let next = self.move_on(scope, asked, fx);
        let may_exit = match next {
            Standing::Stopping => !scope.rules.holds(Guard::StopWhileLeading),
            _ => next == Standing::Stopped,
        };
        let reply = HeartbeatReply {
            is_caught_up: is_caught_up(asked),
            fenced: matches!(next, Standing::Fenced | Standing::Stopped),
            should_shut_down: may_exit,
        };
        Response::Heartbeat(Ok(reply))
    }

    fn check_epoch(&self, asked: &BrokerHeartbeat) -> Result<(), Refusal> {
        let broker = asked.broker;
        match self.latest.broker(broker) {
            None => Err(Refusal::new(
                ErrorCode::BrokerIdNotRegistered,
                format!("Broker ID {broker} is not currently registered"),
            )),
            Some(registered) if registered.epoch != asked.epoch => Err(Refusal::new(
                ErrorCode::StaleBrokerEpoch,
                format!("Expected broker epoch {}, but got {}", registered.epoch, asked.epoch),
            )),
            Some(_) => Ok(()),
        }
    }

    /// Writes what the step from the present standing to the next one takes.
    fn move_on<R: Rules>(
        &mut self,
        scope: &Scope<R>,
        asked: &BrokerHeartbeat,
        fx: &mut Effects,
    ) -> Standing {
        let Some(broker) = self.latest.broker(asked.broker) else { return Standing::Fenced };
        let now = standing(broker);
        let next = self.next_standing(scope, asked, now);
        match (now, next) {
            (Standing::Fenced, Standing::Active) => {
                let records = scope.unfence(&self.latest, broker);
                self.append(records, fx);
            }
            (Standing::Active | Standing::Stopping, Standing::Fenced | Standing::Stopped) => {
                self.fence(scope, asked.broker, ShrinkReason::ControlledShutdown, fx);
            }
            (Standing::Active | Standing::Stopping, Standing::Stopping) => {
                self.stop(scope, asked.broker, fx);
            }
            _ => {}
        }
        next
    }

    /// B2's table.
    fn next_standing<R: Rules>(
        &self,
        scope: &Scope<R>,
        asked: &BrokerHeartbeat,
        now: Standing,
    ) -> Standing {
        let BrokerHeartbeat { broker, want_fence, want_shutdown, .. } = *asked;
        match (now, want_fence, want_shutdown) {
            (Standing::Fenced, _, true) => Standing::Stopped,
            (Standing::Fenced, false, false)
                if is_caught_up(asked) || !scope.rules.holds(Guard::UnfenceAtOnce) =>
            {
                Standing::Active
            }
            (Standing::Fenced, ..) => Standing::Fenced,
            (Standing::Active, true, true) => Standing::Stopped,
            (Standing::Active, true, false) => Standing::Fenced,
            (Standing::Active, false, true) if self.leads_something(broker) => Standing::Stopping,
            (Standing::Active, false, true) => Standing::Stopped,
            (Standing::Active, false, false) => Standing::Active,
            (Standing::Stopping, ..) if self.may_stop(broker) => Standing::Stopped,
            (Standing::Stopping | Standing::Stopped, ..) => Standing::Stopping,
        }
    }

    /// A look at every partition, but only where a broker wants to stop.
    fn leads_something(&self, broker: NodeId) -> bool {
        self.latest.partitions().any(|(_, partition)| partition.leader == Some(broker))
    }

    /// Nobody needs this broker any more: it leads nothing, and every active broker has replayed
    /// who leads instead, so that clients find the new leaders.
    fn may_stop(&self, broker: NodeId) -> bool {
        let replayed =
            |id: NodeId| self.sessions.get(&id).map_or(Offset::ZERO, |it| it.metadata_offset);
        let lowest = self.latest.active_brokers().map(|it| replayed(it.id)).min();
        let shutdown = self.sessions.get(&broker).and_then(|session| session.shutdown_offset);
        !self.leads_something(broker)
            && shutdown.is_some_and(|shutdown| lowest.is_none_or(|lowest| shutdown <= lowest))
    }

    /// B4: leaders move and ISRs shrink, then the flag, so that of more records than fit a batch a
    /// part leaves nobody in an ISR who is not active. Again at every heartbeat until nothing is left
    /// to do, since a change of controllers may have come in between.
    fn stop<R: Rules>(&mut self, scope: &Scope<R>, id: NodeId, fx: &mut Effects) {
        let Some(broker) = self.latest.broker(id) else { return };
        let mut records = Vec::new();
        if scope.rules.holds(Guard::StoppingStaysInIsr) {
            records.extend(scope.leave_isrs(&self.latest, id));
        }
        if !broker.in_controlled_shutdown {
            records.push(broker.change(None, Some(true)));
            fx.push(Effect::Fenced { broker: id, reason: ShrinkReason::ControlledShutdown });
        }
        let moved = !records.is_empty();
        self.append(records, fx);
        let end = self.latest.end;
        let session = self.sessions.entry(id).or_default();
        if moved || session.shutdown_offset.is_none() {
            session.shutdown_offset = Some(end);
        }
    }
}

impl<R: Rules> Scope<R> {
    /// B4: the registration first, then elections where nobody leads.
    fn unfence(&self, image: &Image, broker: &Broker) -> Vec<Record> {
        let is_stopping = broker.in_controlled_shutdown.then_some(false);
        let mut records = vec![broker.change(Some(false), is_stopping)];
        let waits = |partition: &crate::metadata::Partition| {
            partition.leader.is_none() && partition.replicas.contains(&broker.id)
        };
        let brokers = Unfencing { image, broker: broker.id };
        records.extend(self.change_all(image, &brokers, waits, Cause::Elect(Election::Online)));
        records
    }
}

impl Broker {
    /// The record that changes these flags of this registration.
    pub(super) fn change(&self, fenced: Option<bool>, stopping: Option<bool>) -> Record {
        Record::BrokerRegistrationChange(BrokerRegistrationChange {
            broker: self.id,
            epoch: self.epoch,
            fenced,
            in_controlled_shutdown: stopping,
        })
    }
}

fn standing(broker: &Broker) -> Standing {
    match (broker.fenced, broker.in_controlled_shutdown) {
        (true, _) => Standing::Fenced,
        (false, true) => Standing::Stopping,
        (false, false) => Standing::Active,
    }
}

/// The broker has replayed its own registration, which lies at its epoch.
fn is_caught_up(asked: &BrokerHeartbeat) -> bool {
    asked.metadata_offset.0 > asked.epoch.0
}
