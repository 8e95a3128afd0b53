//! Snapshots: written, offered, fetched in chunks and installed (Q11).

use super::quorum::{Io, Quorum};
use super::role::{Follower, Pull, Role};
use super::{Effect, FetchSnapshot, FetchSnapshotResponse, Message, RaftLog, SnapshotId};
use crate::log::Extent;
use crate::{ErrorCode, Guard, NodeId, Offset, Rules};

impl<R: Rules> Quorum<R> {
    /// The state machine's own snapshot is durable: the log below it may go.
    pub(super) fn snapshot_written<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        snapshot: SnapshotId,
    ) {
        if snapshot.end > self.high_watermark {
            io.push(Effect::Violation("a snapshot holds records that are not committed"));
        } else if snapshot.end > io.log.start() {
            io.log.cut_to_snapshot(self.exclusive(snapshot));
        }
    }

    /// A snapshot ends before the offset that names it: the record there is the log's.
    fn exclusive(&self, snapshot: SnapshotId) -> SnapshotId {
        let past = i64::from(!self.rules.holds(Guard::SnapshotOffByOne));
        SnapshotId { end: snapshot.end.plus(past), ..snapshot }
    }

    /// The leader's log does not reach back far enough.
    pub(super) fn begin_snapshot<L: RaftLog>(&mut self, io: &mut Io<'_, L>, snapshot: SnapshotId) {
        if snapshot.end <= self.high_watermark {
            return self.ask_again_later(io);
        }
        self.fetch_chunk(io, snapshot, 0);
    }

    fn fetch_chunk<L: RaftLog>(&mut self, io: &mut Io<'_, L>, snapshot: SnapshotId, position: u64) {
        let (epoch, replica) = (self.epoch, self.me);
        let Role::Follower(follower) = &mut self.role else { return };
        follower.pull = Pull::FetchingSnapshot { snapshot, position };
        let fetch = FetchSnapshot { epoch, replica, snapshot, position };
        io.send(follower.leader, Message::FetchSnapshot(fetch));
    }

    /// The leader's side. A voter that takes a snapshot is at work (Q9), but acknowledges nothing.
    pub(super) fn answer_snapshot_fetch<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        from: NodeId,
        fetch: FetchSnapshot,
    ) {
        if fetch.replica.id != from {
            return;
        }
        let chunk = self.admit(fetch.epoch).and_then(|()| {
            let chunk = io.log.read_snapshot(fetch.snapshot, fetch.position);
            chunk.ok_or(ErrorCode::SnapshotNotFound)
        });
        if chunk.is_ok() {
            self.record_fetch(io, fetch.replica, None);
        }
        let (epoch, leader) = (self.epoch, self.leader());
        let (snapshot, position) = (fetch.snapshot, fetch.position);
        let answer = FetchSnapshotResponse { epoch, leader, snapshot, position, chunk };
        io.send(from, Message::FetchSnapshotResponse(answer));
    }

    pub(super) fn snapshot_fetched<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        from: NodeId,
        answer: FetchSnapshotResponse<L::Batch>,
    ) {
        if answer.epoch != self.epoch {
            return self.learn(io, answer.epoch, answer.leader);
        }
        let expected =
            Pull::FetchingSnapshot { snapshot: answer.snapshot, position: answer.position };
        match self.role {
            Role::Follower(Follower { leader, pull, .. }) if leader == from && pull == expected => {
            }
            _ => return,
        }
        let (snapshot, position) = (answer.snapshot, answer.position);
        let (bytes, last, next) = match answer.chunk {
            Ok((bytes, last)) => {
                let next = u64::try_from(bytes.end().0).unwrap_or(0);
                (bytes, last, next)
            }
            Err(_) => return self.ask_again_later(io),
        };
        let begins_here = u64::try_from(bytes.base().0) == Ok(position);
        if !begins_here || next <= position && !last {
            return self.ask_again_later(io);
        }
        self.in_touch(io);
        io.push(Effect::StoreSnapshotChunk { snapshot, position, bytes, last });
        if !last {
            return self.fetch_chunk(io, snapshot, next);
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.pull = Pull::InstallingSnapshot(snapshot);
        }
    }

    /// The snapshot is durable and loaded. The leader may have changed in the meantime; what a
    /// snapshot holds is committed whoever leads.
    pub(super) fn snapshot_installed<L: RaftLog>(
        &mut self,
        io: &mut Io<'_, L>,
        snapshot: SnapshotId,
    ) {
        if snapshot.end > self.high_watermark {
            io.log.cut_to_snapshot(self.exclusive(snapshot));
            self.adopt_voters(io);
            self.commit_up_to(io, snapshot.end);
        }
        if let Role::Follower(follower) = self.role
            && !matches!(follower.pull, Pull::FetchingSnapshot { .. })
        {
            self.pull(io);
        }
    }
}

/// Whether nothing is missing below the log: what was dropped there is in a snapshot (KAFKA-14240).
pub(super) fn is_covered(log: &impl RaftLog) -> bool {
    log.start() == Offset::ZERO || log.snapshot().is_some_and(|id| id.end >= log.start())
}
