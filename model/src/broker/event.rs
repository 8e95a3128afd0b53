//! The border of the broker machine.

use serde::{Deserialize, Serialize};

use crate::metadata::{BrokerHeartbeat, HeartbeatReply};
use crate::{BrokerEpoch, ErrorCode, NodeId, Offset};

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The process runs, storage is recovered, listeners are bound.
    Started,
    /// A controller is known to be active, or none is.
    Controller(Option<NodeId>),
    /// The answer to [`Effect::Register`]; `None` when none came.
    Registered(Option<Result<BrokerEpoch, ErrorCode>>),
    /// The answer to [`Effect::Heartbeat`]; `None` when none came.
    HeartbeatAnswered(Option<Result<HeartbeatReply, ErrorCode>>),
    /// The image was replayed up to here, and says this of the broker itself: fenced or not, if it
    /// is registered under its present epoch.
    Metadata {
        end: Offset,
        fenced: Option<bool>,
    },
    /// An orderly stop is wanted (SIGTERM).
    Stop,
    /// The disk can no longer be trusted, or is full: ask to be fenced.
    StorageFailed,
    Timeout(Timer),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Effect {
    /// Register with the active controller. What to register is the shell's to fill in.
    Register,
    Heartbeat(BrokerHeartbeat),
    SetTimer(Timer),
    CancelTimer(Timer),
    /// Registered under this epoch: fetches and AlterPartitions carry it from now on.
    Registered(BrokerEpoch),
    /// Unfenced for the first time: clients may be served.
    Serve,
    /// The stop is granted: flush, write the clean-shutdown file with this epoch, exit 0 (L6).
    Exit(BrokerEpoch),
    /// The stop was not granted in time: exit without the clean-shutdown file.
    Abandon,
    /// The controller refuses this broker for good; the process must stop and say why.
    Refused(ErrorCode),
}

pub type Effects = Vec<Effect>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Timer {
    /// `broker.heartbeat.interval.ms`, or at once where the machine asks again early.
    Heartbeat { soon: bool },
    /// Ask again for registration.
    Retry,
    /// A request to the controller has gone unanswered.
    Answer,
    /// How long a controlled shutdown may take.
    Shutdown,
}
