//! What a checker's shell asks of a broker machine.

use crate::Offset;

use super::machine::Broker;
use super::{State, Timer};

impl Broker {
    /// The timer that decides when to ask next.
    pub(crate) fn waits_for(&self) -> Option<Timer> {
        self.timer
    }

    pub(crate) fn wants_shutdown(&self) -> bool {
        self.want_shutdown
    }

    /// Drops what is only read while the broker catches up, so that states that behave alike are
    /// equal.
    pub(crate) fn forget_what_is_idle(&mut self) {
        if self.state() != State::Recovering {
            self.told_end = Offset::ZERO;
        }
    }
}
