//! Up to where partitions are committed: asked of their leaders, or read in checkpoints.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use kraft_model::invariant::replica::electable;
use kraft_model::metadata::Image;
use kraft_model::{ErrorCode, NodeId, Offset, TopicPartition};

use super::homes::Homes;
use crate::client::{Client, ClientOptions};

/// How long a leader may take to tell its high watermarks.
const PATIENCE: Duration = Duration::from_secs(2);

/// As the leaders say, each asked once for all that it leads; where the leader does not run, as the
/// checkpoints of those who may be elected say.
pub async fn high_watermarks(
    image: &Image,
    homes: &Homes<'_>,
    wanted: &[TopicPartition],
) -> BTreeMap<TopicPartition, Result<Offset, String>> {
    let mut found = BTreeMap::new();
    let mut led: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
    for id in wanted {
        let Some((topic, partition)) = image.topic(id.topic).zip(image.partition(*id)) else {
            continue;
        };
        match partition.leader.filter(|leader| homes.get(leader).is_some_and(|home| home.runs)) {
            Some(leader) => led.entry(leader).or_default().push(*id),
            None => {
                let key = (topic.name.to_string(), id.partition);
                let known = electable(partition).iter().filter_map(|member| homes.get(member));
                let marks = known.filter_map(|home| home.high_watermarks.get(&key).copied());
                found.insert(*id, Ok(marks.max().unwrap_or(Offset::ZERO)));
            }
        }
    }
    let asked = led.iter().filter_map(|(leader, partitions)| {
        let port = homes.get(leader)?.node.broker_port?;
        let options = ClientOptions::new(vec![format!("127.0.0.1:{port}")]);
        let (connect_timeout, request_timeout) = (PATIENCE, PATIENCE);
        let client = Client::new(ClientOptions { connect_timeout, request_timeout, ..options });
        Some(ask(image, client, *leader, partitions))
    });
    found.extend(join_all(asked).await.into_iter().flatten());
    found
}

async fn ask(
    image: &Image,
    client: Client,
    leader: NodeId,
    partitions: &[TopicPartition],
) -> BTreeMap<TopicPartition, Result<Offset, String>> {
    let question = |id: &TopicPartition| {
        let topic = image.topic(id.topic)?;
        Some((&*topic.name, id.partition, image.partition(*id)?.leader_epoch.0))
    };
    let asked: Vec<_> = partitions.iter().filter_map(question).collect();
    let said = match client.high_watermarks(&asked).await {
        Ok(said) => said,
        Err(error) => {
            let why = format!("its leader, node {leader}, cannot be asked: {error}");
            return partitions.iter().map(|id| (*id, Err(why.clone()))).collect();
        }
    };
    let answer = |id: &TopicPartition| {
        let key = (image.topic(id.topic)?.name.to_string(), id.partition);
        let found = said.get(&key)?.map(Offset).map_err(|code| {
            let known = ErrorCode::from_code(code).map(|code| format!("{code:?}"));
            let code = known.unwrap_or_else(|| code.to_string());
            format!("its leader, node {leader}, does not tell its high watermark: {code}")
        });
        Some((*id, found))
    };
    partitions.iter().filter_map(answer).collect()
}
