//! The commands, one file per family, and what they share: how to reach a cluster.

pub mod bench;
pub mod brokers;
pub mod check;
pub mod configs;
pub mod consume;
pub mod control;
pub mod down;
mod first_voters;
pub mod log_dump;
pub mod logs;
pub mod produce;
pub mod quorum;
pub mod sim;
pub mod status;
pub mod storage;
pub mod topics;
pub mod trace;
pub mod up;
pub mod voters;

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
        value_delimiter = ',',
        value_parser = host_and_port
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
            self.local_brokers()?
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

    fn local_brokers(&self) -> Result<Vec<String>, Failure> {
        let dir = self.dir.dir.display();
        let brokers = bootstrap_of(&self.dir.dir)?.ok_or_else(|| {
            Failure::usage("which cluster?")
                .because(format!("there is none in '{dir}' and --bootstrap-server names none"))
                .next("start one with 'kraft up', or pass --bootstrap-server HOST:PORT")
        })?;
        if brokers.is_empty() {
            return Err(Failure::usage("which brokers?")
                .because(format!("the cluster in '{dir}' has only controllers"))
                .next("pass --bootstrap-server HOST:PORT; 'kraft quorum' works without brokers"));
        }
        Ok(brokers)
    }
}

/// Runs `work` on this thread.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.doing(|| "cannot start the runtime".to_owned())?.block_on(work)
}

/// `host:port` of an argument, `[::1]:9092` included; the host is looked up later.
pub fn host_and_port(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.rsplit_once(':') {
        Some((host, port))
            if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!("'{text}' is not HOST:PORT")),
    }
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
