//! `kraft status --verify`: what the nodes of a local cluster hold, by the promises that the checkers
//! judge (`model/src/invariant`), while they run or when they do not.
//!
//! ```text
//!   nodes that run ──▶ sight: what they say ─┐
//!   all directories ─▶   and then have       ├─▶ quorum      logs and votes against each other
//!                             │              └─▶ metadata    the committed records, folded
//!                             └─▶ image ──▶ partitions ──▶ data   replicas against each other
//! ```
//!
//! Nothing is locked and nothing is written: the order in which things are read is all that keeps what
//! happens meanwhile from looking like a broken promise. Read on: `sight`, then `partitions`.

mod data;
mod entry;
mod homes;
mod metadata;
mod partitions;
mod quorum;
mod report;
mod sight;
mod watermarks;

use kraft_model::Offset;
use kraft_node::storage::Depth;

pub use report::Report;
pub use sight::Place;
use sight::{Known, Sight};

use crate::report::Failure;

/// Of every log, metadata's or a partition's: each batch follows the one before it, and what was read of
/// it is what its header says.
const WHOLE: &str = "logs are whole";

/// Looks at the cluster and judges it.
pub async fn verify(place: Place<'_>, depth: Depth) -> Result<Report, Failure> {
    let mut report = Report::about(&[
        ("quorum", quorum::rows()),
        ("metadata", metadata::rows()),
        ("data", data::rows()),
        ("storage", vec![(WHOLE, "batches")]),
    ]);
    let sight = sight::look(place).await?;
    judge_metadata(&sight, &mut report);
    partitions::judge(place, depth, &sight, &mut report).await?;
    Ok(report)
}

fn judge_metadata(sight: &Sight, report: &mut Report) {
    for (node, why) in &sight.unseen {
        report.cannot_judge(format!("node {node}"), why.clone());
    }
    for seen in &sight.nodes {
        let damage = seen.log.damage.as_ref();
        let story = damage.map(|stop| format!("node {}, its metadata: {stop}", seen.witness.id));
        report.judge(WHOLE, seen.log.batches.len() as u64, story);
    }
    let (end, why_not_committed) = match &sight.known {
        Known::Committed { end, .. } => {
            report.high_watermark = Some(end.0);
            (*end, None)
        }
        Known::Settled(end) => (*end, Some("no controller runs that could say what is committed")),
        Known::Unknown(why) => (Offset::ZERO, Some(&why[..])),
    };
    if let Some(why) = why_not_committed {
        report.cannot_judge("what is committed of the metadata", why);
    }
    let (witnesses, voters) = (sight.witnesses(), sight.voters(end));
    quorum::judge(&witnesses, &voters, &sight.known, report);
    if end == Offset::ZERO {
        return;
    }
    let reference = quorum::reference(&witnesses, &voters, end);
    let seen = reference.and_then(|it| sight.nodes.iter().find(|seen| seen.witness.id == it.id));
    let Some(prefix) = seen.and_then(|seen| metadata::Prefix::of(seen, end)) else { return };
    let placed = sight
        .nodes
        .iter()
        .flat_map(|seen| seen.snapshots.iter().map(|(_, image)| (seen.witness.id, image)));
    metadata::judge(prefix, &placed.collect::<Vec<_>>(), report);
}
