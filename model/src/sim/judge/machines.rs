//! What the machines of brokers hold beside their logs: whom a leader counts, what it waits for, what is
//! known of producers; and who may stop.

use crate::invariant::{metadata, replica as invariant};
use crate::log::Log;
use crate::sim::process::{index, name};
use crate::sim::world::Node;
use crate::{BrokerEpoch, NodeId, Offset, Rules, TopicPartition};

use super::Judge;

const COUNTED: &str = "a leader counts every member of the ISR";
const DECIDED: &str = "a leader waits only for decisions that are committed";
const FORGETS: &str = "a new leader knows of followers only what they fetch in its epoch";
const PRODUCERS: &str = "what is known of producers is what the log says";
const STOPS: &str = "who is told to stop is fenced, and leads nothing";

/// Whether a replica's log has changed since the judge last looked.
pub(super) fn is_dirty<R: Rules>(node: &Node<R>, id: TopicPartition) -> bool {
    node.disk.data.get(&id).is_some_and(|file| file.log.dirty_from != i64::MAX)
}

impl Judge {
    /// Of a replica that has just taken a step.
    pub(super) fn look_at_machine<R: Rules>(
        &mut self,
        nodes: &[Node<R>],
        at: usize,
        id: TopicPartition,
        is_dirty: bool,
    ) {
        let partitions = nodes[at].process.as_ref().and_then(|it| it.partitions.as_ref());
        let Some(slot) = partitions.and_then(|it| it.slots.get(&id)) else { return };
        let Some(file) = nodes[at].disk.data.get(&id).filter(|_| !slot.is_offline) else { return };
        let (me, replica) = (nodes[at].who.id, &slot.replica);
        // What is below the log's start is remembered and cannot be read again.
        let is_whole = file.log.start() == Offset::ZERO;
        if is_dirty
            && is_whole
            && !invariant::producers_follow_the_log(replica.producers(), &file.log)
        {
            self.fail(PRODUCERS, || {
                format!("node {me}, {} (its log ends at {})", name(id), file.log.end())
            });
        }
        let Some(partition) = self.reference.partition(id).copied() else { return };
        if let Some(asked) = replica.decided_alteration()
            && replica.leader_epoch() == partition.leader_epoch
            && !invariant::decision_is_committed(&partition, &asked)
        {
            self.fail(DECIDED, || format!("node {me}, {}: {asked:?}", name(id)));
        }
        self.look_at_count_of_isr(nodes, id);
    }

    /// L4, L5: of a replica that has begun to lead in this step.
    pub(super) fn look_at_beginning<R: Rules>(
        &mut self,
        node: &Node<R>,
        at: usize,
        id: TopicPartition,
    ) {
        let Some(partitions) = node.process.as_ref().and_then(|it| it.partitions.as_ref()) else {
            return;
        };
        let Some(slot) = partitions.slots.get(&id).filter(|it| it.replica.is_leader()) else {
            return;
        };
        let now = slot.replica.leader_epoch();
        let before = self.replicas.get(&(at, id)).filter(|it| it.run == node.run);
        if before.and_then(|before| before.led_in) == Some(now.0) {
            return;
        }
        let is_new = |&follower: &NodeId| {
            invariant::fetched_in_this_epoch(partitions.asked_in(id, follower), now)
        };
        let old = slot.replica.known_followers().find(|follower| !is_new(follower));
        if let Some(follower) = old {
            let (me, name) = (node.who.id, name(id));
            self.fail(FORGETS, || {
                format!("node {me} knows node {follower} in epoch {now} of {name} from before")
            });
        }
    }

    /// L2, of the broker that leads by what is committed, if it knows.
    pub(super) fn look_at_count_of_isr<R: Rules>(&mut self, nodes: &[Node<R>], id: TopicPartition) {
        let Some(partition) = self.reference.partition(id).copied() else { return };
        let leader = partition.leader.and_then(|leader| nodes.get(index(leader)));
        let slots = leader.and_then(|it| Some(&it.process.as_ref()?.partitions.as_ref()?.slots));
        let Some(slot) = slots.and_then(|slots| slots.get(&id)) else { return };
        let replica = &slot.replica;
        if slot.is_offline
            || !replica.is_leader()
            || replica.leader_epoch() != partition.leader_epoch
        {
            return;
        }
        if !invariant::isr_is_counted(&partition, |member| replica.may_be_in_sync(member)) {
            self.fail(COUNTED, || format!("{}: {:?}", name(id), partition.isr));
        }
    }

    /// B2, B4. Who was fenced, and let go, may be taken for alive again by word that it sent before.
    pub(super) fn stops(&mut self, broker: NodeId, epoch: BrokerEpoch) {
        let was_fenced = self.ever.was_fenced(broker, epoch);
        if !was_fenced && !metadata::may_stop(&self.reference, broker, epoch) {
            let registered = format!("{:?}", self.reference.broker(broker));
            self.fail(STOPS, || registered);
        }
    }
}
