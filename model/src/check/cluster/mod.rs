//! The `cluster` model: the machines of controllers and brokers together, over an abstract quorum.
//!
//! ```text
//!   Controller x 2 ── batches ──▶ pending ──▶ committed ──▶ images ──▶ Replica, Broker x 3
//!        ▲   a change of the quorum's leader keeps a prefix of what is pending │
//!        └──── registrations, heartbeats, AlterPartition ◀────────────────────┘
//! ```
//!
//! It covers what the models of single machines leave out: a controller that fails between a
//! decision and its commit, brokers that lag behind the metadata each in its own way, and the
//! plumbing between the machines, which is the node's. The quorum is what the `quorum` model shows
//! it to be: a committed prefix that never changes, and a tail of which a new leader has a prefix.
//!
//! What is left out, and why nothing is lost by it:
//!
//! * *A heartbeat is decided on when it is sent*, and happens only where it can be more than a sign
//!   of life. A later one says the same with more metadata behind it; sessions run out at any time.
//! * *A broker replays at once what its replica would not notice*: who leads in which epoch is all
//!   that a follower reads, and whoever is down will act on nothing before its next registration.
//! * *With no failover left a batch is committed when it is appended*: that its answer comes late,
//!   and that brokers replay it late, are steps of their own.
//! * *A controller that was deposed* without hearing of it is asked only while it has appended
//!   nothing: afterwards it answers nobody. It may refuse, and tell of the past.
//! * *A fetch and its answer have nothing in between*; `replica-in-flight` is about what comes late.
//! * *A refused or lost request is asked again at once*: all that a retry timer does is wait.
//! * *Consumers read everything that any replica shows, at once*: who reads later sees no more.

mod act;
mod config;
mod list;
mod process;
mod quorum;
mod replication;
mod state;
mod tell;
#[cfg(test)]
mod twins;

pub use config::{
    CANCEL, CLUSTER, CRASHES, ClusterModel, FAILOVER, FAILOVERS, KILLS, MIN_ISR, PRODUCER,
    REASSIGN, REPEATS, RESTART, RESTARTS, configurations, mutations,
};
pub use list::Action;
pub use quorum::To;
pub use state::{Left, State};

use stateright::{Model, Property};

use crate::invariant::replica as promise;
use crate::metadata::{Effect, Event, Response};
use crate::{ErrorCode, Offset};

use quorum::{OPERATOR, alter_request};
use state::{Alteration, BROKERS, Broker, node};

impl Model for ClusterModel {
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
        self.settle(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always(ACKNOWLEDGED, |_, state: &State| acknowledged_is_electable(state)),
            Property::always(COMPLETE, |_, state: &State| shown_is_electable(state)),
            Property::always(SAME, |_, state: &State| consumers_agree(state)),
            Property::always(AGREE, |_, state: &State| logs_agree(state)),
            Property::always(METADATA, |_, state: &State| state.history.metadata.is_none()),
            Property::always(COUNTED, |_, state: &State| isr_is_counted(state)),
            Property::always(DECIDED, |_, state: &State| decisions_are_committed(state)),
            Property::always(STANDS, |_, state: &State| !state.history.high_watermark_fell),
            Property::always(ONCE, |_, state: &State| producers_once(state)),
            Property::always(KEPT, |_, state: &State| state.history.violation.is_none()),
        ];
        all.retain(|promise| self.only.is_none_or(|only| only == promise.name));
        all.extend(self.witnesses.iter().map(|&(name, seen)| Property::sometimes(name, seen)));
        all
    }
}

pub(super) const ACKNOWLEDGED: &str = "an acknowledged record is on every electable replica";
pub(super) const COMPLETE: &str = "what a consumer read is on every electable replica";
pub(super) const SAME: &str = "what one consumer read every consumer reads there";
pub(super) const AGREE: &str = "logs agree below the high watermark";
pub(super) const METADATA: &str = "the committed metadata are sound";
pub(super) const COUNTED: &str = "a leader counts every member of the ISR";
pub(super) const DECIDED: &str = "a leader waits only for what is committed";
pub(super) const STANDS: &str = "a leader's high watermark does not fall in its epoch";
pub(super) const ONCE: &str = "an idempotent producer's records are there once and in order";
pub(super) const KEPT: &str = "no machine finds a promise broken";

/// The replicas that may be elected, by what is committed, and would come with the disk that they
/// have now.
fn electable(state: &State) -> impl Iterator<Item = &Broker> {
    let image = state.quorum.newest();
    let partition = state.partition();
    let members = promise::electable(partition);
    (0..BROKERS)
        .filter(|&index| members.contains(&node(index)))
        .filter(|&index| partition.replicas.contains(&node(index)))
        .map(|index| (index, &*state.brokers[index]))
        .filter(|(index, broker)| {
            broker.is_as_registered(image.broker(node(*index)).map(|broker| broker.epoch))
        })
        .map(|(_, broker)| broker)
}

fn acknowledged_is_electable(state: &State) -> bool {
    let acknowledged = || {
        let all = (0..).zip(&state.history.acknowledged);
        all.filter_map(|(value, at)| at.map(|at| (value, Offset(i64::from(at)))))
    };
    acknowledged().next().is_none()
        || electable(state).all(|broker| {
            acknowledged().all(|(value, at)| {
                promise::Held::record(broker, at).is_some_and(|record| record.value == value)
            })
        })
}

fn shown_is_electable(state: &State) -> bool {
    state.history.shown.is_empty()
        || electable(state).all(|broker| promise::holds_promised(broker, state.history.shown()))
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

/// Of the broker that leads by what is committed, if it knows.
fn isr_is_counted(state: &State) -> bool {
    let partition = state.partition();
    let Some(leader) = partition.leader else { return true };
    let Some(replica) = &state.brokers[leader.0 as usize].replica else { return true };
    !replica.is_leader()
        || replica.leader_epoch() != partition.leader_epoch
        || promise::isr_is_counted(partition, |member| replica.may_be_in_sync(member))
}

fn decisions_are_committed(state: &State) -> bool {
    let partition = state.partition();
    let replicas = state.brokers.iter().filter_map(|broker| broker.replica.as_ref());
    replicas
        .filter_map(|replica| replica.decided_alteration())
        .all(|asked| promise::decision_is_committed(partition, &asked))
}

fn producers_once(state: &State) -> bool {
    state.brokers.iter().filter_map(|broker| broker.disk.as_ref()).all(|log| {
        let sequences = log.records().iter().filter_map(|record| record.produced);
        promise::once_and_in_order(sequences.map(|(_, sequence)| i32::from(sequence)))
    })
}

/// What a state space must reach for the promises to mean anything.
pub type Witness = (&'static str, fn(&ClusterModel, &State) -> bool);

pub(super) const LATER_LEADER: Witness =
    ("a later leader acknowledges", |_, state| acknowledged_after(state, 0));

pub(super) const FAILOVER_COMMITS: Witness = (
    "a controller fails over, then a leader that its successor elected acknowledges",
    |model, it| {
        it.left.failovers < model.left.failovers && it.left.failovers == 0 && {
            it.quorum.pending.is_empty() && acknowledged_after(it, 0)
        }
    },
);

pub(super) const REGROWN: Witness =
    ("an ISR that shrank before a failover grew again after it", |_, state| {
        let partition = state.partition();
        state.quorum.found.shrunk_isr && partition.isr.len() == partition.replicas.len()
    });

pub(super) const MOVED: Witness =
    ("a reassignment that began before a failover was finished after it", |_, state| {
        state.quorum.found.reassignment && !state.partition().is_reassigning()
    });

pub(super) const STALE_LEADER: Witness =
    ("a leader that lags behind the metadata is refused", |_, state| {
        state.alters.iter().flatten().any(|alteration| match &**alteration {
            Alteration::Answered { answer, .. } => *answer == Err(ErrorCode::FencedLeaderEpoch),
            _ => false,
        })
    });

/// The controller is asked on trial.
pub(super) const STALE_BROKER: Witness =
    ("an AlterPartition of a broker's earlier run is refused", |_, state| {
        (0..BROKERS).any(|index| match state.alters[index].as_deref() {
            Some(&Alteration::Asked { run, sender, asked }) if run < state.brokers[index].run => {
                let mut controller = state.quorum.controller().clone();
                let request = alter_request(index, sender, asked);
                let mut fx = Vec::new();
                controller.step(Event::Request { id: OPERATOR, request, entropy: 0 }, &mut fx);
                let stale = Response::AlterPartition(Err(ErrorCode::StaleBrokerEpoch));
                fx.contains(&Effect::Reply { id: OPERATOR, response: stale })
            }
            _ => false,
        })
    });

pub(super) const ELR_KEPT: Witness =
    ("a replica outside the ISR keeps its place in the ELR", |_, state| {
        !state.partition().elr.is_empty()
    });

pub(super) const DEPOSED: Witness =
    ("a leader hears from a controller that leads no more", |_, state| {
        state.quorum.lingers
            && state.alters.iter().flatten().any(|it| matches!(**it, Alteration::Answered { .. }))
    });

pub(super) const SENT_AGAIN: Witness =
    ("a leader may be sent a record again that it has from an earlier leader", |model, it| {
        let sent = model.left.appends - it.left.appends;
        it.left.resends > 0
            && it.brokers.iter().any(|broker| {
                let leads = broker.replica.as_ref().filter(|replica| replica.is_leader());
                let last = broker.disk.as_ref().and_then(|log| log.records().last());
                leads.zip(last).is_some_and(|(leads, last)| {
                    last.value + 1 == sent && i32::from(last.epoch) < leads.leader_epoch().0
                })
            })
    });

fn acknowledged_after(state: &State, epoch: u8) -> bool {
    let acknowledged = state.history.acknowledged.iter().flatten();
    acknowledged
        .filter_map(|&offset| state.history.shown.get(usize::from(offset)))
        .any(|record| record.epoch > epoch)
}
