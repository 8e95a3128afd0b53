//! Which ports a new cluster listens on.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use crate::report::Failure;

pub const DEFAULT_BROKER: u16 = 9_092;
/// Controllers listen this far above the brokers.
const CONTROLLER_ABOVE: u16 = 10_000;
/// Where ports are looked for on request (`--port 0`): below Linux's ephemeral range, from which
/// any outgoing connection might take one before its node has bound it.
const SEARCH: std::ops::Range<u16> = 10_000..32_000;

/// Hands out ports that nobody listens on, each once.
#[derive(Debug, Default)]
pub struct Ports {
    taken: BTreeSet<u16>,
}

impl Ports {
    /// `count` ports from `first` on. If one of them is in use, others are chosen, unless
    /// `insist`.
    pub fn take(&mut self, first: u16, count: usize, insist: bool) -> Result<Vec<u16>, Failure> {
        let mut ports = Vec::new();
        for index in 0..count {
            let wanted = u16::try_from(index).ok().and_then(|index| first.checked_add(index));
            let free = wanted.filter(|port| self.is_free(*port));
            let port = match (free, insist) {
                (Some(port), _) => port,
                (None, false) => self.search(wanted.unwrap_or(SEARCH.start))?,
                (None, true) => return Err(in_use(wanted.unwrap_or(first))),
            };
            self.taken.insert(port);
            ports.push(port);
        }
        Ok(ports)
    }

    /// `count` ports from anywhere.
    pub fn take_any(&mut self, count: usize) -> Result<Vec<u16>, Failure> {
        let span = u64::from(SEARCH.end - SEARCH.start);
        let random = RandomState::new().hash_one(std::process::id()) % span;
        self.take(SEARCH.start + random as u16, count, false)
    }

    /// The next free port above `from`.
    fn search(&self, from: u16) -> Result<u16, Failure> {
        let above = (from.saturating_add(1)..SEARCH.end).chain(SEARCH);
        let mut free = above.filter(|port| self.is_free(*port));
        free.next().ok_or_else(|| {
            Failure::new("no port is free")
                .because(format!("all ports from {} to {} are in use", SEARCH.start, SEARCH.end))
        })
    }

    fn is_free(&self, port: u16) -> bool {
        !self.taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    }
}

/// The first controller's port beside brokers from `broker` on.
pub fn controller_base(broker: u16) -> u16 {
    broker.checked_add(CONTROLLER_ABOVE).unwrap_or(SEARCH.start)
}

pub fn in_use(port: u16) -> Failure {
    Failure::new(format!("port {port} is in use by another process")).next(
        "stop that process, choose another --port, or leave --port out to have a free one chosen",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupied() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        (listener, port)
    }

    #[test]
    fn a_port_in_use_is_replaced_by_a_free_one() {
        let (_listener, port) = occupied();
        let chosen = Ports::default().take(port, 2, false).expect("others are free");
        assert!(!chosen.contains(&port));
        assert_ne!(chosen[0], chosen[1]);
    }

    #[test]
    fn a_port_that_was_asked_for_is_not_replaced() {
        let (_listener, port) = occupied();
        let failure = Ports::default().take(port, 1, true).expect_err("it is in use");
        assert!(failure.to_string().contains(&format!("port {port} is in use")));
    }

    #[test]
    fn no_port_is_handed_out_twice() {
        let mut ports = Ports::default();
        let first = ports.take_any(5).expect("many are free");
        let second = ports.take(first[0], 5, false).expect("many are free");
        assert!(first.iter().all(|port| !second.contains(port)));
    }
}
