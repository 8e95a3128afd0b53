//! `kraft node`: this process as one node. The only place where the command line meets the node's
//! entry point and its configuration loader.

use std::io::IsTerminal;
use std::path::PathBuf;

use kraft_node::config::{NodeConfig, Sources};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use tracing_subscriber::EnvFilter;

use crate::report::{Context, Failure};

/// Runs one node in this process until it is told to stop
#[derive(Clone, Debug, clap::Args)]
pub struct NodeArgs {
    /// The node's configuration: Kafka's server.properties, or TOML
    #[arg(long, value_name = "FILE", env = "KRAFT_CONFIG")]
    pub config: PathBuf,
    /// Overrides one key of the configuration; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The supervisor that started this node, and with which it ends
    #[arg(long, value_name = "PID", hide = true)]
    pub supervisor: Option<i32>,
}

pub fn run(args: &NodeArgs) -> Result<(), Failure> {
    if let Some(supervisor) = args.supervisor {
        end_with(supervisor)?;
    }
    let sources = Sources::of_process(Some(args.config.clone()), args.set.clone());
    let (config, warnings) = NodeConfig::load(&sources)
        .map_err(|errors| Failure::new("the configuration cannot be used").because(errors))?;
    start_logging();
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    kraft_node::supervisor::run(config).map_err(|failure| {
        let mut causes = Vec::new();
        let mut source = std::error::Error::source(&failure);
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        tracing::error!(causes = causes.join(": "), "{failure}");
        Failure::new(format!("the node stops: {failure}")).because(causes.join(": "))
    })
}

/// Structured lines on standard error; `KRAFT_LOG` chooses levels as `RUST_LOG` does elsewhere
/// (`info`, `debug`, `kraft_node::peer=trace` ...).
fn start_logging() {
    let filter = EnvFilter::try_from_env("KRAFT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// A node never outlives its supervisor: nobody would restart it or know that it runs.
fn end_with(supervisor: i32) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| Failure::new("cannot bind to the supervisor").because(error))?;
    // It may have ended before the line above.
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get() != supervisor) {
        return Err(Failure::new("the supervisor has ended before this node began"));
    }
    Ok(())
}

/// What `storage format`, `storage info` and `status --verify` need of a configuration.
#[derive(Clone, Debug)]
pub struct Directories {
    pub node_id: i32,
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.dir`, by default the first of `log_dirs`.
    pub metadata_log_dir: Option<PathBuf>,
}

/// Reads `node.id`, `log.dirs` (`log.dir`) and `metadata.log.dir` of a properties file.
pub fn directories(config: &std::path::Path) -> Result<Directories, Failure> {
    let failed = || format!("cannot use the configuration {}", config.display());
    let text = std::fs::read_to_string(config).doing(failed)?;
    let value = |wanted: &str| {
        let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
        pairs.filter(|(key, _)| key.trim() == wanted).map(|(_, value)| value.trim()).next_back()
    };
    let missing = |key: &str| Failure::new(failed()).because(format!("'{key}' is missing"));
    let node_id = value("node.id").ok_or_else(|| missing("node.id"))?;
    let node_id = node_id.parse().map_err(|_| {
        Failure::new(failed()).because(format!("node.id '{node_id}' is not a number"))
    })?;
    let dirs = value("log.dirs").or_else(|| value("log.dir"));
    let dirs = dirs.ok_or_else(|| missing("log.dirs"))?.split(',');
    let dirs = dirs.map(str::trim).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let log_dirs: Vec<_> = dirs.collect();
    let named = value("metadata.log.dir").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let metadata_log_dir = named.or_else(|| log_dirs.first().cloned());
    Ok(Directories { node_id, log_dirs, metadata_log_dir })
}
