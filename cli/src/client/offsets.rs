//! Where partitions begin and end, asked of their leaders.

use std::collections::BTreeMap;

use proto_kafka::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use proto_kafka::messages::{ApiKey, BrokerId, ListOffsetsRequest};

use super::admin::topic_name;
use super::retry::retrying;
use super::{Client, ClientError};

/// ListOffsets' names for the two ends of a log.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

impl Client {
    pub async fn earliest_offsets(
        &self,
        topic: &str,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, i64>, ClientError> {
        self.list_offsets(topic, partitions, EARLIEST).await
    }

    /// The high watermarks: what a consumer may read up to, exclusive.
    pub async fn latest_offsets(
        &self,
        topic: &str,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, i64>, ClientError> {
        self.list_offsets(topic, partitions, LATEST).await
    }

    /// The high watermarks of partitions in these leader epochs, as the broker that is asked has them,
    /// or the code with which it refuses: it is asked once, and must be the bootstrap broker.
    pub async fn high_watermarks(
        &self,
        asked: &[(&str, i32, i32)],
    ) -> Result<BTreeMap<(String, i32), Result<i64, i16>>, ClientError> {
        let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for &(topic, partition, leader_epoch) in asked {
            let wanted = ListOffsetsPartition::default()
                .with_partition_index(partition)
                .with_current_leader_epoch(leader_epoch)
                .with_timestamp(LATEST);
            topics.entry(topic).or_default().push(wanted);
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            ListOffsetsTopic::default().with_name(topic_name(name)).with_partitions(partitions)
        });
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(topics.collect());
        let response = self.any().await?.call(&request, self.options().request_timeout).await?;
        let mut found = BTreeMap::new();
        for topic in response.topics {
            for answer in topic.partitions {
                let result = match answer.error_code {
                    0 => Ok(answer.offset),
                    code => Err(code),
                };
                found.insert((topic.name.to_string(), answer.partition_index), result);
            }
        }
        Ok(found)
    }

    async fn list_offsets(
        &self,
        topic: &str,
        partitions: &[i32],
        timestamp: i64,
    ) -> Result<BTreeMap<i32, i64>, ClientError> {
        let mut offsets = BTreeMap::new();
        retrying(self.options().total_timeout, async || {
            let missing = partitions.iter().copied().filter(|p| !offsets.contains_key(p));
            let missing: Vec<i32> = missing.collect();
            for (leader, partitions) in self.by_leader(topic, &missing).await? {
                self.list_offsets_of(leader, topic, &partitions, timestamp, &mut offsets).await?;
            }
            Ok(())
        })
        .await?;
        Ok(offsets)
    }

    async fn list_offsets_of(
        &self,
        leader: i32,
        topic: &str,
        partitions: &[i32],
        timestamp: i64,
        offsets: &mut BTreeMap<i32, i64>,
    ) -> Result<(), ClientError> {
        let asked = partitions.iter().map(|&partition| {
            ListOffsetsPartition::default()
                .with_partition_index(partition)
                .with_current_leader_epoch(-1)
                .with_timestamp(timestamp)
        });
        let topics = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(asked.collect());
        let request =
            ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topics]);
        let timeout = self.options().request_timeout;
        let response = self.broker(leader).await?.call(&request, timeout).await?;
        for answer in response.topics.into_iter().flat_map(|topic| topic.partitions) {
            if answer.error_code != 0 {
                self.forget_leader(topic, answer.partition_index);
            }
            ClientError::check(ApiKey::ListOffsets, answer.error_code, None)?;
            offsets.insert(answer.partition_index, answer.offset);
        }
        Ok(())
    }

    /// `partitions` by their leaders, after a refresh if any leader is unknown.
    pub async fn by_leader(
        &self,
        topic: &str,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, Vec<i32>>, ClientError> {
        if partitions.iter().any(|&p| self.cached_leader(topic, p).is_none()) {
            let known = self.refresh_topic(topic).await?;
            let unknown = |p: &&i32| known.partitions.iter().all(|metadata| metadata.index != **p);
            if let Some(&partition) = partitions.iter().find(unknown) {
                return Err(ClientError::UnknownPartition { topic: topic.to_owned(), partition });
            }
        }
        let mut leaders: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for &partition in partitions {
            let leader = self.cached_leader(topic, partition);
            let leader = leader
                .ok_or_else(|| ClientError::NoLeader { topic: topic.to_owned(), partition })?;
            leaders.entry(leader).or_default().push(partition);
        }
        Ok(leaders)
    }
}
