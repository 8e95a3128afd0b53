//! `supervisor.json`: what runs, written by the supervisor at every change; and the wishes that
//! other commands leave for it beside a node's files.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::layout::{Cluster, Node, write_json};
use super::process::ProcessId;
use crate::report::{Context, Failure};

const FILE: &str = "supervisor.json";
const WISH: &str = "wish";

/// What the supervisor last knew.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SupervisorState {
    /// `None` after an orderly end.
    pub supervisor: Option<ProcessId>,
    pub nodes: Vec<NodeState>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeState {
    pub id: i32,
    pub process: Option<ProcessId>,
    /// Milliseconds since the Unix epoch.
    pub started_ms: Option<u64>,
    /// How often it was started again after it had ended.
    pub restarts: u32,
    /// Its next start waits for this long after `last_exit`, in milliseconds; `None`: it is not
    /// to be started again.
    pub back_off_ms: Option<u64>,
    pub last_exit: Option<LastExit>,
}

/// How a node's last process ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LastExit {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The last lines of its log.
    pub log: Vec<String>,
}

impl LastExit {
    /// `killed by signal 9`, `exit code 1: error: <what it reported last>`.
    pub fn describe(&self) -> String {
        let how = match (self.signal, self.code) {
            (Some(signal), _) => format!("killed by signal {signal}"),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => "ended".to_owned(),
        };
        // A report begins with what failed; what follows are its details.
        let report = self.log.iter().rfind(|line| line.starts_with("error: "));
        match report.or(self.log.last()) {
            // A clean exit and a kill from outside explain themselves.
            Some(line) if self.code.is_some_and(|code| code != 0) => format!("{how}: {line}"),
            _ => how,
        }
    }
}

impl SupervisorState {
    pub fn new(supervisor: ProcessId, cluster: &Cluster) -> SupervisorState {
        let node = |node: &Node| NodeState {
            id: node.id,
            process: None,
            started_ms: None,
            restarts: 0,
            back_off_ms: None,
            last_exit: None,
        };
        SupervisorState {
            supervisor: Some(supervisor),
            nodes: cluster.nodes.iter().map(node).collect(),
        }
    }

    /// Empty if nothing was ever supervised in `dir`.
    pub fn load(dir: &Path) -> Result<SupervisorState, Failure> {
        let path = dir.join(FILE);
        let failed = || format!("cannot read {}", path.display());
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                serde_json::from_str(&text).map_err(|error| Failure::new(failed()).because(error))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(SupervisorState::default()),
            Err(error) => Err(error).doing(failed),
        }
    }

    pub fn save(&self, dir: &Path) -> Result<(), Failure> {
        write_json(&dir.join(FILE), self)
    }

    /// The supervisor, if it lives.
    pub fn running(&self) -> Option<ProcessId> {
        self.supervisor.filter(|supervisor| supervisor.is_alive())
    }

    pub fn node(&self, id: i32) -> Option<&NodeState> {
        self.nodes.iter().find(|node| node.id == id)
    }
}

impl NodeState {
    /// Its process, if it lives.
    pub fn running(&self) -> Option<ProcessId> {
        self.process.filter(|process| process.is_alive())
    }
}

/// What another command wants the supervisor to do about a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// Leave it down.
    StayDown,
    /// Start it at once, whatever the policy.
    Start,
}

impl Wish {
    fn text(self) -> &'static str {
        match self {
            Wish::StayDown => "stay-down",
            Wish::Start => "start",
        }
    }

    pub fn leave(self, dir: &Path, node: &Node) -> Result<(), Failure> {
        let path = node.dir(dir).join(WISH);
        std::fs::write(&path, self.text()).doing(|| format!("cannot write {}", path.display()))
    }

    pub fn read(dir: &Path, node: &Node) -> Option<Wish> {
        let text = std::fs::read_to_string(node.dir(dir).join(WISH)).ok()?;
        [Wish::StayDown, Wish::Start].into_iter().find(|wish| wish.text() == text.trim())
    }

    pub fn clear(dir: &Path, node: &Node) {
        // It is gone, or it will be read once more and do no harm.
        let _ = std::fs::remove_file(node.dir(dir).join(WISH));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_says_why_in_one_line() {
        let exit = |code, signal| LastExit {
            at_ms: 0,
            code,
            signal,
            log: ["starting", "error: no space left", "  next: make room"]
                .map(str::to_owned)
                .into(),
        };
        assert_eq!(exit(None, Some(9)).describe(), "killed by signal 9");
        assert_eq!(exit(Some(1), None).describe(), "exit code 1: error: no space left");
        assert_eq!(exit(Some(0), None).describe(), "exit code 0");
    }

    #[test]
    fn state_that_was_never_written_is_empty() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let state = SupervisorState::load(dir.path()).expect("absence is fine");
        assert_eq!(state, SupervisorState::default());
        assert!(state.running().is_none());
    }
}
