//! B1: a broker process introduces itself.

use crate::metadata::partition::Cause;
use crate::metadata::{
    Broker, BrokerRegistration, Effect, Effects, Image, Record, Refusal, RegisterBroker, Response,
    ShrinkReason,
};
use crate::{BrokerEpoch, DirectoryId, ErrorCode, Guard, Rules};

use super::active::Active;
use super::liveness::Links;
use super::scope::Scope;

impl Active {
    pub fn register<R: Rules>(
        &mut self,
        scope: &Scope<R>,
        asked: &BrokerRegistration,
        links: &Links,
        fx: &mut Effects,
    ) -> Response {
        match self.try_register(scope, asked, links, fx) {
            Ok(epoch) => Response::RegisterBroker(Ok(epoch)),
            Err(refusal) => Response::RegisterBroker(Err(refusal)),
        }
    }

    fn try_register<R: Rules>(
        &mut self,
        scope: &Scope<R>,
        asked: &BrokerRegistration,
        links: &Links,
        fx: &mut Effects,
    ) -> Result<BrokerEpoch, Refusal> {
        check(&self.latest, scope, asked)?;
        let before = self.latest.broker(asked.broker);
        let (mut records, reason) = match before {
            Some(old) if old.incarnation != asked.incarnation => {
                self.check_old_is_gone(old, asked, links)?;
                let cause = what_was_lost(old, asked);
                let broker = asked.broker;
                let left = scope.change_all(
                    &self.latest,
                    &self.latest,
                    |it| it.depends_on(broker) && scope.rules.holds(Guard::RestartKeepsIsr),
                    cause,
                );
                (left, (cause != Cause::Left(broker)).then_some(ShrinkReason::UncleanRestart))
            }
            _ => (Vec::new(), None),
        };
        let kept = before.filter(|old| old.incarnation == asked.incarnation);
        let landing = BrokerEpoch(self.latest.end.plus(records.len() as i64).0);
        let keeps_epoch = scope.rules.holds(Guard::NewEpochSameProcess);
        let old_epoch = kept.filter(|_| keeps_epoch).map(|old| old.epoch);
        let epoch = old_epoch.unwrap_or(landing);
        if let Some(reason) = reason.filter(|_| !records.is_empty()) {
            fx.push(Effect::Fenced { broker: asked.broker, reason });
        }
        records.push(Record::RegisterBroker(registration(asked, kept, old_epoch)));
        let is_new = kept.is_none();
        self.append(records, fx);
        if is_new {
            self.sessions.remove(&asked.broker);
        }
        self.touch(asked.broker, fx);
        Ok(epoch)
    }

    /// A new process takes an id over when the old one's session has run out, or at once when it
    /// brings the same directories (which only one process can hold) and no link leads to the old
    /// one. Kafka always waits the session out.
    fn check_old_is_gone(
        &self,
        old: &Broker,
        asked: &BrokerRegistration,
        links: &Links,
    ) -> Result<(), Refusal> {
        let is_same_disk = is_same_set(&old.directories, &asked.directories);
        let is_linked = links.leads_to(old.id, old.incarnation);
        if !self.sessions.contains_key(&old.id) || (is_same_disk && !is_linked) {
            return Ok(());
        }
        Err(Refusal::new(
            ErrorCode::DuplicateBrokerRegistration,
            format!(
                "Another broker is registered with that broker id. If the broker {} was \
                 recently restarted this should self-resolve once its session ends",
                old.id
            ),
        ))
    }
}

/// What the old process's replicas still hold now that a new one has taken its place (L6).
fn what_was_lost(old: &Broker, asked: &BrokerRegistration) -> Cause {
    let has_lost_a_disk = old.directories.iter().any(|id| !asked.directories.contains(id));
    if asked.damaged || has_lost_a_disk {
        Cause::LostLog(old.id)
    } else if asked.previous_epoch == old.epoch {
        Cause::Left(old.id)
    } else {
        Cause::LostTail(old.id)
    }
}

/// The same process registers again with nothing but new particulars (KAFKA-16952); a new one
/// starts fenced.
fn registration(
    asked: &BrokerRegistration,
    kept: Option<&Broker>,
    epoch: Option<BrokerEpoch>,
) -> RegisterBroker {
    RegisterBroker {
        broker: asked.broker,
        epoch,
        incarnation: asked.incarnation,
        endpoints: asked.endpoints.clone(),
        features: asked.features.clone(),
        rack: asked.rack.clone(),
        directories: asked.directories.clone(),
        fenced: kept.is_none_or(|old| old.fenced),
        in_controlled_shutdown: kept.is_some_and(|old| old.in_controlled_shutdown),
    }
}

fn check<R: Rules>(
    image: &Image,
    scope: &Scope<R>,
    asked: &BrokerRegistration,
) -> Result<(), Refusal> {
    if asked.cluster != scope.cluster {
        let (cluster, found) = (scope.cluster, asked.cluster);
        let message = format!("Expected cluster ID {cluster}, but got cluster ID {found}");
        return Err(Refusal::new(ErrorCode::InconsistentClusterId, message));
    }
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidRegistration, message));
    if asked.broker.0 < 0 {
        return invalid(format!("Broker ID {} is negative", asked.broker));
    }
    if asked.endpoints.is_empty() {
        return invalid("At least one listener is required".to_owned());
    }
    check_directories(image, asked)?;
    check_features(image, asked)
}

fn check_directories(image: &Image, asked: &BrokerRegistration) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidRegistration, message));
    let ids = &asked.directories;
    if ids.is_empty() {
        return invalid("No directories specified in request".to_owned());
    }
    for (at, id) in ids.iter().enumerate() {
        if id.is_zero() || ids[..at].contains(id) {
            return invalid(format!("Directory ID {id} is reserved or named twice"));
        }
        let is_owner =
            |broker: &&Broker| broker.id != asked.broker && broker.directories.contains(id);
        if let Some(owner) = image.brokers.values().map(|broker| &**broker).find(is_owner) {
            let broker = owner.id;
            return invalid(format!("Directory ID {id} is already registered to broker {broker}"));
        }
    }
    Ok(())
}

/// K5: a broker that does not know a finalized feature at its level would misread the metadata.
fn check_features(image: &Image, asked: &BrokerRegistration) -> Result<(), Refusal> {
    for (name, &level) in image.features.iter().filter(|&(_, &level)| level > 0) {
        let supported = asked.features.iter().find(|(feature, ..)| feature == name);
        match supported {
            Some((_, low, high)) if (*low..=*high).contains(&level) => {}
            Some((_, low, high)) => {
                let message = format!(
                    "Broker {} supports {name} from {low} to {high}; the cluster is at {level}",
                    asked.broker
                );
                return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
            }
            None => {
                let message = format!(
                    "Broker {} does not support {name}; the cluster is at {level}",
                    asked.broker
                );
                return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
            }
        }
    }
    Ok(())
}

fn is_same_set(some: &[DirectoryId], others: &[DirectoryId]) -> bool {
    some.len() == others.len() && some.iter().all(|id| others.contains(id))
}
