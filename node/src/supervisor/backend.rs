//! The broker behind the client listener: metadata from the image, data from the shards, decisions
//! from the active controller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kraft_model::limits::PRODUCER_ID_BLOCK;
use kraft_model::metadata::{Broker, Image, Request, Response};
use kraft_model::raft::{VoterChange, VoterChangeError};
use kraft_model::replica::Acks;
use kraft_model::{
    BrokerEpoch, ClusterId, EpochEnd, ErrorCode, LeaderEpoch, NodeId, Offset, TopicPartition,
};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout_at;

use crate::actor::controller_client::ControllerClient;
use crate::actor::shard::Partitions;
use crate::config::NodeConfig;
use crate::kafka::{
    Backend, FetchSpec, FetchedItem, LatelyFenced, ListOffset, ListedOffset, LogDirInfo,
    ProduceItem, Produced, Turn,
};
use crate::peer::QuorumView;
use crate::storage::VoterEndpoint;

/// How long a client's question about the quorum or for a producer id may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// One broker's back end; cloned for every connection.
#[derive(Clone)]
pub struct BrokerBackend {
    pub config: Arc<NodeConfig>,
    pub cluster: ClusterId,
    pub image: watch::Receiver<Arc<Image>>,
    pub lately_fenced: LatelyFenced,
    pub leader: watch::Receiver<Option<NodeId>>,
    pub broker_epoch: watch::Receiver<BrokerEpoch>,
    pub partitions: Partitions,
    pub controller: ControllerClient,
    pub producer_ids: Arc<Mutex<std::ops::Range<i64>>>,
}

impl Backend for BrokerBackend {
    fn config(&self) -> &Arc<NodeConfig> {
        &self.config
    }

    fn image(&self) -> Arc<Image> {
        self.image.borrow().clone()
    }

    async fn image_changed(&self, seen: Offset) {
        let mut image = self.image.clone();
        // The sender lives as long as the process.
        let _ = image.wait_for(|image| image.end > seen).await;
    }

    fn lists(&self, broker: &Broker) -> bool {
        self.lately_fenced.lists(broker, Instant::now())
    }

    fn cluster_id(&self) -> ClusterId {
        self.cluster
    }

    fn active_controller(&self) -> Option<NodeId> {
        *self.leader.borrow()
    }

    async fn controller(&self, request: Request, timeout: Duration) -> Response {
        self.controller.request(request, timeout).await
    }

    async fn append(
        &self,
        items: Vec<ProduceItem>,
        acks: Acks,
        timeout: Duration,
        turn: Turn,
    ) -> Vec<Result<Produced, ErrorCode>> {
        self.partitions.append(items, acks, timeout, turn).await
    }

    async fn fetch(&self, spec: FetchSpec) -> Vec<FetchedItem> {
        self.partitions.fetch(spec).await
    }

    async fn list_offset(
        &self,
        partition: TopicPartition,
        leader_epoch: Option<LeaderEpoch>,
        query: ListOffset,
    ) -> Result<ListedOffset, ErrorCode> {
        self.partitions.list_offset(partition, leader_epoch, query).await
    }

    async fn end_of_epoch(
        &self,
        partition: TopicPartition,
        current: Option<LeaderEpoch>,
        epoch: LeaderEpoch,
    ) -> Result<EpochEnd, ErrorCode> {
        self.partitions.end_of_epoch(partition, current, epoch).await
    }

    async fn delete_records(
        &self,
        partition: TopicPartition,
        before: i64,
    ) -> Result<Offset, ErrorCode> {
        self.partitions.delete_records(partition, before).await
    }

    async fn producer_id(&self) -> Result<i64, ErrorCode> {
        let deadline = Instant::now() + PATIENCE;
        // Others may wait for the controller in turn: nobody waits for all of them.
        let Ok(mut block) = timeout_at(deadline.into(), self.producer_ids.lock()).await else {
            return Err(ErrorCode::CoordinatorLoadInProgress);
        };
        if let Some(id) = block.next() {
            return Ok(id);
        }
        let epoch = *self.broker_epoch.borrow();
        let request = Request::AllocateProducerIds { broker: self.config.node_id, epoch };
        let left = deadline.saturating_duration_since(Instant::now());
        match self.controller.request(request, left).await {
            Response::AllocateProducerIds(Ok(first)) => {
                *block = first + 1..first + PRODUCER_ID_BLOCK;
                Ok(first)
            }
            Response::AllocateProducerIds(Err(code)) => Err(code),
            // Clients take this for "try again", which is what it means (KAFKA-8803).
            _ => Err(ErrorCode::CoordinatorLoadInProgress),
        }
    }

    async fn quorum(&self) -> Result<QuorumView, ErrorCode> {
        self.controller.describe(PATIENCE).await.ok_or(ErrorCode::RequestTimedOut)
    }

    async fn change_voters(
        &self,
        change: VoterChange,
        endpoints: Vec<VoterEndpoint>,
        timeout: Duration,
    ) -> Result<(), VoterChangeError> {
        self.controller.change_voters(change, endpoints, timeout).await
    }

    async fn log_dirs(&self) -> Vec<LogDirInfo> {
        self.partitions.log_dirs().await
    }
}
