//! `kraft check`: the models that are checked, the verdicts, and what each mutation did.

mod explorer;
mod junit;
mod outcome;
mod replay;
mod run;
mod show;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use kraft_model::Guard;
use kraft_model::check::{self, Configuration, Fate, Mutation, Tier};
use serde::Serialize;

use crate::output::{OutputArgs, table};
use crate::report::{Context, Failure};
use outcome::Outcome;

/// Check the protocol exhaustively within bounds: every order of events, crash and loss
///
/// JSON: [{model, bounds, tier, mutation, unique, generated, depth, seconds, collision_chance, verdict,
/// reached, missed, violated, rule, trace, actions}]; 'verdict' is holds, violated, vacuous (a state that had to be
/// reached was not) or unfinished. Ends with exit code 3 if a property is violated, or with --mutate
/// if a mutation that must be caught is not, or one that must survive is not.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Models to check, or with --mutate to judge [default: all of the tier]
    models: Vec<String>,
    /// Only list the models and the mutations with their bounds
    #[arg(long)]
    list: bool,
    /// How much to check: quick takes about a minute on two cores, full twenty minutes, deep hours
    #[arg(long, value_enum, default_value_t = TierArg::Quick)]
    tier: TierArg,
    /// Give up on a model after about so many states, each counted as often as it is met
    #[arg(long, value_name = "STATES")]
    states: Option<usize>,
    /// Models checked at a time, each on a thread of its own [default: one a core]
    #[arg(long)]
    threads: Option<usize>,
    /// Remove one guard of the protocol, or each wired one in turn: the checker must notice
    #[arg(long, value_name = "NAME|all")]
    mutate: Option<String>,
    /// Write a report here as well: JUnit's XML if the name ends in .xml, else the JSON answer
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Take the steps of the counterexamples in such a report (JSON) again, instead of searching
    #[arg(long, value_name = "FILE", conflicts_with_all = ["models", "mutate", "report", "list"])]
    replay: Option<PathBuf>,
    /// Walk through one model in a browser, state by state, instead of checking it; with --replay
    /// it begins where the counterexample ends
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["report", "list"])]
    explore: Option<SocketAddr>,
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

pub fn run(args: &CheckArgs) -> Result<(), Failure> {
    if args.list {
        return args.output.answer(&list(), |all| list_table(all));
    }
    if let Some(file) = &args.replay {
        return replay::run(file, args.explore, &args.output);
    }
    let jobs: Vec<run::Job> = match &args.mutate {
        Some(name) => mutations(name, &args.models)?.into_iter().map(run::Job::from).collect(),
        None => configurations(args)?.into_iter().map(run::Job::from).collect(),
    };
    if let Some(address) = args.explore {
        return explorer::run(&jobs, address);
    }
    let threads = args.threads.unwrap_or_else(run::cores).max(1);
    let outcomes = run::all(&jobs, threads, args.states.unwrap_or(usize::MAX));
    if let Some(path) = &args.report {
        report(path, &outcomes)?;
    }
    args.output.answer(&outcomes, |outcomes| show::outcomes(outcomes))?;
    if outcomes.iter().all(|outcome| outcome.as_expected) {
        Ok(())
    } else {
        Err(Failure::Violation)
    }
}

fn report(path: &Path, outcomes: &[Outcome]) -> Result<(), Failure> {
    let text = if path.extension().is_some_and(|extension| extension == "xml") {
        junit::document(outcomes)
    } else {
        serde_json::to_string_pretty(outcomes)
            .map_err(|error| Failure::new("cannot write the report").because(error))?
    };
    std::fs::write(path, text).doing(|| format!("cannot write {}", path.display()))
}

#[derive(Clone, Debug, Serialize)]
struct Listed {
    name: &'static str,
    kind: String,
    judge: &'static str,
    bounds: String,
}

fn list() -> Vec<Listed> {
    let models = check::models().into_iter().map(|model| Listed {
        name: model.name,
        kind: format!("model, {}", model.tier.name()),
        judge: model.name,
        bounds: (model.subject.bounds)(),
    });
    let mutations = check::mutations().into_iter().map(|mutation| Listed {
        name: mutation.guard.name(),
        kind: match mutation.fate {
            Fate::Killed => "mutation, to be caught".to_owned(),
            Fate::Survives => "mutation, to survive".to_owned(),
        },
        judge: mutation.model,
        bounds: (mutation.subject.bounds)(),
    });
    models.chain(mutations).collect()
}

fn list_table(all: &[Listed]) -> String {
    let row = |it: &Listed| {
        vec![it.name.to_owned(), it.kind.clone(), it.judge.to_owned(), it.bounds.clone()]
    };
    table(&["name", "kind", "judge", "bounds"], all.iter().map(row))
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

/// The mutations by name with those of their judges that are among `models`, or all.
fn mutations(asked: &str, models: &[String]) -> Result<Vec<Mutation>, Failure> {
    let all = check::mutations();
    let is_judge = |it: &Mutation| models.is_empty() || models.iter().any(|name| name == it.model);
    let is_asked = |it: &Mutation| asked == "all" || it.guard.name() == asked;
    let chosen: Vec<_> = all.iter().filter(|it| is_asked(it) && is_judge(it)).copied().collect();
    if chosen.is_empty() {
        let names: Vec<_> = all.iter().map(|it| it.guard.name()).collect();
        let known = Guard::ALL.iter().any(|guard| guard.name() == asked);
        let problem = match known {
            true => format!("no such model judges the mutation '{asked}'"),
            false => format!("there is no mutation '{asked}'"),
        };
        return Err(Failure::usage(problem).next(format!("they are: {}", names.join(", "))));
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutation_is_chosen_by_its_name() {
        let count = |name: &str, models: &[String]| mutations(name, models).ok().map(|it| it.len());
        assert_eq!(count("vote-twice", &[]), Some(1));
        assert_eq!(count("all", &[]), Some(check::mutations().len()));
        assert_eq!(count("no-such", &[]), None);
        assert_eq!(count("vote-twice", &["quorum".to_owned()]), Some(1));
        assert_eq!(count("vote-twice", &["controller".to_owned()]), None);
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

    #[test]
    fn every_model_has_a_name_of_its_own() {
        let mut names: Vec<_> = check::models().iter().map(|model| model.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
