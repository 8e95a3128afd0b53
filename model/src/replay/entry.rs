//! What a trace holds: who wrote it, and what happened to which machine.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Answer, Extents, LogState, Mark};
use crate::metadata::ControllerDefaults;
use crate::raft::{StoredState, VotersRecord};
use crate::replica::Producers;
use crate::{ClusterId, Incarnation, NodeId, Offset, ReplicaKey, TopicPartition};
use crate::{broker, metadata, raft, replica};

/// Who wrote a file of a trace. Each file of a run has one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    pub node: NodeId,
    /// The run of the process.
    pub incarnation: Incarnation,
    pub cluster: ClusterId,
    /// Of kraft. Another version's machines may digest to other numbers.
    pub version: String,
    /// `quorum`, `broker` or `shard-N`: which of the process's recordings this is.
    pub thread: String,
    /// The file's number in the recording, from 0.
    pub file: u32,
    /// Entries of the recording in the files before this one.
    pub entries_before: u64,
    /// Nanoseconds of the machine's monotonic clock, which all its processes share.
    pub at: u64,
    /// Milliseconds since the Unix epoch, for people.
    pub wall_clock_ms: i64,
}

/// Which machine of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum MachineId {
    Quorum,
    Controller,
    Broker,
    Partition(TopicPartition),
}

/// What a machine is made from, and where its log stands then.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Start {
    Quorum {
        me: ReplicaKey,
        /// The voters of a static quorum.
        voters: Vec<ReplicaKey>,
        stored: StoredState,
        log: LogState,
        /// What the log says of voters (Q12).
        record: Option<VotersRecord>,
    },
    Controller {
        me: NodeId,
        cluster: ClusterId,
        defaults: ControllerDefaults,
    },
    Broker {
        me: NodeId,
    },
    Replica {
        id: TopicPartition,
        /// The topic's name, for people.
        topic: String,
        me: NodeId,
        high_watermark: Offset,
        producers: Producers,
        log: LogState,
    },
}

impl Start {
    pub fn id(&self) -> MachineId {
        match self {
            Start::Quorum { .. } => MachineId::Quorum,
            Start::Controller { .. } => MachineId::Controller,
            Start::Broker { .. } => MachineId::Broker,
            Start::Replica { id, .. } => MachineId::Partition(*id),
        }
    }
}

/// An event of any machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Input {
    Quorum(raft::Event<Extents>),
    Controller(metadata::Event),
    Broker(broker::Event),
    Replica(replica::Event<Extents>),
}

/// The effects of a step of any machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    Quorum(raft::Effects<Extents>),
    Controller(metadata::Effects),
    Broker(broker::Effects),
    Replica(replica::Effects),
}

/// What became of a step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    Done {
        /// What the log answered, in order.
        answers: Vec<Answer>,
        /// The digest of the effects.
        effects: u64,
        /// The digest of the machine and of where its log stands.
        state: u64,
        /// The digest covers all of the state; else what is large is left out of it.
        is_thorough: bool,
    },
    /// The log could not be written. Nothing that the machine concluded has left, and it is not
    /// asked any more.
    LogFailed,
}

/// One entry of a recording. Machines are named by the order in which they begin.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Entry {
    /// A machine is made. An earlier one of the same name is gone.
    Begin { after: u64, start: Start },
    Step {
        /// Nanoseconds since the entry before, or since the file's header.
        after: u64,
        machine: u32,
        /// The shell moved the log since the machine's last step.
        moved: Option<Mark>,
        input: Input,
        outcome: Outcome,
    },
    /// The recording ends here, and why: a limit, or an orderly stop.
    End { after: u64, why: String },
}

/// As [`Entry`], for writing what is not to be copied. Variants stand in the same order.
#[derive(Serialize)]
pub(super) enum InputRef<'a> {
    Quorum(raft::Event<Extents>),
    Controller(&'a metadata::Event),
    Broker(&'a broker::Event),
    Replica(replica::Event<Extents>),
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MachineId::Quorum => f.write_str("quorum"),
            MachineId::Controller => f.write_str("controller"),
            MachineId::Broker => f.write_str("broker"),
            MachineId::Partition(id) => write!(f, "{}-{}", id.topic, id.partition),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Quorum(event) => write!(f, "{event:?}"),
            Input::Controller(event) => write!(f, "{event:?}"),
            Input::Broker(event) => write!(f, "{event:?}"),
            Input::Replica(event) => write!(f, "{event:?}"),
        }
    }
}

impl Output {
    /// One line for each effect.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Output::Quorum(effects) => effects.iter().map(|it| format!("{it:?}")).collect(),
            Output::Controller(effects) => effects.iter().map(|it| format!("{it:?}")).collect(),
            Output::Broker(effects) => effects.iter().map(|it| format!("{it:?}")).collect(),
            Output::Replica(effects) => effects.iter().map(|it| format!("{it:?}")).collect(),
        }
    }
}
