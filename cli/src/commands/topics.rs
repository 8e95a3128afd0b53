//! `kraft topics`.

use serde::Serialize;

use super::{Target, block_on, key_value};
use crate::client::is_unknown_topic;
use crate::client::{AlterOp, Client, ConfigEntry, NewTopic, ResourceKind, TopicMetadata};
use crate::output::{OutputArgs, list, or_dash, table};
use crate::report::{Context, Failure};

/// Create, list, describe, alter and delete topics
///
/// JSON: list: [{name, id, partitions, replication_factor, internal}]; describe: [{name, id,
/// internal, partitions: [{partition, leader, leader_epoch, replicas, isr, offline}], configs:
/// [{name, value, source, read_only, sensitive}]}]; create, alter, delete: {topic, done}.
#[derive(Debug, clap::Args)]
pub struct TopicsArgs {
    #[command(subcommand)]
    command: TopicsCommand,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Subcommand)]
enum TopicsCommand {
    /// Create a topic
    Create {
        topic: String,
        /// [default: the brokers' num.partitions]
        #[arg(long, short)]
        partitions: Option<i32>,
        /// [default: the brokers' default.replication.factor]
        #[arg(long, short)]
        replication_factor: Option<i16>,
        /// A topic configuration; may be repeated
        #[arg(long, short, value_name = "KEY=VALUE", value_parser = key_value)]
        config: Vec<(String, String)>,
        /// It is fine if the topic exists already
        #[arg(long)]
        if_not_exists: bool,
        /// Only check whether it could be created
        #[arg(long)]
        dry_run: bool,
    },
    /// List all topics
    List {
        /// Internal ones too
        #[arg(long)]
        internal: bool,
    },
    /// Show partitions, leaders, replicas, ISR and configuration that is not default
    Describe {
        /// [default: all]
        topics: Vec<String>,
        /// Only partitions whose ISR is smaller than their replica set
        #[arg(long)]
        under_replicated: bool,
    },
    /// Raise the partition count or change configuration
    Alter {
        topic: String,
        /// The new count in all; it can only grow
        #[arg(long, short)]
        partitions: Option<i32>,
        #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
        set: Vec<(String, String)>,
        /// Back to the default
        #[arg(long, value_name = "KEY")]
        delete: Vec<String>,
    },
    /// Delete topics and all their records
    Delete {
        #[arg(required = true)]
        topics: Vec<String>,
        /// It is fine if a topic does not exist
        #[arg(long)]
        if_exists: bool,
    },
}

#[derive(Serialize)]
struct Done<'a> {
    topic: &'a str,
    done: &'a str,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    id: String,
    partitions: usize,
    replication_factor: usize,
    internal: bool,
}

#[derive(Serialize)]
struct Described {
    name: String,
    id: String,
    internal: bool,
    partitions: Vec<DescribedPartition>,
    configs: Vec<ConfigEntry>,
}

#[derive(Serialize)]
struct DescribedPartition {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    offline: Vec<i32>,
}

pub fn run(args: &TopicsArgs) -> Result<(), Failure> {
    let client = args.target.client()?;
    block_on(async {
        match &args.command {
            TopicsCommand::Create { .. } => create(&client, args).await,
            TopicsCommand::List { internal } => topics_list(&client, args, *internal).await,
            TopicsCommand::Describe { topics, under_replicated } => {
                describe(&client, args, topics, *under_replicated).await
            }
            TopicsCommand::Alter { topic, partitions, set, delete } => {
                alter(&client, topic, *partitions, set, delete).await?;
                done(args, topic, "altered")
            }
            TopicsCommand::Delete { topics, if_exists } => {
                for topic in topics {
                    match client.delete_topic(topic).await {
                        Ok(()) => done(args, topic, "deleted")?,
                        Err(error) if *if_exists && is_unknown_topic(&error) => {
                            done(args, topic, "absent")?;
                        }
                        error => error.doing(|| format!("cannot delete topic '{topic}'"))?,
                    }
                }
                Ok(())
            }
        }
    })
}

fn done(args: &TopicsArgs, topic: &str, done: &str) -> Result<(), Failure> {
    args.output.answer(&Done { topic, done }, |_| format!("topic '{topic}': {done}"))
}

async fn create(client: &Client, args: &TopicsArgs) -> Result<(), Failure> {
    let TopicsCommand::Create {
        topic,
        partitions,
        replication_factor,
        config,
        if_not_exists,
        dry_run,
    } = &args.command
    else {
        return Ok(());
    };
    let wanted = NewTopic {
        name: topic.clone(),
        partitions: *partitions,
        replication_factor: *replication_factor,
        configs: config.clone(),
    };
    let exists = kraft_model::ErrorCode::TopicAlreadyExists.code();
    match client.create_topic(&wanted, *dry_run).await {
        Ok(()) if *dry_run => done(args, topic, "could be created"),
        Ok(()) => done(args, topic, "created"),
        Err(error) if *if_not_exists && error.code() == Some(exists) => done(args, topic, "exists"),
        error => error.doing(|| format!("cannot create topic '{topic}'")),
    }
}

async fn topics_list(client: &Client, args: &TopicsArgs, internal: bool) -> Result<(), Failure> {
    let metadata = client.metadata(None).await.doing(|| "cannot list the topics".to_owned())?;
    let shown = metadata.topics.into_values().filter(|topic| internal || !topic.internal);
    let topics: Vec<Listed> = shown
        .map(|topic| Listed {
            replication_factor: topic.partitions.first().map_or(0, |first| first.replicas.len()),
            id: kafka_id(topic.id),
            name: topic.name,
            partitions: topic.partitions.len(),
            internal: topic.internal,
        })
        .collect();
    args.output.answer(&topics, |topics| {
        if topics.is_empty() {
            return "no topics".to_owned();
        }
        let rows = topics.iter().map(|topic| {
            vec![
                topic.name.clone(),
                topic.partitions.to_string(),
                topic.replication_factor.to_string(),
                topic.id.clone(),
            ]
        });
        table(&["name", "partitions", "replicas", "id"], rows)
    })
}

async fn describe(
    client: &Client,
    args: &TopicsArgs,
    topics: &[String],
    under_replicated: bool,
) -> Result<(), Failure> {
    let described: Vec<TopicMetadata> = if topics.is_empty() {
        let all = client.metadata(None).await.doing(|| "cannot list the topics".to_owned())?;
        all.topics.into_values().collect()
    } else {
        let mut described = Vec::new();
        for topic in topics {
            let found = client.existing_topic(topic).await;
            described.push(found.doing(|| format!("cannot describe topic '{topic}'"))?);
        }
        described
    };
    let mut answer = Vec::new();
    for topic in described {
        let configs = client.describe_configs(ResourceKind::Topic, &topic.name).await;
        let configs = configs.doing(|| format!("cannot describe topic '{}'", topic.name))?;
        answer.push(Described {
            id: kafka_id(topic.id),
            internal: topic.internal,
            configs: configs.into_iter().filter(|entry| entry.source == "dynamic-topic").collect(),
            partitions: described_partitions(&topic, under_replicated),
            name: topic.name,
        });
    }
    args.output.answer(&answer, |answer| answer.iter().map(describe_table).collect())
}

fn described_partitions(topic: &TopicMetadata, under_replicated: bool) -> Vec<DescribedPartition> {
    let shown = |isr: usize, replicas: usize| !under_replicated || isr < replicas;
    let partitions = topic.partitions.iter();
    let partitions = partitions.filter(|p| shown(p.isr.len(), p.replicas.len()));
    partitions
        .map(|p| DescribedPartition {
            partition: p.index,
            leader: p.leader,
            leader_epoch: p.leader_epoch,
            replicas: p.replicas.clone(),
            isr: p.isr.clone(),
            offline: p.offline.clone(),
        })
        .collect()
}

fn describe_table(topic: &Described) -> String {
    let configs: Vec<String> = topic
        .configs
        .iter()
        .map(|entry| format!("{}={}", entry.name, or_dash(entry.value.as_ref())))
        .collect();
    let rows = topic.partitions.iter().map(|partition| {
        vec![
            partition.partition.to_string(),
            or_dash(partition.leader),
            partition.leader_epoch.to_string(),
            list(&partition.replicas),
            list(&partition.isr),
            list(&partition.offline),
        ]
    });
    let header = ["partition", "leader", "epoch", "replicas", "isr", "offline"];
    format!(
        "topic {} ({}), configuration: {}\n{}\n",
        topic.name,
        topic.id,
        list(&configs),
        table(&header, rows)
    )
}

async fn alter(
    client: &Client,
    topic: &str,
    partitions: Option<i32>,
    set: &[(String, String)],
    delete: &[String],
) -> Result<(), Failure> {
    let set = set.iter().map(|(key, value)| AlterOp::Set(key.clone(), value.clone()));
    let delete = delete.iter().map(|key| AlterOp::Delete(key.clone()));
    let changes: Vec<_> = set.chain(delete).collect();
    if partitions.is_none() && changes.is_empty() {
        return Err(Failure::usage(format!("what is to change about topic '{topic}'?"))
            .next("pass --partitions, --set KEY=VALUE or --delete KEY"));
    }
    let failed = || format!("cannot alter topic '{topic}'");
    if let Some(count) = partitions {
        client.create_partitions(topic, count).await.doing(failed)?;
    }
    if !changes.is_empty() {
        let altered = client.alter_configs(ResourceKind::Topic, topic, &changes, false).await;
        altered.doing(failed)?;
    }
    Ok(())
}

/// A topic's id in the form that Kafka prints.
fn kafka_id(id: uuid::Uuid) -> String {
    kraft_model::TopicId(id.as_u128()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_described_with_a_row_per_partition() {
        let partition = |partition, leader| DescribedPartition {
            partition,
            leader,
            leader_epoch: 3,
            replicas: vec![4, 5],
            isr: vec![4],
            offline: vec![],
        };
        let text = describe_table(&Described {
            name: "orders".to_owned(),
            id: "x".to_owned(),
            internal: false,
            partitions: vec![partition(0, Some(4)), partition(1, None)],
            configs: vec![],
        });
        assert!(text.starts_with("topic orders (x), configuration: -\n"));
        assert!(text.contains("\n0          4       3      4,5       4    -\n"));
        assert!(text.contains("\n1          -       3"));
    }
}
