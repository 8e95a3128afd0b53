//! A partition's promises: nothing acknowledged is lost, one value an offset, each record once.

use crate::invariant::replica::{self as invariant, Held};
use crate::log::Log;
use crate::metadata::effective_min_isr;
use crate::metadata::partition::Policy;
use crate::sim::disk::PartitionLog;
use crate::sim::env::Known;
use crate::sim::process::{index, name};
use crate::sim::world::Node;
use crate::{BrokerEpoch, NodeId, Offset, Rules, TopicPartition};

use super::ledger::{Ledger, Next};
use super::{Judge, SeenReplica};

const HELD: &str = "every electable replica holds what was promised";
const LEADS: &str = "a leader holds what was promised";
const SAME: &str = "consumers are shown the same at an offset, wherever they read";
const ONE_VALUE: &str = "an offset has one value";
const ONCE: &str = "an idempotent producer's records appear once and in order";
const PHANTOM: &str = "only what a client wrote to a partition is read there";
const REFUSED: &str = "what was refused is not read";
const STANDS: &str = "a leader's high watermark does not go back";
const NAMED: &str = "a leader epoch and an offset name one record";
const WITHIN: &str = "a log starts within itself";
const AGREE: &str = "logs agree below the high watermark";

/// A replica as the invariants see it.
struct View<'a> {
    log: &'a PartitionLog,
    high_watermark: i64,
}

impl Held for View<'_> {
    type Record = u64;

    fn start(&self) -> Offset {
        self.log.start()
    }

    fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark)
    }

    fn record(&self, offset: Offset) -> Option<u64> {
        self.log.at(offset.0).map(|record| record.value)
    }
}

impl Judge {
    /// Somebody was told of a record: by an acknowledgement, which says how many hold it, or by
    /// reading it.
    pub(super) fn promise<R: Rules>(
        &mut self,
        nodes: &[Node<R>],
        id: TopicPartition,
        offset: Offset,
        value: u64,
        by: Option<Known>,
    ) {
        let Some(known) = self.values.get(value as usize).copied().filter(|it| it.id == id) else {
            return self.fail(PHANTOM, || format!("value {value} in {}", name(id)));
        };
        if known.is_refused {
            self.fail(REFUSED, || format!("value {value} in {}", name(id)));
        }
        let ledger = self.ledgers.entry(id).or_default();
        // Who still has what is excused may show it until it hears of its loss.
        if by.is_none() && ledger.is_forgiven(offset.0, value) {
            return;
        }
        match ledger.promise(offset.0).copied() {
            Some(made) if made.value == value && !made.is_excused => return,
            Some(made) if made.value != value && !made.is_excused => {
                let other = made.value;
                let at = format!("{} at {offset}", name(id));
                return self.fail(ONE_VALUE, || format!("{at}: {other} and {value}"));
            }
            _ => {}
        }
        let mut at_once = None;
        if let Some(&other) = ledger.values.get(&value)
            && other != offset.0
            && ledger.promise(other).is_some_and(|it| it.value == value && !it.is_excused)
        {
            at_once = Some(other);
        }
        // Where acknowledged records are gone, what was known of their producers is gone with them:
        // one that nothing is known of may begin with any sequence, also with one in the middle of
        // what it has under way (I3).
        let is_in_order = known.produced.is_none_or(|produced| note(ledger, produced, offset.0))
            || ledger.has_lost;
        self.promises += 1;
        // A reader is told late, of what was committed before who knows what was lost; nor does it
        // know how many held a record when it was committed.
        let (number, min_isr) = by.map_or((0, ledger.lowest_min_isr), |by| {
            (ledger.number_under(by.partition_epoch, self.promises), by.min_isr)
        });
        ledger.make(offset.0, value, number, min_isr);
        if let Some(other) = at_once.filter(|_| known.produced.is_some()) {
            self.fail(ONCE, || format!("value {value} in {} at {other} and {offset}", name(id)));
        } else if !is_in_order {
            self.fail(ONCE, || format!("value {value} in {} at {offset}", name(id)));
        }
        self.look_at_electable(nodes, id, offset.0);
    }

    /// Whoever may be elected without losing anything holds what was promised from here on.
    fn look_at_electable<R: Rules>(&mut self, nodes: &[Node<R>], id: TopicPartition, from: i64) {
        let Some(partition) = self.reference.partition(id).copied() else { return };
        for &member in invariant::electable(&partition) {
            self.look_at_holder(nodes, id, member, from, HELD);
        }
    }

    fn look_at_holder<R: Rules>(
        &mut self,
        nodes: &[Node<R>],
        id: TopicPartition,
        member: NodeId,
        from: i64,
        property: &'static str,
    ) {
        let Some(ledger) = self.ledgers.get(&id) else { return };
        if property == HELD && ledger.is_lossy(member) {
            return;
        }
        let Some(file) = nodes.get(index(member)).and_then(|node| node.disk.data.get(&id)) else {
            return;
        };
        let view = View { log: &file.log, high_watermark: 0 };
        let promised = ledger.standing(from).map(|(at, promise)| (Offset(at), promise.value));
        if !invariant::holds_promised(&view, promised) {
            let lost = ledger.standing(from).find(|(at, promise)| {
                *at >= view.start().0 && view.record(Offset(*at)) != Some(promise.value)
            });
            let what = lost.map(|(at, promise)| (at, promise.value));
            let end = file.log.end();
            let lossy = ledger.describe_lossy();
            self.fail(property, || {
                let id = name(id);
                format!("node {member} lacks {what:?} of {id} (its log ends at {end}; {lossy})")
            });
        }
    }

    /// What a step may have changed of a replica.
    pub(super) fn look_at_replica<R: Rules>(
        &mut self,
        nodes: &mut [Node<R>],
        at: usize,
        id: TopicPartition,
    ) {
        let (run, me) = (nodes[at].run, nodes[at].who.id);
        let Some(file) = nodes[at].disk.data.get_mut(&id) else { return };
        let dirty = std::mem::replace(&mut file.log.dirty_from, i64::MAX);
        let (start, end) = (file.log.start(), file.log.end());
        if start > end {
            self.fail(WITHIN, || format!("node {me}, {}: from {start} to {end}", name(id)));
        }
        self.look_at_names(nodes, at, id, dirty);
        let partitions = nodes[at].process.as_ref().and_then(|it| it.partitions.as_ref());
        let Some(slot) = partitions.and_then(|it| it.slots.get(&id)) else { return };
        let high_watermark = slot.replica.high_watermark().0;
        let leads = slot.replica.is_leader() && !slot.is_offline;
        let led_in = leads.then_some(slot.replica.leader_epoch().0);
        let seen = self.replicas.entry((at, id)).or_default();
        let before = std::mem::replace(seen, SeenReplica { run, high_watermark, led_in });
        let is_same = before.run == run;
        let (was, is) = (Offset(before.high_watermark), Offset(high_watermark));
        if is_same && leads && before.led_in == led_in && !invariant::high_watermark_stands(was, is)
        {
            self.fail(STANDS, || format!("node {me}, {}: {was} to {is}", name(id)));
        }
        let from = if is_same { dirty.min(before.high_watermark) } else { 0 };
        // One that rests shows nothing.
        if slot.replica.is_leader() || slot.replica.is_follower() {
            self.look_at_shown(nodes, at, id, (from, high_watermark));
        }
        let Some(partition) = self.reference.partition(id).copied() else { return };
        if dirty != i64::MAX && invariant::electable(&partition).contains(&me) {
            self.look_at_holder(nodes, id, me, dirty, HELD);
        }
        if leads && partition.leader == Some(me) {
            let is_new = !is_same || before.led_in != led_in;
            let from = if is_new { 0 } else { dirty };
            self.look_at_holder(nodes, id, me, from, LEADS);
        }
    }

    fn look_at_names<R: Rules>(
        &mut self,
        nodes: &[Node<R>],
        at: usize,
        id: TopicPartition,
        dirty: i64,
    ) {
        let Some(file) = nodes[at].disk.data.get(&id).filter(|_| dirty != i64::MAX) else { return };
        let ledger = self.ledgers.entry(id).or_default();
        let first = dirty.max(file.log.start().0);
        let mut twice = None;
        for (offset, record) in (first..).zip(file.log.seen_from(first, usize::MAX)) {
            let named = ledger.named.entry((record.epoch, offset)).or_insert(record.value);
            if *named != record.value {
                twice = Some((record, offset, *named));
            }
        }
        if let Some((record, offset, other)) = twice {
            self.fail(NAMED, || format!("{} at {offset}: {record:?} and {other}", name(id)));
        }
    }

    /// What nobody was told of may be lost without a trace; a replica that is out of sync and has it
    /// still shows it until it hears of that.
    pub(super) fn may_show_lost(&self, node: NodeId, id: TopicPartition) -> bool {
        let partition = self.reference.partition(id);
        let is_in_sync = partition.is_some_and(|it| it.isr.contains(&node));
        !is_in_sync && self.ledgers.get(&id).is_some_and(|ledger| ledger.has_lost)
    }

    fn look_at_shown<R: Rules>(
        &mut self,
        nodes: &[Node<R>],
        at: usize,
        id: TopicPartition,
        (from, high_watermark): (i64, i64),
    ) {
        let (Some(ledger), Some(file)) = (self.ledgers.get(&id), nodes[at].disk.data.get(&id))
        else {
            return;
        };
        if from >= high_watermark {
            return;
        }
        if self.may_show_lost(nodes[at].who.id, id) {
            return;
        }
        let view = View { log: &file.log, high_watermark };
        // Who still has what is excused may show it until it hears of its loss.
        let is_forgiven =
            |at: i64| file.log.at(at).is_some_and(|record| ledger.is_forgiven(at, record.value));
        let shown = ledger
            .standing(from)
            .take_while(|(at, _)| *at < high_watermark)
            .filter(|(at, _)| !is_forgiven(*at))
            .map(|(at, promise)| (Offset(at), promise.value));
        if !invariant::shows_the_same(&view, shown) {
            self.fail(SAME, || format!("node {}, {} below {high_watermark}", at + 1, name(id)));
        }
    }

    /// The committed metadata moved on.
    pub(super) fn follow_partitions<R: Rules>(&mut self, nodes: &[Node<R>]) {
        let mut changed = Vec::new();
        let registered = std::mem::take(&mut self.registered);
        let is_strong = !self.flush_before_ack;
        for topic in self.reference.topics.values() {
            let default = Policy { min_isr: 1, unclean: false };
            let min_isr = self.reference.policy(&topic.name, default).min_isr;
            for (id, partition) in topic.numbered() {
                let min_isr = effective_min_isr(min_isr, partition);
                let ledger = self.ledgers.entry(id).or_default();
                let is_same = ledger.partition == *partition && ledger.min_isr_now == min_isr;
                if !is_same {
                    let was = ledger.partition;
                    self.unclean += u64::from(partition.recovering && !was.recovering);
                    let value = self.values.len() as u64;
                    let next = Next { promise: self.promises + 1, value };
                    let brokers = &self.reference;
                    ledger.follow(partition, next, min_isr, brokers, &registered, is_strong);
                    changed.push(id);
                }
            }
        }
        for id in changed {
            self.look_at_electable(nodes, id, 0);
            self.look_at_count_of_isr(nodes, id);
        }
    }

    /// A node stopped uncleanly: what is to be taken for lost of each of its partitions.
    pub fn stopped_uncleanly<R: Rules>(&mut self, node: &Node<R>) {
        let is_strong = !self.flush_before_ack;
        let (me, registration) = (node.who.id, self.registration(node));
        for &id in node.disk.data.keys() {
            let ledger = self.ledgers.entry(id).or_default();
            ledger.lose(me, Offset::ZERO, registration, is_strong);
        }
    }

    /// Damage was found in one of a node's logs, which ends there now.
    pub fn damaged<R: Rules>(&mut self, node: &Node<R>, id: TopicPartition) {
        let Some(file) = node.disk.data.get(&id) else { return };
        let (me, registration) = (node.who.id, self.registration(node));
        self.ledgers.entry(id).or_default().lose(me, file.log.end(), registration, true);
    }

    /// A node's log of this partition is gone with its disk.
    pub fn wiped<R: Rules>(&mut self, node: &Node<R>, id: TopicPartition) {
        let (me, registration) = (node.who.id, self.registration(node));
        self.ledgers.entry(id).or_default().lose(me, Offset::ZERO, registration, true);
    }

    fn registration<R: Rules>(&self, node: &Node<R>) -> BrokerEpoch {
        self.reference.broker(node.who.id).map_or(BrokerEpoch::NONE, |broker| broker.epoch)
    }

    pub(super) fn look_at_all_replicas<R: Rules>(&mut self, nodes: &mut [Node<R>]) {
        let ids: Vec<TopicPartition> = self.reference.partitions().map(|(id, _)| id).collect();
        for id in ids {
            self.look_at_electable(nodes, id, 0);
            self.look_at_agreement(nodes, id);
            if let Some(ledger) = self.ledgers.get_mut(&id) {
                let starts = nodes.iter().filter_map(|node| node.disk.data.get(&id));
                ledger.start = starts.map(|file| file.log.start().0).max().unwrap_or(0);
            }
        }
    }

    fn look_at_agreement<R: Rules>(&mut self, nodes: &[Node<R>], id: TopicPartition) {
        if self.ledgers.get(&id).is_none_or(|ledger| ledger.has_lost) {
            return;
        }
        let views: Vec<View<'_>> = nodes
            .iter()
            .filter_map(|node| {
                let slot = node.process.as_ref()?.partitions.as_ref()?.slots.get(&id)?;
                let log = &node.disk.data.get(&id)?.log;
                // One that rests has not fitted its checkpoint to its log yet.
                let replica = &slot.replica;
                (replica.is_leader() || replica.is_follower()).then_some(())?;
                Some(View { log, high_watermark: slot.replica.high_watermark().0 })
            })
            .collect();
        let agree = |(at, one): (usize, &View<'_>)| {
            views[..at].iter().all(|other| invariant::agree_below_high_watermark(one, other))
        };
        if !views.iter().enumerate().all(agree) {
            self.fail(AGREE, || name(id));
        }
    }
}

/// Notes where a producer's sequence is; whether that is in order.
fn note(ledger: &mut Ledger, (producer, sequence): (i64, i32), offset: i64) -> bool {
    let stands = |at: i64| ledger.promise(at).is_some_and(|it| !it.is_excused);
    let mut near = vec![(offset, sequence)];
    if let Some(known) = ledger.sequences.get(&producer) {
        let below = known.range(..sequence).rev().find(|(_, at)| stands(**at));
        let above = known.range(sequence + 1..).find(|(_, at)| stands(**at));
        near.extend(below.into_iter().chain(above).map(|(&sequence, &at)| (at, sequence)));
    }
    ledger.sequences.entry(producer).or_default().insert(sequence, offset);
    // In the order of offsets the sequences ascend.
    near.sort_unstable();
    invariant::once_and_in_order(near.into_iter().map(|(_, sequence)| sequence))
}
