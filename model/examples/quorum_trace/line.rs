//! A line of the module: one entry of one node.

use std::fmt::Write as _;

use kraft_model::NodeId;
use kraft_model::raft::{Effect, Event, Message, SnapshotId, StoredState, Timer, VoterChange};
use kraft_model::replay::{Extents, Input, Output, Start, What};

use super::said::{id, said, snapshot};
use super::story::{Step, Story};
use super::{boolean, set};

/// The line of an entry, if it has one.
pub fn of(story: &Story, step: &Step) -> Result<Option<String>, String> {
    let Step { node, entry, what, .. } = step;
    let did = match what {
        What::Began(start) => began(story, start)?,
        What::Stepped { divergence: Some(divergence), .. } => {
            return Err(format!("entry {entry} of node {node}: {divergence}"));
        }
        What::Stepped { input: Input::Quorum(event), output: Output::Quorum(fx), .. } => {
            stepped(story, *node, event, fx)?
        }
        _ => return Ok(None),
    };
    let looks = looks(story, step);
    Ok(Some(format!("[node |-> {node}, entry |-> {entry}, {did}, {looks}]")))
}

fn began(story: &Story, start: &Start) -> Result<String, String> {
    let Start::Quorum { me, stored, .. } = start else {
        return Err("another machine's beginning".to_owned());
    };
    let StoredState { epoch, leader, vote } = *stored;
    let message = format!(
        "[epoch |-> {epoch}, leader |-> {}, vote |-> {}, me |-> {}, voters |-> {}]",
        id(leader),
        vote.map_or_else(nobody, |vote| story.key(vote)),
        story.key(*me),
        story.first_voters(start)?,
    );
    Ok(happened("Began", "", 0, &message, "{}", "{}"))
}

/// No vote, and the specification's `NoKey`.
fn nobody() -> String {
    "<<0, 0>>".to_owned()
}

fn happened(
    event: &str,
    timer: &str,
    peer: i32,
    message: &str,
    out: &str,
    answers: &str,
) -> String {
    format!(
        r#"event |-> "{event}", timer |-> "{timer}", peer |-> {peer}, message |-> {message}, out |-> {out}, answers |-> {answers}"#,
    )
}

fn stepped(
    story: &Story,
    node: NodeId,
    event: &Event<Extents>,
    effects: &[Effect<Extents>],
) -> Result<String, String> {
    let (mut out, mut answers) = (Vec::new(), Vec::new());
    for effect in effects {
        match effect {
            Effect::Send { to, message, .. } => out.push(said(story, node, *to, message)?),
            Effect::VotersAnswered { id, result } => {
                let error = result.err().map_or(String::new(), |error| format!("{error:?}"));
                answers.push(format!(r#"<<{id}, "{error}">>"#));
            }
            _ => {}
        }
    }
    out.sort();
    out.dedup();
    let covers = |id: SnapshotId| format!("[id |-> {}]", snapshot(id));
    let (name, timer, peer, message) = match event {
        Event::Started => ("Started", "", 0, None),
        Event::Timeout(timer) => ("Timeout", timer_name(*timer), 0, None),
        Event::Received { from, message } => {
            ("Received", "", from.0, Some(said(story, *from, node, message)?))
        }
        Event::HoldExpired { from, fetch } => {
            let fetch = said(story, *from, node, &Message::Fetch(*fetch))?;
            ("HoldExpired", "", from.0, Some(fetch))
        }
        Event::Flushed(_) => ("Flushed", "", 0, None),
        Event::Connected(peer) => ("Connected", "", peer.0, None),
        Event::Disconnected(peer) => ("Disconnected", "", peer.0, None),
        Event::PeerGone(peer) => ("PeerGone", "", peer.0, None),
        Event::Propose(_) => ("Propose", "", 0, None),
        Event::SnapshotWritten(id) => ("SnapshotWritten", "", 0, Some(covers(*id))),
        Event::SnapshotInstalled(id) => ("SnapshotInstalled", "", 0, Some(covers(*id))),
        Event::Resign => ("Resign", "", 0, None),
        Event::ChangeVoters { id, change } => {
            let (name, key) = match change {
                VoterChange::Add(key) => ("AddVoter", key),
                VoterChange::Remove(key) => ("RemoveVoter", key),
                VoterChange::Update(key) => ("UpdateVoter", key),
            };
            (name, "", 0, Some(format!("[id |-> {id}, voter |-> {}]", story.key(*key))))
        }
    };
    let message = message.as_deref().unwrap_or("NoMessage");
    Ok(happened(name, timer, peer, message, &set(out), &set(answers)))
}

fn timer_name(timer: Timer) -> &'static str {
    match timer {
        Timer::Election(_) => "Election",
        Timer::Fetch => "Fetch",
        Timer::CheckQuorum => "CheckQuorum",
        Timer::Announce => "Announce",
        Timer::Retry => "Retry",
        Timer::VoterChange => "VoterChange",
    }
}

/// A machine as the specification's node has it, as far as it is compared.
fn looks(story: &Story, Step { machine, log, .. }: &Step) -> String {
    let (voters, leads) = (machine.voters(), machine.is_leader());
    let end_of = |at: usize| machine.fetched_end(at).map_or(-1, |end| end.0);
    let others =
        voters.iter().enumerate().filter(|(_, voter)| leads && voter.id != machine.me().id);
    let ends = set(others.map(|(at, voter)| format!("<<{}, {}>>", voter.id, end_of(at))));
    let (granted, refused) = machine.tally();
    let named = |bits: u8| {
        let voters = voters.iter().enumerate().filter(|(at, _)| bits & 1 << at != 0);
        set(voters.map(|(_, voter)| voter.id))
    };
    let mut text = String::new();
    let _ = write!(
        text,
        r#"after |-> [epoch |-> {}, vote |-> {}, role |-> "{}", leader |-> {}, fetched |-> {}, "#,
        machine.epoch(),
        machine.vote().map_or_else(nobody, |vote| story.key(vote)),
        machine.role(),
        id(machine.leader()),
        boolean(machine.has_fetched()),
    );
    let _ = write!(
        text,
        "granted |-> {}, refused |-> {}, hw |-> {}, ends |-> {ends}, voters |-> {}, start |-> {}, \
         end |-> {}, flushed |-> {}, lastEpoch |-> {}]",
        named(granted),
        named(refused),
        machine.high_watermark(),
        story.keys(voters),
        log.start,
        log.end,
        log.flushed,
        log.last_epoch(),
    );
    text
}
