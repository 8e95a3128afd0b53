//! `kraft storage`.

use std::path::{Path, PathBuf};

use kraft_model::ClusterId;
use kraft_node::storage::VoterNode;
use serde::Serialize;

use super::first_voters::QuorumFlags;
use crate::ids::random_id;
use crate::node::{Directories, directories};
use crate::output::{self, OutputArgs, or_dash, table};
use crate::report::Failure;
use crate::storage::{Identity, format, read};

/// Format a node's directories, and say whose they are
///
/// JSON: format and info: [{path, formatted, cluster_id, node_id, directory_id}].
#[derive(Debug, clap::Args)]
pub struct StorageArgs {
    #[command(subcommand)]
    command: StorageCommand,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Subcommand)]
enum StorageCommand {
    /// Make every directory of log.dirs this node's; only empty ones are touched
    Format {
        /// The cluster's id, the same for all its nodes ('kraft storage random-uuid')
        #[arg(long, short = 't')]
        cluster_id: ClusterId,
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        quorum: QuorumFlags,
        /// Leave directories alone that are formatted for this node and cluster already
        #[arg(long, short = 'g')]
        ignore_formatted: bool,
    },
    /// Show whose directories they are
    Info {
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print a new id
    RandomUuid,
}

#[derive(Serialize)]
struct Directory {
    path: PathBuf,
    formatted: bool,
    cluster_id: Option<String>,
    node_id: Option<i32>,
    directory_id: Option<String>,
}

pub fn run(args: &StorageArgs) -> Result<(), Failure> {
    match &args.command {
        StorageCommand::Format { cluster_id, config, quorum, ignore_formatted } => {
            let Directories { node_id, log_dirs, .. } = directories(config)?;
            let first = quorum.first_voters(config)?;
            for dir in &log_dirs {
                let (directory_id, voters) = first.of(dir);
                let cluster_id = cluster_id.to_string();
                let identity = Identity { cluster_id, node_id, directory_id };
                format_one(dir, &identity, voters, *ignore_formatted)?;
            }
            info(args, &log_dirs)
        }
        StorageCommand::Info { config } => info(args, &directories(config)?.log_dirs),
        StorageCommand::RandomUuid => output::line(&random_id()),
    }
}

fn format_one(
    dir: &Path,
    identity: &Identity,
    voters: &[VoterNode],
    ignore: bool,
) -> Result<(), Failure> {
    if ignore
        && let Some(found) = read(dir)?
        && found.cluster_id == identity.cluster_id
        && found.node_id == identity.node_id
    {
        return Ok(());
    }
    format(dir, identity, voters)
}

fn info(args: &StorageArgs, dirs: &[PathBuf]) -> Result<(), Failure> {
    let mut directories = Vec::new();
    for dir in dirs {
        let found = read(dir)?;
        directories.push(Directory {
            path: dir.clone(),
            formatted: found.is_some(),
            cluster_id: found.as_ref().map(|found| found.cluster_id.clone()),
            node_id: found.as_ref().map(|found| found.node_id),
            directory_id: found.map(|found| found.directory_id),
        });
    }
    args.output.answer(&directories, |directories| {
        let rows = directories.iter().map(|directory| {
            vec![
                directory.path.display().to_string(),
                if directory.formatted { "yes" } else { "no" }.to_owned(),
                or_dash(directory.cluster_id.as_ref()),
                or_dash(directory.node_id),
                or_dash(directory.directory_id.as_ref()),
            ]
        });
        table(&["directory", "formatted", "cluster id", "node", "directory id"], rows)
    })
}
