//! One partition on its shard.

use std::path::Path;
use std::sync::Arc;

use kraft_model::log::Log;
use kraft_model::metadata::{Image, Partition};
use kraft_model::replay::Track;
use kraft_model::replica::{Readable, Replica};
use kraft_model::{EpochEnd, ErrorCode, NodeId, Offset, Shipped};

use crate::config::registry::topic_key;
use crate::config::{FlushPolicy, NodeConfig};
use crate::kafka::FetchItem;
use crate::kafka::effective::Effective;
use crate::storage::{LogConfig, PartitionLog, ReadPlan};

/// A replica, its log, and what the shell must know to serve them. Ten thousand of these are on one
/// broker: what only some partitions need at a time is kept beside them.
pub(super) struct Slot {
    pub replica: Replica<Shipped>,
    /// The replica in the trace, if there is one.
    pub track: Option<Track>,
    pub log: PartitionLog,
    pub topic: Arc<str>,
    pub settings: Arc<Settings>,
    /// The log directory that the partition's own one is in.
    pub directory: Arc<Path>,
    pub partition: Partition,
    pub is_offline: bool,
}

/// A topic's configuration as far as a replica's shell needs it; shared by the topic's partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    pub log: LogConfig,
    pub max_message_bytes: usize,
    pub log_append_time: bool,
}

/// What a consumer's fetch of one partition is answered with, once `plan` has run.
pub(super) struct ClientRead {
    pub high_watermark: Offset,
    pub log_start: Offset,
    pub diverging: Option<EpochEnd>,
    pub plan: ReadPlan,
    pub max_bytes: usize,
}

impl Slot {
    /// # Errors
    /// KAFKA_STORAGE_ERROR if the partition's disk failed.
    pub fn usable(&self) -> Result<(), ErrorCode> {
        if self.is_offline { Err(ErrorCode::KafkaStorageError) } else { Ok(()) }
    }

    pub fn start(&self) -> Offset {
        self.log.start()
    }

    pub fn end(&self) -> Offset {
        self.log.end()
    }

    /// Whether this broker leads, and `peer` has a replica as well.
    pub fn leads_with(&self, peer: NodeId) -> bool {
        self.replica.is_leader() && self.partition.replicas.contains(&peer)
    }

    /// Plans a consumer's read of at most `room` bytes, below the high watermark (F2).
    pub fn client_read(&self, item: &FetchItem, room: usize) -> Result<ClientRead, ErrorCode> {
        self.usable()?;
        let (readable, diverging) =
            self.replica.consumed(&self.log, item.leader_epoch, item.offset, item.last_epoch)?;
        let Readable { log_start, high_watermark, .. } = readable;
        let is_empty = diverging.is_some() || room == 0;
        let below = if is_empty { item.offset } else { high_watermark };
        let max_bytes = item.max_bytes.min(room);
        let plan = self.read(item.offset, max_bytes, below)?;
        Ok(ClientRead { high_watermark, log_start, diverging, plan, max_bytes })
    }

    /// Plans a follower's read, up to the log's end.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        below: Offset,
    ) -> Result<ReadPlan, ErrorCode> {
        self.log.read(from, max_bytes, below).map_err(|error| {
            tracing::warn!(topic = %self.topic, %from, %error, "cannot read a log");
            ErrorCode::KafkaStorageError
        })
    }
}

impl Settings {
    /// What is in force for a topic, which is what DescribeConfigs tells of it: its own configuration,
    /// else this broker's, the cluster's, the node's. (What the controller must see alike, as
    /// `min.insync.replicas`, is in the view.)
    pub fn of(topic: &str, image: &Image, config: &NodeConfig) -> Settings {
        let effective = Effective { image, config };
        let text = |name: &str| {
            let first =
                topic_key(name).and_then(|key| effective.topic(topic, key).into_iter().next());
            first.and_then(|setting| setting.value).unwrap_or_default().trim().to_owned()
        };
        let number = |name: &str, default: i64| text(name).parse::<i64>().unwrap_or(default);
        let standard = LogConfig::default();
        let deletes =
            text("cleanup.policy").is_empty() || text("cleanup.policy").contains("delete");
        let forever = |kept: i64| if deletes { kept } else { -1 };
        Settings {
            log: LogConfig {
                segment_bytes: number("segment.bytes", config.segment_bytes as i64) as u64,
                segment_ms: number("segment.ms", standard.segment_ms),
                index_interval_bytes: number("index.interval.bytes", 4096) as u32,
                retention_ms: forever(number("retention.ms", standard.retention_ms)),
                retention_bytes: forever(number("retention.bytes", standard.retention_bytes)),
                sync_on_open: config.flush == FlushPolicy::BeforeAck,
            },
            max_message_bytes: number("max.message.bytes", 1_048_588).max(0) as usize,
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kraft_model::metadata::ResourceKind;

    use super::*;

    fn with(image: &mut Image, kind: ResourceKind, resource: &str, key: &str, value: &str) {
        let set = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        image.configs.insert((kind, resource.to_owned()), Arc::new(set));
    }

    #[test]
    fn a_topic_has_its_own_value_else_this_brokers_else_the_clusters_else_the_nodes() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let given = [("log.retention.hours", "1"), ("log.segment.bytes", "2000000")];
        let config = NodeConfig::on_loopback(NodeId(1), home.path(), &given);
        let config = config.expect("the test's configuration is right");
        let mut image = Image::default();
        let kept = |image: &Image| Settings::of("t", image, &config).log.retention_ms;
        assert_eq!(kept(&image), 3_600_000);
        assert_eq!(Settings::of("t", &image, &config).log.segment_bytes, 2_000_000);
        with(&mut image, ResourceKind::Broker, "", "log.retention.ms", "40");
        assert_eq!(kept(&image), 40);
        with(&mut image, ResourceKind::Broker, "2", "log.retention.ms", "50");
        assert_eq!(kept(&image), 40, "another broker's");
        with(&mut image, ResourceKind::Broker, "1", "log.retention.ms", "60");
        assert_eq!(kept(&image), 60);
        with(&mut image, ResourceKind::Topic, "t", "retention.ms", "70");
        assert_eq!(kept(&image), 70);
    }
}
