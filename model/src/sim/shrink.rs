//! Making a failing run shorter: fewer steps, fewer kinds of faults, fewer strikes, while it still
//! breaks the same promise.

use crate::Rules;

use super::{Fault, Outcome, Setup, run};

/// The shortest failing run that was found.
#[derive(Clone, Debug)]
pub struct Shrunk {
    pub setup: Setup,
    pub outcome: Outcome,
    /// Runs that were tried.
    pub tries: u32,
}

/// Shrinks a failing setup with at most so many runs; `None` if it does not fail.
pub fn shrink<R: Rules>(setup: &Setup, rules: R, most: u32) -> Option<Shrunk> {
    let outcome = run(setup, rules);
    let property = outcome.broken.as_ref()?.property;
    let setup = Setup { steps: setup.steps.min(outcome.steps), ..setup.clone() };
    let mut shrinking = Shrinking { rules, property, most, tries: 1, setup, outcome };
    loop {
        let before = (shrinking.outcome.steps, shrinking.setup.without.clone());
        shrinking.drop_kinds();
        shrinking.drop_strikes();
        if before == (shrinking.outcome.steps, shrinking.setup.without.clone()) {
            break;
        }
    }
    let mut setup = shrinking.setup;
    setup.is_told = true;
    let outcome = run(&setup, rules);
    Some(Shrunk { setup, outcome, tries: shrinking.tries })
}

struct Shrinking<R> {
    rules: R,
    property: &'static str,
    most: u32,
    tries: u32,
    setup: Setup,
    outcome: Outcome,
}

impl<R: Rules> Shrinking<R> {
    /// Whether the run still fails this way, in no more steps; then it is the one to go on with.
    fn attempt(&mut self, setup: Setup) -> bool {
        if self.tries >= self.most {
            return false;
        }
        self.tries += 1;
        let outcome = run(&setup, self.rules);
        let fails = outcome.broken.as_ref().is_some_and(|it| it.property == self.property);
        if !fails || outcome.steps > self.outcome.steps {
            return false;
        }
        self.setup = Setup { steps: setup.steps.min(outcome.steps), ..setup };
        self.outcome = outcome;
        true
    }

    fn drop_kinds(&mut self) {
        for &fault in Fault::ALL {
            if self.outcome.faults.of(fault) > 0 {
                let mut setup = self.setup.clone();
                setup.without.kinds.insert(fault);
                self.attempt(setup);
            }
        }
    }

    /// By halves first, then one by one from the last on.
    fn drop_strikes(&mut self) {
        let mut size = self.outcome.struck.len() / 2;
        while size > 0 {
            let struck: Vec<u32> = self.outcome.struck.iter().map(|(number, _)| *number).collect();
            for group in struck.rchunks(size) {
                let mut setup = self.setup.clone();
                setup.without.strikes.extend(group);
                self.attempt(setup);
            }
            size /= 2;
        }
    }
}
