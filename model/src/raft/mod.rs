//! The controller quorum: KRaft, a Raft whose followers pull (rules Q1 to Q12).
//!
//! ```text
//!   Unattached ──▶ Prospective ──▶ Candidate ──▶ Leader ──▶ Resigned
//!       ▲   │ (knows no leader)  (pre-vote)  (real vote)      │
//!       │   └──────────▶ Follower ◀───────────────────────────┘
//!       └── observers are only ever Unattached or Follower
//! ```
//!
//! Read on: [`Event`] is everything that can happen to a node of the quorum, [`Effect`] everything
//! that it can ask for, [`Message`] what nodes say to each other; [`Quorum`] is the machine, in one
//! file per role and idea: `election`, `leader`, `follower`, `snapshot`, `reconfigure` and
//! `membership` (who votes, and how that is changed), and `transition`, the only place where epoch,
//! vote and role change.

mod election;
mod event;
mod follower;
mod leader;
mod log;
mod membership;
mod message;
mod quorum;
mod reconfigure;
mod role;
mod snapshot;
#[cfg(feature = "check")]
mod standing;
mod transition;
mod view;
mod voters;

pub use event::{Effect, Effects, Event, Gate, Patience, StoredState, Timer};
pub use log::RaftLog;
pub use message::{
    BeginQuorumEpoch, EndQuorumEpoch, Fetch, FetchOutcome, FetchResponse, FetchSnapshot,
    FetchSnapshotResponse, Message, SnapshotId, Vote, VoteResponse,
};
pub use quorum::Quorum;
pub use reconfigure::{VoterChange, VoterChangeError};
#[cfg(feature = "check")]
pub use standing::Standing;
pub use voters::{Voters, VotersRecord};
