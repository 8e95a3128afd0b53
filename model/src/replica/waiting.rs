//! Produce requests that wait for their acknowledgement.

use std::collections::VecDeque;

use crate::{ErrorCode, Offset};

use super::{Appended, Effect, Effects, RequestId};

/// Requests in the order of the offsets for which they wait. How many there are is bounded by what
/// the shell lets in: each holds a client's request open.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Waiting(VecDeque<Waiter>);

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Waiter {
    /// Answered as soon as everything below this is done with.
    end: Offset,
    request: RequestId,
    appended: Appended,
}

impl Waiting {
    pub fn push(&mut self, request: RequestId, end: Offset, appended: Appended) {
        // Behind all others, unless it is a duplicate: only that waits for an earlier offset.
        let place = self.0.partition_point(|other| other.end <= end);
        self.0.insert(place, Waiter { end, request, appended });
    }

    /// Answers everything that waits for an offset up to `done`, with `error` if there is one.
    pub fn release(&mut self, done: Offset, error: Option<ErrorCode>, fx: &mut Effects) {
        while let Some(&waiter) = self.0.front().filter(|waiter| waiter.end <= done) {
            self.0.pop_front();
            let result = error.map_or(Ok(waiter.appended), Err);
            fx.push(Effect::Reply { request: waiter.request, result });
        }
    }

    /// Takes out one request; whether it was there.
    pub fn remove(&mut self, request: RequestId) -> bool {
        let place = self.0.iter().position(|waiter| waiter.request == request);
        place.is_some_and(|place| self.0.remove(place).is_some())
    }

    pub fn fail(&mut self, error: ErrorCode, fx: &mut Effects) {
        for waiter in self.0.drain(..) {
            fx.push(Effect::Reply { request: waiter.request, result: Err(error) });
        }
    }

    /// The offsets that are waited for.
    #[cfg(feature = "check")]
    pub fn ends(&self) -> impl Iterator<Item = Offset> + '_ {
        self.0.iter().map(|waiter| waiter.end)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}
