//! Where what arrives over the links goes.

use std::sync::{Arc, OnceLock};

use actix::Addr;
use tracing::{debug, info, warn};

use super::broker::BrokerSupervisor;
use crate::actor::controller_client::{Answered, News, QuorumDescribed, Router, VotersChanged};
use crate::actor::quorum::{Asked, FINDING, Input, QuorumActor};
use crate::actor::{post, post_or_drop};
use crate::metrics::Metrics;
use crate::peer::{LinkEvent, Message};

/// The receivers of this process. Links exist before most of them do.
pub struct Inbox {
    pub quorum: OnceLock<Addr<QuorumActor>>,
    pub router: OnceLock<Addr<Router>>,
    pub partitions: OnceLock<crate::actor::shard::Partitions>,
    pub broker: OnceLock<Addr<BrokerSupervisor>>,
    pub metrics: Arc<Metrics>,
}

impl Inbox {
    pub fn new(metrics: Arc<Metrics>) -> Inbox {
        Inbox {
            quorum: OnceLock::new(),
            router: OnceLock::new(),
            partitions: OnceLock::new(),
            broker: OnceLock::new(),
            metrics,
        }
    }

    pub fn dispatch(&self, event: LinkEvent) {
        match event {
            LinkEvent::Up { peer, link, incarnation, roles, endpoint } => {
                debug!(%peer, %incarnation, "link is up");
                self.to_quorum(Input::LinkUp { peer, link, incarnation, roles, endpoint });
                self.to_router(News::LinkUp(peer));
                if let Some(partitions) = self.partitions.get() {
                    partitions.on_link_up(peer, link);
                }
            }
            LinkEvent::Down { peer, link, cause, .. } => {
                info!(%peer, %cause, "link is down");
                self.to_quorum(Input::LinkDown { peer, link });
                self.to_router(News::LinkDown(peer));
                if let Some(partitions) = self.partitions.get() {
                    partitions.on_link_down(peer, link);
                }
            }
            LinkEvent::Received { peer, link, message } => self.received(peer, link, message),
            LinkEvent::Gone { peer, incarnation } => {
                self.metrics.peers_gone.inc();
                self.to_quorum(Input::Gone { peer, incarnation });
            }
            LinkEvent::Refused { peer, reason } => {
                warn!(%peer, "a link was refused: {reason}");
            }
        }
    }

    fn received(&self, peer: kraft_model::NodeId, link: crate::peer::LinkId, message: Message) {
        match message {
            Message::Quorum(message) => {
                if let Some(quorum) = self.quorum.get() {
                    post_or_drop(quorum, Input::Peer { peer, link, message });
                }
            }
            Message::Controller { id, request } => {
                if let Some(quorum) = self.quorum.get() {
                    post_or_drop(quorum, Input::RemoteRequest { link, id, request });
                }
            }
            Message::ControllerReply { id, response } => {
                if let Some(router) = self.router.get() {
                    post(router, Answered { id, response });
                }
            }
            Message::DescribeQuorum { id } => {
                if let Some(quorum) = self.quorum.get() {
                    post_or_drop(quorum, Input::DescribeRemote { link, id });
                }
            }
            Message::ChangeVoters { id, change, endpoints } => {
                if let Some(quorum) = self.quorum.get() {
                    let asked = Asked::Remote { link, id };
                    post_or_drop(quorum, Input::ChangeVoters { asked, change, endpoints });
                }
            }
            Message::VotersChanged { id, result } => {
                if let Some(router) = self.router.get() {
                    post(router, VotersChanged { id, result });
                }
            }
            Message::QuorumDescribed { id: FINDING, view } => {
                self.to_quorum(Input::ToldOfVoters(view));
            }
            Message::QuorumDescribed { id, view } => {
                if let Some(router) = self.router.get() {
                    post(router, QuorumDescribed { id, view });
                }
            }
            Message::ReplicaFetch(request) => {
                if let Some(partitions) = self.partitions.get() {
                    partitions.on_replica_fetch(peer, request);
                }
            }
            Message::ReplicaFetched(answer) => {
                if let Some(partitions) = self.partitions.get() {
                    partitions.on_replica_fetched(peer, answer);
                }
            }
            Message::Ping | Message::Pong => {}
        }
    }

    fn to_quorum(&self, input: Input) {
        if let Some(quorum) = self.quorum.get() {
            post(quorum, input);
        }
    }

    fn to_router(&self, news: News) {
        if let Some(router) = self.router.get() {
            post(router, news);
        }
    }
}
