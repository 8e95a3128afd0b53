//! When is a cluster ready? When every broker names every broker: all are registered and unfenced.
//! A cluster without brokers is ready when its controllers name a leader.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::layout::Cluster;
use crate::client::{Client, ClientOptions};
use crate::quorum;

const POLL: Duration = Duration::from_millis(10);
/// One question; a broker that is only starting refuses at once.
const QUESTION: Duration = Duration::from_secs(1);

/// Returns true when all are ready, false at `deadline`.
pub async fn wait_until_ready(cluster: &Cluster, deadline: Instant) -> bool {
    let brokers = cluster.brokers().count();
    if brokers == 0 {
        let led = leader_is_known(cluster.controllers());
        return tokio::time::timeout_at(deadline.into(), led).await.is_ok();
    }
    let mut waits = JoinSet::new();
    for address in cluster.bootstrap() {
        waits.spawn(async move {
            let options = ClientOptions {
                connect_timeout: QUESTION,
                request_timeout: QUESTION,
                ..ClientOptions::new(vec![address])
            };
            let client = Client::new(options);
            loop {
                // A fresh list at every try: nothing here may come from a cache.
                if let Ok(metadata) = client.refresh(Some(&[])).await
                    && metadata.brokers.len() >= brokers
                {
                    return;
                }
                tokio::time::sleep(POLL).await;
            }
        });
    }
    let all = async { while waits.join_next().await.is_some() {} };
    tokio::time::timeout_at(deadline.into(), all).await.is_ok()
}

async fn leader_is_known(controllers: Vec<String>) {
    while !quorum::ask(&controllers).await.is_ok_and(|quorum| quorum.leader.is_some()) {
        tokio::time::sleep(POLL).await;
    }
}
