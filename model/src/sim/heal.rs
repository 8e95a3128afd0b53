//! After the faults: everything must converge, and serve.

use crate::inline::Nodes;
use crate::log::Log;
use crate::metadata::{ElectLeaders, ElectionType, Request};
use crate::{NodeId, Rules, TopicPartition};

use super::clients::Wanted;
use super::env::{Happening, Input};
use super::process::{index, name};
use super::world::{Node, World};

impl<R: Rules> World<R> {
    /// What is still missing; `None` once all is as it should be.
    pub(super) fn missing(&self) -> Option<String> {
        self.missing_in_quorum()
            .or_else(|| self.missing_brokers())
            .or_else(|| self.missing_in_partitions())
            .or_else(|| self.missing_answers())
    }

    fn missing_in_quorum(&self) -> Option<String> {
        let mut leader = None;
        for node in &self.nodes {
            let Some(process) = &node.process else {
                return Some(format!("node {} does not run", node.who.id));
            };
            if process.quorum.is_leader() {
                if leader.is_some() {
                    return Some("two nodes lead the quorum".to_owned());
                }
                leader = Some((node.who.id, process.quorum.epoch(), node.disk.metadata.end()));
            }
        }
        let Some((leader, epoch, end)) = leader else {
            return Some("nobody leads the quorum".to_owned());
        };
        let lags = |node: &&Node<R>| {
            let Some(process) = &node.process else { return true };
            let quorum = &process.quorum;
            let follows = (quorum.leader(), quorum.epoch()) == (Some(leader), epoch);
            !follows || process.replayed != end || node.disk.metadata.end() != end
        };
        self.nodes.iter().find(lags).map(|node| {
            let at = node.process.as_ref().map(|it| (it.quorum.role(), it.replayed));
            format!("node {} is {at:?}, and {leader}'s log ends at {end}", node.who.id)
        })
    }

    fn missing_brokers(&self) -> Option<String> {
        let is_missing = |node: &&Node<R>| {
            let Some(process) = node.process.as_ref().filter(|_| node.who.is_broker) else {
                return false;
            };
            let registered = self.judge.reference.broker(node.who.id);
            !registered.is_some_and(|it| it.is_active() && it.incarnation == process.incarnation)
                || process.seen().is_none_or(|image| image.end != self.judge.reference.end)
        };
        let missing = self.nodes.iter().find(is_missing);
        missing.map(|node| format!("broker {} is not active or lags", node.who.id))
    }

    fn missing_in_partitions(&self) -> Option<String> {
        for (id, partition) in self.judge.reference.partitions() {
            let in_sync = partition.isr.len() == partition.replicas.len();
            if !partition.adding.is_empty() || !partition.removing.is_empty() || !in_sync {
                return Some(format!("{} is {partition:?}", name(id)));
            }
            let Some(leader) = partition.leader else {
                return Some(format!("nobody leads {}", name(id)));
            };
            if let Some(missing) = self.missing_on_replicas(id, leader, &partition.replicas) {
                return Some(missing);
            }
        }
        None
    }

    fn missing_on_replicas(
        &self,
        id: TopicPartition,
        leader: NodeId,
        replicas: &Nodes,
    ) -> Option<String> {
        let log = |node: NodeId| self.nodes.get(index(node))?.disk.data.get(&id).map(|it| &it.log);
        let Some(led) = log(leader) else { return Some(format!("{} has no log", name(id))) };
        for &replica in replicas.iter() {
            let Some(log) = log(replica) else {
                return Some(format!("node {replica} has no log of {}", name(id)));
            };
            let process = self.nodes[index(replica)].process.as_ref();
            let slot = process.and_then(|it| it.partitions.as_ref()?.slots.get(&id));
            let Some(slot) = slot else { return Some(format!("{} is not open", name(id))) };
            if slot.replica.high_watermark() != led.end() {
                let at = slot.replica.high_watermark();
                return Some(format!("node {replica} knows {} up to {at} only", name(id)));
            }
            let from = log.start().max(led.start());
            if log.read(from.0, usize::MAX) != led.read(from.0, usize::MAX) {
                return Some(format!("nodes {replica} and {leader} differ in {}", name(id)));
            }
        }
        None
    }

    fn missing_answers(&self) -> Option<String> {
        if !self.clients.are_done() {
            return Some("a client waits for an answer".to_owned());
        }
        let waits = |node: &&Node<R>| {
            node.process.as_ref().is_some_and(|process| !process.waits_for_nothing())
        };
        let waiting = self.nodes.iter().find(waits);
        waiting.map(|node| format!("node {} has not answered everything", node.who.id))
    }

    /// What an operator does where the protocol waits for one: a partition that nobody may lead
    /// cleanly, because all who held it lost it, is given to whoever is left; disks that failed
    /// are replaced by a restart.
    pub(super) fn operate(&mut self) {
        for node in 0..self.nodes.len() {
            self.restart_if_offline(node);
        }
        let is_hopeless = |partition: &crate::metadata::Partition| {
            let has_candidate = !partition.isr.is_empty() || !partition.elr.is_empty();
            partition.leader.is_none() && !has_candidate
        };
        let hopeless: Vec<TopicPartition> = self
            .judge
            .reference
            .partitions()
            .filter(|(_, partition)| is_hopeless(partition))
            .map(|(id, _)| id)
            .collect();
        let broker = self.nodes.iter().position(|node| node.who.is_broker);
        let Some(node) = broker.filter(|_| !hopeless.is_empty()) else { return };
        self.env.tell(|| format!("the operator has leaders elected uncleanly for {hopeless:?}"));
        let elect = ElectLeaders { kind: ElectionType::Unclean, partitions: Some(hopeless) };
        let wanted = Box::new(Wanted::Controller(Box::new(Request::ElectLeaders(elect))));
        let run = self.nodes[node].run;
        // Nobody waits for the answer: the metadata tells.
        let input = Input::Client { client: 0, ticket: 0, wanted };
        self.env.after(0, Happening::Process { node, run, input });
    }
}
