//! Links between nodes: dialled, broken, fallen silent; and probes of whether a process is gone.

use crate::sim::env::{Happening, Input};
use crate::sim::profile::{MILLIS, Micros, SECONDS};
use crate::{Incarnation, NodeId, Rules};

use super::{Node, World};

/// A link on which nothing is heard for so long is closed.
const SILENCE: Micros = 5 * SECONDS;

impl<R: Rules> World<R> {
    pub fn dial_after(&mut self, a: usize, b: usize, most: Micros) {
        let link = self.env.network.link(a, b);
        if link.is_dialled || link.is_up {
            return;
        }
        link.is_dialled = true;
        let after = self.random.below(most + 1);
        self.env.after(after, Happening::Dial { a, b });
    }

    pub(super) fn dial(&mut self, a: usize, b: usize) {
        let is_there = |node: &Node<R>| node.process.is_some() && node.paused.is_none();
        let reaches = is_there(&self.nodes[a]) && is_there(&self.nodes[b]);
        let passes = self.env.network.passes_both_ways(a, b);
        let link = self.env.network.link(a, b);
        link.is_dialled = false;
        if link.is_up {
            return;
        }
        if !reaches || !passes {
            link.attempts = (link.attempts + 1).min(6);
            let wait = ((20 * MILLIS) << link.attempts).min(SECONDS);
            return self.dial_after(a, b, wait);
        }
        (link.is_up, link.attempts) = (true, 0);
        link.generation += 1;
        let generation = link.generation;
        let at = self.env.now + self.env.latency();
        for (me, peer) in [(a, b), (b, a)] {
            let Some(process) = &self.nodes[peer].process else { continue };
            let (run, incarnation) = (self.nodes[me].run, process.incarnation);
            let peer = NodeId(peer as i32 + 1);
            let input = Input::LinkUp { peer, generation, incarnation };
            self.env.at(at, Happening::Process { node: me, run, input });
        }
    }

    /// The connection breaks: both ends are told, as soon as word reaches them.
    pub fn end_link(&mut self, a: usize, b: usize, by_silence: bool) {
        let link = self.env.network.link(a, b);
        if !std::mem::replace(&mut link.is_up, false) {
            return;
        }
        let generation = link.generation;
        for (me, peer) in [(a, b), (b, a)] {
            let wait = match by_silence || self.env.network.passes(peer, me) {
                true => self.env.latency(),
                false => SILENCE,
            };
            let (run, peer) = (self.nodes[me].run, NodeId(peer as i32 + 1));
            let input = Input::LinkDown { peer, generation };
            self.env.after(wait, Happening::Process { node: me, run, input });
        }
        self.dial_after(a, b, 60 * MILLIS);
    }

    /// Watches whether a link bears that nothing comes over it.
    pub fn watch_silence(&mut self, from: usize, to: usize) {
        let (since, generation) = (self.env.now, self.env.network.link(from, to).generation);
        self.env.after(SILENCE, Happening::Silent { from, to, generation, since });
    }

    pub(super) fn fall_silent(&mut self, from: usize, to: usize, generation: u32, since: Micros) {
        let is_cut = self.env.network.cut_since(from, to) == Some(since);
        let stands_still = self.nodes[from].paused == Some(since);
        if (is_cut || stands_still) && self.env.network.link(from, to).generation == generation {
            self.end_link(from, to, true);
        }
    }

    /// Dials back: two refusals, or another incarnation, are evidence; silence is none.
    pub(super) fn probe(&mut self, by: usize, run: u32, peer: usize, incarnation: Incarnation) {
        if self.nodes[by].run != run || !self.env.network.passes_both_ways(by, peer) {
            return;
        }
        let found = match &self.nodes[peer].process {
            Some(_) if self.nodes[peer].paused.is_some() => return,
            Some(process) => process.incarnation != incarnation,
            None => true,
        };
        if found {
            let input = Input::Gone { peer: NodeId(peer as i32 + 1), incarnation };
            let latency = self.env.latency();
            self.env.after(latency, Happening::Process { node: by, run, input });
        }
    }

    /// What was stuck on ways that are open again arrives in its order.
    pub fn release_stuck(&mut self) {
        for (from, to, happening) in std::mem::take(&mut self.stuck) {
            if self.env.network.passes(from, to) {
                let at = self.env.network.in_order(from, to, self.env.now);
                self.env.at(at, happening);
            } else {
                self.stuck.push((from, to, happening));
            }
        }
    }
}
