//! Is the process behind a closed link gone, or only the link?
//!
//! Acting on a dead peer early is safe; taking a living one for dead costs availability. So only
//! two things count: the endpoint refuses connections twice, a little apart, or another
//! incarnation of the same node answers it. What cannot be reached or stays silent proves nothing.

use std::time::Duration;

use kraft_model::{Incarnation, NodeId};

use super::dial;
use super::handshake::{self, LocalPeer};

/// Between two refusals: longer than a listener needs to come back when only it is rebuilt.
const APART: Duration = Duration::from_millis(25);

/// A probe ends by then, evidence or not.
const ATTEMPTS: usize = 4;

/// What a dial-back has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The incarnation that was asked about runs no more.
    Gone,
    /// It answered: only the link was lost.
    Alive,
    /// Nothing was shown.
    Silent,
}

/// Dials `endpoint` to learn what became of this incarnation of `peer`; each attempt may take
/// `patience`.
pub(super) async fn look(
    local: &LocalPeer,
    peer: NodeId,
    endpoint: &(String, u16),
    incarnation: Incarnation,
    patience: Duration,
) -> Verdict {
    let mut refusals = 0;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(APART).await;
        }
        match tokio::time::timeout(patience, ask(local, peer, endpoint)).await {
            Ok(Answer::Incarnation(found)) if found == incarnation => return Verdict::Alive,
            Ok(Answer::Incarnation(_)) => return Verdict::Gone,
            Ok(Answer::Refused) => refusals += 1,
            // A process that dies with our connection in its backlog: ask again.
            Ok(Answer::Broken) => refusals = 0,
            Ok(Answer::Unreachable) | Err(_) => return Verdict::Silent,
        }
        if refusals == 2 {
            return Verdict::Gone;
        }
    }
    Verdict::Silent
}

enum Answer {
    Incarnation(Incarnation),
    /// Every address of the endpoint refused.
    Refused,
    Unreachable,
    /// Connected, but no Hello of this node came back.
    Broken,
}

async fn ask(local: &LocalPeer, peer: NodeId, (host, port): &(String, u16)) -> Answer {
    let stream = match dial::connect(host, *port).await {
        Ok(stream) => stream,
        Err(error) if dial::is_refusal(&error) => return Answer::Refused,
        Err(_) => return Answer::Unreachable,
    };
    match handshake::greet(stream, local, peer, true, |_| Ok(())).await {
        Ok((_, hello)) => Answer::Incarnation(hello.incarnation),
        Err(_) => Answer::Broken,
    }
}
