//! Recording: the one seam through which a node's shells step their machines.
//!
//! Without a recording the machine is stepped and nothing else happens. With one, the event is
//! written down before the step, and after it what the log answered and what came of it.

use std::hash::{Hash, Hasher};

use super::encode::{EncodeError, encode};
use super::entry::InputRef;
use super::frame::frame;
use super::listen::{Listening, RecordedLog};
use super::{Answer, Digest, Entry, Extents, Mark, Outcome, Start};
use crate::broker::Broker;
use crate::metadata::Controller;
use crate::raft::{Quorum, RaftLog};
use crate::replica::{DataLog, Replica};
use crate::{Rules, broker, metadata, raft, replica};

/// A state with more producers, waiting requests, topics or partitions in it than this is digested as
/// a whole only now and then: it would take longer than the step.
const SMALL: usize = 64;

/// How often a large state is digested as a whole: each so many steps of its machine.
const THOROUGH: u32 = 64;

/// The entries of one thread, as bytes that wait to be written.
#[derive(Debug, Default)]
pub struct Recording {
    bytes: Vec<u8>,
    entries: u64,
    machines: u32,
    last: u64,
    failure: Option<EncodeError>,
}

/// One machine in a recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Track {
    machine: u32,
    steps: u32,
    mark: Mark,
}

/// What a step needs to be recorded: where to, which machine's it is, and the time, in nanoseconds
/// of a clock that all nodes on a machine share.
#[derive(Debug)]
pub struct Seam<'a> {
    pub recording: &'a mut Recording,
    pub track: &'a mut Track,
    pub at: u64,
}

impl Recording {
    /// What has gathered since the bytes were last cleared.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What was gathered is written.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Why a step could not be recorded: never, for the types as they are.
    pub fn failure(&self) -> Option<&EncodeError> {
        self.failure.as_ref()
    }

    /// Entries of the recording so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Another file begins, whose header says `at`.
    pub fn file_began(&mut self, at: u64) {
        self.last = at;
    }

    /// A machine is made from `start`. `None` if that cannot be recorded.
    pub fn begin(&mut self, at: u64, start: Start) -> Option<Track> {
        let mark = match &start {
            Start::Quorum { log, .. } | Start::Replica { log, .. } => log.mark(),
            Start::Controller { .. } | Start::Broker { .. } => Mark::default(),
        };
        let after = self.after(at);
        self.write(|bytes| encode(bytes, &Entry::Begin { after, start }));
        self.machines += 1;
        self.failure.is_none().then_some(Track { machine: self.machines - 1, steps: 0, mark })
    }

    /// Nothing is recorded after this.
    pub fn end(&mut self, at: u64, why: &str) {
        let after = self.after(at);
        self.write(|bytes| encode(bytes, &Entry::End { after, why: why.to_owned() }));
    }

    fn write(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>) {
        match frame(&mut self.bytes, write) {
            Ok(()) => self.entries += 1,
            Err(error) => drop(self.failure.get_or_insert(error)),
        }
    }

    fn after(&mut self, at: u64) -> u64 {
        let after = at.saturating_sub(self.last);
        self.last = self.last.max(at);
        after
    }
}

impl Seam<'_> {
    /// Steps the quorum machine and records it. A failure to do so is the recording's to tell.
    pub fn quorum<R: Rules, L: RaftLog + RecordedLog>(
        self,
        quorum: &mut Quorum<R>,
        log: &mut L,
        event: raft::Event<L::Batch>,
        fx: &mut raft::Effects<L::Batch>,
    ) {
        let moved = self.moved(log.mark());
        let input = event.map(&mut |batch| extents_of::<L>(&event, batch));
        let earlier = fx.len();
        let mut heard = Listening::new(log);
        quorum.step(&mut heard, event, fx);
        let answers = heard.answers();
        let outcome = match log.has_failed() {
            true => Outcome::LogFailed,
            false => {
                let said: Vec<_> = fx[earlier..]
                    .iter()
                    .map(|effect| effect.map(&mut |batch| of_effect::<L>(effect, batch)))
                    .collect();
                let state = digest_with(&log.mark(), |digest| quorum.hash_state(digest));
                done(answers, &said, state, true)
            }
        };
        self.track.mark = log.mark();
        self.write(moved, InputRef::Quorum(input), &outcome);
    }

    /// Steps the controller machine and records it.
    pub fn controller<R: Rules>(
        self,
        controller: &mut Controller<R>,
        event: metadata::Event,
        fx: &mut metadata::Effects,
    ) {
        let kept = event.clone();
        let earlier = fx.len();
        controller.step(event, fx);
        let is_thorough = controller.weight() <= SMALL || self.track.is_due();
        let state = digest_with(&(), |digest| controller.hash_state(is_thorough, digest));
        let outcome = done(Vec::new(), &fx[earlier..], state, is_thorough);
        self.write(None, InputRef::Controller(&kept), &outcome);
    }

    /// Steps the broker machine and records it.
    pub fn broker(self, broker: &mut Broker, event: broker::Event, fx: &mut broker::Effects) {
        let kept = event.clone();
        let earlier = fx.len();
        broker.step(event, fx);
        let state = digest_with(&(), |digest| broker.hash(digest));
        let outcome = done(Vec::new(), &fx[earlier..], state, true);
        self.write(None, InputRef::Broker(&kept), &outcome);
    }

    /// Steps a replica's machine and records it.
    pub fn replica<R: Rules, L: DataLog + RecordedLog>(
        self,
        replica: &mut Replica<R>,
        log: &mut L,
        event: replica::Event<L::Batch>,
        fx: &mut replica::Effects,
    ) {
        let moved = self.moved(log.mark());
        let input = event.map(&mut |batch| L::extents(batch));
        let earlier = fx.len();
        let mut heard = Listening::new(log);
        replica.step(&mut heard, event, fx);
        let answers = heard.answers();
        let outcome = match log.has_failed() {
            true => Outcome::LogFailed,
            false => {
                let is_thorough = replica.weight() <= SMALL || self.track.is_due();
                let state =
                    digest_with(&log.mark(), |digest| replica.hash_state(is_thorough, digest));
                done(answers, &fx[earlier..], state, is_thorough)
            }
        };
        self.track.mark = log.mark();
        self.write(moved, InputRef::Replica(input), &outcome);
    }

    /// Where the log stands now, if the shell moved it since the last step.
    fn moved(&self, now: Mark) -> Option<Mark> {
        (now != self.track.mark).then_some(now)
    }

    fn write(self, moved: Option<Mark>, input: InputRef<'_>, outcome: &Outcome) {
        /// [`Entry::Step`]'s place among the entries.
        const STEP: u32 = 1;
        self.track.steps = self.track.steps.wrapping_add(1);
        let after = self.recording.after(self.at);
        let entry = (STEP, after, self.track.machine, moved, input, outcome);
        self.recording.write(|bytes| encode(bytes, &entry));
    }
}

impl Track {
    fn is_due(&self) -> bool {
        self.steps.is_multiple_of(THOROUGH)
    }
}

fn done<E: Hash>(answers: Vec<Answer>, effects: &[E], state: u64, is_thorough: bool) -> Outcome {
    Outcome::Done { answers, effects: Digest::of(effects), state, is_thorough }
}

/// The digest of what `hash` tells, and of `log`.
pub(super) fn digest_with(log: &impl Hash, hash: impl FnOnce(&mut Digest)) -> u64 {
    let mut digest = Digest::default();
    log.hash(&mut digest);
    hash(&mut digest);
    digest.finish()
}

/// Chunks of snapshots are batches in name only.
fn extents_of<L: RecordedLog>(event: &raft::Event<L::Batch>, batch: &L::Batch) -> Extents {
    match event {
        raft::Event::Received { message: raft::Message::FetchSnapshotResponse(_), .. } => {
            L::chunk(batch)
        }
        _ => L::extents(batch),
    }
}

fn of_effect<L: RecordedLog>(effect: &raft::Effect<L::Batch>, batch: &L::Batch) -> Extents {
    match effect {
        raft::Effect::StoreSnapshotChunk { .. }
        | raft::Effect::Send { message: raft::Message::FetchSnapshotResponse(_), .. } => {
            L::chunk(batch)
        }
        _ => L::extents(batch),
    }
}
