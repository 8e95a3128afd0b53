//! The producer's background task: gather what is ready, one request per leader, judge the answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kraft_model::ErrorCode;
use proto_kafka::messages::produce_request::{PartitionProduceData, TopicProduceData};
use proto_kafka::messages::{ApiKey, ProduceRequest, ProduceResponse, TopicName};
use proto_kafka::protocol::StrBytes;
use tokio::task::JoinSet;

use super::queue::Batch;
use super::{Acks, BatchReport, Shared, State};
use crate::client::retry::jittered;
use crate::client::{Client, ClientError};

/// Between attempts to find a partition's leader.
const REFRESH_PAUSE: Duration = Duration::from_millis(25);
/// What one request may hold, well below what brokers take (`socket.request.max.bytes`).
const MAX_REQUEST: usize = 8 * 1024 * 1024;

/// One request's batches, by position among the producer's queues.
type Parcel = Vec<(usize, Batch)>;

enum Finished {
    Produced { parcel: Parcel, result: Result<Option<ProduceResponse>, ClientError> },
    Refreshed(Result<(), ClientError>),
}

struct Plan {
    parcels: BTreeMap<i32, Parcel>,
    /// A ready partition has no known leader.
    leaderless: bool,
    wake_at: Option<Instant>,
    finished: bool,
}

/// Runs until the producer closes or fails.
pub async fn run(shared: Arc<Shared>, client: Client, topic: String) {
    let mut tasks = JoinSet::new();
    let mut refreshing = false;
    let mut last_error: Option<ClientError> = None;
    loop {
        let plan = match plan(&shared, &client, &topic) {
            Ok(plan) => plan,
            Err(error) => return fail(&shared, error),
        };
        for (leader, parcel) in plan.parcels {
            let request = request(&shared, &topic, &parcel);
            tasks.spawn(produce(client.clone(), leader, request, parcel));
        }
        if plan.leaderless && !refreshing {
            refreshing = true;
            tasks.spawn(refresh(client.clone(), topic.clone()));
        }
        if plan.finished && tasks.is_empty() {
            return;
        }
        let deadline = plan.wake_at.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
        tokio::select! {
            () = shared.work.notified() => {}
            () = tokio::time::sleep_until(deadline.into()) => {}
            Some(done) = tasks.join_next() => match done {
                Ok(Finished::Produced { parcel, result }) => {
                    match judge(&shared, &client, &topic, parcel, result) {
                        Ok(()) => {}
                        Err(Judged::Again(error)) => last_error = Some(error),
                        Err(Judged::Final(error)) => return fail(&shared, error),
                    }
                }
                Ok(Finished::Refreshed(result)) => {
                    refreshing = false;
                    match result {
                        Err(error) if !error.is_retriable() => return fail(&shared, error),
                        Err(error) => last_error = Some(error),
                        Ok(()) => {}
                    }
                }
                Err(_) => return,
            },
        }
        if let Some(error) = overdue(&shared, last_error.as_ref()) {
            return fail(&shared, error);
        }
    }
}

/// Takes every batch that may leave now, grouped by leader.
fn plan(shared: &Shared, client: &Client, topic: &str) -> Result<Plan, ClientError> {
    let config = &shared.config;
    let now = Instant::now();
    let mut state = shared.lock();
    let linger = if state.flushing || state.closing { Duration::ZERO } else { config.linger };
    let mut plan = Plan {
        parcels: BTreeMap::new(),
        leaderless: false,
        wake_at: None,
        finished: state.closing,
    };
    let mut sizes: BTreeMap<i32, usize> = BTreeMap::new();
    for (position, queue) in state.queues.iter_mut().enumerate() {
        if !queue.is_ready(now, linger) {
            let until = queue.lingers_until(linger);
            plan.wake_at = [plan.wake_at, until].into_iter().flatten().min();
            continue;
        }
        let Some(leader) = client.cached_leader(topic, queue.index) else {
            plan.leaderless = true;
            continue;
        };
        let size = sizes.entry(leader).or_default();
        if *size > MAX_REQUEST {
            plan.wake_at = Some(now);
            continue;
        }
        let batch = queue.take(now, linger, config.codec).map_err(|error| ClientError::Encode {
            api: ApiKey::Produce,
            reason: format!("{} compression failed: {error}", config.codec.name()),
        })?;
        if let Some(batch) = batch {
            *size += batch.sealed.bytes.len();
            plan.parcels.entry(leader).or_default().push((position, batch));
        }
        // One request holds one batch of a partition; another one may leave right after it.
        if queue.is_ready(now, linger) {
            plan.wake_at = Some(now);
        }
    }
    Ok(plan)
}

fn request(shared: &Shared, topic: &str, parcel: &Parcel) -> ProduceRequest {
    let state = shared.lock();
    let partitions = parcel.iter().map(|(position, batch)| {
        PartitionProduceData::default()
            .with_index(state.queues[*position].index)
            .with_records(Some(batch.sealed.bytes.clone()))
    });
    let data = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partition_data(partitions.collect());
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(shared.config.acks.number())
        .with_timeout_ms(30_000)
        .with_topic_data(vec![data])
}

async fn produce(client: Client, leader: i32, request: ProduceRequest, parcel: Parcel) -> Finished {
    let timeout = client.options().request_timeout;
    let result = match client.broker(leader).await {
        Ok(connection) if request.acks == Acks::None.number() => {
            connection.send_only(&request).await.map(|()| None)
        }
        Ok(connection) => connection.call(&request, timeout).await.map(Some),
        Err(error) => Err(error),
    };
    Finished::Produced { parcel, result }
}

async fn refresh(client: Client, topic: String) -> Finished {
    let result = match client.refresh_topic(&topic).await {
        Ok(metadata) => match metadata.partitions.iter().find(|p| p.leader.is_none()) {
            Some(partition) => Err(ClientError::NoLeader { topic, partition: partition.index }),
            None => Ok(()),
        },
        Err(error) => Err(error),
    };
    // A leader that has just died is named until the controller notices: never ask in a tight loop.
    tokio::time::sleep(jittered(REFRESH_PAUSE)).await;
    Finished::Refreshed(result)
}

enum Judged {
    Again(ClientError),
    Final(ClientError),
}

fn judge(
    shared: &Shared,
    client: &Client,
    topic: &str,
    parcel: Parcel,
    result: Result<Option<ProduceResponse>, ClientError>,
) -> Result<(), Judged> {
    let mut state = shared.lock();
    let mut worst = Ok(());
    for (position, batch) in parcel {
        let index = state.queues[position].index;
        let outcome = match &result {
            Ok(None) => Ok(()),
            Ok(Some(response)) => answer_for(response, index),
            Err(error) => Err(error.clone()),
        };
        match outcome {
            Ok(()) => acknowledge(shared, &mut state, position, &batch),
            Err(error) if may_retry(&state, position, &batch, &error) => {
                state.queues[position].fail(batch.base_sequence);
                client.forget_leader(topic, index);
                worst = Err(Judged::Again(error));
            }
            Err(error) => return Err(Judged::Final(error)),
        }
    }
    drop(state);
    shared.progress.notify_waiters();
    worst
}

/// What the answer says of one partition.
fn answer_for(response: &ProduceResponse, index: i32) -> Result<(), ClientError> {
    let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let answer = partitions.find(|answer| answer.index == index).ok_or_else(|| {
        ClientError::Incomplete { api: ApiKey::Produce, what: format!("partition {index}") }
    })?;
    // The broker has the batch already: an earlier attempt arrived, its answer did not.
    if answer.error_code == ErrorCode::DuplicateSequenceNumber.code() {
        return Ok(());
    }
    ClientError::check(ApiKey::Produce, answer.error_code, answer.error_message.as_deref())
}

/// A batch that overtook an older one is refused as out of order and simply waits for its turn.
fn may_retry(state: &State, position: usize, batch: &Batch, error: &ClientError) -> bool {
    if error.code() == Some(ErrorCode::OutOfOrderSequenceNumber.code()) {
        return !state.queues[position].left_alone(batch.base_sequence);
    }
    error.is_retriable()
}

fn acknowledge(shared: &Shared, state: &mut State, position: usize, batch: &Batch) {
    let queue = &mut state.queues[position];
    let Some(done) = queue.acknowledge(batch.base_sequence) else { return };
    state.buffered = state.buffered.saturating_sub(done.bytes);
    state.acknowledged += done.sealed.count as u64;
    if let Some(reports) = &shared.config.reports {
        // A receiver that is gone wants no reports any more.
        let _ = reports.send(BatchReport { appended: done.appended, acknowledged: Instant::now() });
    }
}

/// The delivery timeout of the oldest record, with the last failure as its reason.
fn overdue(shared: &Shared, last_error: Option<&ClientError>) -> Option<ClientError> {
    let timeout = shared.config.delivery_timeout;
    let oldest = shared.lock().queues.iter().filter_map(|queue| queue.oldest()).min()?;
    if oldest.elapsed() < timeout {
        return None;
    }
    let last = last_error.map_or_else(|| "none".to_owned(), ToString::to_string);
    Some(ClientError::Delivery { timeout_ms: timeout.as_millis(), last })
}

fn fail(shared: &Shared, error: ClientError) {
    shared.lock().failure = Some(error);
    shared.progress.notify_waiters();
}
