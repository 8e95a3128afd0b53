//! Cluster metadata: records, the image that they fold into, and the controller's decisions.
//!
//! ```text
//!  Request ──▶ Controller::step ──▶ records ──▶ the quorum's log ──▶ Committed ──▶ image.replay
//!                    │ reads the latest image (committed + own appends)       on every node
//!                    └──▶ response, held back until its records are committed
//! ```
//!
//! [`Record`] is what the log holds, [`Image`] what it means, [`Request`] and [`Response`] what the
//! active controller is asked and answers, [`Event`] and [`Effect`] its machine's border.

pub mod config;
mod controller;
mod event;
mod image;
mod lookup;
pub mod partition;
mod record;
mod replay;
mod request;
mod snapshot;

/// The name under which clients are told of the metadata log. No topic can have it: that log's directory has.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

pub use controller::{
    Controller, ControllerDefaults, MAX_ELECTIONS_PER_PASS, METADATA_VERSION,
    METADATA_VERSION_FEATURE,
};
pub use event::{Effect, Effects, Event, RequestId, Timer};
pub use image::{Broker, Configs, Image, Partition, ResourceKind, Topic, effective_min_isr};
pub use partition::Brokers;
pub use record::{
    BrokerRegistrationChange, ConfigRecord, Endpoint, PartitionChange, PartitionRecord, Record,
    RegisterBroker, RegisterController, SecurityProtocol,
};
pub use replay::{ReplayError, Touched, touched};
pub use request::{
    AlterAnswer, AlterPartition, AlteredPartition, BrokerHeartbeat, BrokerRegistration,
    ConfigChange, ConfigOp, CreatePartitions, ElectLeaders, ElectionType, HeartbeatReply, NewTopic,
    ReassignPartition, Refusal, Request, Response, ShrinkReason, TopicCreated, TopicDeleted,
    TopicRef,
};
