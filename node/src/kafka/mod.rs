//! The client listener: the Kafka wire protocol, on brokers only.
//!
//! ```text
//!  Listener ──▶ connection::serve ──▶ guard::decode_request ──▶ apis::handle ──▶ Backend
//!     └── peer preface ──▶ the peer protocol, which shares the port
//! ```
//!
//! Read on: [`Backend`] (all that is known of the broker behind), `connection` (one client),
//! [`table`] (what is served), then any file in `apis`.

mod apis;
mod backend;
mod connection;
pub mod effective;
mod frame;
mod guard;
mod lately;
mod listener;
mod schema;

pub use apis::{Api, Request, Response, table};
pub use backend::{
    Backend, FetchItem, FetchRead, FetchSpec, FetchedItem, ListOffset, ListedOffset, LogDirInfo,
    ProduceItem, Produced, Turn,
};
pub use connection::{ConnectionError, ConnectionLimits, serve};
pub use frame::FrameError;
pub use guard::{ClientRequest, RequestError, decode_request};
pub use lately::LatelyFenced;
pub use listener::{ConnectionSlot, Connections, Listener};
pub use schema::{Schema, SchemaError};
