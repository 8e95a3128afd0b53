//! What is told of a run: its last lines, kept only when somebody will read them.

use std::collections::VecDeque;

use super::profile::Micros;

/// Lines that are kept.
const LINES: usize = 3_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Tale {
    lines: Option<VecDeque<String>>,
    told: u64,
}

impl Tale {
    /// Keeps the last lines.
    pub fn kept() -> Tale {
        Tale { lines: Some(VecDeque::new()), told: 0 }
    }

    pub fn tell(&mut self, now: Micros, line: impl FnOnce() -> String) {
        let Some(lines) = &mut self.lines else { return };
        if lines.len() == LINES {
            lines.pop_front();
        }
        self.told += 1;
        lines.push_back(format!("{:>10.3} ms  {}", now as f64 / 1_000.0, line()));
    }

    pub fn into_lines(self) -> Vec<String> {
        self.lines.map(Vec::from).unwrap_or_default()
    }
}
