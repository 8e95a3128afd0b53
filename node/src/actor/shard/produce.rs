//! Produce requests: from batches to events, and from the machines' replies to one answer.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use bytes::Bytes;
use kraft_model::replica::{Acks, Appended, Event, RequestId};
use kraft_model::{ErrorCode, TopicPartition};
use tokio::sync::oneshot;

use super::actor::Shard;
use super::command::AppendPart;
use super::maintain::wall_clock_ms;
use super::metrics::add;
use crate::kafka::Produced;
use crate::storage::{RecordBatch, Records};

/// Requests whose batches are not all answered yet.
#[derive(Default)]
pub(super) struct Produces {
    next: u64,
    open: HashMap<u64, Produce>,
    deadlines: BTreeSet<(Instant, u64)>,
}

struct Produce {
    items: Vec<Item>,
    unanswered: usize,
    deadline: Instant,
    answer: Answer,
}

type Answer = oneshot::Sender<Vec<(usize, Result<Produced, ErrorCode>)>>;

struct Item {
    /// The batch's place in the client's request.
    place: usize,
    id: TopicPartition,
    append_time_ms: i64,
    result: Option<Result<Produced, ErrorCode>>,
}

/// A machine's request id is the produce request's number and the batch's place in it.
const PLACE_BITS: u32 = 20;

impl Produces {
    fn open(&mut self, items: Vec<Item>, deadline: Instant, answer: Answer) -> u64 {
        let number = self.next;
        self.next += 1;
        let unanswered = items.len();
        self.open.insert(number, Produce { items, unanswered, deadline, answer });
        self.deadlines.insert((deadline, number));
        number
    }

    fn stamp(&mut self, request: RequestId, append_time_ms: i64) {
        if let Some(item) = self.item(request) {
            item.append_time_ms = append_time_ms;
        }
    }

    /// One batch is answered; the last one answers the request.
    pub fn reply(&mut self, request: RequestId, result: Result<Appended, ErrorCode>) {
        let Some(item) = self.item(request) else { return };
        if item.result.is_some() {
            return;
        }
        let append_time_ms = item.append_time_ms;
        item.result = Some(result.map(|appended| Produced {
            base: appended.base,
            append_time_ms,
            log_start: appended.log_start,
        }));
        let number = request >> PLACE_BITS;
        let Some(produce) = self.open.get_mut(&number) else { return };
        produce.unanswered -= 1;
        if produce.unanswered == 0
            && let Some(produce) = self.open.remove(&number)
        {
            self.deadlines.remove(&(produce.deadline, number));
            produce.finish();
        }
    }

    /// What has waited its longest.
    fn expired(&mut self, now: Instant) -> Vec<(TopicPartition, RequestId)> {
        let mut expired = Vec::new();
        while let Some(&(deadline, number)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            if let Some(produce) = self.open.get(&number) {
                expired.extend(
                    produce.unanswered().map(|(id, place)| (id, request_id(number, place))),
                );
            }
        }
        expired
    }

    /// Unanswered batches of a partition that is gone from this shard.
    fn of(&self, id: TopicPartition) -> Vec<RequestId> {
        let mut requests = Vec::new();
        for (&number, produce) in &self.open {
            let of_partition = produce.unanswered().filter(|(of, _)| *of == id);
            requests.extend(of_partition.map(|(_, place)| request_id(number, place)));
        }
        requests
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    fn item(&mut self, request: RequestId) -> Option<&mut Item> {
        let place = (request & ((1 << PLACE_BITS) - 1)) as usize;
        self.open.get_mut(&(request >> PLACE_BITS))?.items.get_mut(place)
    }
}

impl Produce {
    fn unanswered(&self) -> impl Iterator<Item = (TopicPartition, usize)> + '_ {
        let open = self.items.iter().enumerate().filter(|(_, item)| item.result.is_none());
        open.map(|(place, item)| (item.id, place))
    }

    fn finish(self) {
        let answer =
            |item: Item| (item.place, item.result.unwrap_or(Err(ErrorCode::UnknownServerError)));
        // A client that has gone needs no answer.
        let _ = self.answer.send(self.items.into_iter().map(answer).collect());
    }
}

fn request_id(number: u64, place: usize) -> RequestId {
    number << PLACE_BITS | place as u64
}

impl Shard {
    pub(super) fn append(&mut self, part: AppendPart) {
        let AppendPart { items, acks, deadline, answer } = part;
        if items.is_empty() || items.len() >= 1 << PLACE_BITS {
            // The answer is dropped with the part, which its sender takes for an error.
            return;
        }
        let open = |(place, id, _): &(usize, TopicPartition, Bytes)| Item {
            place: *place,
            id: *id,
            append_time_ms: -1,
            result: None,
        };
        let number = self.produces.open(items.iter().map(open).collect(), deadline, answer);
        for (place, (_, id, bytes)) in items.into_iter().enumerate() {
            let request = request_id(number, place);
            if let Err(error) = self.append_one(request, id, bytes, acks) {
                self.produces.reply(request, Err(error));
            }
        }
    }

    fn append_one(
        &mut self,
        request: RequestId,
        id: TopicPartition,
        bytes: Bytes,
        acks: Acks,
    ) -> Result<(), ErrorCode> {
        let slot = self.slots.get(&id).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        slot.usable()?;
        let header = RecordBatch::read(&bytes).map_err(|_| ErrorCode::CorruptMessage)?;
        if header.size != bytes.len() {
            return Err(ErrorCode::InvalidRecord);
        }
        if header.size > slot.settings.max_message_bytes {
            return Err(ErrorCode::MessageTooLarge);
        }
        let (base, end, last_epoch) = (header.base, header.end(), header.leader_epoch.0);
        let mut batch = Records { bytes, base, end, last_epoch };
        if slot.settings.log_append_time {
            let now_ms = wall_clock_ms();
            self.produces.stamp(request, now_ms);
            batch = batch.with_append_time(now_ms);
        }
        add(&self.metrics.bytes_in, batch.bytes.len());
        add(&self.metrics.batches_in, 1);
        self.step(id, Event::Append { request, batch, acks });
        Ok(())
    }

    pub(super) fn expire_produces(&mut self, now: Instant) {
        for (id, request) in self.produces.expired(now) {
            self.step(id, Event::RequestExpired(request));
            // A batch that no machine knows any more is answered all the same.
            self.produces.reply(request, Err(ErrorCode::RequestTimedOut));
        }
    }

    /// The partition left this shard: its producers look for the leader elsewhere.
    pub(super) fn refuse_produces(&mut self, id: TopicPartition, error: ErrorCode) {
        for request in self.produces.of(id) {
            self.produces.reply(request, Err(error));
        }
    }
}
