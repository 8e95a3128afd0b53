//! Links between nodes over real sockets: who is let in, what closes a link, and what counts as
//! evidence that a peer is gone.

mod handshake;
mod links;
mod support;
