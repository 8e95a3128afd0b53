//! Waiting for a condition with a deadline.

use std::time::{Duration, Instant};

/// Longest wait of any test for anything that should take milliseconds; generous, because CI
/// machines stall.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until `probe` answers, every few milliseconds.
///
/// # Panics
/// When the answer has not come within [`PATIENCE`]; the message says what was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The median of some measurements.
pub fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}
