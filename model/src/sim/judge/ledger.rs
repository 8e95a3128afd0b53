//! What was promised of one partition, and what has been lost of it.
//!
//! A record that was acknowledged with acks=all, or that a consumer read, stays; for as long as
//! fewer than min.insync.replicas of those who hold it stop uncleanly. A replica that stopped so may
//! have lost what was not flushed, the protocol takes it for lost, and so does the ledger; the
//! replica counts again once it is back in the ISR. Where acknowledging waits for the disk, such a
//! stop alone loses nothing: it counts only beside damage.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::Partition;
use crate::metadata::partition::Brokers;
use crate::{BrokerEpoch, NodeId, Offset, PartitionEpoch};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Promise {
    pub value: u64,
    /// In the order in which promises were made.
    number: u64,
    /// How many may not lose it together: the lowest min.insync.replicas in force since.
    min_isr: usize,
    /// Enough have lost it.
    pub is_excused: bool,
}

/// A replica that may have lost what it held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lossy {
    from: Offset,
    /// The registration under which it lost it. An ISR that it joins under this one was asked for
    /// by a leader that does not know yet.
    registration: BrokerEpoch,
    /// Something is gone for sure, or nobody can know.
    is_strong: bool,
    /// It is no longer among those who answer for promises from this one on.
    until: u64,
}

/// The numbers that the next promise and the next value will have.
#[derive(Clone, Copy)]
pub(super) struct Next {
    pub promise: u64,
    pub value: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub partition: Partition,
    /// The lowest offset that is kept.
    pub start: i64,
    /// By offset.
    promises: Vec<Option<Promise>>,
    lossy: BTreeMap<NodeId, Lossy>,
    /// By each partition epoch that is over: the number of the first promise after it.
    over: BTreeMap<PartitionEpoch, u64>,
    /// The lowest min.insync.replicas that was ever in force.
    pub lowest_min_isr: usize,
    pub min_isr_now: usize,
    /// By producer: where its sequences are.
    pub sequences: BTreeMap<i64, BTreeMap<i32, i64>>,
    /// Where each value was promised.
    pub values: BTreeMap<u64, i64>,
    /// Records by leader epoch and offset.
    pub named: BTreeMap<(i32, i64), u64>,
    /// What was excused, by offset and value.
    forgiven: BTreeSet<(i64, u64)>,
    /// Something was excused: the logs may differ from now on.
    pub has_lost: bool,
    /// Values below this one were sent before the last unclean election: an answer of an earlier
    /// leader that is still on its way promises nothing.
    forgiven_below: u64,
}

impl Ledger {
    pub fn end(&self) -> i64 {
        self.promises.len() as i64
    }

    pub fn promise(&self, offset: i64) -> Option<&Promise> {
        self.promises.get(usize::try_from(offset).ok()?)?.as_ref()
    }

    /// Promises that stand, from an offset on.
    pub fn standing(&self, from: i64) -> impl Iterator<Item = (i64, &Promise)> {
        let first = from.max(0) as usize;
        let all = self.promises.iter().enumerate().skip(first);
        let made = all.filter_map(|(at, promise)| Some((at as i64, promise.as_ref()?)));
        made.filter(|(_, promise)| !promise.is_excused)
    }

    /// The number of a promise that is made under this partition epoch. A leader that has not heard
    /// yet that it is over counts on those whom it had then, so its promise is as old.
    pub fn number_under(&self, partition_epoch: PartitionEpoch, next: u64) -> u64 {
        let over = self.over.range(partition_epoch..).next();
        over.map_or(next, |(_, first_after)| next.min(first_after - 1))
    }

    pub fn make(&mut self, offset: i64, value: u64, number: u64, min_isr: usize) {
        let at = offset.max(0) as usize;
        if self.promises.len() <= at {
            self.promises.resize(at + 1, None);
        }
        let is_excused = value < self.forgiven_below;
        if is_excused {
            self.forgiven.insert((offset, value));
        }
        self.promises[at] = Some(Promise { value, number, min_isr, is_excused });
        self.values.insert(value, offset);
        self.excuse();
    }

    pub fn is_forgiven(&self, offset: i64, value: u64) -> bool {
        self.forgiven.contains(&(offset, value))
    }

    /// Who has lost what, for whoever wonders why that is no excuse.
    pub fn describe_lossy(&self) -> String {
        let one = |(node, it): (&NodeId, &Lossy)| format!("{node} may have lost from {}", it.from);
        let all: Vec<_> = self.lossy.iter().map(one).collect();
        if all.is_empty() { "nobody has lost anything".to_owned() } else { all.join(", ") }
    }

    pub fn is_lossy(&self, node: NodeId) -> bool {
        self.lossy.contains_key(&node)
    }

    /// A replica stopped uncleanly, or was found damaged from here on.
    pub fn lose(&mut self, node: NodeId, from: Offset, registration: BrokerEpoch, is_strong: bool) {
        let new = Lossy { from, registration, is_strong, until: u64::MAX };
        let entry = self.lossy.entry(node).or_insert(new);
        entry.from = entry.from.min(from);
        entry.registration = entry.registration.max(registration);
        entry.is_strong |= is_strong;
        entry.until = u64::MAX;
        self.excuse();
    }

    /// The registration changed.
    pub fn follow(
        &mut self,
        after: &Partition,
        next: Next,
        min_isr: usize,
        brokers: &impl Brokers,
        registered: &BTreeMap<NodeId, BrokerEpoch>,
        is_strong: bool,
    ) {
        let before = std::mem::replace(&mut self.partition, *after);
        if after.partition_epoch > before.partition_epoch {
            self.over.insert(before.partition_epoch, next.promise);
        }
        // Whoever registers as one that may have lost something is taken at its word.
        for (&node, &epoch) in registered {
            let was = before.isr.contains(&node) || before.elr.contains(&node);
            if was && !after.isr.contains(&node) && !after.elr.contains(&node) {
                self.lose(node, Offset::ZERO, BrokerEpoch(epoch.0 - 1), is_strong);
            }
        }
        for &member in after.isr.iter().filter(|member| !before.isr.contains(member)) {
            let epoch = brokers.epoch(member);
            let is_old = |it: &Lossy| epoch.is_some_and(|epoch| epoch <= it.registration);
            if !self.lossy.get(&member).is_some_and(is_old) {
                self.lossy.remove(&member);
            }
        }
        for (node, lossy) in &mut self.lossy {
            let answers = after.isr.contains(node) || after.elr.contains(node);
            if !answers {
                lossy.until = lossy.until.min(next.promise);
            }
        }
        if was_chosen_uncleanly(&before, after) {
            self.forgive(next.value);
        }
        self.min_isr_now = min_isr;
        if min_isr < self.lowest_min_isr || self.lowest_min_isr == 0 {
            self.lowest_min_isr = min_isr;
        }
        self.promises.iter_mut().flatten().for_each(|it| it.min_isr = it.min_isr.min(min_isr));
        self.excuse();
    }

    /// An unclean election was asked for: nothing is promised any more.
    fn forgive(&mut self, next_value: u64) {
        self.has_lost = true;
        self.forgiven_below = next_value;
        for (offset, promise) in (0..).zip(&mut self.promises) {
            if let Some(promise) = promise {
                promise.is_excused = true;
                self.forgiven.insert((offset, promise.value));
            }
        }
    }

    fn excuse(&mut self) {
        if self.lossy.is_empty() {
            return;
        }
        let lossy = &self.lossy;
        let is_strong = lossy.values().any(|it| it.is_strong);
        self.has_lost |= is_strong && lossy.len() >= self.lowest_min_isr.max(1);
        for (offset, promise) in self.promises.iter_mut().enumerate() {
            let Some(promise) = promise.as_mut().filter(|promise| !promise.is_excused) else {
                continue;
            };
            let counts = |it: &&Lossy| it.from.0 <= offset as i64 && promise.number < it.until;
            let (mut all, mut strong) = (0, false);
            lossy
                .values()
                .filter(counts)
                .for_each(|it| (all, strong) = (all + 1, strong | it.is_strong));
            if strong && all >= promise.min_isr {
                promise.is_excused = true;
                self.has_lost = true;
                self.forgiven.insert((offset as i64, promise.value));
            }
        }
    }
}

/// Somebody leads, and recovers, who was among none of those that an election may choose by itself.
/// The partition may have been recovering already.
fn was_chosen_uncleanly(before: &Partition, after: &Partition) -> bool {
    let Partition { isr, elr, last_known_elr, .. } = before;
    let is_eligible = |leader| [isr, elr, last_known_elr].iter().any(|it| it.contains(leader));
    let began = after.recovering && after.leader_epoch > before.leader_epoch;
    began && after.leader.as_ref().map_or(!before.recovering, |leader| !is_eligible(leader))
}
