//! Processes that come and go: starts with recovery, crashes, orderly stops, pauses, new disks.

use crate::log::Log;
use crate::metadata::ControllerDefaults;
use crate::sim::disk::{DataFile, Disk, Loss};
use crate::sim::env::{Happening, Input};
use crate::sim::faults::Fault;
use crate::sim::process::{Process, Start};
use crate::sim::profile::{MILLIS, Micros};
use crate::{DirectoryId, Incarnation, Rules};

use super::{Down, World};

impl<R: Rules> World<R> {
    pub(super) fn start(&mut self, at: usize, run: u32) {
        let node = &mut self.nodes[at];
        if node.run != run || node.process.is_some() {
            return;
        }
        let is_damaged = self.open(at);
        let clock = match self.env.profile.drift {
            true => {
                self.env.counts.count(Fault::Drift);
                self.random.between(850, 1_150)
            }
            false => 1_000,
        };
        let incarnation = Incarnation((at as u128 + 1) << 32 | u128::from(run));
        let profile = &self.env.profile;
        let defaults = ControllerDefaults {
            num_partitions: profile.partitions as i32,
            default_replication_factor: profile.replication as i16,
            min_insync_replicas: profile.min_insync,
            unclean_leader_election: false,
            auto_leader_rebalance: true,
        };
        let start = Start { rules: self.rules, incarnation, defaults, is_damaged, clock };
        let node = &mut self.nodes[at];
        node.process = Some(Process::start(&node.who, start, &mut node.disk));
        self.env.network.started(at, run);
        self.env.tell(|| format!("node {} starts (run {run})", at + 1));
        self.handle(at, Input::Started);
    }

    /// Recovery; whether data is found damaged.
    fn open(&mut self, at: usize) -> bool {
        // A majority that rots is beyond any protocol, and observers have nothing to lose.
        let is_safe = self.is_dispensable(at) && self.is_voter_somewhere(at);
        let node = &mut self.nodes[at];
        node.disk.rotten_metadata &= is_safe;
        let rots = (node.disk.rotten_metadata, node.disk.rotten_data);
        let ends: Vec<_> = node.disk.data.iter().map(|(&id, file)| (id, file.log.end())).collect();
        let is_damaged = node.disk.open(self.env.profile.flush_before_ack, &mut self.random);
        if rots.0 && node.disk.metadata.damaged.is_some() {
            self.env.counts.count(Fault::RottenMetadata);
            let former = node.disk.metadata.damaged;
            self.env.tell(|| {
                format!("node {}: its metadata log is damaged, it reached {former:?}", at + 1)
            });
        }
        for (id, end) in ends {
            let is_shorter = |file: &DataFile| file.log.end() < end;
            if self.nodes[at].disk.data.get(&id).is_some_and(is_shorter) {
                self.env.counts.count(Fault::RottenData);
                self.env.tell(|| format!("node {}: a log of data is damaged", at + 1));
                self.judge.damaged(&self.nodes[at], id);
            }
        }
        is_damaged
    }

    /// The process ends, or the whole machine.
    pub fn crash(&mut self, at: usize, down: Down) {
        if self.nodes[at].process.is_none() {
            return;
        }
        if down == Down::Power || self.nodes[at].disk.has_suspects() {
            self.judge.stopped_uncleanly(&self.nodes[at]);
        }
        let (disk, random) = (&mut self.nodes[at].disk, &mut self.random);
        let loss = match down {
            Down::Kill => {
                disk.kill(random);
                Loss::default()
            }
            Down::Broken => disk.break_down(random),
            Down::Power => disk.lose_power(random),
        };
        if loss.torn {
            self.env.counts.count(Fault::TornTail);
        }
        self.env
            .tell(|| format!("node {} goes down ({down:?}), {} records lost", at + 1, loss.lost));
        self.end_process(at);
    }

    /// The process has left in order.
    pub(super) fn leave(&mut self, at: usize) {
        if self.nodes[at].disk.has_suspects() {
            self.judge.stopped_uncleanly(&self.nodes[at]);
        }
        self.nodes[at].disk.kill(&mut self.random);
        self.env.tell(|| format!("node {} has left", at + 1));
        self.end_process(at);
    }

    /// The disk is replaced by an empty one: what is on it is another voter's and another log
    /// directory's, under the same node id.
    pub fn wipe(&mut self, at: usize) {
        self.crash(at, Down::Power);
        let node = &self.nodes[at];
        let registered: Vec<_> = node.disk.data.keys().copied().collect();
        let directory = DirectoryId(node.disk.directory.0 + 0x100);
        self.judge.seat_lost(node);
        let node = &mut self.nodes[at];
        node.disk = Disk::new(node.who.id, directory, self.env.profile.read_batches, None);
        for id in registered {
            self.judge.wiped(&self.nodes[at], id);
        }
        self.env.tell(|| format!("node {} has a new disk", at + 1));
    }

    fn end_process(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.process = None;
        node.run += 1;
        node.paused = None;
        node.parked.clear();
        let run = node.run;
        self.judge.is_gone(node.who.id);
        for peer in (0..self.nodes.len()).filter(|&peer| peer != at) {
            self.end_link(at, peer, false);
        }
        let usual = if self.is_healing { 300 * MILLIS } else { self.env.profile.restart };
        let after = 30 * MILLIS + self.random.below(usual);
        self.env.after(after, Happening::Start { node: at, run });
    }

    pub fn pause(&mut self, at: usize, length: Micros) {
        let node = &mut self.nodes[at];
        if node.process.is_none() || node.paused.is_some() {
            return;
        }
        let now = self.env.now;
        node.paused = Some(now);
        node.pauses += 1;
        let pause = node.pauses;
        self.env.tell(|| format!("node {} stands still for {} ms", at + 1, length / MILLIS));
        self.env.after(length, Happening::Resume { node: at, pause });
        for peer in (0..self.nodes.len()).filter(|&peer| peer != at) {
            self.watch_silence(at, peer);
        }
    }

    pub(super) fn resume(&mut self, at: usize, pause: u32) {
        let node = &mut self.nodes[at];
        if node.paused.is_none() || node.pauses != pause {
            return;
        }
        node.paused = None;
        let run = node.run;
        self.env.tell(|| format!("node {} goes on", at + 1));
        for input in std::mem::take(&mut self.nodes[at].parked) {
            self.env.after(0, Happening::Process { node: at, run, input });
        }
    }

    pub fn resume_all(&mut self) {
        for at in 0..self.nodes.len() {
            self.resume(at, self.nodes[at].pauses);
        }
    }
}
