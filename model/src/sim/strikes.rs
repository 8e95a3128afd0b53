//! Faults that strike at a moment of their own. Each draws from a stream of its own, so that leaving
//! one out changes none of the others.

use crate::{NodeId, Rules};

use super::env::{Happening, Input};
use super::faults::Fault;
use super::profile::{MILLIS, Micros, SECONDS, Victims};
use super::random::Random;
use super::world::{Down, World};

impl<R: Rules> World<R> {
    pub(super) fn strike(&mut self, number: u32) {
        if self.is_healing {
            return;
        }
        let random = &mut Random::stream(self.seed, 1_000 + u64::from(number));
        let every = self.env.profile.strike_every;
        // Mostly close together or far apart: faults that overlap, and time to recover.
        let wait = match random.per_mille(400) {
            true => random.below(every / 4 + 1),
            false => random.between(every / 2, 2 * every),
        };
        self.env.after(wait, Happening::Strike(number + 1));
        let Some(fault) = draw(random, &self.env.profile.strikes) else { return };
        if self.without.strikes.contains(&number) {
            return;
        }
        let Some(victim) = self.victim(random) else { return };
        self.struck.push((number, fault));
        self.env.tell(|| format!("fault {number}: {} ({})", fault.name(), victim + 1));
        self.do_strike(number, fault, victim, random);
    }

    fn victim(&self, random: &mut Random) -> Option<usize> {
        let is_victim = |node: &usize| match self.env.profile.victims {
            Victims::All => true,
            Victims::Controllers => self.nodes[*node].who.is_controller,
            Victims::Brokers => self.nodes[*node].who.is_broker,
        };
        let all: Vec<usize> = (0..self.nodes.len()).filter(is_victim).collect();
        // Those who lead are worth more than the rest.
        let leads = |node: &usize| {
            let process = self.nodes[*node].process.as_ref();
            process.is_some_and(|process| process.quorum.is_leader())
        };
        let leaders: Vec<usize> = all.iter().copied().filter(leads).collect();
        if !leaders.is_empty() && random.per_mille(250) {
            return random.pick(&leaders);
        }
        random.pick(&all)
    }

    fn do_strike(&mut self, number: u32, fault: Fault, victim: usize, random: &mut Random) {
        let length = random.between(100 * MILLIS, 6 * SECONDS);
        let nodes = self.nodes.len();
        match fault {
            Fault::Kill => self.crash(victim, Down::Kill),
            Fault::PowerLoss => self.crash(victim, Down::Power),
            Fault::Blackout => (0..nodes).for_each(|node| self.crash(node, Down::Power)),
            Fault::Shutdown => self.tell_to_stop(victim),
            Fault::Pause => self.pause(victim, random.between(50 * MILLIS, 9 * SECONDS)),
            Fault::LinkBreak => {
                let peer = random.index(nodes);
                if peer != victim {
                    self.end_link(victim, peer, false);
                }
            }
            Fault::Wipe => {
                // A seat is lost for good, unless an administrator sees to it.
                let node = &self.nodes[victim];
                let is_first = self.nodes.iter().all(|node| !node.is_wiped());
                let may_again = node.who.formatted.is_some() && !node.who.is_broker;
                // Where any directory speaks for an id, a new disk may vote again.
                let is_safe = !node.who.is_controller || !self.is_static();
                let is_safe = is_safe && self.is_dispensable(victim);
                if !(is_first || may_again) || !is_safe || node.process.is_none() {
                    return;
                }
                self.wipe(victim);
            }
            Fault::FalseGone => self.take_for_gone(victim, random.index(nodes)),
            Fault::WriteError => {
                let disk = &mut self.nodes[victim].disk;
                let metadata = random.per_mille(500) || disk.data.is_empty();
                disk.fail_metadata |= metadata;
                disk.fail_data |= !metadata;
            }
            Fault::DiskFull => self.fill_disk(number, victim, length),
            Fault::RottenMetadata => {
                // It counts when a start finds it.
                self.nodes[victim].disk.rotten_metadata = true;
                let down = if random.per_mille(500) { Down::Power } else { Down::Kill };
                return self.crash(victim, down);
            }
            Fault::RottenData => {
                self.nodes[victim].disk.rotten_data = true;
                let down = if random.per_mille(500) { Down::Power } else { Down::Kill };
                return self.crash(victim, down);
            }
            Fault::Isolate | Fault::OneWay | Fault::Halves | Fault::Ring => {
                let cut = ways(fault, victim, nodes, random);
                self.cut(number, cut, length);
            }
            _ => return,
        }
        self.env.counts.count(fault);
    }

    fn tell_to_stop(&mut self, victim: usize) {
        let run = self.nodes[victim].run;
        self.env.after(0, Happening::Process { node: victim, run, input: Input::Stop });
    }

    fn take_for_gone(&mut self, victim: usize, peer: usize) {
        let (run, peer_id) = (self.nodes[victim].run, NodeId(peer as i32 + 1));
        if let Some(process) = self.nodes[peer].process.as_ref().filter(|_| peer != victim) {
            let input = Input::Gone { peer: peer_id, incarnation: process.incarnation };
            self.env.after(0, Happening::Process { node: victim, run, input });
        }
    }

    fn fill_disk(&mut self, number: u32, victim: usize, length: Micros) {
        let disk = &mut self.nodes[victim].disk;
        disk.metadata.full = true;
        disk.data.values_mut().for_each(|file| file.log.full = true);
        self.filled.insert(number, victim);
        self.env.after(length, Happening::Repair(number));
    }

    fn cut(&mut self, number: u32, ways: Vec<(usize, usize)>, length: Micros) {
        for &(from, to) in &ways {
            if self.env.network.cut(from, to, self.env.now) {
                self.watch_silence(from, to);
            }
        }
        self.cuts.insert(number, ways);
        self.env.after(length, Happening::Repair(number));
    }

    pub(super) fn repair(&mut self, number: u32) {
        if let Some(ways) = self.cuts.remove(&number) {
            self.env.tell(|| format!("fault {number} is repaired"));
            ways.into_iter().for_each(|(from, to)| self.env.network.mend(from, to));
            self.release_stuck();
        }
        if let Some(node) = self.filled.remove(&number) {
            self.empty_disk(node);
        }
    }

    /// There is room again; whoever runs the node starts it anew.
    fn empty_disk(&mut self, node: usize) {
        let disk = &mut self.nodes[node].disk;
        disk.metadata.full = false;
        disk.data.values_mut().for_each(|file| file.log.full = false);
        self.restart_if_offline(node);
    }

    pub(super) fn restart_if_offline(&mut self, node: usize) {
        let partitions = self.nodes[node].process.as_ref().and_then(|it| it.partitions.as_ref());
        if partitions.is_some_and(|partitions| partitions.is_offline()) {
            self.crash(node, Down::Kill);
        }
    }

    /// All faults end.
    pub(super) fn heal(&mut self) {
        self.is_healing = true;
        self.env.profile.heal();
        self.env.tell(|| "all faults end".to_owned());
        let numbers: Vec<u32> = self.cuts.keys().chain(self.filled.keys()).copied().collect();
        numbers.into_iter().for_each(|number| self.repair(number));
        self.resume_all();
        for node in 0..self.nodes.len() {
            let disk = &mut self.nodes[node].disk;
            (disk.fail_data, disk.fail_metadata) = (false, false);
            (disk.rotten_data, disk.rotten_metadata) = (false, false);
            self.restart_if_offline(node);
            let run = self.nodes[node].run;
            self.env.after(100 * MILLIS, Happening::Start { node, run });
        }
        self.clients.drain();
    }
}

fn draw(random: &mut Random, strikes: &[(Fault, u32)]) -> Option<Fault> {
    let all: u64 = strikes.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut at = random.below(all);
    for &(fault, weight) in strikes {
        match at.checked_sub(u64::from(weight)) {
            Some(rest) => at = rest,
            None => return Some(fault),
        }
    }
    None
}

/// The directed ways that a partition cuts.
fn ways(fault: Fault, victim: usize, nodes: usize, random: &mut Random) -> Vec<(usize, usize)> {
    let pairs = (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b)));
    let pairs = pairs.filter(|(a, b)| a != b);
    match fault {
        Fault::Isolate => pairs.filter(|(a, b)| *a == victim || *b == victim).collect(),
        Fault::OneWay => {
            let inbound = random.per_mille(500);
            let all = random.per_mille(500);
            let other = random.index(nodes);
            let is_cut = |from: usize, to: usize| {
                let (here, there) = if inbound { (to, from) } else { (from, to) };
                here == victim && (all || there == other)
            };
            pairs.filter(|&(from, to)| is_cut(from, to)).collect()
        }
        Fault::Halves => {
            let sides: Vec<bool> = (0..nodes).map(|_| random.per_mille(500)).collect();
            pairs.filter(|(a, b)| sides[*a] != sides[*b]).collect()
        }
        Fault::Ring => {
            let is_near = |a: usize, b: usize| (a + 1) % nodes == b || (b + 1) % nodes == a;
            pairs.filter(|&(a, b)| !is_near(a, b)).collect()
        }
        _ => Vec::new(),
    }
}
