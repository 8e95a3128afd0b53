//! Where new replicas go: spread over racks, then over brokers, the living first.

use std::collections::BTreeMap;

use crate::NodeId;
use crate::inline::Nodes;
use crate::metadata::{Image, Refusal};
use crate::{ErrorCode, limits::MAX_REPLICAS};

/// A ring of brokers in which neighbours are in different racks as far as the racks allow.
pub(super) struct Placer<'a> {
    /// Active brokers; leaders go round this ring.
    active: Vec<Candidate<'a>>,
    /// Fenced and stopping brokers: taken only when the others do not suffice.
    inactive: Vec<Candidate<'a>>,
    /// Partitions placed so far, from a random start, so that topics do not all begin alike.
    turn: usize,
}

#[derive(Clone, Copy)]
struct Candidate<'a> {
    id: NodeId,
    rack: Option<&'a str>,
}

impl<'a> Placer<'a> {
    pub fn new(image: &'a Image, entropy: u64) -> Placer<'a> {
        let ring = |is_active: bool| {
            let brokers = image.brokers.values().filter(|it| it.is_active() == is_active);
            interleaved(brokers.map(|it| Candidate { id: it.id, rack: it.rack.as_deref() }))
        };
        let (active, inactive) = (ring(true), ring(false));
        let turn = (entropy % (active.len().max(1) as u64)) as usize;
        Placer { active, inactive, turn }
    }

    /// Replicas for `partitions` partitions, the preferred leader of each first.
    pub fn place(&mut self, partitions: i32, factor: i16) -> Result<Vec<Nodes>, Refusal> {
        let refuse = |why: String| {
            let message = format!("Unable to replicate the partition {factor} time(s): {why}");
            Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message))
        };
        let wanted = usize::try_from(factor).unwrap_or(0);
        let known = self.active.len() + self.inactive.len();
        if wanted == 0 || wanted > MAX_REPLICAS {
            return refuse(format!("it must be between 1 and {MAX_REPLICAS}."));
        }
        if self.active.is_empty() {
            return refuse("All brokers are currently fenced or shutting down.".to_owned());
        }
        if wanted > known {
            return refuse(format!(
                "The target replication factor of {factor} cannot be reached because only \
                 {known} broker(s) are registered."
            ));
        }
        Ok((0..partitions).map(|_| self.next(wanted)).collect())
    }

    /// The leader is the ring's next broker. The others follow it on the ring, at a distance that
    /// grows with every round, so that one broker's followers are not always the same ones.
    fn next(&mut self, factor: usize) -> Nodes {
        let (len, turn) = (self.active.len(), self.turn);
        self.turn += 1;
        let (leader, round) = (turn % len, turn / len);
        let others = (0..len - 1).map(|step| (leader + 1 + (round + step) % (len - 1)) % len);
        let order = std::iter::once(leader).chain(others).map(|at| self.active[at]);
        let mut chosen: Vec<Candidate> = Vec::with_capacity(factor);
        take_spread(order.collect(), factor, &mut chosen);
        take_spread(self.inactive.clone(), factor, &mut chosen);
        chosen.iter().map(|candidate| candidate.id).collect()
    }
}

/// Takes candidates in order until there are `factor`, always from a rack that has fewest so far.
fn take_spread<'a>(mut order: Vec<Candidate<'a>>, factor: usize, chosen: &mut Vec<Candidate<'a>>) {
    while chosen.len() < factor && !order.is_empty() {
        let used = |rack| chosen.iter().filter(|other| other.rack == rack).count();
        let best = (0..order.len()).min_by_key(|&at| (used(order[at].rack), at)).unwrap_or(0);
        chosen.push(order.remove(best));
    }
}

/// One broker of each rack in turn, until all are in.
fn interleaved<'a>(brokers: impl Iterator<Item = Candidate<'a>>) -> Vec<Candidate<'a>> {
    let mut racks: BTreeMap<Option<&str>, Vec<Candidate>> = BTreeMap::new();
    for broker in brokers {
        racks.entry(broker.rack).or_default().push(broker);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    let rounds = (0..longest).flat_map(|at| racks.values().filter_map(move |it| it.get(at)));
    rounds.copied().collect()
}
