//! What a leader knows of one follower.

use crate::{BrokerEpoch, NodeId, Offset};

/// A follower as its fetches show it, in the present leader epoch only (L5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Progress {
    pub node: NodeId,
    /// Whether it has fetched validly in this leader epoch; without that the rest says nothing.
    pub fetched: bool,
    /// It holds everything below.
    pub end: Offset,
    /// The registration under which it fetched.
    pub broker_epoch: BrokerEpoch,
    /// The leader's end when it fetched last: whoever has reached it was caught up then.
    pub leader_end: Offset,
    pub lag: Lag,
}

/// Where a follower stands with `replica.lag.time.max.ms`. The timer is set when a follower falls
/// behind and looked at when it runs out, so that a busy partition does not touch it at every
/// fetch: a slow follower leaves the ISR after one to two such times, a silent one after one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) enum Lag {
    /// No timer runs.
    #[default]
    None,
    /// The timer runs, and the follower has been behind ever since.
    Behind,
    /// The timer runs, and the follower was caught up in between.
    CaughtUp,
    /// Time is over: it has to leave the ISR unless it catches up before that is asked for.
    Over,
}

impl Progress {
    pub fn new(node: NodeId) -> Progress {
        Progress { node, broker_epoch: BrokerEpoch::NONE, ..Progress::default() }
    }

    pub fn is_behind(&self, leader_end: Offset) -> bool {
        !self.fetched || self.end < leader_end
    }

    pub fn has_timer(&self) -> bool {
        matches!(self.lag, Lag::Behind | Lag::CaughtUp)
    }

    /// Takes in a valid fetch; whether it says anything new.
    pub fn observe(&mut self, end: Offset, broker_epoch: BrokerEpoch, leader_end: Offset) -> bool {
        let news = !self.fetched || self.end != end || self.broker_epoch != broker_epoch;
        let caught_up = end >= leader_end || (self.fetched && end >= self.leader_end);
        self.lag = match self.lag {
            Lag::Behind if caught_up => Lag::CaughtUp,
            Lag::Over if caught_up => Lag::None,
            lag => lag,
        };
        (self.fetched, self.end, self.broker_epoch) = (true, end, broker_epoch);
        self.leader_end = leader_end;
        news
    }
}
