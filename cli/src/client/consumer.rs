//! The consumer: given partitions from given offsets, one fetch in flight per leader.
//!
//! A leader's next fetch leaves as soon as its last answer is in, before the caller has looked at
//! the records: positions come from the batch headers alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kraft_model::ErrorCode;
use proto_kafka::messages::fetch_request::{FetchPartition, FetchTopic};
use proto_kafka::messages::fetch_response::PartitionData;
use proto_kafka::messages::{ApiKey, BrokerId, FetchRequest, FetchResponse, TopicName};
use proto_kafka::protocol::StrBytes;
use tokio::task::JoinSet;

use super::records::{BatchIter, BatchView, RecordError};
use super::retry::jittered;
use super::{Client, ClientError};

const RETRY_PAUSE: Duration = Duration::from_millis(25);

#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// How long a broker may hold a fetch that finds less than `min_bytes`.
    pub max_wait: Duration,
    pub min_bytes: i32,
    /// Of one fetch, and of one partition in it.
    pub max_bytes: i32,
    pub partition_max_bytes: i32,
    /// How long errors may go on without a single good answer.
    pub patience: Duration,
}

impl Default for ConsumerConfig {
    fn default() -> ConsumerConfig {
        ConsumerConfig {
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 16 * 1024 * 1024,
            partition_max_bytes: 1024 * 1024,
            patience: Duration::from_secs(60),
        }
    }
}

/// Where to begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    Earliest,
    Latest,
    Offset(i64),
}

/// Batches of one partition, data only. The first may begin before `from`: those records are to
/// be skipped.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub partition: i32,
    pub from: i64,
    pub batches: Vec<BatchView>,
}

/// A consumer of one topic, without a group.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    topic: String,
    config: ConsumerConfig,
    positions: BTreeMap<i32, i64>,
    /// Leaders that have a fetch in flight.
    busy: BTreeSet<i32>,
    fetches: JoinSet<Answer>,
    ready: VecDeque<Fetched>,
    last_success: Instant,
    /// Errors seen since then; no new fetch before the pause is over.
    pause_until: Option<Instant>,
}

#[derive(Debug)]
struct Answer {
    leader: i32,
    asked: BTreeMap<i32, i64>,
    result: Result<FetchResponse, ClientError>,
}

impl Consumer {
    /// `partitions` of `topic` (all if empty), each from `start`.
    pub async fn open(
        client: &Client,
        topic: &str,
        partitions: &[i32],
        start: Start,
        config: ConsumerConfig,
    ) -> Result<Consumer, ClientError> {
        let metadata = client.topic(topic).await?;
        let known: Vec<i32> = metadata.partitions.iter().map(|known| known.index).collect();
        if let Some(&partition) = partitions.iter().find(|wanted| !known.contains(wanted)) {
            return Err(ClientError::UnknownPartition { topic: topic.to_owned(), partition });
        }
        let wanted = if partitions.is_empty() { known } else { partitions.to_vec() };
        let positions = match start {
            Start::Earliest => client.earliest_offsets(topic, &wanted).await?,
            Start::Latest => client.latest_offsets(topic, &wanted).await?,
            Start::Offset(offset) => wanted.iter().map(|&index| (index, offset)).collect(),
        };
        Ok(Consumer {
            client: client.clone(),
            topic: topic.to_owned(),
            config,
            positions,
            busy: BTreeSet::new(),
            fetches: JoinSet::new(),
            ready: VecDeque::new(),
            last_success: Instant::now(),
            pause_until: None,
        })
    }

    /// The next offset to fetch of each partition. Records before it may still wait in
    /// [`next`](Self::next).
    pub fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.positions
    }

    /// The high watermarks as they are now: where "the end" is.
    pub async fn end_offsets(&self) -> Result<BTreeMap<i32, i64>, ClientError> {
        let partitions: Vec<i32> = self.positions.keys().copied().collect();
        self.client.latest_offsets(&self.topic, &partitions).await
    }

    /// Whether everything below `ends` was handed out.
    pub fn has_reached(&self, ends: &BTreeMap<i32, i64>) -> bool {
        self.ready.is_empty()
            && ends.iter().all(|(partition, end)| self.positions.get(partition) >= Some(end))
    }

    /// The next records. Waits for them without end; an error is final.
    pub async fn next(&mut self) -> Result<Fetched, ClientError> {
        loop {
            if let Some(fetched) = self.ready.pop_front() {
                return Ok(fetched);
            }
            self.step().await?;
        }
    }

    /// Whatever comes first: records, or `deadline`.
    pub async fn next_before(&mut self, deadline: Instant) -> Result<Option<Fetched>, ClientError> {
        match tokio::time::timeout_at(deadline.into(), self.next()).await {
            Ok(result) => result.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Sends what can be sent and takes one answer. Dropping the future loses nothing.
    async fn step(&mut self) -> Result<(), ClientError> {
        self.dispatch_unless_pausing().await?;
        let idle = self.fetches.is_empty().then(|| Instant::now() + RETRY_PAUSE);
        let wake_at = self.pause_until.or(idle);
        let sleep = tokio::time::sleep_until(wake_at.unwrap_or_else(Instant::now).into());
        let answer = tokio::select! {
            Some(answer) = self.fetches.join_next() => answer,
            () = sleep, if wake_at.is_some() => return Ok(()),
        };
        let Ok(Answer { leader, asked, result }) = answer else { return Ok(()) };
        self.busy.remove(&leader);
        match result.and_then(|response| self.take(response, &asked)) {
            Ok(()) => {
                self.last_success = Instant::now();
                // The leader works on the next records while the caller looks at these.
                self.dispatch_unless_pausing().await
            }
            Err(error) => {
                for &partition in asked.keys() {
                    self.client.forget_leader(&self.topic, partition);
                }
                self.tolerate(error)
            }
        }
    }

    async fn dispatch_unless_pausing(&mut self) -> Result<(), ClientError> {
        if self.pause_until.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        self.pause_until = None;
        match self.dispatch().await {
            Ok(()) => Ok(()),
            Err(error) => self.tolerate(error),
        }
    }

    fn tolerate(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.is_retriable() || self.last_success.elapsed() > self.config.patience {
            return Err(error);
        }
        self.pause_until = Some(Instant::now() + jittered(RETRY_PAUSE));
        Ok(())
    }

    /// One fetch to every leader that has none in flight.
    async fn dispatch(&mut self) -> Result<(), ClientError> {
        let partitions: Vec<i32> = self.positions.keys().copied().collect();
        for (leader, partitions) in self.client.by_leader(&self.topic, &partitions).await? {
            if self.busy.contains(&leader) {
                continue;
            }
            let asked: BTreeMap<i32, i64> =
                partitions.iter().map(|&index| (index, self.positions[&index])).collect();
            let request = self.request(&asked);
            let client = self.client.clone();
            // A broker may use the whole of max_wait before it answers.
            let timeout = client.options().request_timeout + self.config.max_wait;
            self.busy.insert(leader);
            self.fetches.spawn(async move {
                let result = match client.broker(leader).await {
                    Ok(connection) => connection.call(&request, timeout).await,
                    Err(error) => {
                        // Nobody listens there: do not dial again in a tight loop.
                        tokio::time::sleep(jittered(RETRY_PAUSE)).await;
                        Err(error)
                    }
                };
                Answer { leader, asked, result }
            });
        }
        Ok(())
    }

    fn request(&self, asked: &BTreeMap<i32, i64>) -> FetchRequest {
        let partitions = asked.iter().map(|(&partition, &offset)| {
            FetchPartition::default()
                .with_partition(partition)
                .with_fetch_offset(offset)
                .with_current_leader_epoch(-1)
                .with_last_fetched_epoch(-1)
                .with_log_start_offset(-1)
                .with_partition_max_bytes(self.config.partition_max_bytes)
        });
        let topic = FetchTopic::default()
            .with_topic(TopicName(StrBytes::from_string(self.topic.clone())))
            .with_partitions(partitions.collect());
        FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(i32::try_from(self.config.max_wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(self.config.min_bytes)
            .with_max_bytes(self.config.max_bytes)
            // No fetch session: every request is complete in itself.
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(vec![topic])
    }

    fn take(
        &mut self,
        response: FetchResponse,
        asked: &BTreeMap<i32, i64>,
    ) -> Result<(), ClientError> {
        ClientError::check(ApiKey::Fetch, response.error_code, None)?;
        let mut failed = Ok(());
        for partition in response.responses.into_iter().flat_map(|topic| topic.partitions) {
            let index = partition.partition_index;
            let Some(&from) = asked.get(&index) else { continue };
            match self.take_partition(partition, from) {
                Ok(()) => {}
                Err(error) => {
                    self.client.forget_leader(&self.topic, index);
                    failed = Err(error);
                }
            }
        }
        failed
    }

    fn take_partition(&mut self, answer: PartitionData, from: i64) -> Result<(), ClientError> {
        let partition = answer.partition_index;
        if answer.error_code == ErrorCode::OffsetOutOfRange.code() {
            let message = format!(
                "offset {from} of {}-{partition} is not in the log, which begins at {}",
                self.topic, answer.log_start_offset
            );
            return ClientError::check(ApiKey::Fetch, answer.error_code, Some(&message));
        }
        ClientError::check(ApiKey::Fetch, answer.error_code, None)?;
        let bytes = answer.records.unwrap_or_default();
        let (batches, end) = whole_batches(bytes, from).map_err(|error| ClientError::Records {
            topic: self.topic.clone(),
            partition,
            error,
        })?;
        self.positions.insert(partition, end);
        if !batches.is_empty() {
            self.ready.push_back(Fetched { partition, from, batches });
        }
        Ok(())
    }
}

/// The data batches of a fetch and the offset to go on from. Control batches (transaction
/// markers) move the position only.
fn whole_batches(bytes: Bytes, from: i64) -> Result<(Vec<BatchView>, i64), RecordError> {
    let mut position = from;
    let mut batches = Vec::new();
    for view in BatchIter::new(bytes) {
        let view = view?;
        if view.end_offset() <= from {
            continue;
        }
        position = view.end_offset();
        if !view.header.is_control() {
            batches.push(view);
        }
    }
    Ok((batches, position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Codec;
    use crate::client::records::{BatchBuilder, Identity};
    use bytes::{BufMut, BytesMut};

    fn batch_at(base: i64, records: usize, control: bool) -> BytesMut {
        let mut builder = BatchBuilder::new(256);
        for _ in 0..records {
            builder.append(0, None, Some(b"v"));
        }
        let sealed = builder.seal(Codec::None, Identity::NONE).expect("nothing is compressed");
        let mut bytes = BytesMut::from(&sealed.bytes[..]);
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        if control {
            (&mut bytes[21..23]).put_i16(0x20);
        }
        bytes
    }

    #[test]
    fn the_position_passes_control_batches_and_keeps_their_records_out() {
        let mut run = batch_at(10, 3, false);
        run.extend_from_slice(&batch_at(13, 1, true));
        let (batches, end) = whole_batches(run.freeze(), 11).expect("both are whole");
        assert_eq!(batches.len(), 1);
        assert_eq!(end, 14);
    }

    #[test]
    fn an_empty_fetch_leaves_the_position() {
        let (batches, end) = whole_batches(Bytes::new(), 7).expect("nothing is fine");
        assert!(batches.is_empty());
        assert_eq!(end, 7);
    }
}
