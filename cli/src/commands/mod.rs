//! The commands, one file per family, and what they share: how to reach a cluster.

pub mod bench;
pub mod brokers;
pub mod check;
pub mod configs;
pub mod consume;
pub mod control;
pub mod down;
pub mod log_dump;
pub mod logs;
pub mod produce;
pub mod quorum;
pub mod status;
pub mod storage;
pub mod topics;
pub mod up;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::{Client, ClientOptions};
use crate::cluster::bootstrap_of;
use crate::report::{Context, Failure};

/// Which cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// Brokers to ask first, HOST:PORT[,HOST:PORT]... [default: the cluster in --dir]
    #[arg(
        long,
        alias = "bootstrap",
        global = true,
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub bootstrap_server: Vec<String>,
    #[command(flatten)]
    pub dir: Dir,
    /// How long to keep trying, in milliseconds
    #[arg(long, global = true, value_name = "MS", default_value_t = 30_000)]
    pub timeout_ms: u64,
}

/// `--dir`, on everything that knows a local cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct Dir {
    /// The directory of a local cluster
    #[arg(long, global = true, default_value = ".kraft", env = "KRAFT_DIR")]
    pub dir: PathBuf,
}

impl Target {
    pub fn client(&self) -> Result<Client, Failure> {
        let bootstrap = if self.bootstrap_server.is_empty() {
            bootstrap_of(&self.dir.dir)?.ok_or_else(|| {
                Failure::usage("which cluster?")
                    .because(format!(
                        "there is none in '{}' and --bootstrap-server names none",
                        self.dir.dir.display()
                    ))
                    .next("start one with 'kraft up', or pass --bootstrap-server HOST:PORT")
            })?
        } else {
            self.bootstrap_server.clone()
        };
        let total = Duration::from_millis(self.timeout_ms);
        let options = ClientOptions::new(bootstrap);
        Ok(Client::new(ClientOptions {
            connect_timeout: options.connect_timeout.min(total),
            request_timeout: options.request_timeout.min(total),
            total_timeout: total,
            ..options
        }))
    }
}

/// Runs `work` on this thread.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.doing(|| "cannot start the runtime".to_owned())?.block_on(work)
}

/// `key=value` of an argument.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err(format!("'{text}' is not KEY=VALUE")),
    }
}
