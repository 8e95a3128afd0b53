//! How far a configuration goes.

use crate::check::Mutated;

use super::Action;

/// How far a configuration goes. Faults are counted for the whole run, not for what is at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The configuration's name.
    pub name: &'static str,
    pub rules: Mutated,
    /// Epochs in which a leader may be elected, from 1.
    pub epochs: u8,
    /// Records that leaders append beside their LeaderChanges.
    pub records: u8,
    /// Crashes, each losing any part of what is not flushed.
    pub crashes: u8,
    /// Timers of elections, fetches and leaders that run out, or [`ANY_NUMBER`].
    pub timeouts: u8,
    /// Connections that break.
    pub breaks: u8,
    /// Messages that get lost on a connection that stands.
    pub losses: u8,
    /// Messages that arrive once more, after all that was sent on their connection until then.
    pub duplicates: u8,
    /// Times that a follower takes its leader for dead, rightly or not.
    pub peers_gone: u8,
    /// Leaders that are asked to resign.
    pub resigns: u8,
    /// Snapshots that nodes write.
    pub snapshots: u8,
    /// Times that the network falls apart, in any of the ways of [`super::Partition`].
    pub partitions: u8,
    /// Voters that leaders are asked to add and to remove.
    pub adds: u8,
    pub removes: u8,
    /// Disks that are lost, so that their nodes start anew on empty ones.
    pub wipes: u8,
    /// How many of the nodes do not vote at the start, if the log says who votes; `None` if the
    /// voters are those of the configuration, and never change.
    pub observers: Option<u8>,
    /// What happens first, in a configuration that is aimed at something.
    pub prologue: &'static [Action],
    /// Nodes whose elections may time out, a bit for each.
    pub candidates: u8,
    pub delivery: Delivery,
    pub reductions: Reductions,
    /// Watch who is in touch with its leader, and judge that nobody is elected without need.
    pub judges_stability: bool,
    /// Judge that one voter set at most is uncommitted. Not where it shall be seen what comes of two.
    pub judges_voter_sets: bool,
    /// Judge that whatever majority is left could elect one of its own.
    pub judges_electability: bool,
}

/// What is not told apart, or not interleaved, because no promise could tell: see the arguments at
/// [`crate::check::quorum`]. A test counts with and without each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reductions {
    /// Visit one of all states that differ only in who is who.
    pub symmetry: bool,
    /// While a node's epoch and vote are being stored, nothing else happens.
    pub storing_excludes: bool,
    /// Drop answers that their receivers will ignore.
    pub dead_answers: bool,
    /// Once no crash is left to come, what is written is on disk.
    pub quick_disks: bool,
}

impl Reductions {
    pub const ALL: Reductions = Reductions {
        symmetry: true,
        storing_excludes: true,
        dead_answers: true,
        quick_disks: true,
    };

    pub const NONE: Reductions = Reductions {
        symmetry: false,
        storing_excludes: false,
        dead_answers: false,
        quick_disks: false,
    };
}

/// A count that has no bound, because what is counted adds no states without end.
pub const ANY_NUMBER: u8 = u8::MAX;

/// What may be under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Requests and answers, each connection's two directions in order, as TCP gives them.
    InOrder,
    /// Requests and answers, in any order.
    AnyOrder,
    /// Requests arrive when they are sent; answers are under way, in order, and one of each kind
    /// on a connection: a newer one replaces an older. Smaller by far, and blind to requests that
    /// arrive late, which is why there are the other two.
    RequestsAtOnce,
}

impl Bounds {
    /// The bounds in words, for a quorum of `nodes` voters.
    pub(super) fn in_words(&self, nodes: usize) -> String {
        let delivery = match self.delivery {
            Delivery::InOrder => "requests and answers in order",
            Delivery::AnyOrder => "requests and answers in any order",
            Delivery::RequestsAtOnce => "requests at once, answers in order",
        };
        let who = match self.observers.unwrap_or(0) {
            0 => format!("{nodes} voters"),
            observers => {
                format!("{} voters and {observers} observers", nodes - usize::from(observers))
            }
        };
        let mut text = format!("{who}, {} epochs, {} records", self.epochs, self.records);
        for (count, what) in [
            (self.timeouts, "timeouts"),
            (self.crashes, "lossy crashes"),
            (self.peers_gone, "verdicts of a dead leader"),
            (self.breaks, "broken connections"),
            (self.losses, "lost messages"),
            (self.duplicates, "duplicates"),
            (self.resigns, "resignations"),
            (self.snapshots, "snapshots"),
            (self.partitions, "partitions"),
            (self.adds, "voters added"),
            (self.removes, "voters removed"),
            (self.wipes, "disks wiped"),
        ] {
            match count {
                0 => {}
                ANY_NUMBER => text.push_str(&format!(", any number of {what}")),
                _ => text.push_str(&format!(", {count} {what}")),
            }
        }
        if !self.prologue.is_empty() {
            text.push_str(&format!(", after {} given steps", self.prologue.len()));
        }
        if let Some(guard) = self.rules.0 {
            text.push_str(&format!(", without {}", guard.name()));
        }
        let symmetry = if self.reductions.symmetry { ", up to renaming" } else { "" };
        format!("{text}; {delivery}{symmetry}")
    }
}
