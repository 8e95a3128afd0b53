//! When to try again: exponential back-off with jitter, until a deadline.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::ClientError;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The pauses of one operation.
#[derive(Debug)]
pub struct Retry {
    deadline: Instant,
    next: Duration,
}

impl Retry {
    /// No attempt begins later than `total` from now.
    pub fn within(total: Duration) -> Retry {
        Retry { deadline: Instant::now() + total, next: FIRST_PAUSE }
    }

    /// Pauses before another attempt; false if `error` is final or the time is over.
    pub async fn pause(&mut self, error: &ClientError) -> bool {
        if !error.is_retriable() {
            return false;
        }
        let pause = jittered(self.next);
        if Instant::now() + pause > self.deadline {
            return false;
        }
        tokio::time::sleep(pause).await;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        true
    }
}

/// Runs `attempt` until it succeeds, fails for good, or `total` is over.
pub async fn retrying<T>(
    total: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut retry = Retry::within(total);
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if retry.pause(&error).await => {}
            Err(error) => return Err(error),
        }
    }
}

/// Between three quarters and all of `pause`, so that clients that failed together do not return
/// together.
pub fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0u8) % 256;
    pause.mul_f64(0.75 + random as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_quarter() {
        let pause = Duration::from_millis(100);
        for _ in 0..1_000 {
            let jittered = jittered(pause);
            assert!(jittered >= pause * 3 / 4 && jittered <= pause);
        }
    }

    #[tokio::test]
    async fn a_final_error_is_not_tried_again() {
        let mut attempts = 0;
        let result: Result<(), _> = retrying(Duration::from_secs(5), async || {
            attempts += 1;
            Err(ClientError::UnknownTopic("t".to_owned()))
        })
        .await;
        assert!(result.is_err());
        assert_eq!(attempts, 1);
    }
}
