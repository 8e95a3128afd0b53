//! Reaching another node's endpoint, and when to try again.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use tokio::net::TcpStream;

/// A connection to one of the host's addresses, tried in order.
///
/// # Errors
/// `ConnectionRefused` only if *every* address refused: one that stays silent says nothing about
/// the process behind it.
pub(super) async fn connect(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let mut failed: Option<Error> = None;
    for address in tokio::net::lookup_host((host, port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) if is_refusal(&error) && failed.is_some() => {}
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| Error::new(ErrorKind::NotFound, "the host has no address")))
}

pub(super) fn is_refusal(error: &Error) -> bool {
    error.kind() == ErrorKind::ConnectionRefused
}

/// Waits between attempts: doubling, and each a random part shorter, so that the nodes of a
/// cluster that starts together do not dial in step.
#[derive(Debug)]
pub(super) struct Backoff {
    shortest: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(shortest: Duration, longest: Duration) -> Backoff {
        Backoff { shortest, longest, next: shortest }
    }

    pub fn reset(&mut self) {
        self.next = self.shortest;
    }

    /// From half of the current step to all of it.
    pub fn next(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.longest);
        let random = uuid::Uuid::new_v4().as_u128() as u32;
        step / 2 + (step / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_vary() {
        let (shortest, longest) = (Duration::from_millis(20), Duration::from_secs(1));
        let mut backoff = Backoff::new(shortest, longest);
        let waits: Vec<Duration> = (0..40).map(|_| backoff.next()).collect();
        assert!(waits[0] >= shortest / 2 && waits[0] <= shortest, "{:?}", waits[0]);
        assert!(waits.iter().all(|&wait| wait <= longest));
        let late: std::collections::BTreeSet<_> = waits[10..].iter().collect();
        assert!(late.len() > 1 && late.iter().all(|&&wait| wait >= longest / 2));
        backoff.reset();
        assert!(backoff.next() <= shortest);
    }
}
