//! Counterexamples of the abstract quorum, told.

use crate::check::Checked;

use super::{Action, QuorumAbstract, State};

pub(super) const ONE_LEADER: &str = "one leader per epoch, ever";
pub(super) const VOTES_STAND: &str = "a vote is never changed within its epoch";
pub(super) const HIGH_WATERMARK: &str = "the high watermark rises";
pub(super) const UNBROKEN: &str = "no machine finds a promise broken";
pub(super) const LOGS_MATCH: &str = "logs match";
pub(super) const EPOCHS_ASCEND: &str = "epochs ascend along a log";
pub(super) const COMPLETE: &str = "a leader has all that was committed";
pub(super) const IMMUTABLE: &str = "the committed prefix never changes";
pub(super) const DURABLE: &str = "what is committed is on a majority's disks";

impl<const N: usize> Checked for QuorumAbstract<N> {
    fn name(&self) -> &'static str {
        "quorum-abstract"
    }

    fn bounds(&self) -> String {
        let (epochs, records) = (self.bounds.epochs, self.bounds.records);
        let without = self.bounds.rules.0.map(|guard| format!(", without {}", guard.name()));
        let without = without.unwrap_or_default();
        format!(
            "{N} voters, {epochs} epochs, {records} records, any restarts{without}; \
             a request and its answer are one step"
        )
    }

    fn describe_step(&self, before: &State<N>, action: &Action, after: &State<N>) -> String {
        let mut text = sentence(action);
        let (was, is) = (before.line(), after.line());
        for (at, (was, is)) in was.split("; ").zip(is.split("; ")).enumerate().take(N) {
            if was != is {
                text.push_str(&format!("\nnode {}: {is}", at + 1));
            }
        }
        text
    }

    fn rule_of(&self, property: &str) -> &'static str {
        match property {
            ONE_LEADER => "Q5: a leader has the votes of a majority, and no epoch has two leaders",
            VOTES_STAND => "Q2, Q3: a vote is never given twice in one epoch",
            HIGH_WATERMARK => "Q7: the high watermark of a running node never falls",
            UNBROKEN => "Q8: nobody is asked to truncate below its high watermark",
            LOGS_MATCH => "Q6, Q8: an offset and an epoch name one record and all before it",
            EPOCHS_ASCEND => "Q5: a leader appends in its own epoch only",
            COMPLETE => "Q3: only a log that misses nothing is voted for",
            IMMUTABLE => "Q7: what one node takes for committed every node does, for ever",
            DURABLE => "Q7: only what a majority of the voters has is committed",
            _ => "",
        }
    }
}

fn sentence(action: &Action) -> String {
    let name = |at: &usize| format!("node {}", at + 1);
    let lost = |heard: &bool| if *heard { "" } else { ", whose answer is lost" };
    match action {
        Action::Timeout(at) => format!("{} tires of waiting", name(at)),
        Action::PeerGone(at) => format!("{} takes its leader for dead", name(at)),
        Action::Vote { from, to, heard } => {
            format!("{} asks for the vote of {}{}", name(from), name(to), lost(heard))
        }
        Action::Begin { from, to, heard } => {
            format!("{} tells {} that it leads{}", name(from), name(to), lost(heard))
        }
        Action::Fetch { from, to, heard } => {
            format!("{} fetches from {}{}", name(from), name(to), lost(heard))
        }
        Action::Propose(at) => format!("{} appends a record as leader", name(at)),
        Action::Resign { at, told } => format!("{} resigns and tells {told:b}", name(at)),
        Action::Restart(at) => format!("{} restarts", name(at)),
    }
}
