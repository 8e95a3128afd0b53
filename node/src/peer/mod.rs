//! Between kraft's own processes: CBOR frames over TCP.

pub mod cbor;
mod frame;
mod message;
pub mod record;
mod wire;

pub use frame::{FrameError, PREFACE};
pub use message::{
    FetchedPartition, Message, PartitionFetch, QuorumView, ReplicaFetch, ReplicaFetched, VoterView,
};
pub use wire::{decode_frame, encode_message};
