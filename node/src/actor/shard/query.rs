//! Questions about single partitions.

use kraft_model::replica::Event;
use kraft_model::{EpochEnd, ErrorCode, LeaderEpoch, Offset, TopicPartition};
use tokio::sync::oneshot;

use super::actor::Shard;
use super::command::Question;
use super::slot::Slot;
use crate::kafka::{ListOffset, ListedOffset, LogDirInfo};
use crate::storage::TimestampPlan;

impl Shard {
    pub(super) fn list_offset(
        &mut self,
        question: Question<(Option<LeaderEpoch>, ListOffset), ListedOffset>,
    ) {
        let Question { id, asked: (epoch, query), answer } = question;
        match self.list(id, epoch, query) {
            // Whoever asked and has gone needs no answer, here and below.
            Ok(Listed::Now(listed)) => drop(answer.send(Ok(listed))),
            Err(error) => drop(answer.send(Err(error))),
            Ok(Listed::Search { plan, below, epoch }) => {
                drop(tokio::task::spawn_blocking(move || answer.send(search(plan, below, epoch))));
            }
        }
    }

    fn list(
        &self,
        id: TopicPartition,
        epoch: Option<LeaderEpoch>,
        query: ListOffset,
    ) -> Result<Listed, ErrorCode> {
        let slot = self.slots.get(&id).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        slot.usable()?;
        let readable = slot.replica.latest(&slot.log, epoch)?;
        let (below, leader_epoch) = (readable.high_watermark, readable.leader_epoch);
        let plan = match query {
            ListOffset::Earliest => {
                let start = readable.log_start;
                let leader_epoch = slot.log.epoch_at(start).unwrap_or(leader_epoch);
                let listed = ListedOffset { offset: start.0, timestamp: -1, leader_epoch };
                return Ok(Listed::Now(listed));
            }
            ListOffset::Latest => {
                let listed = ListedOffset { offset: below.0, timestamp: -1, leader_epoch };
                return Ok(Listed::Now(listed));
            }
            ListOffset::MaxTimestamp => slot.log.largest_timestamp(),
            ListOffset::Timestamp(time) => slot.log.offset_for_timestamp(time),
        };
        Ok(Listed::Search { plan, below, epoch: leader_epoch })
    }

    pub(super) fn end_of_epoch(
        &mut self,
        question: Question<(Option<LeaderEpoch>, LeaderEpoch), EpochEnd>,
    ) {
        use kraft_model::log::Log;
        let (current, epoch) = question.asked;
        let end = self.led(question.id, current).map(|slot| slot.log.end_of_epoch(epoch.0));
        let _ = question.answer.send(end);
    }

    /// Moves the log's start; -1 stands for the high watermark.
    pub(super) fn delete_records(&mut self, question: Question<i64, Offset>) {
        let before = (question.asked != -1).then_some(Offset(question.asked));
        let slot = self.slots.get(&question.id).ok_or(ErrorCode::UnknownTopicOrPartition);
        let moved = slot.and_then(|slot| {
            slot.usable()?;
            slot.replica.deletable(before)
        });
        let started = moved.map(|to| {
            self.move_start(question.id, to);
            self.slots.get(&question.id).map_or(to, Slot::start)
        });
        let _ = question.answer.send(started);
    }

    /// Moves a log's start up to `to` and tells the replica.
    pub(super) fn move_start(&mut self, id: TopicPartition, to: Offset) {
        use kraft_model::replica::DataLog;
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if to > slot.start() {
            slot.log.advance_start(to);
            self.step(id, Event::StartMoved(to));
        }
    }

    /// This shard's replicas by directory. Sizes of the file systems are the node's to add.
    pub(super) fn log_dirs(&mut self, answer: oneshot::Sender<Vec<LogDirInfo>>) {
        let mut infos: Vec<_> = self.disks.paths().map(LogDirInfo::of).collect();
        for (&id, slot) in &self.slots {
            let path = slot.directory.display().to_string();
            let Some(info) = infos.iter_mut().find(|info| info.path == path) else { continue };
            let lag = slot.replica.high_watermark().since(slot.end()).max(0);
            info.replicas.push((id, slot.log.size() as i64, lag));
            if slot.is_offline {
                info.error = Some(ErrorCode::KafkaStorageError);
            }
        }
        infos.iter_mut().for_each(|info| info.replicas.sort_unstable());
        let _ = answer.send(infos);
    }

    /// The partition, if this broker leads it and the epoch that the client believes in is right.
    fn led(&self, id: TopicPartition, epoch: Option<LeaderEpoch>) -> Result<&Slot, ErrorCode> {
        let slot = self.slots.get(&id).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        slot.usable()?;
        slot.replica.readable(&slot.log, epoch)?;
        if slot.replica.is_leader() { Ok(slot) } else { Err(ErrorCode::NotLeaderOrFollower) }
    }
}

enum Listed {
    Now(ListedOffset),
    /// A search by time, to be run where waiting is allowed; only what is below the high watermark
    /// counts.
    Search {
        plan: TimestampPlan,
        below: Offset,
        epoch: LeaderEpoch,
    },
}

fn search(
    plan: TimestampPlan,
    below: Offset,
    epoch: LeaderEpoch,
) -> Result<ListedOffset, ErrorCode> {
    let found = plan.run().map_err(|error| {
        tracing::warn!(%error, "cannot search a log by time");
        ErrorCode::KafkaStorageError
    })?;
    let nothing = ListedOffset { offset: -1, timestamp: -1, leader_epoch: epoch };
    Ok(found.filter(|hit| hit.offset < below).map_or(nothing, |hit| ListedOffset {
        offset: hit.offset.0,
        timestamp: hit.timestamp,
        leader_epoch: hit.leader_epoch,
    }))
}

impl LogDirInfo {
    fn of(path: &std::path::Path) -> LogDirInfo {
        LogDirInfo {
            path: path.display().to_string(),
            total_bytes: -1,
            usable_bytes: -1,
            error: None,
            replicas: Vec::new(),
        }
    }
}
