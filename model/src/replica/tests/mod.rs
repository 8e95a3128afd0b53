//! The replica's stories. A [`Bench`] is one replica with its log and its view; two of them can
//! talk.

mod follower;
mod isr;
mod leader;
mod query;
mod roles;

use super::small_log::{SmallBatch, SmallLog};
use super::*;
use crate::inline::{InlineVec, Nodes};
use crate::log::Log;
use crate::metadata::{AlteredPartition, Partition};
use crate::{
    BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, Offset, PartitionEpoch, Shipped, TopicPartition,
};

pub(super) fn nodes(ids: &[i32]) -> Nodes {
    ids.iter().map(|&id| NodeId(id)).collect()
}

/// Three replicas 0, 1 and 2, in sync as given, min.insync.replicas 2; broker epoch = 100 + id.
pub(super) fn view(leader: i32, leader_epoch: i32, partition_epoch: i32, isr: &[i32]) -> View {
    let partition = Partition {
        replicas: nodes(&[0, 1, 2]),
        isr: nodes(isr),
        leader: Some(NodeId(leader)),
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: PartitionEpoch(partition_epoch),
        ..Partition::default()
    };
    let brokers: InlineVec<_, _> = (0..3).map(|id| (NodeId(id), broker_epoch(id), true)).collect();
    View { partition, min_isr: 2, brokers, flush_before_ack: false }
}

pub(super) fn broker_epoch(id: i32) -> BrokerEpoch {
    BrokerEpoch(100 + i64::from(id))
}

pub(super) struct Bench {
    pub replica: Replica<Shipped>,
    pub log: SmallLog,
    timers: Vec<Timer>,
}

impl Bench {
    pub fn new(id: i32) -> Bench {
        let (partition, me) = (TopicPartition::default(), NodeId(id));
        let replica = Replica::new(Shipped, partition, me, Offset(0), Producers::default());
        Bench { replica, log: SmallLog::default(), timers: Vec::new() }
    }

    /// Replica 0, leading epoch 1 with all three in sync.
    pub fn leader() -> Bench {
        let mut bench = Bench::new(0);
        bench.sees(view(0, 1, 1, &[0, 1, 2]));
        bench
    }

    /// Replica 1, following 0 in epoch 1.
    pub fn follower() -> Bench {
        let mut bench = Bench::new(1);
        bench.sees(view(0, 1, 1, &[0, 1, 2]));
        bench
    }

    /// A log that was written before the story begins, by the epochs of its records.
    pub fn holding(mut self, epochs: &[u8]) -> Bench {
        for &epoch in epochs {
            let value = self.log.end().0 as u8;
            self.log.append_as_leader(LeaderEpoch(epoch.into()), SmallBatch::new(value, None));
        }
        self
    }

    pub fn step(&mut self, event: Event<SmallBatch>) -> Effects {
        let mut fx = Effects::new();
        if let Event::Timeout(timer) = &event {
            self.timers.retain(|running| running != timer);
        }
        self.replica.step(&mut self.log, event, &mut fx);
        for effect in &fx {
            match effect {
                Effect::SetTimer(timer) => self.timers.push(*timer),
                Effect::CancelTimer(timer) => self.timers.retain(|running| running != timer),
                _ => {}
            }
        }
        let is_over = |timer: &&Timer| match timer {
            Timer::FetchRetry => !self.replica.is_follower(),
            Timer::AlterRetry | Timer::Lag(_) => !self.replica.is_leader(),
        };
        assert_eq!(self.timers.iter().find(is_over), None, "nobody waits for what is over");
        fx
    }

    pub fn sees(&mut self, view: View) -> Effects {
        self.step(Event::View(Box::new(view)))
    }

    pub fn append(&mut self, request: RequestId, acks: Acks) -> Effects {
        self.step(Event::Append { request, batch: SmallBatch::new(request as u8, None), acks })
    }

    /// A fetch by `follower` in epoch 1, from `offset`, whose last record is of epoch 1.
    pub fn fetched_by(&mut self, follower: i32, offset: i64) -> Effects {
        self.step(Event::Fetch(fetch(follower, 1, offset, 1)))
    }

    pub fn answers_alter(&mut self, answer: Option<Result<(), ErrorCode>>) -> Effects {
        let partition = &self.replica.view.partition;
        let (leader_epoch, partition_epoch) = (partition.leader_epoch, partition.partition_epoch);
        self.step(Event::Altered { leader_epoch, partition_epoch, answer })
    }

    pub fn high_watermark(&self) -> i64 {
        self.replica.high_watermark().0
    }

    pub fn epochs(&self) -> Vec<u8> {
        self.log.records().iter().map(|record| record.epoch).collect()
    }
}

pub(super) fn fetch(follower: i32, epoch: i32, offset: i64, last_epoch: i32) -> Fetch {
    let last_epoch = if offset == 0 { LeaderEpoch::UNKNOWN } else { LeaderEpoch(last_epoch) };
    Fetch {
        follower: NodeId(follower),
        broker_epoch: broker_epoch(follower),
        position: FetchPosition {
            leader_epoch: LeaderEpoch(epoch),
            offset: Offset(offset),
            last_epoch,
            log_start: Offset(0),
        },
    }
}

/// Answers to produce requests: request and base offset, or the error.
pub(super) fn replies(fx: &Effects) -> Vec<(RequestId, Result<i64, ErrorCode>)> {
    let reply = |effect: &Effect| match effect {
        Effect::Reply { request, result } => Some((*request, result.map(|done| done.base.0))),
        _ => None,
    };
    fx.iter().filter_map(reply).collect()
}

pub(super) fn alteration(fx: &Effects) -> Option<AlteredPartition> {
    fx.iter().find_map(|effect| match effect {
        Effect::AlterPartition(asked) => Some(*asked),
        _ => None,
    })
}

pub(super) fn asked_position(fx: &Effects) -> Option<FetchPosition> {
    fx.iter().rev().find_map(|effect| match effect {
        Effect::Fetch { position, .. } => Some(*position),
        _ => None,
    })
}

pub(super) fn outcome(fx: &Effects) -> FetchOutcome<Offset> {
    let answer = fx.iter().find_map(|effect| match effect {
        Effect::Answer { outcome, .. } => Some(outcome.clone()),
        _ => None,
    });
    answer.expect("every fetch is answered in its step")
}

/// Lets `follower` fetch from `leader` in `epoch` until it has nothing more to ask.
pub(super) fn catch_up(leader: &mut Bench, follower: &mut Bench, first: FetchPosition) {
    let (me, mut position) = (follower.replica.me, Some(first));
    for _ in 0..20 {
        let Some(asked) = position else { return };
        let fetch = Fetch { follower: me, broker_epoch: broker_epoch(me.0), position: asked };
        let outcome = match outcome(&leader.step(Event::Fetch(fetch))) {
            FetchOutcome::Records { records, high_watermark, log_start } => {
                let records = leader.log.read(records);
                FetchOutcome::Records { records, high_watermark, log_start }
            }
            FetchOutcome::Diverging(end) => FetchOutcome::Diverging(end),
            FetchOutcome::OutOfRange { log_start, end } => {
                FetchOutcome::OutOfRange { log_start, end }
            }
            FetchOutcome::Refused(error) => FetchOutcome::Refused(error),
        };
        let answer = Fetched { position: asked, outcome };
        position =
            asked_position(&follower.step(Event::Fetched { leader: leader.replica.me, answer }));
    }
    panic!("the follower asks for ever");
}
