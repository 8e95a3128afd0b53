//! `kraft configs`.

use serde::Serialize;

use super::brokers::config_table;
use super::{Target, block_on, key_value};
use crate::client::{AlterOp, ConfigEntry, ResourceKind};
use crate::output::OutputArgs;
use crate::report::{Context, Failure};

/// Describe and alter the configuration of topics and brokers
///
/// JSON: describe: {kind, name, configs: [{name, value, source, read_only, sensitive}]}; alter:
/// {kind, name, changed}.
#[derive(Debug, clap::Args)]
pub struct ConfigsArgs {
    #[command(subcommand)]
    command: ConfigsCommand,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Subcommand)]
enum ConfigsCommand {
    /// Show what is in force
    Describe {
        kind: ResourceKind,
        /// A topic's name or a broker's id
        name: String,
        /// Defaults too
        #[arg(long)]
        all: bool,
    },
    /// Change single keys; the others stay
    Alter {
        kind: ResourceKind,
        /// A topic's name or a broker's id; an empty broker name means all brokers
        name: String,
        #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
        set: Vec<(String, String)>,
        /// Back to the default
        #[arg(long, value_name = "KEY")]
        delete: Vec<String>,
        /// Only check whether it could be done
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Serialize)]
struct Described<'a> {
    kind: &'static str,
    name: &'a str,
    configs: Vec<ConfigEntry>,
}

#[derive(Serialize)]
struct Altered<'a> {
    kind: &'static str,
    name: &'a str,
    changed: usize,
}

fn kind_name(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Topic => "topic",
        ResourceKind::Broker => "broker",
    }
}

pub fn run(args: &ConfigsArgs) -> Result<(), Failure> {
    let client = args.target.client()?;
    block_on(async {
        match &args.command {
            ConfigsCommand::Describe { kind, name, all } => {
                let configs = client.describe_configs(*kind, name).await;
                let mut configs = configs.doing(|| failed("describe", *kind, name))?;
                configs.retain(|entry| *all || entry.source != "default");
                let answer = Described { kind: kind_name(*kind), name, configs };
                args.output.answer(&answer, |answer| config_table(&answer.configs))
            }
            ConfigsCommand::Alter { kind, name, set, delete, dry_run } => {
                let set = set.iter().map(|(key, value)| AlterOp::Set(key.clone(), value.clone()));
                let delete = delete.iter().map(|key| AlterOp::Delete(key.clone()));
                let changes: Vec<_> = set.chain(delete).collect();
                if changes.is_empty() {
                    return Err(Failure::usage("what is to change?")
                        .next("pass --set KEY=VALUE or --delete KEY"));
                }
                let altered = client.alter_configs(*kind, name, &changes, *dry_run).await;
                altered.doing(|| failed("alter", *kind, name))?;
                let answer = Altered { kind: kind_name(*kind), name, changed: changes.len() };
                args.output.answer(&answer, |answer| {
                    let how = if *dry_run { "could be changed" } else { "changed" };
                    format!("{} '{name}': {} keys {how}", answer.kind, answer.changed)
                })
            }
        }
    })
}

fn failed(what: &str, kind: ResourceKind, name: &str) -> String {
    format!("cannot {what} the configuration of {} '{name}'", kind_name(kind))
}
