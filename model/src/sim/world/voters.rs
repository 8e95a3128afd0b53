//! An administrator changes the voters of a dynamic quorum (Q12), as `kraft quorum add` and `remove`
//! do: by asking whoever leads. It never asks for a set that could not elect anybody.

use crate::raft::VoterChange;
use crate::sim::env::{Happening, Input};
use crate::sim::faults::Fault;
use crate::sim::process::{Process, index};
use crate::sim::profile::MILLIS;
use crate::sim::random::Random;
use crate::{NodeId, ReplicaKey, Rules};

use super::{Node, World};

/// Numbers of changes in the list of strikes begin here; the second kind is those at once.
const FIRST: u32 = 1_000_000;
const AT_ONCE: u32 = 1_000_000;
/// Voters at least, and at most.
const SIZES: (usize, usize) = (2, 6);

impl<R: Rules> World<R> {
    /// Whether the voters elect a leader without this node, for good, and no change of them is under
    /// way. While one is, a voter whose removal is in its own log only does not stand, and votes for
    /// nobody whose log is shorter: a quorum that loses another one's disk then may be stuck.
    pub fn is_dispensable(&self, at: usize) -> bool {
        let id = self.nodes[at].who.id;
        let mut sets = self.nodes.iter().map(|node| node.voters()).filter(|set| !set.is_empty());
        let Some(voters) = sets.next() else { return true };
        let others = voters.iter().filter(|voter| voter.id != id);
        sets.all(|set| set == voters) && self.can_elect(others, voters.len())
    }

    /// Whether those of so many voters who can vote are more than half.
    fn can_elect<'a>(&self, voters: impl Iterator<Item = &'a ReplicaKey>, all: usize) -> bool {
        let is_able = |voter: &&ReplicaKey| self.nodes[index(voter.id)].is_able(**voter);
        voters.filter(is_able).count() * 2 > all
    }

    /// Whether some log names this node, with its present disk, as a voter.
    pub fn is_voter_somewhere(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        self.nodes.iter().any(|other| other.voters().iter().any(|&voter| node.is_voter(voter)))
    }

    pub fn is_static(&self) -> bool {
        let any = |voter: &ReplicaKey| voter.directory.is_zero();
        self.nodes.iter().any(|node| node.who.voters.iter().any(any))
    }

    pub(super) fn consider_voters(&mut self, number: u32) {
        if self.is_healing {
            return;
        }
        let random = &mut Random::stream(self.seed, u64::from(FIRST + number));
        if number < AT_ONCE {
            let every = self.env.profile.voters_every.unwrap_or_default().max(MILLIS);
            let next = Happening::ChangeVoters(number + 1);
            self.env.after(random.between(every / 2, 2 * every), next);
        }
        // Now and then two things in a row, the second of which is too early.
        let times = 1 + u32::from(random.per_mille(300));
        if !self.without.strikes.contains(&(FIRST + number)) {
            (0..times).for_each(|_| self.ask_for_voters(FIRST + number, random));
        }
    }

    /// A new leader is asked at once: what the one before it left is not committed yet.
    pub(super) fn consider_voters_at_once(&mut self) {
        if self.random.per_mille(self.env.profile.voters_at_once) {
            let after = self.random.below(2 * self.env.profile.disk + 1);
            let number = AT_ONCE + self.steps as u32;
            self.env.after(after, Happening::ChangeVoters(number));
        }
    }

    /// Asks a node that takes itself for the leader.
    fn ask_for_voters(&mut self, number: u32, random: &mut Random) {
        let leads = |node: &&Node<R>| {
            let is_leader = |process: &Process<R>| process.quorum.is_leader();
            node.paused.is_none() && node.process.as_ref().is_some_and(is_leader)
        };
        let leaders: Vec<usize> =
            self.nodes.iter().filter(leads).map(|node| index(node.who.id)).collect();
        let Some(leader) = random.pick(&leaders) else { return };
        let Some(change) = self.choose_change(leader, random) else { return };
        let fault = match change {
            VoterChange::Add(_) => Fault::AddVoter,
            VoterChange::Remove(voter) if index(voter.id) == leader => Fault::RemoveLeader,
            VoterChange::Remove(_) => Fault::RemoveVoter,
            VoterChange::Update(_) => Fault::UpdateVoter,
        };
        if !self.without.kinds.contains(&fault) {
            self.struck.push((number, fault));
            self.handle(leader, Input::ChangeVoters(change));
        }
    }

    fn choose_change(&self, leader: usize, random: &mut Random) -> Option<VoterChange> {
        let voters = self.nodes[leader].voters();
        let is_lost = |voter: &ReplicaKey| !self.nodes[index(voter.id)].is_voter(*voter);
        let lost: Vec<ReplicaKey> = voters.iter().copied().filter(is_lost).collect();
        let is_new = |node: &&Node<R>| {
            let votes = voters.iter().any(|voter| voter.id == node.who.id);
            let is_whole = node.disk.metadata.damaged.is_none() && !node.disk.rotten_metadata;
            node.who.is_controller && !votes && is_whole
        };
        let key = |node: &Node<R>| ReplicaKey { id: node.who.id, directory: node.disk.directory };
        let new: Vec<ReplicaKey> = self.nodes.iter().filter(is_new).map(key).collect();
        let own = |voter: &&ReplicaKey| voter.id == NodeId(leader as i32 + 1);
        match random.below(100) {
            // Whoever lost its disk makes way first.
            _ if !lost.is_empty() && random.per_mille(600) => {
                self.may_remove(leader, random.pick(&lost)?)
            }
            0..45 if lost.is_empty() && voters.len() < SIZES.1 => {
                random.pick(&new).map(VoterChange::Add)
            }
            0..75 => self.may_remove(leader, random.pick(&voters)?),
            75..92 => self.may_remove(leader, voters.iter().find(own).copied()?),
            _ => random.pick(&voters).map(VoterChange::Update),
        }
    }

    /// What is left elects a leader, by the new set and by the old one.
    fn may_remove(&self, leader: usize, voter: ReplicaKey) -> Option<VoterChange> {
        let (voters, least) = (self.nodes[leader].voters(), SIZES.0);
        let left = || voters.iter().filter(|other| **other != voter);
        let is_enough = voters.len() > least
            && self.can_elect(left(), voters.len() - 1)
            && self.can_elect(left(), voters.len());
        is_enough.then_some(VoterChange::Remove(voter))
    }
}
