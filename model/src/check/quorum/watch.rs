//! What the promises need to know of a step.

use crate::check::Mutated;
use crate::invariant::quorum as invariant;
use crate::log::Log;
use crate::raft::{Event, FetchOutcome, Message, Quorum, Standing, Timer};

use super::keys::id;
use super::packet::Packet;
use super::record::Run;
use super::state::{Broken, vote};
use super::turn::Turn;

impl<const N: usize> Turn<'_, N> {
    /// Notes a vote that becomes known to others.
    pub(super) fn note_vote(&mut self, from: usize, to: usize, packet: Packet) {
        let nodes = &self.state.nodes;
        let key = |at: usize| self.model.born(at, nodes[at].wiped).me().directory.0 as u8;
        let now = match packet {
            Packet::Vote { epoch, candidate, pre_vote: false, .. } => (epoch, candidate),
            Packet::VoteResponse { epoch, granted: true, pre_vote: false, .. } => (epoch, key(to)),
            _ => return,
        };
        let known = &mut self.state.history.votes[from];
        if now.0 < known.0 {
            return;
        }
        if !invariant::promises_kept(vote(*known), vote(now)) {
            self.state.broken = Some(Broken::VoteChanged);
        }
        *known = now;
    }

    pub(super) fn note_committed(&mut self, at: usize, offset: usize) {
        let node = &self.state.nodes[at];
        let history = &mut self.state.history;
        if offset > history.committed.len() {
            let whole = node.log.whole();
            if offset <= whole.len() {
                history.committed = whole.prefix(offset);
                let epoch = node.standing.epoch().0 as u8;
                history.committed_in = history.committed_in.max(epoch);
                history.committed_by = node.voters();
            }
        }
    }

    pub(super) fn watch(&mut self, at: usize, machine: &Quorum<Mutated>, before: Standing) {
        let history = &mut self.state.history;
        if machine.is_leader() {
            let epoch = machine.epoch();
            if !invariant::one_leader_per_epoch(history.leader_of(epoch), id(at)) {
                self.state.broken = Some(Broken::TwoLeaders);
            }
            history.leaders[epoch.0 as usize] = at as u8 + 1;
        }
        let (before, now) = (before.high_watermark().0, machine.high_watermark().0);
        if !invariant::high_watermark_rises(before as usize, now as usize) {
            self.state.broken = Some(Broken::HighWatermarkFell);
        }
    }

    /// Whether the event is an answer of the leader that its follower has waited for.
    pub(super) fn is_in_touch(&self, at: usize, event: &Event<Run>) -> bool {
        let node = &self.state.nodes[at];
        let Event::Received { from, message: Message::FetchResponse(answer) } = event else {
            return false;
        };
        // Who asks for pre-votes has given up the fetch that it sent before.
        !node.standing.is_prospective()
            && node.standing.other_leader() == Some(*from)
            && answer.epoch == node.standing.epoch()
            && !matches!(answer.outcome, FetchOutcome::Refused(_))
            && (answer.offset, answer.last_epoch.0) == (node.log.end(), node.log.last_epoch())
    }

    pub(super) fn watch_loyalty(
        &mut self,
        at: usize,
        before: Standing,
        in_touch: bool,
        shaken: bool,
    ) {
        let now = self.state.nodes[at].standing;
        let loyalty = &mut self.state.history.loyalty;
        if shaken || now.epoch() != before.epoch() || before.is_leader() && !now.is_leader() {
            loyalty.lose(at);
        }
        if in_touch || now.is_leader() {
            loyalty.now |= 1 << at;
        }
        if now.is_prospective() && !before.is_prospective() {
            let network = &self.state.network;
            let promised = (0..N).filter(|&voter| {
                network.queue(voter, at).any(|packet| {
                    matches!(packet, Packet::VoteResponse { granted: true, pre_vote: true, .. })
                })
            });
            let promised = promised.fold(0, |set, voter| set | 1 << voter);
            loyalty.since_asked[at] = loyalty.now & !promised;
        }
        if now.epoch() > before.epoch() && now.is_candidate() {
            let asked = before.is_prospective();
            let loyal = if asked { loyalty.since_asked[at] } else { loyalty.now };
            let loyal = loyal.count_ones() as usize;
            if !invariant::leadership_is_stable(loyal, N) {
                self.state.broken = Some(Broken::LeadershipUnstable);
            }
        }
        if !now.is_prospective() {
            loyalty.since_asked[at] = 0;
        }
    }
}

impl super::state::Loyalty {
    pub(super) fn lose(&mut self, at: usize) {
        let keep = !(1 << at);
        self.now &= keep;
        self.since_asked.iter_mut().for_each(|set| *set &= keep);
    }
}

/// Whether `event` is a reason for a node not to rely on its leader any more.
pub(super) fn shakes(event: &Event<Run>) -> bool {
    match event {
        Event::Timeout(timer) => {
            matches!(timer, Timer::Election(_) | Timer::Fetch | Timer::CheckQuorum)
        }
        Event::PeerGone(_) | Event::Resign => true,
        Event::Received { message: Message::EndQuorumEpoch(_), .. } => true,
        Event::Received { message: Message::FetchResponse(answer), .. } => {
            matches!(answer.outcome, FetchOutcome::Refused(_))
        }
        _ => false,
    }
}
