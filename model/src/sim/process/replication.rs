//! Replication as a shard does it: followers' positions in, records out, and the other way round.
//!
//! A position stands at the leader until it is answered with more than watermarks. One that is not
//! answered is told again after a while, since messages are lost here.

use crate::log::Log;
use crate::replica::{Event, Fetch, FetchOutcome, FetchPosition, Fetched};
use crate::sim::disk::Run;
use crate::sim::env::{Message, Timer};
use crate::{LeaderEpoch, NodeId, Offset, Rules, TopicPartition};

use super::{At, Moment};

/// A follower's position at its leader.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Watch {
    follower: NodeId,
    fetch: Fetch,
    /// It has been answered; another must come before more is said.
    is_spent: bool,
    is_ready: bool,
    /// The watermarks that the follower was last told, and those that it should be told.
    told: (Offset, Offset),
    due: (Offset, Offset),
}

impl Watch {
    pub fn is_of(&self, follower: NodeId) -> bool {
        self.follower == follower
    }

    /// The leader epoch in which the follower asks.
    pub fn epoch(&self) -> LeaderEpoch {
        self.fetch.position.leader_epoch
    }
}

/// What a follower's machine wants from its leader.
#[derive(Clone, Copy, Debug)]
pub(in crate::sim) struct Asked {
    leader: NodeId,
    position: FetchPosition,
}

/// The leader's side.
impl<R: Rules> At<'_, R> {
    pub(super) fn follower_asks(&mut self, from: NodeId, id: TopicPartition, fetch: Fetch) {
        self.heard_of(from);
        let Some(partitions) = &mut self.process.partitions else { return };
        let nothing = (Offset(-1), Offset(-1));
        let new = Watch {
            follower: from,
            fetch,
            is_spent: false,
            is_ready: false,
            told: nothing,
            due: nothing,
        };
        let watches = partitions.watches.entry(id).or_default();
        match watches.iter_mut().find(|watch| watch.follower == from) {
            Some(watch) => *watch = new,
            None => watches.push(new),
        }
        self.step_replica(id, Event::Fetch(fetch));
    }

    fn watch(&mut self, id: TopicPartition, follower: NodeId) -> Option<&mut Watch> {
        let watches = self.process.partitions.as_mut()?.watches.get_mut(&id)?;
        watches.iter_mut().find(|watch| watch.follower == follower)
    }

    /// The replica's answer: said now, read for, or held until there is news.
    pub(super) fn answer_follower(
        &mut self,
        id: TopicPartition,
        follower: NodeId,
        position: FetchPosition,
        outcome: FetchOutcome<Offset>,
    ) {
        let most = self.env.profile.read_batches;
        let end = self.disk.data.get(&id).map_or(Offset::ZERO, |file| file.log.end());
        let Some(watch) = self.watch(id, follower) else { return };
        if watch.fetch.position != position {
            return;
        }
        let outcome = match outcome {
            FetchOutcome::Records { records: from, high_watermark, log_start } if from >= end => {
                watch.due = (high_watermark, log_start);
                if watch.due != watch.told {
                    self.set_once(Timer::Watermarks);
                }
                return;
            }
            FetchOutcome::Records { records: from, high_watermark, log_start } => {
                watch.told = (high_watermark, log_start);
                watch.is_spent = true;
                let Some(file) = self.disk.data.get(&id) else { return };
                let records = file.log.read(from.0, most);
                FetchOutcome::Records { records, high_watermark, log_start }
            }
            FetchOutcome::Diverging(end) => FetchOutcome::Diverging(end),
            FetchOutcome::OutOfRange { log_start, end } => {
                FetchOutcome::OutOfRange { log_start, end }
            }
            FetchOutcome::Refused(error) => FetchOutcome::Refused(error),
        };
        if let Some(watch) = self.watch(id, follower) {
            watch.is_spent = true;
        }
        self.send(follower, Message::Fetched { id, position, outcome });
    }

    /// Says the watermarks that were put off and that nothing has carried since.
    pub(super) fn say_watermarks(&mut self) {
        let Some(partitions) = &mut self.process.partitions else { return };
        let mut said = Vec::new();
        for (&id, watches) in &mut partitions.watches {
            for watch in watches.iter_mut().filter(|watch| !watch.is_spent) {
                if watch.due != watch.told {
                    watch.told = watch.due;
                    said.push((watch.follower, id, watch.fetch.position, watch.due));
                }
            }
        }
        for (follower, id, position, (high_watermark, log_start)) in said {
            let records = Run { base: position.offset.0, records: Vec::new() };
            let outcome = FetchOutcome::Records { records, high_watermark, log_start };
            self.send(follower, Message::Fetched { id, position, outcome });
        }
    }

    /// Whoever has an unspent position in this partition is to be looked at.
    pub(super) fn news(&mut self, id: TopicPartition) {
        let Some(partitions) = &mut self.process.partitions else { return };
        let Some(watches) = partitions.watches.get_mut(&id) else { return };
        for watch in watches.iter_mut().filter(|watch| !watch.is_spent && !watch.is_ready) {
            watch.is_ready = true;
            partitions.ready.push_back((id, watch.follower));
        }
    }

    pub(super) fn next_ready(&mut self) -> Option<(TopicPartition, Fetch)> {
        loop {
            let (id, follower) = self.process.partitions.as_mut()?.ready.pop_front()?;
            if let Some(watch) = self.watch(id, follower) {
                watch.is_ready = false;
                if !watch.is_spent {
                    return Some((id, watch.fetch));
                }
            }
        }
    }

    pub(super) fn heard_of(&mut self, peer: NodeId) {
        let now = self.env.now;
        if let Some(partitions) = &mut self.process.partitions {
            partitions.heard.insert(peer, now);
        }
    }

    /// A new leader hears of its followers only from now on, so that their silence begins now.
    pub(super) fn expect_followers(&mut self, id: TopicPartition) {
        let now = self.env.now;
        let Some(partitions) = &mut self.process.partitions else { return };
        let Some(slot) = partitions.slots.get(&id) else { return };
        for &follower in slot.partition.replicas.iter().filter(|&&replica| replica != self.me) {
            partitions.heard.insert(follower, now);
        }
    }

    /// Followers that have been silent for `replica.lag.time.max.ms`, told once for each such time.
    pub(super) fn look_for_silence(&mut self) {
        self.set(Timer::Silence);
        let (now, limit) = (self.env.now, self.env.profile.lag);
        let Some(partitions) = &mut self.process.partitions else { return };
        let is_over = |since: &u64| now.saturating_sub(*since) >= limit;
        let silent: Vec<_> =
            partitions.heard.iter().filter(|(_, at)| is_over(at)).map(|(&peer, _)| peer).collect();
        let mut told = Vec::new();
        for peer in silent {
            if partitions.told_silent.get(&peer).is_some_and(|at| !is_over(at)) {
                continue;
            }
            partitions.told_silent.insert(peer, now);
            let led = partitions.slots.iter().filter(|(_, slot)| {
                slot.replica.is_leader() && slot.partition.replicas.contains(&peer)
            });
            told.extend(led.map(|(&id, _)| (id, peer)));
        }
        told.into_iter().for_each(|(id, peer)| self.step_replica(id, Event::Silent(peer)));
    }

    pub(super) fn replication_link_down(&mut self, peer: NodeId) {
        let Some(partitions) = &mut self.process.partitions else { return };
        for watches in partitions.watches.values_mut() {
            watches.retain(|watch| watch.follower != peer);
        }
    }
}

/// The follower's side.
impl<R: Rules> At<'_, R> {
    pub(super) fn fetch(&mut self, id: TopicPartition, leader: NodeId, position: FetchPosition) {
        let Some(partitions) = &mut self.process.partitions else { return };
        partitions.asked.insert(id, Asked { leader, position });
        self.tell_position(id);
    }

    fn tell_position(&mut self, id: TopicPartition) {
        let Some(partitions) = &self.process.partitions else { return };
        let Some(&Asked { leader, position }) = partitions.asked.get(&id) else { return };
        let fetch = Fetch { follower: self.me, broker_epoch: partitions.registration, position };
        self.send(leader, Message::Fetch { id, fetch });
    }

    pub(super) fn stop_fetching(&mut self, id: TopicPartition) {
        if let Some(partitions) = &mut self.process.partitions {
            partitions.asked.remove(&id);
        }
    }

    /// A link stands: tells the positions that nobody has heard there.
    pub(super) fn fetch_from(&mut self, peer: NodeId) {
        let Some(partitions) = &self.process.partitions else { return };
        let asked = partitions.asked.iter().filter(|(_, asked)| asked.leader == peer);
        let asked: Vec<_> = asked.map(|(&id, _)| id).collect();
        asked.into_iter().for_each(|id| self.tell_position(id));
    }

    /// What was asked and not answered is asked again, by way of the machine.
    pub(super) fn fetch_again(&mut self) {
        self.set(Timer::FetchAgain);
        let Some(partitions) = &self.process.partitions else { return };
        let asked: Vec<_> = partitions.asked.iter().map(|(&id, &asked)| (id, asked)).collect();
        for (id, Asked { leader, position }) in asked {
            self.step_replica(id, Event::FetchFailed { leader, position });
        }
    }

    pub(super) fn leader_answers(
        &mut self,
        leader: NodeId,
        id: TopicPartition,
        position: FetchPosition,
        outcome: FetchOutcome<Run>,
    ) {
        let outcome = match outcome {
            FetchOutcome::Records { records, high_watermark, log_start } => {
                let records = match records.records.is_empty() {
                    // The machine's form of "nothing" is an empty batch at its end.
                    true => self.nothing(id),
                    false => {
                        self.process.moment.get_or_insert(Moment::TookRecords);
                        records
                    }
                };
                FetchOutcome::Records { records, high_watermark, log_start }
            }
            other => other,
        };
        self.step_replica(id, Event::Fetched { leader, answer: Fetched { position, outcome } });
    }

    fn nothing(&self, id: TopicPartition) -> Run {
        let base = self.disk.data.get(&id).map_or(0, |file| file.log.end().0);
        Run { base, records: Vec::new() }
    }
}
