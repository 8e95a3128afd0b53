//! `kraft check --replay FILE`: the counterexamples of a report, step by step through the machines as
//! they are now.

use std::net::SocketAddr;
use std::path::Path;

use kraft_model::check::{self, End, Replayed, Subject};
use serde::{Deserialize, Serialize};

use super::{explorer, show};
use crate::output::OutputArgs;
use crate::report::{Context, Failure};

/// What is read of a report's entry.
#[derive(Debug, Deserialize)]
struct Recorded {
    model: String,
    mutation: Option<String>,
    violated: Option<String>,
    #[serde(default)]
    actions: Vec<String>,
}

/// A counterexample taken again.
#[derive(Debug, Serialize)]
pub struct Replay {
    pub model: String,
    pub mutation: Option<String>,
    /// What the last state breaks now.
    pub violated: Option<&'static str>,
    pub rule: Option<&'static str>,
    /// The first step that the model does not know any more.
    pub lost_at: Option<usize>,
    pub trace: Vec<String>,
    /// Whether it breaks what it broke when it was recorded.
    pub reproduced: bool,
}

pub fn run(file: &Path, explore: Option<SocketAddr>, output: &OutputArgs) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file).doing(|| format!("cannot read {}", file.display()))?;
    let recorded: Vec<Recorded> = serde_json::from_str(&text).map_err(|error| {
        Failure::new(format!("{} is no report of 'kraft check'", file.display())).because(error)
    })?;
    let told: Vec<_> = recorded.into_iter().filter(|it| it.violated.is_some()).collect();
    if told.is_empty() {
        return Err(Failure::new(format!("{} tells of no violation", file.display())));
    }
    if let Some(address) = explore {
        let [one] = &told[..] else {
            return Err(Failure::usage("the Explorer shows one counterexample at a time")
                .next(format!("this report has {}", told.len())));
        };
        let subject = one.subject()?;
        let page = (subject.replay)(&one.actions).page;
        return explorer::serve(subject, &one.model, &page, address);
    }
    let replays: Vec<_> = told.into_iter().map(Recorded::again).collect::<Result<_, _>>()?;
    output.answer(&replays, |replays| show::replays(replays))?;
    match replays.iter().all(|replay| replay.reproduced) {
        true => Ok(()),
        false => Err(Failure::new("a counterexample does not happen any more")),
    }
}

impl Recorded {
    fn subject(&self) -> Result<Subject, Failure> {
        let found = match &self.mutation {
            None => {
                let model = check::models().into_iter().find(|it| it.name == self.model);
                model.map(|it| it.subject)
            }
            Some(mutation) => {
                let is_it =
                    |it: &check::Mutation| it.guard.name() == *mutation && it.model == self.model;
                check::mutations().into_iter().find(is_it).map(|it| it.subject)
            }
        };
        let name = self.mutation.as_deref().map_or(String::new(), |it| format!(" without {it}"));
        found.ok_or_else(|| Failure::new(format!("there is no model '{}'{name}", self.model)))
    }

    fn again(self) -> Result<Replay, Failure> {
        let Replayed { steps, end, .. } = (self.subject()?.replay)(&self.actions);
        let (violated, rule) = match end {
            End::Broken { property, rule } => (Some(property), Some(rule)),
            End::Holds | End::Impossible => (None, None),
        };
        Ok(Replay {
            violated,
            rule,
            lost_at: (end == End::Impossible).then_some(steps.len() + 1),
            trace: steps.into_iter().map(|step| step.text).collect(),
            reproduced: violated == self.violated.as_deref(),
            model: self.model,
            mutation: self.mutation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{mutations, run};
    use super::*;

    #[test]
    fn a_counterexample_is_reproduced_from_its_report_and_a_changed_one_is_not() {
        let judges = mutations("join-below-high-watermark", &[]).expect("the mutation has a judge");
        let jobs: Vec<_> = judges.into_iter().map(run::Job::from).collect();
        let report = serde_json::to_string(&run::all(&jobs, 1, usize::MAX)).expect("a report");
        let recorded = || serde_json::from_str::<Vec<Recorded>>(&report).expect("what was written");
        for told in recorded() {
            let steps = told.actions.len();
            let again = told.again().expect("the model is known");
            assert!(again.reproduced && again.lost_at.is_none(), "{again:?}");
            assert_eq!(again.trace.len(), steps);
        }
        let mut told = recorded().remove(0);
        told.actions.truncate(1);
        told.actions.push("Sing".to_owned());
        let again = told.again().expect("the model is known");
        assert_eq!((again.reproduced, again.lost_at), (false, Some(2)));

        let mut told = recorded().remove(0);
        told.mutation = Some("no-such".to_owned());
        assert!(told.again().is_err());
    }
}
