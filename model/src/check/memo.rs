//! Steps that were taken before.

use std::hash::{Hash, Hasher};

use super::shared::{Digest, Shared};

/// Remembers what came of steps. A step depends on nothing but the machine and the event, and of a
/// model's millions of states most have machines and events that others had before them: looking
/// up what came of it is cheaper than another copy of the machine, its step and its digest.
///
/// Machine and event are compared as a whole, so that a digest which two of them share makes no
/// difference. Each place holds the last of the steps that fall to it.
pub(super) struct Memo<M, E, A> {
    places: Vec<Option<Taken<M, E, A>>>,
    /// What came of steps, by digest: whatever comes of two of them is shared, so that comparing it
    /// is for the most part comparing pointers.
    known: Vec<Option<Shared<M>>>,
}

struct Taken<M, E, A> {
    before: Shared<M>,
    event: E,
    after: Shared<M>,
    said: A,
}

impl<M: Clone + Eq + Hash, E: Clone + Eq + Hash, A: Clone> Memo<M, E, A> {
    /// With room for 2^`bits` steps.
    pub(super) fn new(bits: u32) -> Self {
        let places = std::iter::repeat_with(|| None).take(1 << bits).collect();
        Memo { places, known: vec![None; 1 << bits] }
    }

    /// Takes a step, or does as if, and returns what the machine said.
    pub(super) fn step(
        &mut self,
        machine: &mut Shared<M>,
        event: E,
        step: impl FnOnce(&mut M, E) -> A,
    ) -> A {
        let at = self.place(machine, &event);
        if let Some(taken) = &self.places[at]
            && taken.event == event
            && taken.before == *machine
        {
            *machine = taken.after.clone();
            return taken.said.clone();
        }
        let before = machine.clone();
        let said = machine.change(|machine| step(machine, event.clone()));
        self.share(machine);
        let after = machine.clone();
        self.places[at] = Some(Taken { before, event, after, said: said.clone() });
        said
    }

    /// Takes the known one if there is one like it.
    fn share(&mut self, machine: &mut Shared<M>) {
        let at = self.place(machine, &());
        match &self.known[at] {
            Some(known) if known == machine => *machine = known.clone(),
            _ => self.known[at] = Some(machine.clone()),
        }
    }

    fn place(&self, machine: &Shared<M>, event: &impl Hash) -> usize {
        let mut digest = Digest::default();
        machine.hash(&mut digest);
        event.hash(&mut digest);
        digest.finish() as usize & (self.places.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_taken_once_and_says_the_same_again() {
        let mut memo = Memo::new(4);
        let mut taken = 0;
        let mut add = |machine: &mut Shared<u32>, more| {
            memo.step(machine, more, |sum: &mut u32, more| {
                taken += 1;
                *sum += more;
                *sum
            })
        };
        let (start, mut machine) = (Shared::new(1), Shared::new(1));
        assert_eq!(add(&mut machine, 2), 3);
        let mut again = start.clone();
        assert_eq!((add(&mut again, 2), *again, *start), (3, 3, 1));
        assert_eq!((add(&mut again, 2), *again), (5, 5));
        assert_eq!(taken, 2);
    }

    #[test]
    fn steps_that_fall_to_one_place_are_told_apart() {
        let mut memo = Memo::new(0);
        for start in [1, 2, 1, 7] {
            for more in [1, 5, 1] {
                let mut machine = Shared::new(start);
                memo.step(&mut machine, more, |sum: &mut u32, more| *sum += more);
                assert_eq!(*machine, start + more);
            }
        }
    }
}
