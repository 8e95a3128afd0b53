//! Clients' requests as a broker's shards serve them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::log::Log;
use crate::metadata::Request;
use crate::replica::{Acks, Appended, DataLog, Event};
use crate::sim::clients::{ReadAnswer, Served, Wanted};
use crate::sim::disk::{DataRecord, Run};
use crate::sim::env::{Fact, Known, Timer};
use crate::{ErrorCode, LeaderEpoch, Offset, Rules, TopicPartition};

use super::At;
use super::router::Asker;

/// A produce request that is not answered yet.
#[derive(Clone, Debug)]
struct Produce {
    client: usize,
    ticket: u64,
    id: TopicPartition,
    values: Vec<u64>,
    acks: Acks,
}

#[derive(Debug, Default)]
pub(in crate::sim) struct Produces {
    next: u64,
    open: BTreeMap<u64, Produce>,
}

impl Produces {
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// Records that one answer to a consumer carries at most.
const READ: i64 = 20;

impl<R: Rules> At<'_, R> {
    pub(super) fn client_asks(&mut self, client: usize, ticket: u64, wanted: Wanted) {
        match wanted {
            Wanted::Metadata => {
                let image = self.process.seen().map(Arc::clone);
                self.serve(client, ticket, Served::Metadata(image));
            }
            Wanted::Produce { id, batch, acks } => {
                let values = batch.iter().map(|record| record.value).collect();
                self.append(Produce { client, ticket, id, values, acks }, batch);
            }
            Wanted::Read { id, from, epoch } => {
                let answer = self.read(id, from, epoch);
                self.serve(client, ticket, Served::Read(answer));
            }
            Wanted::DeleteRecords { id, before } => {
                self.delete_records(id, before);
                self.serve(client, ticket, Served::Deleted);
            }
            Wanted::Controller(request) => {
                self.ask(*request, Asker::Client { client, ticket });
            }
            Wanted::ProducerId => {
                let Some(partitions) = &self.process.partitions else { return };
                let (broker, epoch) = (self.me, partitions.registration);
                let request = Request::AllocateProducerIds { broker, epoch };
                self.ask(request, Asker::Client { client, ticket });
            }
        }
    }

    fn append(&mut self, produce: Produce, records: Vec<DataRecord>) {
        let Some(partitions) = &mut self.process.partitions else { return };
        let Produce { client, ticket, id, acks, .. } = produce;
        let refusal = match partitions.slots.get(&id) {
            None => Some(ErrorCode::UnknownTopicOrPartition),
            Some(slot) if slot.is_offline => Some(ErrorCode::KafkaStorageError),
            Some(_) => None,
        };
        if let Some(error) = refusal {
            return self.serve(client, ticket, Served::Produced(Err(error)));
        }
        partitions.produces.next += 1;
        let request = partitions.produces.next;
        partitions.produces.open.insert(request, produce);
        let too_few = partitions.slots.get(&id).is_some_and(|it| it.replica.is_under_min_isr());
        self.set(Timer::Expire(request));
        let end = |at: &Self| at.disk.data.get(&id).map(|file| file.log.end());
        let before = end(self);
        let batch = Run { base: 0, records };
        self.step_replica(id, Event::Append { request, batch, acks });
        if too_few && acks == Acks::All && end(self) != before {
            self.env.facts.push(Fact::Broken(
                "acks=all is refused while the ISR is below min.insync.replicas",
            ));
        }
    }

    pub(super) fn produced(&mut self, request: u64, result: Result<Appended, ErrorCode>) {
        let Some(partitions) = &mut self.process.partitions else { return };
        let Some(produce) = partitions.produces.open.remove(&request) else { return };
        let Produce { client, ticket, id, values, acks } = produce;
        let by = partitions.slots.get(&id).map(|slot| Known {
            partition_epoch: slot.replica.partition().partition_epoch,
            min_isr: slot.min_isr,
        });
        self.cancel(Timer::Expire(request));
        if let (Ok(appended), Acks::All, Some(by)) = (&result, acks, by) {
            for (at, &value) in (0..).zip(&values) {
                let offset = appended.base.plus(at);
                self.env.facts.push(Fact::Acknowledged { id, offset, value, by });
            }
        }
        self.tell(|| format!("answers the write of {values:?}: {result:?}"));
        self.serve(client, ticket, Served::Produced(result));
    }

    pub(super) fn expire(&mut self, request: u64) {
        let Some(partitions) = &self.process.partitions else { return };
        let Some(produce) = partitions.produces.open.get(&request) else { return };
        let id = produce.id;
        self.step_replica(id, Event::RequestExpired(request));
        // A batch that no machine knows any more is answered all the same.
        self.produced(request, Err(ErrorCode::RequestTimedOut));
    }

    /// The partition left this shard: its producers look for the leader elsewhere.
    pub(super) fn refuse_produces(&mut self, id: TopicPartition, error: ErrorCode) {
        let Some(partitions) = &self.process.partitions else { return };
        let open = partitions.produces.open.iter().filter(|(_, produce)| produce.id == id);
        let open: Vec<u64> = open.map(|(&request, _)| request).collect();
        open.into_iter().for_each(|request| self.produced(request, Err(error)));
    }

    fn read(
        &mut self,
        id: TopicPartition,
        from: i64,
        epoch: Option<LeaderEpoch>,
    ) -> Result<ReadAnswer, ErrorCode> {
        let partitions = self.process.partitions.as_ref().ok_or(ErrorCode::BrokerNotAvailable)?;
        let slot = partitions.slots.get(&id).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let file = self.disk.data.get(&id).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if slot.is_offline {
            return Err(ErrorCode::KafkaStorageError);
        }
        let readable = slot.replica.readable(&file.log, epoch)?;
        let (start, end) = (readable.log_start.0, readable.high_watermark.0);
        if from < start || from > file.log.end().0 {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let most = (end - from).clamp(0, READ);
        let records = file.log.seen_from(from, most as usize);
        if !records.is_empty() {
            let (from, records) = (Offset(from), records.clone());
            self.env.facts.push(Fact::Shown { id, from, records });
        }
        Ok(ReadAnswer { from, records, log_start: start, high_watermark: end })
    }

    /// Moves the log's start, up to the high watermark.
    fn delete_records(&mut self, id: TopicPartition, before: i64) {
        let slots = self.process.partitions.as_ref().map(|partitions| &partitions.slots);
        let Some(slot) = slots.and_then(|slots| slots.get(&id)) else { return };
        if slot.is_offline || !slot.replica.is_leader() {
            return;
        }
        let to = Offset(before).min(slot.replica.high_watermark());
        let Some(file) = self.disk.data.get_mut(&id) else { return };
        if to > file.log.start() {
            file.log.advance_start(to);
            self.step_replica(id, Event::StartMoved(to));
        }
    }
}
