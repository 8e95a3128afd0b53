//! Offsets and epochs only grow. So that two states that behave alike are one, the offsets that a
//! state mentions become their ranks, and a partition's epochs start from the lowest that is known.

use crate::check::Mutated;
use crate::metadata::{BrokerRegistrationChange, Controller, Record, RegisterBroker};
use crate::{BrokerEpoch, LeaderEpoch, Offset, PartitionEpoch, TopicPartition};

use super::state::{Batch, State, node};

pub fn renumber(
    state: &mut State,
    machine: &mut Controller<Mutated>,
    tail: &mut [Batch],
    keeps_sessions: bool,
) {
    machine.forget_what_is_idle(keeps_sessions);
    if !keeps_sessions {
        for (broker, runs) in (0..).zip(&mut state.timers.sessions) {
            let registered = machine.latest().broker(node(broker));
            *runs &= registered.is_some_and(|it| !it.fenced);
        }
    }
    let known = known_offsets(state, machine);
    let committed = machine.committed().end;
    let top = Offset(known.len() as i64);
    let offset = |of: Offset| match () {
        () if of.0 < 0 => of,
        () if of >= committed => top.plus(of.since(committed)),
        () => Offset(known.partition_point(|&it| it < of) as i64),
    };
    let lowered = |id: TopicPartition| lowest_epochs(state, machine, id);
    let by: Vec<_> = machine.committed().partitions().map(|(id, _)| (id, lowered(id))).collect();
    let lowered =
        |id: TopicPartition| by.iter().find(|(of, _)| *of == id).map_or((0, 0), |&(_, by)| by);
    let epoch = |it: BrokerEpoch| BrokerEpoch(offset(Offset(it.0)).0);
    machine.renumber(&offset, &lowered);
    for process in &mut state.processes {
        process.epoch = epoch(process.epoch);
    }
    for proposal in state.proposals.iter_mut() {
        let (leader, own) = lowered(proposal.id);
        proposal.sender_epoch = epoch(proposal.sender_epoch);
        proposal.leader_epoch = LeaderEpoch(proposal.leader_epoch.0 - leader);
        proposal.partition_epoch = PartitionEpoch(proposal.partition_epoch.0 - own);
        proposal.joiner = proposal.joiner.map(|(node, of)| (node, epoch(of)));
    }
    for batch in tail {
        batch.base = offset(batch.base);
        batch.records.iter_mut().for_each(|record| rename(record, &epoch));
    }
}

/// Offsets below the committed end, and the first of all, which stands for "none yet".
fn known_offsets(state: &State, machine: &Controller<Mutated>) -> Vec<Offset> {
    let committed = machine.committed().end;
    let mut known = vec![Offset::ZERO];
    machine.offsets(&mut |offset| known.push(offset));
    known.extend(state.processes.iter().map(|it| Offset(it.epoch.0)));
    for proposal in &state.proposals {
        known.push(Offset(proposal.sender_epoch.0));
        known.extend(proposal.joiner.map(|(_, epoch)| Offset(epoch.0)));
    }
    known.retain(|&it| it.0 >= 0 && it < committed);
    known.sort_unstable();
    known.dedup();
    known
}

/// The lowest leader epoch and partition epoch that anybody knows of a committed partition. What a
/// deleted topic's were matters to nobody.
fn lowest_epochs(state: &State, machine: &Controller<Mutated>, id: TopicPartition) -> (i32, i32) {
    let Some(partition) = machine.committed().partition(id) else { return (0, 0) };
    let proposals = state.proposals.iter().filter(|it| it.id == id);
    let start = (partition.leader_epoch.0, partition.partition_epoch.0);
    proposals.fold(start, |(leader, own), it| {
        (leader.min(it.leader_epoch.0), own.min(it.partition_epoch.0))
    })
}

/// Broker epochs that a record names.
fn rename(record: &mut Record, epoch: &impl Fn(BrokerEpoch) -> BrokerEpoch) {
    match record {
        Record::RegisterBroker(RegisterBroker { epoch: Some(it), .. })
        | Record::UnregisterBroker { epoch: it, .. }
        | Record::BrokerRegistrationChange(BrokerRegistrationChange { epoch: it, .. })
        | Record::ProducerIds { epoch: it, .. } => *it = epoch(*it),
        _ => {}
    }
}
