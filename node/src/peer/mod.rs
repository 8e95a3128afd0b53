//! Between kraft's own processes: CBOR frames over TCP.

mod message;

pub use message::{
    FetchedPartition, Message, PartitionFetch, QuorumView, ReplicaFetch, ReplicaFetched, VoterView,
};
