//! Exhaustive checking with stateright: the models, their bounds, and the mutations they must catch.
//!
//! ```text
//!   a model (quorum, replica ...) ── Checked ──┬── explore         depth first, to completion
//!     machine + modelled disk and network      └── counterexample  breadth first, the shortest
//! ```
//!
//! A model instantiates the very machine that the node runs, with [`Mutated`] for its rules, and
//! owns everything that can go wrong around it. [`models`] lists the configurations that must
//! hold, [`mutations`] for every guard the configuration that must notice when it is gone.

pub mod cluster;
pub mod controller;
mod count;
mod explore;
mod explorer;
mod fingerprints;
mod gauge;
mod memo;
pub mod quorum;
pub mod quorum_abstract;
mod replay;
pub mod replica;
mod search;
mod shared;
mod story;
#[cfg(test)]
mod twin;
mod value;

pub use count::{Count, Projected, count};
pub use explore::{Budget, Outcome, explore, explore_within};
pub use explorer::serve;
pub use gauge::Gauge;
pub use replay::{End, Replayed, replay};
pub use search::{counterexample, counterexample_within, hunt_within};
pub use story::{Step, Story};
pub use value::Value;

use std::fmt::Debug;
use std::hash::Hash;
use std::net::SocketAddr;

use crate::{Guard, Rules};

/// The rules with at most one guard taken out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Mutated(pub Option<Guard>);

impl Rules for Mutated {
    #[inline]
    fn holds(self, guard: Guard) -> bool {
        self.0 != Some(guard)
    }
}

/// Picks one of the states that a symmetry makes equal.
pub type Representative<S> = fn(&S) -> S;

/// A model that can be explored to completion and whose counterexamples can be told.
///
/// `always` properties are what must hold; `sometimes` properties are what the state space must
/// reach for the others to mean anything. `eventually` is not used: stateright overlooks cycles
/// and joins. A bound is a counter in the state, never a depth.
pub trait Checked:
    stateright::Model<
        State: Clone + Eq + Hash + Debug + Send + Sync + 'static,
        Action: Clone + PartialEq + Debug + Send + Sync + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
    /// The model's name on the command line.
    fn name(&self) -> &'static str;

    /// What is bounded and how far, in one line.
    fn bounds(&self) -> String;

    /// One step as a sentence or a few lines: who did what, and what changed.
    fn describe_step(
        &self,
        before: &Self::State,
        action: &Self::Action,
        after: &Self::State,
    ) -> String;

    /// A canonical member of the states that differ from a given one only in what makes no
    /// difference, if the model has such. The depth-first search visits one of each.
    fn symmetry(&self) -> Option<Representative<Self::State>> {
        None
    }

    /// The protocol rule behind an `always` property, in words that stand on their own.
    fn rule_of(&self, property: &str) -> &'static str;
}

/// How long a configuration takes, and so when it runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Tier {
    /// Under a minute; for every commit.
    Quick,
    /// Minutes.
    Full,
    /// Hours.
    Deep,
}

impl Tier {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Quick => "quick",
            Tier::Full => "full",
            Tier::Deep => "deep",
        }
    }
}

/// A model within its bounds, whatever its type. The model is made anew for each use, so that plain
/// functions do for all of them.
#[derive(Clone, Copy)]
pub struct Subject {
    pub bounds: fn() -> String,
    /// Serves stateright's Explorer on it.
    pub serve: fn(SocketAddr),
    /// Takes the steps of a counterexample again.
    pub replay: fn(&[String]) -> Replayed,
}

macro_rules! subject {
    ($model:expr) => {
        $crate::check::Subject {
            bounds: || $crate::check::Checked::bounds(&$model),
            serve: |address| $crate::check::serve(&$model, address),
            replay: |actions| $crate::check::replay(&$model, actions),
        }
    };
}
use subject;

/// A configuration that must hold.
#[derive(Clone, Copy)]
pub struct Configuration {
    pub name: &'static str,
    pub tier: Tier,
    pub subject: Subject,
    pub explore: fn(&Budget) -> Outcome,
}

macro_rules! configuration {
    ($model:expr, $tier:expr) => {
        $crate::check::Configuration {
            name: $crate::check::Checked::name(&$model),
            tier: $tier,
            subject: $crate::check::subject!($model),
            explore: |budget| $crate::check::explore_within(&$model, budget),
        }
    };
}
use configuration;

/// What becomes of a model whose guard is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fate {
    /// Some invariant must break.
    Killed,
    /// The guard serves availability only; a broken invariant means that the judge is too strict.
    Survives,
}

/// A guard, and the configuration aimed at it.
#[derive(Clone, Copy)]
pub struct Mutation {
    pub guard: Guard,
    pub fate: Fate,
    /// The name of the model that judges.
    pub model: &'static str,
    pub subject: Subject,
    /// Explores the configuration without the guard; [`Outcome::violation`] is the shortest story.
    pub hunt: fn(&Budget) -> Outcome,
}

/// Every configuration that must hold, family by family, the smaller bounds first.
pub fn models() -> Vec<Configuration> {
    let families = [
        quorum::models(),
        replica::configurations(),
        controller::configurations(),
        cluster::configurations(),
    ];
    families.into_iter().flatten().collect()
}

/// Every wired guard with the configuration aimed at it. A guard may have several judges.
pub fn mutations() -> Vec<Mutation> {
    let families =
        [quorum::mutations(), replica::mutations(), controller::mutations(), cluster::mutations()];
    families.into_iter().flatten().collect()
}
