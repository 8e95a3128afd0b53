//! Questions to an image.

use crate::replica::View;
use crate::{BrokerEpoch, Guard, NodeId, Rules, TopicId, TopicPartition};

use super::config::{self, MIN_INSYNC_REPLICAS, UNCLEAN_LEADER_ELECTION};
use super::partition::{Brokers, Policy};
use super::record::Endpoint;
use super::{Broker, Image, Partition, ResourceKind, Topic};

impl Image {
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(&id).map(|topic| &**topic)
    }

    pub fn topic_named(&self, name: &str) -> Option<&Topic> {
        self.topic(*self.topic_ids.get(name)?)
    }

    pub fn partition(&self, id: TopicPartition) -> Option<&Partition> {
        self.topic(id.topic)?.partitions.get(usize::try_from(id.partition).ok()?)
    }

    /// Every partition, by topic id and number.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &Partition)> {
        self.topics.values().flat_map(|topic| topic.numbered())
    }

    pub fn broker(&self, id: NodeId) -> Option<&Broker> {
        self.brokers.get(&id).map(|broker| &**broker)
    }

    /// Where the broker's listener of this name can be reached.
    pub fn endpoint(&self, broker: NodeId, listener: &str) -> Option<&Endpoint> {
        self.broker(broker)?.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }

    /// B5, in order of their ids.
    pub fn active_brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values().map(|broker| &**broker).filter(|broker| broker.is_active())
    }

    /// A dynamic value that was set for exactly this resource.
    pub fn config(&self, kind: ResourceKind, resource: &str, name: &str) -> Option<&str> {
        let configs = self.configs.get(&(kind, resource.to_owned()))?;
        configs.get(name).map(String::as_str)
    }

    /// What is in force for a topic: its own value, else the cluster's dynamic default under the
    /// broker's name for the same key, else `default`, which the node's configuration says.
    pub fn topic_config<'a>(&'a self, topic: &str, name: &str, default: &'a str) -> &'a str {
        self.config(ResourceKind::Topic, topic, name)
            .or_else(|| self.config(ResourceKind::Broker, "", config::broker_name(name)))
            .unwrap_or(default)
    }

    /// What a topic's configuration says about its partitions. The defaults are the node's.
    pub fn policy(&self, topic: &str, default: Policy) -> Policy {
        let text = |name| {
            self.config(ResourceKind::Topic, topic, name)
                .or_else(|| self.config(ResourceKind::Broker, "", config::broker_name(name)))
        };
        let parsed = |name| text(name).and_then(|value| value.trim().parse::<i32>().ok());
        Policy {
            min_isr: parsed(MIN_INSYNC_REPLICAS).unwrap_or(default.min_isr),
            unclean: text(UNCLEAN_LEADER_ELECTION)
                .map_or(default.unclean, |value| value.trim().eq_ignore_ascii_case("true")),
        }
    }

    /// Whether `broker`, registered under `registration`, may act on this image (L6). One from
    /// before its registration may name it leader of an epoch in which it led before it restarted
    /// and lost what it had not flushed.
    pub fn speaks_to<R: Rules>(&self, rules: R, broker: NodeId, registration: BrokerEpoch) -> bool {
        self.epoch(broker) == Some(registration) || !rules.holds(Guard::ViewWithoutRegistration)
    }

    /// What a replica of this partition needs to know; `None` if there is no such partition.
    /// `default_min_isr` and `flush_before_ack` are the node's configuration.
    pub fn replica_view(
        &self,
        id: TopicPartition,
        default_min_isr: i32,
        flush_before_ack: bool,
    ) -> Option<View> {
        let partition = *self.partition(id)?;
        let topic = self.topic(id.topic)?;
        let default = Policy { min_isr: default_min_isr, unclean: false };
        let brokers = partition
            .replicas
            .iter()
            .filter_map(|&replica| self.broker(replica))
            .map(|broker| (broker.id, broker.epoch, broker.is_active()))
            .collect();
        let min_isr = self.policy(&topic.name, default).min_isr;
        Some(View { partition, min_isr, brokers, flush_before_ack })
    }
}

impl Topic {
    /// The partitions with their names.
    pub fn numbered(&self) -> impl Iterator<Item = (TopicPartition, &Partition)> {
        let id = |number| TopicPartition { topic: self.id, partition: number };
        (0..).zip(&self.partitions).map(move |(number, partition)| (id(number), partition))
    }
}

impl Brokers for Image {
    fn is_active(&self, broker: NodeId) -> bool {
        self.broker(broker).is_some_and(Broker::is_active)
    }

    fn epoch(&self, broker: NodeId) -> Option<BrokerEpoch> {
        self.broker(broker).map(|broker| broker.epoch)
    }
}
