//! Nodes that are alike: of all states that differ only in who is who, one is visited.
//!
//! The voters of a quorum have no names that a rule looks at: ids are compared for equality only,
//! and the order of voters decides how long timers run, which the model does not look at. So a
//! renaming of the nodes takes every behaviour to a behaviour and every promise to itself.
//!
//! [`State::representative`] is canonical: the least state among the renamings that sort the nodes
//! by what no renaming changes ([`Node::signature`]). Two states have the same one exactly if a
//! renaming takes the one to the other, since it takes signatures along.

use super::disk::{DiskLog, QuorumFile, Stored};
use super::keys::{MAX_NODES, SmallKey};
use super::packet::Packet;
use super::record::Run;
use super::state::{History, Loyalty, Node, State};

impl<const N: usize> State<N> {
    /// The same state for all states that differ only in the names of the nodes.
    pub(super) fn representative(&self) -> Self {
        let mut order: [usize; N] = std::array::from_fn(|at| at);
        let alike = usize::from(self.alike);
        // Those that are not alike stay behind the others, each in its own place.
        let signatures: [(usize, u64); N] = std::array::from_fn(|at| match at < alike {
            true => (0, self.signature(at)),
            false => (at, 0),
        });
        order.sort_unstable_by_key(|&at| signatures[at]);
        let mut least = None;
        each_order(&mut order, 0, &signatures, &mut |order| {
            let mut places = [0; N];
            order.iter().enumerate().for_each(|(place, &at)| places[at] = place);
            let renamed = self.renamed(&places);
            if least.is_none_or(|least| renamed < least) {
                least = Some(renamed);
            }
        });
        least.unwrap_or(*self)
    }

    fn signature(&self, at: usize) -> u64 {
        let (to, from) = self.network.each().fold((0, 0), |(to_here, from_here), (from, to, _)| {
            (to_here + u64::from(to == at), from_here + u64::from(from == at))
        });
        let own = self.nodes[at].signature(at as u8 + 1);
        let (vote, key) = self.history.votes[at];
        let for_itself = u64::from(usize::from(key & 15) == at + 1);
        mix(own, to << 8 | from << 16 | u64::from(vote) << 24 | for_itself << 32)
    }

    /// The state when the node at position `at` is at `places[at]`, and its id with it.
    pub(super) fn renamed(&self, places: &[usize; N]) -> Self {
        let mut nodes = self.nodes;
        for (node, &place) in self.nodes.iter().zip(places) {
            nodes[place] = node.renamed(places);
        }
        State {
            nodes,
            network: self.network.renamed(places),
            outbox: self.outbox.renamed(places),
            cut: self.cut.renamed(places),
            spent: self.spent,
            history: self.history.renamed(places),
            broken: self.broken,
            alike: self.alike,
        }
    }
}

/// Calls `visit` with every order of `order` that keeps `keys` sorted, from `from` on.
fn each_order<const N: usize>(
    order: &mut [usize; N],
    from: usize,
    keys: &[(usize, u64); N],
    visit: &mut impl FnMut(&[usize; N]),
) {
    if from + 1 >= N {
        return visit(order);
    }
    for at in from..N {
        if keys[order[at]] == keys[order[from]] {
            order.swap(from, at);
            each_order(order, from + 1, keys, visit);
            order.swap(from, at);
        }
    }
}

fn mix(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95)
}

impl<const N: usize> Node<N> {
    /// A number that is the same for this node under every name; equal numbers may still be
    /// different nodes. `id` is its own.
    fn signature(&self, id: u8) -> u64 {
        let who = |other: u8| match other & 15 {
            0 => 0u64,
            own if own == id => 1,
            _ => 2,
        };
        let standing = self.standing.anonymous().into_iter();
        let hash = standing.fold(0, |hash, byte| hash << 8 | u64::from(byte));
        let stored = self.file.pending.unwrap_or(self.file.stored);
        let file = who(stored.vote) << 2 | who(stored.leader);
        let flags = u64::from(self.flushing) << 1 | u64::from(self.active);
        let log = self.log.written.as_slice().iter().fold(0, |hash, record| {
            let of_whom = match (record.leader(), record.voter_mask()) {
                (Some(leader), _) => who(leader),
                (_, Some(mask)) => u64::from(mask.contains(usize::from(id) - 1)),
                (None, None) => u64::from(record.bits()),
            };
            mix(hash, of_whom << 16 | record.epoch() as u64)
        });
        let held = self.held.iter().filter(|&&packet| packet != Packet::None).count() as u64;
        let rest = file << 16 | flags << 12 | u64::from(self.timers.bits()) << 4 | held;
        mix(mix(mix(hash, rest), log), u64::from(self.log.is_flushed()))
    }

    fn renamed(&self, places: &[usize; N]) -> Self {
        let mut held = self.held;
        for (packet, &place) in self.held.iter().zip(places) {
            held[place] = packet.renamed(places);
        }
        Node {
            standing: self.standing.renamed(places),
            log: self.log.renamed(places),
            file: self.file.renamed(places),
            held,
            ..*self
        }
    }
}

fn renamed_id(id: u8, places: &[usize]) -> u8 {
    if id == 0 { 0 } else { places[usize::from(id) - 1] as u8 + 1 }
}

fn renamed_key(key: SmallKey, places: &[usize]) -> SmallKey {
    key & !15 | renamed_id(key & 15, places)
}

impl DiskLog {
    fn renamed(&self, places: &[usize]) -> Self {
        let run = |run: &Run| run.renamed(places);
        DiskLog {
            written: run(&self.written),
            durable: run(&self.durable),
            placed: run(&self.placed),
            incoming: run(&self.incoming),
            ..*self
        }
    }
}

impl QuorumFile {
    fn renamed(self, places: &[usize]) -> Self {
        let stored = |it: Stored| Stored {
            epoch: it.epoch,
            leader: renamed_id(it.leader, places),
            vote: renamed_key(it.vote, places),
        };
        QuorumFile { stored: stored(self.stored), pending: self.pending.map(stored) }
    }
}

impl History {
    fn renamed(&self, places: &[usize]) -> Self {
        let mut votes = self.votes;
        for (&(epoch, key), &place) in self.votes.iter().zip(places) {
            votes[place] = (epoch, renamed_key(key, places));
        }
        History {
            leaders: self.leaders.map(|id| renamed_id(id, places)),
            votes,
            committed: self.committed.renamed(places),
            committed_in: self.committed_in,
            committed_by: self.committed_by.renamed(places),
            loyalty: self.loyalty.renamed(places),
        }
    }
}

impl Loyalty {
    fn renamed(self, places: &[usize]) -> Self {
        let moved = |set: u8| {
            let members = places.iter().enumerate().filter(|&(at, _)| set & 1 << at != 0);
            members.fold(0, |moved, (_, &place)| moved | 1 << place)
        };
        let mut since_asked = [0; MAX_NODES];
        for (&set, &place) in self.since_asked.iter().zip(places) {
            since_asked[place] = moved(set);
        }
        Loyalty { now: moved(self.now), since_asked }
    }
}
