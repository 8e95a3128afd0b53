//! Questions about single partitions.

use kraft_model::replica::Event;
use kraft_model::{EpochEnd, ErrorCode, LeaderEpoch, Offset, TopicPartition};
use tokio::sync::oneshot;

use super::actor::Shard;
use super::command::Question;
use super::slot::Slot;
use crate::kafka::{ListOffset, ListedOffset, LogDirInfo};

impl Shard {
    pub(super) fn list_offset(
        &mut self,
        question: Question<(Option<LeaderEpoch>, ListOffset), ListedOffset>,
    ) {
        let (epoch, query) = question.asked;
        let slot = self.slots.get(&question.id).ok_or(ErrorCode::UnknownTopicOrPartition);
        let listed = slot.and_then(|slot| {
            slot.usable()?;
            slot.list_offset(epoch, query)
        });
        // Whoever asked and has gone needs no answer, here and below.
        let _ = question.answer.send(listed);
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
        let moved = self.led(question.id, None).and_then(|slot| {
            let high_watermark = slot.replica.high_watermark();
            let to = if question.asked == -1 { high_watermark } else { Offset(question.asked) };
            if to < Offset::ZERO || to > high_watermark {
                return Err(ErrorCode::OffsetOutOfRange);
            }
            Ok(to)
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
