//! AddRaftVoter and RemoveRaftVoter: growing and shrinking the controllers' quorum (KIP-853).

use std::time::Duration;

use kraft_model::raft::{VoterChange, VoterChangeError};
use kraft_model::{DirectoryId, ErrorCode, NodeId, ReplicaKey};
use proto_kafka::messages::add_raft_voter_request::Listener;
use proto_kafka::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, RemoveRaftVoterRequest, RemoveRaftVoterResponse,
};
use proto_kafka::protocol::StrBytes;
use uuid::Uuid;

use super::Context;
use super::wire::string;
use crate::kafka::backend::Backend;
use crate::storage::VoterEndpoint;

/// A removal names no time of its own.
const REMOVAL_TIME: Duration = Duration::from_secs(30);

/// Listeners that a voter may name.
const MAX_LISTENERS: usize = 32;

pub async fn add<B: Backend>(
    context: &Context<B>,
    request: AddRaftVoterRequest,
    _version: i16,
) -> AddRaftVoterResponse {
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let change = VoterChange::Add(key(request.voter_id, request.voter_directory_id));
    let result = match checked(context, request.cluster_id.as_ref(), &request.listeners) {
        Ok(endpoints) => change_voters(context, change, endpoints, timeout).await,
        Err(refused) => Err(refused),
    };
    let (error, message) = answer(result);
    AddRaftVoterResponse::default().with_error_code(error).with_error_message(message)
}

pub async fn remove<B: Backend>(
    context: &Context<B>,
    request: RemoveRaftVoterRequest,
    _version: i16,
) -> RemoveRaftVoterResponse {
    let change = VoterChange::Remove(key(request.voter_id, request.voter_directory_id));
    let result = match of_this_cluster(context, request.cluster_id.as_ref()) {
        Ok(()) => change_voters(context, change, Vec::new(), REMOVAL_TIME).await,
        Err(refused) => Err(refused),
    };
    let (error, message) = answer(result);
    RemoveRaftVoterResponse::default().with_error_code(error).with_error_message(message)
}

/// An error with the sentence that explains it.
type Refused = (ErrorCode, String);

fn key(id: i32, directory: Uuid) -> ReplicaKey {
    ReplicaKey { id: NodeId(id), directory: DirectoryId(directory.as_u128()) }
}

async fn change_voters<B: Backend>(
    context: &Context<B>,
    change: VoterChange,
    endpoints: Vec<VoterEndpoint>,
    timeout: Duration,
) -> Result<(), Refused> {
    let changed = context.backend.change_voters(change, endpoints, timeout).await;
    changed.map_err(|error: VoterChangeError| (error.code(), error.to_string()))
}

fn of_this_cluster<B: Backend>(
    context: &Context<B>,
    named: Option<&StrBytes>,
) -> Result<(), Refused> {
    let ours = context.backend.cluster_id().to_string();
    match named {
        Some(named) if named.as_str() != ours => Err((
            ErrorCode::InconsistentClusterId,
            format!("this is cluster {ours}, not {}", named.as_str()),
        )),
        _ => Ok(()),
    }
}

fn checked<B: Backend>(
    context: &Context<B>,
    cluster: Option<&StrBytes>,
    listeners: &[Listener],
) -> Result<Vec<VoterEndpoint>, Refused> {
    of_this_cluster(context, cluster)?;
    if listeners.is_empty() || listeners.len() > MAX_LISTENERS {
        let message = format!("a voter is reached at 1 to {MAX_LISTENERS} listeners");
        return Err((ErrorCode::InvalidRequest, message));
    }
    let endpoint = |at: &Listener| VoterEndpoint {
        name: at.name.to_string(),
        host: at.host.to_string(),
        port: at.port,
    };
    Ok(listeners.iter().map(endpoint).collect())
}

fn answer(result: Result<(), Refused>) -> (i16, Option<StrBytes>) {
    match result {
        Ok(()) => (0, None),
        Err((error, message)) => (error.code(), Some(string(&message))),
    }
}
