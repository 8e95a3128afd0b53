//! The deterministic simulator: whole clusters under one seed, in one thread.
//!
//! ```text
//!   seed ──▶ Profile ──▶ World ── step ──▶ ... ──▶ faults end ──▶ converged and serving
//!                         │  nodes: the machines that the node runs, on simulated disks
//!                         │  links, clocks, clients; strikes of faults
//!                         └─ Judge: every invariant, after every step
//! ```
//!
//! A seed draws everything: the cluster, its timing, which faults there are and how often. The same
//! seed is the same run, bit for bit. Where the exhaustive models take every turn within small
//! bounds, this takes few turns far beyond them: five controllers, six brokers, hundreds of records,
//! snapshots, reassignments, and every kind of fault at once.
//!
//! Read on: [`Setup`] and [`run`], [`Fault`], then `process` (the shell around the machines),
//! `judge` (what must hold) and `heal` (what must come back).

mod aim;
mod clients;
mod disk;
mod env;
mod faults;
mod heal;
mod hunt;
mod judge;
mod network;
mod process;
mod profile;
mod random;
mod shrink;
mod story;
mod strikes;
mod world;

pub use aim::Aim;
pub use faults::{Fault, FaultCounts, Without};
pub use hunt::{Hunt, fate_of, hunt, seed_of, try_without};
pub use judge::Broken;
pub use profile::Micros;
pub use shrink::{Shrunk, shrink};

use crate::Rules;
use profile::{MILLIS, Profile, SECONDS};
use story::Tale;
use world::World;

/// One run.
#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    /// Steps under faults; healing comes on top.
    pub steps: u64,
    pub aim: Aim,
    pub without: Without,
    /// Keep what happened, to be told.
    pub is_told: bool,
}

impl Setup {
    pub fn new(seed: u64, steps: u64) -> Setup {
        Setup { seed, steps, aim: Aim::of(seed), without: Without::default(), is_told: false }
    }
}

/// What became of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub seed: u64,
    pub profile: String,
    pub steps: u64,
    /// Simulated time.
    pub micros: Micros,
    pub broken: Option<Broken>,
    pub faults: FaultCounts,
    /// The strikes that happened.
    pub struck: Vec<(u32, Fault)>,
    /// Of everything that happened, in its order: equal for equal runs.
    pub digest: u64,
    /// Writes acknowledged with acks=all, records shown to consumers, requests answered.
    pub acknowledged: u64,
    pub shown: u64,
    pub answered: u64,
    /// Batches of metadata that were committed.
    pub committed: u64,
    /// The last lines of what happened, if they were kept.
    pub tale: Vec<String>,
}

/// How long a cluster without faults may take to become whole, in simulated time: a session, an
/// election and a back-off, several times over.
const HEALING: Micros = 180 * SECONDS;
/// How long it may take to serve fresh requests then.
const SERVING: Micros = 60 * SECONDS;
/// After so long an operator looks at what the protocol leaves to operators.
const OPERATOR: Micros = 30 * SECONDS;
/// Between two looks at whether the cluster has converged.
const LOOK: Micros = 200 * MILLIS;

/// Runs a seed: faults for so many steps, then none, until the cluster is whole again.
pub fn run<R: Rules>(setup: &Setup, rules: R) -> Outcome {
    let profile = Profile::draw(setup.seed, setup.aim, &setup.without);
    let described = profile.describe();
    let tale = if setup.is_told { Tale::kept() } else { Tale::default() };
    let without = setup.without.clone();
    let mut world = World::new(setup.seed, profile, without, rules, tale);
    while world.steps < setup.steps && world.step() {}
    if world.judge.broken.is_none() {
        converge(&mut world);
    }
    if world.judge.broken.is_none() {
        world.judge.look_at_everything(&mut world.nodes);
    }
    finish(world, setup.seed, described)
}

fn converge<R: Rules>(world: &mut World<R>) {
    world.heal();
    let start = world.env.now;
    let mut operated = start;
    while let Some(missing) = world.missing() {
        let now = world.env.now;
        if now - start > HEALING {
            return world.judge.fail("the cluster converges once faults end", || missing);
        }
        if now - operated > OPERATOR {
            operated = now;
            world.operate();
        }
        if !pass(world, LOOK) {
            return;
        }
    }
    let partitions: Vec<_> = world.judge.reference.partitions().map(|(id, _)| id).collect();
    world.clients.verify(partitions.into_iter());
    let start = world.env.now;
    while !world.clients.are_verified() {
        if world.env.now - start > SERVING {
            let how = || "a fresh write or an administrator is not answered".to_owned();
            return world.judge.fail("a cluster that has converged serves", how);
        }
        if !pass(world, LOOK) {
            return;
        }
    }
}

/// Lets time pass; false if a promise broke.
fn pass<R: Rules>(world: &mut World<R>, time: Micros) -> bool {
    let until = world.env.now + time;
    world.env.at(until, env::Happening::Look);
    while world.env.now < until {
        if !world.step() {
            return false;
        }
    }
    true
}

fn finish<R: Rules>(mut world: World<R>, seed: u64, profile: String) -> Outcome {
    for node in &world.nodes {
        let log = &node.disk.metadata;
        let last = log.batches().back().map_or(0, |batch| batch.id);
        let data: u64 = node.disk.data.values().map(|file| file.log.records().len() as u64).sum();
        world.env.stir(last ^ data << 40);
    }
    if let Some(broken) = &world.judge.broken {
        let line = format!("=> broken: {} ({})", broken.property, broken.how);
        world.env.tell(|| line);
    }
    Outcome {
        seed,
        profile,
        steps: world.steps,
        micros: world.env.now,
        broken: world.judge.broken,
        faults: world.env.counts,
        struck: world.struck,
        digest: world.env.digest,
        acknowledged: world.judge.acknowledged,
        shown: world.judge.shown,
        answered: world.clients.answered,
        committed: world.judge.committed_end as u64,
        tale: world.env.tale.into_lines(),
    }
}
