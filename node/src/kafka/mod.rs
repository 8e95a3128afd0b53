//! The client listener: the Kafka wire protocol, on brokers only.

mod backend;

pub use backend::{
    Backend, FetchItem, FetchRead, FetchSpec, FetchedItem, ListOffset, ListedOffset, LogDirInfo,
    ProduceItem, Produced,
};
