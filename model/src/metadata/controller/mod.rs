//! The controller machine (K1 to K6): requests in, records and answers out.
//!
//! ```text
//!             Request ──▶ operation(latest image) ──▶ records ──▶ Append
//!                               ▲                        │ replayed at once
//!                               └──────── latest ◀───────┘
//!   Committed ──▶ committed image ──▶ answers that waited for it
//!   LostLeadership ──▶ NOT_CONTROLLER to all that wait, latest is dropped
//! ```
//!
//! Operations are pure: they read the latest image and return an [`Outcome`]. One file each:
//! `registration` (B1), `heartbeat` (B2 to B4), `liveness` (evidence that a broker is gone),
//! `topics` with `placement` (P1), `configs`, `partitions` (P3, P5 to P8).

mod active;
mod configs;
mod heartbeat;
mod liveness;
mod partitions;
mod placement;
mod registration;
#[cfg(feature = "check")]
mod renumber;
mod scope;
mod topics;

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::{ClusterId, Guard, Incarnation, NodeId, Offset, Rules, Shipped};

use super::{Effect, Effects, Event, Image, Record, Request, RequestId, Response};
use active::Active;
use liveness::Links;
use scope::Scope;

/// The newest metadata.version (K5): what a fresh cluster starts with.
pub const METADATA_VERSION: i16 = 25;

/// The name of the feature whose level is the metadata.version.
pub const METADATA_VERSION_FEATURE: &str = "metadata.version";

/// Preferred and unclean elections per pass of their timers (P8): a bound on one event's work.
pub const MAX_ELECTIONS_PER_PASS: usize = 1_000;

/// What the node's configuration says about topics that do not say it themselves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ControllerDefaults {
    /// `num.partitions`
    pub num_partitions: i32,
    /// `default.replication.factor`
    pub default_replication_factor: i16,
    /// `min.insync.replicas`. Written into a fresh cluster's metadata as its dynamic default, so
    /// that controllers and brokers cannot disagree about it (KAFKA-16540).
    pub min_insync_replicas: i32,
    /// `unclean.leader.election.enable`
    pub unclean_leader_election: bool,
    /// `auto.leader.rebalance.enable`
    pub auto_leader_rebalance: bool,
}

impl Default for ControllerDefaults {
    /// Kafka's.
    fn default() -> ControllerDefaults {
        ControllerDefaults {
            num_partitions: 1,
            default_replication_factor: 1,
            min_insync_replicas: 1,
            unclean_leader_election: false,
            auto_leader_rebalance: true,
        }
    }
}

/// One node's controller: active while its node leads the quorum, standing by otherwise.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Controller<R = Shipped> {
    me: NodeId,
    cluster: ClusterId,
    defaults: ControllerDefaults,
    rules: R,
    committed: Image,
    /// Which brokers are linked to this node, whether it is active or not (B1).
    links: Links,
    active: Option<Active>,
}

impl Controller<Shipped> {
    /// A controller with nothing committed, standing by.
    pub fn new(me: NodeId, cluster: ClusterId, defaults: ControllerDefaults) -> Self {
        Controller::with_rules(me, cluster, defaults, Shipped)
    }
}

impl<R: Rules> Controller<R> {
    /// As [`Controller::new`], for the checkers: with guards that may be gone.
    pub fn with_rules(
        me: NodeId,
        cluster: ClusterId,
        defaults: ControllerDefaults,
        rules: R,
    ) -> Self {
        let (committed, links) = Default::default();
        Controller { me, cluster, defaults, rules, committed, links, active: None }
    }

    /// Everything but the rules, for the digest of a trace; of the images only where they end,
    /// unless it is to be `thorough`.
    pub(crate) fn hash_state(&self, thorough: bool, hasher: &mut impl Hasher) {
        let Controller { me, cluster, defaults, rules: _, committed, links, active } = self;
        (me, cluster, defaults, committed.end, links, active.is_some()).hash(hasher);
        if thorough {
            committed.hash(hasher);
        }
        if let Some(active) = active {
            active.hash_state(thorough, hasher);
        }
    }

    /// About how much there is to digest.
    pub(crate) fn weight(&self) -> usize {
        let latest = self.latest();
        let partitions = latest.topics.values().take(64).map(|topic| topic.partitions.len());
        latest.topics.len() + latest.brokers.len() + partitions.sum::<usize>()
    }

    /// The image of what is committed.
    pub fn committed(&self) -> &Image {
        &self.committed
    }

    /// The image that decisions read: committed, and while active also what this controller has
    /// appended since. [`Image::end`] is where its next record will land.
    pub fn latest(&self) -> &Image {
        self.active.as_ref().map_or(&self.committed, |active| &active.latest)
    }

    pub fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// Does everything that `event` calls for; what the shell has to do goes to the end of `fx`.
    pub fn step(&mut self, event: Event, fx: &mut Effects) {
        match event {
            Event::Committed { base, records, end } => {
                self.committed_up_to(base, &records, end, fx)
            }
            Event::Loaded(image) => self.loaded(*image, fx),
            Event::Lead { epoch: _, next } => self.lead(next, fx),
            Event::Appended { end } => self.appended(end),
            Event::LostLeadership => self.lost_leadership(fx),
            Event::Request { id, request, entropy } => self.request(id, request, entropy, fx),
            Event::Timeout(timer) => self.timeout(timer, fx),
            Event::PeerGone { broker, incarnation } => self.peer_gone(broker, incarnation, fx),
            Event::Connected { broker, incarnation } => self.connected(broker, incarnation, fx),
            Event::Disconnected { broker } => self.disconnected(broker, fx),
        }
    }

    fn committed_up_to(&mut self, base: Offset, records: &[Record], end: Offset, fx: &mut Effects) {
        for (index, record) in (0..).zip(records) {
            let offset = base.plus(index);
            if offset >= self.committed.end && self.committed.replay(offset, record).is_err() {
                fx.push(Effect::Violation(
                    "a committed record does not fit the metadata before it",
                ));
                return;
            }
        }
        self.committed.end = self.committed.end.max(end);
        fx.push(Effect::Published(self.committed.end));
        if let Some(active) = &mut self.active {
            // The quorum may have put a record of its own at the end of the log.
            active.latest.end = active.latest.end.max(self.committed.end);
            active.release(self.committed.end, fx);
        }
    }

    fn loaded(&mut self, image: Image, fx: &mut Effects) {
        if self.is_active() {
            fx.push(Effect::Violation(
                "a snapshot was loaded over an active controller's metadata",
            ));
            return;
        }
        self.committed = image;
        fx.push(Effect::Published(self.committed.end));
    }

    /// K3. What earlier leaders have appended is committed by now, and so in the committed image.
    fn lead(&mut self, next: Offset, fx: &mut Effects) {
        self.lost_leadership(fx);
        if next < self.committed.end {
            fx.push(Effect::Violation("a new leader's log ends below what is committed"));
            return;
        }
        let mut active = Active::new(self.committed.clone(), next);
        if self.committed.features.is_empty() {
            active.append(bootstrap(&self.defaults), fx);
        }
        active.arm(&self.defaults, fx);
        self.active = Some(active);
    }

    /// The next record lands behind what the quorum appended itself.
    fn appended(&mut self, end: Offset) {
        if let Some(active) = &mut self.active {
            active.latest.end = active.latest.end.max(end);
        }
    }

    /// K2.
    fn lost_leadership(&mut self, fx: &mut Effects) {
        if let Some(active) = self.active.take() {
            if !self.rules.holds(Guard::KeepOverlay) {
                self.committed = active.latest.clone();
            }
            active.resign(fx);
        }
    }

    fn request(&mut self, id: RequestId, request: Request, entropy: u64, fx: &mut Effects) {
        let scope = Scope { entropy, ..self.scope() };
        let Some(active) = &mut self.active else {
            let response = Response::NotController { leader: None };
            fx.push(Effect::Reply { id, response });
            return;
        };
        let response = active.operate(&scope, &request, &self.links, fx);
        let is_held = self.rules.holds(Guard::ReplyBeforeCommit);
        let committed = if is_held { self.committed.end } else { active.latest.end };
        active.answer(id, response, committed, fx);
    }

    /// The scope of decisions that no request asks for.
    fn scope(&self) -> Scope<R> {
        let Controller { cluster, defaults, rules, .. } = *self;
        Scope { cluster, defaults, rules, entropy: 0 }
    }

    fn timeout(&mut self, timer: super::Timer, fx: &mut Effects) {
        let scope = self.scope();
        if let Some(active) = &mut self.active {
            active.timeout(&scope, timer, fx);
        }
    }

    fn peer_gone(&mut self, broker: NodeId, incarnation: Incarnation, fx: &mut Effects) {
        let scope = self.scope();
        self.links.gone(broker, incarnation);
        if let Some(active) = &mut self.active {
            active.peer_gone(&scope, broker, incarnation, fx);
        }
    }

    fn connected(&mut self, broker: NodeId, incarnation: Incarnation, fx: &mut Effects) {
        let scope = self.scope();
        self.links.opened(broker, incarnation);
        if let Some(active) = &mut self.active {
            active.connected(&scope, broker, incarnation, fx);
        }
    }

    fn disconnected(&mut self, broker: NodeId, fx: &mut Effects) {
        self.links.closed(broker);
        if let Some(active) = &mut self.active {
            active.disconnected(broker, fx);
        }
    }
}

/// K3: the first records of a fresh cluster.
fn bootstrap(defaults: &ControllerDefaults) -> Vec<Record> {
    let min_insync_replicas = super::ConfigRecord {
        kind: super::ResourceKind::Broker,
        resource: String::new(),
        name: super::config::MIN_INSYNC_REPLICAS.to_owned(),
        value: Some(defaults.min_insync_replicas.max(1).to_string()),
    };
    vec![
        Record::FeatureLevel { name: METADATA_VERSION_FEATURE.to_owned(), level: METADATA_VERSION },
        Record::Config(min_insync_replicas),
    ]
}
