//! What a node measures of itself, and the endpoint that shows it: `/metrics` in Prometheus' text
//! format and `/health` for probes.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    pub partitions_offline: Gauge,
    pub partitions_led: Gauge,
    pub partitions_hosted: Gauge,
    pub partitions_under_replicated: Gauge,
    pub partitions_under_min_isr: Gauge,
    pub isr_shrinks: Counter,
    pub isr_expands: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    pub replication_bytes_in: Counter,
    pub requests: Counter,
    pub request_errors: Counter,
    pub connections: Gauge,
    pub elections: Counter,
    pub peers_gone: Counter,
    /// Whether the node does what its roles promise; see [`Metrics::is_healthy`].
    broker_serves: AtomicBool,
    controller_knows_leader: AtomicBool,
    is_broker: AtomicBool,
    is_controller: AtomicBool,
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

    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("kraft");
        let gauges: [(&str, &str, &Gauge); 13] = [
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
            ("partitions_offline", "Partitions without a leader", &self.partitions_offline),
            ("partitions_led", "Partitions that this broker leads", &self.partitions_led),
            ("partitions_hosted", "Replicas on this broker", &self.partitions_hosted),
            (
                "partitions_under_replicated",
                "Led partitions whose ISR lacks a replica",
                &self.partitions_under_replicated,
            ),
            (
                "partitions_under_min_isr",
                "Led partitions that refuse acks=all",
                &self.partitions_under_min_isr,
            ),
            ("connections", "Open client connections", &self.connections),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        let counters: [(&str, &str, &Counter); 9] = [
            ("isr_shrinks", "ISRs that lost a member", &self.isr_shrinks),
            ("isr_expands", "ISRs that gained a member", &self.isr_expands),
            ("bytes_in", "Bytes of record batches produced to this broker", &self.bytes_in),
            ("bytes_out", "Bytes of record batches fetched by clients", &self.bytes_out),
            ("replication_bytes_in", "Bytes fetched from leaders", &self.replication_bytes_in),
            ("requests", "Client requests answered", &self.requests),
            ("request_errors", "Client requests that could not be read", &self.request_errors),
            ("elections", "Leaders of the quorum that this node has seen begin", &self.elections),
            ("peers_gone", "Peers whose process was found dead", &self.peers_gone),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
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
