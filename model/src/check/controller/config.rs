//! The configurations that must hold: what is bounded, and how far.

use std::fmt::Write;

use crate::check::{Checked, Configuration, Mutated, Tier, configuration};
use crate::metadata::partition::Policy;
use crate::metadata::{ControllerDefaults, Image, Partition};
use crate::{ClusterId, TopicPartition};

use super::state::{BROKERS, Happened, Left, State};
use super::{Action, judge, tell};

pub const CLUSTER: ClusterId = ClusterId(1);

/// A topic's partitions, each with its replicas in order.
type Assignments = &'static [&'static [i32]];

/// One configuration of the model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControllerModel {
    pub name: &'static str,
    pub rules: Mutated,
    pub topics: &'static [Assignments],
    /// Partitions that are moved before anything else, so that a topic's differ in their number of
    /// replicas.
    pub moved: &'static [(u8, &'static [i32])],
    /// The cluster's default, and what the first topic's may become.
    pub min_isr: i32,
    pub min_isrs: &'static [i32],
    /// Where partitions may be moved.
    pub targets: &'static [(u8, &'static [i32])],
    /// Whether fenced brokers send heartbeats before they have replayed their registration.
    pub early_beats: bool,
    /// Batches that may be appended and not committed.
    pub lag: usize,
    /// Whether nothing is judged but that a leader misses records, so that a story goes on to that.
    pub only_losses: bool,
    /// Whether offsets and epochs stay as they are, as in a story that is told.
    pub exact: bool,
    pub left: Left,
    /// What must be reached.
    pub reaches: &'static [Happened],
}

impl ControllerModel {
    pub fn partitions(&self) -> usize {
        self.topics.iter().map(|partitions| partitions.len()).sum()
    }

    pub fn topic_name(topic: usize) -> &'static str {
        ["orders", "payments"][topic]
    }

    /// The name of a partition, if its topic is there.
    pub fn id(&self, image: &Image, at: usize) -> Option<TopicPartition> {
        let (topic, partition) = self.place(at);
        let topic = image.topic_named(Self::topic_name(topic))?.id;
        Some(TopicPartition { topic, partition })
    }

    pub fn partition<'a>(&self, image: &'a Image, at: usize) -> Option<&'a Partition> {
        image.partition(self.id(image, at)?)
    }

    /// Topic and number of a partition.
    pub fn place(&self, mut at: usize) -> (usize, i32) {
        let mut topic = 0;
        while at >= self.topics[topic].len() {
            at -= self.topics[topic].len();
            topic += 1;
        }
        (topic, at as i32)
    }

    /// `min.insync.replicas` of the partition's topic.
    pub fn min_isr(&self, image: &Image, at: usize) -> i32 {
        if self.min_isrs.is_empty() {
            return self.min_isr;
        }
        let default = Policy { min_isr: self.min_isr, unclean: false };
        image.policy(Self::topic_name(self.place(at).0), default).min_isr
    }

    pub fn defaults(&self) -> ControllerDefaults {
        ControllerDefaults { min_insync_replicas: self.min_isr, ..Default::default() }
    }
}

pub(super) const NOTHING: Left = Left {
    fences: 0,
    clean_stops: 0,
    outages: 0,
    losses: 0,
    new_disks: 0,
    shutdowns: 0,
    registrations: 0,
    unregistrations: 0,
    proposals: 0,
    unclean: 0,
    reassignments: 0,
    cancels: 0,
    deletions: 0,
    configs: 0,
    producers: 0,
    failovers: 0,
    closed_links: 0,
};

/// One partition on three brokers, and nothing that happens to it.
pub(super) const CALM: ControllerModel = ControllerModel {
    name: "controller",
    rules: Mutated(None),
    topics: &[&[&[1, 2, 3]]],
    moved: &[],
    min_isr: 2,
    min_isrs: &[],
    targets: &[],
    early_beats: false,
    lag: 0,
    only_losses: false,
    exact: false,
    left: NOTHING,
    reaches: &[],
};

/// Brokers stop, are fenced and shut down; leaders follow with their ISRs.
pub const LIFE: ControllerModel = ControllerModel {
    topics: &[&[&[1, 2, 3], &[2, 3, 1]]],
    moved: &[(1, &[2, 3])],
    early_beats: true,
    left: Left { fences: 1, clean_stops: 1, shutdowns: 1, proposals: 1, ..NOTHING },
    reaches: &[
        Happened::Grew,
        Happened::ShutDown,
        Happened::ElectedFromElr,
        Happened::StaleRefused,
        Happened::IneligibleRefused,
    ],
    ..CALM
};

/// Replicas lose what they had, others stand in for them, and min.insync.replicas changes.
pub const ELR: ControllerModel = ControllerModel {
    name: "controller-elr",
    min_isrs: &[1, 2, 3],
    left: Left { fences: 2, losses: 1, proposals: 1, configs: 1, unclean: 1, ..NOTHING },
    reaches: &[
        Happened::Grew,
        Happened::ElectedFromElr,
        Happened::ElectedUncleanly,
        Happened::ElrCleared,
        Happened::Lost,
    ],
    ..CALM
};

/// The same with more brokers that are gone at once, until only the last leader is left.
pub const ELR_WIDE: ControllerModel = ControllerModel {
    name: "controller-elr-wide",
    left: Left {
        fences: 2,
        outages: 1,
        losses: 1,
        proposals: 1,
        configs: 1,
        unclean: 1,
        ..NOTHING
    },
    reaches: &[
        Happened::Grew,
        Happened::ElectedFromElr,
        Happened::ElectedLast,
        Happened::ElectedUncleanly,
        Happened::ElrCleared,
        Happened::Lost,
    ],
    ..ELR
};

/// A partition moves, moves back, or stops half-way, while brokers are fenced.
pub const REASSIGN: ControllerModel = ControllerModel {
    name: "controller-reassign",
    topics: &[&[&[1, 2]]],
    targets: &[(0, &[3]), (0, &[3, 1]), (0, &[2, 3])],
    left: Left { fences: 1, proposals: 2, reassignments: 2, cancels: 1, ..NOTHING },
    reaches: &[Happened::Reassigned, Happened::Cancelled],
    ..CALM
};

/// The same with brokers that lose what they had.
pub const REASSIGN_WIDE: ControllerModel = ControllerModel {
    name: "controller-reassign-wide",
    left: Left { losses: 1, ..REASSIGN.left },
    reaches: &[Happened::Reassigned, Happened::Cancelled, Happened::ElectedFromElr, Happened::Lost],
    ..REASSIGN
};

/// Leadership of the quorum is lost with up to two batches that are not committed.
pub const FAILOVER: ControllerModel = ControllerModel {
    name: "controller-failover",
    lag: 2,
    left: Left { fences: 1, clean_stops: 1, proposals: 1, producers: 1, failovers: 1, ..NOTHING },
    reaches: &[Happened::TailDropped, Happened::TailKept, Happened::Grew, Happened::StaleRefused],
    ..CALM
};

/// The same with more that is under way at once.
pub const FAILOVER_WIDE: ControllerModel = ControllerModel {
    name: "controller-failover-wide",
    left: Left { registrations: 1, ..FAILOVER.left },
    ..FAILOVER
};

/// Topics are deleted and made anew, brokers unregistered and replaced.
pub const TOPICS: ControllerModel = ControllerModel {
    name: "controller-topics",
    topics: &[&[&[1, 2]], &[&[2, 3, 1]]],
    left: Left {
        fences: 1,
        new_disks: 1,
        unregistrations: 1,
        proposals: 1,
        deletions: 1,
        ..NOTHING
    },
    reaches: &[Happened::NewTopic, Happened::Duplicate, Happened::StaleRefused],
    ..CALM
};

/// Links close and processes are said to be gone, rightly or not.
pub const LIVENESS: ControllerModel = ControllerModel {
    name: "controller-liveness",
    left: Left { fences: 2, clean_stops: 1, closed_links: 1, ..NOTHING },
    reaches: &[Happened::Doubted, Happened::ElectedFromElr],
    ..CALM
};

impl Checked for ControllerModel {
    fn name(&self) -> &'static str {
        self.name
    }

    fn bounds(&self) -> String {
        let topics: Vec<String> = self.topics.iter().map(|it| format!("{it:?}")).collect();
        let mut text = format!(
            "{BROKERS} brokers, partitions on {}, min.insync.replicas {}",
            topics.join(" and "),
            self.min_isr
        );
        for (at, to) in self.moved {
            let _ = write!(text, ", {at} moved to {to:?}");
        }
        for (count, what) in counters(&self.left) {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        if !self.targets.is_empty() {
            let to: Vec<_> =
                self.targets.iter().map(|(at, to)| format!("{at} to {to:?}")).collect();
            let _ = write!(text, ", moves of {}", to.join(", "));
        }
        if !self.min_isrs.is_empty() {
            let _ = write!(text, " to {:?}", self.min_isrs);
        }
        let _ = match self.lag {
            0 => write!(text, ", committed at once"),
            lag => write!(text, ", at most {lag} batches uncommitted"),
        };
        text
    }

    fn describe_step(&self, before: &State, action: &Action, after: &State) -> String {
        tell::step(self, before, *action, after)
    }

    fn rule_of(&self, property: &str) -> &'static str {
        judge::rule(property)
    }
}

fn counters(left: &Left) -> [(u8, &'static str); 17] {
    [
        (left.fences, "fencings"),
        (left.clean_stops, "stops without loss"),
        (left.outages, "outages without loss"),
        (left.losses, "power failures"),
        (left.new_disks, "new disks"),
        (left.shutdowns, "controlled shutdowns"),
        (left.registrations, "repeated registrations"),
        (left.unregistrations, "unregistrations"),
        (left.proposals, "ISR proposals"),
        (left.unclean, "unclean elections"),
        (left.reassignments, "reassignments"),
        (left.cancels, "cancels"),
        (left.deletions, "topic deletions"),
        (left.producers, "blocks of producer ids"),
        (left.failovers, "failovers"),
        (left.closed_links, "closed links"),
        (left.configs, "changes of min.insync.replicas"),
    ]
}

/// The configurations that must hold, the quick ones first.
pub fn configurations() -> Vec<Configuration> {
    vec![
        configuration!(LIFE, Tier::Quick),
        configuration!(ELR, Tier::Quick),
        configuration!(REASSIGN, Tier::Quick),
        configuration!(FAILOVER, Tier::Quick),
        configuration!(TOPICS, Tier::Quick),
        configuration!(LIVENESS, Tier::Quick),
        configuration!(ELR_WIDE, Tier::Full),
        configuration!(REASSIGN_WIDE, Tier::Full),
        configuration!(FAILOVER_WIDE, Tier::Full),
    ]
}
