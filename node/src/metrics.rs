//! What a node measures of itself, and the endpoint that shows it: `/metrics` in Prometheus' text
//! format and `/health` for probes.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tracing::debug;

use crate::actor::shard;

/// The metrics of one process. Every field is explained where it is registered.
#[derive(Debug, Default)]
pub struct Metrics {
    pub quorum_epoch: Gauge,
    pub quorum_leader: Gauge,
    pub active_controller: Gauge,
    pub metadata_offset: Gauge,
    pub brokers_registered: Gauge,
    pub brokers_active: Gauge,
    pub topics: Gauge,
    pub elections: Counter,
    pub peers_gone: Counter,
    /// Whether the node does what its roles promise; see [`Metrics::is_healthy`].
    broker_serves: AtomicBool,
    controller_knows_leader: AtomicBool,
    is_broker: AtomicBool,
    is_controller: AtomicBool,
    partitions: OnceLock<Arc<shard::Metrics>>,
}

impl Metrics {
    pub fn roles(&self, controller: bool, broker: bool) {
        self.is_controller.store(controller, Ordering::Relaxed);
        self.is_broker.store(broker, Ordering::Relaxed);
    }

    pub fn leader_known(&self, known: bool) {
        self.controller_knows_leader.store(known, Ordering::Relaxed);
    }

    pub fn serving(&self, serves: bool) {
        self.broker_serves.store(serves, Ordering::Relaxed);
    }

    /// A broker is healthy while it is unfenced, a controller while it knows the quorum's leader.
    pub fn is_healthy(&self) -> bool {
        let broker =
            !self.is_broker.load(Ordering::Relaxed) || self.broker_serves.load(Ordering::Relaxed);
        let controller = !self.is_controller.load(Ordering::Relaxed)
            || self.controller_knows_leader.load(Ordering::Relaxed);
        broker && controller
    }

    /// The broker's partitions count for themselves.
    pub fn of_partitions(&self, partitions: Arc<shard::Metrics>) {
        // Set once, at start.
        let _ = self.partitions.set(partitions);
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("kraft");
        let gauges: [(&str, &str, &Gauge); 7] = [
            ("quorum_epoch", "Epoch of the controller quorum", &self.quorum_epoch),
            (
                "quorum_leader",
                "node.id of the active controller, -1 if unknown",
                &self.quorum_leader,
            ),
            ("controller_active", "1 on the active controller", &self.active_controller),
            ("metadata_offset", "Metadata replayed up to this offset", &self.metadata_offset),
            ("brokers_registered", "Brokers that are registered", &self.brokers_registered),
            ("brokers_active", "Brokers that are unfenced and not stopping", &self.brokers_active),
            ("topics", "Topics in the cluster", &self.topics),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        let counters: [(&str, &str, &Counter); 2] = [
            ("elections", "Leaders of the quorum that this node has seen begin", &self.elections),
            ("peers_gone", "Peers whose process was found dead", &self.peers_gone),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        if let Some(partitions) = self.partitions.get() {
            register_partitions(&mut registry, partitions);
        }
        registry
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = encode(&mut text, &self.registry());
        text
    }
}

/// What the shards have counted, as it is now.
fn register_partitions(registry: &mut Registry, partitions: &shard::Metrics) {
    let gauges: [(&str, &str, &AtomicI64); 5] = [
        ("partitions_hosted", "Replicas on this broker", &partitions.replicas),
        ("partitions_led", "Partitions that this broker leads", &partitions.leaders),
        (
            "partitions_under_replicated",
            "Led partitions whose ISR lacks a replica",
            &partitions.under_replicated,
        ),
        (
            "partitions_under_min_isr",
            "Led partitions that refuse acks=all",
            &partitions.under_min_isr,
        ),
        ("partitions_offline", "Replicas whose disk failed", &partitions.offline),
    ];
    for (name, help, value) in gauges {
        let gauge: Gauge = Gauge::default();
        gauge.set(value.load(Ordering::Relaxed));
        registry.register(name, help, gauge);
    }
    let counters: [(&str, &str, &AtomicU64); 8] = [
        ("bytes_in", "Bytes of record batches that producers appended", &partitions.bytes_in),
        ("bytes_out", "Bytes of record batches that consumers read", &partitions.bytes_out),
        ("batches_in", "Record batches that producers appended", &partitions.batches_in),
        ("replication_bytes_in", "Bytes fetched from leaders", &partitions.replication_bytes_in),
        ("replication_bytes_out", "Bytes sent to followers", &partitions.replication_bytes_out),
        ("isr_shrinks", "ISRs that lost a member", &partitions.isr_shrinks),
        ("isr_expands", "ISRs that gained a member", &partitions.isr_expands),
        ("peer_messages", "Messages to other brokers", &partitions.peer_messages),
    ];
    for (name, help, value) in counters {
        let counter: Counter = Counter::default();
        counter.inc_by(value.load(Ordering::Relaxed));
        registry.register(name, help, counter);
    }
}

const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves the endpoint until the task is dropped.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let metrics = metrics.clone();
        actix_rt::spawn(async move {
            let answer = service_fn(move |request| {
                let response = respond(&request, &metrics);
                async move { Ok::<_, Infallible>(response) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), answer);
            if let Err(error) = served.await {
                debug!(%peer, %error, "a request for metrics broke off");
            }
        });
    }
}

fn respond(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, content_type, body) = match request.uri().path() {
        "/metrics" => (StatusCode::OK, TEXT, metrics.text()),
        "/health" if metrics.is_healthy() => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/health" => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "not serving\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "try /metrics or /health\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}
