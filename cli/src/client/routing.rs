//! The client: bootstrap, a metadata cache, connections by address, and who leads what.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kraft_model::ErrorCode;
use proto_kafka::messages::metadata_request::MetadataRequestTopic;
use proto_kafka::messages::{ApiKey, MetadataRequest, TopicName};
use proto_kafka::protocol::{Request, StrBytes};

use super::connection::Connection;
use super::retry::{Retry, retrying};
use super::{Broker, ClientError, ClusterMetadata, TopicMetadata};

/// How long brokers may take to hear of a new topic.
const HEARSAY: Duration = Duration::from_millis(500);
const HEARSAY_PAUSE: Duration = Duration::from_millis(25);

/// How a client reaches the cluster.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// `host:port`, tried in order.
    pub bootstrap: Vec<String>,
    pub client_id: String,
    /// One connection attempt.
    pub connect_timeout: Duration,
    /// One request and its answer.
    pub request_timeout: Duration,
    /// One operation with all its retries.
    pub total_timeout: Duration,
}

impl ClientOptions {
    pub fn new(bootstrap: Vec<String>) -> ClientOptions {
        ClientOptions {
            bootstrap,
            client_id: "kraft".to_owned(),
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(30),
        }
    }
}

/// A handle on the cluster; clones share connections and cache.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: ClientOptions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    brokers: BTreeMap<i32, Broker>,
    topics: BTreeMap<String, TopicMetadata>,
    connections: BTreeMap<String, Arc<Connection>>,
    /// Who dials an address, holds its lock: one connection, on which requests keep their order.
    dialling: BTreeMap<String, Arc<tokio::sync::Mutex<()>>>,
    /// Where the next search for any broker begins, so that one slow broker is not always first.
    rotation: usize,
}

impl Client {
    /// Nothing is connected before the first call.
    pub fn new(options: ClientOptions) -> Client {
        Client { shared: Arc::new(Shared { options, state: Mutex::default() }) }
    }

    pub fn options(&self) -> &ClientOptions {
        &self.shared.options
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls whichever broker answers, with retries.
    pub async fn call_any<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        retrying(self.options().total_timeout, async || {
            self.any().await?.call(request, self.options().request_timeout).await
        })
        .await
    }

    /// A connection to some broker: an open one, else the first known or bootstrap one to answer.
    pub async fn any(&self) -> Result<Arc<Connection>, ClientError> {
        if let Some(open) = self.state().connections.values().find(|open| open.is_open()) {
            return Ok(Arc::clone(open));
        }
        let mut tried = Vec::new();
        for address in self.candidates() {
            match self.connection(&address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => tried.push(error.to_string()),
            }
        }
        Err(ClientError::Bootstrap { tried: tried.join("; ") })
    }

    fn candidates(&self) -> Vec<String> {
        let mut state = self.state();
        let mut addresses: Vec<_> = state.brokers.values().map(Broker::address).collect();
        addresses.extend(self.options().bootstrap.iter().cloned());
        if !addresses.is_empty() {
            let first = state.rotation % addresses.len();
            addresses.rotate_left(first);
            state.rotation = state.rotation.wrapping_add(1);
        }
        let mut seen = std::collections::BTreeSet::new();
        addresses.retain(|address| seen.insert(address.clone()));
        addresses
    }

    /// A connection to the broker `id`, which metadata must have named.
    pub async fn broker(&self, id: i32) -> Result<Arc<Connection>, ClientError> {
        let known = self.state().brokers.get(&id).map(Broker::address);
        let address = match known {
            Some(address) => address,
            None => {
                self.refresh(Some(&[])).await?;
                let found = self.state().brokers.get(&id).map(Broker::address);
                found.ok_or_else(|| ClientError::Connect {
                    address: format!("broker {id}"),
                    reason: "the cluster does not list it".to_owned(),
                })?
            }
        };
        self.connection(&address).await
    }

    async fn connection(&self, address: &str) -> Result<Arc<Connection>, ClientError> {
        if let Some(open) = self.open_connection(address) {
            return Ok(open);
        }
        let lock = Arc::clone(self.state().dialling.entry(address.to_owned()).or_default());
        let _dialling = lock.lock().await;
        if let Some(open) = self.open_connection(address) {
            return Ok(open);
        }
        let options = self.options();
        let opened = Connection::open(address, &options.client_id, options.connect_timeout).await;
        let mut state = self.state();
        match opened {
            Ok(opened) => {
                let opened = Arc::new(opened);
                state.connections.insert(address.to_owned(), Arc::clone(&opened));
                Ok(opened)
            }
            Err(error) => {
                state.connections.remove(address);
                Err(error)
            }
        }
    }

    fn open_connection(&self, address: &str) -> Option<Arc<Connection>> {
        let known = self.state().connections.get(address).cloned();
        known.filter(|known| known.is_open())
    }

    /// Asks for `topics` (all if `None`) and remembers the answer.
    pub async fn refresh(&self, topics: Option<&[&str]>) -> Result<ClusterMetadata, ClientError> {
        let named = |name: &&str| {
            let name = TopicName(StrBytes::from_string((*name).to_owned()));
            MetadataRequestTopic::default().with_name(Some(name))
        };
        let request = MetadataRequest::default()
            .with_topics(topics.map(|topics| topics.iter().map(named).collect()))
            .with_allow_auto_topic_creation(false);
        let connection = self.any().await?;
        let response = connection.call(&request, self.options().request_timeout).await?;
        let metadata = ClusterMetadata::from(response);
        let mut state = self.state();
        if !metadata.brokers.is_empty() {
            state.brokers = metadata.brokers.clone();
        }
        for (name, topic) in &metadata.topics {
            state.topics.insert(name.clone(), topic.clone());
        }
        Ok(metadata)
    }

    /// The metadata of every topic, with retries.
    pub async fn metadata(&self, topics: Option<&[&str]>) -> Result<ClusterMetadata, ClientError> {
        retrying(self.options().total_timeout, async || self.refresh(topics).await).await
    }

    /// A topic whose partitions all have a leader, asked for until it is so.
    pub async fn topic(&self, name: &str) -> Result<TopicMetadata, ClientError> {
        retrying(self.options().total_timeout, async || {
            let topic = self.existing_topic(name).await?;
            match topic.partitions.iter().find(|partition| partition.leader.is_none()) {
                None => Ok(topic),
                Some(leaderless) => Err(ClientError::NoLeader {
                    topic: name.to_owned(),
                    partition: leaderless.index,
                }),
            }
        })
        .await
    }

    /// A topic as it is. That it does not exist is believed only after a moment: a broker may not
    /// have heard yet of a topic that was just created through another one.
    pub async fn existing_topic(&self, name: &str) -> Result<TopicMetadata, ClientError> {
        let hearsay = Instant::now() + HEARSAY.min(self.options().total_timeout);
        let mut retry = Retry::within(self.options().total_timeout);
        loop {
            match self.refresh_topic(name).await {
                Err(ClientError::UnknownTopic(_)) if Instant::now() < hearsay => {
                    tokio::time::sleep(HEARSAY_PAUSE).await;
                }
                Err(error) if retry.pause(&error).await => {}
                result => return result,
            }
        }
    }

    /// One Metadata call for one topic. A topic that does not exist is an error at once.
    pub async fn refresh_topic(&self, name: &str) -> Result<TopicMetadata, ClientError> {
        let mut metadata = self.refresh(Some(&[name])).await?;
        let topic = metadata.topics.remove(name);
        let topic = topic.ok_or_else(|| ClientError::UnknownTopic(name.to_owned()))?;
        match topic.error {
            0 => Ok(topic),
            code if code == ErrorCode::UnknownTopicOrPartition.code() => {
                Err(ClientError::UnknownTopic(name.to_owned()))
            }
            // Partitions carry their own error; the list is still good.
            code if code == ErrorCode::LeaderNotAvailable.code() => Ok(topic),
            code => Err(ClientError::Answer { api: ApiKey::Metadata, code, message: None }),
        }
    }

    /// The leader of a partition as the cache has it; `None` asks for a refresh.
    pub fn cached_leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let state = self.state();
        let partitions = &state.topics.get(topic)?.partitions;
        partitions.iter().find(|known| known.index == partition)?.leader
    }

    /// Forgets who leads a partition, after a broker denied it.
    pub fn forget_leader(&self, topic: &str, partition: i32) {
        let mut state = self.state();
        let Some(known) = state.topics.get_mut(topic) else { return };
        for metadata in known.partitions.iter_mut().filter(|known| known.index == partition) {
            metadata.leader = None;
        }
    }
}
