//! The model's promises in words, and its steps as sentences.

use stateright::Model;

use crate::check::{Checked, Representative};
use crate::log::Log;
use crate::raft::Timer;

use super::packet::Packet;
use super::{Action, Partition, QuorumModel, State};

pub(super) const ONE_LEADER: &str = "one leader per epoch";
pub(super) const VOTES_STAND: &str = "a vote is never changed within its epoch";
pub(super) const HIGH_WATERMARK: &str = "the high watermark never falls";
pub(super) const UNBROKEN: &str = "no machine finds a promise broken";
pub(super) const LOGS_MATCH: &str = "logs match";
pub(super) const EPOCHS_ASCEND: &str = "epochs ascend along a log";
pub(super) const COMPLETE: &str = "a leader has all that was committed";
pub(super) const IMMUTABLE: &str = "the committed prefix never changes";
pub(super) const DURABLE: &str = "what is committed is on a majority's disks";
pub(super) const STABLE: &str = "nobody stands against a leader whom a majority follows";
pub(super) const ELECTABLE: &str = "any majority could elect one of its own";
pub(super) const FOLD: &str = "a snapshot is what it replaces";
pub(super) const COVERED: &str = "a snapshot covers what a log no longer has";
pub(super) const VOTERS_FOLLOW: &str = "a node goes by the voters of its log";
pub(super) const ONE_UNCOMMITTED: &str = "one voter set at most is uncommitted";
pub(super) const LEADER_LOADS: &str = "a leader never loads a snapshot";

fn rule_of(property: &str) -> &'static str {
    match property {
        ONE_LEADER => {
            "Q5: a leader has the votes of a majority, and no epoch has two leaders, ever"
        }
        VOTES_STAND => {
            "Q2, Q3: a vote is on disk before anybody hears of it, and there is one an epoch"
        }
        HIGH_WATERMARK => "Q7: the high watermark of a running node never falls",
        UNBROKEN => "Q8: nobody is asked to truncate below its high watermark",
        LOGS_MATCH => "Q6, Q8: an offset and an epoch name one record, and all that is before it",
        EPOCHS_ASCEND => "Q5: a leader appends in its own epoch only",
        COMPLETE => {
            "Q3: only a log that misses nothing is voted for, so a leader has all that was committed"
        }
        IMMUTABLE => {
            "Q7: what one node takes for committed every node takes for committed, for ever"
        }
        DURABLE => "Q7: only what is flushed on a majority of the voters is committed",
        STABLE => {
            "Q4: the epoch does not change while a majority of the voters has heard from the leader since it last had a timeout"
        }
        ELECTABLE => {
            "Q3: logs compare in dictionary order, so of any two voters one may vote for the other"
        }
        FOLD => {
            "Q11: a snapshot holds exactly the committed records below the offset that names it"
        }
        COVERED => "Q11: the log moves its start only to where an existing snapshot ends",
        VOTERS_FOLLOW => {
            "Q12: who votes is what the last Voters record of the log says, committed or not"
        }
        ONE_UNCOMMITTED => {
            "Q12: voters change one at a time, so that any two sets in force have no disjoint majorities"
        }
        LEADER_LOADS => "Q3, Q11: a leader has all that is committed, so no snapshot is news to it",
        _ => "",
    }
}

impl<const N: usize> Checked for QuorumModel<N> {
    fn name(&self) -> &'static str {
        self.bounds.name
    }

    fn bounds(&self) -> String {
        self.bounds.in_words(N)
    }

    fn describe_step(&self, before: &State<N>, action: &Action, after: &State<N>) -> String {
        let mut text = sentence(before, action);
        for at in 0..N {
            let (was, is) = (standing(self, before, at), standing(self, after, at));
            if was != is {
                text.push_str(&format!("\nnode {}: {is}", at + 1));
            }
        }
        text
    }

    fn symmetry(&self) -> Option<Representative<State<N>>> {
        self.bounds.reductions.symmetry.then_some(State::representative)
    }

    fn rule_of(&self, property: &str) -> &'static str {
        debug_assert!(self.properties().iter().any(|known| known.name == property));
        rule_of(property)
    }
}

fn sentence<const N: usize>(before: &State<N>, action: &Action) -> String {
    let name = |at: &usize| format!("node {}", at + 1);
    match action {
        Action::Deliver { from, to, at } => {
            let packet = before.network.queue(*from, *to).nth(*at).unwrap_or_default();
            format!("{} gets from {}: {}", name(to), name(from), say(packet))
        }
        Action::Lose { from, to, at } => {
            let packet = before.network.queue(*from, *to).nth(*at).unwrap_or_default();
            format!("what {} sent to {} is lost: {}", name(from), name(to), say(packet))
        }
        Action::Duplicate { from, to, at } => {
            let packet = before.network.queue(*from, *to).nth(*at).unwrap_or_default();
            format!("{} gets from {}, and will once more: {}", name(to), name(from), say(packet))
        }
        Action::WriteSnapshot(at) => {
            format!("{} writes a snapshot of all that it knows to be committed", name(at))
        }
        Action::Installed(at) => format!("{} has the fetched snapshot in place", name(at)),
        Action::Part(partition) => match partition {
            Partition::Ring | Partition::RingBack => {
                "the network falls apart: each hears only one other".to_owned()
            }
            Partition::Apart(a, b) => {
                format!(
                    "the network falls apart: {} and {} cannot hear each other",
                    name(a),
                    name(b)
                )
            }
            Partition::Alone(at) => format!("the network falls apart: {} is alone", name(at)),
        },
        Action::Heal => "the network heals".to_owned(),
        Action::Stored(at) => format!("{} has its epoch and vote on disk", name(at)),
        Action::Flushed(at) => format!("{} has its log on disk", name(at)),
        Action::Timeout(at, timer) => {
            let what = match timer {
                Timer::Election(_) => "tires of waiting for an election",
                Timer::Fetch => "has not heard from its leader",
                Timer::CheckQuorum => "is not fetched from by a majority",
                Timer::Announce => "announces itself again",
                Timer::Retry => "asks again",
                Timer::VoterChange => "gives up a voter change",
            };
            format!("{} {what}", name(at))
        }
        Action::Ask { at, .. } => format!("{} asks around who leads", name(at)),
        Action::PeerGone { at, gone } => format!("{} takes {} for dead", name(at), name(gone)),
        Action::HoldExpired { at, from } => {
            format!("{} answers the waiting fetch of {} without news", name(at), name(from))
        }
        Action::Propose(at) => format!("{} appends a record as leader", name(at)),
        Action::Add { at, voter } => {
            format!("{} is asked to let {} vote", name(at), name(voter))
        }
        Action::Remove { at, voter } => {
            format!("{} is asked to remove {} from the voters", name(at), name(voter))
        }
        Action::Settle => "everything that is under way arrives".to_owned(),
        Action::Wipe(at) => format!("{} loses its disk and starts anew on another", name(at)),
        Action::Resign(at) => format!("{} is asked to resign", name(at)),
        Action::BreakLink(a, b) => {
            format!("the connection of {} and {} breaks", name(a), name(b))
        }
        Action::Crash { at, survivor, stored, .. } => {
            let node = &before.nodes[*at];
            let log = node.log.survivors().nth(*survivor).unwrap_or(node.log.durable);
            let file = match (node.file.pending, stored) {
                (Some(lost), false) => format!(", forgets {lost:?}"),
                _ => String::new(),
            };
            format!("{} crashes and restarts with the log {log:?}{file}", name(at))
        }
    }
}

/// What a reader wants to know of a node: what it is, and its log.
fn standing<const N: usize>(model: &QuorumModel<N>, state: &State<N>, at: usize) -> String {
    let (machine, log) = (state.machine(model, at), &state.nodes[at].log);
    let mut text = format!("{} in epoch {}", machine.role(), machine.epoch());
    if let Some(leader) = machine.leader().filter(|&leader| leader != machine.me().id) {
        text.push_str(&format!(" of {leader}"));
    }
    if let Some(vote) = machine.vote() {
        text.push_str(&format!(", voted for {}", vote.id));
    }
    if log.end().0 > 0 {
        text.push_str(&format!(", log {log:?}"));
    }
    if machine.high_watermark().0 > 0 {
        text.push_str(&format!(", committed to {}", machine.high_watermark()));
    }
    text
}

fn say(packet: Packet) -> String {
    match packet {
        Packet::None => "nothing".to_owned(),
        Packet::Vote { epoch, last_epoch, end, pre_vote, .. } => {
            let what = if pre_vote { "would you vote for me" } else { "vote for me" };
            format!("{what} in epoch {epoch}, my log ends at {end} in epoch {last_epoch}")
        }
        Packet::VoteResponse { epoch, granted, pre_vote, .. } => {
            let what = match (pre_vote, granted) {
                (true, true) => "I would vote for you",
                (true, false) => "I would not vote for you",
                (false, true) => "you have my vote",
                (false, false) => "you do not have my vote",
            };
            format!("{what} (epoch {epoch})")
        }
        Packet::Begin { epoch, .. } => format!("I lead epoch {epoch}"),
        Packet::BeginResponse { epoch, .. } => format!("I have seen it (epoch {epoch})"),
        Packet::End { epoch } => format!("I lead epoch {epoch} no longer"),
        Packet::Fetch { epoch, offset, last_epoch, .. } => {
            format!("fetch in epoch {epoch} from {offset} on, after epoch {last_epoch}")
        }
        Packet::Records { record, high_watermark, .. } => {
            format!("record {record:?}, committed to {high_watermark}")
        }
        Packet::Diverging { end_epoch, end, .. } => {
            format!("our logs part: my epoch {end_epoch} ends at {end}")
        }
        Packet::Offer { end, end_epoch, .. } => {
            format!("fetch my snapshot first: it ends at {end} in epoch {end_epoch}")
        }
        Packet::FetchSnapshot { end, position, .. } => {
            format!("fetch the snapshot that ends at {end} from {position} on")
        }
        Packet::Chunk { record, last, .. } => {
            let last = if last { ", the last" } else { "" };
            format!("a chunk of the snapshot: {record:?}{last}")
        }
        Packet::Refused { epoch, error, .. } => {
            let why = super::packing::unpack_error(error).map_or("", |error| error.name());
            format!("refused with {why} (epoch {epoch})")
        }
    }
}
