//! Writes what the voters of a quorum did, by the traces of a cluster, as a TLA+ module.
//!
//!     quorum_trace DIRECTORY > QuorumTraceLog.tla
//!
//! `tla/validate_quorum.py` has TLC hold it against the specification. Each entry is a record that
//! names its node, the event, what was said and what the machine looked like afterwards; the
//! specification says what these should have been (`tla/QuorumTrace.tla`).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;

use kraft_model::raft::{Effect, Event, FetchOutcome, Message, Quorum, StoredState, Timer};
use kraft_model::replay::{
    Extents, Input, LogState, Machine, Merged, Output, Recorded, Replayed, Start, What,
};
use kraft_model::{NodeId, Offset, Shipped};

#[path = "shared/lines.rs"]
mod lines;
#[path = "shared/read.rs"]
mod read;

use lines::write_lines;
use read::recordings;

fn main() -> ExitCode {
    let Some(directory) = std::env::args().nth(1) else {
        eprintln!("usage: quorum_trace DIRECTORY > QuorumTraceLog.tla");
        return ExitCode::from(2);
    };
    let recorded = recordings(&directory, |name| name.contains("_quorum_"));
    match recorded.and_then(Story::of) {
        Ok(story) => {
            print!("{}", story.module());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{directory}: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Everybody who took part, and a line for each entry of a voter.
#[derive(Default)]
struct Story {
    nodes: BTreeSet<NodeId>,
    voters: Vec<NodeId>,
    lines: Vec<String>,
}

impl Story {
    fn of(recordings: Vec<Recorded>) -> Result<Story, String> {
        let mut story = Story::default();
        for replayed in Merged::new(recordings) {
            let Replayed { node, entry, what, after, .. } =
                replayed.map_err(|error| error.to_string())?;
            let Machine::Quorum { machine, log } = after else { continue };
            story.nodes.insert(node);
            if !machine.is_voter() {
                continue;
            }
            let did = match what {
                What::Began(Start::Quorum { stored, .. }) => began(stored),
                What::Stepped { divergence: Some(divergence), .. } => {
                    return Err(format!("entry {entry} of node {node}: {divergence}"));
                }
                What::Stepped {
                    input: Input::Quorum(event), output: Output::Quorum(fx), ..
                } => stepped(node, event, fx)?,
                _ => continue,
            };
            story.voters = machine.voters().iter().map(|voter| voter.id).collect();
            let looks = looks(&machine, &log, &story.voters);
            story.lines.push(format!("[node |-> {node}, entry |-> {entry}, {did}, {looks}]"));
        }
        Ok(story)
    }

    fn module(&self) -> String {
        let rule = "-".repeat(27);
        let mut text = format!("{rule} MODULE QuorumTraceLog {rule}\n");
        text.push_str("\\* Written by the example quorum_trace from the traces of a cluster.\n");
        text.push_str("EXTENDS Integers, Sequences\n");
        let voters: BTreeSet<NodeId> = self.voters.iter().copied().collect();
        let listed =
            |ids: Vec<&NodeId>| ids.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(", ");
        let all = listed(self.nodes.union(&voters).collect());
        let _ = writeln!(text, "TraceNodes == {{{all}}}");
        let _ = writeln!(text, "TraceVoters == {{{}}}", listed(voters.iter().collect()));
        text.push_str("NoMessage == [kind |-> \"\"]\n");
        write_lines(&mut text, &self.lines);
        text
    }
}

fn began(stored: StoredState) -> String {
    let StoredState { epoch, leader, vote } = stored;
    let vote = key(id(vote.map(|key| key.id)));
    let stored = format!("[epoch |-> {epoch}, leader |-> {}, vote |-> {vote}]", id(leader));
    format!(r#"event |-> "Began", timer |-> "", peer |-> 0, message |-> {stored}, out |-> {{}}"#)
}

fn stepped(
    node: NodeId,
    event: Event<Extents>,
    effects: Vec<Effect<Extents>>,
) -> Result<String, String> {
    let mut out = Vec::new();
    for effect in effects {
        if let Effect::Send { to, message, .. } = effect {
            out.push(said(node, to, &message)?);
        }
    }
    out.sort();
    out.dedup();
    let (name, timer, peer, message) = match event {
        Event::Started => ("Started", "", 0, None),
        Event::Timeout(timer) => ("Timeout", timer_name(timer), 0, None),
        Event::Received { from, message } => {
            ("Received", "", from.0, Some(said(from, node, &message)?))
        }
        Event::HoldExpired { from, fetch } => {
            ("HoldExpired", "", from.0, Some(said(from, node, &Message::Fetch(fetch))?))
        }
        Event::Flushed(_) => ("Flushed", "", 0, None),
        Event::Connected(peer) => ("Connected", "", peer.0, None),
        Event::Disconnected(peer) => ("Disconnected", "", peer.0, None),
        Event::PeerGone(peer) => ("PeerGone", "", peer.0, None),
        Event::Propose(_) => ("Propose", "", 0, None),
        Event::SnapshotWritten(_) => ("SnapshotWritten", "", 0, None),
        Event::SnapshotInstalled(_) => ("SnapshotInstalled", "", 0, None),
        Event::Resign => ("Resign", "", 0, None),
        Event::ChangeVoters { .. } => {
            return Err("its voters change, which QuorumTrace.tla does not follow".to_owned());
        }
    };
    let message = message.unwrap_or_else(|| "NoMessage".to_owned());
    let out = out.join(", ");
    Ok(format!(
        r#"event |-> "{name}", timer |-> "{timer}", peer |-> {peer}, message |-> {message}, out |-> {{{out}}}"#,
    ))
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
fn looks(machine: &Quorum<Shipped>, log: &LogState, voters: &[NodeId]) -> String {
    let leads = machine.is_leader();
    let end_of = |at: usize| machine.fetched_end(at).map_or(-1, |end| end.0);
    let others = voters.iter().enumerate().filter(|(_, id)| leads && **id != machine.me().id);
    let ends: Vec<String> = others.map(|(at, id)| format!("<<{id}, {}>>", end_of(at))).collect();
    let (granted, refused) = machine.tally();
    let named = |bits: u8| {
        let voters = voters.iter().enumerate().filter(|(at, _)| bits & 1 << at != 0);
        voters.map(|(_, id)| id.to_string()).collect::<Vec<_>>().join(", ")
    };
    let mut text = String::new();
    let _ = write!(
        text,
        r#"after |-> [epoch |-> {}, vote |-> {}, role |-> "{}", leader |-> {}, fetched |-> {}, "#,
        machine.epoch(),
        key(id(machine.vote().map(|key| key.id))),
        machine.role(),
        id(machine.leader()),
        boolean(machine.has_fetched()),
    );
    let _ = write!(
        text,
        "granted |-> {{{}}}, refused |-> {{{}}}, hw |-> {}, ends |-> {{{}}}, start |-> {}, \
         end |-> {}, flushed |-> {}, lastEpoch |-> {}]",
        named(granted),
        named(refused),
        machine.high_watermark(),
        ends.join(", "),
        log.start,
        log.end,
        log.flushed,
        log.last_epoch(),
    );
    text
}

/// A message as the specification has it; of records their epochs.
fn said(from: NodeId, to: NodeId, message: &Message<Extents>) -> Result<String, String> {
    let between = format!("from |-> {from}, to |-> {to}");
    let text = match message {
        Message::Vote(vote) => format!(
            r#"kind |-> "Vote", {between}, epoch |-> {}, candidate |-> {}, voter |-> {}, lastEpoch |-> {}, end |-> {}, preVote |-> {}"#,
            vote.epoch,
            key(vote.candidate.id.0),
            key(vote.voter.id.0),
            vote.last_epoch,
            vote.end,
            boolean(vote.pre_vote),
        ),
        Message::VoteResponse(answer) => format!(
            r#"kind |-> "VoteResponse", {between}, epoch |-> {}, leader |-> {}, granted |-> {}, preVote |-> {}, error |-> "{}""#,
            answer.epoch,
            id(answer.leader),
            boolean(answer.granted),
            boolean(answer.pre_vote),
            answer.error.map_or(String::new(), |error| format!("{error:?}")),
        ),
        Message::BeginQuorumEpoch(begin) => format!(
            r#"kind |-> "Begin", {between}, epoch |-> {}, voter |-> {}"#,
            begin.epoch,
            key(begin.voter.id.0),
        ),
        Message::BeginQuorumEpochResponse { epoch, leader } => format!(
            r#"kind |-> "BeginResponse", {between}, epoch |-> {epoch}, leader |-> {}"#,
            id(*leader),
        ),
        Message::EndQuorumEpoch(end) => {
            format!(r#"kind |-> "End", {between}, epoch |-> {}"#, end.epoch)
        }
        Message::Fetch(fetch) => format!(
            r#"kind |-> "Fetch", {between}, epoch |-> {}, replica |-> {}, offset |-> {}, lastEpoch |-> {}"#,
            fetch.epoch,
            key(fetch.replica.id.0),
            fetch.offset,
            fetch.last_epoch,
        ),
        Message::FetchResponse(answer) => {
            let (outcome, epochs, high_watermark, end) = outcome(&answer.outcome);
            format!(
                r#"kind |-> "FetchResponse", {between}, epoch |-> {}, leader |-> {}, offset |-> {}, lastEpoch |-> {}, outcome |-> "{outcome}", records |-> <<{epochs}>>, hw |-> {high_watermark}, end |-> {end}"#,
                answer.epoch,
                id(answer.leader),
                answer.offset,
                answer.last_epoch,
            )
        }
        Message::FetchSnapshot(_) | Message::FetchSnapshotResponse(_) => {
            return Err("a snapshot was fetched, which QuorumTrace.tla does not follow yet".into());
        }
    };
    Ok(format!("[{text}]"))
}

fn outcome(outcome: &FetchOutcome<Extents>) -> (&'static str, String, Offset, String) {
    let at = |epoch: i32, end: Offset| format!("[epoch |-> {epoch}, end |-> {end}]");
    let nowhere = || at(0, Offset::ZERO);
    match outcome {
        FetchOutcome::Records { batch, high_watermark } => {
            let epochs = batch.as_ref().map_or(String::new(), epochs);
            ("Records", epochs, *high_watermark, nowhere())
        }
        FetchOutcome::Diverging(end) => {
            ("Diverging", String::new(), Offset::ZERO, at(end.epoch, end.end))
        }
        FetchOutcome::Snapshot(snapshot) => {
            ("Snapshot", String::new(), Offset::ZERO, at(snapshot.epoch.0, snapshot.end))
        }
        FetchOutcome::Refused(_) => ("Refused", String::new(), Offset::ZERO, nowhere()),
    }
}

/// The epoch of each record.
fn epochs(records: &Extents) -> String {
    let runs = records.batches.iter().map(|batch| (batch.end.0 - batch.base.0, batch.epoch.0));
    let all = runs.flat_map(|(count, epoch)| (0..count).map(move |_| epoch.to_string()));
    all.collect::<Vec<_>>().join(", ")
}

fn id(id: Option<NodeId>) -> i32 {
    id.map_or(0, |id| id.0)
}

/// A replica's key. Voters of a static quorum are known without their directories.
fn key(id: i32) -> String {
    format!("<<{id}, 0>>")
}

fn boolean(value: bool) -> &'static str {
    if value { "TRUE" } else { "FALSE" }
}
