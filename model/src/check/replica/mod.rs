//! The `replica` model: three brokers replicate one partition while leaders, ISRs and processes
//! come and go.
//!
//! The brokers run the replica machine, the controller the partition functions of the controller
//! machine. What is left out, and why nothing is lost by it:
//!
//! * *Metadata* reach a broker late, but then as they are: to learn late of an older version is
//!   the same as to have learned of it in time and done nothing since.
//! * *A refused or lost request is asked again at once*: all that a retry timer does is wait.
//! * *An answer that says nothing new* stays with the leader, as a held fetch does.
//! * *A follower that is behind may be found silent at any time*, which covers its lag timer.
//! * *Followers* replay only what they read: who leads, in which epoch.
//! * *Consumers read everything that any replica shows, at once*: who reads later sees no more.

mod act;
mod config;
mod list;
mod projection;
mod state;
mod tell;
#[cfg(test)]
mod twins;

pub use config::{
    FAULTS, FLUSHED, IN_FLIGHT, PAGE_CACHE, PRODUCER, RESTARTS, ReplicaModel, SHRINKS,
    configurations, mutations,
};
pub use list::Action;
pub use state::{Left, State};

use stateright::{Model, Property};

use crate::invariant::replica as promise;
use crate::log::Log;
use crate::{ErrorCode, LeaderEpoch};

use state::{Alteration, BROKERS, Broker, node};

impl Model for ReplicaModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.initial()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.list_actions(state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        self.act(&mut state, action);
        self.send_what_waits(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always(ACKNOWLEDGED, |_, state: &State| acknowledged_is_electable(state)),
            Property::always(COMPLETE, |_, state: &State| shown_is_electable(state)),
            Property::always(SAME, |_, state: &State| consumers_agree(state)),
            Property::always(AGREE, |_, state: &State| logs_agree(state)),
            Property::always(ACTIVE, |_, state: &State| {
                promise::isr_is_active(&state.controller.partition, &*state.controller)
            }),
            Property::always(STANDS, |_, state: &State| !state.history.high_watermark_fell),
            Property::always(ONCE, |_, state: &State| producers_once(state)),
            Property::always(FOLLOW, |model: &Self, state: &State| {
                model.left.resends == 0 || producers_follow_the_log(state)
            }),
        ];
        all.extend(self.witnesses());
        all
    }
}

pub(super) const ACKNOWLEDGED: &str = "an acknowledged record is on every electable replica";
pub(super) const COMPLETE: &str = "what a consumer read is on every electable replica";
pub(super) const SAME: &str = "what one consumer read every consumer reads there";
pub(super) const AGREE: &str = "logs agree below the high watermark";
pub(super) const ACTIVE: &str = "no fenced broker is in the ISR";
pub(super) const STANDS: &str = "a leader's high watermark does not fall in its epoch";
pub(super) const ONCE: &str = "an idempotent producer's records are there once and in order";

pub(super) const FOLLOW: &str = "what is known of producers is what the log says";

/// The replicas that may be elected and would come with the disk that they have now. A broker that
/// is down loses its place, by its registration, before it can lead again.
fn electable(state: &State) -> impl Iterator<Item = &Broker> {
    let members = promise::electable(&state.controller.partition);
    let brokers = (0..BROKERS).filter(|&index| members.contains(&node(index)));
    brokers.map(|index| &*state.brokers[index]).filter(|broker| broker.is_up())
}

fn acknowledged_is_electable(state: &State) -> bool {
    electable(state).all(|broker| {
        (0..).zip(&state.history.acknowledged).all(|(value, acknowledged)| match acknowledged {
            Some(offset) => broker
                .log
                .at(crate::Offset(i64::from(*offset)))
                .is_some_and(|record| record.value == value),
            None => true,
        })
    })
}

fn shown_is_electable(state: &State) -> bool {
    electable(state).all(|broker| promise::holds_promised(broker, state.history.shown()))
}

fn consumers_agree(state: &State) -> bool {
    state.brokers.iter().all(|broker| promise::shows_the_same(&**broker, state.history.shown()))
}

fn logs_agree(state: &State) -> bool {
    let [a, b, c] = &state.brokers;
    [(a, b), (a, c), (b, c)]
        .iter()
        .all(|(one, other)| promise::agree_below_high_watermark(&***one, &***other))
}

fn producers_once(state: &State) -> bool {
    state.brokers.iter().all(|broker| {
        let sequences = broker.log.records().iter().filter_map(|record| record.produced);
        promise::once_and_in_order(sequences.map(|(_, sequence)| i32::from(sequence)))
    })
}

fn producers_follow_the_log(state: &State) -> bool {
    let mut brokers = state.brokers.iter();
    brokers.all(|it| promise::producers_follow_the_log(it.replica.producers(), &it.log))
}

impl ReplicaModel {
    /// What the state space must reach for the promises to mean anything.
    fn witnesses(&self) -> Vec<Property<Self>> {
        let mut all = vec![Property::sometimes("a record is acknowledged", |_, state: &State| {
            state.history.acknowledged.iter().any(Option::is_some)
        })];
        all.push(Property::sometimes("a later leader acknowledges", |_, state: &State| {
            let acknowledged = state.history.acknowledged.iter().flatten();
            acknowledged
                .filter_map(|&offset| state.history.shown.get(usize::from(offset)))
                .any(|record| record.epoch > 0)
        }));
        all.push(Property::sometimes("the ISR shrank and grew again", |_, state: &State| {
            let partition = &state.controller.partition;
            partition.partition_epoch.0 >= 2 && partition.isr.len() == BROKERS
        }));
        all.push(Property::sometimes("a follower has to truncate", |_, state: &State| {
            state.brokers.iter().any(|broker| diverges(state, broker))
        }));
        if self.expects_stale_leader {
            all.push(Property::sometimes("a stale leader is refused", |_, state: &State| {
                state.alters.iter().flatten().any(|alteration| is_fenced(alteration))
            }));
        }
        all
    }
}

fn is_fenced(alteration: &Alteration) -> bool {
    match alteration {
        Alteration::Answered { answer, .. } => *answer == Err(ErrorCode::FencedLeaderEpoch),
        Alteration::Asked { .. } => false,
    }
}

/// Whether the broker follows a leader of its epoch whose log parts from its own.
fn diverges(state: &State, broker: &Broker) -> bool {
    let Some((leader, position)) = broker.replica.wanted_fetch() else { return false };
    let leader = &state.brokers[leader.0 as usize];
    let parting = leader.log.end_of_epoch(position.last_epoch.0);
    leader.replica.is_leader()
        && leader.replica.leader_epoch() == position.leader_epoch
        && position.last_epoch != LeaderEpoch::UNKNOWN
        && (parting.epoch < position.last_epoch.0 || parting.end < position.offset)
}
