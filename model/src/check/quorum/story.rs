//! The model's promises in words, and its steps as sentences.

use stateright::Model;

use crate::check::Checked;
use crate::log::Log;
use crate::raft::Timer;

use super::network::Packet;
use super::{Action, Delivery, QuorumModel, State};

pub(super) const ONE_LEADER: &str = "one leader per epoch";
pub(super) const VOTES_STAND: &str = "a vote is never changed within its epoch";
pub(super) const HIGH_WATERMARK: &str = "the high watermark never falls";
pub(super) const UNBROKEN: &str = "no machine finds a promise broken";
pub(super) const LOGS_MATCH: &str = "logs match";
pub(super) const EPOCHS_ASCEND: &str = "epochs ascend along a log";
pub(super) const COMPLETE: &str = "a leader has all that was committed";
pub(super) const IMMUTABLE: &str = "the committed prefix never changes";
pub(super) const DURABLE: &str = "what is committed is on a majority's disks";

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
        _ => "",
    }
}

impl<const N: usize> Checked for QuorumModel<N> {
    fn name(&self) -> &'static str {
        self.bounds.name
    }

    fn bounds(&self) -> String {
        let b = &self.bounds;
        let delivery = match b.delivery {
            Delivery::InOrder => "requests and answers in order",
            Delivery::AnyOrder => "requests and answers in any order",
            Delivery::RequestsAtOnce => "requests at once, answers in order",
        };
        let mut text = format!("{N} voters, {} epochs, {} records", b.epochs, b.records);
        for (count, what) in [
            (b.timeouts, "timeouts"),
            (b.crashes, "lossy crashes"),
            (b.peers_gone, "verdicts of a dead leader"),
            (b.breaks, "broken connections"),
            (b.resigns, "resignations"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        if let Some(guard) = b.rules.0 {
            text.push_str(&format!(", without {}", guard.name()));
        }
        format!("{text}; {delivery}")
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
        Action::PeerGone { at, gone } => format!("{} takes {} for dead", name(at), name(gone)),
        Action::HoldExpired { at, from } => {
            format!("{} answers the waiting fetch of {} without news", name(at), name(from))
        }
        Action::Propose(at) => format!("{} appends a record as leader", name(at)),
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
        Packet::Vote { epoch, last_epoch, end, pre_vote } => {
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
        Packet::Begin { epoch } => format!("I lead epoch {epoch}"),
        Packet::BeginResponse { epoch, .. } => format!("I have seen it (epoch {epoch})"),
        Packet::End { epoch, .. } => format!("I lead epoch {epoch} no longer"),
        Packet::Fetch { epoch, offset, last_epoch, .. } => {
            format!("fetch in epoch {epoch} from {offset} on, after epoch {last_epoch}")
        }
        Packet::Records { records, high_watermark, .. } => {
            format!("records {records:?}, committed to {high_watermark}")
        }
        Packet::Diverging { end_epoch, end, .. } => {
            format!("our logs part: my epoch {end_epoch} ends at {end}")
        }
        Packet::Refused { epoch, error, .. } => {
            let why = super::network::unpack_error(error).map_or("", |error| error.name());
            format!("refused with {why} (epoch {epoch})")
        }
    }
}
