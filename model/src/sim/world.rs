//! The world: nodes, links between them, clients, and the loop that lets one thing happen after the
//! other.

use std::collections::BTreeMap;

use crate::metadata::ControllerDefaults;
use crate::{ClusterId, DirectoryId, Incarnation, NodeId, ReplicaKey, Rules};

use super::clients::Clients;
use super::disk::{Disk, Loss};
use super::env::{Env, Happening, Input};
use super::faults::{Fault, Without};
use super::judge::Judge;
use super::process::{At, End, Identity, Moment, Process, Start, index};
use super::profile::{MILLIS, Micros, Profile, SECONDS};
use super::random::Random;
use super::story::Tale;

pub(super) const CLUSTER: ClusterId = ClusterId(0x6b72_6166_7421);

/// A link on which nothing is heard for so long is closed.
const SILENCE: Micros = 5 * SECONDS;

/// How many steps lie between two looks at everything.
const FULL_LOOK: u64 = 2_500;

/// A machine with its disk, and the process on it while one runs.
pub(super) struct Node<R: Rules> {
    pub who: Identity,
    pub disk: Disk,
    pub process: Option<Process<R>>,
    /// Counts the processes that ran here.
    pub run: u32,
    /// It stands still since then, for the time with this number.
    pub paused: Option<Micros>,
    pub pauses: u32,
    parked: Vec<Input>,
}

impl<R: Rules> Node<R> {
    pub fn is_wiped(&self) -> bool {
        self.disk.directory != directory(self.who.id)
    }

    /// Whether it is the voter that the configuration names.
    pub fn is_voter(&self) -> bool {
        let is_it = |voter: &ReplicaKey| {
            voter.id == self.who.id
                && (voter.directory.is_zero() || voter.directory == self.disk.directory)
        };
        self.who.voters.iter().any(is_it)
    }
}

/// How a process goes down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Down {
    /// By itself: the page cache survives.
    Kill,
    /// Its metadata could not be written.
    Broken,
    /// With its machine.
    Power,
}

pub(super) struct World<R: Rules> {
    pub seed: u64,
    rules: R,
    pub env: Env,
    pub nodes: Vec<Node<R>>,
    pub clients: Clients,
    pub judge: Judge,
    pub without: Without,
    /// What waits for a way to be mended.
    stuck: Vec<(usize, usize, Happening)>,
    /// The ways that each strike has cut, for its repair.
    pub cuts: BTreeMap<u32, Vec<(usize, usize)>>,
    /// The disks that each strike has filled.
    pub filled: BTreeMap<u32, usize>,
    pub steps: u64,
    pub is_healing: bool,
    pub random: Random,
    /// Strikes that happened, by number.
    pub struck: Vec<(u32, Fault)>,
}

impl<R: Rules> World<R> {
    pub fn new(seed: u64, profile: Profile, without: Without, rules: R, tale: Tale) -> World<R> {
        let mut random = Random::stream(seed, 2);
        let nodes = machines(&profile, &mut random);
        let brokers: Vec<NodeId> =
            nodes.iter().filter(|who| who.is_broker).map(|who| who.id).collect();
        let flush_before_ack = profile.flush_before_ack;
        let mut env = Env::new(profile, nodes.len(), Random::stream(seed, 3), tale);
        let clients = Clients::new(&mut env, brokers, Random::stream(seed, 4));
        let read_batches = env.profile.read_batches;
        let machine = |who: Identity| Node {
            disk: Disk::new(who.id, directory(who.id), read_batches),
            who,
            process: None,
            run: 1,
            paused: None,
            pauses: 0,
            parked: Vec::new(),
        };
        let nodes: Vec<Node<R>> = nodes.into_iter().map(machine).collect();
        let mut world = World {
            seed,
            rules,
            env,
            nodes,
            clients,
            judge: Judge::new(flush_before_ack),
            without,
            stuck: Vec::new(),
            cuts: BTreeMap::new(),
            filled: BTreeMap::new(),
            steps: 0,
            is_healing: false,
            random,
            struck: Vec::new(),
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            let after = self.random.below(300 * MILLIS);
            self.env.after(after, Happening::Start { node, run: 1 });
            (0..node).for_each(|other| self.dial_after(other, node, 300 * MILLIS));
        }
        let first = self.env.profile.strike_every / 2 + SECONDS;
        self.env.after(first, Happening::Strike(0));
    }

    /// Lets the next thing happen. False when nothing is left to happen or a promise is broken.
    pub fn step(&mut self) -> bool {
        let Some(happening) = self.env.next() else { return false };
        match happening {
            Happening::Process { node, run, input } => self.reach(node, run, input),
            Happening::Start { node, run } => self.start(node, run),
            Happening::Resume { node, pause } => self.resume(node, pause),
            Happening::Dial { a, b } => self.dial(a, b),
            Happening::Silent { from, to, generation, since } => {
                self.fall_silent(from, to, generation, since);
            }
            Happening::Probe { by, run, peer, incarnation } => {
                self.probe(by, run, peer, incarnation);
            }
            Happening::Strike(number) => self.strike(number),
            Happening::Repair(number) => self.repair(number),
            Happening::Crash { node, run, down, fault } => {
                if self.nodes[node].run == run && self.nodes[node].process.is_some() {
                    self.env.counts.count(fault);
                    self.crash(node, down);
                }
            }
            Happening::Client { client, event } => {
                self.steps += 1;
                self.clients.happen(client, event, &mut self.env, &mut self.judge);
            }
            Happening::Served { client, ticket, served } => {
                self.steps += 1;
                let to = (client, ticket);
                self.clients.served(to, *served, &mut self.env, &mut self.judge);
            }
            Happening::Look => {}
        }
        if self.steps.is_multiple_of(FULL_LOOK) {
            self.judge.look_at_everything(&mut self.nodes);
        }
        self.judge.broken.is_none()
    }

    /// Something reaches a process, unless it is for one that is gone, stands still, or is cut off.
    fn reach(&mut self, node: usize, run: u32, input: Input) {
        let target = &mut self.nodes[node];
        if target.run != run || target.process.is_none() {
            return;
        }
        if target.paused.is_some() {
            return target.parked.push(input);
        }
        if let Input::LinkUp { peer, generation, .. } = &input {
            // Word of a link that broke meanwhile comes to nothing.
            let link = self.env.network.link(index(*peer), node);
            if !link.is_up || link.generation != *generation {
                return;
            }
        }
        if let Input::Peer { from, .. } = &input
            && !self.env.network.passes(index(*from), node)
        {
            let from = index(*from);
            let happening = Happening::Process { node, run, input };
            return self.stuck.push((from, node, happening));
        }
        self.handle(node, input);
    }

    fn handle(&mut self, at: usize, input: Input) {
        self.steps += 1;
        let Node { who, disk, process, run, .. } = &mut self.nodes[at];
        let Some(process) = process else { return };
        let (me, run) = (who.id, *run);
        let env = &mut self.env;
        At { me, who, run, process, disk, env }.handle(input);
        let (end, moment) = (process.end.take(), process.moment.take());
        self.judge.after_step(&mut self.nodes, at, &mut self.env);
        match end {
            // After a write that failed nobody knows what the page cache was good for.
            Some(End::Fatal(_)) => self.crash(at, Down::Broken),
            Some(End::Orderly) => self.leave(at),
            None => self.ambush(at, moment),
        }
    }

    /// The process may end just now.
    fn ambush(&mut self, node: usize, moment: Option<Moment>) {
        let Some(moment) = moment else { return };
        let wanted = self.env.profile.ambushes;
        let is_wanted = match moment {
            Moment::Voted => wanted.voted,
            Moment::Led => wanted.led,
            Moment::Appended => wanted.appended,
            Moment::TookRecords => wanted.took_records,
            Moment::BecameLeader => wanted.became_leader,
        };
        let rate = match moment {
            Moment::Voted | Moment::Led => self.env.profile.ambush,
            Moment::BecameLeader => self.env.profile.ambush / 4,
            Moment::Appended | Moment::TookRecords => self.env.profile.ambush / 40,
        };
        if is_wanted && self.random.per_mille(rate) {
            let run = self.nodes[node].run;
            let power = self.random.per_mille(700);
            let (down, fault) = (if power { Down::Power } else { Down::Kill }, Fault::Ambush);
            let after = self.random.below(self.env.profile.disk);
            self.env.after(after, Happening::Crash { node, run, down, fault });
        }
    }
}

/// Processes that come and go.
impl<R: Rules> World<R> {
    fn start(&mut self, at: usize, run: u32) {
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
        let is_another_damaged = self
            .nodes
            .iter()
            .enumerate()
            .any(|(it, node)| it != at && node.disk.metadata.damaged.is_some());
        let is_any_wiped = self.nodes.iter().any(|node| node.is_wiped());
        let node = &mut self.nodes[at];
        // Only one voter's log rots at a time: a majority that rots is beyond any protocol.
        let is_safe = node.is_voter() && !is_another_damaged && !is_any_wiped;
        node.disk.rotten_metadata &= is_safe;
        let rots = (node.disk.rotten_metadata, node.disk.rotten_data);
        let ends: Vec<_> = node
            .disk
            .data
            .iter()
            .map(|(&id, file)| (id, crate::log::Log::end(&file.log)))
            .collect();
        let is_damaged = node.disk.open(self.env.profile.flush_before_ack, &mut self.random);
        if rots.0 && node.disk.metadata.damaged.is_some() {
            self.env.counts.count(Fault::RottenMetadata);
            let former = node.disk.metadata.damaged;
            self.env.tell(|| {
                format!("node {}: its metadata log is damaged, it reached {former:?}", at + 1)
            });
        }
        for (id, end) in ends {
            let is_shorter = |file: &super::disk::DataFile| crate::log::Log::end(&file.log) < end;
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
    fn leave(&mut self, at: usize) {
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
        let node = &mut self.nodes[at];
        let registered: Vec<_> = node.disk.data.keys().copied().collect();
        let directory = DirectoryId(node.disk.directory.0 + 0x100);
        node.disk = Disk::new(node.who.id, directory, self.env.profile.read_batches);
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
        for peer in (0..self.nodes.len()).filter(|&peer| peer != at) {
            self.end_link(at, peer, false);
        }
        let usual = if self.is_healing { 300 * MILLIS } else { 4 * SECONDS };
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

    fn resume(&mut self, at: usize, pause: u32) {
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

/// Links.
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

    fn dial(&mut self, a: usize, b: usize) {
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

    fn fall_silent(&mut self, from: usize, to: usize, generation: u32, since: Micros) {
        let is_cut = self.env.network.cut_since(from, to) == Some(since);
        let stands_still = self.nodes[from].paused == Some(since);
        if (is_cut || stands_still) && self.env.network.link(from, to).generation == generation {
            self.end_link(from, to, true);
        }
    }

    /// Dials back: two refusals, or another incarnation, are evidence; silence is none.
    fn probe(&mut self, by: usize, run: u32, peer: usize, incarnation: Incarnation) {
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

fn directory(id: NodeId) -> DirectoryId {
    DirectoryId(0xd1_0000 + id.0 as u128)
}

/// Controllers first; some of them brokers as well.
fn machines(profile: &Profile, random: &mut Random) -> Vec<Identity> {
    let combined = profile.combined.min(profile.controllers).min(profile.brokers);
    let nodes = profile.controllers + profile.brokers - combined;
    // Static voters have no directory: any speaks for their id.
    let is_static = random.per_mille(300);
    let voter = |number: usize| {
        let id = NodeId(number as i32);
        let directory = if is_static { DirectoryId::ZERO } else { directory(id) };
        ReplicaKey { id, directory }
    };
    let voters: Vec<ReplicaKey> = (1..=profile.controllers).map(voter).collect();
    let identity = |number: usize| Identity {
        id: NodeId(number as i32),
        is_controller: number <= profile.controllers,
        is_broker: number > profile.controllers - combined,
        voters: voters.clone(),
    };
    let all: Vec<_> = (1..=nodes).map(identity).collect();
    debug_assert_eq!(all.iter().filter(|who| who.is_broker).count(), profile.brokers);
    all
}
