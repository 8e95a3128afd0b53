//! Messages as the specification has them. Of records it has their epochs and sets of voters, and of
//! a snapshot its name.

use kraft_model::raft::{FetchOutcome, Message, SnapshotId};
use kraft_model::replay::Extents;
use kraft_model::{ErrorCode, NodeId, Offset};

use super::boolean;
use super::story::Story;

pub fn said(
    story: &Story,
    from: NodeId,
    to: NodeId,
    message: &Message<Extents>,
) -> Result<String, String> {
    let between = format!("from |-> {from}, to |-> {to}");
    let text = match message {
        Message::Vote(vote) => format!(
            r#"kind |-> "Vote", {between}, epoch |-> {}, candidate |-> {}, voter |-> {}, lastEpoch |-> {}, end |-> {}, preVote |-> {}"#,
            vote.epoch,
            story.key(vote.candidate),
            story.key(vote.voter),
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
            story.key(begin.voter),
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
            story.key(fetch.replica),
            fetch.offset,
            fetch.last_epoch,
        ),
        Message::FetchResponse(answer) => {
            let (outcome, records, high_watermark, end) = outcome(story, &answer.outcome);
            format!(
                r#"kind |-> "FetchResponse", {between}, epoch |-> {}, leader |-> {}, offset |-> {}, lastEpoch |-> {}, outcome |-> "{outcome}", records |-> {records}, hw |-> {high_watermark}, end |-> {end}"#,
                answer.epoch,
                id(answer.leader),
                answer.offset,
                answer.last_epoch,
            )
        }
        Message::FetchSnapshot(fetch) => {
            in_one_piece(fetch.position == 0)?;
            format!(
                r#"kind |-> "FetchSnapshot", {between}, epoch |-> {}, replica |-> {}, id |-> {}"#,
                fetch.epoch,
                story.key(fetch.replica),
                snapshot(fetch.snapshot),
            )
        }
        Message::FetchSnapshotResponse(answer) => {
            in_one_piece(
                answer.chunk.as_ref().is_ok_and(|(_, last)| *last) || answer.chunk.is_err(),
            )?;
            format!(
                r#"kind |-> "FetchSnapshotResponse", {between}, epoch |-> {}, leader |-> {}, id |-> {}, found |-> {}, state |-> <<>>"#,
                answer.epoch,
                id(answer.leader),
                snapshot(answer.snapshot),
                boolean(answer.chunk.is_ok()),
            )
        }
    };
    Ok(format!("[{text}]"))
}

fn in_one_piece(is: bool) -> Result<(), String> {
    let why = "a snapshot came in several pieces, which QuorumTrace.tla does not follow";
    if is { Ok(()) } else { Err(why.to_owned()) }
}

fn outcome(
    story: &Story,
    outcome: &FetchOutcome<Extents>,
) -> (&'static str, String, Offset, String) {
    let (none, nowhere) = (|| "<<<<>>, {}>>".to_owned(), || end_of(0, Offset::ZERO));
    match outcome {
        FetchOutcome::Records { batch, high_watermark } => {
            let records = batch.as_ref().map_or_else(none, |batch| story.records(batch));
            ("Records", records, *high_watermark, nowhere())
        }
        FetchOutcome::Diverging(end) => {
            ("Diverging", none(), Offset::ZERO, end_of(end.epoch, end.end))
        }
        FetchOutcome::Snapshot(id) => ("Snapshot", none(), Offset::ZERO, snapshot(*id)),
        FetchOutcome::Refused(ErrorCode::NotLeaderOrFollower) => {
            ("Refused", none(), Offset::ZERO, nowhere())
        }
        FetchOutcome::Refused(_) => ("Fenced", none(), Offset::ZERO, nowhere()),
    }
}

/// What a snapshot is called.
pub fn snapshot(id: SnapshotId) -> String {
    end_of(id.epoch.0, id.end)
}

fn end_of(epoch: i32, end: Offset) -> String {
    format!("[epoch |-> {epoch}, end |-> {end}]")
}

pub fn id(id: Option<NodeId>) -> i32 {
    id.map_or(0, |id| id.0)
}
