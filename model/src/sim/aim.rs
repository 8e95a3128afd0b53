//! What seeds are drawn for: sizes, times and faults that let one family of things happen often.

use super::faults::Fault;
use super::profile::{MILLIS, Profile, SECONDS, Victims};
use super::random::Random;

/// What a run is drawn for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Aim {
    /// Anything.
    #[default]
    Wide,
    /// The controllers' quorum: elections, crashes right after votes and appends.
    Quorum,
    /// Partitions: leaders that change, ISRs that shrink, power losses.
    Partitions,
    /// Registration, fencing and reassignment.
    Metadata,
    /// Voters that change while leaders do.
    Voters,
    /// Elections in a row, on slow disks and a slow network; candidates that crash.
    Elections,
    /// Controllers whose disks are replaced while others lag.
    Disks,
    /// Partitions whose leaders change while no process ends.
    Leaders,
    /// Brokers that restart without what they had not flushed, soon and often.
    Restarts,
    /// Reassignments.
    Moves,
    /// Leaders that are cut off, come back and truncate, and then lose power.
    Truncations,
}

impl Aim {
    pub const ALL: &'static [Aim] = &[
        Aim::Wide,
        Aim::Quorum,
        Aim::Partitions,
        Aim::Metadata,
        Aim::Voters,
        Aim::Elections,
        Aim::Disks,
        Aim::Leaders,
        Aim::Restarts,
        Aim::Moves,
        Aim::Truncations,
    ];

    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// What a seed is drawn for when nobody says otherwise.
    pub fn of(seed: u64) -> Aim {
        [Aim::Wide, Aim::Quorum, Aim::Partitions, Aim::Metadata][(seed % 4) as usize]
    }
}

impl Profile {
    pub fn aim(&mut self, random: &mut Random, aim: Aim) {
        match aim {
            Aim::Wide => {}
            Aim::Quorum | Aim::Voters => {
                self.victims = Victims::Controllers;
                self.controllers = random.pick(&[3, 3, 4, 5]).unwrap_or(3);
                (self.brokers, self.combined, self.topics) = (3, 0, 1);
                self.producers = 1;
                self.strike_every = random.between(100, 900) * MILLIS;
                self.admin_every = random.between(30, 300) * MILLIS;
                self.election = random.between(60, 300) * MILLIS;
                self.ambush = random.between(100, 700) as u32;
                self.ambushes.voted = true;
                self.slow_disk = random.between(0, 300) as u32;
                let network =
                    [Fault::Isolate, Fault::Halves, Fault::OneWay, Fault::Ring, Fault::Wipe];
                let favoured = [Fault::PowerLoss, Fault::LinkBreak, Fault::Pause];
                self.favour(random, &favoured, &network);
            }
            Aim::Partitions => {
                self.victims = Victims::Brokers;
                self.strike_every = random.between(150, 1_500) * MILLIS;
                self.write_every = random.between(5, 40) * MILLIS;
                self.metadata_lag = random.between(0, 500) as u32;
                self.ambush = random.between(0, 200) as u32;
                self.session = random.between(600, 2_500) * MILLIS;
                self.lag = random.between(150, 1_500) * MILLIS;
                let favoured = [Fault::PowerLoss, Fault::Kill, Fault::Pause, Fault::OneWay];
                let sometimes = [Fault::Isolate, Fault::Shutdown, Fault::RottenData];
                self.favour(random, &favoured, &sometimes);
            }
            Aim::Elections => {
                self.aim(random, Aim::Quorum);
                self.election = random.between(40, 150) * MILLIS;
                self.strike_every = random.between(60, 400) * MILLIS;
                (self.delay, self.slow_disk) = (random.between(20, 150) as u32, 250);
                (self.duplicate, self.read_batches) = (random.between(0, 60) as u32, 1);
                (self.ambushes.stood, self.restart) = (true, 150 * MILLIS);
            }
            Aim::Disks => {
                self.aim(random, Aim::Quorum);
                self.controllers = 3;
                self.restart = 300 * MILLIS;
                let favoured = [Fault::Wipe, Fault::Isolate, Fault::PowerLoss];
                self.favour(random, &favoured, &[Fault::Pause]);
            }
            Aim::Leaders => {
                self.victims = Victims::Brokers;
                (self.brokers, self.replication) = (random.between(3, 4) as usize, 3);
                (self.topics, self.partitions) = (1, random.between(1, 2) as usize);
                self.min_insync = random.between(1, 2) as i32;
                self.strike_every = random.between(100, 700) * MILLIS;
                self.write_every = random.between(5, 30) * MILLIS;
                self.admin_every = random.between(40, 250) * MILLIS;
                self.session = random.between(400, 1_000) * MILLIS;
                self.lag = random.between(100, 500) * MILLIS;
                (self.delay, self.metadata_lag) =
                    (random.between(0, 80) as u32, random.between(50, 500) as u32);
                self.unclean_sweep = false;
                let favoured = [Fault::Isolate, Fault::Pause, Fault::OneWay, Fault::FalseGone];
                self.favour(random, &favoured, &[Fault::LinkBreak, Fault::Halves]);
                let ends = [Fault::Kill, Fault::PowerLoss, Fault::Blackout, Fault::Shutdown];
                self.strikes.retain(|(fault, _)| !ends.contains(fault));
            }
            Aim::Restarts => {
                self.victims = Victims::Brokers;
                (self.brokers, self.replication) = (3, 3);
                (self.topics, self.partitions) = (1, random.between(1, 3) as usize);
                self.strike_every = random.between(100, 800) * MILLIS;
                self.write_every = random.between(5, 30) * MILLIS;
                self.session = random.between(400, 1_500) * MILLIS;
                self.lag = random.between(100, 600) * MILLIS;
                self.restart = random.between(30, 400) * MILLIS;
                (self.delay, self.ambush) = (random.between(20, 200) as u32, 200);
                self.ambushes.took_records = true;
                self.unclean_sweep = false;
                let favoured = [Fault::PowerLoss, Fault::Pause, Fault::OneWay];
                self.favour(random, &favoured, &[Fault::Isolate, Fault::Kill]);
            }
            Aim::Truncations => {
                self.victims = Victims::Brokers;
                (self.brokers, self.replication, self.flush_before_ack) = (3, 3, false);
                (self.topics, self.partitions) = (1, random.between(2, 3) as usize);
                self.min_insync = random.between(1, 2) as i32;
                self.producers = random.between(2, 4) as usize;
                self.strike_every = random.between(600, 2_500) * MILLIS;
                self.write_every = random.between(5, 30) * MILLIS;
                self.admin_every = random.between(1, 4) * SECONDS;
                self.session = random.between(400, 1_000) * MILLIS;
                self.lag = random.between(100, 500) * MILLIS;
                self.restart = random.between(30, 600) * MILLIS;
                self.unclean_sweep = false;
                self.strikes.clear();
                let favoured = [Fault::PowerLoss, Fault::Isolate, Fault::OneWay];
                self.favour(random, &favoured, &[]);
            }
            Aim::Moves => {
                self.aim(random, Aim::Metadata);
                (self.topics, self.partitions) = (1, random.between(1, 2) as usize);
                self.brokers = random.between(3, 4) as usize;
                self.replication = random.between(2, 3) as usize;
                self.min_insync = 2;
                self.admin_every = random.between(30, 150) * MILLIS;
                self.strike_every = random.between(150, 900) * MILLIS;
                self.session = random.between(400, 1_200) * MILLIS;
                self.write_every = random.between(5, 40) * MILLIS;
            }
            Aim::Metadata => {
                self.strike_every = random.between(200, 2_000) * MILLIS;
                self.admin_every = random.between(80, 500) * MILLIS;
                self.session = random.between(600, 3_000) * MILLIS;
                let favoured = [Fault::Kill, Fault::PowerLoss, Fault::Shutdown];
                self.favour(random, &favoured, &[Fault::Isolate, Fault::FalseGone]);
            }
        }
    }

    /// What was added later, from a stream of its own.
    pub fn draw_more(&mut self, random: &mut Random, aim: Aim) {
        let is_aimed =
            matches!(aim, Aim::Partitions | Aim::Metadata | Aim::Restarts | Aim::Leaders);
        if aim == Aim::Leaders || random.per_mille(if is_aimed { 500 } else { 150 }) {
            self.repeat_alters = random.between(20, 400) as u32;
        }
        // An unregistered broker counts for one that stopped uncleanly, which from the page cache may
        // have lost what it acknowledged.
        if random.per_mille(if is_aimed { 300 } else { 100 }) && !self.flush_before_ack {
            self.unregister = random.between(5, 60) as u32;
        }
    }

    /// Whether the quorum is a dynamic one (Q12), and how often its voters change.
    pub fn draw_voters(&mut self, random: &mut Random, aim: Aim) {
        let odds = match aim {
            Aim::Voters => 1_000,
            Aim::Disks => 500,
            Aim::Elections => 300,
            Aim::Quorum => 600,
            _ => 350,
        };
        let often = match aim {
            Aim::Voters => random.between(150, 1_000) * MILLIS,
            Aim::Quorum => random.between(300, 3_000) * MILLIS,
            _ => random.between(1_000, 8_000) * MILLIS,
        };
        let (spares, at_once) = (random.between(1, 2) as usize, random.between(0, 600) as u32);
        if random.per_mille(odds) {
            self.voters_every = Some(often);
            self.spares = spares;
            self.controllers += spares;
            self.voters_at_once = if aim == Aim::Voters { at_once } else { at_once / 8 };
        }
    }

    /// Draws from these more than from the rest.
    fn favour(&mut self, random: &mut Random, always: &[Fault], sometimes: &[Fault]) {
        let mut more: Vec<Fault> = always.to_vec();
        more.extend(sometimes.iter().filter(|_| random.per_mille(500)));
        for fault in more {
            self.strikes.retain(|(other, _)| *other != fault);
            self.strikes.push((fault, random.between(5, 12) as u32));
        }
    }
}
