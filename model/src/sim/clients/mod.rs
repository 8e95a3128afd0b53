//! The clients of a simulated cluster: producers, consumers and an administrator.
//!
//! They know what clients know: the metadata that some broker gave them, and the answers that came.
//! What they may rely on is the judge's to check ([`super::judge`]).

mod admin;
mod consumer;
mod producer;
mod verifier;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::metadata::{Image, Request, Response};
use crate::replica::{Acks, Appended};
use crate::{ErrorCode, LeaderEpoch, NodeId, TopicPartition};

use super::disk::DataRecord;
use super::env::{Env, Happening, Input};
use super::judge::Judge;
use super::process::index;
use super::profile::{MILLIS, Micros};
use super::random::Random;
use admin::Admin;
use consumer::Consumer;
use producer::Producer;
use verifier::Verifier;

/// What a client asks of a broker.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Metadata,
    Produce { id: TopicPartition, batch: Vec<DataRecord>, acks: Acks },
    Read { id: TopicPartition, from: i64, epoch: Option<LeaderEpoch> },
    DeleteRecords { id: TopicPartition, before: i64 },
    Controller(Box<Request>),
    ProducerId,
}

/// What it is answered.
#[derive(Clone, Debug)]
pub(super) enum Served {
    Metadata(Option<Arc<Image>>),
    Produced(Result<Appended, ErrorCode>),
    Read(Result<ReadAnswer, ErrorCode>),
    Deleted,
    Controller(Response),
}

#[derive(Clone, Debug)]
pub(super) struct ReadAnswer {
    pub from: i64,
    pub records: Vec<DataRecord>,
    pub log_start: i64,
    pub high_watermark: i64,
}

#[derive(Clone, Debug)]
pub(super) enum ClientEvent {
    /// Time for whatever this client does now and then.
    Act,
    /// Nobody has answered.
    Patience(u64),
    /// A batch that failed is sent again.
    Again(TopicPartition),
}

/// How long a client waits for an answer.
const PATIENCE: Micros = 2_500 * MILLIS;

/// What a request was for.
#[derive(Clone, Debug)]
enum Open {
    Metadata,
    ProducerId,
    Batch { id: TopicPartition, sequence: i32 },
    Read,
    Delete,
    Fresh { id: TopicPartition, value: u64 },
    Request(Box<Request>),
}

enum Kind {
    Producer(Producer),
    Consumer(Consumer),
    Admin(Admin),
    Verifier(Verifier),
}

/// What every client has.
struct Common {
    at: usize,
    image: Option<Arc<Image>>,
    open: BTreeMap<u64, Open>,
    /// No new work is begun.
    is_draining: bool,
}

struct Client {
    common: Common,
    kind: Kind,
}

/// What a client works with.
pub(super) struct Hands<'a> {
    pub env: &'a mut Env,
    pub judge: &'a mut Judge,
    pub random: &'a mut Random,
    pub brokers: &'a [NodeId],
    pub tickets: &'a mut u64,
}

pub(super) struct Clients {
    clients: Vec<Client>,
    random: Random,
    brokers: Vec<NodeId>,
    tickets: u64,
    /// Requests that were answered, in all.
    pub answered: u64,
}

impl Clients {
    pub fn new(env: &mut Env, brokers: Vec<NodeId>, random: Random) -> Clients {
        let (producers, consumers) = (env.profile.producers, env.profile.consumers);
        let mut clients = Clients { clients: Vec::new(), random, brokers, tickets: 0, answered: 0 };
        clients.add(Kind::Admin(Admin::default()));
        for number in 0..producers {
            // The first is idempotent in every run, or most would say nothing about it.
            let plain = number > 0 && clients.random.per_mille(350);
            clients.add(Kind::Producer(Producer::new(!plain)));
        }
        for _ in 0..consumers {
            clients.add(Kind::Consumer(Consumer::default()));
        }
        clients.add(Kind::Verifier(Verifier::default()));
        for client in 0..clients.clients.len() {
            let first = clients.random.below(100 * MILLIS);
            env.after(first, Happening::Client { client, event: ClientEvent::Act });
        }
        clients
    }

    fn add(&mut self, kind: Kind) {
        let at = self.clients.len();
        let common = Common { at, image: None, open: BTreeMap::new(), is_draining: false };
        self.clients.push(Client { common, kind });
    }

    pub fn happen(&mut self, client: usize, event: ClientEvent, env: &mut Env, judge: &mut Judge) {
        let Clients { clients, random, brokers, tickets, .. } = self;
        let hands = &mut Hands { env, judge, random, brokers, tickets };
        let Client { common, kind } = &mut clients[client];
        if let ClientEvent::Patience(ticket) = event {
            if let Some(open) = common.open.remove(&ticket) {
                match kind {
                    Kind::Producer(it) => it.unanswered(common, hands, open),
                    Kind::Consumer(it) => it.unanswered(common, hands),
                    Kind::Admin(it) => it.unanswered(common, hands),
                    Kind::Verifier(_) => {}
                }
            }
            return;
        }
        match (kind, event) {
            (Kind::Producer(it), ClientEvent::Again(id)) => it.again(common, hands, id),
            (Kind::Producer(it), _) => it.act(common, hands),
            (Kind::Consumer(it), _) => it.act(common, hands),
            (Kind::Admin(it), _) => it.act(common, hands),
            (Kind::Verifier(it), _) => it.act(common, hands),
        }
    }

    pub fn served(
        &mut self,
        (client, ticket): (usize, u64),
        served: Served,
        env: &mut Env,
        judge: &mut Judge,
    ) {
        let Clients { clients, random, brokers, tickets, answered } = self;
        let hands = &mut Hands { env, judge, random, brokers, tickets };
        let Client { common, kind } = &mut clients[client];
        let Some(open) = common.open.remove(&ticket) else { return };
        *answered += 1;
        if let Served::Metadata(image) = served {
            // Clients take newer metadata only.
            let end = common.image.as_ref().map(|image| image.end);
            common.image =
                image.filter(|new| end.is_none_or(|end| new.end >= end)).or(common.image.take());
            return;
        }
        match kind {
            Kind::Producer(it) => it.served(common, hands, open, served),
            Kind::Consumer(it) => it.served(common, hands, served),
            Kind::Admin(it) => it.served(common, hands, open, &served),
            Kind::Verifier(it) => it.served(open, served),
        }
    }

    /// Begins nothing new: what is under way is finished.
    pub fn drain(&mut self) {
        self.clients.iter_mut().for_each(|client| client.common.is_draining = true);
    }

    /// Begins the last round: a fresh write everywhere.
    pub fn verify(&mut self, partitions: impl Iterator<Item = TopicPartition>) {
        if let Some(Kind::Verifier(verifier)) = self.clients.last_mut().map(|it| &mut it.kind) {
            verifier.begin(partitions);
        }
    }

    pub fn are_verified(&self) -> bool {
        let last = self.clients.last().map(|client| &client.kind);
        matches!(last, Some(Kind::Verifier(verifier)) if verifier.is_done())
    }

    /// Whether everybody has been answered.
    pub fn are_done(&self) -> bool {
        self.clients.iter().all(|client| match &client.kind {
            Kind::Producer(producer) => producer.is_done(),
            Kind::Consumer(_) | Kind::Verifier(_) => true,
            Kind::Admin(_) => client.common.open.values().all(|it| matches!(it, Open::Metadata)),
        })
    }
}

impl Common {
    fn ask(&mut self, hands: &mut Hands<'_>, broker: NodeId, wanted: Wanted, open: Open) -> u64 {
        *hands.tickets += 1;
        let (client, ticket) = (self.at, *hands.tickets);
        self.open.insert(ticket, open);
        let node = index(broker);
        let (run, latency) = (hands.env.network.run_of(node), hands.env.latency());
        let input = Input::Client { client, ticket, wanted: Box::new(wanted) };
        hands.env.after(latency, Happening::Process { node, run, input });
        let event = ClientEvent::Patience(ticket);
        hands.env.after(PATIENCE, Happening::Client { client, event });
        ticket
    }

    fn act_after(&self, hands: &mut Hands<'_>, mean: Micros) {
        let wait = mean / 2 + hands.random.below(mean + 1);
        hands.env.after(wait, Happening::Client { client: self.at, event: ClientEvent::Act });
    }

    /// Asks some broker for the metadata.
    fn refresh(&mut self, hands: &mut Hands<'_>) {
        if let Some(broker) = hands.random.pick(hands.brokers) {
            self.ask(hands, broker, Wanted::Metadata, Open::Metadata);
        }
    }

    /// Any partition that is known.
    fn any_partition(&self, hands: &mut Hands<'_>) -> Option<TopicPartition> {
        let all: Vec<_> = self.image.as_ref()?.partitions().map(|(id, _)| id).collect();
        hands.random.pick(&all)
    }

    fn leader_of(&self, id: TopicPartition) -> Option<NodeId> {
        self.image.as_ref()?.partition(id)?.leader
    }
}
