//! What came out of one model, in the form in which it is answered.

use kraft_model::check::{Outcome as Explored, Story};
use serde::Serialize;

/// One model's result.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub model: String,
    pub bounds: String,
    /// When the model is checked: quick, full or deep. None for a mutation.
    pub tier: Option<&'static str>,
    pub mutation: Option<&'static str>,
    pub unique: usize,
    pub generated: usize,
    pub depth: usize,
    pub seconds: f64,
    /// The chance that two states had one fingerprint, so that one of them was skipped.
    pub collision_chance: f64,
    pub verdict: Verdict,
    pub reached: Vec<&'static str>,
    pub missed: Vec<&'static str>,
    /// The property that does not hold, and the rule behind it.
    pub violated: Option<&'static str>,
    pub rule: Option<&'static str>,
    /// A shortest way to it, a step a line.
    pub trace: Vec<String>,
    /// The same steps as the model writes them; `--replay` takes them again.
    pub actions: Vec<String>,
    /// Whether this is what had to come out.
    pub as_expected: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Holds,
    Violated,
    Vacuous,
    Unfinished,
}

impl Outcome {
    pub fn new(
        model: &str,
        tier: Option<&'static str>,
        mutation: Option<&'static str>,
        explored: &Explored,
        as_expected: bool,
    ) -> Outcome {
        let verdict = match (&explored.violation, explored.complete) {
            (Some(_), _) => Verdict::Violated,
            (None, false) => Verdict::Unfinished,
            (None, true) if explored.holds() || mutation.is_some() => Verdict::Holds,
            (None, true) => Verdict::Vacuous,
        };
        let names = |reached: bool| {
            let all = explored.reached.iter().filter(|(_, hit)| *hit == reached);
            all.map(|(name, _)| *name).collect()
        };
        let story: Option<&Story> = explored.violation.as_ref();
        let steps = story.map_or(&[][..], |story| &story.steps);
        Outcome {
            model: model.to_owned(),
            bounds: explored.bounds.clone(),
            tier,
            mutation,
            unique: explored.unique_states,
            generated: explored.generated,
            depth: explored.max_depth,
            seconds: explored.seconds,
            collision_chance: explored.collision_chance(),
            verdict,
            reached: names(true),
            missed: names(false),
            violated: story.map(|story| story.property),
            rule: story.map(|story| story.rule),
            trace: steps.iter().map(|step| step.text.clone()).collect(),
            actions: steps.iter().map(|step| step.action.clone()).collect(),
            as_expected,
        }
    }

    /// The verdict in words.
    pub fn said(&self) -> String {
        match (self.verdict, self.violated) {
            (Verdict::Violated, Some(property)) => format!("VIOLATED: {property}"),
            (Verdict::Violated, None) => "VIOLATED".to_owned(),
            (Verdict::Holds, _) => "holds".to_owned(),
            (Verdict::Unfinished, _) => "unfinished".to_owned(),
            (Verdict::Vacuous, _) => format!("VACUOUS: never {}", self.missed.join(", ")),
        }
    }
}
