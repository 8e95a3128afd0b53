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
    let mut evidence = Evidence::of(incarnation);
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(APART).await;
        }
        let answer = tokio::time::timeout(patience, ask(local, peer, endpoint)).await;
        if let Some(verdict) = evidence.weigh(answer.unwrap_or(Answer::Unreachable)) {
            return verdict;
        }
    }
    Verdict::Silent
}

/// What the attempts so far have shown about an incarnation.
struct Evidence {
    incarnation: Incarnation,
    /// In a row.
    refusals: u32,
}

impl Evidence {
    fn of(incarnation: Incarnation) -> Evidence {
        Evidence { incarnation, refusals: 0 }
    }

    /// `None`: ask again.
    fn weigh(&mut self, answer: Answer) -> Option<Verdict> {
        match answer {
            Answer::Incarnation(found) if found == self.incarnation => Some(Verdict::Alive),
            Answer::Incarnation(_) => Some(Verdict::Gone),
            Answer::Refused => {
                self.refusals += 1;
                (self.refusals == 2).then_some(Verdict::Gone)
            }
            // A process that dies with our connection in its backlog, perhaps.
            Answer::Broken => {
                self.refusals = 0;
                None
            }
            Answer::Unreachable => Some(Verdict::Silent),
        }
    }
}

enum Answer {
    Incarnation(Incarnation),
    /// Every address of the endpoint refused.
    Refused,
    /// No route, no address, or no answer in time.
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

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Incarnation = Incarnation(1);
    const SAME: Answer = Answer::Incarnation(ASKED);
    const OTHER: Answer = Answer::Incarnation(Incarnation(2));

    /// The verdict that the last of these answers, and none before it, brings.
    fn verdict<const N: usize>(answers: [Answer; N]) -> Option<Verdict> {
        let mut evidence = Evidence::of(ASKED);
        let mut verdicts = answers.map(|answer| evidence.weigh(answer));
        let (last, earlier) = verdicts.split_last_mut().expect("at least one answer");
        assert!(earlier.iter().all(Option::is_none), "judged too early");
        *last
    }

    #[test]
    fn only_two_refusals_in_a_row_or_another_incarnation_are_evidence() {
        use Answer::{Broken, Refused, Unreachable};
        assert_eq!(verdict([Refused, Refused]), Some(Verdict::Gone));
        assert_eq!(verdict([OTHER]), Some(Verdict::Gone));
        assert_eq!(verdict([Broken, Refused, Refused]), Some(Verdict::Gone));
        assert_eq!(verdict([SAME]), Some(Verdict::Alive));
        assert_eq!(verdict([Refused, SAME]), Some(Verdict::Alive));
        assert_eq!(verdict([Unreachable]), Some(Verdict::Silent));
        assert_eq!(verdict([Refused, Unreachable]), Some(Verdict::Silent));
        assert_eq!(verdict([Refused, Broken, Refused]), None);
    }

    #[tokio::test]
    async fn two_refusals_lie_apart() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let local = LocalPeer {
            cluster: kraft_model::ClusterId(1),
            node: NodeId(1),
            directory: kraft_model::DirectoryId(1),
            roles: crate::config::Roles { controller: true, broker: true },
            incarnation: Incarnation(9),
            endpoint: ("127.0.0.1".to_owned(), 1),
        };
        let started = std::time::Instant::now();
        let endpoint = ("127.0.0.1".to_owned(), port);
        let verdict = look(&local, NodeId(2), &endpoint, ASKED, Duration::from_secs(9)).await;
        assert_eq!(verdict, Verdict::Gone);
        assert!(started.elapsed() >= APART);
    }
}
