//! What nodes say to each other once the handshake has shown who they are.

use kraft_model::metadata::{Request, Response};
use kraft_model::raft::{VoterChange, VoterChangeError};
use kraft_model::replica::{FetchOutcome, FetchPosition};
use kraft_model::{BrokerEpoch, Epoch, NodeId, Offset, TopicPartition, raft};
use serde::{Deserialize, Serialize};

use crate::storage::{Records, VoterEndpoint};

/// A message on a link. Record batches leave the CBOR header before it is encoded and travel as
/// raw bytes behind it ("attachments"), in the order in which they stand in the message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// The quorum's own messages; the receiver answers with another one.
    Quorum(raft::Message<Records>),
    /// A request to the active controller, answered by [`Message::ControllerReply`] with its `id`.
    Controller {
        id: u64,
        request: Request,
    },
    ControllerReply {
        id: u64,
        response: Response,
    },
    /// A follower's incremental fetch from a broker (KIP-227's idea, our form).
    ReplicaFetch(ReplicaFetch),
    ReplicaFetched(ReplicaFetched),
    /// What the receiver knows of the quorum (DescribeQuorum, `kraft quorum status`).
    DescribeQuorum {
        id: u64,
    },
    QuorumDescribed {
        id: u64,
        view: QuorumView,
    },
    /// Change who votes (Q12); the leader answers with [`Message::VotersChanged`], when the change
    /// is committed or is not going to be.
    ChangeVoters {
        id: u64,
        change: VoterChange,
        /// Where the voter that is added or updated is reached.
        endpoints: Vec<VoterEndpoint>,
    },
    VotersChanged {
        id: u64,
        result: Result<(), VoterChangeError>,
    },
    /// Keeps a silent link measured; answered by [`Message::Pong`].
    Ping,
    Pong,
}

/// One fetcher's request: what changed since its last one. A fetcher is one shard of the follower;
/// it has one request in flight per leader.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReplicaFetch {
    /// Which of the follower's fetchers asks; the leader keeps a session for each.
    pub fetcher: u32,
    /// 0 begins a session with a full list; then it counts up. A leader that does not know the
    /// session answers [`ReplicaFetched::unknown_session`], and the follower begins anew.
    pub sequence: u64,
    pub broker_epoch: BrokerEpoch,
    pub max_wait_ms: u32,
    pub max_bytes: u32,
    /// Positions that are new or have moved; everything else stands where it stood.
    pub partitions: Vec<PartitionFetch>,
    /// Partitions that are no longer fetched.
    pub forgotten: Vec<TopicPartition>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartitionFetch {
    pub id: TopicPartition,
    pub position: FetchPosition,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaFetched {
    pub fetcher: u32,
    pub sequence: u64,
    pub unknown_session: bool,
    /// Only partitions with something to say: records, a new high watermark, divergence, an error.
    pub partitions: Vec<FetchedPartition>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedPartition {
    pub id: TopicPartition,
    pub position: FetchPosition,
    /// `Records { records: None, .. }`: only the high watermark or the log start moved.
    pub outcome: FetchOutcome<Option<Records>>,
}

/// The quorum as one node sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct QuorumView {
    pub leader: Option<NodeId>,
    pub epoch: Epoch,
    pub high_watermark: Offset,
    pub voters: Vec<VoterView>,
    pub observers: Vec<VoterView>,
}

/// A replica of the metadata log; times are milliseconds since the Unix epoch, -1 if unknown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VoterView {
    pub id: NodeId,
    pub directory: kraft_model::DirectoryId,
    pub end: Offset,
    pub last_fetch_ms: i64,
    pub last_caught_up_ms: i64,
    /// Whether it could vote: a broker that is no controller only reads.
    #[serde(default)]
    pub controller: bool,
    /// Where it is reached: as the Voters record says, or as it says itself.
    #[serde(default)]
    pub endpoints: Vec<VoterEndpoint>,
}
