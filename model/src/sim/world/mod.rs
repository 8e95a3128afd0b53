//! The world: nodes, links between them, clients, and the loop that lets one thing happen after the
//! other.

mod links;
mod processes;
mod voters;

use std::collections::BTreeMap;

use crate::log::Log;
use crate::raft::{RaftLog, Voters};
use crate::{ClusterId, DirectoryId, NodeId, ReplicaKey, Rules};

use super::clients::Clients;
use super::disk::Disk;
use super::env::{Env, Happening, Input};
use super::faults::{Fault, Without};
use super::judge::Judge;
use super::process::{At, End, Identity, Moment, Process, index};
use super::profile::{MILLIS, Micros, Profile, SECONDS};
use super::random::Random;
use super::story::Tale;

pub(super) const CLUSTER: ClusterId = ClusterId(0x6b72_6166_7421);

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

    /// The voters by this node's log, or else by its configuration (Q12).
    pub fn voters(&self) -> Voters {
        let log = &self.disk.metadata;
        let configured = || self.who.voters.iter().copied().collect();
        log.voters_below(log.end()).map_or_else(configured, |record| record.voters)
    }

    /// Whether the disk in it is that of this voter.
    pub fn is_voter(&self, voter: ReplicaKey) -> bool {
        voter.id == self.who.id
            && (voter.directory.is_zero() || voter.directory == self.disk.directory)
    }

    /// Whether it can vote as this voter: it has its disk, with all that it once promised.
    pub fn is_able(&self, voter: ReplicaKey) -> bool {
        let metadata = &self.disk.metadata;
        self.is_voter(voter) && metadata.damaged.is_none() && !self.disk.rotten_metadata
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
            disk: Disk::new(who.id, directory(who.id), read_batches, who.formatted),
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
        if self.env.profile.voters_every.is_some() {
            self.env.after(2 * SECONDS, Happening::ChangeVoters(0));
        }
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
            Happening::ChangeVoters(number) => self.consider_voters(number),
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
        if moment == Moment::Led {
            self.consider_voters_at_once();
        }
        let wanted = self.env.profile.ambushes;
        let is_wanted = match moment {
            Moment::Voted => wanted.voted,
            Moment::Stood => wanted.stood,
            Moment::Led => wanted.led,
            Moment::Appended => wanted.appended,
            Moment::TookRecords => wanted.took_records,
            Moment::BecameLeader => wanted.became_leader,
        };
        let rate = match moment {
            Moment::Voted | Moment::Stood | Moment::Led => self.env.profile.ambush,
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

fn directory(id: NodeId) -> DirectoryId {
    DirectoryId(0xd1_0000 + id.0 as u128)
}

/// Controllers first; some of them brokers as well.
fn machines(profile: &Profile, random: &mut Random) -> Vec<Identity> {
    let combined = profile.combined.min(profile.controllers).min(profile.brokers);
    let nodes = profile.controllers + profile.brokers - combined;
    // Static voters have no directory: any speaks for their id. Some are named with one all the
    // same; in a dynamic quorum the log names them, which the first of them are formatted with.
    let is_dynamic = profile.voters_every.is_some();
    let is_static = random.per_mille(300) && !is_dynamic;
    let voter = |number: usize| {
        let id = NodeId(number as i32);
        let directory = if is_static { DirectoryId::ZERO } else { directory(id) };
        ReplicaKey { id, directory }
    };
    let voting = profile.controllers - profile.spares;
    let voters: Vec<ReplicaKey> = (1..=voting).map(voter).collect();
    let identity = |number: usize| Identity {
        id: NodeId(number as i32),
        is_controller: number <= profile.controllers,
        is_broker: number > profile.controllers - combined,
        voters: if is_dynamic { Vec::new() } else { voters.clone() },
        formatted: (is_dynamic && number <= voting).then(|| voters.iter().copied().collect()),
        last_controller: NodeId(profile.controllers as i32),
    };
    let all: Vec<_> = (1..=nodes).map(identity).collect();
    debug_assert_eq!(all.iter().filter(|who| who.is_broker).count(), profile.brokers);
    all
}
