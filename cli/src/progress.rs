//! Progress bars: on standard error, only if it is a terminal, only after a second.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const QUIET: Duration = Duration::from_secs(1);

/// A bar that draws nothing for its first second, so that quick commands do not flicker.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    shows_at: Option<Instant>,
}

impl Progress {
    /// Counts up to `total`, or without end.
    pub fn counting(what: &'static str, total: Option<u64>) -> Progress {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template = match total {
            Some(_) => "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}",
            None => "{msg} {spinner} {human_pos} {per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        let terminal = std::io::stderr().is_terminal();
        Progress { bar, shows_at: terminal.then(|| Instant::now() + QUIET) }
    }

    pub fn set(&mut self, position: u64) {
        if self.shows_at.is_some_and(|shows_at| shows_at <= Instant::now()) {
            self.shows_at = None;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(position);
    }

    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
