//! One recording of one run of a process, run again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::frame::{ReadError, TraceFile};
use super::machine::{Running, Stepped};
use super::{Entry, Header, Input, Machine, MachineId, Outcome, Output, Start};
use crate::{Incarnation, NodeId, Rules, Shipped};

/// The files of one recording in their order, as bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Of the first file.
    pub header: Header,
    files: Arc<[Vec<u8>]>,
}

impl Recorded {
    /// Sorts the files of any number of runs, given with their names, into recordings: by node,
    /// time of the run, and thread.
    ///
    /// # Errors
    /// As for [`Recorded::new`], with the name of the file or recording.
    pub fn gather(files: Vec<(String, Vec<u8>)>) -> Result<Vec<Recorded>, (String, RunError)> {
        let mut runs: BTreeMap<(Incarnation, String), Vec<Numbered>> = BTreeMap::new();
        for (name, bytes) in files {
            let header = TraceFile::open(&bytes).map_err(|error| (name, error.into()))?.header;
            let run = runs.entry((header.incarnation, header.thread)).or_default();
            run.push((header.file, bytes));
        }
        let gathered = runs.into_iter().map(|((incarnation, thread), mut files)| {
            files.sort_by_key(|(number, _)| *number);
            let files = files.into_iter().map(|(_, bytes)| bytes).collect();
            Recorded::new(files).map_err(|error| (format!("{thread} of run {incarnation}"), error))
        });
        let mut gathered = gathered.collect::<Result<Vec<_>, _>>()?;
        gathered.sort_by_key(|it| (it.header.node, it.header.at));
        Ok(gathered)
    }

    /// Takes the files of one recording, from its first to its last.
    ///
    /// # Errors
    /// If one is no trace, if they are of more than one recording, or if one is missing in between.
    pub fn new(files: Vec<Vec<u8>>) -> Result<Recorded, RunError> {
        let mut first: Option<Header> = None;
        for (index, bytes) in files.iter().enumerate() {
            let header = TraceFile::open(bytes)?.header;
            if header.file as usize != index {
                return Err(RunError::Missing { wanted: index as u32, found: header.file });
            }
            let known = first.get_or_insert_with(|| header.clone());
            if (known.incarnation, &known.thread) != (header.incarnation, &header.thread) {
                return Err(RunError::Mixed);
            }
        }
        let header = first.ok_or(RunError::Missing { wanted: 0, found: 0 })?;
        Ok(Recorded { header, files: files.into() })
    }
}

/// A file with its number in its recording.
type Numbered = (u32, Vec<u8>);

/// Why a recording cannot be run again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("file {wanted} of the recording is missing; the next one is {found}")]
    Missing { wanted: u32, found: u32 },
    #[error("the files are of more than one recording")]
    Mixed,
    #[error("entry {entry} names machine {machine}, which has not begun or is of another kind")]
    Machine { entry: u64, machine: u32 },
}

/// One entry, run again.
#[derive(Clone, Debug)]
pub struct Replayed<R = Shipped> {
    /// Nanoseconds of the monotonic clock that all processes of one machine share: what happened
    /// because of something on another node has a later time.
    pub at: u64,
    pub node: NodeId,
    pub incarnation: Incarnation,
    /// Which of the process's recordings; see [`Header::thread`].
    pub thread: Arc<str>,
    /// The entry's number in its recording, counted from 1.
    pub entry: u64,
    pub id: MachineId,
    pub what: What,
    /// The machine after it.
    pub after: Machine<R>,
}

/// What an entry says of its machine.
#[derive(Clone, Debug)]
pub enum What {
    /// It was made: a new process, or a partition that was placed here.
    Began(Start),
    /// It took in an event.
    Stepped {
        input: Input,
        output: Output,
        /// What was recorded is not what came of it now.
        divergence: Option<Divergence>,
    },
    /// As `Stepped`, but its log failed in the recording: nothing of this left, and nothing came
    /// after it.
    LogFailed { input: Input },
}

/// A step that came to something else than in the recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Divergence {
    pub kind: Kind,
    pub expected: u64,
    pub got: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It asked its log for something else.
    Asked,
    Effects,
    State,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Divergence { kind, expected, got } = self;
        match kind {
            Kind::Asked => f.write_str("the machine asked its log something else"),
            Kind::Effects => write!(f, "effects: recorded {expected:016x}, now {got:016x}"),
            Kind::State => write!(f, "state: recorded {expected:016x}, now {got:016x}"),
        }
    }
}

/// Runs a recording again, entry by entry. A clone goes on from the same point by itself.
#[derive(Clone, Debug)]
pub struct Replay<R = Shipped> {
    rules: R,
    recorded: Recorded,
    file: usize,
    /// Where in the file, as bytes that are done with and entries before it.
    place: Option<Place>,
    machines: Vec<(MachineId, Running<R>)>,
    thread: Arc<str>,
    /// The last entry that was run.
    done: u64,
    at: u64,
    ended: Option<String>,
    torn: Option<usize>,
    failed: bool,
}

/// Where a file is read further.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: usize,
    entry: u64,
}

impl Replay<Shipped> {
    /// With the rules as shipped.
    pub fn new(recorded: Recorded) -> Replay<Shipped> {
        Replay::with_rules(recorded, Shipped)
    }
}

impl<R: Rules> Replay<R> {
    /// With other rules: to see whether the recording would notice.
    pub fn with_rules(recorded: Recorded, rules: R) -> Replay<R> {
        let (at, thread) = (recorded.header.at, recorded.header.thread.as_str().into());
        Replay {
            rules,
            recorded,
            file: 0,
            place: None,
            machines: Vec::new(),
            thread,
            done: 0,
            at,
            ended: None,
            torn: None,
            failed: false,
        }
    }

    pub fn header(&self) -> &Header {
        &self.recorded.header
    }

    /// The number of the last entry that was run.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Why the recording ended, if it says so.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// Bytes of the torn tail that was cut off, once the end was reached.
    pub fn torn(&self) -> Option<usize> {
        self.torn
    }

    /// The machines that have begun so far, as they are now; of several with one name the last.
    pub fn machines(&self) -> impl Iterator<Item = (MachineId, Machine<R>)> {
        let last = |at: usize| {
            let id = self.machines[at].0;
            self.machines[at + 1..].iter().all(|(other, _)| *other != id)
        };
        let known = (0..self.machines.len()).filter(move |&at| last(at));
        known.map(|at| (self.machines[at].0, self.machines[at].1.now()))
    }

    /// One of them, if it has begun.
    pub fn machine(&self, id: MachineId) -> Option<Machine<R>> {
        let found = self.machines.iter().rev().find(|(known, _)| *known == id);
        found.map(|(_, running)| running.now())
    }

    /// Runs the next entry; `None` at the end of the recording.
    ///
    /// # Errors
    /// Damage. Nothing comes after it.
    pub fn advance(&mut self) -> Result<Option<Replayed<R>>, RunError> {
        if self.failed {
            return Ok(None);
        }
        let next = self.read().and_then(|found| match found {
            Some((entry, what)) => self.run(entry, what),
            None => Ok(None),
        });
        self.failed = next.is_err();
        next
    }

    fn read(&mut self) -> Result<Option<(u64, Entry)>, RunError> {
        while let Some(bytes) = self.recorded.files.get(self.file) {
            let mut file = TraceFile::open(bytes)?;
            match self.place {
                Some(Place { at, entry }) => file.go_to(at, entry),
                None => self.at = file.header.at.max(self.at),
            }
            let next = file.next_entry()?;
            let (at, entry) = file.place();
            self.place = Some(Place { at, entry });
            match file.torn() {
                // Only the last file can have been cut off in the middle of a write.
                Some(_) if self.file + 1 < self.recorded.files.len() => {
                    return Err(ReadError::Damaged { entry: entry + 1, at }.into());
                }
                torn => self.torn = torn,
            }
            match next {
                Some(found) => return Ok(Some(found)),
                None => (self.file, self.place) = (self.file + 1, None),
            }
        }
        Ok(None)
    }

    fn run(&mut self, entry: u64, found: Entry) -> Result<Option<Replayed<R>>, RunError> {
        let Header { node, incarnation, .. } = self.recorded.header;
        let (Entry::Begin { after, .. } | Entry::Step { after, .. } | Entry::End { after, .. }) =
            &found;
        self.at += after;
        self.done = entry;
        let (at, thread) = (self.at, Arc::clone(&self.thread));
        let replayed = |id, what, after| {
            Some(Replayed { at, node, incarnation, thread, entry, id, what, after })
        };
        match found {
            Entry::Begin { start, .. } => {
                let id = start.id();
                let running = Running::new(self.rules, start.clone());
                let now = running.now();
                self.machines.push((id, running));
                Ok(replayed(id, What::Began(start), now))
            }
            Entry::Step { machine, moved, input, outcome, .. } => {
                let wrong = RunError::Machine { entry, machine };
                let (id, running) =
                    self.machines.get_mut(machine as usize).ok_or_else(|| wrong.clone())?;
                let (answers, expected) = match outcome {
                    Outcome::LogFailed => {
                        return Ok(replayed(*id, What::LogFailed { input }, running.now()));
                    }
                    Outcome::Done { answers, effects, state, is_thorough } => {
                        (answers, (effects, state, is_thorough))
                    }
                };
                let stepped = running.step(input.clone(), moved.as_ref(), answers, expected.2);
                let stepped = stepped.ok_or(wrong)?;
                let divergence = compare(expected, &stepped);
                let what = What::Stepped { input, output: stepped.output, divergence };
                Ok(replayed(*id, what, running.now()))
            }
            Entry::End { why, .. } => {
                self.ended = Some(why);
                Ok(None)
            }
        }
    }
}

/// What differs first: the questions lead to the effects, and they to the state.
fn compare((effects, state, _): (u64, u64, bool), now: &Stepped) -> Option<Divergence> {
    let (kind, expected, got) = if !now.is_in_step {
        (Kind::Asked, 0, 0)
    } else if effects != now.effects {
        (Kind::Effects, effects, now.effects)
    } else if state != now.state {
        (Kind::State, state, now.state)
    } else {
        return None;
    };
    Some(Divergence { kind, expected, got })
}

impl<R: Rules> Iterator for Replay<R> {
    type Item = Result<Replayed<R>, RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
