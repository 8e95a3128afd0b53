//! When is a cluster ready? When every broker names every broker: all are registered and unfenced.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::layout::Cluster;
use crate::client::{Client, ClientOptions};

const POLL: Duration = Duration::from_millis(10);
/// One question; a broker that is only starting refuses at once.
const QUESTION: Duration = Duration::from_secs(1);

/// Returns true when all are ready, false at `deadline`.
pub async fn wait_until_ready(cluster: &Cluster, deadline: Instant) -> bool {
    let brokers = cluster.brokers().count();
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
