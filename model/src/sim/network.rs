//! Links between nodes: which stand, which directions are cut, what is stuck.

use super::profile::Micros;

/// A link between two nodes. Its generation names the connection: what was sent on an earlier one
/// never arrives.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    pub generation: u32,
    pub is_up: bool,
    pub is_dialled: bool,
    pub attempts: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Network {
    nodes: usize,
    links: Vec<Link>,
    /// From when on nothing passes from one node to another; `None` while it does.
    cut: Vec<Option<Micros>>,
    last_arrival: Vec<Micros>,
    /// The run of each node's process, so that a message for a dead one is dropped.
    runs: Vec<u32>,
}

impl Network {
    pub fn new(nodes: usize) -> Network {
        Network {
            nodes,
            links: vec![Link::default(); nodes * nodes],
            cut: vec![None; nodes * nodes],
            last_arrival: vec![0; nodes * nodes],
            runs: vec![0; nodes],
        }
    }

    pub fn link(&mut self, a: usize, b: usize) -> &mut Link {
        &mut self.links[a.min(b) * self.nodes + a.max(b)]
    }

    pub fn started(&mut self, node: usize, run: u32) {
        self.runs[node] = run;
    }

    pub fn run_of(&self, node: usize) -> u32 {
        self.runs[node]
    }

    /// A connection keeps its order.
    pub fn in_order(&mut self, from: usize, to: usize, arrival: Micros) -> Micros {
        let last = &mut self.last_arrival[from * self.nodes + to];
        *last = arrival.max(*last + 1);
        *last
    }

    pub fn cut_since(&self, from: usize, to: usize) -> Option<Micros> {
        self.cut[from * self.nodes + to]
    }

    pub fn passes(&self, from: usize, to: usize) -> bool {
        self.cut_since(from, to).is_none()
    }

    pub fn passes_both_ways(&self, a: usize, b: usize) -> bool {
        self.passes(a, b) && self.passes(b, a)
    }

    /// Cuts the directed ways; whether it was open before, for each.
    pub fn cut(&mut self, from: usize, to: usize, now: Micros) -> bool {
        self.cut[from * self.nodes + to].replace(now).is_none()
    }

    pub fn mend(&mut self, from: usize, to: usize) {
        self.cut[from * self.nodes + to] = None;
    }
}
