//! The follower: asks its leader, appends, truncates where their logs part (L4, F1).

use crate::log::Extent;
use crate::{EpochEnd, Guard, LeaderEpoch, NodeId, Offset, Rules};

use super::leader::is_empty;
use super::machine::Role;
use super::{DataLog, Effect, Effects, FetchOutcome, FetchPosition, Fetched, Replica, Timer};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Follower {
    pub leader: NodeId,
    pub asked: Asked,
}

/// Where the follower's question to its leader stands.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Asked {
    /// Not yet: what was appended is not on disk.
    WaitsForFlush,
    /// The leader is asked from here on.
    From(FetchPosition),
    /// It refused; asked again when the timer runs out.
    Refused,
}

impl Follower {
    pub fn new(leader: NodeId) -> Follower {
        Follower { leader, asked: Asked::WaitsForFlush }
    }

    pub fn stop(&self, fx: &mut Effects) {
        self.cancel_timer(fx);
        fx.push(Effect::StopFetching);
    }

    pub fn cancel_timer(&self, fx: &mut Effects) {
        if self.asked == Asked::Refused {
            fx.push(Effect::CancelTimer(Timer::FetchRetry));
        }
    }
}

impl<R: Rules> Replica<R> {
    /// Asks the leader from the log's end on; where acknowledging waits for the disk, only once
    /// everything below is there, because the position is the acknowledgement.
    pub(super) fn ask<L: DataLog>(&mut self, log: &L, fx: &mut Effects) {
        let position = self.position(log);
        let waits = self.view.flush_before_ack && log.flushed() < log.end();
        let Role::Follower(follower) = &mut self.role else { return };
        if waits {
            follower.asked = Asked::WaitsForFlush;
            fx.push(Effect::Flush);
        } else {
            follower.asked = Asked::From(position);
            fx.push(Effect::Fetch { leader: follower.leader, position });
        }
    }

    pub(super) fn ask_unless_asked<L: DataLog>(&mut self, log: &L, fx: &mut Effects) {
        if let Role::Follower(Follower { asked: Asked::WaitsForFlush, .. }) = self.role {
            self.ask(log, fx);
        }
    }

    fn position<L: DataLog>(&self, log: &L) -> FetchPosition {
        let (log_start, offset) = (log.start(), log.end());
        let tells_epoch = offset > log_start && self.rules.holds(Guard::TruncateToHighWatermark);
        let last_epoch =
            if tells_epoch { LeaderEpoch(log.last_epoch()) } else { LeaderEpoch::UNKNOWN };
        FetchPosition { leader_epoch: self.leader_epoch(), offset, last_epoch, log_start }
    }

    pub(super) fn on_fetched<L: DataLog>(
        &mut self,
        log: &mut L,
        leader: NodeId,
        answer: Fetched<L::Batch>,
        fx: &mut Effects,
    ) {
        let Role::Follower(follower) = &self.role else { return };
        // L4: an answer counts only if it continues this log in this epoch.
        let current = follower.leader == leader && follower.asked == Asked::From(answer.position);
        if !current && self.rules.holds(Guard::StaleFetchResponse) {
            return;
        }
        match answer.outcome {
            FetchOutcome::Records { records, high_watermark, log_start } => {
                self.take_records(log, records, high_watermark, log_start, fx);
            }
            FetchOutcome::Diverging(leader_end) => self.on_diverging(log, leader_end, fx),
            FetchOutcome::OutOfRange { log_start, end } => {
                self.on_out_of_range(log, log_start, end, fx);
            }
            FetchOutcome::Refused(_) => self.pause(fx),
        }
    }

    fn take_records<L: DataLog>(
        &mut self,
        log: &mut L,
        records: L::Batch,
        high_watermark: Offset,
        log_start: Offset,
        fx: &mut Effects,
    ) {
        let (has_records, own_start) = (!is_empty(&records), log.start());
        if has_records {
            if records.base() != log.end() && self.rules.holds(Guard::StaleFetchResponse) {
                let may_begin = self.rules.holds(Guard::RefuseBeginInside);
                if !(may_begin && begins_inside(log, &records)) {
                    // Not what was asked for; a leader that errs is asked again later.
                    return self.pause(fx);
                }
                // Where the log may be read from stays where it was, or goes on to the leader's.
                log.restart_at(records.base());
            }
            for header in L::headers(&records) {
                self.producers.replay(&header);
            }
            log.append(records);
        }
        self.high_watermark = self.high_watermark.max(high_watermark.min(log.end()));
        let log_start = log_start.max(own_start).min(self.high_watermark);
        if log_start > log.start() {
            log.advance_start(log_start);
        }
        if has_records {
            self.ask(log, fx);
        }
    }

    /// Truncates to where the logs may still agree. If the follower lacks the epoch that the
    /// leader names, the next answer takes it further back (KIP-279). The leader's high watermark
    /// is not part of such an answer.
    fn on_diverging<L: DataLog>(&mut self, log: &mut L, leader_end: EpochEnd, fx: &mut Effects) {
        let own_end = log.end_of_epoch(leader_end.epoch).end;
        let to = leader_end.end.min(own_end).max(log.start());
        if to >= log.end() {
            return self.pause(fx);
        }
        let in_sync = self.committed_isr().contains(&self.me);
        if to < self.high_watermark && in_sync {
            fx.push(Effect::Violation(
                "an in-sync replica has to truncate below its high watermark: its leader lacks committed records",
            ));
        }
        self.truncate(log, to, fx);
        self.ask(log, fx);
    }

    pub(super) fn truncate<L: DataLog>(&mut self, log: &mut L, to: Offset, fx: &mut Effects) {
        if to >= log.end() {
            return;
        }
        log.truncate(to);
        self.high_watermark = self.high_watermark.min(log.end());
        self.reload_producers(log);
        fx.push(Effect::Truncated(log.end()));
    }

    /// I1: what was truncated never was.
    fn reload_producers<L: DataLog>(&mut self, log: &L) {
        if self.producers.reach_beyond(log.end()) && self.rules.holds(Guard::KeepProducerState) {
            self.producers = log.producers_at(log.end());
        }
    }

    /// F1: nothing here continues the leader's log, so it begins anew at the leader's start; or
    /// the leader's log is shorter and its epochs say nothing about it.
    fn on_out_of_range<L: DataLog>(
        &mut self,
        log: &mut L,
        leader_start: Offset,
        leader_end: Offset,
        fx: &mut Effects,
    ) {
        let end = log.end();
        if end > leader_end && leader_end >= log.start() {
            self.truncate(log, leader_end, fx);
        } else if end < leader_start || end > leader_end {
            log.restart_at(leader_start);
            self.high_watermark = leader_start;
            self.reload_producers(log);
            fx.push(Effect::Truncated(leader_start));
        } else {
            return self.pause(fx);
        }
        self.ask(log, fx);
    }

    /// Leaves the leader alone for a while: it does not know what this follower knows, or the
    /// other way round, and metadata will mend it.
    fn pause(&mut self, fx: &mut Effects) {
        let Role::Follower(follower) = &mut self.role else { return };
        follower.asked = Asked::Refused;
        fx.push(Effect::StopFetching);
        fx.push(Effect::SetTimer(Timer::FetchRetry));
    }

    pub(super) fn on_fetch_retry<L: DataLog>(&mut self, log: &L, fx: &mut Effects) {
        if let Role::Follower(Follower { asked: Asked::Refused, .. }) = self.role {
            self.ask(log, fx);
        }
    }

    pub(super) fn on_fetch_failed(
        &mut self,
        leader: NodeId,
        position: FetchPosition,
        fx: &mut Effects,
    ) {
        let Role::Follower(follower) = &self.role else { return };
        if follower.leader == leader && follower.asked == Asked::From(position) {
            fx.push(Effect::Fetch { leader, position });
        }
    }
}

/// F1: a log that began anew where the leader's begins, which is inside a batch if records were
/// deleted up to there. Batches come whole, and the log begins with that one.
fn begins_inside<L: DataLog>(log: &L, records: &L::Batch) -> bool {
    let (start, end) = (log.start(), log.end());
    start == end && (records.base()..records.end()).contains(&end)
}
