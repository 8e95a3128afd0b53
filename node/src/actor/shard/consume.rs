//! Consumers' fetches: read now, or held until there is enough to read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use kraft_model::{ErrorCode, TopicPartition};
use tokio::sync::{Notify, oneshot};

use super::actor::Shard;
use super::metrics::{Metrics, add};
use super::slot::{ClientRead, Slot};
use crate::kafka::{FetchItem, FetchRead, FetchedItem};
use crate::limits::HELD_FETCHES_PER_SHARD;

/// The part of one client's fetch that is for one shard, with the places in the request.
pub(crate) struct FetchPart {
    /// Names the fetch on every shard.
    pub number: u64,
    pub items: Vec<(usize, FetchItem)>,
    pub max_bytes: usize,
    pub deadline: Instant,
    pub gathered: Arc<Gathered>,
    pub answer: oneshot::Sender<Vec<(usize, FetchedItem)>>,
}

/// What all shards together have for one fetch.
pub(crate) struct Gathered {
    min_bytes: usize,
    bytes: AtomicUsize,
    /// Told when a shard answers: then the others answer as well.
    pub answered: Notify,
}

impl Gathered {
    pub fn new(min_bytes: usize) -> Gathered {
        Gathered { min_bytes, bytes: AtomicUsize::new(0), answered: Notify::new() }
    }

    /// One shard has `now` instead of `before`; whether it is enough.
    fn update(&self, before: usize, now: usize) -> bool {
        self.bytes.fetch_add(now, Ordering::Relaxed);
        let all = self.bytes.fetch_sub(before, Ordering::Relaxed) - before;
        all >= self.min_bytes
    }
}

/// Fetches that wait.
#[derive(Default)]
pub(super) struct HeldFetches {
    by_number: HashMap<u64, Held>,
    deadlines: BTreeSet<(Instant, u64)>,
    waiting_for: HashMap<TopicPartition, Vec<u64>>,
    /// Something moved for these during this turn.
    woken: BTreeSet<u64>,
}

struct Held {
    part: FetchPart,
    counted: usize,
}

impl HeldFetches {
    /// Something moved in this partition.
    pub fn news(&mut self, id: TopicPartition) {
        if let Some(numbers) = self.waiting_for.get(&id) {
            self.woken.extend(numbers);
        }
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    fn hold(&mut self, held: Held) {
        let number = held.part.number;
        for (_, item) in &held.part.items {
            self.waiting_for.entry(item.partition).or_default().push(number);
        }
        self.deadlines.insert((held.part.deadline, number));
        self.by_number.insert(number, held);
    }

    fn release(&mut self, number: u64) -> Option<Held> {
        let held = self.by_number.remove(&number)?;
        self.deadlines.remove(&(held.part.deadline, number));
        for (_, item) in &held.part.items {
            if let Some(numbers) = self.waiting_for.get_mut(&item.partition) {
                numbers.retain(|&waiting| waiting != number);
                if numbers.is_empty() {
                    self.waiting_for.remove(&item.partition);
                }
            }
        }
        Some(held)
    }
}

impl Shard {
    pub(super) fn fetch(&mut self, part: FetchPart) {
        let is_full = self.held.by_number.len() >= HELD_FETCHES_PER_SHARD;
        self.consider(Held { part, counted: 0 }, is_full);
    }

    /// Answers a held fetch with what there is.
    pub(super) fn cut_short(&mut self, number: u64) {
        if let Some(held) = self.held.release(number) {
            self.consider(held, true);
        }
    }

    /// Looks again at the fetches for whose partitions there is news.
    pub(super) fn wake_fetches(&mut self) {
        for number in std::mem::take(&mut self.held.woken) {
            if let Some(held) = self.held.release(number) {
                self.consider(held, false);
            }
        }
    }

    pub(super) fn expire_fetches(&mut self, now: Instant) {
        while let Some(&(deadline, number)) = self.held.deadlines.first()
            && deadline <= now
        {
            self.cut_short(number);
        }
    }

    /// Answers if there is enough, an error, or no time left; holds the fetch otherwise.
    fn consider(&mut self, mut held: Held, answer_now: bool) {
        if held.part.answer.is_closed() {
            return;
        }
        let reads = self.plan(&held.part);
        let is_over = answer_now || self.now >= held.part.deadline;
        let must_answer = reads.iter().any(Planned::ends_the_wait);
        let size = reads.iter().map(Planned::size).sum();
        let is_enough = held.part.gathered.update(held.counted, size);
        held.counted = size;
        if is_over || must_answer || is_enough {
            answer(held.part, reads, Arc::clone(&self.metrics));
        } else {
            self.held.hold(held);
        }
    }

    /// What each item can be answered with. Reads of what was just written run here, where they are
    /// a copy from memory; others are left for a thread that may wait.
    fn plan(&self, part: &FetchPart) -> Vec<Planned> {
        let mut room = part.max_bytes;
        let mut planned = Vec::with_capacity(part.items.len());
        for (_, item) in &part.items {
            let slot = self.slots.get(&item.partition);
            let read = slot.ok_or(ErrorCode::UnknownTopicOrPartition);
            let read = read.and_then(|slot: &Slot| slot.client_read(item, room));
            let plan = match read {
                Ok(read) if read.plan.is_tail() => Planned::run(read),
                Ok(read) => Planned::Later(read),
                Err(error) => Planned::Failed(error),
            };
            room = room.saturating_sub(plan.size());
            planned.push(plan);
        }
        planned
    }
}

enum Planned {
    Done(FetchRead),
    Later(ClientRead),
    Failed(ErrorCode),
}

impl Planned {
    fn run(read: ClientRead) -> Planned {
        let ClientRead { high_watermark, log_start, diverging, plan, .. } = read;
        match plan.run() {
            Ok(bytes) => Planned::Done(FetchRead {
                high_watermark,
                log_start,
                diverging,
                records: if bytes.is_empty() { Vec::new() } else { vec![bytes] },
            }),
            Err(error) => {
                tracing::warn!(%error, "a read for a consumer failed");
                Planned::Failed(ErrorCode::KafkaStorageError)
            }
        }
    }

    /// Bytes as far as they are known; a read from the device counts as all that it may bring.
    fn size(&self) -> usize {
        match self {
            Planned::Done(read) => read.records.iter().map(bytes::Bytes::len).sum(),
            Planned::Later(read) => read.max_bytes,
            Planned::Failed(_) => 0,
        }
    }

    fn ends_the_wait(&self) -> bool {
        match self {
            Planned::Done(read) => read.diverging.is_some(),
            Planned::Later(_) => true,
            Planned::Failed(_) => true,
        }
    }
}

fn answer(part: FetchPart, planned: Vec<Planned>, metrics: Arc<Metrics>) {
    let FetchPart { items, gathered, answer, .. } = part;
    let waits_for_device = planned.iter().any(|plan| matches!(plan, Planned::Later(_)));
    let finish = move || {
        let mut fetched = Vec::with_capacity(items.len());
        for ((place, item), plan) in items.into_iter().zip(planned) {
            let result = match plan {
                Planned::Later(read) => Planned::run(read),
                known => known,
            };
            add(&metrics.bytes_out, result.size());
            let result = match result {
                Planned::Done(read) => Ok(read),
                Planned::Failed(error) => Err(error),
                Planned::Later(_) => Err(ErrorCode::UnknownServerError),
            };
            fetched.push((place, FetchedItem { partition: item.partition, result }));
        }
        // A client that has gone needs no answer.
        let _ = answer.send(fetched);
        gathered.answered.notify_one();
    };
    if waits_for_device {
        // The answer travels through the closure; its end is of no interest here.
        drop(tokio::task::spawn_blocking(finish));
    } else {
        finish();
    }
}

/// Which shard each item of a request is for, with its place.
pub(super) fn by_shard<T>(
    items: Vec<T>,
    shard_of: impl Fn(&T) -> usize,
) -> BTreeMap<usize, Vec<(usize, T)>> {
    let mut parts: BTreeMap<usize, Vec<(usize, T)>> = BTreeMap::new();
    for (place, item) in items.into_iter().enumerate() {
        parts.entry(shard_of(&item)).or_default().push((place, item));
    }
    parts
}
