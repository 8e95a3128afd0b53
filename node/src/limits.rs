//! Bounds of the node on everything that another party can fill, each with its reason.

use std::time::Duration;

/// A client's frame: Kafka's `socket.request.max.bytes`.
pub const CLIENT_FRAME: usize = 100 * 1024 * 1024;

/// A peer's CBOR header: metadata requests of 10,000 records fit; bulk travels beside it.
pub const PEER_HEADER: usize = 8 * 1024 * 1024;

/// A peer's frame with its attached record batches: a replica fetch answer
/// (`replica.fetch.response.max.bytes`, 10 MiB) plus one batch that alone is larger.
pub const PEER_FRAME: usize = 120 * 1024 * 1024;

/// What a connection may send before it has said who it is, and how long it may take.
pub const HANDSHAKE_BYTES: usize = 64 * 1024;
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// CBOR nesting; our deepest message has seven levels.
pub const CBOR_DEPTH: usize = 16;

/// CBOR items in one header: 10,000 partitions of seven fields, twice over.
pub const CBOR_ITEMS: usize = 262_144;

/// Client connections in all and per address.
pub const CONNECTIONS: usize = 10_000;
pub const CONNECTIONS_PER_IP: usize = 4_000;

/// Requests read ahead on one client connection; a client that has more in flight waits.
pub const REQUESTS_IN_FLIGHT: usize = 64;

/// Array elements and tagged fields in one client request: a fetch of 100,000 partitions of as many
/// topics fits. Decoded, an element takes up to [`REQUEST_ITEM_BYTES`] beside its bytes on the wire:
/// at worst a struct of 112 bytes whose only tagged field opens a map node of 412.
pub const REQUEST_ITEMS: usize = 262_144;
pub const REQUEST_ITEM_BYTES: usize = 288;

/// Read from a client before the frame's declared length is taken from [`REQUEST_MEMORY`]; small
/// requests never wait for it.
pub const CLIENT_READ: usize = 64 * 1024;

/// A frame that has begun must be complete in this time, because it holds request memory; 100 MiB
/// at 2 MiB a second.
pub const CLIENT_FRAME_TIME: Duration = Duration::from_secs(50);

/// A connection on which nothing happens: Kafka's `connections.max.idle.ms`.
pub const CLIENT_IDLE: Duration = Duration::from_secs(600);

/// Finished responses that are gathered into one write.
pub const RESPONSE_COALESCE: usize = 1024 * 1024;

/// Bytes of requests held in memory for all clients together.
pub const REQUEST_MEMORY: usize = 512 * 1024 * 1024;

/// Frames queued towards one peer; beyond it the sender is told that the link is full.
pub const LINK_QUEUE: usize = 4_096;

/// Messages of peers waiting for the quorum actor; the quorum's messages may be lost beyond it.
pub const QUORUM_MAILBOX: usize = 8_192;

/// Requests to the controller that one process has under way.
pub const CONTROLLER_REQUESTS: usize = 4_096;

/// Bytes of clients' commands that wait for one shard; clients beyond that wait.
pub const SHARD_MEMORY: usize = 64 * 1024 * 1024;

/// Bytes of followers' commands that wait for one shard, beside the clients': the positions of 100,000
/// partitions, or some ten thousand requests of few. Followers beyond that begin anew.
pub const SHARD_PEER_MEMORY: usize = 16 * 1024 * 1024;

/// Commands that a shard works on before it sends what has gathered.
pub const COMMANDS_PER_TURN: usize = 256;

/// Consumers' fetches that one shard holds; beyond it they are answered at once.
pub const HELD_FETCHES_PER_SHARD: usize = 20_000;

/// Fetch sessions of one follower: one for each of its shards; nobody has more cores than that.
pub const FETCHERS_PER_PEER: usize = 256;

/// `replica.fetch.backoff.ms` is 1000 in Kafka, for want of anything that would wake the fetcher;
/// here the metadata does, and the rest is patience.
pub const REFUSED_FETCH_BACKOFF: Duration = Duration::from_millis(50);

/// Before a fetcher begins anew on a link that took no more messages.
pub const LINK_FULL_BACKOFF: Duration = Duration::from_millis(20);

/// Before a proposal that the controller did not answer is made again.
pub const ALTER_PARTITION_BACKOFF: Duration = Duration::from_millis(100);

/// Bytes queued towards one peer: a few of the largest frames, so that a slow link cannot hold
/// the memory that others need.
pub const LINK_QUEUE_BYTES: usize = 2 * PEER_FRAME;

/// Bytes of a trace that gather within a turn before they are written: some thousand entries.
pub const TRACE_BUFFER: usize = 256 * 1024;

/// Connections in their handshake at once: nothing is known of them yet, so they are few.
pub const HANDSHAKES: usize = 256;

/// Events of links that wait to be handed on; beyond it the links wait, and their peers.
pub const LINK_EVENTS: usize = 1_024;
