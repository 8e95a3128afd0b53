//! `kraft brokers`.

use serde::Serialize;

use super::{Target, block_on};
use crate::client::{Client, ConfigEntry, ResourceKind};
use crate::output::{OutputArgs, or_dash, table};
use crate::report::{Context, Failure};

/// List and describe brokers
///
/// JSON: list: {cluster_id, controller, brokers: [{id, host, port, rack, fenced}]}; describe:
/// {id, configs: [{name, value, source, read_only, sensitive}]}. The controller that a broker
/// names to clients is a random broker, as in Kafka; 'kraft quorum status' names the real one.
#[derive(Debug, clap::Args)]
pub struct BrokersArgs {
    #[command(subcommand)]
    command: BrokersCommand,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Subcommand)]
enum BrokersCommand {
    /// List the registered brokers
    List,
    /// Show a broker's configuration as it is in force
    Describe {
        broker: i32,
        /// Defaults too
        #[arg(long)]
        all: bool,
    },
}

#[derive(Serialize)]
struct Listed {
    cluster_id: String,
    controller: Option<i32>,
    brokers: Vec<ListedBroker>,
}

#[derive(Serialize)]
struct ListedBroker {
    id: i32,
    host: String,
    port: i32,
    rack: Option<String>,
    fenced: bool,
}

#[derive(Serialize)]
struct Described {
    id: i32,
    configs: Vec<ConfigEntry>,
}

pub fn run(args: &BrokersArgs) -> Result<(), Failure> {
    let client = args.target.client()?;
    block_on(async {
        match args.command {
            BrokersCommand::List => brokers_list(&client, args).await,
            BrokersCommand::Describe { broker, all } => describe(&client, args, broker, all).await,
        }
    })
}

async fn brokers_list(client: &Client, args: &BrokersArgs) -> Result<(), Failure> {
    let cluster = client.describe_cluster().await.doing(|| "cannot list brokers".to_owned())?;
    let mut brokers: Vec<_> = cluster
        .brokers
        .into_iter()
        .map(|broker| ListedBroker {
            id: broker.broker_id.0,
            host: broker.host.to_string(),
            port: broker.port,
            rack: broker.rack.map(|rack| rack.to_string()),
            fenced: broker.is_fenced,
        })
        .collect();
    brokers.sort_by_key(|broker| broker.id);
    let answer = Listed {
        cluster_id: cluster.cluster_id.to_string(),
        controller: Some(cluster.controller_id.0).filter(|id| *id >= 0),
        brokers,
    };
    args.output.answer(&answer, |answer| {
        let rows = answer.brokers.iter().map(|broker| {
            vec![
                broker.id.to_string(),
                format!("{}:{}", broker.host, broker.port),
                or_dash(broker.rack.as_ref()),
                if broker.fenced { "fenced" } else { "unfenced" }.to_owned(),
            ]
        });
        table(&["id", "address", "rack", "state"], rows)
    })
}

async fn describe(
    client: &Client,
    args: &BrokersArgs,
    broker: i32,
    all: bool,
) -> Result<(), Failure> {
    let configs = client.describe_configs(ResourceKind::Broker, &broker.to_string()).await;
    let mut configs = configs.doing(|| format!("cannot describe broker {broker}"))?;
    configs.retain(|entry| all || entry.source != "default");
    args.output.answer(&Described { id: broker, configs }, |answer| config_table(&answer.configs))
}

/// Keys and values, however they were set.
pub fn config_table(configs: &[ConfigEntry]) -> String {
    let rows = configs.iter().map(|entry| {
        let value =
            if entry.sensitive { "(hidden)".to_owned() } else { or_dash(entry.value.as_ref()) };
        vec![entry.name.clone(), value, entry.source.to_owned()]
    });
    table(&["key", "value", "source"], rows)
}
