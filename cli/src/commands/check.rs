//! `kraft check`: the models that are checked, the verdicts, and what each mutation did.

use std::path::PathBuf;

use kraft_model::Guard;
use kraft_model::check::{
    self, Budget, Configuration, Fate, Mutation, Outcome as Explored, Story, Tier,
};
use serde::Serialize;

use crate::output::{self, OutputArgs, grouped, table};
use crate::report::{Context, Failure};

/// Check the protocol exhaustively within bounds: every order of events, crash and loss
///
/// JSON: [{model, bounds, mutation, unique, generated, depth, seconds, collision_chance, verdict,
/// reached, missed, violated, rule, trace}]; 'verdict' is holds, violated, vacuous (a state that had to be
/// reached was not) or unfinished. Ends with exit code 3 if a property is violated, or with --mutate
/// if a mutation that must be caught is not, or one that must survive is not.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Models to check [default: all of the tier]
    models: Vec<String>,
    /// Only list the models and the mutations with their bounds
    #[arg(long)]
    list: bool,
    /// How much to check: quick takes about two minutes, full about twenty, deep hours
    #[arg(long, value_enum, default_value_t = TierArg::Quick)]
    tier: TierArg,
    /// Give up on a model after about so many states
    #[arg(long, value_name = "STATES")]
    states: Option<usize>,
    /// [default: 1]
    #[arg(long)]
    threads: Option<usize>,
    /// Remove one guard of the protocol, or each wired one in turn: the checker must notice
    #[arg(long, value_name = "NAME|all")]
    mutate: Option<String>,
    /// Write the JSON answer here as well
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum TierArg {
    Quick,
    Full,
    Deep,
}

impl From<TierArg> for Tier {
    fn from(tier: TierArg) -> Tier {
        match tier {
            TierArg::Quick => Tier::Quick,
            TierArg::Full => Tier::Full,
            TierArg::Deep => Tier::Deep,
        }
    }
}

/// One model's result.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    model: String,
    bounds: String,
    mutation: Option<&'static str>,
    unique: usize,
    generated: usize,
    depth: usize,
    seconds: f64,
    /// The chance that two states had one fingerprint, so that one of them was skipped.
    collision_chance: f64,
    verdict: Verdict,
    reached: Vec<&'static str>,
    missed: Vec<&'static str>,
    /// The property that does not hold, and the rule behind it.
    violated: Option<&'static str>,
    rule: Option<&'static str>,
    /// A shortest way to it, a step a line.
    trace: Vec<String>,
    /// Whether this is what had to come out.
    as_expected: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Holds,
    Violated,
    Vacuous,
    Unfinished,
}

#[derive(Clone, Debug, Serialize)]
struct Listed {
    name: &'static str,
    kind: &'static str,
    judge: &'static str,
    bounds: String,
}

pub fn run(args: &CheckArgs) -> Result<(), Failure> {
    if args.list {
        let row = |it: &Listed| {
            vec![it.name.to_owned(), it.kind.to_owned(), it.judge.to_owned(), it.bounds.clone()]
        };
        let render =
            |all: &Vec<Listed>| table(&["name", "kind", "judge", "bounds"], all.iter().map(row));
        return args.output.answer(&list(), render);
    }
    let budget = Budget {
        states: args.states.unwrap_or(usize::MAX),
        threads: args.threads.unwrap_or(1).max(1),
    };
    let outcomes = match &args.mutate {
        Some(name) => hunt(&mutations(name)?, &budget),
        None => explore(&configurations(args)?, &budget),
    };
    if let Some(path) = &args.report {
        let text = serde_json::to_string_pretty(&outcomes)
            .map_err(|error| Failure::new("cannot write the report").because(error))?;
        std::fs::write(path, text).doing(|| format!("cannot write {}", path.display()))?;
    }
    args.output.answer(&outcomes, |outcomes| outcome_table(outcomes))?;
    if outcomes.iter().all(|outcome| outcome.as_expected) {
        Ok(())
    } else {
        Err(Failure::Violation)
    }
}

fn list() -> Vec<Listed> {
    let models = check::models().into_iter().map(|model| Listed {
        name: model.name,
        kind: match model.tier {
            Tier::Quick => "model, quick",
            Tier::Full => "model, full",
            Tier::Deep => "model, deep",
        },
        judge: model.name,
        bounds: (model.bounds)(),
    });
    let mutations = check::mutations().into_iter().map(|mutation| Listed {
        name: mutation.guard.name(),
        kind: match mutation.fate {
            Fate::Killed => "mutation, to be caught",
            Fate::Survives => "mutation, to survive",
        },
        judge: mutation.model,
        bounds: (mutation.bounds)(),
    });
    models.chain(mutations).collect()
}

/// The models by name, whatever their tier, or all up to the tier.
fn configurations(args: &CheckArgs) -> Result<Vec<Configuration>, Failure> {
    let all = check::models();
    if let Some(unknown) =
        args.models.iter().find(|name| all.iter().all(|model| model.name != **name))
    {
        let names: Vec<_> = all.iter().map(|model| model.name).collect();
        return Err(Failure::usage(format!("there is no model '{unknown}'"))
            .next(format!("they are: {}", names.join(", "))));
    }
    let tier = Tier::from(args.tier);
    let is_wanted = |model: &Configuration| match args.models.is_empty() {
        true => model.tier <= tier,
        false => args.models.iter().any(|name| name == model.name),
    };
    Ok(all.into_iter().filter(is_wanted).collect())
}

fn mutations(asked: &str) -> Result<Vec<Mutation>, Failure> {
    let all = check::mutations();
    if asked == "all" {
        return Ok(all);
    }
    let chosen: Vec<_> = all.iter().filter(|it| it.guard.name() == asked).copied().collect();
    if chosen.is_empty() {
        let names: Vec<_> = all.iter().map(|it| it.guard.name()).collect();
        let known = Guard::ALL.iter().any(|guard| guard.name() == asked);
        let problem = match known {
            true => format!("no model judges the mutation '{asked}' yet"),
            false => format!("there is no mutation '{asked}'"),
        };
        return Err(Failure::usage(problem).next(format!("they are: {}", names.join(", "))));
    }
    Ok(chosen)
}

fn explore(models: &[Configuration], budget: &Budget) -> Vec<Outcome> {
    let check = |model: &Configuration| {
        output::notice(&format!("checking {}: {}", model.name, (model.bounds)()));
        let explored = (model.explore)(budget);
        let as_expected = explored.holds();
        outcome(model.name, None, explored, as_expected)
    };
    models.iter().map(check).collect()
}

fn hunt(mutations: &[Mutation], budget: &Budget) -> Vec<Outcome> {
    let check = |mutation: &Mutation| {
        let name = mutation.guard.name();
        output::notice(&format!("removing {name}, judged by {}", mutation.model));
        let explored = (mutation.hunt)(budget);
        let caught = explored.violation.is_some();
        let as_expected = match mutation.fate {
            Fate::Killed => caught,
            Fate::Survives => !caught && explored.complete,
        };
        outcome(mutation.model, Some(name), explored, as_expected)
    };
    mutations.iter().map(check).collect()
}

fn outcome(
    model: &str,
    mutation: Option<&'static str>,
    explored: Explored,
    as_expected: bool,
) -> Outcome {
    let verdict = match (&explored.violation, explored.complete) {
        (Some(_), _) => Verdict::Violated,
        (None, false) => Verdict::Unfinished,
        (None, true) if explored.holds() || mutation.is_some() => Verdict::Holds,
        (None, true) => Verdict::Vacuous,
    };
    let collision_chance = explored.collision_chance();
    let (reached, missed): (Vec<_>, Vec<_>) = explored.reached.iter().partition(|(_, hit)| *hit);
    let names = |all: Vec<(&'static str, bool)>| all.into_iter().map(|(name, _)| name).collect();
    let story: Option<&Story> = explored.violation.as_ref();
    Outcome {
        model: model.to_owned(),
        bounds: explored.bounds.clone(),
        mutation,
        unique: explored.unique_states,
        generated: explored.generated,
        depth: explored.max_depth,
        seconds: explored.seconds,
        collision_chance,
        verdict,
        reached: names(reached),
        missed: names(missed),
        violated: story.map(|story| story.property),
        rule: story.map(|story| story.rule),
        trace: story.map(steps).unwrap_or_default(),
        as_expected,
    }
}

fn steps(story: &Story) -> Vec<String> {
    story.steps.iter().map(|step| step.text.clone()).collect()
}

fn outcome_table(outcomes: &[Outcome]) -> String {
    let rows = outcomes.iter().map(|outcome| {
        let verdict = match (outcome.verdict, outcome.violated) {
            (Verdict::Violated, Some(property)) => format!("VIOLATED: {property}"),
            (Verdict::Violated, None) => "VIOLATED".to_owned(),
            (Verdict::Holds, _) => "holds".to_owned(),
            (Verdict::Unfinished, _) => "unfinished".to_owned(),
            (Verdict::Vacuous, _) => format!("VACUOUS: never {}", outcome.missed.join(", ")),
        };
        let expected = if outcome.as_expected { "yes" } else { "NO" };
        vec![
            outcome.model.clone(),
            output::or_dash(outcome.mutation),
            grouped(outcome.unique as u64),
            outcome.depth.to_string(),
            format!("{:.1}", outcome.seconds),
            verdict,
            expected.to_owned(),
        ]
    });
    let header = ["model", "mutation", "states", "depth", "seconds", "verdict", "as expected"];
    let mut text = table(&header, rows);
    let bounds = outcomes.iter().filter(|outcome| outcome.mutation.is_none());
    bounds.for_each(|it| {
        text +=
            &format!("{}: {}; collision chance {:.0e}\n", it.model, it.bounds, it.collision_chance)
    });
    for outcome in outcomes.iter().filter(|outcome| !outcome.trace.is_empty()) {
        text += &story_text(outcome);
    }
    text
}

fn story_text(outcome: &Outcome) -> String {
    let mut text = match outcome.mutation {
        Some(mutation) => format!("\nwithout the guard of {mutation}, in {}:\n", outcome.model),
        None => format!("\n{}: how it happens\n", outcome.model),
    };
    for (index, step) in outcome.trace.iter().enumerate() {
        text += &format!("{:>4}  {}\n", index + 1, step.replace('\n', "\n      "));
    }
    let (violated, rule) = (outcome.violated.unwrap_or_default(), outcome.rule.unwrap_or_default());
    text + &format!("   => broken: {violated}\n      rule:   {rule}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutation_is_chosen_by_its_name() {
        assert_eq!(mutations("vote-twice").map(|chosen| chosen.len()).ok(), Some(1));
        assert_eq!(mutations("all").map(|all| all.len()).ok(), Some(check::mutations().len()));
        assert!(mutations("no-such").is_err());
    }

    #[test]
    fn every_mutation_names_a_guard_once_for_each_model() {
        let mut all: Vec<_> =
            check::mutations().iter().map(|it| (it.guard.name(), it.model)).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
