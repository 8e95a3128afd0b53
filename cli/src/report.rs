//! What a failed command tells its user: what failed, why, and what to do next.

use std::fmt;
use std::io;
use std::process::ExitCode;

use kraft_model::ErrorCode;

use crate::client::ClientError;

/// Exit codes: 0 done, 1 it failed, 2 wrong usage, 3 a check found a violation.
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const VIOLATION: u8 = 3;

/// Why a command ends early.
#[derive(Debug)]
pub enum Failure {
    Reported(Report),
    /// Whoever read our output has gone (`kraft consume t | head`): the end, but no failure.
    ClosedPipe,
    /// A check found a violation and has printed it.
    Violation,
}

#[derive(Debug)]
pub struct Report {
    code: u8,
    what: String,
    why: Option<String>,
    next: Option<String>,
}

impl Failure {
    /// `what` completes the sentence "kraft ...": "cannot create topic 'orders'".
    pub fn new(what: impl Into<String>) -> Failure {
        Failure::with_code(FAILED, what.into())
    }

    /// The command line itself is wrong.
    pub fn usage(what: impl Into<String>) -> Failure {
        Failure::with_code(USAGE, what.into())
    }

    fn with_code(code: u8, what: String) -> Failure {
        Failure::Reported(Report { code, what, why: None, next: None })
    }

    #[must_use]
    pub fn because(mut self, reason: impl fmt::Display) -> Failure {
        if let Failure::Reported(report) = &mut self {
            report.why = Some(reason.to_string());
        }
        self
    }

    /// What the user can do.
    #[must_use]
    pub fn next(mut self, advice: impl Into<String>) -> Failure {
        if let Failure::Reported(report) = &mut self {
            report.next = Some(advice.into());
        }
        self
    }

    /// Prints the report to standard error, if there is one.
    pub fn exit(&self) -> ExitCode {
        match self {
            Failure::ClosedPipe => ExitCode::SUCCESS,
            Failure::Violation => ExitCode::from(VIOLATION),
            Failure::Reported(report) => {
                use io::Write;
                // Nobody is left to tell if standard error is closed as well.
                let _ = writeln!(io::stderr(), "{self}");
                ExitCode::from(report.code)
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure::Reported(report) = self else { return Ok(()) };
        write!(f, "error: {}", report.what)?;
        if let Some(why) = &report.why {
            write!(f, "\n  why:  {why}")?;
        }
        if let Some(next) = &report.next {
            write!(f, "\n  next: {next}")?;
        }
        Ok(())
    }
}

/// Says what was being done when something failed.
pub trait Context<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> Context<T> for Result<T, ClientError> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| {
            let failure = Failure::new(what()).because(&error);
            match advice(&error) {
                Some(advice) => failure.next(advice),
                None => failure,
            }
        })
    }
}

impl<T> Context<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(what()).because(error))
    }
}

fn advice(error: &ClientError) -> Option<&'static str> {
    Some(match error {
        ClientError::Bootstrap { .. } | ClientError::Connect { .. } => {
            "see whether the brokers run ('kraft status'), or name one with --bootstrap-server"
        }
        ClientError::Timeout { .. } | ClientError::Closed { .. } => {
            "see whether the brokers are well ('kraft status', 'kraft logs')"
        }
        ClientError::UnknownTopic(_) => {
            "list the topics with 'kraft topics list', or create it with 'kraft topics create'"
        }
        ClientError::UnknownPartition { .. } => {
            "see the partitions with 'kraft topics describe TOPIC'"
        }
        ClientError::NoLeader { .. } => {
            "all its replicas may be down: 'kraft topics describe TOPIC', 'kraft status'"
        }
        ClientError::Answer { code, .. } => return advice_on_code(*code),
        ClientError::Version { .. } => "the broker is of another age; upgrade it or this client",
        _ => return None,
    })
}

/// What a broker refused, and the command that shows what it would take.
fn advice_on_code(code: i16) -> Option<&'static str> {
    Some(match ErrorCode::from_code(code)? {
        ErrorCode::UnknownTopicOrPartition => "list the topics with 'kraft topics list'",
        ErrorCode::TopicAlreadyExists => {
            "see it with 'kraft topics describe TOPIC', or pass --if-not-exists"
        }
        ErrorCode::InvalidReplicationFactor => {
            "see the brokers with 'kraft brokers list'; fewer replicas need fewer brokers"
        }
        ErrorCode::InvalidConfig => "see all keys with 'kraft configs describe --all KIND NAME'",
        ErrorCode::NotEnoughReplicas => {
            "the ISR is smaller than min.insync.replicas: 'kraft topics describe TOPIC'"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_why_and_what_next() {
        let unknown: Result<(), _> = Err(ClientError::UnknownTopic("orders".to_owned()));
        let failure = unknown.doing(|| "cannot describe topic 'orders'".to_owned());
        let text = failure.expect_err("it failed").to_string();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("error: cannot describe topic 'orders'"));
        assert_eq!(lines.next(), Some("  why:  topic 'orders' does not exist"));
        assert!(lines.next().is_some_and(|line| line.contains("kraft topics list")));
    }
}
