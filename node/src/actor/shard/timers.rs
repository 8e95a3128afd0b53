//! The machines' timers of one shard. Few are armed at a time and they are long, so that they are
//! looked through now and then; arming and disarming, which happens with every batch, is cheap.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kraft_model::TopicPartition;
use kraft_model::replica::Timer;

/// How late a timer may fire.
const GRAIN: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(super) struct Timers {
    armed: HashMap<(TopicPartition, Timer), Instant>,
    next_look: Option<Instant>,
}

impl Timers {
    /// Arms or rearms.
    pub fn set(&mut self, id: TopicPartition, timer: Timer, now: Instant, after: Duration) {
        self.armed.insert((id, timer), now + after);
        // A timer shorter than the grain still fires on time.
        let look = now + after.min(GRAIN);
        self.next_look = Some(self.next_look.map_or(look, |next| next.min(look)));
    }

    pub fn cancel(&mut self, id: TopicPartition, timer: Timer) {
        self.armed.remove(&(id, timer));
    }

    pub fn forget(&mut self, id: TopicPartition) {
        self.armed.retain(|(of, _), _| *of != id);
    }

    /// Takes out what is due, in a stable order.
    pub fn due(&mut self, now: Instant) -> Vec<(TopicPartition, Timer)> {
        if self.next_look.is_none_or(|look| now < look) {
            return Vec::new();
        }
        let mut due: Vec<_> =
            self.armed.extract_if(|_, at| *at <= now).map(|(key, _)| key).collect();
        due.sort_unstable();
        self.next_look = (!self.armed.is_empty()).then(|| now + GRAIN);
        due
    }

    /// When to look again; nothing while nothing is armed.
    pub fn next_due(&self) -> Option<Instant> {
        self.next_look
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_fires_once_unless_it_was_cancelled() {
        let mut timers = Timers::default();
        let (id, now) = (TopicPartition::default(), Instant::now());
        timers.set(id, Timer::AlterRetry, now, Duration::from_millis(150));
        timers.set(id, Timer::Lag(kraft_model::NodeId(1)), now, Duration::from_millis(150));
        timers.cancel(id, Timer::Lag(kraft_model::NodeId(1)));
        assert!(timers.due(now + Duration::from_millis(110)).is_empty());
        let late = now + Duration::from_millis(300);
        assert_eq!(timers.due(late), vec![(id, Timer::AlterRetry)]);
        assert!(timers.due(late + GRAIN).is_empty());
        assert_eq!(timers.next_due(), None, "an idle shard has nothing to wake up for");
    }
}
