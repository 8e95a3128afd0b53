//! Counters of a broker's partitions, for the metrics endpoint.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Written by the shards, read by whoever wants to know. Each number is exact by itself; two
/// numbers need not belong to one moment.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Bytes that producers appended.
    pub bytes_in: AtomicU64,
    /// Bytes that consumers read.
    pub bytes_out: AtomicU64,
    /// Bytes that this broker's followers appended, and that it sent to other brokers' followers.
    pub replication_bytes_in: AtomicU64,
    pub replication_bytes_out: AtomicU64,
    /// Record batches that producers appended.
    pub batches_in: AtomicU64,
    pub isr_shrinks: AtomicU64,
    pub isr_expands: AtomicU64,
    /// Replicas on this broker, those that lead, led ones whose ISR lacks a replica, and led ones
    /// below min.insync.replicas.
    pub replicas: AtomicI64,
    pub leaders: AtomicI64,
    pub under_replicated: AtomicI64,
    pub under_min_isr: AtomicI64,
    /// Replicas whose disk failed.
    pub offline: AtomicI64,
    /// Messages to other brokers; an idle broker sends one for each session and wait.
    pub peer_messages: AtomicU64,
    /// Turns of the shards: an idle broker takes hardly any.
    pub turns: AtomicU64,
}

pub(super) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

/// Moves a gauge by the difference between two states of one partition.
pub(super) fn shift(gauge: &AtomicI64, before: bool, after: bool) {
    let change = i64::from(after) - i64::from(before);
    if change != 0 {
        gauge.fetch_add(change, Ordering::Relaxed);
    }
}
