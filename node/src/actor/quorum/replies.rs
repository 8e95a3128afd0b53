//! Where the answers of the controller machine go.

use std::collections::HashMap;

use kraft_model::metadata::{RequestId, Response};
use tokio::sync::oneshot;

use crate::peer::{LinkId, Links, Message};

/// Who waits for which request.
#[derive(Default)]
pub struct Replies {
    next: RequestId,
    waiting: HashMap<RequestId, Waiting>,
}

enum Waiting {
    Local(oneshot::Sender<Response>),
    Remote { link: LinkId, id: u64 },
}

impl Replies {
    pub fn local(&mut self, answer: oneshot::Sender<Response>) -> RequestId {
        self.enter(Waiting::Local(answer))
    }

    pub fn remote(&mut self, link: LinkId, id: u64) -> RequestId {
        self.enter(Waiting::Remote { link, id })
    }

    fn enter(&mut self, waiting: Waiting) -> RequestId {
        self.next += 1;
        self.waiting.insert(self.next, waiting);
        self.next
    }

    /// Hands the answer over. Whoever asked may be gone; then nobody hears it.
    pub fn answer(&mut self, id: RequestId, response: Response, links: &Links) {
        match self.waiting.remove(&id) {
            Some(Waiting::Local(answer)) => drop(answer.send(response)),
            Some(Waiting::Remote { link, id }) => {
                send(links, link, Message::ControllerReply { id, response });
            }
            None => {}
        }
    }
}

/// Answers on a link. One that is down or full tells nobody anything; the asker asks again.
pub fn send(links: &Links, link: LinkId, message: Message) {
    if let Err(error) = links.reply(link, message) {
        tracing::debug!(%error, "an answer was not sent");
    }
}
