//! Other processes of this machine, told apart by pid *and* start time: pids are used again.

use std::time::{Duration, Instant};

use rustix::process::Pid;
pub use rustix::process::Signal;
use serde::{Deserialize, Serialize};

/// A process that was running when this was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: i32,
    /// In clock ticks since the machine's boot, from `/proc`; 0 where there is no `/proc`.
    pub start_time: u64,
}

/// What a living process is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stat {
    Running,
    /// Stopped by a signal (`kraft pause`).
    Paused,
}

impl ProcessId {
    pub fn of(pid: u32) -> ProcessId {
        let pid = i32::try_from(pid).unwrap_or(i32::MAX);
        ProcessId { pid, start_time: read_stat(pid).map_or(0, |(_, start_time)| start_time) }
    }

    /// `None`: it has ended; another process of that number is not it.
    pub fn stat(self) -> Option<Stat> {
        let (state, start_time) = read_stat(self.pid)?;
        if start_time != self.start_time {
            return None;
        }
        match state {
            'T' | 't' => Some(Stat::Paused),
            // A zombie has ended; only its parent has not looked yet.
            'Z' | 'X' => None,
            _ => Some(Stat::Running),
        }
    }

    pub fn is_alive(self) -> bool {
        self.stat().is_some()
    }

    /// Sends `signal` to exactly this process; false if it has ended.
    pub fn signal(self, signal: Signal) -> bool {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.is_alive()) else { return false };
        rustix::process::kill_process(pid, signal).is_ok()
    }

    /// Waits until it has ended; false if `deadline` comes first.
    pub fn wait_until_gone(self, deadline: Instant) -> bool {
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

/// State letter and start time. The name in parentheses may hold anything, parentheses too.
fn read_stat(pid: i32) -> Option<(char, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // The state is field 3, the start time field 22.
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_another_of_its_number_is_not_it() {
        let this = ProcessId::of(std::process::id());
        assert_eq!(this.stat(), Some(Stat::Running));
        let earlier = ProcessId { start_time: this.start_time + 1, ..this };
        assert!(!earlier.is_alive());
        assert!(!earlier.signal(Signal::TERM), "a reused pid must never be signalled");
    }
}
