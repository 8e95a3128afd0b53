//! `kraft check`: the models that are checked, the verdicts, and what each mutation did.

use std::path::PathBuf;
use std::time::Duration;

use kraft_model::Guard;
use serde::Serialize;

use crate::output::{self, OutputArgs, grouped, table};
use crate::report::{Context, Failure};

/// Check the protocol exhaustively within bounds: every order of events, crash and loss
///
/// JSON: [{model, bounds, mutation, states, unique, depth, seconds, verdict, violated, trace}];
/// 'verdict' is holds, violated, or unfinished. Ends with exit code 3 if a property is violated,
/// or with --mutate if a mutation that must be caught is not.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Models to check [default: all]
    models: Vec<String>,
    /// Only list the models, their bounds and their properties
    #[arg(long)]
    list: bool,
    /// Stop each model after so many seconds
    #[arg(long, value_name = "SECONDS")]
    time: Option<u64>,
    /// [default: one per core]
    #[arg(long)]
    threads: Option<usize>,
    /// Remove one guard of the protocol, or each in turn: the checker must notice
    #[arg(long, value_name = "NAME|all")]
    mutate: Option<String>,
    /// Write the JSON answer here as well
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// What to run.
#[expect(dead_code, reason = "read by the engine as soon as the models are built in")]
#[derive(Clone, Debug)]
pub struct Plan {
    /// Empty: all.
    pub models: Vec<String>,
    pub mutation: Option<Guard>,
    pub time: Option<Duration>,
    pub threads: usize,
}

/// One model's result.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub model: String,
    pub bounds: String,
    pub mutation: Option<&'static str>,
    pub states: u64,
    pub unique: u64,
    pub depth: u64,
    pub seconds: f64,
    pub verdict: Verdict,
    /// The property that does not hold.
    pub violated: Option<String>,
    /// A shortest way to it, a step a line.
    pub trace: Vec<String>,
}

#[expect(dead_code, reason = "the engine's verdicts, once the models are built in")]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Holds,
    Violated,
    Unfinished,
}

#[derive(Clone, Debug, Serialize)]
pub struct ModelInfo {
    pub model: String,
    pub bounds: String,
    pub properties: Vec<String>,
}

pub fn run(args: &CheckArgs) -> Result<(), Failure> {
    if args.list {
        let models = engine::models()?;
        return args.output.answer(&models, |models| {
            let row = |model: &ModelInfo| {
                vec![model.model.clone(), model.bounds.clone(), model.properties.join(", ")]
            };
            table(&["model", "bounds", "properties"], models.iter().map(row))
        });
    }
    let mutations = mutations(args.mutate.as_deref())?;
    let threads =
        args.threads.or_else(|| std::thread::available_parallelism().ok().map(Into::into));
    let mut outcomes = Vec::new();
    for mutation in &mutations {
        let plan = Plan {
            models: args.models.clone(),
            mutation: *mutation,
            time: args.time.map(Duration::from_secs),
            threads: threads.unwrap_or(1),
        };
        outcomes.extend(engine::check(&plan)?);
    }
    if let Some(path) = &args.report {
        let text = serde_json::to_string_pretty(&outcomes)
            .map_err(|error| Failure::new("cannot write the report").because(error))?;
        std::fs::write(path, text).doing(|| format!("cannot write {}", path.display()))?;
    }
    args.output.answer(&outcomes, |outcomes| outcome_table(outcomes))?;
    verdict(&mutations, &outcomes)
}

/// Which guards to remove; one `None` is the protocol as shipped.
fn mutations(asked: Option<&str>) -> Result<Vec<Option<Guard>>, Failure> {
    match asked {
        None => Ok(vec![None]),
        Some("all") => Ok(Guard::ALL.iter().copied().map(Some).collect()),
        Some(name) => match Guard::ALL.iter().find(|guard| guard.name() == name) {
            Some(guard) => Ok(vec![Some(*guard)]),
            None => {
                let names: Vec<_> = Guard::ALL.iter().map(|guard| guard.name()).collect();
                Err(Failure::usage(format!("there is no mutation '{name}'"))
                    .next(format!("they are: {}", names.join(", "))))
            }
        },
    }
}

/// Guards whose removal costs time or availability, never safety: a checker that finds a
/// violation without them is too strict.
fn must_survive(guard: Guard) -> bool {
    matches!(
        guard,
        Guard::DropPrevote | Guard::DropCheckQuorum | Guard::DropEndQuorum | Guard::UnfenceAtOnce
    )
}

fn verdict(mutations: &[Option<Guard>], outcomes: &[Outcome]) -> Result<(), Failure> {
    let mut failed = false;
    for mutation in mutations {
        let name = mutation.map(Guard::name);
        let mut of_it = outcomes.iter().filter(|outcome| outcome.mutation == name);
        let caught = of_it.any(|outcome| outcome.verdict == Verdict::Violated);
        match mutation {
            None if caught => failed = true,
            Some(guard) if must_survive(*guard) && caught => {
                output::notice(&format!("{}: must not break safety, but did", guard.name()));
                failed = true;
            }
            Some(guard) if !must_survive(*guard) && !caught => {
                output::notice(&format!("{}: not caught by any model", guard.name()));
                failed = true;
            }
            _ => {}
        }
    }
    if failed { Err(Failure::Violation) } else { Ok(()) }
}

fn outcome_table(outcomes: &[Outcome]) -> String {
    let rows = outcomes.iter().map(|outcome| {
        let verdict = match (outcome.verdict, &outcome.violated) {
            (Verdict::Holds, _) => "holds".to_owned(),
            (Verdict::Unfinished, _) => "unfinished".to_owned(),
            (Verdict::Violated, Some(property)) => format!("VIOLATED: {property}"),
            (Verdict::Violated, None) => "VIOLATED".to_owned(),
        };
        vec![
            outcome.model.clone(),
            outcome.bounds.clone(),
            output::or_dash(outcome.mutation),
            grouped(outcome.unique),
            outcome.depth.to_string(),
            format!("{:.1}", outcome.seconds),
            verdict,
        ]
    });
    let mut text =
        table(&["model", "bounds", "mutation", "states", "depth", "seconds", "verdict"], rows);
    for outcome in outcomes.iter().filter(|outcome| !outcome.trace.is_empty()) {
        text += &format!("\n{}: how it happens\n", outcome.model);
        for (index, step) in outcome.trace.iter().enumerate() {
            text += &format!("{:>4}  {step}\n", index + 1);
        }
    }
    text
}

/// Where the command meets the checker.
mod engine {
    use super::{ModelInfo, Outcome, Plan};
    use crate::report::Failure;

    pub fn models() -> Result<Vec<ModelInfo>, Failure> {
        Err(absent())
    }

    pub fn check(_plan: &Plan) -> Result<Vec<Outcome>, Failure> {
        Err(absent())
    }

    fn absent() -> Failure {
        Failure::new("this build has no models").because("it was made without the checker")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(mutation: Option<Guard>, verdict: Verdict) -> Outcome {
        Outcome {
            model: "quorum".to_owned(),
            bounds: "3 voters".to_owned(),
            mutation: mutation.map(Guard::name),
            states: 10,
            unique: 5,
            depth: 3,
            seconds: 0.1,
            verdict,
            violated: None,
            trace: vec![],
        }
    }

    fn judged(mutation: Option<Guard>, found: Verdict) -> bool {
        verdict(&[mutation], &[outcome(mutation, found)]).is_ok()
    }

    #[test]
    fn a_mutation_must_be_caught_and_the_shipped_rules_must_hold() {
        assert!(judged(None, Verdict::Holds));
        assert!(!judged(None, Verdict::Violated));
        assert!(judged(Some(Guard::VoteTwice), Verdict::Violated));
        assert!(!judged(Some(Guard::VoteTwice), Verdict::Holds));
    }

    #[test]
    fn an_expected_survivor_must_survive() {
        assert!(judged(Some(Guard::DropPrevote), Verdict::Holds));
        assert!(!judged(Some(Guard::DropPrevote), Verdict::Violated));
    }

    #[test]
    fn a_mutation_is_chosen_by_its_name() {
        assert_eq!(mutations(None).ok(), Some(vec![None]));
        assert_eq!(mutations(Some("vote-twice")).ok(), Some(vec![Some(Guard::VoteTwice)]));
        assert_eq!(mutations(Some("all")).map(|all| all.len()).ok(), Some(Guard::ALL.len()));
        assert!(mutations(Some("no-such")).is_err());
    }
}
