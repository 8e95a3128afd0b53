//! Between kraft's own processes: CBOR frames over TCP.
//!
//! ```text
//! Message ── wire ──▶ frame (header: cbor; records beside it) ──▶ link ══ TCP ══▶ LinkEvent
//!                                       handshake before it, dial and gone around it
//! ```
//!
//! Read on: [`Message`], then [`Links`], the handle that the rest of the node holds. Encoding of
//! metadata records, for log and snapshots, is in [`record`].

pub mod cbor;
mod dial;
mod frame;
mod gone;
mod handshake;
mod link;
mod links;
mod message;
pub mod record;
mod table;
mod wire;

pub use frame::{FrameError, PREFACE};
pub use handshake::{HandshakeError, Hello, LocalPeer, identify};
pub use link::Cause;
pub use links::{Admit, LinkError, LinkEvent, LinkId, Links, Timing};
pub use message::{
    FetchedPartition, Message, PartitionFetch, QuorumView, ReplicaFetch, ReplicaFetched, VoterView,
};
pub use wire::{decode_frame, encode_message};
