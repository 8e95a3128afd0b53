//! The border of the controller machine.

use serde::{Deserialize, Serialize};

use crate::{Epoch, Incarnation, NodeId, Offset};

use super::{Record, Request, Response, ShrinkReason};

/// Names a request within one process, so that its answer finds the way back.
pub type RequestId = u64;

/// Something that happened to this node's controller, active or standing by.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The quorum committed these records; `base` is the first one's offset. On every node, active
    /// or not. Offsets that no record of the metadata takes (control records) are skipped with an
    /// empty list whose `end` moves the image on.
    Committed {
        base: Offset,
        records: Vec<Record>,
        end: Offset,
    },
    /// A snapshot replaces the image (Q11).
    Loaded(Box<super::Image>),
    /// This node leads the quorum, and everything before is committed: activate. `next` is the
    /// log's end: the offset of the first record that this controller will append.
    Lead {
        epoch: Epoch,
        next: Offset,
    },
    /// The quorum has put a record of its own at the log's end (Voters, Q12), which is here now.
    /// Told before anything else can be asked of an active controller.
    Appended {
        end: Offset,
    },
    /// K2: deactivate, answer everything that waits with NOT_CONTROLLER, drop the overlay.
    LostLeadership,
    /// A request, and randomness for its decisions (placement starts at a random broker).
    Request {
        id: RequestId,
        request: Request,
        entropy: u64,
    },
    Timeout(Timer),
    /// A broker's process is gone: strict evidence about this very incarnation (design of
    /// `PeerGone` in ARCHITECTURE.md).
    PeerGone {
        broker: NodeId,
        incarnation: Incarnation,
    },
    /// A link to the broker stands, and this incarnation answers it.
    Connected {
        broker: NodeId,
        incarnation: Incarnation,
    },
    /// The link to the broker closed; nothing is known about its process.
    Disconnected {
        broker: NodeId,
    },
}

/// Something to be done, in order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Effect {
    /// Append these records as one atomic batch; its base is the machine's next offset.
    Append {
        base: Offset,
        records: Vec<Record>,
    },
    /// Answer a request. The machine has waited for the commit of what it rests on.
    Reply {
        id: RequestId,
        response: Response,
    },
    SetTimer(Timer),
    CancelTimer(Timer),
    /// For logs and metrics: a broker was fenced or left ISRs, and why.
    Fenced {
        broker: NodeId,
        reason: ShrinkReason,
    },
    /// An image was replayed up to here; publish it.
    Published(Offset),
    /// A promise is broken; the process must stop.
    Violation(&'static str),
}

pub type Effects = Vec<Effect>;

/// The controller's timers; lengths are the shell's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Timer {
    /// `broker.session.timeout.ms` since the broker's last heartbeat (B3).
    Session(NodeId),
    /// `leader.imbalance.check.interval.seconds` (P8).
    Balance,
    /// Unclean sweep (P8).
    UncleanSweep,
    /// One second: the window in which losing a majority of the brokers makes the controller doubt
    /// itself.
    SuspicionWindow,
    /// One minute: how long PeerGone is ignored for a broker that turned out alive.
    Distrust(NodeId),
}
