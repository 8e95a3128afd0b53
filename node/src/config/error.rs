//! What can be wrong with a configuration, and what only deserves a word.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong. Each names the key, the value, where it was given, and what is right.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{origin}: {problem}")]
    Syntax { origin: String, problem: String },
    #[error("{origin}: neither Kafka nor kraft has a key '{key}'{}", did_you_mean(*nearest))]
    Unknown { key: String, origin: String, nearest: Option<&'static str> },
    #[error("{origin}: {key}={value}: expected {expected}")]
    Invalid { key: String, value: String, origin: String, expected: String },
    #[error("{key} is missing: {why}")]
    Missing { key: &'static str, why: String },
    /// Right by itself, impossible beside another key.
    #[error("{origin}: {key}={value}: {why}")]
    Conflict { key: &'static str, value: String, origin: String, why: String },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean '{name}'?")).unwrap_or_default()
}

/// All that is wrong with a configuration: never only the first.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
            if let Some(cause) = std::error::Error::source(error) {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Something that works, though perhaps not as it was meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    pub key: String,
    pub origin: String,
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.key, self.message)
    }
}
