//! Replication between brokers, as streams in both directions.
//!
//! ```text
//!   follower's shard                                   leader's shards
//!   Fetchers ── ReplicaFetch: positions that moved ──▶ Router ──▶ Sessions
//!            ◀───────── ReplicaFetched: records, high watermarks ─────┘
//! ```
//!
//! One fetcher (a shard of the follower, towards one leader) is one session. A session begins with
//! all positions (sequence 0); from then on the follower sends what moved, whenever it moved, and
//! the leader's shards say, each for itself, what is new. Nobody waits for a round trip to finish:
//!
//! * a position may be answered once with records, a divergence or a refusal, and is *spent* by
//!   that; the leader then stays silent about the partition until it hears another position;
//! * an answer without records (the high watermark or the log's start moved) spends nothing;
//! * bytes that are answered and not yet replaced by a newer position are bounded by `max_bytes` for
//!   each session and shard, so that neither side holds more than that;
//! * an idle session costs one empty [`crate::peer::ReplicaFetch`] every `max_wait_ms`, whatever
//!   the number of its partitions; it shows the leader that the follower lives.
//!
//! Read on: [`Fetchers`] (follower), [`Router`] and [`Sessions`] (leader).

mod fetcher;
mod heard;
mod router;
mod session;
mod verify;

pub(crate) use fetcher::Fetchers;
pub(crate) use heard::Heard;
pub(crate) use router::{Routed, Router};
pub(crate) use session::{SessionKey, SessionPart, Sessions};
pub(crate) use verify::verify;
