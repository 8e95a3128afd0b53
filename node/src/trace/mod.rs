//! Recording what the machines of this process do (`trace.dir`), for `kraft trace`.
//!
//! ```text
//!   shell ──▶ Recorder::{quorum, controller, broker, replica} ──▶ Machine::step
//!                        │ off: one branch
//!                        └ on: entries ──▶ Recorder::write, before anything of them leaves ──▶ files
//! ```
//!
//! Every shell that owns machines owns a recorder, and steps them through it and through nothing
//! else. What has gathered is one write into the page cache, as an append to a partition is: a
//! shard's once a turn, the quorum's and the broker's once a step. So the process waits where the
//! disk does, a killed process leaves whole entries, and whatever another node heard of this one is
//! in this one's trace.

mod files;

use std::path::PathBuf;

use kraft_model::broker::{self, Broker};
use kraft_model::metadata::{self, Controller};
use kraft_model::raft::{self, Quorum};
use kraft_model::replay::{Recording, Seam, Start, Track};
use kraft_model::replica::{self, Replica};
use kraft_model::{ClusterId, Incarnation, NodeId, Shipped};
use rustix::time::{ClockId, clock_gettime};

use crate::limits::TRACE_BUFFER;
use crate::storage::{MetadataLog, PartitionLog, Records};
use files::Files;
pub use files::TraceError;

/// Where and how much to record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceConfig {
    /// `trace.dir`
    pub dir: PathBuf,
    /// `trace.segment.bytes`: a file that is as large is followed by another one.
    pub segment_bytes: u64,
    /// `trace.max.bytes`: a recording that is as large ends.
    pub max_bytes: u64,
}

/// Whose recording it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub cluster: ClusterId,
}

/// One shell's recording; or none, which costs a branch.
#[derive(Debug, Default)]
pub struct Recorder(Option<Box<Tape>>);

#[derive(Debug)]
struct Tape {
    recording: Recording,
    files: Files,
}

/// Nanoseconds of the clock that all processes of this machine share.
fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl Recorder {
    /// Begins the recording of `thread`, if one is wanted.
    ///
    /// # Errors
    /// The directory or the file cannot be made.
    pub fn open(
        config: Option<&TraceConfig>,
        origin: Origin,
        thread: &str,
    ) -> Result<Recorder, TraceError> {
        let Some(config) = config else { return Ok(Recorder::default()) };
        let mut recording = Recording::default();
        let files = Files::create(config.clone(), origin, thread, &mut recording)?;
        Ok(Recorder(Some(Box::new(Tape { recording, files }))))
    }

    /// A machine is made. `start` is asked only if it is recorded.
    pub fn begin(&mut self, start: impl FnOnce() -> Start) -> Option<Track> {
        let tape = self.0.as_mut()?;
        tape.recording.begin(monotonic_ns(), start())
    }

    pub fn quorum(
        &mut self,
        track: &mut Option<Track>,
        quorum: &mut Quorum<Shipped>,
        log: &mut MetadataLog,
        event: raft::Event<Records>,
        fx: &mut raft::Effects<Records>,
    ) {
        match self.seam(track) {
            Some(seam) => seam.quorum(quorum, log, event, fx),
            None => quorum.step(log, event, fx),
        }
    }

    pub fn controller(
        &mut self,
        track: &mut Option<Track>,
        controller: &mut Controller<Shipped>,
        event: metadata::Event,
        fx: &mut metadata::Effects,
    ) {
        match self.seam(track) {
            Some(seam) => seam.controller(controller, event, fx),
            None => controller.step(event, fx),
        }
    }

    pub fn broker(
        &mut self,
        track: &mut Option<Track>,
        broker: &mut Broker,
        event: broker::Event,
        fx: &mut broker::Effects,
    ) {
        match self.seam(track) {
            Some(seam) => seam.broker(broker, event, fx),
            None => broker.step(event, fx),
        }
    }

    pub fn replica(
        &mut self,
        track: &mut Option<Track>,
        replica: &mut Replica<Shipped>,
        log: &mut PartitionLog,
        event: replica::Event<Records>,
        fx: &mut replica::Effects,
    ) {
        match self.seam(track) {
            Some(seam) => seam.replica(replica, log, event, fx),
            None => replica.step(log, event, fx),
        }
    }

    fn seam<'a>(&'a mut self, track: &'a mut Option<Track>) -> Option<Seam<'a>> {
        let recording = &mut self.0.as_mut()?.recording;
        let track = track.as_mut()?;
        Some(Seam { recording, track, at: monotonic_ns() })
    }

    /// Whether so much has gathered that it must not wait for the turn's end.
    pub fn is_full(&self) -> bool {
        self.0.as_ref().is_some_and(|tape| tape.recording.bytes().len() >= TRACE_BUFFER)
    }

    /// Writes what has gathered. At the limit the recording ends, and says so.
    ///
    /// # Errors
    /// What was recorded cannot be kept, so that the process has to stop: a trace has no gaps.
    pub fn write(&mut self) -> Result<(), TraceError> {
        let Some(tape) = &mut self.0 else { return Ok(()) };
        if tape.recording.bytes().is_empty() {
            return Ok(());
        }
        if tape.files.write(&mut tape.recording)? {
            self.0 = None;
        }
        Ok(())
    }

    /// An orderly stop: nothing is recorded after this.
    ///
    /// # Errors
    /// As for [`Recorder::write`].
    pub fn end(&mut self, why: &str) -> Result<(), TraceError> {
        let Some(mut tape) = self.0.take() else { return Ok(()) };
        tape.recording.end(monotonic_ns(), why);
        tape.files.write(&mut tape.recording).map(drop)
    }
}
