//! What one seed's run is like: its cluster, its timing, and which faults it draws.
//!
//! Swarm-style: each seed switches most kinds of faults off and draws the rates of the others, so
//! that rare combinations happen and no kind drowns the rest.

use super::aim::Aim;
use super::faults::{Fault, Without};
use super::random::Random;

/// Microseconds of simulated time.
pub type Micros = u64;

pub(super) const MILLIS: Micros = 1_000;
pub(super) const SECONDS: Micros = 1_000 * MILLIS;

/// At what moments an ambush strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Ambushes {
    pub voted: bool,
    pub stood: bool,
    pub led: bool,
    pub appended: bool,
    pub took_records: bool,
    pub became_leader: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Profile {
    /// Controllers in all, the last of which may be observers to begin with.
    pub controllers: usize,
    /// Of them, those that do not vote at first.
    pub spares: usize,
    pub brokers: usize,
    /// How many nodes have both roles.
    pub combined: usize,
    pub topics: usize,
    pub partitions: usize,
    pub replication: usize,
    pub min_insync: i32,
    pub flush_before_ack: bool,
    pub unclean_sweep: bool,
    pub producers: usize,
    pub consumers: usize,
    /// Mean time between two writes of a producer.
    pub write_every: Micros,
    pub admin_every: Micros,
    /// Mean time between two strikes.
    pub strike_every: Micros,
    /// Mean time between two changes of the voters; `None` in a static quorum.
    pub voters_every: Option<Micros>,
    /// Ask a new leader for other voters, per mille.
    pub voters_at_once: u32,
    /// Strikes that this run draws from, with weights.
    pub strikes: Vec<(Fault, u32)>,
    pub loss: u32,
    pub duplicate: u32,
    pub reorder: u32,
    pub delay: u32,
    pub slow_disk: u32,
    pub repeat_alters: u32,
    pub drift: bool,
    pub metadata_lag: u32,
    /// Per mille of what the administrator does: forgetting a broker.
    pub unregister: u32,
    /// Per mille of the moments at which one may strike.
    pub ambush: u32,
    pub ambushes: Ambushes,
    /// Of voters only, or brokers only.
    pub victims: Victims,
    pub latency: Micros,
    pub disk: Micros,
    pub election: Micros,
    pub fetch: Micros,
    pub session: Micros,
    pub lag: Micros,
    /// A process that ended is started again within so long.
    pub restart: Micros,
    /// Batches of metadata after which a node writes a snapshot.
    pub snapshot_batches: usize,
    /// Batches that one answer to a fetch carries at most.
    pub read_batches: usize,
    pub in_flight: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Victims {
    All,
    Controllers,
    Brokers,
}

impl Profile {
    pub fn draw(seed: u64, aim: Aim, without: &Without) -> Profile {
        let random = &mut Random::stream(seed, 1);
        let mut profile = Profile::sizes(random);
        profile.draw_times(random);
        profile.draw_faults(random);
        profile.aim(random, aim);
        profile.draw_voters(&mut Random::stream(seed, 5), aim);
        profile.draw_more(&mut Random::stream(seed, 7), aim);
        profile.leave_out(without);
        profile
    }

    fn sizes(random: &mut Random) -> Profile {
        let controllers = random.pick(&[3, 3, 3, 4, 5]).unwrap_or(3);
        let brokers = random.between(3, 6) as usize;
        let is_combined = random.per_mille(250);
        let combined = if is_combined { random.between(1, 3) as usize } else { 0 };
        Profile {
            controllers,
            spares: 0,
            brokers,
            combined,
            topics: random.between(1, 4) as usize,
            partitions: random.between(1, 3) as usize,
            replication: random.pick(&[2, 3, 3, 3, 4]).unwrap_or(3).min(brokers),
            min_insync: random.pick(&[1, 2, 2, 2]).unwrap_or(2),
            flush_before_ack: random.per_mille(350),
            unclean_sweep: random.per_mille(60),
            producers: random.between(1, 4) as usize,
            consumers: random.between(1, 3) as usize,
            write_every: random.between(10, 150) * MILLIS,
            admin_every: random.between(400, 4_000) * MILLIS,
            strike_every: random.between(300, 6_000) * MILLIS,
            voters_every: None,
            voters_at_once: 0,
            strikes: Vec::new(),
            loss: 0,
            duplicate: 0,
            reorder: 0,
            delay: 0,
            slow_disk: 0,
            repeat_alters: 0,
            unregister: 0,
            drift: false,
            metadata_lag: 0,
            ambush: 0,
            ambushes: Ambushes::default(),
            victims: Victims::All,
            latency: 0,
            disk: 0,
            election: 0,
            fetch: 0,
            session: 0,
            lag: 0,
            restart: 4 * SECONDS,
            snapshot_batches: random.between(8, 80) as usize,
            read_batches: random.between(1, 8) as usize,
            in_flight: random.between(1, 4) as usize,
        }
    }

    fn draw_times(&mut self, random: &mut Random) {
        self.latency = random.between(100, 8_000);
        self.disk = random.between(200, 12_000);
        self.election = random.between(150, 1_000) * MILLIS;
        self.fetch = random.between(300, 2_000) * MILLIS;
        self.session = random.between(1_500, 9_000) * MILLIS;
        self.lag = random.between(500, 4_000) * MILLIS;
    }

    fn draw_faults(&mut self, random: &mut Random) {
        for &fault in Fault::STRIKES {
            if random.per_mille(350) {
                self.strikes.push((fault, random.between(1, 6) as u32));
            }
        }
        let mut some = |odds: u32, most: u64| match random.per_mille(odds) {
            true => random.between(1, most) as u32,
            false => 0,
        };
        self.loss = some(250, 60);
        self.duplicate = some(250, 60);
        self.reorder = some(250, 150);
        self.delay = some(300, 40);
        self.slow_disk = some(300, 60);
        self.metadata_lag = some(300, 200);
        self.ambush = some(250, 250);
        self.drift = random.per_mille(300);
        self.ambushes = Ambushes {
            voted: random.per_mille(500),
            stood: false,
            led: random.per_mille(300),
            appended: random.per_mille(200),
            took_records: random.per_mille(200),
            became_leader: random.per_mille(300),
        };
        self.victims = match random.below(6) {
            0 => Victims::Controllers,
            1 => Victims::Brokers,
            _ => Victims::All,
        };
    }

    fn leave_out(&mut self, without: &Without) {
        let is_out = |fault| without.kinds.contains(&fault);
        self.strikes.retain(|(fault, _)| !is_out(*fault));
        let rates = [
            (Fault::Loss, &mut self.loss),
            (Fault::Duplicate, &mut self.duplicate),
            (Fault::Reorder, &mut self.reorder),
            (Fault::Delay, &mut self.delay),
            (Fault::SlowDisk, &mut self.slow_disk),
            (Fault::LateCopy, &mut self.repeat_alters),
            (Fault::Unregister, &mut self.unregister),
            (Fault::MetadataLag, &mut self.metadata_lag),
            (Fault::Ambush, &mut self.ambush),
        ];
        rates.into_iter().filter(|(fault, _)| is_out(*fault)).for_each(|(_, rate)| *rate = 0);
        self.drift &= !is_out(Fault::Drift);
        let changes =
            [Fault::AddVoter, Fault::RemoveVoter, Fault::RemoveLeader, Fault::UpdateVoter];
        if changes.into_iter().all(is_out) {
            self.voters_every = self.voters_every.map(|_| Micros::MAX / 4);
            self.voters_at_once = 0;
        }
    }

    /// The faults end: what is left is a good network and a good disk.
    pub fn heal(&mut self) {
        self.strikes.clear();
        (self.loss, self.duplicate, self.reorder, self.delay) = (0, 0, 0, 0);
        (self.slow_disk, self.metadata_lag, self.ambush) = (0, 0, 0);
        self.voters_at_once = 0;
        (self.repeat_alters, self.unregister) = (0, 0);
    }

    /// In one line, for reports.
    pub fn describe(&self) -> String {
        let flush = if self.flush_before_ack { "before-ack" } else { "page-cache" };
        let strikes: Vec<_> = self.strikes.iter().map(|(fault, _)| fault.name()).collect();
        format!(
            "{} controllers ({}), {} brokers ({} combined), {} topics of {} partitions, {} \
             replicas, min.insync {}, log.flush {flush}; strikes: {}",
            self.controllers,
            match self.voters_every {
                Some(_) => format!("{} vote at first", self.controllers - self.spares),
                None => "all vote".to_owned(),
            },
            self.brokers,
            self.combined,
            self.topics,
            self.partitions,
            self.replication,
            self.min_insync,
            strikes.join(", ")
        )
    }
}
