//! The one place where a message enters an actor's mailbox without waiting.

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Context, Handler, Message};

/// Puts a message into the mailbox whatever its length, for messages whose number is bounded by
/// something else: links that come and go, verdicts, one stop. An actor that is gone is in a
/// process that is about to stop.
#[allow(clippy::disallowed_methods)]
pub fn post<A, M>(actor: &Addr<A>, message: M)
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message<Result = ()> + Send + 'static,
    A::Context: ToEnvelope<A, M>,
{
    actor.do_send(message);
}

/// Puts a message into the mailbox unless that is full, for what its sender repeats anyway.
pub fn post_or_drop<A, M>(actor: &Addr<A>, message: M)
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message<Result = ()> + Send + 'static,
    A::Context: ToEnvelope<A, M>,
{
    if actor.try_send(message).is_err() {
        tracing::debug!("a mailbox is full: a message is dropped");
    }
}
