//! The producer: records into batches, batches to leaders, in order and without duplicates.
//!
//! `send` appends to its partition's open batch under a lock that nobody holds for long; one
//! background task (`sender`) seals and dispatches batches and judges the answers. The rules of
//! one partition's order are in `queue`, without any I/O.

mod queue;
mod sender;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::murmur2::partition_of_key;
use super::records::BatchBuilder;
use super::{Client, ClientError, Codec};
use queue::PartitionQueue;

/// Which acknowledgement a record waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    None,
    Leader,
    All,
}

impl Acks {
    fn number(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

#[derive(Clone, Debug)]
pub struct ProducerConfig {
    pub acks: Acks,
    pub codec: Codec,
    /// How long a batch may wait for company.
    pub linger: Duration,
    /// A batch's size before compression.
    pub batch_bytes: usize,
    /// Records held for all partitions together; `send` waits beyond it.
    pub buffer_bytes: usize,
    /// Batches of one partition sent and not yet acknowledged. More than one needs idempotence
    /// to keep the order; brokers remember five per producer (I1).
    pub in_flight: usize,
    pub idempotent: bool,
    /// From a batch's first record to its acknowledgement, retries included.
    pub delivery_timeout: Duration,
    /// Everything goes to this partition.
    pub partition: Option<i32>,
    /// Told of every acknowledged batch.
    pub reports: Option<mpsc::UnboundedSender<BatchReport>>,
}

impl Default for ProducerConfig {
    fn default() -> ProducerConfig {
        ProducerConfig {
            acks: Acks::All,
            codec: Codec::None,
            linger: Duration::from_millis(5),
            batch_bytes: 128 * 1024,
            buffer_bytes: 32 * 1024 * 1024,
            in_flight: 5,
            idempotent: true,
            delivery_timeout: Duration::from_secs(120),
            partition: None,
            reports: None,
        }
    }
}

/// A batch that was acknowledged (or, with acks=0, written to the socket).
#[derive(Clone, Debug)]
pub struct BatchReport {
    /// When each record was handed to `send`, or was due; empty unless reports are wanted.
    pub appended: Vec<Instant>,
    pub acknowledged: Instant,
}

/// A producer of one topic.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    sender: JoinHandle<()>,
}

#[derive(Debug)]
pub(super) struct Shared {
    config: ProducerConfig,
    state: Mutex<State>,
    /// The sender has something to look at.
    work: Notify,
    /// Something was acknowledged, or the producer failed.
    progress: Notify,
}

#[derive(Debug)]
struct State {
    queues: Vec<PartitionQueue>,
    /// Where records without a key go until its batch is full.
    sticky: usize,
    buffered: usize,
    acknowledged: u64,
    flushing: bool,
    closing: bool,
    failure: Option<ClientError>,
}

impl Producer {
    /// Looks the topic up and, if idempotent, takes a producer id.
    pub async fn open(
        client: &Client,
        topic: &str,
        config: ProducerConfig,
    ) -> Result<Producer, ClientError> {
        let metadata = client.topic(topic).await?;
        let partitions = metadata.partitions.len();
        if let Some(partition) = config.partition {
            let known = usize::try_from(partition).is_ok_and(|index| index < partitions);
            if !known {
                return Err(ClientError::UnknownPartition { topic: topic.to_owned(), partition });
            }
        }
        let identity =
            if config.idempotent { Some(client.init_producer_id().await?) } else { None };
        let in_flight = if config.idempotent { config.in_flight.clamp(1, 5) } else { 1 };
        let indexes = metadata.partitions.iter().map(|partition| partition.index);
        let state = State {
            queues: indexes.map(|index| PartitionQueue::new(index, identity, in_flight)).collect(),
            sticky: 0,
            buffered: 0,
            acknowledged: 0,
            flushing: false,
            closing: false,
            failure: None,
        };
        let shared = Arc::new(Shared {
            config,
            state: Mutex::new(state),
            work: Notify::new(),
            progress: Notify::new(),
        });
        let run = sender::run(Arc::clone(&shared), client.clone(), topic.to_owned());
        Ok(Producer { sender: tokio::spawn(run), shared })
    }

    /// Takes one record. Waits only while the buffer is full; an error is that of an earlier
    /// record, and final.
    pub async fn send(
        &self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), ClientError> {
        let stamp = self.shared.config.reports.as_ref().map(|_| Instant::now());
        self.send_stamped(stamp, timestamp_ms, key, value).await
    }

    /// As [`send`](Self::send), for a record that was due at `due`: its report says so.
    pub async fn send_due(
        &self,
        due: Instant,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), ClientError> {
        self.send_stamped(Some(due), timestamp_ms, key, value).await
    }

    async fn send_stamped(
        &self,
        stamp: Option<Instant>,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), ClientError> {
        loop {
            let progress = self.shared.progress.notified();
            match self.shared.append(stamp, timestamp_ms, key, value)? {
                Appended::Quietly => return Ok(()),
                Appended::Notably => {
                    self.shared.work.notify_one();
                    // The sender shares this thread: let it dispatch what is full.
                    tokio::task::yield_now().await;
                    return Ok(());
                }
                Appended::NoRoom => {
                    self.shared.work.notify_one();
                    progress.await;
                }
            }
        }
    }

    /// Records acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.lock().acknowledged
    }

    /// Waits until everything sent so far is acknowledged.
    pub async fn flush(&self) -> Result<(), ClientError> {
        loop {
            let progress = self.shared.progress.notified();
            {
                let mut state = self.shared.lock();
                if let Some(failure) = &state.failure {
                    return Err(failure.clone());
                }
                state.flushing = state.queues.iter().any(|queue| !queue.is_empty());
                if !state.flushing {
                    return Ok(());
                }
            }
            self.shared.work.notify_one();
            progress.await;
        }
    }

    /// Flushes and stops; the number of records acknowledged in all.
    pub async fn close(self) -> Result<u64, ClientError> {
        let flushed = self.flush().await;
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        flushed.map(|()| self.acknowledged())
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.sender.abort();
    }
}

enum Appended {
    /// The sender need not know.
    Quietly,
    /// A batch began or was filled.
    Notably,
    NoRoom,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(
        &self,
        stamp: Option<Instant>,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Appended, ClientError> {
        let config = &self.config;
        let mut state = self.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        let size = BatchBuilder::record_bound(key, value);
        // One record larger than the whole buffer still goes, alone.
        if state.buffered > 0 && state.buffered + size > config.buffer_bytes {
            return Ok(Appended::NoRoom);
        }
        let index = match (config.partition, key) {
            (Some(partition), _) => partition as usize,
            (None, Some(key)) => partition_of_key(key, state.queues.len()),
            (None, None) => state.sticky,
        };
        let queue = &mut state.queues[index];
        let appended = queue.append(stamp, timestamp_ms, key, value, config.batch_bytes);
        state.buffered += appended.bytes;
        // Keyless records fill one batch after the other, not all of them a little.
        if appended.filled && config.partition.is_none() && key.is_none() {
            state.sticky = (index + 1) % state.queues.len();
        }
        let notable = appended.filled || appended.opened;
        Ok(if notable { Appended::Notably } else { Appended::Quietly })
    }
}
